//! What a connection has lined up for its socket, and that it counts.
//!
//! h2 takes payload against the peer's window, which says nothing about whether the peer reads its
//! socket. So every [`Piece`] that h2 is given counts as memory of its connection until h2 has
//! written it; a connection whose socket is full waits in line with the streams whose windows are
//! shut, and is sent away like them.

use std::{cell::Cell, rc::Rc, task::Waker};

use bytes::{Buf, Bytes};

use crate::net::behind::{Behind, Hold};

/// Of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Queue(Rc<Held>);

#[derive(Debug)]
struct Held {
    hold: Hold,
    /// What the link below h2 holds while the socket is full.
    collected: Cell<usize>,
}

impl Queue {
    pub(super) fn new(behind: &Behind) -> Self {
        Self(Rc::new(Held {
            hold: Hold::new(behind),
            collected: Cell::new(0),
        }))
    }

    /// Lines payload up. `None`: there is no memory for it.
    pub(crate) fn piece(&self, bytes: Bytes) -> Option<Piece> {
        let counted = bytes.len();
        self.0.hold.add(counted).then(|| Piece {
            bytes,
            queue: Some((self.clone(), counted)),
        })
    }

    /// The socket takes nothing, and the link holds so many bytes for it. `false`: the connection
    /// has to go.
    pub(super) fn wait(&self, collected: usize, waker: &Waker) -> bool {
        let held = &self.0.hold;
        let before = self.0.collected.get();
        if collected > before && !held.add(collected - before) {
            return false;
        }
        held.sub(before.saturating_sub(collected));
        self.0.collected.set(collected);
        held.wait(waker)
    }

    /// Others needed what waited.
    pub(crate) fn is_sent_away(&self) -> bool {
        self.0.hold.is_sent_away()
    }

    /// It takes what there is.
    pub(super) fn go_on(&self) {
        self.0.hold.sub(self.0.collected.take());
        self.0.hold.go_on();
    }
}

/// Payload in h2's hands.
#[derive(Debug)]
pub(crate) struct Piece {
    bytes: Bytes,
    queue: Option<(Queue, usize)>,
}

impl Piece {
    /// No payload: the end of a stream.
    pub(crate) const fn empty() -> Self {
        Self {
            bytes: Bytes::new(),
            queue: None,
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some((queue, counted)) = self.queue.take() {
            queue.0.hold.sub(counted);
        }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, n: usize) {
        self.bytes.advance(n);
    }
}
