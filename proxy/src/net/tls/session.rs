//! One TLS session without a socket: bytes of the peer in, bytes for the peer out.
//!
//! rustls' unbuffered connections hold no buffers, and so does a session between two calls, unless
//! the peer sent part of a record, or more than was asked for.

use std::{cell::RefCell, sync::Arc};

use rustls::{
    ClientConfig, CommonState, Error, ServerConfig,
    client::UnbufferedClientConnection,
    pki_types::ServerName,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, UnbufferedStatus},
};

/// The most that is read from, or encrypted for, a socket at once.
pub(super) const MOST: usize = 65_536;
/// A record with everything around it (RFC 8446 section 5.2).
pub(super) const RECORD: usize = 16_384 + 256 + 5;
/// What encryption adds to [`MOST`] bytes, with a key update before them.
const OVERHEAD: usize = 1_024;

thread_local! {
    /// What comes from the socket, behind part of a record; or pieces gathered to be written.
    static INCOMING: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// What goes to the socket.
    static OUTGOING: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Works in the thread's memory for what comes in. Nothing stays in it from one call to the next.
pub(super) fn incoming<T>(act: impl FnOnce(&mut [u8]) -> T) -> T {
    INCOMING.with_borrow_mut(|area| act(made(area, RECORD + MOST)))
}

/// The same for what goes out.
pub(super) fn outgoing<T>(act: impl FnOnce(&mut [u8]) -> T) -> T {
    OUTGOING.with_borrow_mut(|area| act(made(area, MOST + 2 * OVERHEAD)))
}

/// A thread without TLS has none.
fn made(area: &mut Vec<u8>, size: usize) -> &mut [u8] {
    if area.is_empty() {
        area.resize(size, 0);
    }
    area
}

/// A session, and what it holds for either side.
#[derive(Debug)]
pub(super) struct Session {
    side: Side,
    /// The beginning of a record whose rest has not come.
    partial: Vec<u8>,
    /// What came for our side and was not taken: `plain[taken..]`.
    plain: Vec<u8>,
    taken: usize,
    /// What is to go to the peer, and is no answer to a write: handshake, tickets, alerts.
    pub(super) pending: Vec<u8>,
    /// The peer said that it sends no more.
    pub(super) peer_closed: bool,
}

enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// The same of either side.
macro_rules! on {
    ($side:expr, $it:ident => $body:expr) => {
        match $side {
            Side::Server($it) => $body,
            Side::Client($it) => $body,
        }
    };
}

impl Session {
    pub(super) fn server(config: Arc<ServerConfig>) -> Result<Self, Error> {
        UnbufferedServerConnection::new(config).map(|it| Self::new(Side::Server(it)))
    }

    pub(super) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        alpn: Vec<Vec<u8>>,
    ) -> Result<Self, Error> {
        UnbufferedClientConnection::new_with_alpn(config, name, alpn)
            .map(|it| Self::new(Side::Client(it)))
    }

    fn new(side: Side) -> Self {
        Self {
            side,
            partial: Vec::new(),
            plain: Vec::new(),
            taken: 0,
            pending: Vec::new(),
            peer_closed: false,
        }
    }

    /// What was agreed on.
    pub(super) fn common(&self) -> &CommonState {
        on!(&self.side, it => it)
    }

    /// Bytes for our side that are there already.
    pub(super) fn plain(&self) -> &[u8] {
        self.plain.get(self.taken..).unwrap_or_default()
    }

    /// Moves bytes that are there to `into`.
    pub(super) fn take_plain(&mut self, into: &mut [u8]) -> usize {
        let n = copy(self.plain(), into);
        self.taken += n;
        if self.taken == self.plain.len() {
            self.plain = Vec::new();
            self.taken = 0;
        }
        n
    }

    /// How much of an earlier record is to stand before what is read next.
    pub(super) fn partial(&self) -> &[u8] {
        &self.partial
    }

    /// Takes `bytes` of the peer, [`Self::partial`] in front of them. What they hold for our side
    /// goes to `into`, and behind that to [`Self::plain`]; returns how much is in `into`.
    ///
    /// # Errors
    /// What is wrong with them. What the peer is to be told of it is in `pending`. The session is not
    /// to be used any more then.
    pub(super) fn receive(&mut self, bytes: &mut [u8], into: &mut [u8]) -> Result<usize, Error> {
        let mut taker = Taker {
            into,
            filled: 0,
            plain: &mut self.plain,
            pending: &mut self.pending,
            peer_closed: &mut self.peer_closed,
        };
        let (mut used, mut failed) = (0, None);
        loop {
            let rest = bytes.get_mut(used..).unwrap_or_default();
            let (discard, flow) = on!(&mut self.side, it => {
                let UnbufferedStatus { discard, state } = it.process_tls_records(rest);
                (discard, state.and_then(|state| taker.take(state)))
            });
            used += discard;
            match flow {
                Ok(Flow::GoesOn) => {}
                Err(error) if failed.is_none() => failed = Some(error),
                Ok(Flow::Blocked | Flow::Established) | Err(_) => break,
            }
            // What the peer is to be told of it, and not one message more.
            if failed.is_some() && !on!(&self.side, it => it.wants_write()) {
                break;
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        let filled = taker.filled;
        let rest = bytes.get(used..).unwrap_or_default();
        if !(rest.is_empty() && self.partial.is_empty()) {
            self.partial = rest.to_vec();
        }
        Ok(filled)
    }

    /// Encrypts as much of `plain` as `out` has room for, behind what is pending. Returns how much
    /// that is, and how long it is in `out`.
    pub(super) fn encrypt(
        &mut self,
        plain: &[u8],
        out: &mut [u8],
    ) -> Result<(usize, usize), Error> {
        self.ready()?;
        // Records are numbered: what was said first goes first.
        let front = copy(&self.pending, out);
        if front < self.pending.len() {
            return Err(Error::General("too much to say".into()));
        }
        self.pending = Vec::new();
        let room = out.get_mut(front..).unwrap_or_default();
        let most = room.len().saturating_sub(OVERHEAD).min(MOST);
        let plain = plain.get(..most).unwrap_or(plain);
        let n = on!(&mut self.side, it => {
            match it.process_tls_records(&mut self.partial).state? {
                ConnectionState::WriteTraffic(mut writer) => writer.encrypt(plain, room),
                _ => return Err(Error::HandshakeNotComplete),
            }
        });
        let n = n.map_err(|error| Error::General(error.to_string()))?;
        Ok((plain.len(), front + n))
    }

    /// Adds to `pending` that no more is sent.
    pub(super) fn close(&mut self) -> Result<(), Error> {
        self.ready()?;
        let mut out = [0; 64];
        let n = on!(&mut self.side, it => {
            match it.process_tls_records(&mut self.partial).state? {
                ConnectionState::WriteTraffic(mut writer) => writer.queue_close_notify(&mut out),
                _ => return Err(Error::HandshakeNotComplete),
            }
        });
        let n = n.map_err(|error| Error::General(error.to_string()))?;
        self.pending
            .extend_from_slice(out.get(..n).unwrap_or_default());
        Ok(())
    }

    /// Has all that TLS has to say in `pending`.
    fn ready(&mut self) -> Result<(), Error> {
        let mut taker = Taker {
            into: &mut [],
            filled: 0,
            plain: &mut self.plain,
            pending: &mut self.pending,
            peer_closed: &mut self.peer_closed,
        };
        loop {
            // What came in part stands where it stood: what rustls knows of it are places.
            let flow = on!(&mut self.side, it => {
                let state = it.process_tls_records(&mut self.partial).state;
                state.and_then(|state| taker.take(state))
            })?;
            match flow {
                Flow::GoesOn => {}
                Flow::Established => return Ok(()),
                Flow::Blocked => return Err(Error::HandshakeNotComplete),
            }
        }
    }
}

/// What a state of rustls means for what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    GoesOn,
    Blocked,
    Established,
}

/// Takes what rustls hands out.
struct Taker<'a> {
    into: &'a mut [u8],
    filled: usize,
    plain: &'a mut Vec<u8>,
    pending: &'a mut Vec<u8>,
    peer_closed: &'a mut bool,
}

