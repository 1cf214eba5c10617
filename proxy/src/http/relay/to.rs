//! Where a relay's body goes: framed anew for HTTP/1, or as frames of an HTTP/2 stream. What is small goes with
//! its framing; what is large is written from where it lies, or handed to h2 against capacity that was granted.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::{
    super::{
        pump::{Encoding, Plan, write_chunk_size},
        transfer::{Carrier, Sink},
    },
    Relay, SMALL,
    sent::Sent,
};
use crate::{
    error::{Cause, Failure},
    h2,
    message::Body,
    net::stream::Stream,
};

/// Framing and small payload collected before they are written.
const ENOUGH: usize = 16_384;

/// How it goes on.
pub(super) enum To {
    Http1 {
        encoding: Encoding,
        /// To be written before the payload. Lent by the connection's state.
        out: Vec<u8>,
        written: usize,
        tail: &'static [u8],
    },
    Http2 {
        /// The receiver was told that nothing follows.
        closed: bool,
        sent: Sent,
    },
}

impl To {
    /// `lent` belongs to the connection's state; towards HTTP/1 it begins with the message's head.
    pub(super) fn new(carrier: Carrier, plan: &Plan, lent: Vec<u8>) -> Self {
        match carrier {
            Carrier::Http1 => Self::Http1 {
                encoding: plan.encoding,
                out: lent,
                written: 0,
                tail: b"",
            },
            Carrier::Http2 => Self::Http2 {
                // A head without a body said so itself.
                closed: plan.body == Body::None,
                sent: Sent::new(lent, plan),
            },
        }
    }

    pub(super) fn is_for(&self, carrier: Carrier) -> bool {
        matches!(
            (self, carrier),
            (Self::Http1 { .. }, Carrier::Http1) | (Self::Http2 { .. }, Carrier::Http2)
        )
    }

    /// Whether something waits beside the payload; of a body that `ended`, its end.
    pub(super) fn is_blocked(&self, ended: bool) -> bool {
        match self {
            Self::Http1 {
                out, written, tail, ..
            } => *written < out.len() || !tail.is_empty(),
            Self::Http2 { closed, .. } => ended && !closed,
        }
    }

    /// Whether another piece can join what waits.
    pub(super) fn has_room(&self) -> bool {
        match self {
            Self::Http1 {
                out, written, tail, ..
            } => *written == 0 && out.len() < ENOUGH && tail.is_empty(),
            Self::Http2 { .. } => true,
        }
    }

    /// Bytes of head and framing lined up.
    pub(super) fn waiting(&self) -> u64 {
        match self {
            Self::Http1 { out, .. } => out.len() as u64,
            Self::Http2 { .. } => 0,
        }
    }

    /// Where lines of trailers are written to, behind the last chunk, if they are to be.
    pub(super) fn trailers(&mut self) -> Option<&mut Vec<u8>> {
        match self {
            Self::Http1 {
                encoding: Encoding::Chunked,
                out,
                ..
            } => {
                out.extend_from_slice(b"0\r\n");
                Some(out)
            }
            _ => None,
        }
    }

    /// What was lent goes back.
    pub(super) fn into_lent(self) -> Vec<u8> {
        match self {
            Self::Http1 { out, .. } => out,
            Self::Http2 { sent, .. } => sent.into_lent(),
        }
    }
}

impl Relay {
    pub(super) fn end_http1(&mut self) {
        if let To::Http1 {
            encoding: Encoding::Chunked,
            out,
            tail,
            ..
        } = &mut self.to
        {
            if self.payload.is_empty() {
                out.extend_from_slice(b"0\r\n\r\n");
            } else {
                *tail = b"\r\n0\r\n\r\n";
            }
        }
    }

    /// Lines a piece up to be handed over.
    pub(super) fn accept(&mut self, piece: Bytes) -> Result<(), Failure> {
        self.moved += piece.len() as u64;
        if self.moved > self.most {
            return Err(Failure::new(Cause::RequestBodyTooLarge, "size of the body"));
        }
        let To::Http1 {
            encoding,
            out,
            tail,
            ..
        } = &mut self.to
        else {
            self.payload = piece;
            return Ok(());
        };
        // An empty chunk would be the last one.
        if piece.is_empty() {
            return Ok(());
        }
        let chunked = *encoding == Encoding::Chunked;
        if chunked {
            write_chunk_size(out, piece.len());
        }
        if piece.len() <= SMALL {
            out.extend_from_slice(&piece);
            if chunked {
                out.extend_from_slice(b"\r\n");
            }
        } else {
            self.payload = piece;
            if chunked {
                *tail = b"\r\n";
            }
        }
        Ok(())
    }

    pub(super) fn poll_flush_to(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut Sink<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_blocked() {
            return Poll::Ready(Ok(()));
        }
        match (&mut self.to, sink) {
            (To::Http1 { .. }, Sink::Http1(stream)) => self.poll_write(cx, stream),
            (To::Http2 { .. }, Sink::Http2(stream)) => self.poll_send(cx, stream),
            _ => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<()>> {
        let To::Http1 {
            out, written, tail, ..
        } = &mut self.to
        else {
            return Poll::Ready(Ok(()));
        };
        loop {
            let head = out.get(*written..).unwrap_or_default();
            let n = match (head, &self.payload[..], *tail) {
                ([], [], []) => break,
                (bytes, [], []) | ([], bytes, []) | ([], [], bytes) => {
                    ready!(Pin::new(&mut *stream).poll_write(cx, bytes))?
                }
                (head, payload, tail) => {
                    let slices = [
                        IoSlice::new(head),
                        IoSlice::new(payload),
                        IoSlice::new(tail),
                    ];
                    ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices))?
                }
            };
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.progressed = true;
            self.touched = true;
            let of_head = n.min(out.len() - *written);
            *written += of_head;
            let of_payload = (n - of_head).min(self.payload.len());
            self.payload.advance(of_payload);
            *tail = tail.get(n - of_head - of_payload..).unwrap_or_default();
        }
        out.clear();
        *written = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_send(&mut self, cx: &Context<'_>, stream: &mut h2::Stream) -> Poll<io::Result<()>> {
        let To::Http2 { closed, sent } = &mut self.to else {
            return Poll::Ready(Ok(()));
        };
        while !self.payload.is_empty() {
            let room = ready!(stream.poll_room(cx, self.payload.len())).map_err(broken_pipe)?;
            let piece = self.payload.split_to(room);
            sent.keep(&piece, &self.behind);
            let last = self.ended && self.payload.is_empty() && self.trailers.is_none();
            stream.send(piece, last).map_err(broken_pipe)?;
            self.touched = true;
            self.progressed = true;
            *closed |= last;
        }
        if self.ended && !*closed {
            match self.trailers.take() {
                Some(trailers) => {
                    sent.forget();
                    stream.send_head(&trailers, true).map_err(broken_pipe)?;
                }
                None => stream.send(Bytes::new(), true).map_err(broken_pipe)?,
            }
            self.touched = true;
            *closed = true;
        }
        Poll::Ready(Ok(()))
    }
}

fn broken_pipe(_: h2::Gone) -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}
