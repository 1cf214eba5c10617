//! One stream, for the task that runs its exchange.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::{
    super::{
        frame::{Code, FIRST_WINDOW},
        hpack::Block,
    },
    Shared,
    store::{Gone, Slot},
};

/// A stream, until it is dropped: then what is left of it is cancelled.
pub(crate) struct Stream {
    pub(super) core: Shared,
    pub(super) key: u32,
}

impl Stream {
    fn with<T>(&self, f: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        self.core.borrow_mut().store.get(self.key).map(f)
    }

    /// The next header section in front of a body, shown to `read` with whether it ends the stream.
    ///
    /// # Errors
    /// None will come.
    pub(crate) fn poll_head<T>(
        &mut self,
        cx: &Context<'_>,
        read: impl FnOnce(&Block, bool) -> T,
    ) -> Poll<Result<T, Gone>> {
        let mut core = self.core.borrow_mut();
        let Some(slot) = core.store.get(self.key) else {
            return Poll::Ready(Err(Gone::Closed));
        };
        let Some(section) = slot.heads.pop_front() else {
            if let Some(gone) = slot.gone {
                return Poll::Ready(Err(gone));
            }
            slot.waits.for_recv(cx);
            return Poll::Pending;
        };
        let read = read(&section.block, section.end);
        core.spare.give_block(section.block);
        Poll::Ready(Ok(read))
    }

    /// The same for a request, which came with its stream.
    pub(crate) fn head<T>(&mut self, read: impl FnOnce(&Block, bool) -> T) -> Option<T> {
        let mut core = self.core.borrow_mut();
        let section = core.store.get(self.key)?.heads.pop_front()?;
        let read = read(&section.block, section.end);
        core.spare.give_block(section.block);
        Some(read)
    }

    /// The next piece of payload; `None` where the body is at its end, with trailers or without.
    ///
    /// # Errors
    /// The stream ended before.
    pub(crate) fn poll_data(&mut self, cx: &Context<'_>) -> Poll<Result<Option<Bytes>, Gone>> {
        let polled = self.with(|slot| {
            if slot.pieces.is_empty() {
                slot.take_tail();
            }
            if let Some(piece) = slot.pieces.pop_front() {
                return Poll::Ready(Ok(Some(piece)));
            }
            if slot.recv_closed {
                return Poll::Ready(Ok(None));
            }
            if let Some(gone) = slot.gone {
                return Poll::Ready(Err(gone));
            }
            slot.waits.for_recv(cx);
            Poll::Pending
        });
        polled.unwrap_or(Poll::Ready(Err(Gone::Closed)))
    }

    /// Trailers, once the body is at its end.
    pub(crate) fn trailers<T>(&mut self, read: impl FnOnce(&Block) -> T) -> Option<T> {
        let mut core = self.core.borrow_mut();
        let block = core.store.get(self.key)?.trailers.take()?;
        let read = read(&block);
        core.spare.give_block(block);
        Some(read)
    }

    /// Whether all of the peer's message was taken.
    pub(crate) fn is_read(&self) -> bool {
        let read = |slot: &mut Slot| {
            slot.recv_closed && !slot.has_data() && slot.trailers.is_none() && slot.heads.is_empty()
        };
        self.with(read).unwrap_or(true)
    }

    /// So many bytes that came are done with: the peer may send as many more.
    pub(crate) fn release(&mut self, n: usize) {
        if n > 0 {
            self.core.borrow_mut().release(self.key, n as u32);
        }
    }

    /// Bytes that came and were not released.
    pub(crate) fn held(&self) -> usize {
        self.with(|slot| slot.held as usize).unwrap_or_default()
    }

    /// What it may come to hold while nothing is released: of a window that grew no more than came
    /// is counted.
    pub(crate) fn may_hold(&self) -> usize {
        let sum = |slot: &mut Slot| {
            let may_come = usize::try_from(slot.recv_window).unwrap_or_default();
            let held = slot.held as usize;
            held.max((held + may_come).min(FIRST_WINDOW as usize))
        };
        self.with(sum).unwrap_or_default()
    }

    /// Sends a header block; with `end` nothing follows.
    ///
    /// # Errors
    /// The stream is gone.
    pub(crate) fn send_head(&mut self, block: &[u8], end: bool) -> Result<(), Gone> {
        self.core.borrow_mut().head(self.key, block, end)
    }

    /// How much of `want` may be sent now, which is more than nothing.
    ///
    /// # Errors
    /// The stream is gone.
    pub(crate) fn poll_room(&mut self, cx: &Context<'_>, want: usize) -> Poll<Result<usize, Gone>> {
        self.core.borrow_mut().poll_room(cx, self.key, want)
    }

    /// Sends payload that there is room for; with `last` nothing follows.
    ///
    /// # Errors
    /// The stream is gone.
    pub(crate) fn send(&mut self, piece: Bytes, last: bool) -> Result<(), Gone> {
        self.core.borrow_mut().payload(self.key, piece, last)
    }

    /// Ready when the stream is gone: nobody waits for what is sent.
    pub(crate) fn poll_gone(&mut self, cx: &Context<'_>) -> Poll<Gone> {
        let polled = self.with(|slot| {
            if let Some(gone) = slot.gone {
                return Poll::Ready(gone);
            }
            slot.waits.for_end(cx);
            Poll::Pending
        });
        polled.unwrap_or(Poll::Ready(Gone::Closed))
    }

    /// Ends it before its end.
    pub(crate) fn reset(&mut self, code: Code) {
        self.core.borrow_mut().give_up(self.key, code);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.core.borrow_mut().drop_stream(self.key);
    }
}
