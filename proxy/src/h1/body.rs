//! Where a body ends: decoding of the three framings, as steps over whatever bytes are there.
//!
//! The decoder looks at framing bytes one by one and skips over payload; it never copies. What it
//! does not do: read, write, or decide how the body is framed for the next hop.

use super::scan::HeadScan;
use crate::{
    error::{Cause, Failure},
    message::{Body, Limits, Span},
};

/// Bytes of chunk extensions allowed in one message, in total. They are legal and unused in
/// practice; unbounded ones have been an attack (hyper CVE-2021-32714's family).
const MAX_EXTENSIONS: u32 = 4_096;

/// What the next bytes of the input are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// `skip` bytes of framing, then `len > 0` bytes of payload, all of them there.
    Data { skip: usize, len: usize },
    /// `skip` bytes of framing, then nothing more yet.
    More { skip: usize },
    /// The body is complete `skip` bytes further; `trailers` are the lines of its trailer section,
    /// with the empty line that ends it, or empty.
    End { skip: usize, trailers: Span },
}

/// The state of one body.
#[derive(Debug)]
pub(crate) enum Decoder {
    Length(u64),
    Chunked(Box<Chunked>),
    UntilClose,
}

#[derive(Debug)]
pub(crate) struct Chunked {
    state: State,
    size: u64,
    digits: u8,
    extensions: u32,
    limits: Limits,
    trailers: HeadScan,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailers,
    Done,
}

impl Decoder {
    /// For a body framed as its head says. `limits` bound the trailer section.
    pub(crate) fn new(body: Body, limits: Limits) -> Self {
        match body {
            Body::None => Self::Length(0),
            Body::Length(n) => Self::Length(n),
            Body::UntilClose => Self::UntilClose,
            Body::Chunked => Self::Chunked(Box::new(Chunked {
                state: State::Size,
                size: 0,
                digits: 0,
                extensions: 0,
                limits: Limits {
                    line: usize::MAX / 2,
                    ..limits
                },
                trailers: HeadScan::default(),
            })),
        }
    }

    /// Looks at `input`, the bytes that follow those already skipped.
    ///
    /// # Errors
    /// The framing is broken; nothing after this point can be trusted. The cause is worded for requests.
    pub(crate) fn step(&mut self, input: &[u8]) -> Result<Step, Failure> {
        match self {
            Self::Length(0) => Ok(Step::End {
                skip: 0,
                trailers: Span::default(),
            }),
            Self::Length(left) => {
                let len = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(input.len());
                *left -= len as u64;
                Ok(if len == 0 {
                    Step::More { skip: 0 }
                } else {
                    Step::Data { skip: 0, len }
                })
            }
            Self::UntilClose if input.is_empty() => Ok(Step::More { skip: 0 }),
            Self::UntilClose => Ok(Step::Data {
                skip: 0,
                len: input.len(),
            }),
            Self::Chunked(chunked) => chunked.step(input),
        }
    }

    /// Whether a closed connection at this point ends the body rather than cutting it.
    pub(crate) fn may_end_by_close(&self) -> bool {
        matches!(self, Self::UntilClose)
    }

    /// Whether the last step said [`Step::End`], or would without looking at more input.
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.state == State::Done,
            Self::UntilClose => false,
        }
    }
}

const fn bad(detail: &'static str) -> Failure {
    Failure::new(Cause::BadRequest, detail)
}

impl Chunked {
    fn step(&mut self, input: &[u8]) -> Result<Step, Failure> {
        let mut at = 0;
        loop {
            match self.state {
                State::Data => {
                    let there = input.len() - at;
                    let len = usize::try_from(self.size).unwrap_or(usize::MAX).min(there);
                    if len == 0 {
                        return Ok(Step::More { skip: at });
                    }
                    self.size -= len as u64;
                    if self.size == 0 {
                        self.state = State::DataCr;
                    }
                    return Ok(Step::Data { skip: at, len });
                }
                State::Trailers => return self.trailer_section(input, at),
                State::Done => {
                    return Ok(Step::End {
                        skip: at,
                        trailers: Span::default(),
                    });
                }
                _ => {}
            }
            let Some(byte) = input.get(at) else {
                return Ok(Step::More { skip: at });
            };
            at += 1;
            self.framing_byte(*byte)?;
        }
    }

