//! A response head between HTTP/2 and text: what it says, and how it is said.

use http::{HeaderMap, Response, StatusCode, response::Parts};

use super::{
    lines,
    map::{self, Recipe, Text},
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
    parts: &Parts,
    end_of_stream: bool,
    asked: Asked,
    limits: &Limits,
    bytes: &mut Vec<u8>,
    head: &mut ResponseHead,
) -> Result<(), Failure> {
    // RFC 9113 section 8.6: protocols are not switched by a status.
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(bad("101 on HTTP/2"));
    }
    begin(parts.status, bytes, head)?;
    finish(parts, limits, bytes, head)?;
    head.body = body(head, end_of_stream, asked)?;
    Ok(())
}

/// The same for a 2xx that grants an extended CONNECT: it is the 101 that HTTP/1 would have
/// answered with, for the protocol that was asked for.
///
/// # Errors
/// As with [`read_response`], and for any other status.
pub(crate) fn read_switch(
    parts: &Parts,
    protocol: &[u8],
    limits: &Limits,
    bytes: &mut Vec<u8>,
    head: &mut ResponseHead,
) -> Result<(), Failure> {
    if !parts.status.is_success() {
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
    finish(parts, limits, bytes, head)?;
    // A length has no meaning there (RFC 9110 section 9.3.6).
    head.declared_length = None;
    Ok(())
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
    parts: &Parts,
    limits: &Limits,
    bytes: &mut Vec<u8>,
    head: &mut ResponseHead,
) -> Result<(), Failure> {
    let pseudo = ":status200".len() + lines::OVERHEAD;
    lines::check_size(&parts.headers, pseudo, limits).map_err(as_response)?;
    lines::append(parts.headers.iter(), bytes, &mut head.fields, bad)?;
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

/// The response, or interim response, as it goes downstream, by the rules of the HTTP/1 writer. A
/// 101 becomes the 200 that grants an extended CONNECT.
///
/// # Errors
/// HTTP/2, or the crate that speaks it, cannot carry it.
pub(crate) fn write_response(
    response: &ResponseView<'_>,
    edits: &Edits,
) -> Result<Response<()>, Failure> {
    let head = response.head;
    let switches = head.status == 101;
    let mut text = Text::begin(response.bytes, edits.added().len() + 20);
    let added = text.push(&[edits.added()]);
    let length = head
        .said_length()
        .map(|n| text.push(&[itoa::Buffer::new().format(n).as_bytes()]));
    let text = text.end();
    let recipe = Recipe {
        edits,
        kept: ResponseHead::kept(false),
        added,
        length,
        // That the CONNECT is granted stands for it (RFC 8441 section 5).
        without: switches.then_some("sec-websocket-accept"),
        te_trailers: false,
    };
    let fields = map::fields(&text, &head.fields, &recipe).map_err(bad)?;
    let status = if switches { 200 } else { head.status };
    let mut out = Response::new(());
    *out.version_mut() = http::Version::HTTP_2;
    *out.status_mut() = StatusCode::from_u16(status).map_err(|_| bad("status code"))?;
    *out.headers_mut() = fields;
    Ok(out)
}

/// An answer of our own. `lines` are its fields, each `Name: value` with CRLF; `length` that of its body.
///
/// # Errors
/// A line is none.
pub(crate) fn own_response(
    status: u16,
    lines: &[u8],
    length: Option<usize>,
) -> Result<Response<()>, Failure> {
    let mut text = Text::begin(lines, 40);
    let digits = length.map(|n| {
        let mut number = itoa::Buffer::new();
        text.push(&[b"Content-Length: ", number.format(n).as_bytes(), b"\r\n"])
    });
    let text = text.end();
    let lines = Span::new(0, lines.len());
    let mut fields = HeaderMap::new();
    for lines in [Some(lines), digits].into_iter().flatten() {
        map::append_lines(&mut fields, &text, lines).map_err(bad)?;
    }
    let mut out = Response::new(());
    *out.version_mut() = http::Version::HTTP_2;
    *out.status_mut() = StatusCode::from_u16(status).map_err(|_| bad("status code"))?;
    *out.headers_mut() = fields;
    Ok(out)
}

#[cfg(test)]
mod tests;
