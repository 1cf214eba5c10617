//! Moving one body from one side to the other, framed anew, without copying what is large.
//!
//! A pump holds what is to be written next: `out` (a head, chunk framing, small payload), then
//! `span` bytes of payload that stay where they were read, then `tail`. It reads again only when
//! all of that is written, so a slow receiver costs one buffer.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::AsyncWrite;

use crate::{
    error::{Cause, Failure},
    h1::{Decoder, Limits, Step, write_trailers},
    h2::Code,
    message::Body,
    net::{
        behind::Behind,
        buffer::{Budget, Buffer},
        stream::Stream,
    },
};

/// Payload up to this size is copied behind its framing, so that it leaves in the same segment
/// and with a plain send; more is written from where it lies.
const SMALL: usize = 4_096;
/// Framing and small payload collected before they are written.
const ENOUGH: usize = 16_384;
/// What a slow receiver may make us hold.
const READ_AHEAD: usize = 65_536;
/// Reads of a bulk body: beyond this nothing is won (speed.md section 2).
const BULK: usize = 262_144;

/// Which side a transfer failed on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Broken {
    /// The source ended before the body did.
    SourceEnded,
    /// Reading failed.
    SourceFailed,
    /// The source's framing is broken, or the body too large.
    Framing(Failure),
    /// The source's stream was reset, by the peer with this code or because its connection broke.
    Reset(Option<Code>),
    /// The receiver is behind, and there is no memory left for what came.
    NoMemory,
    /// Writing failed.
    SinkFailed,
}

/// Of a receiver.
impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::OutOfMemory => Self::NoMemory,
            _ => Self::SinkFailed,
        }
    }
}

/// How far a transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All of the source was read; it may serve somebody else. Something is still to be written.
    SourceDone,
    /// All is written.
    Done,
}

/// What the next hop is told about the end of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Bytes as they are: the length is known to the receiver, or the end of the connection tells.
    Plain,
    Chunked,
}

pub(super) struct Pump {
    decoder: Decoder,
    encoding: Encoding,
    limits: Limits,
    most: u64,
    from_upstream: bool,
    /// To be written first. Belongs to the connection's working state and is lent to the pump.
    out: Vec<u8>,
    written: usize,
    /// Something has left.
    touched: bool,
    /// Payload at the front of the buffer, to be written after `out`.
    span: usize,
    /// Framing behind the span that is already decoded.
    behind: usize,
    tail: &'static [u8],
    ended: bool,
    /// The sink's connection ends with this.
    last: bool,
    /// The last read filled the buffer: there is probably more.
    full: bool,
    /// The receiver did not take all at once since the last read.
    slow: bool,
    budget: Budget,
    /// Payload bytes moved.
    pub(super) moved: u64,
    /// Whether anything moved since this was last cleared.
    pub(super) progressed: bool,
}

/// What a pump moves.
pub(super) struct Plan {
    pub(super) body: Body,
    pub(super) encoding: Encoding,
    /// Bounds of the trailer section.
    pub(super) limits: Limits,
    /// Largest body.
    pub(super) most: u64,
    pub(super) from_upstream: bool,
    /// Nothing but the end of the connection follows the body.
    pub(super) last: bool,
    /// Memory for buffers beyond the usual size.
    pub(super) budget: Budget,
    /// Memory for pieces whose receiver is behind.
    pub(super) behind: Behind,
}

impl Pump {
    /// `out` begins with the message's head, if it is to be written.
    pub(super) fn new(plan: Plan, out: Vec<u8>) -> Self {
        Self {
            decoder: Decoder::new(plan.body, plan.limits),
            encoding: plan.encoding,
            limits: plan.limits,
            most: plan.most,
            from_upstream: plan.from_upstream,
            out,
            written: 0,
            touched: false,
            span: 0,
            behind: 0,
            tail: b"",
            // A body of no bytes needs no decoding; nothing of the buffer is ours.
            ended: plan.body == Body::None,
            last: plan.last,
            full: false,
            slow: false,
            budget: plan.budget,
            moved: 0,
            progressed: false,
        }
    }

    /// Gives the transfer up: what waits in `buffer` to be written is dropped, so that nobody takes
    /// it for the beginning of the next message. Takes back the lent `out`.
    pub(super) fn finish(mut self, buffer: &mut Buffer) -> Vec<u8> {
        buffer.consume(self.span + self.behind);
        self.out.clear();
        self.out
    }

    /// Whether all of the source was read.
    pub(super) fn source_done(&self) -> bool {
        self.ended
    }

    /// Whether something waits to be written.
    pub(super) fn is_blocked(&self) -> bool {
        self.written < self.out.len() || self.span > 0 || !self.tail.is_empty()
    }

