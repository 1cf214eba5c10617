//! A map of fields as lines with their positions, each field checked on the way.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    error::{Cause, Failure},
    message::{
        Field, Fields, Known, Limits, Span, TWIN,
        grammar::{is_field_content, is_token},
        is_twin,
    },
};

/// What a field takes beside its name and value, in the measure that peers are told
/// (RFC 9113 section 6.5.2).
pub(super) const OVERHEAD: usize = 32;

/// Holds a list of fields to its bounds, before anything is copied. Each crumb of a cookie is a
/// field of its own here. `pseudo` is what the pseudo-header fields take.
///
/// # Errors
/// [`Cause::RequestHeadTooLarge`].
pub(super) fn check_size(map: &HeaderMap, pseudo: usize, limits: &Limits) -> Result<(), Failure> {
    if map.len() > limits.fields {
        return Err(Failure::new(Cause::RequestHeadTooLarge, "number of fields"));
    }
    let size: usize = map
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + OVERHEAD)
        .sum();
    if size + pseudo > limits.head {
        return Err(Failure::new(Cause::RequestHeadTooLarge, "size of the head"));
    }
    Ok(())
}

/// Appends a line for each field. Crumbs of a cookie become one line again (RFC 9113 section
/// 8.2.3): a map holds them side by side.
///
/// # Errors
/// The first field that is malformed, with the cause that `fail` names.
pub(super) fn append<'a>(
    map: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>,
    bytes: &mut Vec<u8>,
    fields: &mut Fields,
    fail: fn(&'static str) -> Failure,
) -> Result<(), Failure> {
    for (name, value) in map {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        let known = check(name, value).map_err(fail)?;
        match fields.last_mut() {
            Some(cookie) if known == Known::Cookie && cookie.known == Known::Cookie => {
                add_crumb(bytes, cookie, value);
            }
            _ => {
                push(bytes, fields, name, value, known);
            }
        }
    }
    Ok(())
}

/// What RFC 9113 section 8.2 asks of a field, and [`crate::message`] of every one.
///
/// # Errors
/// What is wrong.
pub(super) fn check(name: &[u8], value: &[u8]) -> Result<Known, &'static str> {
    if !is_token(name) {
        return Err("field name");
    }
    if !is_field_content(value) {
        return Err("control byte in a field value");
    }
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if blank(value.first()) || blank(value.last()) {
        return Err("blank around a field value");
    }
    let known = Known::of(name);
    match known {
        Known::Connection
        | Known::KeepAlive
        | Known::ProxyConnection
        | Known::TransferEncoding
        | Known::Upgrade => Err("connection-specific field"),
        Known::Te if value != b"trailers" => Err("TE"),
        Known::Other if memchr::memchr(b'_', name).is_some() && is_twin(name) => Err(TWIN),
        _ => Ok(known),
    }
}

/// Appends one line, and returns where its value stands.
pub(super) fn push(
    bytes: &mut Vec<u8>,
    fields: &mut Fields,
    name: &[u8],
    value: &[u8],
    known: Known,
) -> Span {
    let start = bytes.len();
    write(bytes, name, value);
    let (colon, end) = (start + name.len(), bytes.len());
    let value = Span::new(colon + 2, end - 2);
    fields.push(Field {
        name: Span::new(start, colon),
        value,
        line: Span::new(start, end),
        known,
    });
    value
}

/// Appends the text of a line.
pub(super) fn write(bytes: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(b": ");
    bytes.extend_from_slice(value);
    bytes.extend_from_slice(b"\r\n");
}

/// Makes the last line, a cookie, longer by a crumb.
fn add_crumb(bytes: &mut Vec<u8>, cookie: &mut Field, crumb: &[u8]) {
    if crumb.is_empty() {
        return;
    }
    bytes.truncate(cookie.value.end as usize);
    if !cookie.value.is_empty() {
        bytes.extend_from_slice(b"; ");
    }
    bytes.extend_from_slice(crumb);
    cookie.value.end = bytes.len() as u32;
    bytes.extend_from_slice(b"\r\n");
    cookie.line.end = bytes.len() as u32;
}
