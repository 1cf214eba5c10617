//! What a vector says: a message, its verdict, and what becomes of it.

use serde::Deserialize;

use crate::message::Body;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Topic {
    pub(super) about: String,
    pub(super) vectors: Vec<Vector>,
}

#[derive(Deserialize)]
pub(super) struct Vector {
    pub(super) name: String,
    pub(super) why: String,
    pub(super) rfc: String,
    #[serde(flatten)]
    pub(super) given: Given,
    pub(super) verdict: Verdict,
    /// Of a refusal.
    #[serde(default)]
    pub(super) status: u16,
}

/// What comes, and what of it goes on if it is accepted. In all strings each character from U+0000
/// to U+00FF stands for the byte of that number.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Given {
    /// A request of HTTP/2, and its head in HTTP/1. Of CONNECT, which has none, our text.
    Request {
        headers: Vec<(String, String)>,
        /// The stream ends with it.
        #[serde(default = "yes")]
        end: bool,
        /// Small limits.
        #[serde(default)]
        small: bool,
        #[serde(default)]
        http1: Vec<String>,
        #[serde(default)]
        body: BodyIs,
    },
    /// A response of HTTP/2, and its head in HTTP/1.
    Response {
        headers: Vec<(String, String)>,
        #[serde(default)]
        end: bool,
        #[serde(default)]
        small: bool,
        /// HEAD was asked.
        #[serde(default)]
        head: bool,
        /// The protocol that an extended CONNECT asked for.
        #[serde(default)]
        switch: Option<String>,
        #[serde(default)]
        http1: Vec<String>,
        #[serde(default)]
        body: BodyIs,
    },
    /// Trailers of HTTP/2, and their lines in HTTP/1.
    Trailers {
        headers: Vec<(String, String)>,
        #[serde(default)]
        small: bool,
        #[serde(default)]
        from_upstream: bool,
        #[serde(default)]
        http1: Vec<String>,
    },
    /// A trailer section of HTTP/1, and the trailers of HTTP/2.
    Http1Trailers {
        send: Vec<String>,
        #[serde(default)]
        from_upstream: bool,
        #[serde(default)]
        http2: Vec<(String, String)>,
    },
    /// A request head of HTTP/1, what becomes of it in HTTP/2, and of that in HTTP/1 again.
    Http1Request {
        send: Vec<String>,
        #[serde(default)]
        http2: Vec<(String, String)>,
        #[serde(default)]
        back: Vec<String>,
    },
    /// The same for a response head.
    Http1Response {
        send: Vec<String>,
        #[serde(default)]
        head: bool,
        #[serde(default)]
        http2: Vec<(String, String)>,
        #[serde(default)]
        back: Vec<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Accept,
    Refuse,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum BodyIs {
    #[default]
    None,
    Length(u64),
    Unknown,
}

impl BodyIs {
    pub(super) fn of(body: Body) -> Self {
        match body {
            Body::None => Self::None,
            Body::Length(n) => Self::Length(n),
            Body::Chunked | Body::UntilClose => Self::Unknown,
        }
    }
}

fn yes() -> bool {
    true
}

pub(super) fn bytes(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).expect("a byte"))
        .collect()
}

pub(super) fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}

pub(super) fn list(headers: &[(String, String)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pairs = headers.iter();
    pairs.map(|(n, v)| (bytes(n), bytes(v))).collect()
}
