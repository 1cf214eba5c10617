//! One HTTP/2 connection of a client: its streams as they come, each an exchange of its own, and
//! when the connection has to go.
//!
//! The connection's task reads and writes frames; a stream's task runs the exchange. Both belong to
//! the worker. What a turn of the event loop brought is sent once, when the connection's task is polled.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use h2::{Reason, RecvStream, server::SendResponse};
use http::Request;

use super::{
    Conn, LINGER, Next, exchange,
    grpc::Call,
    sides::{Downstream, ServerStream},
};
use crate::{
    drain::Phase,
    error::{Cause, Failure},
    h2::{
        self as http2, Bdp, Piece, Queue,
        abuse::Role,
        io::{Bounds, Handle, Link, Parts, link},
    },
    message::RequestHead,
    shared::State,
    telemetry::access_log::{Kind, Record},
    timer::now,
};

type Connection = h2::server::Connection<Link, Piece>;

/// A client that has taken nothing for so long is not only slow. Up to then its connection is not
/// ended for the memory that waits for it.
const BEHIND: Duration = Duration::from_secs(1);

/// The connection beneath its streams.
struct Shared {
    conn: Box<Conn>,
    /// Streams that are served now.
    active: Rc<Cell<u32>>,
    bdp: Option<Bdp>,
    /// Since when the client knows that it is to open no more streams.
    left_at: Option<u64>,
    /// Since when it takes nothing of what waits for it.
    blocked_at: Option<u64>,
    /// What payload for it is lined up in.
    queue: Queue,
}

/// Serves a connection whose first line was HTTP/2's preface, which is in `state`, to its end.
pub(super) async fn serve(mut conn: Box<Conn>, state: Box<State>) {
    let side = std::mem::replace(&mut conn.side, Downstream::Driven);
    let Downstream::Http1(stream) = side else {
        return;
    };
    let settings = &conn.listener.http;
    let head = settings.limits.head as u32;
    let many = conn.peer.is_some_and(|peer| settings.trusts(peer.ip()));
    let resets = [&settings.http2_resets, &settings.http2_provoked_resets];
    let limits = http2::of_client(&settings.http2, resets, head, many);
    let (io, handle) = link(Parts {
        stream,
        first: state.downstream.filled(),
        role: Role::Server,
        bounds: Bounds::default(),
        limits: &limits,
        spare: &conn.worker.spare,
        behind: &conn.worker.behind,
    });
    conn.worker.give_state(state);
    let tunnels = !settings.upgrades.is_empty();
    let builder = http2::server_builder(&settings.http2, head, tunnels);
    // From the preface's first line to the rest of it and the client's settings.
    conn.timer.set(now(), settings.header_timeout);
    let mut handshake = pin!(builder.handshake::<_, Piece>(io));
    let ready = poll_fn(|cx| {
        if let Poll::Ready(done) = handshake.as_mut().poll(cx) {
            if let Err(error) = &done
                && let Some(failure) = handle.failure(error)
            {
                book(&conn, &failure);
            }
            return Poll::Ready(done.ok());
        }
        let _ = handle.poll_flush_turn(cx);
        if handle.flood().is_some() {
            return Poll::Ready(None);
        }
        if conn.timer.poll_expired(cx).is_ready() || conn.phase() == Phase::Cut {
            return Poll::Ready(None);
        }
        Poll::Pending
    })
    .await;
    if let Some(connection) = ready {
        conn.idle_since = now();
        let shared = Shared {
            conn,
            bdp: None,
            active: Rc::default(),
            left_at: None,
            blocked_at: None,
            queue: handle.queue(),
        };
        shared.run(connection, &handle).await;
    }
}

