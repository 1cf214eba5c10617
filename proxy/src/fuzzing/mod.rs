//! Entry points for fuzzers: each takes any bytes, and panics when a property does not hold.
//!
//! Used by `tests/fuzz` (cargo-fuzz) and by the seeded run in `tests/tests/fuzz_seeds.rs`; the
//! proxy itself calls nothing in here. That nothing panics is the least: what is accepted must
//! be read alike by another parser, and what is written must be read back as it was meant.
//!
//! Beside them [`read_request`] and [`read_response`] say what the parsers made of a head, for
//! `tests/tests/llhttp.rs`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is how a property is reported; none of this runs in the proxy"
)]

mod body;
mod config;
mod first_bytes;
mod frames;
mod heads;
mod hpack;
mod http2;
mod reading;

pub use self::{
    body::body,
    config::config,
    first_bytes::{client_hello, detect, path, proxy_protocol},
    frames::frames,
    heads::{request, response},
    hpack::hpack,
    http2::{http2_request, http2_response, http2_trailers},
    reading::{Framing, Head, Reading, read_request, read_response},
};

use crate::h1::Limits;

/// A target: any bytes, and a panic for a broken property.
pub type Target = fn(&[u8]);

/// Every target with its name, which is also that of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("body", body),
    ("client_hello", client_hello),
    ("config", config),
    ("detect", detect),
    ("hpack", hpack),
    ("http2_request", http2_request),
    ("http2_response", http2_response),
    ("http2_trailers", http2_trailers),
    ("frames", frames),
    ("path", path),
    ("proxy_protocol", proxy_protocol),
    ("request", request),
    ("response", response),
];

const LIMITS: Limits = Limits {
    head: 16_384,
    line: 8_192,
    fields: 64,
};
/// Of what we write: it has a few fields more than what we read.
const WRITTEN: Limits = Limits {
    head: 65_536,
    line: 65_536,
    fields: 80,
};

fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
