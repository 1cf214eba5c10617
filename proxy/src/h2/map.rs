//! Lines with their positions as a map of fields: what goes on of a head, and what was added.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::message::{Edits, Fields, Kept, Known, Span, goes_on};

/// The text that the parts of a message share, so that none of them is an allocation of its own:
/// a received head, and behind it what is new.
#[derive(Default)]
pub(super) struct Text {
    bytes: Vec<u8>,
}

impl Text {
    /// Begins with the whole received head: its spans hold here, too.
    pub(super) fn begin(head: &[u8], room: usize) -> Self {
        let mut bytes = Vec::with_capacity(head.len() + room);
        bytes.extend_from_slice(head);
        Self { bytes }
    }

    /// Appends parts as one, and returns where they stand.
    pub(super) fn push(&mut self, parts: &[&[u8]]) -> Span {
        let start = self.bytes.len();
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        Span::new(start, self.bytes.len())
    }

    pub(super) fn end(self) -> Shared {
        Shared(Bytes::from(self.bytes))
    }
}

/// The finished text.
pub(super) struct Shared(Bytes);

impl Shared {
    /// A part that keeps the whole alive.
    pub(super) fn part(&self, span: Span) -> Bytes {
        let (start, end) = (span.start as usize, span.end as usize);
        if start < end && end <= self.0.len() {
            self.0.slice(start..end)
        } else {
            Bytes::new()
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What a map is made of, beside the fields themselves.
pub(super) struct Recipe<'a> {
    pub(super) edits: &'a Edits,
    pub(super) kept: Kept,
    /// Where the text holds the edits' added lines.
    pub(super) added: Span,
    /// Where it holds the value of `Content-Length`, if that is to be said.
    pub(super) length: Option<Span>,
    /// A field that belongs to the way HTTP/1 changes protocols.
    pub(super) without: Option<&'static str>,
    pub(super) te_trailers: bool,
}

/// The fields that go on, by the rules that the writer of HTTP/1 follows, and the added ones.
///
/// # Errors
/// What HTTP/2 cannot carry.
pub(super) fn fields(
    text: &Shared,
    list: &Fields,
    recipe: &Recipe<'_>,
) -> Result<HeaderMap, &'static str> {
    let added = recipe.added.of(text.bytes());
    let most = list.len() + memchr::memchr_iter(b'\n', added).count() + 2;
    let mut map = HeaderMap::try_with_capacity(most).map_err(|_| "number of fields")?;
    let mut length = recipe.length;
    for (index, field) in list.iter().enumerate() {
        let name = field.name.of(text.bytes());
        let left_out = recipe.edits.is_dropped(index)
            || recipe
                .without
                .is_some_and(|w| name.eq_ignore_ascii_case(w.as_bytes()));
        if !left_out && goes_on(field.known, recipe.kept) {
            append(&mut map, text, field.known, name, field.value)?;
        } else if field.known == Known::ContentLength
            && let Some(digits) = length.take()
        {
            append(&mut map, text, field.known, name, digits)?;
        }
    }
    append_lines(&mut map, text, recipe.added)?;
    if let Some(digits) = length {
        append(
            &mut map,
            text,
            Known::ContentLength,
            b"content-length",
            digits,
        )?;
    }
    if recipe.te_trailers {
        let value = HeaderValue::from_static("trailers");
        map.try_append(header::TE, value)
            .map_err(|_| "number of fields")?;
    }
    Ok(map)
}

/// Appends `name: value` lines of our own making.
pub(super) fn append_lines(
    map: &mut HeaderMap,
    text: &Shared,
    lines: Span,
) -> Result<(), &'static str> {
    let mut start = lines.start as usize;
    for line in lines.of(text.bytes()).split_inclusive(|b| *b == b'\n') {
        let end = start + line.len();
        let colon = memchr::memchr(b':', line).ok_or("added line")?;
        let (value_start, value_end) =
            crate::message::grammar::trim(text.bytes(), start + colon + 1, end.saturating_sub(2));
        let name = line.get(..colon).unwrap_or_default();
        let value = Span::new(value_start, value_end);
        append(map, text, Known::of(name), name, value)?;
        start = end;
    }
    Ok(())
}

/// Appends one field.
pub(super) fn append(
    map: &mut HeaderMap,
    text: &Shared,
    known: Known,
    name: &[u8],
    value: Span,
) -> Result<(), &'static str> {
    let mut value = HeaderValue::from_maybe_shared(text.part(value)).map_err(|_| "field value")?;
    // The decoder does not tell whether a field came as never to be indexed. These had better be.
    // An id that no other request has would only drive others out of the table.
    value.set_sensitive(matches!(
        known,
        Known::Authorization | Known::Cookie | Known::XRequestId
    ));
    let name = match own_name(known) {
        Some(name) => name,
        None => HeaderName::from_bytes(name).map_err(|_| "field name")?,
    };
    map.try_append(name, value)
        .map_err(|_| "number of fields")?;
    Ok(())
}

/// Names that the `http` crate would copy each time, and we add or pass on all the time.
fn own_name(known: Known) -> Option<HeaderName> {
    Some(HeaderName::from_static(match known {
        Known::XForwardedFor => "x-forwarded-for",
        Known::XForwardedProto => "x-forwarded-proto",
        Known::XForwardedHost => "x-forwarded-host",
        Known::XForwardedPort => "x-forwarded-port",
        Known::XRequestId => "x-request-id",
        Known::XForwardedClientCert => "x-forwarded-client-cert",
        Known::XRealIp => "x-real-ip",
        _ => return None,
    }))
}
