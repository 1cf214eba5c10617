//! One HTTP/1 connection: heads in, exchanges, and when to stop.
//!
//! An idle connection is a small future without buffers ([`serve`] waiting for readiness); one
//! with work is a boxed future with working state, given back after a second without a request.
//! What happens within one request is in [`exchange`].

mod attempt;
mod deliver;
mod exchange;
mod forwarded;
mod grpc;
mod guarded;
mod head;
mod interim;
mod multiplexed;
mod patience;
mod pump;
mod reach;
mod record;
mod relay;
mod reply;
mod secured;
mod sides;
mod streams;
mod switch;
mod transfer;
mod tunnel;
mod upload;
mod watch;

pub(crate) use self::{
    guarded::Told, secured::Secured, sides::Downstream, tunnel::Bounds, upload::greeting,
};

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::io::AsyncWrite;

use crate::{
    drain::Phase,
    error::{Cause, Failure},
    h1::{HeadScan, parse_request},
    net::{accept::Peer, buffer::Buffer, stream::Stream, tls::Alpn},
    shared::{Admission, State, Worker},
    snapshot::Listener,
    timer::{Timer, now},
};

/// The first line of HTTP/2's preface.
const PREFACE_LINE: &[u8] = b"PRI * HTTP/2.0\r\n";
/// After this long without a request a connection gives its working state back.
const SWEEP: Duration = Duration::from_secs(1);
/// How long a connection whose listener is gone may wait for a last request: one that was on its way.
const ORPHANED: Duration = Duration::from_secs(1);
/// What a client may still send after we decided to close, so that it gets to read our answer
/// instead of a reset (RFC 9112 section 9.6), and how long we wait for it.
const LINGER_BYTES: usize = 262_144;
const LINGER: Duration = Duration::from_secs(2);

/// A downstream connection, or one stream of one that is shared, and what is known of it.
pub(crate) struct Conn {
    pub(crate) side: Downstream,
    pub(crate) timer: Timer,
    pub(crate) worker: Rc<Worker>,
    pub(crate) listener: Arc<Listener>,
    /// The version of the table that `listener` is from.
    pub(crate) version: u64,
    /// `None` on Unix sockets.
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) local: Option<SocketAddr>,
    /// What is known of it where it came over TLS.
    pub(crate) secured: Option<Rc<Secured>>,
    pub(crate) opened: u64,
    pub(crate) served: u32,
    /// Its listener is gone from the table.
    orphaned: bool,
    /// Since when it waits for a request.
    idle_since: u64,
    /// Counts it until the end. Streams are not connections.
    _admission: Option<Admission>,
}

/// What follows a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Another request may come.
    KeepAlive,
    /// Tell the client that we are done, let it read what it was sent, close.
    Close,
    /// The same for a client that asked for it: it is not waited for, unless it did send more.
    Part,
    /// Just close: nothing more can be done with this connection.
    Drop,
}

/// Why waiting for a head ended.
enum Wait {
    Head,
    /// Nothing came for a while.
    Idle,
    /// The client left between requests, or was idle for too long, or is asked to.
    Left,
    Failed(Failure),
    /// It is HTTP/2's preface.
    Http2,
}

/// How a burst ended.
enum Burst {
    /// The connection is over.
    Over,
    Idle,
    /// The client goes on in HTTP/2.
    Http2,
}

/// Serves a connection to its end. `first` holds bytes that were already read, if any were.
pub(crate) async fn serve(mut conn: Box<Conn>, first: Option<Box<State>>) {
    let mut state = Some(first.unwrap_or_else(|| conn.worker.take_state()));
    loop {
        let mut working = match state.take() {
            Some(state) => state,
            None if conn.readable().await => conn.worker.take_state(),
            None => return,
        };
        let end = Box::pin(burst(&mut conn, &mut working)).await;
        if let Burst::Http2 = end {
            return Box::pin(multiplexed::serve(conn, working)).await;
        }
        conn.worker.give_state(working);
        if let Burst::Over = end {
            return;
        }
    }
}

/// Serves requests until the connection ends, is idle or changes to HTTP/2.
async fn burst(conn: &mut Conn, state: &mut State) -> Burst {
    conn.idle_since = now();
    loop {
        let next = match read_head(conn, state).await {
            Wait::Idle => return Burst::Idle,
            Wait::Left => return Burst::Over,
            Wait::Http2 => return Burst::Http2,
            Wait::Head => exchange::exchange(conn, state).await,
            Wait::Failed(failure) => exchange::refuse(conn, state, failure, None).await,
        };
        match next {
            Next::KeepAlive => {}
            Next::Close | Next::Part => {
                linger(conn, state, next == Next::Part).await;
                return Burst::Over;
            }
            Next::Drop => return Burst::Over,
        }
    }
}

