//! Fields that came by HTTP/2 as lines with their positions, each checked on the way.

use super::hpack::{self, Block};
use crate::{
    error::{Cause, Failure},
    message::{
        Field, Fields, Known, Limits, Span, TWIN,
        grammar::{is_field_content, is_token},
        is_twin,
    },
};

/// The last pseudo-header field of HPACK's static table.
const LAST_PSEUDO: u8 = 14;

/// Holds a header list to its bounds, before anything is copied. Each crumb of a cookie is a field of
/// its own here. `pseudo`: so many of the fields are pseudo-header fields.
///
/// # Errors
/// [`Cause::RequestHeadTooLarge`].
pub(super) fn check_size(block: &Block, pseudo: usize, limits: &Limits) -> Result<(), Failure> {
    if block.len().saturating_sub(pseudo) > limits.fields {
        return Err(Failure::new(Cause::RequestHeadTooLarge, "number of fields"));
    }
    if block.size() > limits.head || block.is_over() {
        return Err(Failure::new(Cause::RequestHeadTooLarge, "size of the head"));
    }
    Ok(())
}

/// Appends a line for each field. Crumbs of a cookie become one line again (RFC 9113 section
/// 8.2.3), where the first one was.
///
/// # Errors
/// The first field that is malformed, with the cause that `fail` names.
pub(super) fn append<'a>(
    list: &(impl Iterator<Item = hpack::Field<'a>> + Clone),
    bytes: &mut Vec<u8>,
    fields: &mut Fields,
    fail: fn(&'static str) -> Failure,
) -> Result<(), Failure> {
    let mut cookie = false;
    for (index, field) in list.clone().enumerate() {
        let known = check(&field).map_err(fail)?;
        if known != Known::Cookie {
            push(bytes, fields, field.name, field.value, known);
        } else if !cookie {
            cookie = true;
            push(bytes, fields, field.name, field.value, known);
            let crumbs = list.clone().skip(index + 1);
            for crumb in crumbs.filter(|other| other.known == field.known) {
                check(&crumb).map_err(fail)?;
                if let Some(line) = fields.last_mut() {
                    add_crumb(bytes, line, crumb.value);
                }
            }
        }
    }
    Ok(())
}

/// What RFC 9113 section 8.2 asks of a field, and [`crate::message`] of every one.
///
/// # Errors
/// What is wrong.
pub(super) fn check(field: &hpack::Field<'_>) -> Result<Known, &'static str> {
    let (name, value) = (field.name, field.value);
    // Names of the static table are what they should be, but for pseudo-header fields.
    let is_name = match field.known {
        0 => is_token(name) && !name.iter().any(u8::is_ascii_uppercase),
        known => known > LAST_PSEUDO,
    };
    if !is_name {
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