    /// Bytes in the buffer that belong to nothing this pump moves: more than the message.
    pub(super) fn unread(&self, buffer: &Buffer) -> usize {
        buffer.len().saturating_sub(self.span + self.behind)
    }

    /// Bytes of head and framing lined up before anything was moved.
    pub(super) fn waiting(&self) -> u64 {
        self.out.len() as u64
    }

    /// Whether nothing has ever left.
    pub(super) fn is_untouched(&self) -> bool {
        !self.touched
    }

    /// Moves what can be moved. After [`Progress::SourceDone`] the source is not needed: go on with [`Pump::poll_flush`].
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Stream,
        buffer: &mut Buffer,
        sink: &mut Stream,
    ) -> Poll<Result<Progress, Broken>> {
        loop {
            // Payload joins what waits, as long as none of that has left.
            if !self.ended && self.written == 0 && self.span == 0 && self.tail.is_empty() {
                self.fill(buffer).map_err(Broken::Framing)?;
            }
            if self.ended {
                return Poll::Ready(Ok(if self.is_blocked() {
                    Progress::SourceDone
                } else {
                    Progress::Done
                }));
            }
            if self.is_blocked() {
                let flushed = self
                    .poll_flush(cx, buffer, sink)
                    .map_err(|_| Broken::SinkFailed)?;
                self.slow |= flushed.is_pending();
                ready!(flushed);
                continue;
            }
            match ready!(self.poll_read(cx, source, buffer)) {
                Ok(0) if self.decoder.may_end_by_close() => {
                    self.ended = true;
                    if self.encoding == Encoding::Chunked {
                        self.out.extend_from_slice(b"0\r\n\r\n");
                    }
                }
                Ok(0) => return Poll::Ready(Err(Broken::SourceEnded)),
                Ok(_) => self.progressed = true,
                Err(_) => return Poll::Ready(Err(Broken::SourceFailed)),
            }
        }
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Stream,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            self.resize(buffer);
        } else if buffer.spare().is_empty() {
            // Only an incomplete trailer section stays in the buffer; its scan is bounded by the limits.
            buffer.compact();
            if buffer.spare().is_empty() {
                buffer.grow(buffer.capacity() * 2);
            }
        }
        let room = buffer.spare().len();
        let n = ready!(source.poll_read_into(cx, buffer.spare()))?;
        buffer.received(n);
        self.full = n == room;
        Poll::Ready(Ok(n))
    }

    /// Larger reads for a body that keeps filling the buffer and a receiver that keeps up with
    /// it; small ones for a receiver that does not, so that it costs 64 KiB (decision 20).
    fn resize(&mut self, buffer: &mut Buffer) {
        if self.slow {
            self.slow = false;
            buffer.shrink(READ_AHEAD);
        } else if self.full && buffer.capacity() < BULK {
            buffer.grow_within(&self.budget, buffer.capacity() * 4);
        }
    }

    /// Writes what waits.
    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
        sink: &mut Stream,
    ) -> Poll<io::Result<()>> {
        while self.is_blocked() {
            let head = self.out.get(self.written..).unwrap_or_default();
            let span = buffer.filled().get(..self.span).unwrap_or_default();
            let n = match (head, span, self.tail) {
                (bytes, [], []) | ([], bytes, []) | ([], [], bytes) if self.ended && self.last => {
                    ready!(sink.poll_write_last(cx, bytes))?
                }
                (bytes, [], []) | ([], bytes, []) | ([], [], bytes) => {
                    ready!(Pin::new(&mut *sink).poll_write(cx, bytes))?
                }
                _ => {
                    let slices = [
                        IoSlice::new(head),
                        IoSlice::new(span),
                        IoSlice::new(self.tail),
                    ];
                    ready!(Pin::new(&mut *sink).poll_write_vectored(cx, &slices))?
                }
            };
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.progressed = true;
            self.touched = true;
            self.advance(n, buffer);
        }
        if self.written > 0 {
            self.out.clear();
            self.written = 0;
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, n: usize, buffer: &mut Buffer) {
        let head = n.min(self.out.len() - self.written);
        self.written += head;
        let span = (n - head).min(self.span);
        self.span -= span;
        buffer.consume(span);
        if self.span == 0 && self.behind > 0 {
            buffer.consume(self.behind);
            self.behind = 0;
        }
        self.tail = self.tail.get(n - head - span..).unwrap_or_default();
    }

    /// Decodes what is in the buffer and lines it up to be written.
    fn fill(&mut self, buffer: &mut Buffer) -> Result<(), Failure> {
        while self.out.len() < ENOUGH && !self.ended {
            match self.decoder.step(buffer.filled())? {
                Step::More { skip } => {
                    buffer.consume(skip);
                    break;
                }
                Step::Data { skip, len } => {
                    buffer.consume(skip);
                    self.moved += len as u64;
                    if self.moved > self.most {
                        return Err(Failure::new(Cause::RequestBodyTooLarge, "size of the body"));
                    }
                    if self.line_up(len, buffer)? {
                        break;
                    }
                }
                Step::End { skip, trailers } => {
                    if self.encoding == Encoding::Chunked {
                        self.out.extend_from_slice(b"0\r\n");
                        write_trailers(
                            &mut self.out,
                            trailers.of(buffer.filled()),
                            &self.limits,
                            self.from_upstream,
                        )?;
                    }
                    buffer.consume(skip);
                    self.ended = true;
                }
            }
            // A known length needs no further look to be known complete.
            if self.encoding == Encoding::Plain && self.decoder.is_done() {
                self.ended = true;
            }
        }
        Ok(())
    }

    /// Lines up `len` bytes of payload at the front of the buffer. Returns whether they stay there.
    fn line_up(&mut self, len: usize, buffer: &mut Buffer) -> Result<bool, Failure> {
        let chunked = self.encoding == Encoding::Chunked;
        if chunked {
            write_chunk_size(&mut self.out, len);
        }
        if len <= SMALL {
            self.out
                .extend_from_slice(buffer.filled().get(..len).unwrap_or_default());
            buffer.consume(len);
            if chunked {
                self.out.extend_from_slice(b"\r\n");
            }
            return Ok(false);
        }
        self.span = len;
        if chunked {
            self.tail = b"\r\n";
            // The usual end of a response: send it with the last chunk.
            let rest = buffer.filled().get(len..).unwrap_or_default();
            if rest.starts_with(b"\r\n0\r\n\r\n")
                && let Step::End { skip, .. } = self.decoder.step(rest)?
            {
                self.behind = skip;
                self.tail = b"\r\n0\r\n\r\n";
                self.ended = true;
            }
        } else if self.decoder.is_done() {
            self.ended = true;
        }
        Ok(true)
    }
}

