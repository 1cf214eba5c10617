//! One accepted connection, from the first byte to its protocol: PROXY header, detection, and
//! then HTTP or opaque TCP. What happens within a protocol is not here.

use std::{
    future::{Future, poll_fn},
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::{Duration, SystemTime},
};

use outrigger_config::model::{AcceptProxyProtocol, Protocol};

use crate::{
    cluster::{
        Cluster, PickContext,
        endpoint::{Endpoint, InFlight},
    },
    drain::Phase,
    error::{Cause, Failure},
    http::{self, Bounds, Conn, Downstream},
    net::{
        accept::Peer,
        detect::{self, Detected},
        proxy_protocol::{self, Parsed},
    },
    shared::{BUFFER, State, Worker},
    snapshot::Listener,
    tcp,
    telemetry::access_log::{Kind, Record},
    timer::now,
    upstream::{Connection, Want},
};

/// Whatever has to be seen before a decision fits the buffer it is read into.
const _: () = assert!(proxy_protocol::MOST < BUFFER && detect::MOST < BUFFER);

/// How long a PROXY header may take: its sender is a proxy that sends it with the connection.
const PROXY_HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves an accepted connection to its end.
pub(crate) async fn serve(mut conn: Box<Conn>) {
    let mut state = None;
    if needs_look(&conn.listener) {
        // Boxed, as the rest that an idle HTTP connection does not need.
        match Box::pin(look(&mut conn, &mut state)).await {
            Ok(Spoken::Http) => {}
            Ok(Spoken::Opaque(cluster)) => {
                return Box::pin(opaque(conn, cluster, state)).await;
            }
            Err(failure) => {
                give_back(&conn.worker, state);
                return end_early(&conn, &failure);
            }
        }
    }
    http::serve(conn, state).await;
}

/// Whether a connection's first bytes decide what it is.
fn needs_look(listener: &Listener) -> bool {
    listener.config.proxy_protocol != AcceptProxyProtocol::Off
        || listener.config.protocol != Protocol::Http
}

/// What a connection turned out to speak.
enum Spoken {
    Http,
    Opaque(Arc<Cluster>),
}

/// Every state that was taken is given back, also where a connection ends early: the worker counts
/// how many are in use.
fn give_back(worker: &Worker, state: Option<Box<State>>) {
    if let Some(state) = state {
        worker.give_state(state);
    }
}

/// Reads the PROXY header where one is required, and tells the protocol where that is open. What
/// was read is in `state` then.
async fn look(conn: &mut Conn, state: &mut Option<Box<State>>) -> Result<Spoken, Failure> {
    let worker = Rc::clone(&conn.worker);
    let listener = Arc::clone(&conn.listener);
    if listener.config.proxy_protocol == AcceptProxyProtocol::Required {
        let reading = state.get_or_insert_with(|| worker.take_state());
        proxy_header(conn, reading).await?;
    }
    match (listener.config.protocol, &listener.cluster) {
        (Protocol::Http, _) => Ok(Spoken::Http),
        (Protocol::Tcp, Some(cluster)) => Ok(Spoken::Opaque(Arc::clone(cluster))),
        (Protocol::Tcp, None) => Err(Failure::from(Cause::BadRoute)),
        (Protocol::Auto, cluster) => {
            let reading = state.get_or_insert_with(|| worker.take_state());
            detect_protocol(conn, reading, cluster.as_ref()).await
        }
    }
}

/// Reads more into the state's buffer; `Ok(false)` at the end of the stream or of time.
async fn more(conn: &mut Conn, state: &mut State) -> Result<usize, Cause> {
    poll_fn(|cx| {
        let spare = state.downstream.spare();
        let Some(stream) = conn.side.stream() else {
            return Poll::Ready(Err(Cause::ClientGone));
        };
        match stream.poll_read_into(cx, spare) {
            Poll::Ready(Ok(n)) if n > 0 => {
                state.downstream.received(n);
                Poll::Ready(Ok(n))
            }
            Poll::Ready(_) => Poll::Ready(Err(Cause::ClientGone)),
            Poll::Pending if conn.phase() >= Phase::Closing => Poll::Ready(Err(Cause::Draining)),
            Poll::Pending => conn
                .timer
                .poll_expired(cx)
                .map(|()| Err(Cause::ProtocolUnknown)),
        }
    })
    .await
}

