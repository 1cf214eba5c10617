//! A stream of an HTTP/2 connection as bytes both ways: what it becomes when CONNECT, plain or
//! extended, is granted (RFC 9113 section 8.5, RFC 8441 section 5).
//!
//! `END_STREAM` is a socket's FIN and `RST_STREAM` its reset. The peer's window is the room to
//! write, and what it sent is acknowledged when it has been handed on. Not for bodies, which have
//! an end to be checked and trailers behind it.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};

use super::{Piece, Queue};
use crate::net::channel;

/// Both halves of a stream.
pub(crate) struct Channel<G> {
    recv: RecvStream,
    send: SendStream<Piece>,
    queue: Queue,
    /// Received and not read.
    rest: Bytes,
    /// What came behind it while its receiver was behind.
    ahead: VecDeque<Bytes>,
    /// Read, and not acknowledged to the sender.
    owed: usize,
    /// We said that nothing follows.
    ended: bool,
    /// Reading found the channel broken behind bytes that went first.
    broken: Option<ErrorKind>,
    /// How a broken tunnel is told to the peer.
    reset: Reason,
    /// What the stream's place on its connection hangs on. Last, so that the stream is gone before.
    guard: G,
}

impl<G> Channel<G> {
    /// `queue`: that of the stream's connection. `reset`: how a broken tunnel is told to the peer.
    pub(crate) fn new(
        recv: RecvStream,
        send: SendStream<Piece>,
        queue: Queue,
        reset: Reason,
        guard: G,
    ) -> Self {
        Self {
            recv,
            send,
            queue,
            rest: Bytes::new(),
            ahead: VecDeque::new(),
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

    /// The next piece that is not empty, or `None` at the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        if let Some(piece) = self.ahead.pop_front() {
            return Poll::Ready(Ok(Some(piece)));
        }
        loop {
            match ready!(self.recv.poll_data(cx)) {
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(piece) => return Poll::Ready(piece.map(Some).map_err(was_reset)),
                None => break,
            }
        }
        // Nothing but DATA belongs there.
        match ready!(self.recv.poll_trailers(cx)) {
            Ok(None) => Poll::Ready(Ok(None)),
            Ok(Some(_)) => {
                self.send.send_reset(Reason::PROTOCOL_ERROR);
                Poll::Ready(Err(ErrorKind::InvalidData.into()))
            }
            Err(error) => Poll::Ready(Err(was_reset(error))),
        }
    }
}

impl<G> channel::Channel for Channel<G> {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        // Who reads on has handed on what was read before.
        if self.owed > 0 {
            // Fails only where the stream is gone, and then reading says so.
            let _ = self.recv.flow_control().release_capacity(self.owed);
            self.owed = 0;
        }
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
        loop {
            self.send.reserve_capacity(bytes.len());
            let room = self.send.capacity().min(bytes.len());
            if room > 0 {
                let piece = Bytes::copy_from_slice(bytes.get(..room).unwrap_or_default());
                let Some(piece) = self.queue.piece(piece) else {
                    return Poll::Ready(Err(ErrorKind::OutOfMemory.into()));
                };
                let sent = self.send.send_data(piece, false);
                return Poll::Ready(sent.map(|()| room).map_err(was_reset));
            }
            match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(was_reset(error))),
                None => return Poll::Ready(Err(ErrorKind::BrokenPipe.into())),
            }
        }
    }

    fn end(&mut self) -> io::Result<()> {
        if !self.ended {
            let sent = self.send.send_data(Piece::empty(), true);
            sent.map_err(|error| io::Error::new(ErrorKind::NotConnected, error))?;
            self.ended = true;
        }
        Ok(())
    }

    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.send.poll_reset(cx).map(|_| ())
    }

    fn reset_on_drop(&mut self) {
        // By itself h2 cancels a stream that is dropped before its end.
        if self.reset != Reason::CANCEL || self.ended {
            self.send.send_reset(self.reset);
        }
    }

    fn unread(&mut self, cx: &mut Context<'_>) -> usize {
        // h2 tells of what comes only to who took all there was. An end it tells again.
        while let Poll::Ready(Some(Ok(piece))) = self.recv.poll_data(cx) {
            if !piece.is_empty() {
                self.ahead.push_back(piece);
            }
        }
        self.recv.flow_control().used_capacity()
    }
}

fn was_reset(error: h2::Error) -> io::Error {
    io::Error::new(ErrorKind::ConnectionReset, error)
}
