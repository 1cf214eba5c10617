//! What we send on streams: heads at once, payload as windows and the room for it allow.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::{
    super::{
        abuse::Role,
        frame::{self, Code, HEAD, Head, Kind, flag},
    },
    Core, LINED_UP,
    store::{Asks, Gone},
};
use crate::timer::now;

impl Core {
    /// Opens a stream with a request's header block. `None`: the connection takes no more.
    pub(super) fn request(&mut self, block: &[u8], end: bool, asks: Asks) -> Option<u32> {
        if self.ended.is_some() || self.left || self.next > frame::MAX_31 {
            return None;
        }
        let id = self.next;
        self.next += 2;
        let (window, theirs) = (self.window, self.theirs.window);
        let (key, slot) = self.store.insert(id);
        slot.recv_window = i64::from(window);
        slot.send_window = i64::from(theirs);
        slot.counted = true;
        slot.asked = asks;
        slot.send_closed = end;
        self.open += 1;
        self.block_out(id, block, end);
        Some(key)
    }

    /// Sends a header block on a stream that is open.
    pub(super) fn head(&mut self, key: u32, block: &[u8], end: bool) -> Result<(), Gone> {
        let slot = self.store.get(key).ok_or(Gone::Closed)?;
        if let Some(gone) = slot.gone {
            return Err(gone);
        }
        slot.send_closed |= end;
        let id = slot.id;
        self.block_out(id, block, end);
        self.closed(key);
        Ok(())
    }

    /// Frames a block, as many frames as it takes (RFC 9113 section 4.3).
    fn block_out(&mut self, stream: u32, block: &[u8], end: bool) {
        let most = self.theirs.max_frame as usize;
        let out = self.out.text();
        let start = out.len();
        let mut head = Head {
            length: 0,
            kind: Kind::Headers,
            flags: if end { flag::END_STREAM } else { 0 },
            stream,
        };
        head.write(out);
        // What the encoder has to say of its table stands in front of the block.
        self.encoder.begin(out);
        let room = most - (out.len() - start - HEAD);
        let (first, mut rest) = block.split_at_checked(room).unwrap_or((block, b""));
        out.extend_from_slice(first);
        head.length = (out.len() - start - HEAD) as u32;
        if rest.is_empty() {
            head.flags |= flag::END_HEADERS;
        }
        head.write_at(out, start);
        self.judge.sent(&head);
        while !rest.is_empty() {
            let (part, behind) = rest.split_at_checked(most).unwrap_or((rest, b""));
            let flags = if behind.is_empty() {
                flag::END_HEADERS
            } else {
                0
            };
            let head = Head {
                length: part.len() as u32,
                kind: Kind::Continuation,
                flags,
                stream,
            };
            head.write(out);
            out.extend_from_slice(part);
            rest = behind;
        }
        self.speak();
    }

    /// How much of `want` may be sent now. `Pending`: nothing; the stream's task is woken when it is
    /// worth asking again.
    pub(super) fn poll_room(
        &mut self,
        cx: &Context<'_>,
        key: u32,
        want: usize,
    ) -> Poll<Result<usize, Gone>> {
        let room = self.room();
        let waited_for = !self.line.is_empty();
        let is_next = self.take_turn(key);
        let room = room.saturating_sub(self.promised);
        let Some(slot) = self.store.get(key) else {
            return Poll::Ready(Err(Gone::Closed));
        };
        if let Some(gone) = slot.gone {
            return Poll::Ready(Err(gone));
        }
        if slot.send_window <= 0 {
            slot.waits.for_send(cx);
            if is_next {
                self.next_in_line();
            }
            return Poll::Pending;
        }
        let most = want.min(slot.send_window as usize);
        // Who comes now does not overtake who waits.
        if room == 0 || slot.queued || (waited_for && !is_next) {
            slot.waits.for_send(cx);
            slot.wanted = most;
            if !slot.queued {
                slot.queued = true;
                // Whose turn came to nothing has not had it.
                if is_next {
                    self.line.push_front(key);
                } else {
                    self.line.push_back(key);
                }
            }
            if room > 0 {
                self.next_in_line();
            }
            return Poll::Pending;
        }
        Poll::Ready(Ok(most.min(room)))
    }

    /// What may be sent of all streams' payload.
    fn room(&self) -> usize {
        if self.ended.is_some() {
            return 0;
        }
        let lined_up = LINED_UP.saturating_sub(self.out.len());
        usize::try_from(self.send_window).map_or(0, |window| window.min(lined_up))
    }