/// Reads until a head is complete, and parses it into `state`.
async fn read_head(conn: &mut Conn, state: &mut State) -> Wait {
    let mut scan = HeadScan::default();
    // One empty line before a request is tolerated (RFC 9112 section 2.2).
    let mut leading = true;
    let mut begun = false;
    state.head.clear();
    conn.timer
        .set(conn.idle_since, SWEEP.min(conn.listener.http.idle_timeout));
    let listener = Arc::clone(&conn.listener);
    let settings = &listener.http;
    let len = poll_fn(|cx| {
        loop {
            match state.downstream.filled() {
                [b'\r', b'\n', ..] if leading => {
                    leading = false;
                    state.downstream.consume(2);
                    continue;
                }
                [] => {}
                [b'\r'] if leading => {}
                // No request line of HTTP/1 begins like that (RFC 9113 section 3.4).
                bytes if conn.served == 0 && bytes.starts_with(PREFACE_LINE) => {
                    return Poll::Ready(Err(preface(conn)));
                }
                bytes => {
                    leading = false;
                    match scan.advance(bytes, &settings.limits) {
                        Ok(Some(len)) => return Poll::Ready(Ok(len)),
                        Ok(None) => {}
                        Err(failure) => return Poll::Ready(Err(Wait::Failed(failure))),
                    }
                }
            }
            if !begun && !state.downstream.is_empty() {
                begun = true;
                conn.timer.set(now(), settings.header_timeout);
            }
            make_room(&mut state.downstream);
            let Some(stream) = conn.side.stream() else {
                return Poll::Ready(Err(Wait::Left));
            };
            match stream.poll_read_into(cx, state.downstream.spare()) {
                Poll::Ready(Ok(n)) if n > 0 => state.downstream.received(n),
                Poll::Ready(_) if begun => {
                    return Poll::Ready(Err(Wait::Failed(Failure::new(
                        Cause::ClientGone,
                        "within a request head",
                    ))));
                }
                Poll::Ready(_) => return Poll::Ready(Err(Wait::Left)),
                Poll::Pending => {
                    // Only now, so that a request that is there is served before we leave.
                    if let Some(end) = conn.poll_waiting(cx, begun) {
                        return Poll::Ready(Err(end));
                    }
                    // Many connections share few states: nobody keeps one for a request that may come.
                    if !begun && conn.worker.is_crowded() {
                        return Poll::Ready(Err(Wait::Idle));
                    }
                    return Poll::Pending;
                }
            }
        }
    })
    .await;
    let len = match len {
        Ok(len) => len,
        Err(end) => return end,
    };
    state
        .head
        .extend_from_slice(state.downstream.filled().get(..len).unwrap_or_default());
    state.downstream.consume(len);
    match parse_request(&state.head, &settings.limits, &mut state.request) {
        Ok(()) if conn.agreed_on(Alpn::Http2) => {
            Wait::Failed(Failure::new(Cause::AlpnBroken, "HTTP/1 after `h2`"))
        }
        Ok(()) => Wait::Head,
        Err(failure) => Wait::Failed(failure),
    }
}

/// What HTTP/2's preface means to a client that may have agreed on something else.
fn preface(conn: &Conn) -> Wait {
    if conn.agreed_on(Alpn::Http1) {
        Wait::Failed(Failure::new(Cause::AlpnBroken, "HTTP/2 after `http/1.1`"))
    } else {
        Wait::Http2
    }
}

/// Room to read into. Heads make a buffer grow; their limit is judged before it matters.
fn make_room(buffer: &mut Buffer) {
    if buffer.spare().is_empty() {
        buffer.compact();
        if buffer.spare().is_empty() {
            buffer.grow(buffer.capacity() * 2);
        }
    }
}