impl Shared {
    async fn run(mut self, mut connection: Connection, handle: &Handle) {
        self.arm();
        let listener = Arc::clone(&self.conn.listener);
        let windows = &listener.http.http2;
        self.bdp = http2::bdp(connection.ping_pong(), windows);
        loop {
            let accepted = poll_fn(|cx| {
                let polled = connection.poll_accept(cx);
                if polled.is_ready() {
                    return polled.map(Some);
                }
                let received = handle.take_received();
                if let Some(bdp) = &mut self.bdp
                    && let Some(window) = bdp.poll(cx, received, now)
                {
                    connection
                        .set_target_window_size(window.max(http2::connection_window(windows)));
                    // Fails where the last change is not acknowledged yet; the next one says more.
                    let _ = connection.set_initial_window_size(window);
                    cx.waker().wake_by_ref();
                }
                if self.poll_end(cx, &mut connection).is_ready() {
                    return Poll::Ready(None);
                }
                // Fails where the connection does, which reading says.
                let _ = handle.poll_flush_turn(cx);
                if self.is_stalled(cx, handle) {
                    return Poll::Ready(None);
                }
                self.poll_flood(cx, &mut connection, handle)
            })
            .await;
            match accepted {
                Some(Some(Ok((request, respond)))) => self.start(request, respond),
                Some(Some(Err(error))) => {
                    if let Some(failure) = handle.failure(&error) {
                        book(&self.conn, &failure);
                    }
                    return;
                }
                // The client left, or was asked to leave and has.
                Some(None) | None => return,
            }
        }
    }

    /// Begins an exchange.
    fn start(&mut self, request: Request<RecvStream>, respond: SendResponse<Piece>) {
        self.conn.served = self.conn.served.saturating_add(1);
        self.conn.refresh();
        let (parts, recv) = request.into_parts();
        let beneath = &*self.conn;
        let conn = Conn {
            side: Downstream::Http2(Box::new(ServerStream::new(
                recv,
                respond,
                self.queue.clone(),
            ))),
            timer: beneath.worker.timers.timer(),
            worker: Rc::clone(&beneath.worker),
            listener: Arc::clone(&beneath.listener),
            version: beneath.version,
            peer: beneath.peer,
            local: beneath.local,
            secured: beneath.secured.clone(),
            opened: beneath.opened,
            served: 0,
            orphaned: beneath.orphaned,
            idle_since: 0,
            _admission: None,
        };
        let active = Active::new(&self.active);
        tokio::task::spawn_local(async move {
            serve_stream(conn, parts).await;
            drop(active);
        });
    }

    /// Ready when nothing keeps the connection; before that it is asked to leave where it should.
    fn poll_end(&mut self, cx: &mut Context<'_>, connection: &mut Connection) -> Poll<()> {
        let busy = self.active.get() > 0;
        if busy {
            self.conn.idle_since = now();
        }
        self.conn.refresh();
        let expired = self.conn.timer.poll_expired(cx).is_ready();
        if self.conn.phase() == Phase::Cut || now() >= self.conn.end().at {
            connection.abrupt_shutdown(Reason::NO_ERROR);
            return Poll::Ready(());
        }
        match self.left_at {
            None if self.conn.is_leaving() || self.is_idle() => {
                self.left_at = Some(now());
                self.arm();
                connection.graceful_shutdown();
                // Lets it send that, and end at once where no stream is open.
                cx.waker().wake_by_ref();
            }
            // It has had time to say what was under way.
            Some(at) if !busy && now() - at >= LINGER.as_nanos() as u64 => return Poll::Ready(()),
            _ if expired => self.arm(),
            _ => {}
        }
        Poll::Pending
    }

    /// A client that reads nothing from its socket is left: when it has done so for too long, or
    /// others need the memory.
    fn is_stalled(&mut self, cx: &Context<'_>, handle: &Handle) -> bool {
        let blocked_at = handle.blocked_at();
        if self.blocked_at != blocked_at {
            handle.go_on();
            self.blocked_at = blocked_at;
            self.arm();
        }
        let since = blocked_at.unwrap_or(u64::MAX);
        let waited = Duration::from_nanos(now().saturating_sub(since));
        let longest = self.conn.listener.http.stream_idle_timeout;
        let failure = if !longest.is_zero() && waited >= longest {
            Failure::from(Cause::ClientStalled)
        } else if (waited >= BEHIND && !handle.wait(cx)) || self.queue.is_sent_away() {
            Failure::new(Cause::BuffersFull, "for a client that does not read")
        } else {
            return false;
        };
        book(&self.conn, &failure);
        true
    }

