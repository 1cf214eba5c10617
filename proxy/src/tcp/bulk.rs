//! The memory through which one worker copies opaque bytes: one large window for all of its
//! connections, and what slow receivers have not taken yet.
//!
//! Reading much at once is what makes copying cheap (0.2 CPU seconds per GiB through 2 MiB, 0.5
//! through 64 KiB), and one window for all is what makes it affordable. A connection owns
//! memory only while its receiver is behind.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// What is read at once before a direction has shown that it has more.
pub(super) const SMALL_WINDOW: usize = 64 << 10;

/// What is read at once when more is held for slow receivers than the budget allows.
const SCARCE_WINDOW: usize = 16 << 10;

/// One worker's memory for opaque bytes. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Bulk(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Borrowed within one poll only; holds nothing between two.
    window: RefCell<Vec<u8>>,
    /// Whether more than the small window was used since the last sweep.
    large: Cell<bool>,
    /// Bytes that all [`Held`] own together.
    held: Cell<usize>,
    budget: usize,
}

impl Bulk {
    /// `budget` bytes may wait for slow receivers (`limits.bulk_buffers`). When more do, reads
    /// shrink to 16 KiB for each connection.
    pub(crate) fn new(budget: usize) -> Self {
        Self(Rc::new(Shared {
            window: RefCell::default(),
            large: Cell::new(false),
            held: Cell::new(0),
            budget,
        }))
    }

    #[cfg(test)]
    /// Bytes that wait for slow receivers now.
    pub(crate) fn held(&self) -> usize {
        self.0.held.get()
    }

    /// Gives memory back that was not used since the last call. To be called now and then, once
    /// a second or so.
    pub(crate) fn sweep(&self) {
        if !self.0.large.replace(false) {
            let mut window = self.0.window.borrow_mut();
            if window.len() > SMALL_WINDOW {
                *window = Vec::new();
            }
        }
    }

    /// Lends the window, `wanted` bytes of it or what the budget leaves.
    pub(super) fn window<T>(&self, wanted: usize, f: impl FnOnce(&mut [u8]) -> T) -> T {
        let left = self.0.budget.saturating_sub(self.0.held.get());
        let length = wanted.min(left.max(SCARCE_WINDOW));
        let mut window = self.0.window.borrow_mut();
        if length > SMALL_WINDOW {
            self.0.large.set(true);
        }
        if window.len() < length {
            // What it held is of no use: let it go before there is another.
            *window = Vec::new();
            *window = vec![0; length.max(SMALL_WINDOW)];
        }
        f(window.get_mut(..length).unwrap_or_default())
    }

    /// Keeps bytes for a receiver that did not take them.
    pub(super) fn hold(&self, bytes: &[u8]) -> Held {
        self.0.held.set(self.0.held.get() + bytes.len());
        Held {
            bytes: bytes.into(),
            taken: 0,
            bulk: self.clone(),
        }
    }
}

/// Bytes that were received and that their receiver has not taken.
#[derive(Debug)]
pub(super) struct Held {
    bytes: Box<[u8]>,
    taken: usize,
    bulk: Bulk,
}

impl Held {
    /// What is left.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }

    /// The receiver took `n` more.
    pub(super) fn take(&mut self, n: usize) {
        self.taken += n;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let held = &self.bulk.0.held;
        held.set(held.get().saturating_sub(self.bytes.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_grows_on_demand_and_goes_when_unused() {
        let bulk = Bulk::new(1 << 20);
        let capacity = || bulk.0.window.borrow().capacity();
        assert_eq!(capacity(), 0);
        bulk.window(1, |window| assert_eq!(window.len(), 1));
        assert_eq!(capacity(), SMALL_WINDOW);
        bulk.window(1 << 20, |window| assert_eq!(window.len(), 1 << 20));
        bulk.window(SMALL_WINDOW, |window| {
            assert_eq!(window.len(), SMALL_WINDOW);
        });
        assert_eq!(capacity(), 1 << 20);
        bulk.sweep();
        assert_eq!(capacity(), 1 << 20);
        bulk.window(SMALL_WINDOW, |_| ());
        bulk.sweep();
        assert_eq!(capacity(), 0);
        bulk.window(10, |_| ());
        bulk.sweep();
        bulk.sweep();
        assert_eq!(capacity(), SMALL_WINDOW);
    }

    #[test]
    fn what_is_held_is_counted_and_makes_reads_shrink() {
        let bulk = Bulk::new(100_000);
        let window = |wanted| bulk.window(wanted, |window| window.len());
        assert_eq!(window(1 << 20), 100_000);
        let mut first = bulk.hold(&vec![1; 60_000]);
        assert_eq!((bulk.held(), window(1 << 20)), (60_000, 40_000));
        first.take(59_998);
        assert_eq!((first.rest(), bulk.held()), (&[1, 1][..], 60_000));
        first.take(2);
        assert_eq!(first.rest(), [0_u8; 0]);
        let second = bulk.hold(&vec![2; 60_000]);
        assert_eq!((bulk.held(), window(1 << 20)), (120_000, SCARCE_WINDOW));
        assert_eq!(window(10), 10);
        drop(first);
        drop(second);
        assert_eq!((bulk.held(), window(1 << 20)), (0, 100_000));
    }
}
