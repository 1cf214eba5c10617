//! One HTTP/2 connection, ours or a peer's, and the streams on it (RFC 9113).
//!
//! A [`Connection`] belongs to the task that drives it: it reads frames, acts on them and sends
//! what there is to say. A [`Stream`] belongs to the task of an exchange. Both work on one core, and
//! wake each other; everything happens on one worker. No payload is queued for a peer beyond what is
//! lined up for the socket: who has more waits for room, in line. What came and was not taken is
//! bounded by the windows that the peer was told.
//!
//! Header sections are decoded here and not judged: what they say is read above. What a peer does
//! too often is for [`abuse`](super::abuse) to say.

mod connection;
mod flow;
mod headers;
mod outbound;
mod receive;
mod rehearsal;
mod send;
mod spare;
mod store;
mod stream;
#[cfg(test)]
mod tests;

use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::Rc,
    task::{Context, Waker},
};

pub(crate) use self::{
    connection::{Connection, Parts, Sender},
    rehearsal::Rehearsal,
    spare::Spare,
    store::{Asks, Gone},
    stream::Stream,
};
use self::{flow::Window, headers::Partial, outbound::Outbound, store::Store};
use super::{
    abuse::{Flood, Judge, Limits, Role},
    frame::{self, Code, FIRST_WINDOW, MAX_31, MAX_FRAME, setting},
    hpack::{Decoder, Encoder},
};
use crate::{
    error::{Cause, Failure},
    net::behind::{Behind, Hold},
    timer::now,
};

/// What we tell a peer of ourselves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Streams that a client may have open at once.
    pub(crate) max_streams: u32,
    /// The window of a stream to begin with.
    pub(crate) window: u32,
    /// The window of the connection.
    pub(crate) connection_window: u32,
    /// Bytes of a header list, counted as RFC 9113 section 6.5.2 does. Of one that has up to four
    /// times as many the rest is not kept; one beyond that ends the connection.
    pub(crate) header_list: u32,
    /// Whether clients may ask for tunnels (RFC 8441).
    pub(crate) tunnels: bool,
}

/// The table that a peer's encoder may use: what it has without being told.
const TABLE: usize = 4_096;
/// How many times the announced header list ends the connection.
const BOMB: usize = 4;
/// What waits for a socket at most before streams wait for room.
const LINED_UP: usize = 64 * 1_024;
/// What waits at most before a client is not read from: heads and what answers its frames, which
/// have no window.
const CLOGGED: usize = 256 * 1_024;
/// Streams that we reset and whose frames may still be under way.
const REMEMBERED: usize = 1_000;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The peer closed it or it broke, or nothing is left to do.
    Closed,
    /// The peer broke the rules, and was told so.
    Blamed(Code, &'static str),
    Flood(Flood),
    /// We ended it, with a word of our own.
    Ours,
}

impl End {
    /// What to book, where the peer is to blame.
    pub(crate) fn failure(self, role: Role) -> Option<Failure> {
        Some(match (self, role) {
            (Self::Closed | Self::Ours, _) => return None,
            (Self::Flood(flood), role) => Failure::new(flood.cause(role), flood.detail()),
            (Self::Blamed(_, detail), Role::Server) => {
                Failure::new(Cause::Http2ProtocolError, detail)
            }
            (Self::Blamed(_, detail), Role::Client) => Failure::new(Cause::BadResponse, detail),
        })
    }
}

/// What the peer told of itself.
#[derive(Debug)]
struct Theirs {
    /// Its first SETTINGS came.
    told: bool,
    max_streams: u32,
    window: u32,
    max_frame: u32,
    tunnels: bool,
}

