//! A connection that is not ours to understand: an endpoint of its cluster, and bytes both ways.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::io::AsyncWriteExt;

use super::{First, Tls, early, give_back, log};
use crate::{
    cluster::{
        Cluster, PickContext,
        endpoint::{Endpoint, InFlight},
    },
    drain::Phase,
    error::{Cause, Failure},
    http::{self, Bounds, Conn, Told},
    net::first_speaker::FirstSpeaker,
    tcp::{self, Watch, Way},
    telemetry::metrics::Spoke,
    timer::now,
    tls::Offer,
    upstream::{Connection, Want},
};

/// Forwards a connection to an endpoint of a cluster, to its end.
pub(super) async fn serve(mut conn: Box<Conn>, cluster: Arc<Cluster>, mut first: First) {
    let mut seen = Seen {
        began: now(),
        told: first.told.take(),
        tls: first.tls.take(),
        endpoint: None,
        tries: 0,
        up: 0,
        down: 0,
        failure: None,
    };
    let own = conn.listener.cluster.as_ref();
    if !own.is_some_and(|own| Arc::ptr_eq(own, &cluster)) {
        first.goes_elsewhere(&conn);
    }
    let mut header = Vec::new();
    let dialing = if let Some(early) = first.early.take() {
        if first.spoke != Some(Spoke::ServerFirst) {
            early::used(&conn);
        }
        early.dialing()
    } else {
        http::greeting(&conn, &cluster, &mut header);
        Box::pin(dial(&conn, &cluster, Vec::new()))
    };
    let reached = finish(&conn, dialing).await;
    seen.endpoint = reached.endpoint;
    seen.tries = reached.tries;
    match reached.result {
        Ok(dialed) => {
            if seen.tls.is_some() {
                cluster.cells.at(conn.worker.id).tls_connections.inc();
            }
            let learns = first.spoke == Some(Spoke::Silent);
            forward(
                &mut conn,
                &cluster,
                &mut seen,
                dialed,
                (header, first),
                learns,
            )
            .await;
        }
        Err(failure) => {
            give_back(&conn.worker, first.state);
            // The client learns of it as it would from the endpoint itself.
            if let Some(stream) = conn.side.stream() {
                stream.reset_on_drop();
            }
            seen.failure = Some(failure);
        }
    }
    seen.close(&conn, &cluster);
}

async fn forward(
    conn: &mut Conn,
    cluster: &Cluster,
    seen: &mut Seen,
    mut dialed: Dialed,
    (mut header, first): (Vec<u8>, First),
    learns: bool,
) {
    dialed.in_flight.observe(dialed.took, now());
    let worker = Rc::clone(&conn.worker);
    let listener = Arc::clone(&conn.listener);
    let ours = header.len() as u64;
    let mut watch = Listening {
        bounds: Bounds::new(
            (&worker, &listener, cluster),
            &conn.timer,
            conn.opened,
            conn.end().at.min(dialed.connection.end.at),
        ),
        learns: learns.then_some(&listener.first_speaker),
    };
    let (mut up, mut down) = (first.bytes(), &[][..]);
    if let Some(state) = &first.state {
        down = state.upstream.filled();
    }
    if !header.is_empty() {
        header.extend_from_slice(up);
        up = &header;
    }
    let Some(stream) = conn.side.stream() else {
        return;
    };
    let forwarding = tcp::forward(
        stream.into(),
        (&mut dialed.connection.stream).into(),
        &worker.bulk,
        (up, down),
        &mut watch,
    );
    // What they held was taken over: a quiet connection holds no buffer.
    drop(header);
    give_back(&worker, first.state);
    let summary = forwarding.await;
    seen.up = summary.up_bytes.saturating_sub(ours);
    seen.down = summary.down_bytes;
    seen.failure = summary.end.cause().map(Failure::from);
}

/// The bounds of a connection, and who is the first to speak on it where nobody had when it was
/// taken to be opaque.
struct Listening<'a> {
    bounds: Bounds<'a>,
    learns: Option<&'a FirstSpeaker>,
}

