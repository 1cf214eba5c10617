//! A connection, for the task that drives it, and who opens streams on one of ours.

use std::{
    cell::RefCell,
    future::Future,
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::{
    super::{
        abuse::{Limits, Role},
        frame::Code,
    },
    CLOGGED, Core, End, Settings, Shared, Spare, Stream,
    store::Asks,
};
use crate::net::{behind::Behind, stream::Stream as Socket};

/// Reads to begin with, and of what keeps filling them.
const READ: usize = 16 * 1_024;
const BULK: usize = 64 * 1_024;
/// Bytes of frames taken in one turn. A frame counts [`FRAME_COST`] beside its bytes.
const TURN: usize = 64 * 1_024;
/// What a frame takes to process, in bytes of DATA that take as long.
pub(crate) const FRAME_COST: usize = 512;

/// What a connection is made of.
pub(crate) struct Parts<'a> {
    pub(crate) stream: Socket,
    /// Bytes that were read already, to find out what the peer speaks.
    pub(crate) first: &'a [u8],
    pub(crate) role: Role,
    pub(crate) settings: Settings,
    pub(crate) limits: &'a Limits,
    pub(crate) spare: &'a Spare,
    /// What all payload counts against that waits for its socket.
    pub(crate) behind: &'a Behind,
}

/// The connection as its task has it. When it is dropped its streams are gone.
pub(crate) struct Connection {
    socket: Socket,
    raw: BytesMut,
    read: usize,
    /// Nothing more will come.
    eof: bool,
    /// Reading waits until the peer has taken what we said.
    clogged: bool,
    pub(super) core: Shared,
}

/// Who may open streams on a connection of ours. It ends when all of them are gone, and the last
/// stream is.
pub(crate) struct Sender(Shared);

impl Connection {
    pub(crate) fn new(parts: Parts<'_>) -> Self {
        let core = Core::new(
            parts.role,
            parts.settings,
            parts.limits,
            parts.spare,
            parts.behind,
        );
        Self {
            socket: parts.stream,
            raw: BytesMut::from(parts.first),
            read: READ,
            eof: false,
            clogged: false,
            core: Rc::new(RefCell::new(core)),
        }
    }

    /// Who opens its streams.
    pub(crate) fn sender(&self) -> Sender {
        self.core.borrow_mut().senders += 1;
        Sender(Rc::clone(&self.core))
    }