/// What both tasks work on.
struct Core {
    role: Role,
    /// A client's preface is still to come.
    preface: bool,
    ours: Settings,
    theirs: Theirs,
    judge: Judge,
    /// The window of a stream as the peer has it, and those it has not acknowledged yet.
    window: u32,
    unacknowledged: VecDeque<u32>,
    recv: Window,
    send_window: i64,
    /// Streams that wait for the connection's window or for room, in the order in which they came.
    line: VecDeque<u32>,
    /// What those of them want whose turn it is, and who have not sent yet.
    promised: usize,
    /// The same at the beginning of the last turn.
    unclaimed: usize,
    store: Store,
    /// Streams that are open for both sides' counting.
    open: u32,
    decoder: Decoder,
    encoder: Encoder,
    partial: Option<Partial>,
    spare: Spare,
    /// Of a client, its last stream.
    last_peer: u32,
    /// Of ours, the next one.
    next: u32,
    /// Streams of a client that wait to be taken.
    arrived: VecDeque<u32>,
    reset: VecDeque<u32>,
    out: Outbound,
    hold: Hold,
    /// The last stream that our GOAWAY names.
    leaving: Option<u32>,
    /// The peer's GOAWAY came.
    left: bool,
    ended: Option<End>,
    /// Handles that may open streams.
    senders: u32,
    ping: Ping,
    received: u64,
    waker: Option<Waker>,
    /// The connection's task is about to send, or was woken for it.
    turn: bool,
}

/// PINGs of ours: one at a time.
#[derive(Debug, Default)]
struct Ping {
    asked: bool,
    answered: bool,
    /// One is to follow the next `WINDOW_UPDATE` of a stream, or has.
    due: bool,
    measuring: bool,
    /// Of the two steps in which a server leaves.
    leaving: bool,
}

/// What PINGs of either kind carry.
const ASKING: [u8; 8] = *b"outrider";
const LEAVING: [u8; 8] = *b"outgoing";

/// One core, for the tasks that share it.
type Shared = Rc<RefCell<Core>>;

impl Core {
    fn new(role: Role, ours: Settings, limits: &Limits, spare: &Spare, behind: &Behind) -> Self {
        let mut core = Self {
            role,
            preface: role == Role::Server,
            ours,
            theirs: Theirs {
                told: false,
                max_streams: u32::MAX,
                window: FIRST_WINDOW,
                max_frame: MAX_FRAME,
                tunnels: false,
            },
            judge: Judge::new(role, limits, now()),
            window: FIRST_WINDOW,
            unacknowledged: VecDeque::new(),
            recv: Window::new(FIRST_WINDOW),
            send_window: i64::from(FIRST_WINDOW),
            line: VecDeque::new(),
            promised: 0,
            unclaimed: 0,
            store: Store::new(spare),
            open: 0,
            decoder: Decoder::new(TABLE),
            encoder: Encoder::new(),
            partial: None,
            spare: spare.clone(),
            last_peer: 0,
            next: 1,
            arrived: VecDeque::new(),
            reset: VecDeque::new(),
            out: Outbound::new(spare),
            hold: Hold::new(behind),
            leaving: None,
            left: false,
            ended: None,
            senders: 0,
            ping: Ping::default(),
            received: 0,
            waker: None,
            turn: true,
        };
        core.greet();
        core
    }

    /// What goes first: a client's preface, and settings.
    fn greet(&mut self) {
        let ours = self.ours;
        let mut settings = vec![
            (setting::INITIAL_WINDOW_SIZE, ours.window),
            (setting::MAX_HEADER_LIST_SIZE, ours.header_list),
        ];
        match self.role {
            Role::Server => {
                settings.push((setting::MAX_CONCURRENT_STREAMS, ours.max_streams));
                if ours.tunnels {
                    settings.push((setting::ENABLE_CONNECT_PROTOCOL, 1));
                }
            }
            Role::Client => {
                settings.push((setting::ENABLE_PUSH, 0));
                self.out.text().extend_from_slice(frame::PREFACE);
            }
        }
        frame::settings(self.out.text(), &settings);
        self.unacknowledged.push_back(ours.window);
        self.set_connection_window(ours.connection_window);
    }

