//! A gRPC call's own manners: failures of ours in its form, and a deadline that shrinks on its way.
//!
//! Both are for calls alone. That the proxy carries them, trailers and all, is like any other request.

use super::{
    Next,
    patience::Patience,
    record::Ledger,
    reply,
    sides::{Downstream, ServerStream},
};
use crate::{
    error::{Cause, Failure},
    h2 as http2,
    message::{RequestView, grpc},
    shared::State,
};

/// What is known of a request that is a gRPC call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Call {
    /// The endpoint is told what is left of the deadline. Not where a filter sees to that field.
    tells_deadline: bool,
}

impl Call {
    /// A request, if it is a call.
    pub(super) fn of(state: &State) -> Option<Self> {
        let view = RequestView {
            bytes: &state.head,
            head: &state.request,
        };
        grpc::is_call(&view).then(Self::default)
    }

    /// The same of a head that was not read.
    pub(super) fn of_block(block: &http2::Block) -> Option<Self> {
        let first = |name: &[u8]| block.iter().find(|field| field.name == name);
        let kind = first(b"content-type")?;
        let is_post = first(b":method")?.value == b"POST";
        (is_post && grpc::is_content_type(kind.value)).then(Self::default)
    }
}

/// Takes the client's deadline over, and its field out of the request.
///
/// # Errors
/// A deadline that cannot be read is no deadline we could keep.
pub(super) fn take_deadline(
    call: &mut Call,
    state: &mut State,
    began: u64,
    patience: &mut Patience,
) -> Result<(), Failure> {
    let view = RequestView {
        bytes: &state.head,
        head: &state.request,
    };
    let refused = |detail| Failure::new(Cause::BadRequest, detail);
    let said = grpc::timeout(&view).map_err(refused)?;
    let mut edited = state.edits.has_added(grpc::TIMEOUT);
    if let Some((index, nanos)) = said {
        patience.shorten(began.saturating_add(nanos));
        edited |= state.edits.is_dropped(index);
        state.edits.drop_field(index);
    }
    call.tells_deadline = !edited;
    Ok(())
}

/// Writes into the request what is left of its time, for the try that begins at `now`.
///
/// # Errors
/// Nothing is left.
pub(super) fn pass_on_deadline(
    call: Call,
    state: &mut State,
    patience: &Patience,
    now: u64,
) -> Result<(), Failure> {
    if let Some(failure) = patience.spent(now) {
        return Err(failure);
    }
    if let Some(left) = patience.left(now).filter(|_| call.tells_deadline) {
        // What an earlier try was given.
        state.edits.drop_added(grpc::TIMEOUT);
        let mut text = Default::default();
        let value = grpc::write_timeout(left, &mut text);
        state.edits.add("grpc-timeout", value);
    }
    Ok(())
}

/// Tells a client of a failure in the form of gRPC: by an answer of trailers alone, or by trailers
/// behind what was answered so far. `None` where that form does not apply, which is that of HTTP/2.
pub(super) fn tell(
    side: &mut Downstream,
    state: &State,
    ledger: &mut Ledger,
    failure: &Failure,
    proxy_status: bool,
) -> Option<Next> {
    let Downstream::Http2(stream) = side else {
        return None;
    };
    let begun = stream.answered;
    // What the endpoint's reset says goes on as it is. A body cannot end before the length that was said.
    let ended = stream.reason.is_some() || (begun && state.response.declared_length.is_some());
    if ended {
        return Some(Next::Drop);
    }
    // Even if nobody hears it: the client may have left in the same moment.
    ledger.grpc_status = Some(grpc::of(failure.cause));
    let lines = lines(failure.cause, begun, proxy_status);
    let told = if begun {
        send_trailers(stream, &lines)
    } else {
        send_head(stream, &lines)
    };
    if told.is_none() {
        return Some(Next::Drop);
    }
    if !begun {
        ledger.status = failure.cause.status();
    }
    ledger.sent += lines.len() as u64;
    Some(Next::KeepAlive)
}

/// The fields that tell, each with CRLF.
fn lines(cause: Cause, begun: bool, proxy_status: bool) -> Vec<u8> {
    let mut lines = Vec::with_capacity(160);
    if !begun {
        reply::date_line(&mut lines);
        lines.extend_from_slice(b"content-type: application/grpc\r\n");
    }
    lines.extend_from_slice(b"grpc-status: ");
    lines.extend_from_slice(itoa::Buffer::new().format(grpc::of(cause)).as_bytes());
    lines.extend_from_slice(b"\r\ngrpc-message: ");
    grpc::write_message(&reply::words(cause), &mut lines);
    lines.extend_from_slice(b"\r\n");
    if proxy_status {
        lines.extend_from_slice(reply::proxy_status(cause).as_bytes());
    }
    lines
}

/// An answer that is whole with its head.
fn send_head(stream: &mut ServerStream, lines: &[u8]) -> Option<()> {
    let mut block = Vec::with_capacity(lines.len());
    http2::own_response(&mut block, 200, lines, None);
    stream.answer(&block, true).ok()
}

fn send_trailers(stream: &mut ServerStream, lines: &[u8]) -> Option<()> {
    let mut block = Vec::with_capacity(lines.len());
    http2::own_trailers(&mut block, lines);
    stream.stream.send_head(&block, true).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_as_fields() {
        let text = |cause, begun, proxy_status| {
            let lines = lines(cause, begun, proxy_status);
            String::from_utf8(lines).expect("text")
        };
        assert_eq!(
            text(Cause::NoEndpoint, true, false),
            "grpc-status: 14\r\ngrpc-message: 503 Service Unavailable\r\n"
        );
        let head = text(Cause::NoRoute, false, true);
        let (date, rest) = head.split_once("\r\n").expect("lines");
        assert!(date.starts_with("Date: "), "{head}");
        assert_eq!(
            rest,
            "content-type: application/grpc\r\ngrpc-status: 12\r\n\
             grpc-message: 404 Not Found: No route matches the request.\r\n\
             Proxy-Status: outrigger; error=route_not_found\r\n"
        );
    }
}
