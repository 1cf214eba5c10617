//! A stream of an HTTP/2 connection as bytes both ways: what it becomes when CONNECT, plain or
//! extended, is granted (RFC 9113 section 8.5, RFC 8441 section 5).
//!
//! `END_STREAM` is a socket's FIN and `RST_STREAM` its reset. The peer's window is the room to
//! write, and what it sent is acknowledged when it has been handed on. Not for bodies, which have
//! an end to be checked and trailers behind it.

use std::{
    io::{self, ErrorKind},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};

use super::{Code, Gone, Stream};
use crate::net::channel;

/// A stream as a tunnel.
pub(crate) struct Channel<G> {
    stream: Stream,
    /// Received and not read.
    rest: Bytes,
    /// Read, and not acknowledged to the sender.
    owed: usize,
    /// We said that nothing follows.
    ended: bool,
    /// Reading found the channel broken behind bytes that went first.
    broken: Option<ErrorKind>,
    /// How a broken tunnel is told to the peer.
    reset: Code,
    /// What the stream's place on its connection hangs on. Last, so that the stream is gone before.
    guard: G,
}

impl<G> Channel<G> {
    /// `reset`: how a broken tunnel is told to the peer.
    pub(crate) fn new(stream: Stream, reset: Code, guard: G) -> Self {
        Self {
            stream,
            rest: Bytes::new(),
            owed: 0,
            ended: false,
            broken: None,
            reset,
            guard,
        }
    }

    pub(crate) fn guard(&self) -> &G {
        &self.guard
    }

    /// The next piece, or `None` at the end.
    fn poll_piece(&mut self, cx: &Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let piece = ready!(self.stream.poll_data(cx)).map_err(was_reset)?;
        // Nothing but DATA belongs there.
        if piece.is_none() && self.stream.trailers(|_| ()).is_some() {
            self.stream.reset(Code::PROTOCOL_ERROR);
            return Poll::Ready(Err(ErrorKind::InvalidData.into()));
        }
        Poll::Ready(Ok(piece))
    }
}

impl<G> channel::Channel for Channel<G> {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        // Who reads on has handed on what was read before.
        self.stream.release(std::mem::take(&mut self.owed));
        if let Some(kind) = self.broken {
            return Poll::Ready(Err(kind.into()));
        }
        let mut filled = 0;
        while filled < into.len() {
            if self.rest.is_empty() {
                match self.poll_piece(cx) {
                    Poll::Ready(Ok(Some(piece))) => self.rest = piece,
                    Poll::Ready(Err(error)) if filled > 0 => {
                        self.broken = Some(error.kind());
                        break;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    // An end is told again.
                    Poll::Ready(Ok(None)) => break,
                    Poll::Pending if filled > 0 => break,
                    Poll::Pending => return Poll::Pending,
                }
            }
            let room = into.get_mut(filled..).unwrap_or_default();
            let n = room.len().min(self.rest.len());
            if let Some(room) = room.get_mut(..n) {
                self.rest.copy_to_slice(room);
            }
            filled += n;
        }
        self.owed = filled;
        Poll::Ready(Ok(filled))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let room = ready!(self.stream.poll_room(cx, bytes.len())).map_err(was_reset)?;
        let piece = Bytes::copy_from_slice(bytes.get(..room).unwrap_or_default());
        let sent = self.stream.send(piece, false);
        Poll::Ready(sent.map(|()| room).map_err(was_reset))
    }

    fn end(&mut self) -> io::Result<()> {
        if !self.ended {
            let sent = self.stream.send(Bytes::new(), true);
            sent.map_err(|_| io::Error::from(ErrorKind::NotConnected))?;
            self.ended = true;
        }
        Ok(())
    }

    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_gone(cx).map(|_| ())
    }

    fn reset_on_drop(&mut self) {
        self.stream.reset(self.reset);
    }

    fn unread(&mut self, _: &mut Context<'_>) -> usize {
        self.stream.held()
    }
}

fn was_reset(_: Gone) -> io::Error {
    ErrorKind::ConnectionReset.into()
}
