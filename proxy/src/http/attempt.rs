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
    patience::{Expired, Patience},
    pump::{Broken, Encoding, Plan, Progress, Pump},
    record::Ledger,
    reply,
};
use outrigger_config::model::SendProxyProtocol;

use crate::{
    cluster::{
        Cluster, PickContext,
        endpoint::{Endpoint, InFlight},
    },
    drain::Phase,
    error::{Cause, Failure, Side},
    h1::{Asked, Delivery, HeadScan, Limits, parse_response, write_request, write_response},
    message::{Body, Edits, Method, RequestView, ResponseView, Version},
    net::{buffer::Buffer, proxy_protocol},
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

/// The request's way upstream.
pub(super) struct Upload {
    pump: Pump,
    /// Writing failed. The endpoint may have answered before it stopped reading.
    refused: bool,
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
            None => pick(conn, state, cluster, tried.ids(), began)
                .ok_or_else(|| Failure::from(cluster.absence()))?,
        };
        ledger.tries += 1;
        ledger.endpoint = Some(Arc::clone(&endpoint));
        let result = one_try(
            conn, state, ledger, rule, cluster, &endpoint, patience, &mut pump, began,
        )
        .await;
        match result {
            Ok(answered) => return Ok(answered),
            Err(failed) if failed.safe && tried.add(endpoint.id, cluster.config.safe_resends) => {
                cluster.cells.at(conn.worker.id).resent.inc();
            }
            Err(failed) => return Err(failed.failure.into()),
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

pub(super) fn pick(
    conn: &Conn,
    state: &State,
    cluster: &Cluster,
    tried: &[u32],
    now: u64,
) -> Option<Arc<Endpoint>> {
    let view = RequestView {
        bytes: &state.head,
        head: &state.request,
    };
    let hash = cluster.hash(&view, conn.peer.map(|p| p.ip()));
    cluster.pick(&PickContext {
        hash,
        now,
        random: &conn.worker.random,
        tried,
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
    let in_flight = endpoint.start();
    patience.begin_try(began, rule.backend_timeout);
    patience.arm(&conn.timer, began);
    let private = cluster.config.proxy_protocol != SendProxyProtocol::Off;
    let want = Want {
        cluster,
        endpoint,
        worker: conn.worker.id,
        workers: conn.worker.process.workers,
        private,
        now: began,
    };
    let mut waited = false;
    let acquired = connect(conn, state, want, patience, &mut waited).await;
    // A kept connection is there at once: no time passed that is worth a look at the clock.
    ledger.sent_at = if waited { now() } else { began };
    ledger.connecting += ledger.sent_at.saturating_sub(began);
    let (mut connection, origin) = acquired.map_err(|failure| {
        in_flight.fail(ledger.sent_at);
        ledger.sent_at = 0;
        // Connecting failed: nothing was sent. Waiting for a place is not worth a second endpoint.
        let safe = failure.cause.is_connect_failure();
        Failed { failure, safe }
    })?;
    let pump = match kept.take() {
        Some(pump) => pump,
        None => start_upload(conn, state, cluster, private),
    };
    ledger.up_sent += pump.waiting();
    let mut upload = Upload {
        pump,
        refused: false,
    };
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
pub(super) async fn connect(
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

/// Writes the request's head, and lines up its body behind it.
fn start_upload(conn: &Conn, state: &mut State, cluster: &Cluster, greet: bool) -> Pump {
    let mut out = std::mem::take(&mut state.to_upstream);
    out.clear();
    if greet {
        greeting(conn, cluster, &mut out);
    }
    let view = RequestView {
        bytes: &state.head,
        head: &state.request,
    };
    let settings = &conn.listener.http;
    let upgrade =
        super::forwarded::upgrade_allowed(&state.head, &state.request, &settings.upgrades);
    let host = if view.authority().is_empty() {
        cluster.name.as_bytes()
    } else {
        view.authority()
    };
    write_request(&mut out, &view, &state.edits, upgrade, host);
    let body = state.request.body;
    let encoding = if body == Body::Chunked {
        Encoding::Chunked
    } else {
        Encoding::Plain
    };
    let plan = Plan {
        body,
        encoding,
        limits: settings.limits,
        most: settings.max_body,
        from_upstream: false,
        budget: conn.worker.budget.clone(),
    };
    Pump::new(plan, out)
}

/// The PROXY protocol header of a connection that serves this client alone.
pub(crate) fn greeting(conn: &Conn, cluster: &Cluster, out: &mut Vec<u8>) {
    let version = match cluster.config.proxy_protocol {
        SendProxyProtocol::Off => return,
        SendProxyProtocol::V1 => proxy_protocol::Version::V1,
        SendProxyProtocol::V2 => proxy_protocol::Version::V2,
    };
    proxy_protocol::write(version, conn.peer, conn.local, out);
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
            101 if upload.is_complete() => return switched(conn, state),
            101 => {
                return Err(Failure::new(
                    Cause::UpgradeFailed,
                    "101 before the request was complete",
                ));
            }
            100..=199 => interim(conn, state, patience).await?,
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

impl Upload {
    /// Moves the request on. What the endpoint refuses to take is not an error: it may have answered.
    ///
    /// # Errors
    /// The client's side failed.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        conn: &mut Conn,
        state: &mut State,
        connection: &mut Connection,
    ) -> Result<(), Failure> {
        if self.refused || self.pump.is_done() {
            return Ok(());
        }
        let moved = if self.pump.source_done() {
            Poll::Ready(Ok(Progress::SourceDone))
        } else {
            self.pump.poll(
                cx,
                &mut conn.stream,
                &mut state.downstream,
                &mut connection.stream,
            )
        };
        match moved {
            Poll::Ready(Ok(Progress::SourceDone)) => {
                if let Poll::Ready(Err(_)) =
                    self.pump
                        .poll_flush(cx, &mut state.downstream, &mut connection.stream)
                {
                    self.refused = true;
                }
            }
            Poll::Ready(Ok(Progress::Done)) | Poll::Pending => {}
            Poll::Ready(Err(Broken::SinkFailed)) => self.refused = true,
            Poll::Ready(Err(Broken::SourceEnded | Broken::SourceFailed)) => {
                return Err(Failure::new(Cause::ClientGone, "within the request body"));
            }
            Poll::Ready(Err(Broken::Framing(failure))) => return Err(failure),
        }
        Ok(())
    }

    /// The whole request was sent.
    pub(super) fn is_complete(&self) -> bool {
        self.pump.is_done()
    }

    /// The whole request was read.
    pub(super) fn is_read(&self) -> bool {
        self.pump.source_done()
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.pump.is_blocked()
    }

    pub(super) fn progressed(&mut self) -> &mut bool {
        &mut self.pump.progressed
    }

    /// Ends it. What was read of the request and not sent is dropped from the client's `buffer`.
    /// Returns the payload bytes read, and the buffer that was lent.
    pub(super) fn finish(self, buffer: &mut Buffer) -> (u64, Vec<u8>) {
        (self.pump.moved, self.pump.finish(buffer))
    }
}

/// Whether patience has run out or the process ends.
pub(super) fn impatience(
    conn: &Conn,
    cx: &mut Context<'_>,
    patience: &mut Patience,
    progressed: &mut bool,
    on_pause: impl FnOnce() -> Cause,
) -> Option<Failure> {
    let expired = patience.poll(cx, &conn.timer, progressed);
    if conn.phase() == Phase::Cut {
        return Some(Failure::from(Cause::Draining));
    }
    match expired {
        Poll::Pending => None,
        Poll::Ready(Expired::Request) => Some(Failure::from(Cause::RequestTimeout)),
        Poll::Ready(Expired::Backend) => Some(Failure::from(Cause::BackendTimeout)),
        Poll::Ready(Expired::Pause) => Some(Failure::from(on_pause())),
    }
}

/// Whether the client closed its side, while we wait for the endpoint. A client that sends its
/// next request early is read as far as the buffer goes.
pub(super) fn poll_gone(conn: &mut Conn, state: &mut State, cx: &mut Context<'_>) -> bool {
    loop {
        let spare = state.downstream.spare();
        if spare.is_empty() {
            return false;
        }
        match conn.stream.poll_read_into(cx, spare) {
            Poll::Ready(Ok(n)) if n > 0 => state.downstream.received(n),
            Poll::Ready(_) => return true,
            Poll::Pending => return false,
        }
    }
}

/// Passes an interim response on to a client that knows them (RFC 9110 section 15.2).
async fn interim(
    conn: &mut Conn,
    state: &mut State,
    patience: &mut Patience,
) -> Result<(), Failure> {
    if state.request.version == Version::Http10 {
        return Ok(());
    }
    let mut out = std::mem::take(&mut state.to_downstream);
    out.clear();
    let view = ResponseView {
        bytes: state.upstream.filled(),
        head: &state.response,
    };
    let mut edits = Edits::default();
    super::forwarded::drop_listed(view.bytes, &view.head.fields, &mut edits);
    write_response(
        &mut out,
        &view,
        &edits,
        Delivery {
            body: Body::None,
            close: false,
            version: Version::Http11,
            upgrade: false,
        },
    );
    let sent = reply::write_within(conn, &out, patience).await;
    out.clear();
    state.to_downstream = out;
    sent
}

/// Checks that a 101 is what the client asked for.
fn switched(conn: &Conn, state: &State) -> Result<(), Failure> {
    let asked = super::forwarded::upgrade_allowed(
        &state.head,
        &state.request,
        &conn.listener.http.upgrades,
    );
    let offered = state
        .request
        .upgrade
        .map(|s| s.of(&state.head))
        .unwrap_or_default();
    let taken = state
        .response
        .upgrade
        .map(|s| s.of(state.upstream.filled()))
        .unwrap_or_default();
    let agreed = offered
        .split(|b| *b == b',')
        .any(|o| o.trim_ascii().eq_ignore_ascii_case(taken));
    if asked && agreed && !taken.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Cause::UpgradeFailed,
        "101 that was not asked for",
    ))
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
