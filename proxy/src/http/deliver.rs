//! From the head of a response to its last byte at the client, while the request may still be
//! on its way up.
//!
//! The endpoint's connection goes back to its pool as soon as the response is read, before the
//! client has taken it.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use super::{
    Conn, Next,
    attempt::{Exchange, usual},
    exchange::Stop,
    forwarded, parting,
    patience::Patience,
    pump::{Broken, Encoding, Plan, Progress},
    record::Ledger,
    reply,
    sides::{Downstream, Upstream},
    transfer::{Carrier, Transfer},
    upload::Upload,
    watch::{impatience, poll_gone},
};
use crate::{
    error::{Cause, Failure},
    filter::{self, ResponseContext},
    h1::{self, Delivery, Limits, write_response},
    h2::{self as http2, Code},
    message::{Body, Edits, Known, RequestView, Version, grpc},
    route::{Backend, Rule, Session},
    shared::State,
    timer::now,
};

/// Delivers the response whose head is in `state`.
pub(super) async fn response(
    conn: &mut Conn,
    state: &mut State,
    ledger: &mut Ledger,
    rule: &Arc<Rule>,
    backend: &Backend,
    exchange: Exchange,
    mut patience: Patience,
) -> Result<Next, Stop> {
    let Exchange {
        mut upstream,
        in_flight,
        mut upload,
    } = exchange;
    edit(
        state,
        rule,
        backend,
        &in_flight.endpoint,
        conn.secured.is_some(),
    );
    let (mut pump, delivery) = begin(conn, state, ledger, &upstream, &upload)?;
    let mut close = delivery.close;
    let mut turns = 0_u32;
    let read = poll_fn(|cx| {
        turns = turns.saturating_add(1);
        let polled = poll_relay(
            cx,
            conn,
            state,
            &mut upstream,
            &mut upload,
            &mut pump,
            &mut patience,
        );
        // The first turn hands the head on; after it we wait for one of the peers.
        if ledger.answered_at == 0 {
            ledger.answered_at = now();
        }
        polled
    })
    .await;
    let reusable = state.response.keep_alive
        && upload.is_complete()
        && pump.source_done()
        && pump.unread(&state.upstream) == 0;
    let read_at = if turns == 1 {
        ledger.answered_at
    } else {
        now()
    };
    let_go(upstream, reusable, conn, state, read_at);
    let written = match read {
        Ok(Progress::Done) => Ok(()),
        Ok(Progress::SourceDone) => {
            poll_fn(|cx| poll_rest(cx, conn, state, &mut pump, &mut patience)).await
        }
        Err(failure) => Err(failure),
    };
    if ledger.call.is_some() && pump.grpc_status().is_some_and(grpc::is_failure) {
        in_flight.fail(read_at);
    }
    drop(in_flight);
    let request_read = upload.is_read();
    close |= !request_read;
    let untouched = pump.is_untouched();
    settle(state, ledger, pump, upload);
    match written {
        Ok(()) if close => Ok(parting(state, request_read)),
        Ok(()) => Ok(Next::KeepAlive),
        // Nothing has left yet: the client can still be told properly.
        Err(failure) if untouched && !conn.is_stream() => {
            ledger.status = 0;
            ledger.sent = 0;
            Err(failure.into())
        }
        Err(failure) => {
            // The end of the connection is the end of the body to this client: only a reset tells
            // that it is not.
            match &mut conn.side {
                Downstream::Http1(stream) if delivery.body == Body::UntilClose => {
                    stream.reset_on_drop();
                }
                _ => {}
            }
            Err(Stop {
                failure,
                answered: true,
            })
        }
    }
}

