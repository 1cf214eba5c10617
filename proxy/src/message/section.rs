//! The text of a field section: from lines to positions. Heads and trailers, of requests and of
//! responses; what the fields mean is none of its business.

use super::{
    Field, Fields, Known, Span,
    grammar::{is_field_content, is_token_byte, trim},
};
use crate::error::{Cause, Failure};

/// Splits the field section that begins at `start` into `into`, up to its empty line; at most
/// `most` fields. `fail` names the cause of what is not field syntax.
///
/// # Errors
/// That cause, or [`Cause::RequestHeadTooLarge`].
pub(crate) fn parse_section(
    bytes: &[u8],
    start: usize,
    most: usize,
    into: &mut Fields,
    fail: fn(&'static str) -> Failure,
) -> Result<(), Failure> {
    let mut start = start;
    loop {
        let end = end_of_line(bytes, start).ok_or(fail("line end"))?;
        if end == start {
            return Ok(());
        }
        if into.len() == most {
            return Err(Failure::new(Cause::RequestHeadTooLarge, "number of fields"));
        }
        let mut colon = start;
        let mut underscore = false;
        while let Some(byte) = bytes.get(colon).filter(|b| is_token_byte(**b)) {
            underscore |= *byte == b'_';
            colon += 1;
        }
        if colon == start || bytes.get(colon) != Some(&b':') {
            return Err(fail(match bytes.get(start) {
                Some(b' ' | b'\t') => "folded line",
                Some(b':') => "empty field name",
                _ => "field name",
            }));
        }
        let name = Span::new(start, colon);
        let (value_start, value_end) = trim(bytes, colon + 1, end);
        let value = Span::new(value_start, value_end);
        if !is_field_content(value.of(bytes)) {
            return Err(fail("control byte in a field value"));
        }
        let known = Known::of(name.of(bytes));
        if underscore && is_twin(name.of(bytes)) {
            return Err(fail(TWIN));
        }
        into.push(Field {
            name,
            value,
            line: Span::new(start, end + 2),
            known,
        });
        start = end + 2;
    }
}

/// Position of the CR that ends the line which begins at `start`.
pub(crate) fn end_of_line(bytes: &[u8], start: usize) -> Option<usize> {
    let lf = start + memchr::memchr(b'\n', bytes.get(start..)?)?;
    lf.checked_sub(1)
        .filter(|cr| *cr >= start && bytes.get(*cr) == Some(&b'\r'))
}

/// What is said of a name for which [`is_twin`] holds.
pub(crate) const TWIN: &str = "field name that differs from a protected one by `_`";

/// Whether a name becomes a protected one when a careless peer reads `_` as `-` (CGI does).
pub(crate) fn is_twin(name: &[u8]) -> bool {
    let mut dashed = [0_u8; 24];
    let Some(copy) = dashed.get_mut(..name.len()) else {
        return false;
    };
    for (to, from) in copy.iter_mut().zip(name) {
        *to = if *from == b'_' { b'-' } else { *from };
    }
    !matches!(
        Known::of(copy),
        Known::Other | Known::XRequestId | Known::KeepAlive
    )
}
