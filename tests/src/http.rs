//! HTTP/1 messages as the tests see them: what came, exactly. Parsing here is plain and forgives
//! nothing that a test could want to see.

use std::fmt;

/// A field line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// As written.
    pub name: String,
    /// Without the blanks around it; each byte is one `char` (Latin-1).
    pub value: String,
}

/// How a body was delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There was none.
    None,
    /// By its length.
    Length(u64),
    /// By chunks.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

/// A request or response.
#[derive(Clone, Debug)]
pub struct Message {
    /// The first line.
    pub line: String,
    /// The fields, in order.
    pub fields: Vec<Field>,
    /// The trailer fields, in order.
    pub trailers: Vec<Field>,
    /// The body, without its framing.
    pub body: Vec<u8>,
    /// How the body was delimited.
    pub framing: Framing,
    /// The head as it came, with its empty line.
    pub raw_head: Vec<u8>,
}

impl Message {
    /// Reads a complete head.
    #[track_caller]
    pub fn from_head(raw: &[u8]) -> Self {
        let text = latin1(raw);
        let mut lines = text
            .strip_suffix("\r\n\r\n")
            .unwrap_or_else(|| panic!("no complete head: {text:?}"))
            .split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        Self {
            line,
            fields: lines.map(field).collect(),
            trailers: Vec::new(),
            body: Vec::new(),
            framing: Framing::None,
            raw_head: raw.to_vec(),
        }
    }

    /// Status code of a response.
    #[track_caller]
    pub fn status(&self) -> u16 {
        self.line
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .unwrap_or_else(|| panic!("no status line: {:?}", self.line))
    }

    /// Method of a request.
    pub fn method(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }

    /// Target of a request.
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// The value of the only field of this name.
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.all(name);
        let first = found.next();
        assert!(found.next().is_none(), "{name} is there twice: {self}");
        first
    }

    /// The values of all fields of this name.
    pub fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.fields
            .iter()
            .filter(move |f| f.name.eq_ignore_ascii_case(name))
            .map(|f| f.value.as_str())
    }

    /// Whether a list field holds a token, whatever the case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.all(name)
            .flat_map(|v| v.split(','))
            .any(|t| t.trim().eq_ignore_ascii_case(token))
    }

    /// Whether this very line, name's case included, is among the fields.
    pub fn has_line(&self, line: &str) -> bool {
        has_line(&self.fields, line)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        latin1(&self.body)
    }

    /// How the body of a request is delimited (RFC 9112 section 6.3).
    #[track_caller]
    pub fn request_framing(&self) -> Framing {
        if self.has_token("transfer-encoding", "chunked") {
            return Framing::Chunked;
        }
        match self.field("content-length").map(number) {
            None | Some(0) => Framing::None,
            Some(n) => Framing::Length(n),
        }
    }

    /// How the body of the response to `method` is delimited.
    #[track_caller]
    pub fn response_framing(&self, method: &str) -> Framing {
        let status = self.status();
        if method == "HEAD" || status < 200 || status == 204 || status == 304 {
            return Framing::None;
        }
        if self.has_token("transfer-encoding", "chunked") {
            return Framing::Chunked;
        }
        match self.field("content-length").map(number) {
            None => Framing::UntilClose,
            Some(n) => Framing::Length(n),
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}[body of {} bytes, {:?}: {}]{:?}",
            latin1(&self.raw_head),
            self.body.len(),
            self.framing,
            self.body[..self.body.len().min(200)].escape_ascii(),
            self.trailers
        )
    }
}

/// Whether this very line is among the fields.
pub fn has_line(fields: &[Field], line: &str) -> bool {
    let wanted = field(line);
    fields.contains(&wanted)
}

/// Splits a field line.
#[track_caller]
pub fn field(line: &str) -> Field {
    let (name, value) = line
        .split_once(':')
        .unwrap_or_else(|| panic!("no field: {line:?}"));
    Field {
        name: name.to_owned(),
        value: value.trim_matches([' ', '\t']).to_owned(),
    }
}

#[track_caller]
fn number(text: &str) -> u64 {
    text.parse()
        .unwrap_or_else(|_| panic!("no number: {text:?}"))
}

/// Each byte as the `char` of its number.
pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}

/// The other way; panics on a `char` beyond U+00FF.
#[track_caller]
pub fn bytes(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap_or_else(|_| panic!("no byte: {c:?}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_keeps_case_order_and_bytes() {
        let message = Message::from_head(b"GET /x HTTP/1.1\r\nhOsT: a\r\nX: \xff\r\nx:2\r\n\r\n");
        assert_eq!((message.method(), message.target()), ("GET", "/x"));
        assert_eq!(message.field("host"), Some("a"));
        assert!(message.has_line("X: \u{ff}"));
        assert!(!message.has_line("x: \u{ff}"));
        assert_eq!(message.all("x").collect::<Vec<_>>(), ["\u{ff}", "2"]);
    }

    #[test]
    fn framing_of_responses() {
        let framing =
            |method: &str, head: &str| Message::from_head(head.as_bytes()).response_framing(method);
        let length = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(framing("GET", length), Framing::Length(3));
        assert_eq!(framing("HEAD", length), Framing::None);
        assert_eq!(
            framing("GET", "HTTP/1.1 200 OK\r\n\r\n"),
            Framing::UntilClose
        );
        assert_eq!(framing("GET", "HTTP/1.1 204 X\r\n\r\n"), Framing::None);
        assert_eq!(
            framing(
                "GET",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            ),
            Framing::Chunked
        );
    }
}