/// Hands the head on, and lines up the body behind it.
fn begin(
    conn: &mut Conn,
    state: &mut State,
    ledger: &mut Ledger,
    upstream: &Upstream,
    upload: &Upload,
) -> Result<(Transfer, Delivery), Failure> {
    // A request that is still coming when it is answered will not be read to its end.
    let mut close = !state.request.keep_alive || conn.is_leaving() || !upload.is_read();
    let (encoding, body) = framing(state.response.body, state.request.version, &mut close);
    let delivery = Delivery {
        body,
        close,
        version: state.request.version,
        upgrade: false,
    };
    let mut out = std::mem::take(&mut state.to_downstream);
    out.clear();
    let end = upstream.is_read(state.response.body);
    match &mut conn.side {
        Downstream::Http1(_) => {
            write_response(&mut out, &state.answer(), &state.response_edits, delivery);
            ledger.sent += out.len() as u64;
        }
        Downstream::Http2(stream) => {
            http2::write_response(&mut out, &state.answer(), &state.response_edits);
            let answered = stream.answer(&out, end);
            out.clear();
            answered?;
            ledger.sent += state.response.len as u64;
        }
        Downstream::Driven => {}
    }
    if upstream.carrier() == Carrier::Http1 {
        state.upstream.consume(state.response.len);
    }
    ledger.status = state.response.status;
    let rest = if end { Body::None } else { state.response.body };
    let plan = plan(conn, rest, encoding, close);
    let (from, to) = (upstream.carrier(), conn.side.carrier());
    Ok((Transfer::new(from, to, plan, out), delivery))
}

/// How the response's body is moved.
fn plan(conn: &Conn, body: Body, encoding: Encoding, last: bool) -> Plan {
    Plan {
        body,
        encoding,
        limits: Limits {
            line: usize::MAX / 2,
            ..conn.listener.http.limits
        },
        most: u64::MAX,
        from_upstream: true,
        last,
        budget: conn.worker.budget.clone(),
        behind: conn.worker.behind.clone(),
    }
}

/// The endpoint's connection may serve somebody else, or not.
fn let_go(upstream: Upstream, reusable: bool, conn: &Conn, state: &State, now: u64) {
    if let Upstream::Http1(connection) = upstream
        && reusable
    {
        let announced = state.response.keep_alive_timeout;
        connection.release(now, announced, conn.worker.process.workers);
    }
}

/// Enters what was moved into the books, and gives back what was lent.
fn settle(state: &mut State, ledger: &mut Ledger, pump: Transfer, upload: Upload) {
    ledger.body_sent += pump.moved();
    ledger.grpc_status = pump.grpc_status().or(ledger.grpc_status);
    let (received, lent) = upload.finish(&mut state.downstream);
    ledger.body_received += received;
    state.to_upstream = lent;
    state.to_downstream = pump.finish(&mut state.upstream);
    state.upstream.clear();
    usual(state);
}

/// How the response is framed for this client.
fn framing(body: Body, version: Version, close: &mut bool) -> (Encoding, Body) {
    match (body, version) {
        (Body::Chunked | Body::UntilClose, Version::Http11) => (Encoding::Chunked, Body::Chunked),
        // The stream ends where the body does.
        (Body::Chunked | Body::UntilClose, Version::Http2) => (Encoding::Plain, Body::Chunked),
        (Body::Chunked | Body::UntilClose, Version::Http10) => {
            *close = true;
            (Encoding::Plain, Body::UntilClose)
        }
        // HTTP/2 frames what comes by itself.
        (body, _) => (Encoding::Plain, body),
    }
}

/// Applies filters to the head.
fn edit(
    state: &mut State,
    rule: &Rule,
    backend: &Backend,
    endpoint: &crate::cluster::endpoint::Endpoint,
    is_secure: bool,
) {
    let mut edits = std::mem::take(&mut state.response_edits);
    let view = state.answer();
    if view
        .head
        .fields
        .iter()
        .any(|f| f.known == Known::Connection)
    {
        forwarded::drop_listed(view.bytes, &view.head.fields, &mut edits);
    }
    let mut context = ResponseContext {
        response: view,
        edits: &mut edits,
    };
    filter::apply_to_response(&backend.filters, &mut context);
    filter::apply_to_response(&rule.filters, &mut context);
    if let Some(session) = &rule.session {
        let request = RequestView {
            bytes: &state.head,
            head: &state.request,
        };
        if request.cookie(session.cookie.as_bytes()) != Some(endpoint.token().as_bytes()) {
            set_cookie(session, endpoint.token(), is_secure, &mut edits);
        }
    }
    if reply::lacks_date(view.head) {
        reply::date(|text| edits.add("Date", text));
    }
    state.response_edits = edits;
}