    /// Takes what came and acts on it. To be called by the task that drives it whenever it is woken,
    /// and then [`flush`](Self::poll_flush), until it is over.
    pub(crate) fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.core.borrow_mut().attend(cx);
        let mut left = TURN;
        loop {
            left = left.saturating_sub(self.take_frames());
            let mut core = self.core.borrow_mut();
            if let Some(end) = core.ended {
                return Poll::Ready(end);
            }
            if core.is_over() {
                let word = (core.role == Role::Client).then_some(Code::NO_ERROR);
                core.end(End::Closed, word, "");
                return Poll::Ready(End::Closed);
            }
            if self.eof {
                core.end(End::Closed, None, "");
                return Poll::Ready(End::Closed);
            }
            // A server is read from all the same: two who wait for each other would wait forever.
            self.clogged = core.role == Role::Server && core.out.len() >= CLOGGED;
            drop(core);
            if self.clogged {
                return Poll::Pending;
            }
            if left == 0 {
                // Others have their turn first.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match ready!(self.poll_read(cx)) {
                Ok(n) if n > 0 => {
                    left = left.saturating_sub(n);
                    self.core.borrow_mut().received += n as u64;
                }
                Ok(_) | Err(_) => self.eof = true,
            }
        }
    }

    /// Acts on all frames that are whole. Returns what that took, in bytes.
    fn take_frames(&mut self) -> usize {
        let mut core = self.core.borrow_mut();
        let frames = core.take_frames(&mut self.raw);
        // Between turns an idle connection holds no memory.
        if self.raw.is_empty() && self.raw.capacity() > 0 {
            core.spare.give_raw(std::mem::take(&mut self.raw));
        }
        frames * FRAME_COST
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.raw.capacity() == 0 {
            if self.socket.poll_read_ready(cx).is_pending() {
                return Poll::Pending;
            }
            self.raw = self.core.borrow().spare.take_raw();
        }
        self.raw.reserve(self.read);
        let room = self.raw.capacity() - self.raw.len();
        // Stateless: a read that is pending is made anew at the next poll.
        let n = ready!(pin!(self.socket.read_buf(&mut self.raw)).poll(cx))?;
        if n >= room {
            self.read = BULK;
        }
        Poll::Ready(Ok(n))
    }

    /// Ends a turn: sends what there is to say. `Pending`: the peer takes no more for now, and the
    /// task is woken when it does.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut core = self.core.borrow_mut();
        core.turn = false;
        let before = core.out.len();
        let sent = core.out.poll_send(cx, &mut self.socket);
        let waits = core.out.len();
        if waits < before {
            core.next_in_line();
        }
        // There is more to do only now.
        if (self.clogged && waits < CLOGGED) || (waits == 0 && core.is_over()) {
            cx.waker().wake_by_ref();
        }
        sent
    }

    /// The stream of a client that came next.
    pub(crate) fn accept(&mut self) -> Option<Stream> {
        let key = self.core.borrow_mut().accept()?;
        let core = Rc::clone(&self.core);
        Some(Stream { core, key })
    }

    /// Sends what is left to say to a peer that reads, and no more.
    pub(crate) fn say_last(&mut self, cx: &mut Context<'_>) {
        if self.poll_flush(cx).is_ready() {
            // Fails where there is nobody to hear it.
            let _ = Pin::new(&mut self.socket).poll_shutdown(cx);
        }
    }

    /// Asks a client to open no more streams, and to leave when the last one is done.
    pub(crate) fn leave(&mut self) {
        self.core.borrow_mut().leave();
    }

    /// Ends it now, with a word for the peer.
    pub(crate) fn end(&mut self, code: Code) {
        self.core.borrow_mut().end(End::Ours, Some(code), "");
    }

    /// Since when the peer takes nothing of what waits for it.
    pub(crate) fn blocked_at(&self) -> Option<u64> {
        self.core.borrow().out.blocked_at()
    }

    /// The peer is behind: what waits for it is at the disposal of others. `false`: they need it,
    /// and the connection is to end.
    pub(crate) fn wait(&self, cx: &Context<'_>) -> bool {
        let core = self.core.borrow();
        core.hold.set(core.out.held()) && core.hold.wait(cx.waker())
    }

    /// The peer has caught up.
    pub(crate) fn go_on(&self) {
        let core = self.core.borrow();
        let _less = core.hold.set(0);
        core.hold.go_on();
    }

    /// Bytes that came since this was asked last.
    pub(crate) fn take_received(&self) -> u64 {
        std::mem::take(&mut self.core.borrow_mut().received)
    }

    /// Has a PING follow the next `WINDOW_UPDATE` of a stream.
    pub(crate) fn measure(&self) {
        self.core.borrow_mut().ping.due = true;
    }

    /// Whether it has, since this was asked last.
    pub(crate) fn take_measuring(&self) -> bool {
        std::mem::take(&mut self.core.borrow_mut().ping.measuring)
    }

    /// Sends a PING, if none is under way.
    pub(crate) fn ask(&self) -> bool {
        self.core.borrow_mut().ask()
    }

    /// Whether a PING was answered since this was asked last.
    pub(crate) fn take_answer(&self) -> bool {
        std::mem::take(&mut self.core.borrow_mut().ping.answered)
    }

    /// Lets the peer have more under way: on the connection, and on each stream.
    pub(crate) fn set_windows(&self, connection: u32, stream: u32) {
        let mut core = self.core.borrow_mut();
        core.set_connection_window(connection);
        core.set_stream_window(stream);
    }

    /// Whether the peer's first SETTINGS came.
    pub(crate) fn is_told(&self) -> bool {
        self.core.borrow().theirs.told
    }

    /// Bytes that wait for the socket.
    pub(crate) fn unsent(&self) -> usize {
        self.core.borrow().out.len()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut core = self.core.borrow_mut();
        core.end(End::Closed, None, "");
        core.waker = None;
    }
}

impl Sender {
    /// Whether streams may be opened.
    pub(crate) fn is_open(&self) -> bool {
        let core = self.0.borrow();
        core.ended.is_none() && !core.left
    }

    /// How many streams the peer lets be open at once, once it has said so.
    pub(crate) fn max_streams(&self) -> Option<u32> {
        let theirs = &self.0.borrow().theirs;
        theirs.told.then_some(theirs.max_streams)
    }

    /// Whether the peer takes extended CONNECT (RFC 8441 section 3).
    pub(crate) fn takes_tunnels(&self) -> bool {
        self.0.borrow().theirs.tunnels
    }

    /// Opens a stream with a request's header block; with `end` nothing follows. `None`: the
    /// connection takes no more.
    pub(crate) fn open(&self, block: &[u8], end: bool, asks: Asks) -> Option<Stream> {
        let key = self.0.borrow_mut().request(block, end, asks)?;
        Some(Stream {
            core: Rc::clone(&self.0),
            key,
        })
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let mut core = self.0.borrow_mut();
        core.senders -= 1;
        core.speak();
    }
}
