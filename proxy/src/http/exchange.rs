//! One request and its response, every step in order.
//!
//! Read top to bottom: [`exchange`] calls [`run`], which decides (normalise, forwarded fields,
//! route, filters, backend) and hands over to `attempt` (which endpoint, sending) and `deliver`
//! (the response). Whatever fails comes back here and becomes an answer, a count and a log line.

use std::sync::Arc;

use super::{
    Conn, Next,
    attempt::{self, Answered},
    deliver, forwarded,
    grpc::{self, Call},
    patience::Patience,
    record::{Ledger, Used},
    reply, switch, tunnel,
};
use crate::{
    error::{Cause, Failure, Side},
    filter::{self, Flow, Reply, RequestContext},
    message::{Body, Method, RequestView, grpc as grpc_codes, path},
    route::{Backend, Rule},
    shared::State,
};

/// Why an exchange cannot go on.
pub(super) struct Stop {
    pub(super) failure: Failure,
    /// Part of the response has left: nothing else can be sent.
    pub(super) answered: bool,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            answered: false,
        }
    }
}

/// Serves the request whose head is in `state`.
pub(super) async fn exchange(conn: &mut Conn, state: &mut State) -> Next {
    let mut ledger = Ledger::new();
    conn.served = conn.served.saturating_add(1);
    state.edits.clear();
    state.response_edits.clear();
    ledger.received = state.head.len() as u64;
    ledger.call = Call::of(state);
    let next = match run(conn, state, &mut ledger).await {
        Ok(next) => next,
        Err(stop) => conclude(conn, state, &mut ledger, stop).await,
    };
    conn.idle_since = ledger.close(conn, state);
    next
}

/// Answers a request that could not even be read, but that may have been seen to be a call.
pub(super) async fn refuse(
    conn: &mut Conn,
    state: &mut State,
    failure: Failure,
    call: Option<Call>,
) -> Next {
    let mut ledger = Ledger::new();
    ledger.call = call;
    state.edits.clear();
    ledger.received = (state.head.len() + state.downstream.len()) as u64;
    // Nothing that was parsed so far may be believed, but HEAD and version are not needed to close.
    state.request = crate::message::RequestHead::default();
    state.head.clear();
    let next = conclude(conn, state, &mut ledger, failure.into()).await;
    conn.idle_since = ledger.close(conn, state);
    next
}

/// A failure becomes an answer, if one can still be sent.
async fn conclude(conn: &mut Conn, state: &mut State, ledger: &mut Ledger, stop: Stop) -> Next {
    let cause = stop.failure.cause;
    let gone = matches!(cause, Cause::ClientGone | Cause::ClientStalled);
    let proxy_status = conn.listener.http.proxy_status;
    let told = match ledger.call {
        // What a client that left would have been told.
        Some(_) if gone => {
            ledger.grpc_status = Some(grpc_codes::of(cause));
            None
        }
        Some(_) => grpc::tell(&mut conn.side, state, ledger, &stop.failure, proxy_status),
        None => None,
    };
    let next = if let Some(next) = told {
        next
    } else if stop.answered || gone {
        Next::Drop
    } else {
        let json = state.request.len > 0
            && reply::prefers_json(&RequestView {
                bytes: &state.head,
                head: &state.request,
            });
        let answer = reply::for_failure(&stop.failure, json, proxy_status);
        // After a request that is broken or incomplete nothing on this connection can be trusted.
        // Nor can what follows a CONNECT that was refused: it is meant for somebody else.
        let keep = (cause.side() != Side::Downstream
            || matches!(cause, Cause::Loop | Cause::Misdirected))
            && state.request.method != Method::Connect
            && state.request.len > 0;
        let sent = reply::send(conn, state, ledger, &answer, keep).await;
        sent.unwrap_or(Next::Drop)
    };
    ledger.failure = Some(stop.failure);
    next
}

/// The steps of a request.
async fn run(conn: &mut Conn, state: &mut State, ledger: &mut Ledger) -> Result<Next, Stop> {
    conn.refresh();
    normalise(conn, state)?;
    let settings = &conn.listener.http;
    forwarded::prepare(
        conn,
        &mut state.head,
        &mut state.request,
        &mut conn.worker.random.borrow_mut(),
    )?;
    switch::admit(conn, &mut state.head, &mut state.request)?;
    let view = RequestView {
        bytes: &state.head,
        head: &state.request,
    };
    if let Body::Length(n) = state.request.body
        && n > settings.max_body
    {
        return Err(Failure::new(Cause::RequestBodyTooLarge, "Content-Length").into());
    }
    conn.heed(&conn.verdict(Some(&view)), &mut ledger.told)?;
    if state.request.method == Method::Connect && !settings.connect {
        return Err(Failure::from(Cause::ConnectRefused).into());
    }
    if let Some(secured) = &conn.secured
        && state.request.method != Method::Connect
        && !secured.is_for(view.authority())
    {
        let detail = "the certificate is for other hosts";
        return Err(Failure::new(Cause::Misdirected, detail).into());
    }
    let (rule, matched_prefix) = match conn.listener.table.find(&view) {
        Some(found) => (Arc::clone(found.rule), found.matched_prefix),
        None => return Err(Failure::from(Cause::NoRoute).into()),
    };
    ledger.rule = Some(Arc::clone(&rule));
    let _active = Active::new(&rule, conn.worker.id);
    let mut context = RequestContext {
        request: view,
        edits: &mut state.edits,
        scheme: conn.scheme(),
        matched_prefix,
        // A `Host` without a port means that the client used the default one; ours may be behind a mapping.
        listener_port: None,
    };
    if let Flow::Reply(answer) = filter::apply_to_request(&rule.filters, &mut context) {
        return answer_by_filter(conn, state, ledger, &answer).await;
    }
    let backend = choose(&rule, &view, conn)?;
    if let Flow::Reply(answer) = filter::apply_to_request(&backend.filters, &mut context) {
        return answer_by_filter(conn, state, ledger, &answer).await;
    }
    forward(conn, state, ledger, &rule, backend).await
}

