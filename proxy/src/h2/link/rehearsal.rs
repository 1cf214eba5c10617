//! A connection without a socket, for fuzz targets: what a peer sends goes in, what we say comes out.

use std::{cell::RefCell, rc::Rc};

use bytes::BytesMut;

use super::{
    super::abuse::{Limits, Role},
    Core, End, Settings, Spare, Stream,
    store::Asks,
};
use crate::net::behind::Behind;

pub(crate) struct Rehearsal {
    core: Rc<RefCell<Core>>,
    raw: BytesMut,
    said: Vec<u8>,
}

impl Rehearsal {
    pub(crate) fn new(role: Role, settings: Settings, limits: &Limits) -> Self {
        let behind = Behind::new(1 << 20);
        let core = Core::new(role, settings, limits, &Spare::new(1), &behind);
        Self {
            core: Rc::new(RefCell::new(core)),
            raw: BytesMut::new(),
            said: Vec::new(),
        }
    }

    /// Opens a stream of ours with this header block.
    pub(crate) fn open(&self, block: &[u8]) -> Option<Stream> {
        let key = self.core.borrow_mut().request(block, false, Asks::Body)?;
        let core = Rc::clone(&self.core);
        Some(Stream { core, key })
    }

    /// What the peer sends. Why the connection ended, if it has.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Option<End> {
        self.raw.extend_from_slice(bytes);
        let mut core = self.core.borrow_mut();
        core.take_frames(&mut self.raw);
        self.said.append(core.out.text());
        core.ended
    }

    /// The streams of a client that came.
    pub(crate) fn accept(&self) -> Option<Stream> {
        let key = self.core.borrow_mut().accept()?;
        let core = Rc::clone(&self.core);
        Some(Stream { core, key })
    }

    /// Bytes that wait to be a whole frame.
    pub(crate) fn waits(&self) -> usize {
        self.raw.len()
    }

    /// All that was said so far.
    pub(crate) fn said(&mut self) -> &[u8] {
        self.said.append(self.core.borrow_mut().out.text());
        &self.said
    }
}
