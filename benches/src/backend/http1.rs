//! HTTP/1 of the back end: bytes in, answers out. Answers of fixed size are made once.

use std::{collections::HashMap, rc::Rc};

use super::routes::{MOST, Reply, route};
use crate::{
    framing::{BodyReader, Framing, Malformed},
    load::request::pattern,
};

const MOST_HEAD: usize = 256 << 10;
const MOST_FIELDS: usize = 128;

/// What is to be sent.
pub(super) struct Answer {
    pub(super) bytes: Rc<[u8]>,
    /// Close the connection behind it.
    pub(super) close: bool,
}

/// What all connections share.
#[derive(Default)]
pub(super) struct Server {
    fixed: HashMap<usize, Rc<[u8]>>,
}

impl Server {
    fn fixed(&mut self, size: usize) -> Rc<[u8]> {
        let made = self.fixed.entry(size);
        Rc::clone(made.or_insert_with(|| answer(200, &pattern(size), false)))
    }
}

/// One connection: the request that is being read.
#[derive(Default)]
pub(super) struct Conn {
    /// What came of it before its head was whole, or of those behind it.
    part: Vec<u8>,
    request: Option<Request>,
}

struct Request {
    reply: Reply,
    body: BodyReader,
    /// What of it is sent back.
    kept: Vec<u8>,
    length: u64,
    close: bool,
}

impl Conn {
    pub(super) fn skippable(&self) -> u64 {
        match &self.request {
            Some(request) if request.reply != Reply::Echo => request.body.skippable(),
            _ => 0,
        }
    }

    pub(super) fn skip(&mut self, server: &mut Server, count: u64) -> Option<Answer> {
        let request = self.request.as_mut()?;
        request.length += count;
        request.body.skip(count);
        self.finished(server)
    }

    /// Takes bytes. An answer, if that was the end of a request.
    pub(super) fn feed(&mut self, server: &mut Server, bytes: &[u8]) -> Option<Answer> {
        match self.take(server, bytes) {
            Ok(answer) => answer,
            Err(Malformed) => Some(Answer {
                bytes: answer(400, b"malformed\n", true),
                close: true,
            }),
        }
    }

    fn take(&mut self, server: &mut Server, bytes: &[u8]) -> Result<Option<Answer>, Malformed> {
        let joined;
        let mut bytes = bytes;
        if !self.part.is_empty() {
            let mut part = std::mem::take(&mut self.part);
            part.extend_from_slice(bytes);
            joined = part;
            bytes = &joined;
        }
        if self.request.is_none() {
            let Some((used, request)) = head(bytes)? else {
                if bytes.len() > MOST_HEAD {
                    return Err(Malformed);
                }
                self.part.extend_from_slice(bytes);
                return Ok(None);
            };
            self.request = Some(request);
            bytes = bytes.get(used..).unwrap_or_default();
        }
        if let Some(request) = &mut self.request {
            let (length, kept) = (&mut request.length, &mut request.kept);
            let echo = request.reply == Reply::Echo;
            let used = request.body.feed(bytes, |piece| {
                *length += piece.len() as u64;
                if echo && kept.len() + piece.len() <= MOST {
                    kept.extend_from_slice(piece);
                }
            })?;
            // No proxy pipelines, so what follows waits for no event of its own: refuse it.
            if used < bytes.len() {
                return Err(Malformed);
            }
        }
        Ok(self.finished(server))
    }

    fn finished(&mut self, server: &mut Server) -> Option<Answer> {
        let request = self.request.take_if(|request| request.body.is_done())?;
        let close = request.close;
        let bytes = match request.reply {
            Reply::Bytes(size) if !close => server.fixed(size),
            Reply::Bytes(size) => answer(200, &pattern(size), true),
            Reply::Count => answer(200, request.length.to_string().as_bytes(), close),
            Reply::Echo | Reply::Inspect | Reply::Field(_) => answer(200, &request.kept, close),
            Reply::Unknown => answer(404, b"no such path\n", close),
        };
        Some(Answer { bytes, close })
    }
}

fn answer(status: u16, body: &[u8], close: bool) -> Rc<[u8]> {
    let reason = if status == 200 { "OK" } else { "Error" };
    let close = if close { "Connection: close\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\nServer: bench\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n{close}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat().into()
}

/// Reads a head if it is whole.
fn head(bytes: &[u8]) -> Result<Option<(usize, Request)>, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut head = httparse::Request::new(&mut fields);
    let used = match head.parse(bytes) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Malformed),
    };
    let reply = route(head.path.unwrap_or_default());
    let mut framing = Framing::Length(0);
    let mut close = head.version == Some(0);
    let mut kept = Vec::new();
    for field in head.headers.iter() {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            let text = std::str::from_utf8(field.value).map_err(|_| Malformed)?;
            framing = Framing::Length(text.trim().parse().map_err(|_| Malformed)?);
        } else if is("transfer-encoding") {
            framing = Framing::Chunked;
        } else if is("connection") {
            let value = String::from_utf8_lossy(field.value).to_ascii_lowercase();
            close = value.contains("close") || (close && !value.contains("keep-alive"));
        }
        if matches!(&reply, Reply::Field(name) if is(name)) {
            kept = field.value.to_vec();
        }
    }
    if reply == Reply::Inspect {
        kept = bytes.get(..used).unwrap_or_default().to_vec();
    }
    let request = Request {
        reply,
        body: BodyReader::new(framing),
        kept,
        length: 0,
        close,
    };
    Ok(Some((used, request)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds in pieces of every size; all must give the same answer.
    fn ask(input: &str) -> (String, bool) {
        let mut answers = (1..=input.len()).map(|size| {
            let mut conn = Conn::default();
            let mut server = Server::default();
            let mut answer = None;
            for piece in input.as_bytes().chunks(size) {
                answer = conn.feed(&mut server, piece);
            }
            let answer = answer.expect("a whole request has an answer");
            let text = String::from_utf8(answer.bytes.to_vec()).unwrap();
            (text, answer.close)
        });
        let first = answers.next().unwrap();
        assert!(answers.all(|answer| answer == first), "{input:?}");
        first
    }

    #[test]
    fn requests_are_answered_by_path() {
        let (text, close) = ask("GET /bytes/3 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(text.ends_with("Content-Length: 3\r\n\r\nabc"), "{text}");
        assert!(!close);
        let (text, close) = ask(
            "POST /sink HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
        );
        assert!(text.ends_with("\r\n\r\n4"), "{text}");
        assert!(close);
        let (text, _) = ask("POST /echo HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello");
        assert!(text.ends_with("\r\n\r\nhello"), "{text}");
        let (text, _) = ask("GET /field/X-A HTTP/1.1\r\nx-a: 7\r\n\r\n");
        assert!(text.ends_with("\r\n\r\n7"), "{text}");
        let (text, close) = ask("GET /inspect HTTP/1.0\r\nx-a: 7\r\n\r\n");
        assert!(
            text.ends_with("GET /inspect HTTP/1.0\r\nx-a: 7\r\n\r\n"),
            "{text}"
        );
        assert!(close);
        assert!(ask("GET /x HTTP/1.1\r\n\r\n").0.starts_with("HTTP/1.1 404"));
    }

    #[test]
    fn a_connection_carries_one_request_after_another() {
        let (mut conn, mut server) = (Conn::default(), Server::default());
        for _ in 0..3 {
            let answer = conn.feed(&mut server, b"GET / HTTP/1.1\r\n\r\n").unwrap();
            assert!(!answer.close);
            assert!(answer.bytes.ends_with(&pattern(1024)));
        }
    }
}