/// What a filter answers. To who asked for a tunnel a 2xx would say that it is open.
async fn answer_by_filter(
    conn: &mut Conn,
    state: &mut State,
    ledger: &mut Ledger,
    answer: &Reply,
) -> Result<Next, Stop> {
    let head = &state.request;
    let tunnel = head.method == Method::Connect || head.extended_connect;
    if tunnel && (200..300).contains(&answer.status) {
        let detail = "a filter's 2xx to a request for a tunnel";
        return Err(Failure::new(Cause::BadRoute, detail).into());
    }
    let sent = reply::send(conn, state, ledger, answer, true).await;
    sent.map_err(|failure| Stop {
        failure,
        answered: true,
    })
}

/// The path as everybody from here on sees it.
fn normalise(conn: &Conn, state: &mut State) -> Result<(), Failure> {
    let raw = match &state.request.normal_path {
        Some(path) => path.as_bytes(),
        None => state.request.path.of(&state.head),
    };
    if raw.first() != Some(&b'/') {
        return Ok(());
    }
    match path::normalise(raw, conn.listener.http.merge_slashes) {
        Ok(None) => Ok(()),
        Ok(Some(normal)) => {
            state.request.normal_path = Some(normal);
            Ok(())
        }
        Err(error) => Err(Failure::new(Cause::BadRequest, error.detail())),
    }
}

/// The backend of a session, or one by weight.
fn choose<'a>(rule: &'a Rule, view: &RequestView<'_>, conn: &Conn) -> Result<&'a Backend, Failure> {
    if let Some(token) = rule
        .session
        .as_ref()
        .and_then(|s| view.cookie(s.cookie.as_bytes()))
    {
        let mut backends = rule.backends.all().iter();
        let home = backends.find(|b| {
            b.cluster
                .as_ref()
                .is_some_and(|c| c.endpoint_by_token(token).is_some())
        });
        if let Some(backend) = home {
            return Ok(backend);
        }
    }
    let chosen = rule.backends.pick(&mut conn.worker.random.borrow_mut());
    chosen.ok_or(Failure::new(Cause::BadRoute, "no backend has a weight"))
}

/// Sends the request to an endpoint of the backend and the response to the client.
async fn forward(
    conn: &mut Conn,
    state: &mut State,
    ledger: &mut Ledger,
    rule: &Arc<Rule>,
    backend: &Backend,
) -> Result<Next, Stop> {
    let cluster = backend.cluster.as_ref().ok_or(Failure::new(
        Cause::BadRoute,
        "the backend names no cluster",
    ))?;
    ledger.cluster = Some(Used::new(cluster, conn.worker.id));
    let mut patience = Patience::new(
        ledger.began,
        rule.request_timeout,
        conn.listener.http.stream_idle_timeout,
    );
    if conn.side.stream().is_some_and(|stream| stream.is_apart()) {
        patience.watch_later();
    }
    if let Some(call) = &mut ledger.call {
        grpc::take_deadline(call, state, ledger.began, &mut patience)?;
    }
    if state.request.method == Method::Connect {
        return tunnel::connect(conn, state, ledger, rule, cluster, patience).await;
    }
    let answered = attempt::run(conn, state, ledger, rule, cluster, &mut patience).await?;
    match answered {
        Answered::Response(exchange) => {
            deliver::response(conn, state, ledger, rule, backend, exchange, patience).await
        }
        Answered::Switched(exchange) => {
            tunnel::upgrade(conn, state, ledger, rule, (backend, cluster), exchange).await
        }
    }
}

/// A request in flight, counted for its route.
struct Active {
    rule: Arc<Rule>,
    worker: usize,
}

impl Active {
    fn new(rule: &Arc<Rule>, worker: usize) -> Self {
        rule.cells.at(worker).active.inc();
        Self {
            rule: Arc::clone(rule),
            worker,
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.rule.cells.at(self.worker).active.dec();
    }
}
