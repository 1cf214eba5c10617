//! What the connections of a worker share: memory that nobody uses now. Between turns only a
//! connection that waits for the rest of a frame, or for a peer that does not read, holds a buffer, so
//! that few serve all.

use std::{cell::RefCell, rc::Rc};

use bytes::BytesMut;

use super::{super::hpack::Block, store::Slot};

/// A buffer that grew beyond this for a burst does not stay.
const USUAL: usize = 64 * 1_024;
/// Buffers to read into: one connection reads at a time.
const READING: usize = 4;
/// Heads and streams that come in one turn of the event loop, about.
const STREAMS: usize = 256;

#[derive(Clone)]
pub(crate) struct Spare(Rc<Pools>);

struct Pools {
    out: RefCell<Vec<Vec<u8>>>,
    raw: RefCell<Vec<BytesMut>>,
    blocks: RefCell<Vec<Block>>,
    #[allow(
        clippy::vec_box,
        reason = "a slot moves between connections as a pointer"
    )]
    slots: RefCell<Vec<Box<Slot>>>,
}

impl Spare {
    /// Keeps so many buffers at most of what is to be sent.
    pub(crate) fn new(most: usize) -> Self {
        Self(Rc::new(Pools {
            out: RefCell::new(Vec::with_capacity(most)),
            raw: RefCell::default(),
            blocks: RefCell::default(),
            slots: RefCell::default(),
        }))
    }

    pub(super) fn take_out(&self) -> Vec<u8> {
        self.0.out.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn give_out(&self, mut buffer: Vec<u8>) {
        let mut kept = self.0.out.borrow_mut();
        if kept.len() < kept.capacity() && buffer.capacity() <= USUAL {
            buffer.clear();
            kept.push(buffer);
        }
    }

    pub(super) fn take_raw(&self) -> BytesMut {
        self.0.raw.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes a buffer back in which nothing is left.
    pub(super) fn give_raw(&self, mut buffer: BytesMut) {
        let mut kept = self.0.raw.borrow_mut();
        if kept.len() < READING && buffer.capacity() <= USUAL {
            buffer.clear();
            kept.push(buffer);
        }
    }

    pub(super) fn take_block(&self) -> Block {
        self.0.blocks.borrow_mut().pop().unwrap_or_else(Block::new)
    }

    pub(super) fn give_block(&self, block: Block) {
        let mut kept = self.0.blocks.borrow_mut();
        if kept.len() < STREAMS && block.is_usual() {
            kept.push(block);
        }
    }

    pub(super) fn take_slot(&self) -> Box<Slot> {
        self.0.slots.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn give_slot(&self, mut slot: Box<Slot>) {
        let mut kept = self.0.slots.borrow_mut();
        if kept.len() < STREAMS {
            slot.clear();
            kept.push(slot);
        }
    }
}
