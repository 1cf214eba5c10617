//! A response head between HTTP/2 and text: what it says, and how it is said.

use http::StatusCode;

use super::{
    fields::{self, Recipe},
    hpack::{self, Block},
    lines,
};
use crate::{
    error::{Cause, Failure},
    message::{
        Asked, Body, Edits, Known, Limits, ResponseHead, ResponseView, Span, Version, as_response,
        content_length,
    },
};

const fn bad(detail: &'static str) -> Failure {
    Failure::new(Cause::BadResponse, detail)
}

/// Writes a received response, interim ones too, as text into `bytes`, and what it says into
/// `head`. The allocations of both are reused.
///
/// A [`Body::None`] says that no body may follow. The stream may still be open, to end with nothing.
///
/// # Errors
/// [`Cause::BadResponse`] or [`Cause::ResponseHeadTooLarge`]; the stream is to be reset.
pub(crate) fn read_response(
    block: &Block,
    end_of_stream: bool,
    asked: Asked,
    limits: &Limits,
    bytes: &mut Vec<u8>,
    head: &mut ResponseHead,
) -> Result<(), Failure> {
    // RFC 9113 section 8.6: protocols are not switched by a status.
    let status = status(block)?;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(bad("101 on HTTP/2"));
    }
    begin(status, bytes, head)?;
    finish(block, limits, bytes, head)?;
    head.body = body(head, end_of_stream, asked)?;
    Ok(())
}

/// The same for a 2xx that grants an extended CONNECT: it is the 101 that HTTP/1 would have
/// answered with, for the protocol that was asked for.
///
/// # Errors
/// As with [`read_response`], and for any other status.
pub(crate) fn read_switch(
    block: &Block,
    protocol: &[u8],
    limits: &Limits,
    bytes: &mut Vec<u8>,
    head: &mut ResponseHead,
) -> Result<(), Failure> {
    if !status(block)?.is_success() {
        return Err(bad("extended CONNECT not granted"));
    }
    begin(StatusCode::SWITCHING_PROTOCOLS, bytes, head)?;
    let value = lines::push(
        bytes,
        &mut head.fields,
        b"upgrade",
        protocol,
        Known::Upgrade,
    );
    head.upgrade = Some(value);
    finish(block, limits, bytes, head)?;
    // A length has no meaning there (RFC 9110 section 9.3.6).
    head.declared_length = None;
    Ok(())
}

/// `:status` in the static table of HPACK.
const STATUS: u8 = 8;

/// The one pseudo-header field of a response, in front of all others.
fn status(block: &Block) -> Result<StatusCode, Failure> {
    let first = block.get(0).filter(|field| field.known == STATUS);
    let status = first.and_then(|field| StatusCode::from_bytes(field.value).ok());
    status.ok_or(bad(":status"))
}

/// Whether it is a success, or nothing that can be read.
pub(crate) fn is_success(block: &Block) -> bool {
    status(block).is_ok_and(|status| status.is_success())
}

/// The status line. HTTP/2 has no reason phrase; the usual one is as good.
fn begin(status: StatusCode, bytes: &mut Vec<u8>, head: &mut ResponseHead) -> Result<(), Failure> {
    bytes.clear();
    head.fields.clear();
    *head = ResponseHead {
        status: status.as_u16(),
        fields: std::mem::take(&mut head.fields),
        version: Version::Http2,
        keep_alive: true,
        ..ResponseHead::default()
    };
    if head.status > 599 {
        return Err(bad("status code"));
    }
    bytes.extend_from_slice(b"HTTP/2 ");
    bytes.extend_from_slice(status.as_str().as_bytes());
    bytes.push(b' ');
    let start = bytes.len();
    let reason = status.canonical_reason().unwrap_or_default();
    bytes.extend_from_slice(reason.as_bytes());
    head.reason = Span::new(start, bytes.len());
    bytes.extend_from_slice(b"\r\n");
    Ok(())
}

/// The fields, and the length they say.
fn finish(
    block: &Block,
    limits: &Limits,
    bytes: &mut Vec<u8>,
    head: &mut ResponseHead,
) -> Result<(), Failure> {
    lines::check_size(block, 1, limits).map_err(as_response)?;
    lines::append(&block.iter().skip(1), bytes, &mut head.fields, bad)?;
    bytes.extend_from_slice(b"\r\n");
    head.len = bytes.len();
    let lengths = head
        .fields
        .iter()
        .filter(|f| f.known == Known::ContentLength);
    for field in lengths {
        content_length(field.value.of(bytes), &mut head.declared_length).map_err(bad)?;
    }
    Ok(())
}

fn body(head: &ResponseHead, end_of_stream: bool, asked: Asked) -> Result<Body, Failure> {
    let length = head.declared_length;
    let interim = head.status < 200;
    if interim && end_of_stream {
        return Err(bad("an interim response that ends its stream"));
    }
    if (interim || head.status == 204) && length.is_some_and(|n| n > 0) {
        return Err(bad("a body where none may be"));
    }
    if interim || matches!(head.status, 204 | 304) || asked == Asked::Head {
        return Ok(Body::None);
    }
    match (length, end_of_stream) {
        (Some(n), true) if n > 0 => Err(bad("Content-Length without a body")),
        (Some(n), _) => Ok(Body::Length(n)),
        (None, true) => Ok(Body::Length(0)),
        (None, false) => Ok(Body::Chunked),
    }
}

/// Appends the response, or interim response, as it goes downstream, by the rules of the HTTP/1 writer.
/// A 101 becomes the 200 that grants an extended CONNECT.
pub(crate) fn write_response(out: &mut Vec<u8>, response: &ResponseView<'_>, edits: &Edits) {
    let head = response.head;
    let switches = head.status == 101;
    out.reserve(response.bytes.len() + edits.added().len() + 64);
    hpack::status(out, if switches { 200 } else { head.status });
    let recipe = Recipe {
        edits,
        kept: ResponseHead::kept(false),
        length: head.said_length(),
        // That the CONNECT is granted stands for it (RFC 8441 section 5).
        without: switches.then_some("sec-websocket-accept"),
        te_trailers: false,
    };
    fields::write(out, response.bytes, &head.fields, &recipe);
}

/// Appends an answer of our own. `lines` are its fields, each `Name: value` with CRLF; `length` that of
/// its body.
pub(crate) fn own_response(out: &mut Vec<u8>, status: u16, lines: &[u8], length: Option<usize>) {
    hpack::status(out, status);
    fields::lines(out, lines);
    if let Some(length) = length {
        fields::content_length(out, length as u64);
    }
}

/// Appends trailers of our own, as the lines of [`own_response`].
pub(crate) fn own_trailers(out: &mut Vec<u8>, lines: &[u8]) {
    fields::lines(out, lines);
}

#[cfg(test)]
mod tests;