impl Watch for Listening<'_> {
    fn moved(&mut self, way: Way, bytes: usize) {
        if let Some(seen) = self.learns.take()
            && way == Way::Down
        {
            seen.greeted(now());
        }
        self.bounds.moved(way, bytes);
    }

    fn may_hold(&mut self, cx: &mut Context<'_>, bytes: usize, progress: bool) -> bool {
        self.bounds.may_hold(cx, bytes, progress)
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<Cause> {
        self.bounds.poll_expired(cx)
    }
}

/// A connection of its own to an endpoint.
pub(super) struct Dialed {
    pub(super) connection: Connection,
    in_flight: InFlight,
    /// Nanoseconds that connecting took.
    took: u64,
}

/// What dialing came to.
pub(super) struct Reached {
    pub(super) result: Result<Dialed, Failure>,
    endpoint: Option<Arc<Endpoint>>,
    tries: u32,
}

/// A connection that is being dialed.
pub(super) type Dialing = Pin<Box<dyn Future<Output = Reached>>>;

/// Dials an endpoint, within the limits of the pool; where connecting fails, another one is tried.
/// `header` is what a connection begins with, if it is to be sent at once.
pub(super) fn dial(
    conn: &Conn,
    cluster: &Arc<Cluster>,
    header: Vec<u8>,
) -> impl Future<Output = Reached> + use<> {
    let worker = Rc::clone(&conn.worker);
    let cluster = Arc::clone(cluster);
    let hash = cluster.hash_connection(conn.peer.map(|p| p.ip()));
    async move {
        let mut tried = Vec::new();
        let mut endpoint = None;
        let result = loop {
            let began = now();
            let picked = cluster.pick(&PickContext {
                hash,
                now: began,
                random: &worker.random,
                tried: &tried,
            });
            let Some(picked) = picked else {
                break Err(Failure::from(cluster.absence()));
            };
            let chosen = endpoint.insert(picked);
            tried.push(chosen.id);
            let in_flight = chosen.start();
            let want = Want {
                cluster: &cluster,
                endpoint: chosen,
                worker: worker.id,
                workers: worker.process.workers,
                private: true,
                offer: Offer::Nothing,
                now: began,
                spare: &worker.spare,
                behind: &worker.behind,
            };
            match worker.pools.acquire(want).await {
                Ok((mut connection, _)) => {
                    if connection.stream.write_all(&header).await.is_err() {
                        in_flight.fail(now());
                        break Err(Failure::from(Cause::UpstreamClosed));
                    }
                    break Ok(Dialed {
                        connection,
                        in_flight,
                        took: now().saturating_sub(began),
                    });
                }
                Err(failure) => {
                    in_flight.fail(now());
                    if !failure.cause.is_connect_failure()
                        || tried.len() > cluster.config.safe_resends as usize
                    {
                        break Err(failure);
                    }
                }
            }
        };
        Reached {
            result,
            endpoint,
            tries: tried.len() as u32,
        }
    }
}

/// Waits for what dialing comes to.
async fn finish(conn: &Conn, mut dialing: Dialing) -> Reached {
    poll_fn(|cx| {
        if conn.phase() == Phase::Cut {
            return Poll::Ready(Reached {
                result: Err(Failure::from(Cause::Draining)),
                endpoint: None,
                tries: 0,
            });
        }
        // Only to be woken when the process moves on; connecting has its own limit.
        let _ = conn.timer.poll_expired(cx);
        dialing.as_mut().poll(cx)
    })
    .await
}

/// Facts of one connection.
struct Seen {
    began: u64,
    told: Option<Told>,
    tls: Option<Tls>,
    endpoint: Option<Arc<Endpoint>>,
    tries: u32,
    up: u64,
    down: u64,
    failure: Option<Failure>,
}

impl Seen {
    fn close(&self, conn: &Conn, cluster: &Cluster) {
        let cells = conn.listener.cells.at(conn.worker.id);
        if let Some(failure) = &self.failure {
            cells.failures.inc(failure.cause);
        }
        log(conn, self.tls.as_ref(), self.failure.as_ref(), |record| {
            record.duration = Duration::from_nanos(now().saturating_sub(self.began));
            record.received = self.up;
            record.sent = self.down;
            record.cluster = Some(&cluster.name);
            record.endpoint = self.endpoint.as_ref().map(|e| &*e.name);
            record.attempts = self.tries;
            if let Some(told) = &self.told {
                told.log(record);
            }
        });
    }
}