impl Taker<'_> {
    fn take<Data>(&mut self, state: ConnectionState<'_, '_, Data>) -> Result<Flow, Error> {
        match state {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    self.payload(record?.payload);
                }
                Ok(Flow::GoesOn)
            }
            ConnectionState::EncodeTlsData(mut data) => {
                // Its length is known from being refused.
                let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) else {
                    return Err(Error::General("an empty message".into()));
                };
                let before = self.pending.len();
                self.pending.resize(before + size.required_size, 0);
                let room = self.pending.get_mut(before..).unwrap_or_default();
                data.encode(room)
                    .map_err(|error| Error::General(error.to_string()))?;
                Ok(Flow::GoesOn)
            }
            // Whoever has the socket sends it.
            ConnectionState::TransmitTlsData(data) => {
                data.done();
                Ok(Flow::GoesOn)
            }
            ConnectionState::PeerClosed => {
                *self.peer_closed = true;
                Ok(Flow::GoesOn)
            }
            ConnectionState::BlockedHandshake => Ok(Flow::Blocked),
            ConnectionState::WriteTraffic(_) | ConnectionState::Closed => Ok(Flow::Established),
            // Early data is not offered, so that none is taken.
            _ => Err(Error::General("a state that is not expected".into())),
        }
    }

    fn payload(&mut self, payload: &[u8]) {
        let room = self.into.get_mut(self.filled..).unwrap_or_default();
        let n = if self.plain.is_empty() {
            copy(payload, room)
        } else {
            0
        };
        self.filled += n;
        self.plain
            .extend_from_slice(payload.get(n..).unwrap_or_default());
    }
}

/// Copies what there is room for.
fn copy(from: &[u8], to: &mut [u8]) -> usize {
    let n = from.len().min(to.len());
    if let (Some(to), Some(from)) = (to.get_mut(..n), from.get(..n)) {
        to.copy_from_slice(from);
    }
    n
}

impl std::fmt::Debug for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Server(_) => "server",
            Self::Client(_) => "client",
        })
    }
}
