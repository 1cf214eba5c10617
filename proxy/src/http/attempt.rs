//! From a chosen cluster to the head of a response: which endpoint, which connection, sending,
//! and sending again where that is provably safe.
//!
//! Safe means: connecting failed, or no byte of the request was written, or (an idempotent request
//! without a body, on a connection that was kept) the connection ended before any byte of an
//! answer, which RFC 9110 section 9.2.2 lets a proxy repeat. Retries that a route asks for are
//! another matter and not here.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use super::{
    Conn,
    exchange::Stop,
    interim,
    patience::Patience,
    pump::Pump,
    record::Ledger,
    upload::{self, Upload},
    watch::{impatience, poll_gone},
};
use outrigger_config::model::SendProxyProtocol;

use crate::{
    cluster::{
        Cluster, PickContext,
        endpoint::{Endpoint, InFlight},
    },
    error::{Cause, Failure, Side},
    h1::{Asked, HeadScan, Limits, parse_response},
    message::{Body, Method, RequestView},
    route::Rule,
    shared::{BUFFER, State},
    timer::now,
    upstream::{Connection, Origin, Want},
};

/// Interim responses one request may draw; real servers send one or two.
const MAX_INTERIM: u32 = 16;

/// A request under way: its connection, and what is left to send.
pub(super) struct Exchange {
    pub(super) connection: Connection,
    pub(super) in_flight: InFlight,
    pub(super) upload: Upload,
}

/// What came back.
pub(super) enum Answered {
    Response(Exchange),
    /// 101, as the client had asked.
    Switched(Exchange),
}

/// A failed try, and whether another one is safe.
struct Failed {
    failure: Failure,
    safe: bool,
}

/// Tries endpoints until one answers.
pub(super) async fn run(
    conn: &mut Conn,
    state: &mut State,
    ledger: &mut Ledger,
    rule: &Arc<Rule>,
    cluster: &Arc<Cluster>,
    patience: &mut Patience,
) -> Result<Answered, Stop> {
    let mut tried = Tried::default();
    let mut pump = None;
    let session = session_endpoint(state, rule, cluster);
    loop {
        let began = now();
        let endpoint = match session.as_ref().filter(|_| tried.is_empty()) {
            Some(endpoint) => Arc::clone(endpoint),
            None => pick(conn, state, cluster, tried.ids(), began)?,
        };
        let result = one_try(
            conn, state, ledger, rule, cluster, &endpoint, patience, &mut pump, began,
        )
        .await;
        match result {
            Ok(answered) => return Ok(answered),
            Err(failed) => tried.judge(&failed, &endpoint, cluster, conn)?,
        }
    }
}

/// A connection that this client alone will use, to an endpoint that can be reached.
pub(super) async fn reach(
    conn: &mut Conn,
    state: &mut State,
    ledger: &mut Ledger,
    rule: &Rule,
    cluster: &Arc<Cluster>,
    patience: &mut Patience,
) -> Result<(Connection, InFlight), Failure> {
    let mut tried = Tried::default();
    loop {
        let began = now();
        let endpoint = pick(conn, state, cluster, tried.ids(), began)?;
        begin(conn, ledger, rule, &endpoint, patience, began);
        let in_flight = endpoint.start();
        let want = want(conn, cluster, &endpoint, true, began);
        match acquire(conn, state, ledger, want, &in_flight, patience).await {
            Ok((connection, _)) => return Ok((connection, in_flight)),
            Err(failed) => tried.judge(&failed, &endpoint, cluster, conn)?,
        }
    }
}

/// Endpoints this request has tried.
#[derive(Default)]
struct Tried {
    ids: [u32; 11],
    count: usize,
}

impl Tried {
    /// Remembers one; `false` if that was the last allowed try.
    fn add(&mut self, id: u32, resends: u32) -> bool {
        match self.ids.get_mut(self.count) {
            Some(place) if self.count < resends as usize => {
                *place = id;
                self.count += 1;
                true
            }
            _ => false,
        }
    }

    /// Whether to go on with another endpoint after a failed try.
    fn judge(
        &mut self,
        failed: &Failed,
        endpoint: &Endpoint,
        cluster: &Cluster,
        conn: &Conn,
    ) -> Result<(), Failure> {
        if failed.safe && self.add(endpoint.id, cluster.config.safe_resends) {
            cluster.cells.at(conn.worker.id).resent.inc();
            return Ok(());
        }
        Err(failed.failure)
    }

    fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn ids(&self) -> &[u32] {
        self.ids.get(..self.count).unwrap_or_default()
    }
}

/// The endpoint that the client's cookie names, if it may be used.
fn session_endpoint(state: &State, rule: &Rule, cluster: &Cluster) -> Option<Arc<Endpoint>> {
    let session = rule.session.as_ref()?;
    let view = RequestView {
        bytes: &state.head,
        head: &state.request,
    };
    let token = view.cookie(session.cookie.as_bytes())?;
    cluster.endpoint_by_token(token).filter(|e| e.is_usable())
}

