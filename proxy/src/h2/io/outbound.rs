//! What h2 wrote and the socket has not taken: collected over a turn, in buffers that the connections
//! of a worker share.

use std::{cell::RefCell, io::ErrorKind, mem, rc::Rc};

use super::super::meter::Meter;
use crate::net::buffer::Buffer;

/// How much of a connection may wait in here, and for how long it keeps its worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Bytes collected before they are sent in the middle of a turn. A slice that is as large is
    /// not copied. Measured in CPU time per response of 16 KiB, ten connections with 32 streams:
    /// 6 us collected, 9 to 11 us with a call for each frame, as much as without a link.
    pub(crate) collect: usize,
    /// Bytes of frames taken in one turn. A frame counts [`FRAME_COST`](super::FRAME_COST) beside its bytes.
    pub(crate) turn: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            collect: 64 * 1024,
            turn: 64 * 1024,
        }
    }
}

/// Buffers of a worker's connections that nobody uses. Between turns only a connection whose
/// peer does not read holds one, so that few serve all.
#[derive(Clone, Debug)]
pub(crate) struct Spare(pub(super) Rc<RefCell<Vec<Buffer>>>);

impl Spare {
    /// Keeps so many at most.
    pub(crate) fn new(most: usize) -> Self {
        Self(Rc::new(RefCell::new(Vec::with_capacity(most))))
    }

    fn take(&self, capacity: usize) -> Buffer {
        match self.0.borrow_mut().pop() {
            Some(buffer) if buffer.capacity() >= capacity => buffer,
            _ => Buffer::with_capacity(capacity),
        }
    }

    fn give(&self, mut buffer: Buffer) {
        let mut kept = self.0.borrow_mut();
        if kept.len() < kept.capacity() {
            buffer.clear();
            kept.push(buffer);
        }
    }
}

/// Of one connection.
#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) collected: Buffer,
    pub(super) bounds: Bounds,
    spare: Spare,
    /// Once sending failed, it fails.
    pub(super) failed: Option<ErrorKind>,
    /// Since when the socket takes nothing.
    pub(super) blocked_at: Option<u64>,
    pub(super) meter: Meter,
}

impl Outbound {
    pub(super) fn new(bounds: Bounds, spare: &Spare, meter: Meter) -> Self {
        Self {
            collected: Buffer::default(),
            bounds,
            spare: spare.clone(),
            failed: None,
            blocked_at: None,
            meter,
        }
    }

    /// Copies what there is room for.
    pub(super) fn collect(&mut self, bytes: &[u8]) -> usize {
        let room = self.bounds.collect.saturating_sub(self.collected.len());
        let n = room.min(bytes.len());
        if n == 0 {
            return 0;
        }
        if self.collected.capacity() < self.bounds.collect {
            let small = mem::replace(&mut self.collected, self.spare.take(self.bounds.collect));
            self.append(small.filled());
        }
        if self.collected.spare().len() < n {
            self.collected.compact();
        }
        self.append(bytes.get(..n).unwrap_or_default());
        n
    }

    fn append(&mut self, bytes: &[u8]) {
        if let Some(place) = self.collected.spare().get_mut(..bytes.len()) {
            place.copy_from_slice(bytes);
            self.collected.received(bytes.len());
        }
    }

    /// The first `n` bytes are done with. An empty buffer goes back.
    pub(super) fn release(&mut self, n: usize) {
        self.collected.consume(n);
        if self.collected.is_empty() && self.collected.capacity() > 0 {
            let buffer = mem::take(&mut self.collected);
            // What `settle` made is too small for anyone else.
            if buffer.capacity() >= self.bounds.collect {
                self.spare.give(buffer);
            }
        }
    }

    /// Waits for a peer that does not read with no more memory than what waits.
    pub(super) fn settle(&mut self) {
        let waiting = self.collected.len();
        if waiting <= self.collected.capacity() / 4 {
            let mut small = Buffer::with_capacity(waiting);
            mem::swap(&mut small, &mut self.collected);
            let large = small;
            self.append(large.filled());
            if large.capacity() >= self.bounds.collect {
                self.spare.give(large);
            }
        }
    }
}
