//! What stops being HTTP: an upgrade after 101, and CONNECT, plain and extended. From there on bytes
//! pass both ways as in an opaque connection, and the connection, or the stream, serves nothing else.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use super::{
    Conn, Next,
    attempt::Exchange,
    exchange::Stop,
    forwarded,
    patience::Patience,
    reach,
    record::Ledger,
    reply,
    sides::{Downstream, Upstream},
    switch,
    transfer::Carrier,
    upload,
};
use outrigger_config::model::Direction;

use crate::{
    cluster::Cluster,
    drain::Phase,
    error::{Cause, Failure},
    filter::{self, ResponseContext},
    h1::{Delivery, write_response},
    h2::{self as http2, Code},
    message::{Body, Method, RequestView, ResponseView, Version},
    net::{behind::Hold, channel::Side, stream::Stream},
    route::{Backend, Rule},
    shared::{State, Worker},
    snapshot::Listener,
    tcp::{self, Watch, Way},
    telemetry::metrics::{ClusterCells, ListenerCells},
    timer::{Timer, now},
};

/// Passes the 101 on and joins the two connections.
pub(super) async fn upgrade(
    conn: &mut Conn,
    state: &mut State,
    ledger: &mut Ledger,
    rule: &Arc<Rule>,
    (backend, cluster): (&Backend, &Cluster),
    exchange: Exchange,
) -> Result<Next, Stop> {
    let Exchange {
        upstream,
        in_flight,
        upload,
    } = exchange;
    let (received, lent) = upload.finish(&mut state.downstream);
    ledger.body_received += received;
    state.to_upstream = lent;
    let mut out = std::mem::take(&mut state.to_downstream);
    out.clear();
    let view = match upstream.carrier() {
        Carrier::Http1 => ResponseView {
            bytes: state.upstream.filled(),
            head: &state.response,
        },
        Carrier::Http2 => ResponseView {
            bytes: &state.answer,
            head: &state.response,
        },
    };
    let edits = &mut state.response_edits;
    if upstream.carrier() == Carrier::Http2 && !conn.is_stream() {
        let request = RequestView {
            bytes: &state.head,
            head: &state.request,
        };
        switch::prove(&request, &view, edits);
    }
    forwarded::drop_listed(view.bytes, &view.head.fields, edits);
    let mut context = ResponseContext {
        response: view,
        edits,
    };
    filter::apply_to_response(&backend.filters, &mut context);
    filter::apply_to_response(&rule.filters, &mut context);
    if let Downstream::Http2(stream) = &mut conn.side {
        ledger.sent += view.head.len as u64;
        ledger.status = 200;
        http2::write_response(&mut out, &view, edits);
        stream.answer(&out, false)?;
        out.clear();
    } else {
        let delivery = Delivery {
            body: Body::None,
            close: false,
            version: Version::Http11,
            upgrade: true,
        };
        write_response(&mut out, &view, edits, delivery);
        ledger.sent += out.len() as u64;
        ledger.status = 101;
        reply::write_all(conn, &out).await.map_err(gone)?;
    }
    state.to_downstream = out;
    ledger.answered_at = now();
    let next = match upstream {
        Upstream::Http1(mut connection) => {
            state.upstream.consume(state.response.len);
            let stream = (&mut connection.stream).into();
            join(conn, state, ledger, cluster, stream).await
        }
        Upstream::Http2(stream) => {
            let mut channel = stream.into_channel();
            let next = join(conn, state, ledger, cluster, Side::Channel(&mut channel)).await;
            // The tunnel saw no more than that its connection broke.
            ledger.failure = channel.guard().why().or(ledger.failure.take());
            next
        }
    };
    drop(in_flight);
    next
}

/// The client can be told nothing else.
fn gone(failure: Failure) -> Stop {
    Stop {
        failure,
        answered: true,
    }
}

/// Connects to an endpoint of the route's cluster, says 200 and joins the two connections.
pub(super) async fn connect(
    conn: &mut Conn,
    state: &mut State,
    ledger: &mut Ledger,
    rule: &Arc<Rule>,
    cluster: &Arc<Cluster>,
    mut patience: Patience,
) -> Result<Next, Stop> {
    let (mut connection, in_flight) =
        reach::private(conn, state, ledger, rule, cluster, &mut patience).await?;
    let mut out = Vec::with_capacity(64);
    upload::greeting(conn, cluster, &mut out);
    if !out.is_empty() {
        write_to(&mut connection.stream, &out).await?;
        out.clear();
    }
    // RFC 9110 section 9.3.6: no framing fields in a 2xx to CONNECT.
    if let Downstream::Http2(stream) = &mut conn.side {
        http2::own_response(&mut out, 200, b"", None);
        stream.answer(&out, false)?;
    } else {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n\r\n");
        reply::write_all(conn, &out).await.map_err(gone)?;
    }
    ledger.status = 200;
    ledger.upstream_status = 200;
    ledger.head_at = now();
    ledger.answered_at = ledger.head_at;
    let next = join(
        conn,
        state,
        ledger,
        cluster,
        (&mut connection.stream).into(),
    )
    .await;
    drop(in_flight);
    next
}

