//! One direction of an opaque connection: what comes in on one side goes out on the other, to
//! the end of it.

use std::{
    io::ErrorKind,
    task::{Context, Poll, ready},
};

use super::bulk::{Bulk, Held, SMALL_WINDOW};
use crate::net::channel::Side;

/// The most read at once. Measured over loopback, in CPU seconds per GiB: 0.21 with 2 MiB, 0.24
/// with 1 MiB, 0.52 with 64 KiB. More makes the worker's other connections wait longer than the
/// 0.4 ms that this takes.
const LARGE_WINDOW: usize = 2 << 20;

/// When a direction has moved this much, others get a turn before it reads again.
const TURN: usize = LARGE_WINDOW;

/// One direction.
#[derive(Debug)]
pub(super) struct Pipe {
    /// What the receiver has not taken. Nothing more is read until it has.
    held: Option<Box<Held>>,
    /// What to read at once, were the receiver's room no matter.
    window: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The sender may send.
    Open,
    /// The sender has ended. When the receiver has all, it is told.
    Ended,
    /// All is done in this direction.
    Done,
}

/// How far a direction came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It has more to do, and had its turn.
    TurnOver,
    /// The end of what is sent was passed on.
    Done,
}

/// Which side failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Sender,
    Receiver,
    /// There is no memory for what the receiver has not taken.
    Memory,
}

impl Pipe {
    pub(super) fn new() -> Self {
        Self {
            held: None,
            window: SMALL_WINDOW as u32,
            state: State::Open,
        }
    }

    /// Puts bytes in front, which were read from the sender before.
    pub(super) fn begin_with(&mut self, bytes: &[u8], bulk: &Bulk) {
        if !bytes.is_empty() {
            self.held = Some(Box::new(bulk.hold(bytes)));
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the receiver is behind.
    pub(super) fn is_stalled(&self) -> bool {
        self.held.is_some()
    }

    /// Nothing more can be passed on in this direction.
    pub(super) fn abandon(&mut self) {
        self.held = None;
        self.state = State::Done;
    }

    /// Moves what can be moved, up to one turn. `moved` counts what the receiver took.
    /// `pass_end` says whether the end of what is sent is told to the receiver, too.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        (from, to): (&mut Side<'_>, &mut Side<'_>),
        bulk: &Bulk,
        pass_end: bool,
        moved: &mut usize,
    ) -> Poll<Result<Progress, Broken>> {
        loop {
            while let Some(held) = &mut self.held {
                let n = ready!(write(to, cx, held.rest()))?;
                *moved += n;
                held.take(n);
                if held.rest().is_empty() {
                    self.held = None;
                }
            }
            match self.state {
                State::Open => {}
                State::Ended => {
                    if pass_end {
                        let result = ready!(to.poll_end(cx));
                        // Where there is no connection any more, reading from it says why.
                        if result.is_err_and(|e| e.kind() != ErrorKind::NotConnected) {
                            return Poll::Ready(Err(Broken::Receiver));
                        }
                    }
                    self.state = State::Done;
                }
                State::Done => return Poll::Ready(Ok(Progress::Done)),
            }
            if self.state == State::Open {
                if *moved >= TURN {
                    return Poll::Ready(Ok(Progress::TurnOver));
                }
                ready!(self.poll_copy(cx, from, to, bulk, moved))?;
            }
        }
    }

    /// One read into the worker's window, written at once. What the receiver does not take is held.
    fn poll_copy(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Side<'_>,
        to: &mut Side<'_>,
        bulk: &Bulk,
        moved: &mut usize,
    ) -> Poll<Result<(), Broken>> {
        bulk.window(self.wanted(to), |window| {
            let n = ready!(from.poll_read(cx, window)).map_err(|_| Broken::Sender)?;
            if n == 0 {
                self.state = State::Ended;
                return Poll::Ready(Ok(()));
            }
            self.adapt(n, window.len());
            let mut rest = window.get(..n).unwrap_or_default();
            while !rest.is_empty() {
                let Poll::Ready(n) = write(to, cx, rest)? else {
                    self.held = Some(Box::new(bulk.hold(rest)));
                    return Poll::Pending;
                };
                *moved += n;
                rest = rest.get(n..).unwrap_or_default();
            }
            Poll::Ready(Ok(()))
        })
    }

    /// How much to read: no more than the receiver has room for, beyond a little, so that a
    /// receiver that falls behind leaves little to hold.
    fn wanted(&self, to: &Side<'_>) -> usize {
        let window = self.window as usize;
        if window <= SMALL_WINDOW {
            return window;
        }
        match to.send_room() {
            Some(room) => window.min(room.max(SMALL_WINDOW)),
            None => SMALL_WINDOW,
        }
    }

    /// A sender that fills what is offered is offered more, one that does not less.
    fn adapt(&mut self, read: usize, offered: usize) {
        let window = self.window as usize;
        if read == offered && offered >= SMALL_WINDOW {
            self.window = (window * 4).min(LARGE_WINDOW) as u32;
        } else if read < window / 4 {
            self.window = (window / 4).max(SMALL_WINDOW) as u32;
        }
    }
}

fn write(to: &mut Side<'_>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Broken>> {
    match to.poll_write(cx, bytes) {
        Poll::Ready(Ok(n)) if n > 0 => Poll::Ready(Ok(n)),
        Poll::Ready(Err(e)) if e.kind() == ErrorKind::OutOfMemory => {
            Poll::Ready(Err(Broken::Memory))
        }
        Poll::Ready(_) => Poll::Ready(Err(Broken::Receiver)),
        Poll::Pending => Poll::Pending,
    }
}
