//! A request as a plan describes it, and the bytes HTTP/1 makes of it, once and for all requests.

use serde::{Deserialize, Serialize};

use crate::framing::chunked;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    /// `Host`, or `:authority`; empty for the target's address.
    pub(crate) host: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Body,
    /// Bytes per chunk; absent for a body with `Content-Length`.
    pub(crate) chunk: Option<usize>,
    /// One request per connection.
    pub(crate) close: bool,
    /// The body goes as a message of gRPC, and its status is looked at.
    pub(crate) grpc: bool,
    /// Bytes the body of the answer must have; another number is an error.
    pub(crate) expect: Option<u64>,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            host: String::new(),
            headers: Vec::new(),
            body: Body::Size(0),
            chunk: None,
            close: false,
            grpc: false,
            expect: None,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Body {
    /// So many bytes of a pattern.
    Size(usize),
    Text(String),
}

impl Request {
    pub(crate) fn body_bytes(&self) -> Vec<u8> {
        let body = match &self.body {
            Body::Size(size) => pattern(*size),
            Body::Text(text) => text.clone().into_bytes(),
        };
        if self.grpc {
            return grpc_message(&body);
        }
        body
    }

    /// The whole request on the wire of HTTP/1.
    pub(crate) fn http1_bytes(&self, target: &str) -> Vec<u8> {
        let host = match self.host.as_str() {
            "" => target,
            host => host,
        };
        let mut out = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            out.extend([name, ": ", value, "\r\n"]);
        }
        if self.close {
            out += "Connection: close\r\n";
        }
        let body = self.body_bytes();
        let has_body = !body.is_empty() || matches!(self.method.as_str(), "POST" | "PUT" | "PATCH");
        let mut out = match self.chunk {
            Some(_) => format!("{out}Transfer-Encoding: chunked\r\n\r\n"),
            None if has_body => format!("{out}Content-Length: {}\r\n\r\n", body.len()),
            None => format!("{out}\r\n"),
        }
        .into_bytes();
        match self.chunk {
            Some(size) => out.extend(chunked(&body, size)),
            None => out.extend(body),
        }
        out
    }
}

/// Bytes that are easily told from others, and from themselves moved.
pub(crate) fn pattern(size: usize) -> Vec<u8> {
    (0..size)
        .map(|at| b'a' + (at % 23) as u8 + ((at >> 10) % 3) as u8)
        .collect()
}

/// A message with the prefix that gRPC gives it: not compressed, and its length.
pub(crate) fn grpc_message(body: &[u8]) -> Vec<u8> {
    let mut out = vec![0];
    out.extend_from_slice(&(body.len() as u32).to_be_bytes());
    out.extend_from_slice(body);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_framed_as_asked() {
        let mut request = Request {
            method: "POST".to_owned(),
            path: "/sink".to_owned(),
            body: Body::Size(5),
            ..Request::default()
        };
        let text = |request: &Request| String::from_utf8(request.http1_bytes("h:1")).unwrap();
        assert_eq!(
            text(&request),
            "POST /sink HTTP/1.1\r\nHost: h:1\r\nContent-Length: 5\r\n\r\nabcde"
        );
        request.chunk = Some(3);
        request.host = "other".to_owned();
        assert_eq!(
            text(&request),
            "POST /sink HTTP/1.1\r\nHost: other\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        );
        request = Request {
            close: true,
            ..Request::default()
        };
        assert_eq!(
            text(&request),
            "GET / HTTP/1.1\r\nHost: h:1\r\nConnection: close\r\n\r\n"
        );
    }

    #[test]
    fn a_grpc_message_has_its_prefix() {
        assert_eq!(grpc_message(b"ab"), [0, 0, 0, 0, 2, b'a', b'b']);
    }
}
