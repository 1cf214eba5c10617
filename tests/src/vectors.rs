//! The vectors in `tests/vectors`: bytes, what must become of them, and why.
//!
//! In all strings each character from U+0000 to U+00FF stands for the byte of that number.

use std::{fs, path::PathBuf};

use serde::{Deserialize, de::DeserializeOwned};

use crate::http;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Topic<T> {
    about: String,
    vectors: Vec<T>,
}

/// What the upstream must receive.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forwarded {
    /// The request line.
    pub line: String,
    /// Field lines that must be there, byte for byte.
    #[serde(default)]
    pub has: Vec<String>,
    /// Names of fields that must not be there.
    #[serde(default)]
    pub lacks: Vec<String>,
    /// The body, without its framing.
    #[serde(default)]
    pub body: String,
    /// The trailers; absent: none.
    #[serde(default)]
    pub trailers: Vec<String>,
}

/// Verdict on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Forwarded, and answered with what the upstream says.
    Accept,
    /// Answered with `status` by the proxy, which then closes.
    Reject,
}

/// Where a refused request is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// In its head: not one byte of it reaches the upstream.
    #[default]
    Head,
    /// In its body: the head may have gone on, but the upstream never gets a whole request.
    Body,
}

/// Bytes a client sends, and what must become of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Unique within its topic.
    pub name: String,
    /// The reason of the verdict.
    pub why: String,
    /// Section of an RFC.
    pub rfc: String,
    /// Name of the listener it is sent to; absent: `plain`.
    #[serde(default = "plain")]
    pub on: String,
    /// The bytes.
    pub send: String,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Status of the refusal.
    #[serde(default)]
    pub status: u16,
    /// Where a refused one is wrong.
    #[serde(default)]
    pub when: When,
    /// What the upstream receives, in order.
    #[serde(default)]
    pub forward: Vec<Forwarded>,
    /// Whether the proxy closes after the last answer.
    #[serde(default)]
    pub close: bool,
}

impl Request {
    /// The bytes to send.
    pub fn bytes(&self) -> Vec<u8> {
        http::bytes(&self.send)
    }
}

fn plain() -> String {
    "plain".to_owned()
}

/// How an upstream ends its connection after a vector's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// It keeps it.
    #[default]
    Open,
    /// FIN.
    Close,
    /// RST.
    Reset,
}

/// Verdict on a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Passing {
    /// The client sees it.
    Pass,
    /// The client sees `status` from the proxy instead.
    Refuse,
    /// The client sees the break (or 502), never a whole response.
    Cut,
}

/// What is asked before a response vector is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Ask {
    /// GET.
    #[default]
    GET,
    /// HEAD.
    HEAD,
    /// GET with an upgrade to WebSocket.
    #[serde(rename = "websocket")]
    WebSocket,
    /// GET to the cluster with small limits.
    #[serde(rename = "small")]
    Small,
}

/// Bytes an upstream sends, and what must become of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    /// Unique within its topic.
    pub name: String,
    /// The reason of the verdict.
    pub why: String,
    /// Section of an RFC.
    pub rfc: String,
    /// What was asked.
    #[serde(default)]
    pub request: Ask,
    /// The bytes.
    pub send: String,
    /// What the upstream does next.
    #[serde(default)]
    pub end: Ending,
    /// What becomes of it.
    pub verdict: Passing,
    /// The status the client sees.
    #[serde(default)]
    pub status: u16,
    /// Statuses of interim responses the client sees before it.
    #[serde(default)]
    pub interim: Vec<u16>,
    /// Field lines that must be there, byte for byte.
    #[serde(default)]
    pub has: Vec<String>,
    /// Names of fields that must not be there.
    #[serde(default)]
    pub lacks: Vec<String>,
    /// The body, without its framing.
    #[serde(default)]
    pub body: String,
    /// The trailers; absent: none.
    #[serde(default)]
    pub trailers: Vec<String>,
    /// Whether the connection to the upstream may serve another request; absent: not asserted.
    #[serde(default)]
    pub reuse: Option<bool>,
}

impl Response {
    /// The bytes to send.
    pub fn bytes(&self) -> Vec<u8> {
        http::bytes(&self.send)
    }
}

/// All request vectors with their topic.
pub fn requests() -> Vec<(String, Request)> {
    load("http1")
}

/// All response vectors with their topic.
pub fn responses() -> Vec<(String, Response)> {
    load("http1_responses")
}

/// Messages of HTTP/2 of a kind (`request`, `response`, `trailers`): their fields as lines. Their
/// verdicts are for tests beside the translation.
pub fn http2(kind: &str) -> Vec<Vec<u8>> {
    let all = load::<Message>("http2").into_iter().map(|(_, v)| v);
    all.filter(|v| v.kind == kind)
        .map(|v| {
            let lines = v.headers.iter().map(|(n, v)| format!("{n}: {v}\n"));
            http::bytes(&lines.collect::<String>())
        })
        .collect()
}

#[derive(Deserialize)]
struct Message {
    kind: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
}

fn load<T: DeserializeOwned>(folder: &str) -> Vec<(String, T)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("vectors")
        .join(folder);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let topic: Topic<T> =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        assert!(!topic.about.is_empty(), "{}", file.display());
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        all.extend(topic.vectors.into_iter().map(|v| (name.clone(), v)));
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn requests_are_whole_and_unique() {
        let all = requests();
        assert!(all.len() >= 170, "{}", all.len());
        let mut names = HashSet::new();
        for (topic, v) in all {
            assert!(
                names.insert(format!("{topic}/{}", v.name)),
                "{topic}/{}",
                v.name
            );
            assert!(!v.why.is_empty() && !v.rfc.is_empty(), "{}", v.name);
            assert!(!v.bytes().is_empty(), "{}", v.name);
            match v.verdict {
                Verdict::Accept => assert!(!v.forward.is_empty() && v.status == 0, "{}", v.name),
                Verdict::Reject => assert!(v.status >= 400 && !v.close, "{}", v.name),
            }
        }
    }

    #[test]
    fn messages_of_http2_are_there() {
        for (kind, least) in [("request", 120), ("response", 30), ("trailers", 8)] {
            let all = http2(kind);
            assert!(all.len() >= least, "{kind}: {}", all.len());
        }
    }

    #[test]
    fn responses_are_whole_and_unique() {
        let all = responses();
        assert!(all.len() >= 50, "{}", all.len());
        let mut names = HashSet::new();
        for (topic, v) in all {
            assert!(
                names.insert(format!("{topic}/{}", v.name)),
                "{topic}/{}",
                v.name
            );
            assert!(!v.why.is_empty() && !v.rfc.is_empty(), "{}", v.name);
            assert_eq!(v.status == 0, v.verdict == Passing::Cut, "{}", v.name);
            http::bytes(&v.send);
        }
    }
}
