//! Where a relay's body comes from: a body of HTTP/1 that is taken out of its framing, or frames of an
//! HTTP/2 stream. One piece is taken at a time; that the last one was handed on is what acknowledges it.

use std::{
    future::Future,
    io,
    pin::pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncReadExt;

use super::{
    super::{
        pump::{Broken, Plan},
        transfer::{Carrier, Source},
    },
    Relay, SMALL,
};
use crate::{
    error::Failure,
    h1::{Decoder, Step},
    h2::{self as http2, Gone},
    net::{buffer::Buffer, stream::Stream},
};

/// Reads of a body that HTTP/1 carries, and of one that keeps filling them.
const READ: usize = 16_384;
const BULK: usize = 65_536;

/// How the body comes.
pub(super) enum From {
    Http1 {
        decoder: Decoder,
        /// What was read and not decoded. Pieces are split off its front without copying.
        raw: BytesMut,
        /// It has taken over what the connection's buffer held.
        begun: bool,
        read: usize,
    },
    Http2,
}

impl From {
    pub(super) fn new(carrier: Carrier, plan: &Plan) -> Self {
        match carrier {
            Carrier::Http1 => Self::Http1 {
                decoder: Decoder::new(plan.body, plan.limits),
                raw: BytesMut::new(),
                begun: false,
                read: READ,
            },
            Carrier::Http2 => Self::Http2,
        }
    }

    /// What is held of it, with a piece of `waiting` bytes that was not handed on: all that an HTTP/2
    /// sender may send before anything is acknowledged, or what was read ahead.
    pub(super) fn held(&self, source: &mut Source<'_>, waiting: usize) -> usize {
        match (self, source) {
            (Self::Http2, Source::Http2(stream)) => stream.may_hold(),
            (Self::Http1 { raw, .. }, _) => waiting + raw.capacity(),
            (Self::Http2, _) => waiting,
        }
    }

    /// Bytes that were read and not taken.
    pub(super) fn unread(&self, buffer: &Buffer) -> usize {
        match self {
            Self::Http1 {
                raw, begun: true, ..
            } => raw.len(),
            Self::Http1 { .. } => buffer.len(),
            Self::Http2 => 0,
        }
    }

    /// What came behind the body, if it `ended`, goes back to where it was read from.
    pub(super) fn give_back(&self, buffer: &mut Buffer, ended: bool) {
        if let Self::Http1 {
            raw, begun: true, ..
        } = self
        {
            buffer.clear();
            if ended {
                buffer.append(raw);
            }
        }
    }
}

impl Relay {
    /// Takes one piece, or the end.
    pub(super) fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Source<'_>,
        buffer: &mut Buffer,
    ) -> Poll<Result<(), Broken>> {
        match (&mut self.from, source) {
            (From::Http2, Source::Http2(recv)) => self.poll_frames(cx, recv),
            (
                From::Http1 {
                    decoder,
                    raw,
                    begun,
                    read,
                },
                Source::Http1(stream),
            ) => {
                if !*begun {
                    *begun = true;
                    raw.extend_from_slice(buffer.filled());
                    buffer.clear();
                }
                let step = decoder.step(raw).map_err(Broken::Framing)?;
                match step {
                    Step::Data { skip, len } => {
                        raw.advance(skip);
                        let piece = raw.split_to(len).freeze();
                        let mut last = decoder.is_done();
                        // The usual end of a chunked body goes with its last piece.
                        if raw.starts_with(b"\r\n0\r\n\r\n")
                            && let Step::End { skip, .. } =
                                decoder.step(raw).map_err(Broken::Framing)?
                        {
                            raw.advance(skip);
                            last = true;
                        }
                        self.accept(piece).map_err(Broken::Framing)?;
                        self.ended = last;
                        Poll::Ready(Ok(()))
                    }
                    Step::End { skip, trailers } => {
                        let section = trailers.of(raw);
                        let (block, status) =
                            http2::write_trailers(section, &self.limits, self.from_upstream)
                                .map_err(Broken::Framing)?;
                        self.grpc_status = status;
                        self.trailers = (!block.is_empty()).then_some(block);
                        raw.advance(skip);
                        self.ended = true;
                        Poll::Ready(Ok(()))
                    }
                    Step::More { skip } => {
                        raw.advance(skip);
                        if self.behind.is_tight() && raw.is_empty() {
                            // As small a piece as is worth the call.
                            *read = SMALL;
                            *raw = BytesMut::new();
                        }
                        let n = ready!(poll_read(cx, stream, raw, read))
                            .map_err(|_| Broken::SourceFailed)?;
                        if n > 0 {
                            return Poll::Ready(Ok(()));
                        }
                        if !decoder.may_end_by_close() {
                            return Poll::Ready(Err(Broken::SourceEnded));
                        }
                        self.ended = true;
                        Poll::Ready(Ok(()))
                    }
                }
            }
            _ => Poll::Ready(Err(Broken::SourceFailed)),
        }
    }

    fn poll_frames(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut http2::Stream,
    ) -> Poll<Result<(), Broken>> {
        stream.release(std::mem::take(&mut self.owed));
        if let Some(piece) = ready!(stream.poll_data(cx)).map_err(reset)? {
            self.owed = piece.len();
            self.ended = stream.is_read();
            self.accept(piece).map_err(Broken::Framing)?;
            if self.ended {
                self.end_http1();
            }
            return Poll::Ready(Ok(()));
        }
        let trailers = stream.trailers(|block| self.take_trailers(block));
        match trailers {
            Some(taken) => taken.map_err(Broken::Framing)?,
            None => self.end_http1(),
        }
        self.ended = true;
        Poll::Ready(Ok(()))
    }

    fn take_trailers(&mut self, trailers: &http2::Block) -> Result<(), Failure> {
        self.grpc_status = http2::grpc_status(trailers);
        if let Some(out) = self.to.trailers() {
            return http2::read_trailers(trailers, &self.limits, self.from_upstream, out);
        }
        if self.goes_to(Carrier::Http2) {
            let block = http2::pass_trailers(trailers, &self.limits, self.from_upstream)?;
            self.trailers = (!block.is_empty()).then_some(block);
        }
        Ok(())
    }
}

/// With the sender's own word on it. What ended its connection says nothing of the stream.
fn reset(gone: Gone) -> Broken {
    Broken::Reset(match gone {
        Gone::Reset(code) => Some(code),
        _ => None,
    })
}

/// Reads into the free end of `raw`, more at once for a body that keeps filling it.
fn poll_read(
    cx: &mut Context<'_>,
    stream: &mut Stream,
    raw: &mut BytesMut,
    read: &mut usize,
) -> Poll<io::Result<usize>> {
    raw.reserve(*read);
    // Stateless: a read that is pending is made anew at the next poll.
    let n = ready!(pin!(stream.read_buf(raw)).poll(cx))?;
    if n >= *read {
        *read = BULK;
    }
    Poll::Ready(Ok(n))
}
