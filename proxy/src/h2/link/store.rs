//! The streams of one connection: what is known of each, and where it is found by its id.

use std::{
    collections::{HashMap, VecDeque},
    task::{Context, Waker},
};

use bytes::{Bytes, BytesMut};

use super::{
    super::{frame::Code, hpack::Block},
    Spare,
};

/// Why a stream ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// The peer reset it.
    Reset(Code),
    /// We did: the peer broke the rules, on it or on its connection.
    Broke,
    /// We did, of our own will.
    Given,
    /// The peer left without it, by a GOAWAY of this code, and did not process it.
    Left(Code),
    /// Its connection ended.
    Closed,
}

/// What a request asks for: what a length in its answer means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Asks {
    /// The length of what follows.
    #[default]
    Body,
    /// Nothing follows.
    Head,
    /// Whatever follows, it has no length.
    Tunnel,
}

/// A header section that came, and whether it ended its stream.
pub(super) struct Section {
    pub(super) block: Block,
    pub(super) end: bool,
}

/// What the task of a stream waits for.
#[derive(Debug, Default)]
pub(super) struct Waits {
    waker: Option<Waker>,
    recv: bool,
    send: bool,
}

impl Waits {
    pub(super) fn for_recv(&mut self, cx: &Context<'_>) {
        self.recv = true;
        self.set(cx.waker());
    }

    pub(super) fn for_send(&mut self, cx: &Context<'_>) {
        self.send = true;
        self.set(cx.waker());
    }

    /// For its end, of which it is told in any case.
    pub(super) fn for_end(&mut self, cx: &Context<'_>) {
        self.set(cx.waker());
    }

    fn set(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    pub(super) fn wake_recv(&mut self) {
        if self.recv {
            self.wake();
        }
    }

    pub(super) fn wake_send(&mut self) {
        if self.send {
            self.wake();
        }
    }

    pub(super) fn wake(&mut self) {
        (self.recv, self.send) = (false, false);
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

#[derive(Default)]
pub(super) struct Slot {
    pub(super) id: u32,
    pub(super) waits: Waits,
    /// Counts as one of those that may be open at once.
    pub(super) counted: bool,
    /// The peer said that nothing follows.
    pub(super) recv_closed: bool,
    /// We did.
    pub(super) send_closed: bool,
    pub(super) gone: Option<Gone>,

    /// Sections in front of the body that nobody has taken yet.
    pub(super) heads: VecDeque<Section>,
    /// The head of the message came; what follows are trailers.
    pub(super) head_came: bool,
    pub(super) trailers: Option<Block>,
    /// Payload that came and nobody has taken: pieces, and behind them small ones in one.
    pub(super) pieces: VecDeque<Bytes>,
    pub(super) tail: BytesMut,
    /// What the message's length leaves to come, where it says one.
    pub(super) left: Option<u64>,
    pub(super) asked: Asks,

    /// What the peer may send.
    pub(super) recv_window: i64,
    /// What came and was not released.
    pub(super) held: u32,
    /// What was released and the peer was not told of.
    pub(super) owed: u32,

    /// What we may send.
    pub(super) send_window: i64,
    /// It stands in the line of those who wait for the connection, and wants so much.
    pub(super) queued: bool,
    pub(super) wanted: usize,
    /// It is its turn.
    pub(super) woken: bool,
}

impl Slot {
    pub(super) fn is_closed(&self) -> bool {
        self.gone.is_some() || (self.recv_closed && self.send_closed)
    }

    /// Makes a piece of the small ones.
    pub(super) fn take_tail(&mut self) {
        if !self.tail.is_empty() {
            let tail = std::mem::take(&mut self.tail);
            self.pieces.push_back(tail.freeze());
        }
    }

    /// As new, with the memory it has.
    pub(super) fn clear(&mut self) {
        let mut heads = std::mem::take(&mut self.heads);
        let mut pieces = std::mem::take(&mut self.pieces);
        heads.clear();
        pieces.clear();
        *self = Self {
            heads,
            pieces,
            ..Self::default()
        };
    }

    /// Whether there is payload to be taken.
    pub(super) fn has_data(&self) -> bool {
        !self.pieces.is_empty() || !self.tail.is_empty()
    }
}

/// All streams of a connection.
pub(super) struct Store {
    slots: Vec<Option<Box<Slot>>>,
    free: Vec<u32>,
    ids: HashMap<u32, u32, foldhash::fast::FixedState>,
    spare: Spare,
    /// For what cannot be, so that nothing here panics.
    nowhere: Option<Box<Slot>>,
}

impl Store {
    pub(super) fn new(spare: &Spare) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            ids: HashMap::default(),
            spare: spare.clone(),
            nowhere: None,
        }
    }

    /// Makes room for a stream, and returns its key.
    pub(super) fn insert(&mut self, id: u32) -> (u32, &mut Slot) {
        let mut slot = self.spare.take_slot();
        slot.id = id;
        let key = self.free.pop().unwrap_or(self.slots.len() as u32);
        self.ids.insert(id, key);
        if self.slots.len() <= key as usize {
            self.slots.push(None);
        }
        let place = self.slots.get_mut(key as usize);
        (key, place.unwrap_or(&mut self.nowhere).insert(slot))
    }

    pub(super) fn get(&mut self, key: u32) -> Option<&mut Slot> {
        self.slots.get_mut(key as usize)?.as_deref_mut()
    }

    pub(super) fn find(&self, id: u32) -> Option<u32> {
        self.ids.get(&id).copied()
    }

    pub(super) fn remove(&mut self, key: u32) -> Option<Box<Slot>> {
        let slot = self.slots.get_mut(key as usize)?.take()?;
        self.ids.remove(&slot.id);
        self.free.push(key);
        Some(slot)
    }

    /// Takes back what [`remove`](Self::remove) returned.
    pub(super) fn recycle(&self, slot: Box<Slot>) {
        self.spare.give_slot(slot);
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.slots.iter_mut().filter_map(Option::as_deref_mut)
    }
}