/// The balancer's choice among those that were not tried.
fn pick(
    conn: &Conn,
    state: &State,
    cluster: &Cluster,
    tried: &[u32],
    now: u64,
) -> Result<Arc<Endpoint>, Failure> {
    let view = RequestView {
        bytes: &state.head,
        head: &state.request,
    };
    let hash = cluster.hash(&view, conn.peer.map(|p| p.ip()));
    let picked = cluster.pick(&PickContext {
        hash,
        now,
        random: &conn.worker.random,
        tried,
    });
    picked.ok_or_else(|| Failure::from(cluster.absence()))
}

/// Enters a try into the books and winds up its clock.
fn begin(
    conn: &Conn,
    ledger: &mut Ledger,
    rule: &Rule,
    endpoint: &Arc<Endpoint>,
    patience: &mut Patience,
    began: u64,
) {
    ledger.tries += 1;
    ledger.endpoint = Some(Arc::clone(endpoint));
    patience.begin_try(began, rule.backend_timeout);
    patience.arm(&conn.timer, began);
}

fn want<'a>(
    conn: &Conn,
    cluster: &'a Arc<Cluster>,
    endpoint: &'a Arc<Endpoint>,
    private: bool,
    now: u64,
) -> Want<'a> {
    Want {
        cluster,
        endpoint,
        worker: conn.worker.id,
        workers: conn.worker.process.workers,
        private,
        now,
    }
}

/// A connection for a try, and the time that took.
async fn acquire(
    conn: &mut Conn,
    state: &mut State,
    ledger: &mut Ledger,
    want: Want<'_>,
    in_flight: &InFlight,
    patience: &mut Patience,
) -> Result<(Connection, Origin), Failed> {
    let mut waited = false;
    let acquired = connect(conn, state, want, patience, &mut waited).await;
    // A kept connection is there at once: no time passed that is worth a look at the clock.
    ledger.sent_at = if waited { now() } else { want.now };
    ledger.connecting += ledger.sent_at.saturating_sub(want.now);
    acquired.map_err(|failure| {
        in_flight.fail(ledger.sent_at);
        ledger.sent_at = 0;
        // Connecting failed: nothing was sent. Waiting for a place is not worth a second endpoint.
        let safe = failure.cause.is_connect_failure();
        Failed { failure, safe }
    })
}

/// One try with one endpoint.
#[allow(
    clippy::too_many_arguments,
    reason = "each is one fact of the try; a struct of borrows would only rename them"
)]
async fn one_try(
    conn: &mut Conn,
    state: &mut State,
    ledger: &mut Ledger,
    rule: &Rule,
    cluster: &Arc<Cluster>,
    endpoint: &Arc<Endpoint>,
    patience: &mut Patience,
    kept: &mut Option<Pump>,
    began: u64,
) -> Result<Answered, Failed> {
    begin(conn, ledger, rule, endpoint, patience, began);
    let in_flight = endpoint.start();
    let private = cluster.config.proxy_protocol != SendProxyProtocol::Off;
    let want = want(conn, cluster, endpoint, private, began);
    let (mut connection, origin) = acquire(conn, state, ledger, want, &in_flight, patience).await?;
    let pump = match kept.take() {
        Some(pump) => pump,
        None => upload::start(conn, state, cluster, private),
    };
    ledger.up_sent += pump.waiting();
    let mut upload = Upload::new(pump);
    let outcome = head(conn, state, cluster, &mut connection, &mut upload, patience).await;
    let head_at = now();
    match outcome {
        Ok(()) => {
            ledger.head_at = head_at;
            ledger.upstream_status = state.response.status;
            ledger.up_received += state.response.len as u64;
            answered(conn, ledger, cluster, &in_flight);
            let exchange = Exchange {
                connection,
                in_flight,
                upload,
            };
            Ok(match state.response.status {
                101 => Answered::Switched(exchange),
                _ => Answered::Response(exchange),
            })
        }
        Err(failure) => {
            if failure.cause.side() == Side::Upstream {
                in_flight.fail(head_at);
            }
            Err(failed(state, ledger, failure, origin, upload.pump, kept))
        }
    }
}

/// Tells balancer and metrics of an answer.
fn answered(conn: &Conn, ledger: &Ledger, cluster: &Cluster, in_flight: &InFlight) {
    let latency = ledger.head_at.saturating_sub(ledger.sent_at);
    let cells = cluster.cells.at(conn.worker.id);
    cells.latency.observe(Duration::from_nanos(latency));
    if ledger.upstream_status >= 500 {
        in_flight.fail(ledger.head_at);
    } else {
        in_flight.observe(latency, ledger.head_at);
    }
}

/// Judges whether the request may be sent again after `failure`, and keeps what is needed for it.
fn failed(
    state: &mut State,
    ledger: &mut Ledger,
    failure: Failure,
    origin: Origin,
    pump: Pump,
    kept: &mut Option<Pump>,
) -> Failed {
    let lost = failure.cause == Cause::UpstreamClosed && state.upstream.is_empty();
    let untouched = lost && pump.is_untouched();
    let repeatable = lost
        && origin == Origin::Reused
        && state.request.method.is_idempotent()
        && state.request.body == Body::None;
    if untouched {
        *kept = Some(pump);
    } else {
        ledger.body_received += pump.moved;
        state.to_upstream = pump.finish(&mut state.downstream);
    }
    state.upstream.clear();
    Failed {
        failure,
        safe: untouched || repeatable,
    }
}

