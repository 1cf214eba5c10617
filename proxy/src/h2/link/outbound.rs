//! What a connection has to say and its socket has not taken: text that was written into one buffer,
//! and large payload that lies where it came, to be sent by as few calls as may be.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice},
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::Spare;
use crate::{net::stream::Stream, timer::now};

/// Payload up to this size is copied behind its frame's head; larger one is sent from where it
/// lies. A slice of its own costs the kernel about as much as copying so many bytes.
const COPIED: usize = 4_096;
/// Slices of one call.
const SLICES: usize = 32;
pub(super) struct Outbound {
    /// Of it, `sent` bytes were sent.
    text: Vec<u8>,
    sent: usize,
    /// Payload, each in front of what lies at its place in `text`.
    large: VecDeque<(usize, Bytes)>,
    /// Bytes of `large`.
    large_len: usize,
    spare: Spare,
    /// Once sending failed, it fails.
    failed: Option<ErrorKind>,
    /// Since when the socket takes nothing.
    blocked_at: Option<u64>,
}

impl Outbound {
    pub(super) fn new(spare: &Spare) -> Self {
        Self {
            text: Vec::new(),
            sent: 0,
            large: VecDeque::new(),
            large_len: 0,
            spare: spare.clone(),
            failed: None,
            blocked_at: None,
        }
    }

    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.text.len() - self.sent + self.large_len
    }

    /// What it takes while it waits.
    pub(super) fn held(&self) -> usize {
        self.text.capacity() + self.large_len
    }

    pub(super) fn blocked_at(&self) -> Option<u64> {
        self.blocked_at
    }

    /// Where frames are written to.
    pub(super) fn text(&mut self) -> &mut Vec<u8> {
        if self.text.capacity() == 0 {
            self.text = self.spare.take_out();
        }
        &mut self.text
    }

    /// Appends payload behind a frame's head.
    pub(super) fn payload(&mut self, piece: Bytes) {
        if piece.len() <= COPIED {
            self.text().extend_from_slice(&piece);
        } else {
            self.large_len += piece.len();
            self.large.push_back((self.text.len(), piece));
        }
    }

    /// Sends all there is. `Pending`: the socket takes no more for now.
    ///
    /// # Errors
    /// The connection is broken; what waited is gone.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
    ) -> Poll<io::Result<()>> {
        if let Some(kind) = self.failed {
            self.drop_all();
            return Poll::Ready(Err(kind.into()));
        }
        while self.len() > 0 {
            let failed = match self.poll_write(cx, Pin::new(&mut *stream)) {
                Poll::Pending => {
                    self.blocked_at.get_or_insert_with(now);
                    self.settle();
                    return Poll::Pending;
                }
                Poll::Ready(Ok(n)) if n > 0 => {
                    self.blocked_at = None;
                    self.release(n);
                    continue;
                }
                Poll::Ready(Ok(_)) => ErrorKind::WriteZero.into(),
                Poll::Ready(Err(error)) => error,
            };
            self.failed = Some(failed.kind());
            self.drop_all();
            return Poll::Ready(Err(failed));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(
        &self,
        cx: &mut Context<'_>,
        stream: Pin<&mut Stream>,
    ) -> Poll<io::Result<usize>> {
        if self.large.is_empty() {
            return stream.poll_write(cx, self.text.get(self.sent..).unwrap_or_default());
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut places = slices.iter_mut();
        let mut from = self.sent;
        let mut rest = self.large.iter();
        for (at, piece) in rest.by_ref() {
            let text = self.text.get(from..*at).unwrap_or_default();
            from = *at;
            let (Some(first), Some(second)) = (places.next(), places.next()) else {
                break;
            };
            *first = IoSlice::new(text);
            *second = IoSlice::new(piece);
        }
        if rest.len() == 0
            && let Some(last) = places.next()
        {
            *last = IoSlice::new(self.text.get(from..).unwrap_or_default());
        }
        let unused = places.len();
        stream.poll_write_vectored(cx, slices.get(..SLICES - unused).unwrap_or_default())
    }

    /// The first `n` bytes are done with. An empty buffer goes back.
    fn release(&mut self, mut n: usize) {
        loop {
            let at = self.large.front().map_or(self.text.len(), |(at, _)| *at);
            let text = n.min(at - self.sent);
            self.sent += text;
            n -= text;
            let Some((_, piece)) = self.large.front_mut().filter(|_| self.sent == at) else {
                break;
            };
            let taken = n.min(piece.len());
            piece.advance(taken);
            self.large_len -= taken;
            n -= taken;
            if !piece.is_empty() {
                break;
            }
            self.large.pop_front();
        }
        if self.len() == 0 {
            self.sent = 0;
            self.text.clear();
            self.spare.give_out(mem::take(&mut self.text));
        }
    }

    /// Waits for a peer that does not read with little more memory than what waits.
    fn settle(&mut self) {
        let waiting = self.text.len() - self.sent;
        if self.sent > 0 && waiting <= self.text.capacity() / 4 {
            let rest = self.text.get(self.sent..).unwrap_or_default().to_vec();
            self.spare.give_out(mem::replace(&mut self.text, rest));
            for (at, _) in &mut self.large {
                *at -= self.sent;
            }
            self.sent = 0;
        }
    }

    fn drop_all(&mut self) {
        (self.text, self.sent) = (Vec::new(), 0);
        (self.large, self.large_len) = (VecDeque::new(), 0);
        self.blocked_at = None;
    }
}
