//! Reads the answers on one connection: enough to know whether each is right and where it ends.

use crate::framing::{BodyReader, Framing, Malformed};

/// Heads longer than this are not read on.
const MOST_HEAD: usize = 256 << 10;
const MOST_FIELDS: usize = 128;

/// What kind of answers a connection carries.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// HTTP/1; whether the request was a HEAD, which no body answers.
    Http { head: bool },
    /// So many bytes and nothing around them.
    Raw(u64),
}

/// An answer that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) keep_alive: bool,
    /// Bytes of its body.
    pub(crate) length: u64,
}

#[derive(Debug)]
pub(crate) struct Reader {
    kind: Kind,
    /// The beginning of a head that did not come in one piece.
    part: Vec<u8>,
    body: Option<BodyReader>,
    answer: Answer,
}

impl Reader {
    pub(crate) fn new(kind: Kind) -> Self {
        let mut reader = Self {
            kind,
            part: Vec::new(),
            body: None,
            answer: Answer {
                status: 200,
                keep_alive: true,
                length: 0,
            },
        };
        reader.reset();
        reader
    }

    /// Begins with the next answer.
    pub(crate) fn reset(&mut self) {
        self.part.clear();
        self.answer.length = 0;
        self.body = match self.kind {
            Kind::Http { .. } => None,
            Kind::Raw(length) => Some(BodyReader::new(Framing::Length(length))),
        };
    }

    /// How many bytes may be thrown away unread.
    pub(crate) fn skippable(&self) -> u64 {
        self.body.as_ref().map_or(0, BodyReader::skippable)
    }

    /// Notes that `count` of them were; the answer, if that was its end.
    pub(crate) fn skip(&mut self, count: u64) -> Option<Answer> {
        self.answer.length += count;
        let body = self.body.as_mut()?;
        body.skip(count);
        body.is_done().then_some(self.answer)
    }

    /// The connection ended. An answer, if that was its end.
    pub(crate) fn end(&self) -> Option<Answer> {
        let body = self.body.as_ref()?;
        let mut answer = self.answer;
        answer.keep_alive = false;
        body.ends_by_close().then_some(answer)
    }

    /// Takes bytes. More than belong to one answer are malformed, since one request is sent at a
    /// time.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Option<Answer>, Malformed> {
        if self.body.is_some() {
            return self.feed_body(bytes);
        }
        if self.part.is_empty() {
            match self.head(bytes)? {
                Some(used) => self.feed(bytes.get(used..).unwrap_or_default()),
                None if self.body.is_some() => Ok(None),
                None => {
                    self.part.extend_from_slice(bytes);
                    Ok(None)
                }
            }
        } else {
            let mut part = std::mem::take(&mut self.part);
            part.extend_from_slice(bytes);
            if part.len() > MOST_HEAD {
                return Err(Malformed);
            }
            self.feed(&part)
        }
    }

    fn feed_body(&mut self, bytes: &[u8]) -> Result<Option<Answer>, Malformed> {
        let Some(body) = &mut self.body else {
            return Ok(None);
        };
        let length = &mut self.answer.length;
        let used = body.feed(bytes, |piece| *length += piece.len() as u64)?;
        if used < bytes.len() {
            return Err(Malformed);
        }
        Ok(body.is_done().then_some(self.answer))
    }

    /// Reads a head if it is whole: how long it is. Interim answers are passed over.
    fn head(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let mut head = httparse::Response::new(&mut fields);
        let used = match head.parse(bytes) {
            Ok(httparse::Status::Complete(used)) => used,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(Malformed),
        };
        let status = head.code.ok_or(Malformed)?;
        if (100..200).contains(&status) && status != 101 {
            return Ok(Some(used));
        }
        let mut framing = Framing::UntilClose;
        let mut keep_alive = head.version == Some(1);
        for field in head.headers.iter() {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            if is("content-length") && framing != Framing::Chunked {
                let text = std::str::from_utf8(field.value).map_err(|_| Malformed)?;
                framing = Framing::Length(text.trim().parse().map_err(|_| Malformed)?);
            } else if is("transfer-encoding") {
                framing = Framing::Chunked;
            } else if is("connection") {
                let value = String::from_utf8_lossy(field.value).to_ascii_lowercase();
                let has = |word: &str| value.split(',').any(|part| part.trim() == word);
                keep_alive = !has("close") && (keep_alive || has("keep-alive"));
            }
        }
        let no_body =
            matches!(self.kind, Kind::Http { head: true }) || status == 204 || status == 304;
        if no_body {
            framing = Framing::Length(0);
        }
        self.answer.status = status;
        self.answer.keep_alive = keep_alive && framing != Framing::UntilClose;
        self.body = Some(BodyReader::new(framing));
        Ok(Some(used))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTTP: Kind = Kind::Http { head: false };

    /// Feeds in pieces of every size; all must say the same.
    fn read(kind: Kind, input: &[u8]) -> Result<Option<Answer>, Malformed> {
        let whole = Reader::new(kind).feed(input);
        for size in 1..input.len() {
            let mut reader = Reader::new(kind);
            let mut last = Ok(None);
            for piece in input.chunks(size) {
                last = match last {
                    Ok(Some(_)) => Err(Malformed),
                    Ok(None) => reader.feed(piece),
                    error => error,
                };
            }
            assert_eq!(last, whole, "in pieces of {size}");
        }
        whole
    }

    fn answer(status: u16, keep_alive: bool, length: u64) -> Answer {
        Answer {
            status,
            keep_alive,
            length,
        }
    }

    #[test]
    fn answers_end_where_their_framing_says() {
        for (input, expected) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
                answer(200, true, 3),
            ),
            (
                "HTTP/1.1 503 \r\ncontent-length: 0\r\nConnection: close\r\n\r\n",
                answer(503, false, 0),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
                answer(200, true, 2),
            ),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na",
                answer(200, false, 1),
            ),
            ("HTTP/1.1 204 No\r\n\r\n", answer(204, true, 0)),
            (
                "HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
                answer(200, true, 1),
            ),
        ] {
            assert_eq!(
                read(HTTP, input.as_bytes()),
                Ok(Some(expected)),
                "{input:?}"
            );
        }
    }

    #[test]
    fn what_ends_with_the_connection_ends_there() {
        let mut reader = Reader::new(HTTP);
        assert_eq!(reader.feed(b"HTTP/1.1 200 OK\r\n\r\nabc"), Ok(None));
        assert_eq!(reader.end(), Some(answer(200, false, 3)));
        let mut cut = Reader::new(HTTP);
        assert_eq!(
            cut.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"),
            Ok(None)
        );
        assert_eq!(cut.end(), None);
    }

    #[test]
    fn more_than_an_answer_is_malformed() {
        let input = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab";
        assert_eq!(read(HTTP, input), Err(Malformed));
        assert_eq!(read(HTTP, b"garbage\r\n\r\n"), Err(Malformed));
    }

    #[test]
    fn a_head_has_no_body_and_bytes_have_no_head() {
        let input = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
        assert_eq!(
            read(Kind::Http { head: true }, input),
            Ok(Some(answer(200, true, 0)))
        );
        assert_eq!(read(Kind::Raw(4), b"abcd"), Ok(Some(answer(200, true, 4))));
        let mut raw = Reader::new(Kind::Raw(10));
        assert_eq!(raw.skip(6), None);
        assert_eq!(raw.skip(4), Some(answer(200, true, 10)));
    }
}
