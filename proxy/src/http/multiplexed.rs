//! One HTTP/2 connection of a client: its streams as they come, each an exchange of its own, and
//! when the connection has to go.
//!
//! The connection's task reads and writes frames; a stream's task runs the exchange. Both belong to
//! the worker. What a turn of the event loop brought is sent once, when the connection's task is polled.

use std::{
    cell::Cell,
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use super::{
    Conn, LINGER, Next, exchange,
    grpc::Call,
    sides::{Downstream, ServerStream},
    streams::{self, Active, Job},
};
use crate::{
    drain::Phase,
    error::{Cause, Failure},
    h2::{
        self as http2, Bdp, Code, Stream,
        abuse::Role,
        link::{Connection, End, Parts},
    },
    message::RequestHead,
    shared::State,
    telemetry::access_log::{Kind, Record},
    timer::now,
};

/// A client that has taken nothing for so long is not only slow. Up to then its connection is not
/// ended for the memory that waits for it.
const BEHIND: Duration = Duration::from_secs(1);

/// The connection beneath its streams.
struct Shared {
    conn: Box<Conn>,
    /// Streams that are served now.
    active: Rc<Cell<u32>>,
    bdp: Bdp,
    /// Since when the client knows that it is to open no more streams.
    left_at: Option<u64>,
    /// Since when it takes nothing of what waits for it.
    blocked_at: Option<u64>,
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
    let tunnels = !settings.upgrades.is_empty();
    let connection = Connection::new(Parts {
        stream,
        first: state.downstream.filled(),
        role: Role::Server,
        settings: http2::settings(&settings.http2, head, tunnels),
        limits: &limits,
        spare: &conn.worker.spare,
        behind: &conn.worker.behind,
    });
    conn.worker.give_state(state);
    let bdp = http2::bdp(&settings.http2);
    conn.idle_since = now();
    let shared = Shared {
        conn,
        bdp,
        active: Rc::default(),
        left_at: None,
        blocked_at: None,
    };
    shared.run(connection).await;
}

impl Shared {
    async fn run(mut self, mut connection: Connection) {
        let settings = &self.conn.listener.http;
        // From the preface's first line to the rest of it and the client's settings.
        self.conn.timer.set(now(), settings.header_timeout);
        let mut told = false;
        poll_fn(|cx| {
            let turn = connection.poll_turn(cx);
            while let Some(stream) = connection.accept() {
                self.start(stream);
            }
            if let Poll::Ready(end) = turn {
                self.book_end(end);
                connection.say_last(cx);
                return Poll::Ready(());
            }
            if !told {
                told = connection.is_told();
                let late = self.conn.timer.poll_expired(cx).is_ready();
                if !told && (late || self.conn.phase() == Phase::Cut) {
                    return Poll::Ready(());
                }
                if told {
                    self.conn.idle_since = now();
                    self.arm();
                }
            }
            self.bdp.turn(&connection, now);
            if told && self.poll_end(cx, &mut connection).is_ready() {
                connection.say_last(cx);
                return Poll::Ready(());
            }
            // Fails where the connection does, which reading says.
            let _ = connection.poll_flush(cx);
            if self.is_stalled(cx, &connection) {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }

    /// Begins an exchange.
    fn start(&mut self, stream: Stream) {
        self.conn.served = self.conn.served.saturating_add(1);
        self.conn.refresh();
        let beneath = &*self.conn;
        let conn = Conn {
            side: Downstream::Http2(Box::new(ServerStream::new(stream))),
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
        streams::start(Job { conn, active }, serve_stream);
    }

    /// A client that ended the connection by its own fault was told so, and is booked.
    fn book_end(&self, end: End) {
        if let Some(failure) = end.failure(Role::Server) {
            book(&self.conn, &failure);
        }
    }

    /// Ready when nothing keeps the connection; before that it is asked to leave where it should.
    fn poll_end(&mut self, cx: &mut Context<'_>, connection: &mut Connection) -> Poll<()> {
        // An answer is not done before its client has it.
        let busy = self.active.get() > 0 || connection.unsent() > 0;
        if busy {
            self.conn.idle_since = now();
        }
        self.conn.refresh();
        let expired = self.conn.timer.poll_expired(cx).is_ready();
        if self.conn.phase() == Phase::Cut || now() >= self.conn.end().at {
            connection.end(Code::NO_ERROR);
            return Poll::Ready(());
        }
        match self.left_at {
            None if self.conn.is_leaving() || self.is_idle() => {
                self.left_at = Some(now());
                self.arm();
                connection.leave();
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
    fn is_stalled(&mut self, cx: &Context<'_>, connection: &Connection) -> bool {
        let blocked_at = connection.blocked_at();
        if self.blocked_at != blocked_at {
            connection.go_on();
            self.blocked_at = blocked_at;
            self.arm();
        }
        let since = blocked_at.unwrap_or(u64::MAX);
        let waited = Duration::from_nanos(now().saturating_sub(since));
        let longest = self.conn.listener.http.stream_idle_timeout;
        let failure = if !longest.is_zero() && waited >= longest {
            Failure::from(Cause::ClientStalled)
        } else if waited >= BEHIND && !connection.wait(cx) {
            Failure::new(Cause::BuffersFull, "for a client that does not read")
        } else {
            return false;
        };
        book(&self.conn, &failure);
        true
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
async fn serve_stream(mut conn: Conn) {
    let worker = Rc::clone(&conn.worker);
    let mut state = worker.take_small_state();
    let next = match read_head(&mut conn, &mut state) {
        Ok(()) => exchange::exchange(&mut conn, &mut state).await,
        Err((failure, call)) => {
            Box::pin(exchange::refuse(&mut conn, &mut state, failure, call)).await
        }
    };
    if let (Next::Drop, Downstream::Http2(stream)) = (next, &mut conn.side) {
        // Of an answer that broke off nothing else can be said any more.
        let code = match stream.reason {
            Some(reason) => reason,
            None if stream.answered => Code::INTERNAL_ERROR,
            None => Code::CANCEL,
        };
        stream.reset(code);
    }
    worker.give_small_state(state);
}

fn read_head(conn: &mut Conn, state: &mut State) -> Result<(), (Failure, Option<Call>)> {
    let Downstream::Http2(stream) = &mut conn.side else {
        return Ok(());
    };
    let limits = &conn.listener.http.limits;
    let read = stream.stream.head(|block, end| {
        http2::read_request(block, end, limits, &mut state.head, &mut state.request)
            .map_err(|failure| (failure, Call::of_block(block)))
    });
    let gone = || (Failure::new(Cause::ClientGone, "before the request"), None);
    let read = read.unwrap_or_else(|| Err(gone()));
    if read.is_err() {
        state.request = RequestHead::default();
    }
    read
}