async fn proxy_header(conn: &mut Conn, state: &mut State) -> Result<(), Failure> {
    conn.timer.set(now(), PROXY_HEADER_TIMEOUT);
    loop {
        match proxy_protocol::parse(state.downstream.filled()) {
            Parsed::Done {
                length,
                source,
                destination,
            } => {
                state.downstream.consume(length);
                conn.peer = source.or(conn.peer);
                conn.local = destination.or(conn.local);
                return Ok(());
            }
            Parsed::Invalid(detail) => return Err(Failure::new(Cause::ProxyHeaderInvalid, detail)),
            Parsed::Incomplete => {}
        }
        match more(conn, state).await {
            Ok(_) => {}
            Err(Cause::ProtocolUnknown) => {
                return Err(Failure::new(
                    Cause::ProxyHeaderInvalid,
                    "no PROXY header in time",
                ));
            }
            Err(cause) => return Err(Failure::new(cause, "before the PROXY header")),
        }
    }
}

/// HTTP by the first bytes; what is anything else, or silent, goes to the listener's cluster.
async fn detect_protocol(
    conn: &mut Conn,
    state: &mut State,
    cluster: Option<&Arc<Cluster>>,
) -> Result<Spoken, Failure> {
    conn.timer.set(now(), conn.listener.config.detect_timeout);
    loop {
        let opaque = match detect::detect(state.downstream.filled()) {
            Detected::Http1 => return Ok(Spoken::Http),
            Detected::Http2Preface => return Ok(Spoken::Http),
            Detected::Tls | Detected::Opaque => true,
            Detected::NeedMore => match more(conn, state).await {
                Ok(_) => false,
                Err(Cause::ProtocolUnknown) => true,
                Err(cause) => return Err(Failure::new(cause, "before its protocol was known")),
            },
        };
        if opaque {
            let cluster = cluster.ok_or(Failure::new(
                Cause::ProtocolUnknown,
                "not HTTP, and no cluster for anything else",
            ))?;
            return Ok(Spoken::Opaque(Arc::clone(cluster)));
        }
    }
}

/// Forwards an opaque connection to an endpoint of its cluster.
async fn opaque(mut conn: Box<Conn>, cluster: Arc<Cluster>, state: Option<Box<State>>) {
    let mut seen = Opaque {
        began: now(),
        endpoint: None,
        tries: 0,
        up: 0,
        down: 0,
        failure: None,
    };
    let worker = Rc::clone(&conn.worker);
    let dialed = dial(&mut conn, &cluster, &mut seen).await;
    let mut greeting = Vec::new();
    http::greeting(&conn, &cluster, &mut greeting);
    let ours = greeting.len() as u64;
    if let Some(state) = &state {
        greeting.extend_from_slice(state.downstream.filled());
    }
    give_back(&worker, state);
    match dialed {
        Ok((mut connection, in_flight)) => {
            let conn = &mut *conn;
            let Downstream::Http1(stream) = &mut conn.side else {
                return;
            };
            let mut bounds =
                Bounds::new(&worker, &conn.listener, &cluster, &conn.timer, conn.opened);
            let summary = tcp::forward(
                stream,
                &mut connection.stream,
                &worker.bulk,
                (&greeting, &[]),
                &mut bounds,
            )
            .await;
            seen.up = summary.up_bytes.saturating_sub(ours);
            seen.down = summary.down_bytes;
            seen.failure = summary.end.cause().map(Failure::from);
            drop(in_flight);
            drop(connection);
        }
        Err(failure) => {
            // The client learns of it as it would from the endpoint itself.
            if let Some(tcp) = conn.side.stream().and_then(|s| s.tcp()) {
                let _ = socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO));
            }
            seen.failure = Some(failure);
        }
    }
    seen.close(&conn, &cluster);
}

