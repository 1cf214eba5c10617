//! From a chosen cluster to the head of a response: which endpoint, which connection, sending,
//! and sending again where that is provably safe.
//!
//! Safe means: connecting failed, or no byte of the request was written, or an HTTP/2 endpoint said
//! that it did not process the request and all that was sent is still there, or (an idempotent request
//! without a body, on a connection that was kept) the connection ended before any byte of an
//! answer, which RFC 9110 section 9.2.2 lets a proxy repeat. Retries that a route asks for are
//! another matter and not here.

use std::{rc::Rc, sync::Arc, time::Duration};

use super::{
    Conn,
    exchange::Stop,
    grpc,
    head::{self, Lost},
    patience::Patience,
    reach::{Again, Failed, Tried, acquire, begin, by, carrier, pick, session_endpoint, want},
    record::Ledger,
    sides::{ClientStream, Upstream},
    transfer::{Carrier, Transfer},
    upload::{self, Upload},
};
use crate::{
    cluster::{
        Cluster,
        endpoint::{Endpoint, InFlight},
    },
    error::{Cause, Failure, Side},
    h2::Written,
    message::{Body, grpc as grpc_codes},
    route::Rule,
    shared::{BUFFER, State, Worker},
    timer::now,
    tls::Offer,
    upstream::{Lease, Origin, Want},
};

/// A request under way: the endpoint's side, and what is left to send.
pub(super) struct Exchange {
    pub(super) upstream: Upstream,
    pub(super) in_flight: InFlight,
    pub(super) upload: Upload,
}

/// What came back.
pub(super) enum Answered {
    Response(Exchange),
    /// 101, as the client had asked.
    Switched(Exchange),
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
    let mut kept = None;
    let session = session_endpoint(state, rule, cluster);
    loop {
        let began = now();
        let endpoint = match session.as_ref().filter(|_| tried.is_empty()) {
            Some(endpoint) => Arc::clone(endpoint),
            None => pick(conn, state, cluster, tried.ids(), began)?,
        };
        let result = one_try(
            conn, state, ledger, rule, cluster, &endpoint, patience, &mut kept, began,
        )
        .await;
        match result {
            Ok(answered) => return Ok(answered),
            Err(failed) => tried.judge(&failed, &endpoint, cluster, conn)?,
        }
    }
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
    kept: &mut Option<Transfer>,
    began: u64,
) -> Result<Answered, Failed> {
    begin(conn, ledger, rule, endpoint, patience, began).map_err(never_sent)?;
    let in_flight = endpoint.start();
    let worker = Rc::clone(&conn.worker);
    let private = cluster.is_greeted();
    let want = want(&worker, cluster, endpoint, private, Offer::Http1, began);
    let carrier = match carrier(conn, state, cluster) {
        Some(carrier) => carrier,
        None => learn(conn, state, ledger, want, &in_flight, patience).await?,
    };
    let lease = match carrier {
        Carrier::Http1 => None,
        Carrier::Http2 => {
            let offer = Offer::Http2;
            let switches = upload::switches(conn, state);
            let acquiring = stream(&worker, Want { offer, ..want }, switches);
            let (lease, origin, able) =
                acquire(conn, state, ledger, began, &in_flight, patience, acquiring).await?;
            able.then_some((lease, origin))
        }
    };
    let speaks = match lease {
        Some(_) => Carrier::Http2,
        None => Carrier::Http1,
    };
    fits(kept.as_ref(), speaks)?;
    let (mut upstream, mut upload, origin);
    if let Some((lease, reused)) = lease {
        origin = reused;
        pass_on_deadline(state, ledger, patience)?;
        (upstream, upload) = open(conn, state, cluster, kept, lease)?;
        ledger.up_sent += state.head.len() as u64;
    } else if cluster.speaks_http1() {
        let acquiring = worker.pools.acquire(want);
        let connection;
        (connection, origin) =
            acquire(conn, state, ledger, began, &in_flight, patience, acquiring).await?;
        pass_on_deadline(state, ledger, patience)?;
        upstream = Upstream::Http1(connection);
        upload = match kept.take() {
            Some(transfer) => Upload::new(transfer),
            None => upload::start(conn, state, cluster, private),
        };
        ledger.up_sent += upload.waiting();
    } else {
        return Err(not_sent(Failure::from(Cause::TunnelNotOffered)));
    }
    let outcome = head::head(conn, state, cluster, &mut upstream, &mut upload, patience).await;
    let head_at = now();
    match outcome {
        Ok(()) => {
            ledger.head_at = head_at;
            ledger.upstream_status = match (&upstream, state.response.status) {
                // It is shown as what HTTP/1 would have said.
                (Upstream::Http2(_), 101) => 200,
                (_, status) => status,
            };
            ledger.up_received += state.response.len as u64;
            if ledger.call.is_some() {
                ledger.grpc_status = grpc_codes::status_in_head(&state.answer());
            }
            answered(conn, ledger, cluster, &in_flight);
            let exchange = Exchange {
                upstream,
                in_flight,
                upload,
            };
            Ok(match state.response.status {
                101 => Answered::Switched(exchange),
                _ => Answered::Response(exchange),
            })
        }
        Err(lost) => {
            if lost.failure.cause.side() == Side::Upstream && lost.unprocessed != Again::Left {
                in_flight.fail(head_at);
            }
            let how = (upstream.carrier(), origin);
            Err(failed(state, ledger, &lost, how, upload, kept))
        }
    }
}