    /// A client that floods us is told so and left.
    fn poll_flood<T>(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
        handle: &Handle,
    ) -> Poll<Option<T>> {
        let Some(flood) = handle.flood() else {
            return Poll::Pending;
        };
        let failure = Failure::new(flood.cause(Role::Server), flood.detail());
        book(&self.conn, &failure);
        connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        // What is left to say fits the socket of a peer that reads; another one learns it from the end.
        let _ = connection.poll_closed(cx);
        let _ = handle.poll_flush_turn(cx);
        Poll::Ready(None)
    }

    fn is_idle(&self) -> bool {
        let idle = now().saturating_sub(self.conn.idle_since);
        self.active.get() == 0 && idle >= self.conn.listener.http.idle_timeout.as_nanos() as u64
    }

    /// Sets the timer for the next look at age and idleness.
    fn arm(&self) {
        let conn = &self.conn;
        let settings = &conn.listener.http;
        let now = now();
        let next = |since: u64, after: Duration| {
            let at = since.saturating_add(after.as_nanos() as u64);
            if at > now {
                at
            } else {
                now + after.as_nanos() as u64
            }
        };
        let idle = next(conn.idle_since, settings.idle_timeout);
        let mut at = if self.left_at.is_some() {
            next(now, LINGER)
        } else if settings.max_lifetime.is_zero() {
            idle
        } else {
            idle.min(next(conn.opened, settings.max_lifetime))
        };
        let end = conn.end();
        at = at.min(end.at);
        if self.left_at.is_none() {
            at = at.min(end.near);
        }
        if let Some(since) = self.blocked_at {
            at = at.min(next(since, BEHIND));
        }
        conn.timer.set_at(at);
    }
}

/// Counts and logs a connection that its client made us end.
fn book(conn: &Conn, failure: &Failure) {
    let cells = conn.listener.cells.at(conn.worker.id);
    cells.failures.inc(failure.cause);
    if let Some(log) = conn.worker.log() {
        let mut record = Record::new(SystemTime::now(), Kind::Tcp, &conn.listener.name);
        record.client = conn.peer;
        record.protocol = Some("HTTP/2");
        record.duration = Duration::from_nanos(now().saturating_sub(conn.opened));
        record.cause = Some(failure.cause);
        record.detail = failure.detail;
        record.time -= record.duration;
        log.log(&record);
    }
}

/// One stream, from its request's head to its end.
async fn serve_stream(mut conn: Conn, parts: http::request::Parts) {
    let worker = Rc::clone(&conn.worker);
    let mut state = worker.take_small_state();
    let read = read_head(&conn, &parts, &mut state);
    let next = match read {
        Ok(()) => Box::pin(exchange::exchange(&mut conn, &mut state)).await,
        Err(failure) => {
            let call = Call::of_parts(&parts);
            Box::pin(exchange::refuse(&mut conn, &mut state, failure, call)).await
        }
    };
    if let (Next::Drop, Downstream::Http2(stream)) = (next, &mut conn.side) {
        // Of an answer that broke off nothing else can be said any more.
        let reason = match stream.reason {
            Some(reason) => reason,
            None if stream.answered => Reason::INTERNAL_ERROR,
            None => Reason::CANCEL,
        };
        stream.reset(reason);
    }
    worker.give_small_state(state);
}

fn read_head(conn: &Conn, parts: &http::request::Parts, state: &mut State) -> Result<(), Failure> {
    let Downstream::Http2(stream) = &conn.side else {
        return Ok(());
    };
    let read = http2::read_request(
        parts,
        stream.recv.is_end_stream(),
        &conn.listener.http.limits,
        &mut state.head,
        &mut state.request,
    );
    if read.is_err() {
        state.request = RequestHead::default();
    }
    read
}

/// A stream that is served.
struct Active(Rc<Cell<u32>>);

impl Active {
    fn new(count: &Rc<Cell<u32>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