/// A PROXY header fits the send buffer of a new connection; what does not take it is broken.
async fn write_to(stream: &mut Stream, bytes: &[u8]) -> Result<(), Failure> {
    use tokio::io::AsyncWriteExt;
    stream
        .write_all(bytes)
        .await
        .map_err(|_| Failure::from(Cause::UpstreamClosed))
}

async fn join(
    conn: &mut Conn,
    state: &mut State,
    ledger: &mut Ledger,
    cluster: &Cluster,
    upstream: Side<'_>,
) -> Result<Next, Stop> {
    let reset = if state.request.method == Method::Connect {
        Code::CONNECT_ERROR
    } else {
        Code::CANCEL
    };
    let mut channel = conn.side.take_channel(reset);
    let up = std::mem::take(&mut state.downstream);
    let down = std::mem::take(&mut state.upstream);
    let mut bounds = Bounds::new(
        (&conn.worker, &conn.listener, cluster),
        &conn.timer,
        conn.opened,
        conn.end().at,
    );
    let downstream = match (&mut channel, conn.side.stream()) {
        (Some(channel), _) => Side::Channel(channel),
        (None, Some(stream)) => Side::Socket(stream),
        (None, None) => return Err(Failure::new(Cause::Internal, "a tunnel of nothing").into()),
    };
    let forwarding = tcp::forward(
        downstream,
        upstream,
        &conn.worker.bulk,
        (up.filled(), down.filled()),
        &mut bounds,
    );
    // What they held was taken over: a quiet tunnel holds no buffer.
    drop((up, down));
    let summary = forwarding.await;
    ledger.tunnel = Some((summary.up_bytes, summary.down_bytes));
    // Who shares a connection that was cut may learn it from the connection first.
    let cut = conn.phase() == Phase::Cut;
    let cause = summary.end.cause();
    ledger.failure = cause.map(|cause| Failure::from(if cut { Cause::Draining } else { cause }));
    Ok(Next::Drop)
}

/// The bounds of a joined or opaque connection: idle time, age, and the life of the process.
pub(crate) struct Bounds<'a> {
    worker: &'a Worker,
    listener: &'a ListenerCells,
    cluster: &'a ClusterCells,
    direction: Direction,
    timer: &'a Timer,
    idle: u64,
    /// When it reaches its greatest age.
    end: u64,
    active_at: u64,
    /// What waits for a receiver that is behind, where that is not in sockets.
    held: Option<Hold>,
}

impl<'a> Bounds<'a> {
    pub(crate) fn new(
        (worker, listener, cluster): (&'a Worker, &'a Listener, &'a Cluster),
        timer: &'a Timer,
        opened: u64,
        ends: u64,
    ) -> Self {
        let unlimited = |d: Duration| {
            if d.is_zero() {
                u64::MAX
            } else {
                d.as_nanos() as u64
            }
        };
        let bounds = Self {
            worker,
            listener: listener.cells.at(worker.id),
            cluster: cluster.cells.at(worker.id),
            direction: listener.config.direction,
            timer,
            idle: unlimited(listener.config.idle_timeout),
            end: ends.min(opened.saturating_add(unlimited(listener.config.max_lifetime))),
            active_at: now(),
            held: None,
        };
        bounds.arm();
        bounds
    }

    fn arm(&self) {
        match self.end.min(self.active_at.saturating_add(self.idle)) {
            u64::MAX => self.timer.clear(),
            at => self.timer.set_at(at),
        }
    }
}

impl Watch for Bounds<'_> {
    /// Counted as they go: a connection may last for days.
    fn moved(&mut self, way: Way, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.active_at = now();
        let bytes = bytes as u64;
        match way {
            Way::Up => {
                self.listener.received.add(bytes);
                self.cluster.sent.add(bytes);
            }
            Way::Down => {
                self.cluster.received.add(bytes);
                self.listener.sent.add(bytes);
            }
        }
    }

    fn may_hold(&mut self, cx: &mut Context<'_>, bytes: usize, progress: bool) -> bool {
        if bytes == 0 {
            self.held = None;
            return true;
        }
        let behind = &self.worker.behind;
        let held = self.held.get_or_insert_with(|| Hold::new(behind));
        if progress {
            held.go_on();
        }
        held.set(bytes) && held.wait(cx.waker())
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<Cause> {
        loop {
            let expired = self.timer.poll_expired(cx).is_ready();
            if self.worker.phase(self.direction) == Phase::Cut {
                return Poll::Ready(Cause::Draining);
            }
            if !expired {
                return Poll::Pending;
            }
            let now = now();
            if now >= self.end {
                return Poll::Ready(Cause::LifetimeReached);
            }
            if now >= self.active_at.saturating_add(self.idle) {
                return Poll::Ready(Cause::IdleTimeout);
            }
            self.arm();
        }
    }
}
