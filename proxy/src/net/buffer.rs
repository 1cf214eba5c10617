//! Buffers, and the memory that all of a worker's may take.
//!
//! A connection holds a buffer only while it has work; an idle one holds none.

use std::{cell::Cell, rc::Rc};

/// Bytes received and not yet consumed: `data[start..end]`. The storage is initialised once.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    data: Vec<u8>,
    start: usize,
    end: usize,
    /// What it took from a budget beyond its first size.
    lease: Option<Lease>,
}

/// Memory that the buffers of a worker may take beyond their usual size, all together.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Rc<Cell<usize>>);

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Rc::new(Cell::new(bytes)))
    }

    /// Takes part of the budget until the lease is dropped; `None` where too little is left.
    pub(crate) fn lease(&self, bytes: usize) -> Option<Lease> {
        let left = self.0.get().checked_sub(bytes)?;
        self.0.set(left);
        Some(Lease {
            budget: self.clone(),
            bytes,
        })
    }
}

/// A part of a [`Budget`] in use.
#[derive(Debug)]
pub(crate) struct Lease {
    budget: Budget,
    bytes: usize,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.budget.0.set(self.budget.0.get() + self.bytes);
    }
}

impl Buffer {
    /// A buffer of fixed capacity.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self {
            data: vec![0; capacity],
            start: 0,
            end: 0,
            lease: None,
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.data.len()
    }

    /// What was received and not consumed.
    pub(crate) fn filled(&self) -> &[u8] {
        self.data.get(self.start..self.end).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Room behind what was received.
    pub(crate) fn spare(&mut self) -> &mut [u8] {
        if self.is_empty() {
            self.start = 0;
            self.end = 0;
        }
        self.data.get_mut(self.end..).unwrap_or_default()
    }

    /// `n` bytes were written to [`Buffer::spare`].
    pub(crate) fn received(&mut self, n: usize) {
        self.end = (self.end + n).min(self.data.len());
    }

    /// Puts bytes behind what was received, as if they had come that way.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        let needed = self.len() + bytes.len();
        if self.spare().len() < bytes.len() {
            self.compact();
            self.grow(needed);
        }
        if let Some(room) = self.spare().get_mut(..bytes.len()) {
            room.copy_from_slice(bytes);
            self.received(bytes.len());
        }
    }

    /// The first `n` bytes are done with.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
    }

    /// Moves what is left to the front, so that all room is behind it.
    pub(crate) fn compact(&mut self) {
        self.data.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
    }

    /// Makes the buffer at least this large, keeping what it holds.
    pub(crate) fn grow(&mut self, capacity: usize) {
        if capacity > self.data.len() {
            self.compact();
            self.data.resize(capacity, 0);
        }
    }

    /// Grows an empty buffer if the budget allows.
    pub(crate) fn grow_within(&mut self, budget: &Budget, capacity: usize) {
        debug_assert!(
            self.is_empty(),
            "what a buffer holds is not moved into bulk memory"
        );
        // Where that is refused, what was leased before stays in use.
        if let Some(lease) = budget.lease(capacity) {
            self.data = vec![0; capacity];
            self.lease = Some(lease);
            self.clear();
        }
    }

    /// Makes an empty buffer at most this large.
    pub(crate) fn shrink(&mut self, capacity: usize) {
        if self.is_empty() && self.data.len() > capacity {
            *self = Self::with_capacity(capacity);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_may_not_grow_goes_on_being_counted() {
        let budget = Budget::new(100);
        let mut buffer = Buffer::with_capacity(10);
        buffer.grow_within(&budget, 60);
        buffer.grow_within(&budget, 90);
        assert_eq!(buffer.capacity(), 60);
        assert!(budget.lease(41).is_none(), "its memory counts as free");
        buffer.shrink(10);
        assert!(budget.lease(100).is_some());
    }
}
