//! Heads for unit tests, made from their parts without a parser.

use super::{
    Edits, Field, Fields, Known, Method, RequestHead, RequestView, ResponseHead, ResponseView,
    Span, path,
};

/// A request head together with its bytes.
pub(crate) struct TestRequest {
    bytes: Vec<u8>,
    head: RequestHead,
}

impl TestRequest {
    /// A request for `target` (path and query; the path gets normalised) at `host` (with or
    /// without a port; empty: no `Host` field).
    pub(crate) fn new(method: &str, host: &str, target: &str, headers: &[(&str, &str)]) -> Self {
        let mut bytes = Vec::new();
        let method_text = push(&mut bytes, method);
        bytes.push(b' ');
        let cut = target.find('?').unwrap_or(target.len());
        let (raw_path, raw_query) = target.split_at(cut);
        let path = push(&mut bytes, raw_path);
        let query = push(&mut bytes, raw_query);
        bytes.extend_from_slice(b" HTTP/1.1\r\n");
        let mut fields = Fields::default();
        let mut authority = Span::default();
        if !host.is_empty() {
            authority = push_field(&mut bytes, &mut fields, "Host", host);
        }
        for (name, value) in headers {
            push_field(&mut bytes, &mut fields, name, value);
        }
        bytes.extend_from_slice(b"\r\n");
        let head = RequestHead {
            method: Method::of(method.as_bytes()),
            method_text,
            path,
            query,
            authority,
            normal_path: path::normalise(raw_path.as_bytes(), false).unwrap(),
            fields,
            keep_alive: true,
            len: bytes.len(),
            ..RequestHead::default()
        };
        Self { bytes, head }
    }

    /// `GET` without further fields.
    pub(crate) fn get(host: &str, target: &str) -> Self {
        Self::new("GET", host, target, &[])
    }

    pub(crate) fn view(&self) -> RequestView<'_> {
        RequestView {
            bytes: &self.bytes,
            head: &self.head,
        }
    }

    /// The fields as they would be written: `name: value` lines, kept ones first.
    pub(crate) fn lines(&self, edits: &Edits) -> Vec<String> {
        lines(&self.bytes, &self.head.fields, edits)
    }
}

/// A response head together with its bytes.
pub(crate) struct TestResponse {
    bytes: Vec<u8>,
    head: ResponseHead,
}

impl TestResponse {
    pub(crate) fn new(status: u16, headers: &[(&str, &str)]) -> Self {
        let mut bytes = format!("HTTP/1.1 {status} \r\n").into_bytes();
        let mut fields = Fields::default();
        for (name, value) in headers {
            push_field(&mut bytes, &mut fields, name, value);
        }
        bytes.extend_from_slice(b"\r\n");
        let head = ResponseHead {
            status,
            fields,
            keep_alive: true,
            len: bytes.len(),
            ..ResponseHead::default()
        };
        Self { bytes, head }
    }

    pub(crate) fn view(&self) -> ResponseView<'_> {
        ResponseView {
            bytes: &self.bytes,
            head: &self.head,
        }
    }

    /// The fields as they would be written: `name: value` lines, kept ones first.
    pub(crate) fn lines(&self, edits: &Edits) -> Vec<String> {
        lines(&self.bytes, &self.head.fields, edits)
    }
}

fn push(bytes: &mut Vec<u8>, text: &str) -> Span {
    let start = bytes.len();
    bytes.extend_from_slice(text.as_bytes());
    Span::new(start, bytes.len())
}

fn push_field(bytes: &mut Vec<u8>, fields: &mut Fields, name: &str, value: &str) -> Span {
    let start = bytes.len();
    let known = Known::of(name.as_bytes());
    let name = push(bytes, name);
    bytes.extend_from_slice(b": ");
    let value = push(bytes, value);
    bytes.extend_from_slice(b"\r\n");
    let line = Span::new(start, bytes.len());
    fields.push(Field {
        name,
        value,
        line,
        known,
    });
    value
}

fn lines(bytes: &[u8], fields: &Fields, edits: &Edits) -> Vec<String> {
    let kept = fields
        .iter()
        .enumerate()
        .filter(|(index, _)| !edits.is_dropped(*index))
        .map(|(_, field)| {
            String::from_utf8_lossy(field.line.of(bytes))
                .trim_end()
                .into()
        });
    let added = String::from_utf8_lossy(edits.added()).into_owned();
    kept.chain(added.lines().map(String::from)).collect()
}