    /// Wakes as many of those who wait as there is room for, beside those who were woken and have
    /// not sent yet.
    pub(super) fn next_in_line(&mut self) {
        if self.line.is_empty() {
            return;
        }
        let mut room = self.room().saturating_sub(self.promised);
        while room > 0
            && let Some(key) = self.line.pop_front()
        {
            let Some(slot) = self.store.get(key).filter(|slot| slot.queued) else {
                continue;
            };
            slot.queued = false;
            if slot.gone.is_none() {
                slot.woken = true;
                slot.waits.wake();
                self.promised += slot.wanted;
                room = room.saturating_sub(slot.wanted);
            }
        }
    }

    /// Whether it was a stream's turn, which it has taken now.
    fn take_turn(&mut self, key: u32) -> bool {
        let Some(slot) = self.store.get(key).filter(|slot| slot.woken) else {
            return false;
        };
        slot.woken = false;
        self.promised = self.promised.saturating_sub(slot.wanted);
        true
    }

    /// A stream is gone: if it was its turn, it is another's.
    pub(super) fn pass_turn(&mut self, key: u32) {
        if self.take_turn(key) {
            self.next_in_line();
        }
    }

    /// Sends payload that there is room for, and the stream's end behind it if it is the `last`.
    pub(super) fn payload(&mut self, key: u32, mut piece: Bytes, last: bool) -> Result<(), Gone> {
        let most = self.theirs.max_frame as usize;
        let slot = self.store.get(key).ok_or(Gone::Closed)?;
        if let Some(gone) = slot.gone {
            return Err(gone);
        }
        // Room for it was found within the windows.
        let size = i64::try_from(piece.len()).unwrap_or(i64::MAX);
        slot.send_window -= size;
        slot.send_closed |= last;
        let stream = slot.id;
        self.send_window -= size;
        loop {
            let part = piece.split_to(most.min(piece.len()));
            let ends = last && piece.is_empty();
            let head = Head {
                length: part.len() as u32,
                kind: Kind::Data,
                flags: if ends { flag::END_STREAM } else { 0 },
                stream,
            };
            head.write(self.out.text());
            if !part.is_empty() {
                self.out.payload(part);
            }
            self.judge.sent(&head);
            if piece.is_empty() {
                break;
            }
        }
        if last {
            self.closed(key);
        }
        self.next_in_line();
        self.speak();
        Ok(())
    }

    /// Resets a stream whose peer broke a rule.
    pub(super) fn reset_for(&mut self, key: u32, code: Code) {
        let Some(slot) = self.store.get(key) else {
            return;
        };
        let id = slot.id;
        let first = slot.gone.is_none();
        if first {
            self.remember(id);
            self.lose(key, Gone::Broke);
        }
        self.send_reset(id, code);
    }

    /// Resets a stream of our own will.
    pub(super) fn give_up(&mut self, key: u32, code: Code) {
        let Some(slot) = self.store.get(key) else {
            return;
        };
        if slot.is_closed() {
            return;
        }
        let id = slot.id;
        if !slot.recv_closed {
            self.remember(id);
        }
        if self.ended.is_none() {
            self.send_reset(id, code);
        }
        if let Some(slot) = self.store.get(key) {
            slot.gone = Some(Gone::Given);
        }
        self.closed(key);
        self.pass_turn(key);
    }

    pub(super) fn send_reset(&mut self, id: u32, code: Code) {
        frame::reset(self.out.text(), id, code);
        self.speak();
        if self.role == Role::Server
            && code.blames_the_peer()
            && let Err(flood) = self.judge.provoked(now)
        {
            self.flood(flood);
        }
    }

    /// The exchange is done with a stream: what is left of it is ended, and what it held is free.
    pub(super) fn drop_stream(&mut self, key: u32) {
        let Some(slot) = self.store.get(key) else {
            return;
        };
        if !slot.is_closed() {
            // RFC 9113 section 8.1: the rest of a request that was answered is of no use.
            let answered = self.role == Role::Server && slot.send_closed;
            let code = if answered {
                Code::NO_ERROR
            } else {
                Code::CANCEL
            };
            self.give_up(key, code);
        }
        self.pass_turn(key);
        let Some(mut slot) = self.store.remove(key) else {
            return;
        };
        if slot.queued {
            self.line.retain(|waits| *waits != key);
        }
        let held = slot.held;
        self.open -= u32::from(slot.counted);
        for section in slot.heads.drain(..) {
            self.spare.give_block(section.block);
        }
        if let Some(block) = slot.trailers.take() {
            self.spare.give_block(block);
        }
        self.store.recycle(slot);
        if held > 0 {
            self.release_connection(held);
        }
        if self.is_over() {
            self.speak();
        }
    }
}