    /// Says that there is something to send.
    fn speak(&mut self) {
        if !self.turn {
            self.turn = true;
            if let Some(waker) = &self.waker {
                waker.wake_by_ref();
            }
        }
    }

    /// From now on the connection's task is woken by what its streams do.
    fn attend(&mut self, cx: &Context<'_>) {
        self.turn = true;
        // Who was woken before the last turn and has not sent since does not: others may.
        if self.promised == self.unclaimed {
            self.promised = 0;
        }
        self.unclaimed = self.promised;
        match &mut self.waker {
            Some(known) => known.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// The peer broke the rules: the connection ends, and it is told why.
    fn blame(&mut self, code: Code, detail: &'static str) {
        self.end(End::Blamed(code, detail), Some(code), detail);
    }

    fn flood(&mut self, flood: Flood) {
        // What a server does to us is no news to it.
        let code = (self.role == Role::Server).then_some(Code::ENHANCE_YOUR_CALM);
        self.end(End::Flood(flood), code, flood.detail());
    }

    /// Ends the connection, with a GOAWAY where there is something to say.
    fn end(&mut self, end: End, code: Option<Code>, detail: &str) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(end);
        if let Some(code) = code {
            let last = self.last_peer;
            frame::go_away(self.out.text(), last, code, detail);
        }
        let gone = match end {
            End::Blamed(..) | End::Flood(_) => Gone::Broke,
            End::Closed | End::Ours => Gone::Closed,
        };
        for slot in self.store.iter_mut() {
            if !slot.is_closed() {
                slot.gone = Some(gone);
            }
            slot.waits.wake();
        }
        self.line.clear();
        self.speak();
    }

    /// Asks a client to open no more streams, so that none that is under way is lost
    /// (RFC 9113 section 6.8).
    fn leave(&mut self) {
        if self.leaving.is_none() && self.ended.is_none() {
            self.leaving = Some(MAX_31);
            self.ping.leaving = true;
            let out = self.out.text();
            frame::go_away(out, MAX_31, Code::NO_ERROR, "");
            frame::ping(out, false, LEAVING);
            self.speak();
        }
    }

    /// The client has read that: now it is known which streams are the last.
    fn leave_behind(&mut self) {
        self.ping.leaving = false;
        self.leaving = Some(self.last_peer);
        frame::go_away(self.out.text(), self.last_peer, Code::NO_ERROR, "");
    }

    /// Whether nothing is left to do, and nothing will come. What we said to a client is to reach it.
    fn is_over(&self) -> bool {
        match self.role {
            Role::Server => {
                let leaves = self.left || (self.leaving.is_some() && !self.ping.leaving);
                leaves && self.open == 0 && self.out.len() == 0
            }
            Role::Client => self.senders == 0 && self.store.len() == 0,
        }
    }

    /// Asks the peer for a sign of life. `false`: it is asked already.
    fn ask(&mut self) -> bool {
        if self.ping.asked {
            return false;
        }
        (self.ping.asked, self.ping.answered) = (true, false);
        frame::ping(self.out.text(), false, ASKING);
        self.speak();
        true
    }

    /// A stream's window was updated: what is to follow that does.
    fn updated(&mut self) {
        if self.ping.due && self.ask() {
            (self.ping.due, self.ping.measuring) = (false, true);
        }
    }

    /// Counts a stream as closed, once.
    fn closed(&mut self, key: u32) {
        if let Some(slot) = self.store.get(key)
            && slot.counted
            && slot.is_closed()
        {
            slot.counted = false;
            self.open -= 1;
            if self.open == 0 {
                self.speak();
            }
        }
    }

    /// Remembers a stream whose frames may still be under way.
    fn remember(&mut self, id: u32) {
        if self.reset.len() == REMEMBERED {
            self.reset.pop_front();
        }
        self.reset.push_back(id);
    }
}
