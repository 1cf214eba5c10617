//! Fields of a message as they go out on HTTP/2: what goes on of a head, and what was added.

use super::hpack;
use crate::message::{Edits, Fields, Kept, Known, Span, goes_on, grammar::trim};

/// What is written, beside the fields themselves.
pub(super) struct Recipe<'a> {
    pub(super) edits: &'a Edits,
    pub(super) kept: Kept,
    /// `Content-Length`, if that is to be said.
    pub(super) length: Option<u64>,
    /// A field that belongs to the way HTTP/1 changes protocols.
    pub(super) without: Option<&'static str>,
    pub(super) te_trailers: bool,
}

/// Appends the fields that go on, by the rules that the writer of HTTP/1 follows, and the added ones.
pub(super) fn write(out: &mut Vec<u8>, bytes: &[u8], list: &Fields, recipe: &Recipe<'_>) {
    let mut length = recipe.length;
    for (index, field) in list.iter().enumerate() {
        let name = field.name.of(bytes);
        let without = recipe.without;
        let left_out = recipe.edits.is_dropped(index)
            || without.is_some_and(|w| name.eq_ignore_ascii_case(w.as_bytes()));
        if !left_out && goes_on(field.known, recipe.kept) {
            one(out, field.known, name, field.value.of(bytes));
        } else if field.known == Known::ContentLength
            && let Some(length) = length.take()
        {
            content_length(out, length);
        }
    }
    lines(out, recipe.edits.added());
    if let Some(length) = length {
        content_length(out, length);
    }
    if recipe.te_trailers {
        hpack::field(out, b"te", b"trailers", false);
    }
}

/// Appends `name: value` lines of our own making, each with its CRLF.
pub(super) fn lines(out: &mut Vec<u8>, lines: &[u8]) {
    for line in lines.split_inclusive(|b| *b == b'\n') {
        let Some(colon) = memchr::memchr(b':', line) else {
            continue;
        };
        let (start, end) = trim(line, colon + 1, line.len().saturating_sub(2));
        let name = line.get(..colon).unwrap_or_default();
        one(out, Known::of(name), name, Span::new(start, end).of(line));
    }
}

/// Appends one field. Secrets are to be put into no table on their way (RFC 7541 section 7.1.3).
pub(super) fn one(out: &mut Vec<u8>, known: Known, name: &[u8], value: &[u8]) {
    let secret = matches!(known, Known::Authorization | Known::Cookie);
    hpack::field(out, name, value, secret);
}

pub(super) fn content_length(out: &mut Vec<u8>, length: u64) {
    let mut digits = itoa::Buffer::new();
    hpack::field(
        out,
        b"content-length",
        digits.format(length).as_bytes(),
        false,
    );
}
