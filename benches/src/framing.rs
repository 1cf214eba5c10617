//! Where a body of HTTP/1 ends, for both the generator and the back end: as little reading of
//! messages as telling them apart needs. Not a checker of grammar; the proxies under test are.

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// What could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In so many bytes that are all payload, then the end.
    Plain(u64),
    Endless,
    Size {
        value: u64,
        digits: u8,
        extension: bool,
    },
    Chunk(u64),
    /// Behind a chunk's payload, before its line feed.
    ChunkEnd,
    /// In the trailer section; how many bytes its current line has.
    Trailer(u32),
    Done,
}

/// Reads a body piece by piece.
#[derive(Debug)]
pub(crate) struct BodyReader(At);

impl BodyReader {
    pub(crate) const fn new(framing: Framing) -> Self {
        Self(match framing {
            Framing::Length(0) => At::Done,
            Framing::Length(length) => At::Plain(length),
            Framing::UntilClose => At::Endless,
            Framing::Chunked => At::size(),
        })
    }

    pub(crate) const fn is_done(&self) -> bool {
        matches!(self.0, At::Done)
    }

    /// Whether the end of the connection is the end of the body.
    pub(crate) const fn ends_by_close(&self) -> bool {
        matches!(self.0, At::Endless)
    }

    /// How many bytes are payload for certain and may be thrown away unread.
    pub(crate) const fn skippable(&self) -> u64 {
        match self.0 {
            At::Plain(left) | At::Chunk(left) => left,
            At::Endless => u64::MAX,
            _ => 0,
        }
    }

    /// Notes that `count` bytes of `skippable` were thrown away.
    pub(crate) const fn skip(&mut self, count: u64) {
        self.0 = match self.0 {
            At::Plain(left) if left == count => At::Done,
            At::Plain(left) => At::Plain(left - count),
            At::Chunk(left) if left == count => At::ChunkEnd,
            At::Chunk(left) => At::Chunk(left - count),
            other => other,
        };
    }

    /// Takes bytes, hands payload on, and returns how many were used: fewer than there are only
    /// at the end of the body.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        mut payload: impl FnMut(&[u8]),
    ) -> Result<usize, Malformed> {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            if self.is_done() {
                break;
            }
            let skippable = self.skippable();
            if skippable > 0 {
                let (piece, _) = rest.split_at(rest.len().min(skippable as usize));
                payload(piece);
                self.skip(piece.len() as u64);
                used += piece.len();
            } else {
                self.0 = self.0.control(rest[0])?;
                used += 1;
            }
        }
        Ok(used)
    }
}

impl At {
    const fn size() -> Self {
        Self::Size {
            value: 0,
            digits: 0,
            extension: false,
        }
    }

    /// One byte that is not payload.
    fn control(self, byte: u8) -> Result<Self, Malformed> {
        match (self, byte) {
            (Self::Size { digits: 0, .. }, b'\n') => Err(Malformed),
            (Self::Size { value: 0, .. }, b'\n') => Ok(Self::Trailer(0)),
            (Self::Size { value, .. }, b'\n') => Ok(Self::Chunk(value)),
            (
                Self::Size {
                    value,
                    digits,
                    extension,
                },
                _,
            ) => match char::from(byte).to_digit(16).filter(|_| !extension) {
                Some(digit) if digits < 15 => Ok(Self::Size {
                    value: value << 4 | u64::from(digit),
                    digits: digits + 1,
                    extension,
                }),
                None if extension || matches!(byte, b'\r' | b';' | b' ' | b'\t') => {
                    let extension = true;
                    Ok(Self::Size {
                        value,
                        digits,
                        extension,
                    })
                }
                _ => Err(Malformed),
            },
            (Self::ChunkEnd, b'\r') => Ok(Self::ChunkEnd),
            (Self::ChunkEnd, b'\n') => Ok(Self::size()),
            (Self::Trailer(0), b'\n') => Ok(Self::Done),
            (Self::Trailer(_), b'\n') => Ok(Self::Trailer(0)),
            (Self::Trailer(length), b'\r') => Ok(Self::Trailer(length)),
            (Self::Trailer(length), _) => Ok(Self::Trailer(length.saturating_add(1))),
            _ => Err(Malformed),
        }
    }
}

/// A body in chunks of `size` bytes, with its end.
pub(crate) fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + body.len() / size.max(1) * 8 + 16);
    for chunk in body.chunks(size.max(1)) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(framing: Framing, input: &[u8], pieces: usize) -> Option<(Vec<u8>, usize, bool)> {
        let mut reader = BodyReader::new(framing);
        let (mut out, mut used) = (Vec::new(), 0);
        for piece in input.chunks(pieces) {
            let took = reader.feed(piece, |p| out.extend_from_slice(p)).ok()?;
            used += took;
            if took < piece.len() {
                break;
            }
        }
        Some((out, used, reader.is_done()))
    }

    #[test]
    fn a_chunked_body_ends_where_it_ends_however_it_arrives() {
        let mut input = chunked(b"hello, world", 5);
        let length = input.len();
        input.extend_from_slice(b"HTTP/1.1 200");
        for pieces in 1..input.len() {
            let (out, used, done) = read(Framing::Chunked, &input, pieces).unwrap();
            assert_eq!(out, b"hello, world", "in pieces of {pieces}");
            assert_eq!(used, length);
            assert!(done);
        }
    }

    #[test]
    fn trailers_and_extensions_are_no_payload() {
        let input = b"3;x=1\r\nabc\r\n0\r\nx-sum: 1\r\ny: 2\r\n\r\nnext";
        let (out, used, done) = read(Framing::Chunked, input, 1).unwrap();
        assert_eq!(
            (out.as_slice(), used, done),
            (&b"abc"[..], input.len() - 4, true)
        );
    }

    #[test]
    fn what_is_no_size_is_malformed() {
        for input in ["\r\n", "zz\r\n", "12345678901234567\r\n", "1\r\nab\r\n"] {
            assert_eq!(
                read(Framing::Chunked, input.as_bytes(), 1),
                None,
                "{input:?}"
            );
        }
    }

    #[test]
    fn a_length_is_counted_and_may_be_skipped() {
        let (out, used, done) = read(Framing::Length(3), b"abcd", 2).unwrap();
        assert_eq!((out.as_slice(), used, done), (&b"abc"[..], 3, true));
        let mut reader = BodyReader::new(Framing::Length(10));
        reader.skip(4);
        assert_eq!(reader.skippable(), 6);
        reader.skip(6);
        assert!(reader.is_done());
    }
}