pub(super) fn write_chunk_size(out: &mut Vec<u8>, len: usize) {
    let mut digits = [0_u8; 16];
    let mut at = digits.len();
    let mut n = len;
    loop {
        at -= 1;
        if let Some(digit) = digits.get_mut(at) {
            *digit = *b"0123456789abcdef".get(n & 15).unwrap_or(&b'0');
        }
        n >>= 4;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::net::UnixStream;

    use super::*;

    const BODY: usize = 10_000;

    /// A pump that holds a whole body which its receiver does not take, and the next request behind it.
    fn stuck(body: Body) -> (Pump, Buffer) {
        let plan = Plan {
            body,
            encoding: match body {
                Body::Chunked => Encoding::Chunked,
                _ => Encoding::Plain,
            },
            limits: Limits {
                head: 4096,
                line: 4096,
                fields: 16,
            },
            most: u64::MAX,
            from_upstream: false,
            last: false,
            budget: Budget::new(0),
            behind: Behind::new(0),
        };
        let mut pump = Pump::new(plan, b"POST / HTTP/1.1\r\n\r\n".to_vec());
        let mut buffer = Buffer::with_capacity(16_384);
        let mut bytes = Vec::new();
        if body == Body::Chunked {
            bytes.extend_from_slice(format!("{BODY:x}\r\n").as_bytes());
        }
        bytes.resize(bytes.len() + BODY, b'x');
        if body == Body::Chunked {
            bytes.extend_from_slice(b"\r\n0\r\n\r\n");
        }
        bytes.extend_from_slice(b"GET /next");
        buffer.spare()[..bytes.len()].copy_from_slice(&bytes);
        buffer.received(bytes.len());

        let (mut source, _client) = pair();
        let (mut sink, endpoint) = pair();
        drop(endpoint);
        let mut cx = Context::from_waker(Waker::noop());
        let polled = pump.poll(&mut cx, &mut source, &mut buffer, &mut sink);
        assert!(matches!(polled, Poll::Ready(Ok(Progress::SourceDone))));
        assert!(matches!(
            pump.poll_flush(&mut cx, &mut buffer, &mut sink),
            Poll::Ready(Err(_))
        ));
        assert!(pump.source_done() && pump.is_blocked());
        (pump, buffer)
    }

    fn pair() -> (Stream, Stream) {
        let (a, b) = UnixStream::pair().expect("a pair of sockets");
        (Stream::Unix(a), Stream::Unix(b))
    }

    #[tokio::test]
    async fn a_body_that_was_not_sent_is_not_left_behind() {
        for body in [Body::Length(BODY as u64), Body::Chunked] {
            let (pump, mut buffer) = stuck(body);
            assert_eq!(pump.unread(&buffer), b"GET /next".len());
            pump.finish(&mut buffer);
            assert_eq!(buffer.filled(), b"GET /next", "{body:?}");
        }
    }
}