/// Lets the client read what it was sent: half-close, then take and drop what it still sends, within
/// bounds. Whoever asked for the end has nothing to send, and is not waited for if that is so.
async fn linger(conn: &mut Conn, state: &mut State, asked: bool) {
    conn.timer.set(now(), LINGER);
    let mut taken = 0;
    poll_fn(|cx| {
        let cut = conn.phase() == Phase::Cut;
        let Some(stream) = conn.side.stream() else {
            return Poll::Ready(());
        };
        if Pin::new(&mut *stream).poll_shutdown(cx).is_pending() || cut {
            return Poll::Ready(());
        }
        if asked && !stream.has_unread() {
            return Poll::Ready(());
        }
        while taken < LINGER_BYTES && conn.timer.poll_expired(cx).is_pending() {
            state.downstream.clear();
            match stream.poll_read_into(cx, state.downstream.spare()) {
                Poll::Ready(Ok(n)) if n > 0 => taken += n,
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    })
    .await;
    state.downstream.clear();
}

/// How a connection is closed after a response. A client that asked for it and whose request was
/// read to its end should have nothing under way that a close could turn into a reset.
fn parting(state: &State, request_read: bool) -> Next {
    if request_read && !state.request.keep_alive && state.downstream.is_empty() {
        Next::Part
    } else {
        Next::Close
    }
}

impl Conn {
    /// A connection that was accepted. Boxed, since it moves between futures.
    pub(crate) fn new(
        worker: &Rc<Worker>,
        (listener, version): (Arc<Listener>, u64),
        (stream, peer): (Stream, Peer),
        admission: Admission,
    ) -> Box<Self> {
        let opened = now();
        Box::new(Self {
            side: Downstream::Http1(stream),
            timer: worker.timers.timer(),
            worker: Rc::clone(worker),
            listener,
            version,
            peer: peer.remote,
            local: peer.local,
            secured: None,
            opened,
            served: 0,
            orphaned: false,
            idle_since: opened,
            _admission: Some(admission),
        })
    }

    /// Waits, without a buffer, for bytes. `false`: the connection is over.
    async fn readable(&mut self) -> bool {
        if !self.orphaned {
            let timeout = self.listener.http.idle_timeout.as_nanos() as u64;
            self.timer.set_at(self.idle_since.saturating_add(timeout));
        }
        poll_fn(|cx| {
            // What is there is served, also by who is about to leave.
            let Some(stream) = self.side.stream() else {
                return Poll::Ready(false);
            };
            if let Poll::Ready(ready) = stream.poll_read_ready(cx) {
                return Poll::Ready(ready.is_ok());
            }
            self.refresh();
            let expired = self.timer.poll_expired(cx).is_ready();
            if expired || self.phase() >= Phase::Closing {
                return Poll::Ready(false);
            }
            Poll::Pending
        })
        .await
    }

    /// Whether waiting for a head must end, with or without a part of it.
    fn poll_waiting(&mut self, cx: &mut Context<'_>, begun: bool) -> Option<Wait> {
        if !begun {
            self.refresh();
        }
        let expired = self.timer.poll_expired(cx).is_ready();
        match self.phase() {
            Phase::Cut => return Some(Wait::Left),
            Phase::Closing if !begun => return Some(Wait::Left),
            _ => {}
        }
        if !expired {
            return None;
        }
        if begun {
            return Some(Wait::Failed(Failure::new(
                Cause::RequestHeadTimeout,
                "the head was not complete in time",
            )));
        }
        let idle = Duration::from_nanos(now().saturating_sub(self.idle_since));
        Some(
            if self.orphaned || idle >= self.listener.http.idle_timeout {
                Wait::Left
            } else {
                Wait::Idle
            },
        )
    }

    /// Whether this is a stream of a connection that is shared.
    fn is_stream(&self) -> bool {
        matches!(self.side, Downstream::Http2(_))
    }

    pub(crate) fn phase(&self) -> Phase {
        self.worker.phase(self.listener.config.direction)
    }

    /// Follows the table: the listener of the current version. Where there is none any more, the
    /// request that is here is served as before, and is the last one.
    fn refresh(&mut self) {
        let worker = Rc::clone(&self.worker);
        worker.snapshot(|snapshot| {
            if snapshot.version == self.version {
                return;
            }
            self.version = snapshot.version;
            if let Some(listener) = snapshot.listener(&self.listener.name) {
                self.listener = Arc::clone(listener);
            } else {
                self.orphaned = true;
                self.timer.set(now(), ORPHANED);
            }
        });
    }

    /// Whether this connection should not carry another request.
    fn is_leaving(&self) -> bool {
        let settings = &self.listener.http;
        let old = || now().saturating_sub(self.opened) >= settings.max_lifetime.as_nanos() as u64;
        self.phase().is_draining()
            || self.orphaned
            || self
                .secured
                .as_ref()
                .is_some_and(|it| it.end.is_near(now()))
            || (settings.max_requests > 0 && self.served >= settings.max_requests)
            || (!settings.max_lifetime.is_zero() && old())
    }
}

impl Drop for Conn {
    /// A panic ends the connection's task and nothing else; it is counted.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.worker.cells.at(self.worker.id).panics.inc();
        }
    }
}