/// Names the endpoint to a client that should come back to it (GEP-1619). Not readable by
/// scripts, and where it came over TLS not sent without. On plain connections `Secure` would keep it off them.
fn set_cookie(session: &Session, token: &str, is_secure: bool, edits: &mut Edits) {
    let secure = if is_secure { "; Secure" } else { "" };
    let age = session
        .max_age
        .map_or_else(String::new, |age| format!("; Max-Age={}", age.as_secs()));
    let value = format!(
        "{}={token}; Path={}; HttpOnly; SameSite=Lax{secure}{age}",
        session.cookie, session.path
    );
    edits.add("Set-Cookie", value.as_bytes());
}

/// Moves the response down and what is left of the request up, until the response is read.
fn poll_relay(
    cx: &mut Context<'_>,
    conn: &mut Conn,
    state: &mut State,
    upstream: &mut Upstream,
    upload: &mut Upload,
    pump: &mut Transfer,
    patience: &mut Patience,
) -> Poll<Result<Progress, Failure>> {
    let moved = pump.poll(cx, upstream.source(), &mut state.upstream, conn.side.sink());
    match moved {
        Poll::Ready(Ok(progress)) => return Poll::Ready(Ok(progress)),
        Poll::Ready(Err(broken)) => {
            if let (Broken::Reset(reason), Downstream::Http2(stream)) = (broken, &mut conn.side) {
                stream.reason = reason.filter(|reason| holds_below(*reason));
            }
            // Where we ended the endpoint's connection, that is the cause.
            let ours = match (broken, &*upstream) {
                (Broken::Reset(_), Upstream::Http2(stream)) => stream.lease.why(),
                _ => None,
            };
            return Poll::Ready(Err(ours.unwrap_or_else(|| why(broken))));
        }
        Poll::Pending => {}
    }
    upload.poll(cx, conn, state, upstream)?;
    *upload.progressed() |= std::mem::take(pump.progressed());
    let client_slow = pump.is_blocked();
    let upload_waits = !upload.is_complete() && !upload.is_blocked();
    let on_pause = move || match (client_slow, upload_waits) {
        (true, _) => Cause::ClientStalled,
        (false, true) => Cause::RequestBodyTimeout,
        (false, false) => Cause::UpstreamStalled,
    };
    if let Some(failure) = impatience(conn, cx, patience, upload.progressed(), on_pause) {
        return Poll::Ready(Err(failure));
    }
    if (upload.is_complete() || conn.is_stream()) && poll_gone(conn, state, cx) {
        return Poll::Ready(Err(Failure::new(Cause::ClientGone, "within the response")));
    }
    Poll::Pending
}

/// Writes what is left of a response that was read.
fn poll_rest(
    cx: &mut Context<'_>,
    conn: &mut Conn,
    state: &mut State,
    pump: &mut Transfer,
    patience: &mut Patience,
) -> Poll<Result<(), Failure>> {
    match pump.poll_flush(cx, &mut state.upstream, conn.side.sink()) {
        Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
        Poll::Ready(Err(broken)) => return Poll::Ready(Err(why(broken))),
        Poll::Pending => {}
    }
    match impatience(conn, cx, patience, pump.progressed(), || {
        Cause::ClientStalled
    }) {
        Some(failure) => Poll::Ready(Err(failure)),
        None => Poll::Pending,
    }
}

/// Whether the word of an endpoint that broke off its answer is true for the client as well. That
/// nothing was processed, or that the answer is whole, is not: the client has a part of it.
fn holds_below(reason: Code) -> bool {
    !matches!(
        reason,
        Code::NO_ERROR | Code::REFUSED_STREAM | Code::HTTP_1_1_REQUIRED
    )
}

fn why(broken: Broken) -> Failure {
    match broken {
        Broken::SourceEnded => Failure::new(
            Cause::ResponseIncomplete,
            "the endpoint closed within the body",
        ),
        Broken::SourceFailed => Failure::new(
            Cause::ResponseIncomplete,
            "the endpoint reset within the body",
        ),
        Broken::Reset(_) => Failure::new(
            Cause::ResponseIncomplete,
            "the endpoint reset the stream within the body",
        ),
        Broken::NoMemory => Failure::new(Cause::BuffersFull, "for a response's body"),
        Broken::Framing(failure) => h1::as_response(failure),
        Broken::SinkFailed => Failure::new(Cause::ClientGone, "within the response"),
    }
}