/// Facts of one opaque connection.
struct Opaque {
    began: u64,
    endpoint: Option<Arc<Endpoint>>,
    tries: u32,
    up: u64,
    down: u64,
    failure: Option<Failure>,
}

/// A connection of its own to an endpoint, within the limits of the pool; where connecting fails,
/// another endpoint is tried.
async fn dial(
    conn: &mut Conn,
    cluster: &Arc<Cluster>,
    seen: &mut Opaque,
) -> Result<(Connection, InFlight), Failure> {
    let worker = Rc::clone(&conn.worker);
    let mut tried = Vec::new();
    loop {
        let began = now();
        let picked = cluster.pick(&PickContext {
            hash: cluster.hash_connection(conn.peer.map(|p| p.ip())),
            now: began,
            random: &worker.random,
            tried: &tried,
        });
        let endpoint = picked.ok_or_else(|| Failure::from(cluster.absence()))?;
        seen.tries += 1;
        seen.endpoint = Some(Arc::clone(&endpoint));
        let in_flight = endpoint.start();
        let want = Want {
            cluster,
            endpoint: &endpoint,
            worker: worker.id,
            workers: worker.process.workers,
            private: true,
            now: began,
            spare: &worker.spare,
        };
        let mut dialing = std::pin::pin!(worker.pools.acquire(want));
        let dialed = poll_fn(|cx| {
            if conn.phase() == Phase::Cut {
                return Poll::Ready(Err(Failure::from(Cause::Draining)));
            }
            // Only to be woken when the process moves on; connecting has its own limit.
            let _ = conn.timer.poll_expired(cx);
            dialing.as_mut().poll(cx)
        })
        .await;
        match dialed {
            Ok((connection, _)) => {
                in_flight.observe(now().saturating_sub(began), now());
                return Ok((connection, in_flight));
            }
            Err(failure) => {
                in_flight.fail(now());
                if !failure.cause.is_connect_failure()
                    || tried.len() >= cluster.config.safe_resends as usize
                {
                    return Err(failure);
                }
                tried.push(endpoint.id);
            }
        }
    }
}

impl Opaque {
    fn close(&self, conn: &Conn, cluster: &Cluster) {
        let worker = &conn.worker;
        let cells = conn.listener.cells.at(worker.id);
        if let Some(failure) = &self.failure {
            cells.failures.inc(failure.cause);
        }
        log_tcp(conn, self.failure.as_ref(), |record| {
            record.duration = Duration::from_nanos(now().saturating_sub(self.began));
            record.received = self.up;
            record.sent = self.down;
            record.cluster = Some(&cluster.name);
            record.endpoint = self.endpoint.as_ref().map(|e| &*e.name);
            record.attempts = self.tries;
        });
    }
}

/// Counts and logs a connection that is closed at once because a limit is reached.
pub(crate) fn refuse(worker: &Worker, listener: &Listener, peer: Peer) {
    let cause = Cause::TooManyConnections;
    listener.cells.at(worker.id).failures.inc(cause);
    if let Some(log) = worker.log() {
        let mut record = Record::new(SystemTime::now(), Kind::Tcp, &listener.name);
        record.client = peer.remote;
        record.cause = Some(cause);
        log.log(&record);
    }
}

/// Counts and logs a connection that ended before it was known what it is.
fn end_early(conn: &Conn, failure: &Failure) {
    conn.listener
        .cells
        .at(conn.worker.id)
        .failures
        .inc(failure.cause);
    log_tcp(conn, Some(failure), |_| {});
}

fn log_tcp<'a>(conn: &'a Conn, failure: Option<&'a Failure>, more: impl FnOnce(&mut Record<'a>)) {
    let Some(log) = conn.worker.log() else { return };
    let mut record = Record::new(SystemTime::now(), Kind::Tcp, &conn.listener.name);
    record.client = conn.peer;
    record.cause = failure.map(|f| f.cause);
    record.detail = failure.map_or("", |f| f.detail);
    more(&mut record);
    record.time -= record.duration;
    log.log(&record);
}