    /// One byte of `chunk-size [ chunk-ext ] CRLF` or of the CRLF after chunk data.
    fn framing_byte(&mut self, byte: u8) -> Result<(), Failure> {
        self.state = match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = (byte as char).to_digit(16).unwrap_or_default();
                self.digits += 1;
                // Sixteen digits fill 64 bits; the top one stays clear so that sums cannot overflow.
                if self.digits > 16 || self.size >> 59 != 0 {
                    return Err(bad("chunk size too large"));
                }
                self.size = (self.size << 4) | u64::from(digit);
                State::Size
            }
            (State::Size, b'\r') if self.digits > 0 => State::SizeLf,
            (State::Size, b';') if self.digits > 0 => State::Extension,
            (State::Size, _) => return Err(bad("chunk size")),
            (State::Extension, b'\r') => State::SizeLf,
            (State::Extension, _) => {
                self.extensions += 1;
                if self.extensions > MAX_EXTENSIONS {
                    return Err(bad("chunk extensions too long"));
                }
                if (byte < 0x20 && byte != b'\t') || byte == 0x7f {
                    return Err(bad("control byte in a chunk extension"));
                }
                State::Extension
            }
            (State::SizeLf, b'\n') => {
                self.digits = 0;
                if self.size == 0 {
                    State::Trailers
                } else {
                    State::Data
                }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size,
            _ => return Err(bad("line end in chunked coding")),
        };
        Ok(())
    }

    fn trailer_section(&mut self, input: &[u8], at: usize) -> Result<Step, Failure> {
        let rest = input.get(at..).unwrap_or_default();
        match rest {
            [b'\r', b'\n', ..] => {
                self.state = State::Done;
                return Ok(Step::End {
                    skip: at + 2,
                    trailers: Span::default(),
                });
            }
            [] | [b'\r'] => return Ok(Step::More { skip: at }),
            _ => {}
        }
        match self.trailers.advance(rest, &self.limits)? {
            Some(len) => {
                self.state = State::Done;
                Ok(Step::End {
                    skip: at + len,
                    trailers: Span::new(at, at + len),
                })
            }
            None => Ok(Step::More { skip: at }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        head: 256,
        line: 256,
        fields: 4,
    };

    /// Payload, trailers and what is left over.
    type Decoded = Option<(Vec<u8>, Vec<u8>, Vec<u8>)>;

    /// Decodes input that arrives in pieces.
    fn decode(body: Body, pieces: &[&[u8]]) -> Result<Decoded, &'static str> {
        let mut decoder = Decoder::new(body, LIMITS);
        let mut buffer = Vec::new();
        let mut payload = Vec::new();
        for piece in pieces {
            buffer.extend_from_slice(piece);
            loop {
                match decoder.step(&buffer).map_err(|f| f.detail)? {
                    Step::Data { skip, len } => {
                        payload.extend_from_slice(&buffer[skip..skip + len]);
                        buffer.drain(..skip + len);
                    }
                    Step::More { skip } => {
                        buffer.drain(..skip);
                        break;
                    }
                    Step::End { skip, trailers } => {
                        let trailers = trailers.of(&buffer).to_vec();
                        let rest = pieces.concat();
                        let left = buffer.len() - skip;
                        assert!(decoder.is_done());
                        return Ok(Some((
                            payload,
                            trailers,
                            rest[rest.len() - left..].to_vec(),
                        )));
                    }
                }
            }
        }
        Ok(None)
    }

    #[track_caller]
    fn check(input: &str, expected: Result<Option<(&str, &str)>, &'static str>) {
        let bytes = input.as_bytes();
        let expected =
            expected.map(|o| o.map(|(p, t)| (p.as_bytes().to_vec(), t.as_bytes().to_vec())));
        let whole = decode(Body::Chunked, &[bytes]).map(|o| o.map(|(p, t, _)| (p, t)));
        assert_eq!(whole, expected, "{input:?}");
        let single: Vec<_> = bytes.chunks(1).collect();
        let bytewise = decode(Body::Chunked, &single).map(|o| o.map(|(p, t, _)| (p, t)));
        assert_eq!(bytewise, expected, "bytewise {input:?}");
    }

    #[test]
    fn chunked_bodies() {
        check("5\r\nhello\r\n0\r\n\r\n", Ok(Some(("hello", ""))));
        check(
            "5;a=b;c=\"d\"\r\nhello\r\n3\r\n, w\r\n000\r\n\r\n",
            Ok(Some(("hello, w", ""))),
        );
        check(
            "A\r\n0123456789\r\n0\r\nX: y\r\nZ: w\r\n\r\n",
            Ok(Some(("0123456789", "X: y\r\nZ: w\r\n\r\n"))),
        );
        check("5\r\nhel", Ok(None));
        check("0\r\n\r", Ok(None));
    }

    #[test]
    fn broken_chunks() {
        for (input, detail) in [
            ("\r\n", "chunk size"),
            ("x\r\n", "chunk size"),
            ("-1\r\n", "chunk size"),
            ("+1\r\n", "chunk size"),
            (" 1\r\n", "chunk size"),
            ("1 \r\n", "chunk size"),
            ("0x1\r\n", "chunk size"),
            ("1\n", "chunk size"),
            ("1\rx", "line end in chunked coding"),
            ("1\r\nab", "line end in chunked coding"),
            ("1\r\na\n", "line end in chunked coding"),
            ("1\r\na\rx", "line end in chunked coding"),
            ("10000000000000000\r\n", "chunk size too large"),
            ("8000000000000000\r\n", "chunk size too large"),
            ("00000000000000000\r\n", "chunk size too large"),
            ("1;\u{1}\r\n", "control byte in a chunk extension"),
            ("1;\n\r\n", "control byte in a chunk extension"),
            ("0\r\nX: y\n\r\n", "bare LF in head"),
        ] {
            check(input, Err(detail));
        }
        check(
            &format!("1;{}\r\n", "x".repeat(5_000)),
            Err("chunk extensions too long"),
        );
        check(
            &format!("0\r\nX: {}\r\n\r\n", "y".repeat(300)),
            Err("size of the head"),
        );
    }

    #[test]
    fn lengths_and_leftovers() {
        let (payload, _, rest) = decode(Body::Length(3), &[b"ab", b"cGET"])
            .expect("valid")
            .expect("complete");
        assert_eq!((&payload[..], &rest[..]), (&b"abc"[..], &b"GET"[..]));
        assert_eq!(
            decode(Body::None, &[b""]).expect("valid"),
            Some((vec![], vec![], vec![]))
        );
        assert_eq!(decode(Body::UntilClose, &[b"abc"]).expect("valid"), None);
    }

    proptest! {
        /// However a chunked body is cut, into chunks and into reads, the payload is the same.
        #[test]
        fn reassembles(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8), cut in 1_usize..50) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\nREST");
            let pieces: Vec<_> = wire.chunks(cut).collect();
            let (payload, trailers, _) = decode(Body::Chunked, &pieces).expect("valid").expect("complete");
            prop_assert_eq!(payload, chunks.concat());
            prop_assert!(trailers.is_empty());
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b'1'), Just(b';'), any::<u8>()], 0..100)) {
            let _ = decode(Body::Chunked, &bytes.chunks(3).collect::<Vec<_>>());
        }
    }
}
