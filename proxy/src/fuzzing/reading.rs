//! What our parsers make of a head, in plain values: for comparison with a parser that is not a
//! Rust library and therefore cannot be asked in [`super::request`].
//!
//! Judges nothing. `tests/tests/llhttp.rs` compares.

use super::LIMITS;
use crate::{
    h1::{Asked, HeadScan, parse_request, parse_response},
    message::{Body, Fields, RequestHead, ResponseHead, Span, Version},
};

/// A verdict on the first head of some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// More bytes are needed.
    Partial,
    /// Refused.
    Refused,
    /// Accepted.
    Head(Head),
}

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// By a length.
    Length(u64),
    /// By chunks.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

/// An accepted head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Method and target of a request as they were written.
    pub asked: Option<(Vec<u8>, Vec<u8>)>,
    /// Status of a response.
    pub status: Option<u16>,
    /// The `1` of HTTP/1.1.
    pub minor: u8,
    /// Names and values, without blanks around them, in order.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// What follows.
    pub framing: Framing,
    /// Whether the connection goes on after the message.
    pub keep_alive: bool,
    /// Whether a change of protocols is asked for, or made; one to no protocol is refused where it
    /// would be acted upon.
    pub upgrade: bool,
    /// Bytes of the head.
    pub len: usize,
}

/// Reads a request head.
pub fn read_request(data: &[u8]) -> Reading {
    read(data, |bytes| {
        let mut head = RequestHead::default();
        parse_request(bytes, &LIMITS, &mut head).ok()?;
        let method = head.method_text.of(bytes);
        // The parser keeps the target in parts. It stands between the two spaces of its line.
        let line = bytes.split(|b| *b == b'\r').next().unwrap_or_default();
        let end = line.len() - " HTTP/1.1".len();
        Some(Head {
            asked: Some((method.to_vec(), line[method.len() + 1..end].to_vec())),
            status: None,
            minor: minor(head.version),
            fields: plain(bytes, &head.fields),
            framing: framing(head.body),
            keep_alive: head.keep_alive,
            upgrade: head.upgrade.is_some_and(|protocol| !protocol.is_empty()),
            len: bytes.len(),
        })
    })
}

/// Reads the head of a response to GET.
pub fn read_response(data: &[u8]) -> Reading {
    read(data, |bytes| {
        let mut head = ResponseHead::default();
        parse_response(bytes, &LIMITS, Asked::Other, &mut head).ok()?;
        Some(Head {
            asked: None,
            status: Some(head.status),
            minor: minor(head.version),
            fields: plain(bytes, &head.fields),
            framing: framing(head.body),
            keep_alive: head.keep_alive,
            upgrade: head.upgrade.is_some_and(|protocol| !protocol.is_empty()),
            len: bytes.len(),
        })
    })
}

fn read(data: &[u8], parse: impl FnOnce(&[u8]) -> Option<Head>) -> Reading {
    match HeadScan::default().advance(data, &LIMITS) {
        Ok(None) => Reading::Partial,
        Ok(Some(len)) => parse(&data[..len]).map_or(Reading::Refused, Reading::Head),
        Err(_) => Reading::Refused,
    }
}

fn plain(bytes: &[u8], fields: &Fields) -> Vec<(Vec<u8>, Vec<u8>)> {
    let of = |span: Span| span.of(bytes).to_vec();
    fields.iter().map(|f| (of(f.name), of(f.value))).collect()
}

const fn minor(version: Version) -> u8 {
    match version {
        Version::Http10 => 0,
        Version::Http11 | Version::Http2 => 1,
    }
}

const fn framing(body: Body) -> Framing {
    match body {
        Body::None => Framing::None,
        Body::Length(n) => Framing::Length(n),
        Body::Chunked => Framing::Chunked,
        Body::UntilClose => Framing::UntilClose,
    }
}
