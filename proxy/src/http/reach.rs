//! From a chosen cluster to an endpoint of it: which one, and a connection or a stream to it.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
};

use super::{
    Conn, forwarded,
    patience::Patience,
    record::Ledger,
    transfer::Carrier,
    watch::{impatience, poll_gone},
};
use crate::{
    cluster::{
        Cluster, PickContext,
        endpoint::{Endpoint, InFlight},
    },
    error::{Cause, Failure},
    message::{RequestView, Version},
    route::Rule,
    shared::{State, Worker},
    timer::now,
    tls::Offer,
    upstream::{Connection, Want},
};

/// A failed try, and whether another one is safe.
pub(super) struct Failed {
    pub(super) failure: Failure,
    pub(super) safe: bool,
}

/// What the cluster's endpoints are spoken to with; `None`: each endpoint of it chooses.
pub(super) fn carrier(conn: &Conn, state: &State, cluster: &Cluster) -> Option<Carrier> {
    let request = &state.request;
    if cluster.lets_choose() {
        // No other protocol begins on a connection that is shared.
        let upgrades = &conn.listener.http.upgrades;
        return forwarded::upgrade_allowed(&state.head, request, upgrades)
            .then_some(Carrier::Http1);
    }
    Some(by(cluster.speaks_http2(request.version == Version::Http2)))
}

pub(super) fn by(http2: bool) -> Carrier {
    if http2 {
        Carrier::Http2
    } else {
        Carrier::Http1
    }
}

/// A connection that this client alone will use, to an endpoint that can be reached.
pub(super) async fn private(
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
        begin(conn, ledger, rule, &endpoint, patience, began)?;
        let in_flight = endpoint.start();
        let worker = Rc::clone(&conn.worker);
        let acquiring = worker.pools.acquire(want(
            &worker,
            cluster,
            &endpoint,
            true,
            Offer::Nothing,
            began,
        ));
        match acquire(conn, state, ledger, began, &in_flight, patience, acquiring).await {
            Ok((connection, _)) => return Ok((connection, in_flight)),
            Err(failed) => tried.judge(&failed, &endpoint, cluster, conn)?,
        }
    }
}

/// Endpoints this request has tried.
#[derive(Default)]
pub(super) struct Tried {
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
    pub(super) fn judge(
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

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn ids(&self) -> &[u32] {
        self.ids.get(..self.count).unwrap_or_default()
    }
}

/// The endpoint that the client's cookie names, if it may be used.
pub(super) fn session_endpoint(
    state: &State,
    rule: &Rule,
    cluster: &Cluster,
) -> Option<Arc<Endpoint>> {
    let session = rule.session.as_ref()?;
    let view = RequestView {
        bytes: &state.head,
        head: &state.request,
    };
    let token = view.cookie(session.cookie.as_bytes())?;
    cluster.endpoint_by_token(token).filter(|e| e.is_usable())
}

/// The balancer's choice among those that were not tried.
pub(super) fn pick(
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
///
/// # Errors
/// The request's time is up: nobody would wait for what the try brings.
pub(super) fn begin(
    conn: &Conn,
    ledger: &mut Ledger,
    rule: &Rule,
    endpoint: &Arc<Endpoint>,
    patience: &mut Patience,
    began: u64,
) -> Result<(), Failure> {
    if let Some(failure) = patience.spent(began) {
        return Err(failure);
    }
    ledger.tries += 1;
    ledger.endpoint = Some(Arc::clone(endpoint));
    patience.begin_try(began, rule.backend_timeout);
    patience.arm(&conn.timer, began);
    Ok(())
}

pub(super) fn want<'a>(
    worker: &'a Worker,
    cluster: &'a Arc<Cluster>,
    endpoint: &'a Arc<Endpoint>,
    private: bool,
    offer: Offer,
    now: u64,
) -> Want<'a> {
    Want {
        cluster,
        endpoint,
        worker: worker.id,
        workers: worker.process.workers,
        private,
        offer,
        now,
        spare: &worker.spare,
        behind: &worker.behind,
    }
}

/// A connection or stream for a try, unless the client leaves or time runs out first, and the time that took.
pub(super) async fn acquire<T>(
    conn: &mut Conn,
    state: &mut State,
    ledger: &mut Ledger,
    began: u64,
    in_flight: &InFlight,
    patience: &mut Patience,
    acquiring: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failed> {
    let mut waited = false;
    let mut acquiring = pin!(acquiring);
    let acquired = poll_fn(|cx| {
        if let Poll::Ready(done) = acquiring.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        waited = true;
        let on_pause = || Cause::ConnectTimeout;
        if let Some(failure) = impatience(conn, cx, patience, &mut false, on_pause) {
            return Poll::Ready(Err(failure));
        }
        if poll_gone(conn, state, cx) {
            Poll::Ready(Err(Failure::new(Cause::ClientGone, "while connecting")))
        } else {
            Poll::Pending
        }
    })
    .await;
    // A kept connection is there at once: no time passed that is worth a look at the clock.
    ledger.sent_at = if waited { now() } else { began };
    ledger.connecting += ledger.sent_at.saturating_sub(began);
    acquired.map_err(|failure| {
        in_flight.fail(ledger.sent_at);
        ledger.sent_at = 0;
        // Connecting failed: nothing was sent. Waiting for a place is not worth a second endpoint.
        let safe = failure.cause.is_connect_failure();
        Failed { failure, safe }
    })
}
