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
    pump::{Broken, Encoding, Plan, Progress, Pump},
    record::Ledger,
    reply,
    upload::Upload,
    watch::{impatience, poll_gone},
};
use crate::{
    error::{Cause, Failure},
    filter::{self, ResponseContext},
    h1::{self, Delivery, Limits, write_response},
    message::{Body, Edits, Known, RequestView, ResponseView, Version},
    route::{Backend, Rule, Session},
    shared::State,
    timer::now,
    upstream::Connection,
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
        mut connection,
        in_flight,
        mut upload,
    } = exchange;
    // A request that is still coming when it is answered will not be read to its end.
    let mut close = !state.request.keep_alive || conn.is_leaving() || !upload.is_read();
    let (encoding, body) = framing(state.response.body, state.request.version, &mut close);
    let delivery = Delivery {
        body,
        close,
        version: state.request.version,
        upgrade: false,
    };
    let out = write_head(state, rule, backend, &in_flight.endpoint, delivery);
    state.upstream.consume(state.response.len);
    ledger.status = state.response.status;
    ledger.sent += out.len() as u64;
    let mut pump = Pump::new(plan(conn, state.response.body, encoding), out);
    let mut turns = 0_u32;
    let read = poll_fn(|cx| {
        turns = turns.saturating_add(1);
        let polled = poll_relay(
            cx,
            conn,
            state,
            &mut connection,
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
    let_go(connection, reusable, conn, state, read_at);
    let written = match read {
        Ok(Progress::Done) => Ok(()),
        Ok(Progress::SourceDone) => {
            poll_fn(|cx| poll_rest(cx, conn, state, &mut pump, &mut patience)).await
        }
        Err(failure) => Err(failure),
    };
    drop(in_flight);
    let request_read = upload.is_read();
    close |= !request_read;
    let untouched = pump.is_untouched();
    settle(state, ledger, pump, upload);
    match written {
        Ok(()) if close => Ok(parting(state, request_read)),
        Ok(()) => Ok(Next::KeepAlive),
        // Nothing has left yet: the client can still be told properly.
        Err(failure) if untouched => {
            ledger.status = 0;
            ledger.sent = 0;
            Err(failure.into())
        }
        Err(failure) => {
            // The end of the connection is the end of the body to this client: only a reset tells
            // that it is not.
            if body == Body::UntilClose {
                conn.stream.reset_on_drop();
            }
            Err(Stop {
                failure,
                answered: true,
            })
        }
    }
}

/// How the response's body is moved.
fn plan(conn: &Conn, body: Body, encoding: Encoding) -> Plan {
    Plan {
        body,
        encoding,
        limits: Limits {
            line: usize::MAX / 2,
            ..conn.listener.http.limits
        },
        most: u64::MAX,
        from_upstream: true,
        budget: conn.worker.budget.clone(),
    }
}

/// The endpoint's connection may serve somebody else, or not.
fn let_go(connection: Connection, reusable: bool, conn: &Conn, state: &State, now: u64) {
    if reusable {
        let announced = state.response.keep_alive_timeout;
        connection.release(now, announced, conn.worker.process.workers);
    }
}

/// Enters what was moved into the books, and gives back what was lent.
fn settle(state: &mut State, ledger: &mut Ledger, pump: Pump, upload: Upload) {
    ledger.body_sent += pump.moved;
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
        (body, _) => (Encoding::Plain, body),
    }
}

/// Applies filters and writes the head.
fn write_head(
    state: &mut State,
    rule: &Rule,
    backend: &Backend,
    endpoint: &crate::cluster::endpoint::Endpoint,
    delivery: Delivery,
) -> Vec<u8> {
    let view = ResponseView {
        bytes: state.upstream.filled(),
        head: &state.response,
    };
    let edits = &mut state.response_edits;
    if view
        .head
        .fields
        .iter()
        .any(|f| f.known == Known::Connection)
    {
        forwarded::drop_listed(view.bytes, &view.head.fields, edits);
    }
    let mut context = ResponseContext {
        response: view,
        edits,
    };
    filter::apply_to_response(&backend.filters, &mut context);
    filter::apply_to_response(&rule.filters, &mut context);
    if let Some(session) = &rule.session {
        let request = RequestView {
            bytes: &state.head,
            head: &state.request,
        };
        if request.cookie(session.cookie.as_bytes()) != Some(endpoint.token().as_bytes()) {
            set_cookie(session, endpoint.token(), edits);
        }
    }
    if reply::lacks_date(view.head) {
        reply::date(|text| edits.add("Date", text));
    }
    let mut out = std::mem::take(&mut state.to_downstream);
    out.clear();
    write_response(&mut out, &view, edits, delivery);
    out
}

/// Names the endpoint to a client that should come back to it (GEP-1619). Not readable by
/// scripts; `Secure` would keep it off the plain connections we serve.
fn set_cookie(session: &Session, token: &str, edits: &mut Edits) {
    let age = session
        .max_age
        .map_or_else(String::new, |age| format!("; Max-Age={}", age.as_secs()));
    let value = format!(
        "{}={token}; Path={}; HttpOnly; SameSite=Lax{age}",
        session.cookie, session.path
    );
    edits.add("Set-Cookie", value.as_bytes());
}

/// Moves the response down and what is left of the request up, until the response is read.
fn poll_relay(
    cx: &mut Context<'_>,
    conn: &mut Conn,
    state: &mut State,
    connection: &mut Connection,
    upload: &mut Upload,
    pump: &mut Pump,
    patience: &mut Patience,
) -> Poll<Result<Progress, Failure>> {
    let moved = pump.poll(
        cx,
        &mut connection.stream,
        &mut state.upstream,
        &mut conn.stream,
    );
    match moved {
        Poll::Ready(Ok(progress)) => return Poll::Ready(Ok(progress)),
        Poll::Ready(Err(broken)) => return Poll::Ready(Err(why(broken))),
        Poll::Pending => {}
    }
    upload.poll(cx, conn, state, connection)?;
    *upload.progressed() |= std::mem::take(&mut pump.progressed);
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
    if upload.is_complete() && poll_gone(conn, state, cx) {
        return Poll::Ready(Err(Failure::new(Cause::ClientGone, "within the response")));
    }
    Poll::Pending
}

/// Writes what is left of a response that was read.
fn poll_rest(
    cx: &mut Context<'_>,
    conn: &mut Conn,
    state: &mut State,
    pump: &mut Pump,
    patience: &mut Patience,
) -> Poll<Result<(), Failure>> {
    match pump.poll_flush(cx, &mut state.upstream, &mut conn.stream) {
        Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
        Poll::Ready(Err(_)) => {
            return Poll::Ready(Err(Failure::new(Cause::ClientGone, "within the response")));
        }
        Poll::Pending => {}
    }
    match impatience(conn, cx, patience, &mut pump.progressed, || {
        Cause::ClientStalled
    }) {
        Some(failure) => Poll::Ready(Err(failure)),
        None => Poll::Pending,
    }
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
        Broken::Framing(failure) => h1::as_response(failure),
        Broken::SinkFailed => Failure::new(Cause::ClientGone, "within the response"),
    }
}