/// A connection to the endpoint, unless the client leaves or time runs out first. Says whether it
/// had to be waited for.
async fn connect(
    conn: &mut Conn,
    state: &mut State,
    want: Want<'_>,
    patience: &mut Patience,
    waited: &mut bool,
) -> Result<(Connection, Origin), Failure> {
    let worker = std::rc::Rc::clone(&conn.worker);
    let mut acquiring = pin!(worker.pools.acquire(want));
    poll_fn(|cx| {
        if let Poll::Ready(done) = acquiring.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        *waited = true;
        if let Some(failure) = impatience(conn, cx, patience, &mut false, || Cause::ConnectTimeout)
        {
            return Poll::Ready(Err(failure));
        }
        if poll_gone(conn, state, cx) {
            Poll::Ready(Err(Failure::new(Cause::ClientGone, "while connecting")))
        } else {
            Poll::Pending
        }
    })
    .await
}

/// Sends, and reads until the head of a final response (or 101) is in `state.response`. Interim
/// responses go on to the client.
async fn head(
    conn: &mut Conn,
    state: &mut State,
    cluster: &Cluster,
    connection: &mut Connection,
    upload: &mut Upload,
    patience: &mut Patience,
) -> Result<(), Failure> {
    let limits = Limits {
        head: cluster.config.max_header_size.0 as usize,
        line: usize::MAX / 2,
        fields: cluster.config.max_headers as usize,
    };
    let asked = if state.request.method == Method::Head {
        Asked::Head
    } else {
        Asked::Other
    };
    for _ in 0..MAX_INTERIM {
        let mut scan = HeadScan::default();
        let len = poll_fn(|cx| {
            poll_head(
                cx, conn, state, connection, upload, patience, &mut scan, &limits,
            )
        })
        .await?;
        let bytes = state.upstream.filled().get(..len).unwrap_or_default();
        parse_response(bytes, &limits, asked, &mut state.response)?;
        match state.response.status {
            101 if upload.is_complete() => return interim::check_switch(conn, state),
            101 => {
                return Err(Failure::new(
                    Cause::UpgradeFailed,
                    "101 before the request was complete",
                ));
            }
            100..=199 => interim::pass_on(conn, state, patience).await?,
            _ => return Ok(()),
        }
        state.upstream.consume(len);
    }
    Err(Failure::new(
        Cause::BadResponse,
        "too many interim responses",
    ))
}

#[allow(clippy::too_many_arguments, reason = "the borrows of one poll")]
fn poll_head(
    cx: &mut Context<'_>,
    conn: &mut Conn,
    state: &mut State,
    connection: &mut Connection,
    upload: &mut Upload,
    patience: &mut Patience,
    scan: &mut HeadScan,
    limits: &Limits,
) -> Poll<Result<usize, Failure>> {
    upload.poll(cx, conn, state, connection)?;
    loop {
        if !state.upstream.is_empty() {
            if let Some(len) = scan
                .advance(state.upstream.filled(), limits)
                .map_err(crate::h1::as_response)?
            {
                return Poll::Ready(Ok(len));
            }
            if state.upstream.spare().is_empty() {
                state.upstream.compact();
                if state.upstream.spare().is_empty() {
                    state.upstream.grow(state.upstream.capacity() * 2);
                }
            }
        }
        match connection.stream.poll_read_into(cx, state.upstream.spare()) {
            Poll::Ready(Ok(n)) if n > 0 => state.upstream.received(n),
            Poll::Ready(_) if state.upstream.is_empty() => {
                return Poll::Ready(Err(Failure::new(
                    Cause::UpstreamClosed,
                    "before any answer",
                )));
            }
            Poll::Ready(_) => {
                return Poll::Ready(Err(Failure::new(
                    Cause::ResponseIncomplete,
                    "within the head",
                )));
            }
            Poll::Pending => break,
        }
    }
    let waiting_for_client = !upload.is_complete() && !upload.pump.is_blocked();
    let on_pause = || {
        if waiting_for_client {
            Cause::RequestBodyTimeout
        } else {
            Cause::UpstreamStalled
        }
    };
    if let Some(failure) = impatience(conn, cx, patience, &mut upload.pump.progressed, on_pause) {
        return Poll::Ready(Err(failure));
    }
    if upload.is_complete() && poll_gone(conn, state, cx) {
        return Poll::Ready(Err(Failure::new(Cause::ClientGone, "before the response")));
    }
    Poll::Pending
}

/// Makes sure a buffer that grew for one message does not stay.
pub(super) fn usual(state: &mut State) {
    if state.upstream.is_empty() {
        state.upstream.shrink(BUFFER);
    }
    if state.downstream.is_empty() {
        state.downstream.shrink(BUFFER);
    }
}