/// What an endpoint speaks that may choose.
async fn learn(
    conn: &mut Conn,
    state: &mut State,
    ledger: &mut Ledger,
    want: Want<'_>,
    in_flight: &InFlight,
    patience: &mut Patience,
) -> Result<Carrier, Failed> {
    let worker = Rc::clone(&conn.worker);
    if let Some(http2) = worker.pools.learned(&want) {
        return Ok(by(http2));
    }
    let learning = Box::pin(worker.pools.learn(want));
    let learned = acquire(conn, state, ledger, want.now, in_flight, patience, learning).await?;
    Ok(by(learned))
}

/// A stream to an endpoint, and whether it can carry the request: one that `switches` protocols
/// needs an endpoint that takes extended CONNECT.
async fn stream(
    worker: &Worker,
    want: Want<'_>,
    switches: bool,
) -> Result<(Lease, Origin, bool), Failure> {
    let (lease, origin) = worker.pools.acquire_stream(want).await?;
    let able = !switches || lease.takes_tunnels().await?;
    Ok((lease, origin, able))
}

/// Sends the request's head on a stream, and lines up its body behind it.
fn open(
    conn: &Conn,
    state: &mut State,
    cluster: &Cluster,
    kept: &mut Option<Transfer>,
    lease: Lease,
) -> Result<(Upstream, Upload), Failed> {
    let mut block = std::mem::take(&mut state.to_upstream);
    block.clear();
    let sent = upload::request(conn, state, cluster, &mut block)
        .map_err(never_sent)
        .and_then(|Written { asks, protocol }| {
            let end = protocol.is_none() && upload::is_empty(state.request.body);
            // A connection that takes no more was found out too late: nothing was sent on it.
            let stream = lease.send(&block, end, asks).map_err(not_sent)?;
            Ok((stream, protocol))
        });
    block.clear();
    state.to_upstream = block;
    let (stream, protocol) = sent?;
    let upload = match kept.take() {
        Some(transfer) => Upload::new(transfer),
        None => upload::start_stream(conn, state),
    };
    let upstream = Upstream::Http2(Box::new(ClientStream {
        stream,
        protocol,
        lease,
    }));
    Ok((upstream, upload))
}

/// Whether what an earlier try has begun can go on to this endpoint.
fn fits(kept: Option<&Transfer>, carrier: Carrier) -> Result<(), Failed> {
    if kept.is_none_or(|begun| begun.goes_to(carrier)) {
        return Ok(());
    }
    let detail = "and the next endpoint speaks another version of HTTP";
    Err(never_sent(Failure::new(Cause::UpstreamReset, detail)))
}

/// HTTP/2 cannot carry it to any endpoint.
fn never_sent(failure: Failure) -> Failed {
    Failed {
        failure,
        again: Again::No,
    }
}

/// This endpoint was sent nothing.
fn not_sent(failure: Failure) -> Failed {
    Failed {
        failure,
        again: Again::Safe,
    }
}

/// Writes into a call's head what is left of its time.
fn pass_on_deadline(
    state: &mut State,
    ledger: &mut Ledger,
    patience: &Patience,
) -> Result<(), Failed> {
    let Some(call) = ledger.call else {
        return Ok(());
    };
    grpc::pass_on_deadline(call, state, patience, ledger.sent_at).map_err(|failure| {
        ledger.sent_at = 0;
        never_sent(failure)
    })
}

/// Tells balancer and metrics of an answer.
fn answered(conn: &Conn, ledger: &Ledger, cluster: &Cluster, in_flight: &InFlight) {
    let latency = ledger.head_at.saturating_sub(ledger.sent_at);
    let cells = cluster.cells.at(conn.worker.id);
    cells.latency.observe(Duration::from_nanos(latency));
    if ledger.upstream_status >= 500 || ledger.grpc_status.is_some_and(grpc_codes::is_failure) {
        in_flight.fail(ledger.head_at);
    } else {
        in_flight.observe(latency, ledger.head_at);
    }
}

/// Judges whether the request may be sent again, and keeps what is needed for it.
fn failed(
    state: &mut State,
    ledger: &mut Ledger,
    lost: &Lost,
    (carrier, origin): (Carrier, Origin),
    mut upload: Upload,
    kept: &mut Option<Transfer>,
) -> Failed {
    let closed = lost.failure.cause == Cause::UpstreamClosed && state.upstream.is_empty();
    // Over HTTP/2 the head has left in any case, and only the endpoint can say that it did not matter.
    let unseen = match carrier {
        Carrier::Http1 => Again::safe_if(closed),
        Carrier::Http2 => lost.unprocessed,
    };
    let untouched = unseen != Again::No && upload.rewind();
    let repeatable = closed
        && origin == Origin::Reused
        && state.request.method.is_idempotent()
        && state.request.body == Body::None;
    let (moved, transfer) = upload.into_transfer();
    if untouched {
        *kept = Some(transfer);
    } else {
        ledger.body_received += moved;
        state.to_upstream = transfer.finish(&mut state.downstream);
    }
    state.upstream.clear();
    Failed {
        failure: lost.failure,
        again: if untouched {
            unseen
        } else {
            Again::safe_if(repeatable)
        },
    }
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
