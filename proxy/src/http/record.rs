//! What is remembered of one exchange, and told to metrics and the access log when it ends.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Conn, grpc::Call, guarded::Told};
use crate::{
    cluster::{Cluster, endpoint::Endpoint},
    error::Failure,
    message::{Known, RequestView, Version},
    route::Rule,
    shared::State,
    telemetry::access_log::{Kind, LogHandle, Record},
    timer::now,
};

/// Facts of one exchange. Times are nanoseconds since the process began; 0 is "not yet".
#[derive(Default)]
pub(super) struct Ledger {
    /// When the head was complete.
    pub(super) began: u64,
    /// Time spent waiting for a connection.
    pub(super) connecting: u64,
    /// When the request was about to be written, and when the response's head was there.
    pub(super) sent_at: u64,
    pub(super) head_at: u64,
    /// When the response's head was handed on.
    pub(super) answered_at: u64,
    pub(super) rule: Option<Arc<Rule>>,
    /// What a policy said against it.
    pub(super) told: Option<Told>,
    pub(super) cluster: Option<Used>,
    pub(super) endpoint: Option<Arc<Endpoint>>,
    pub(super) tries: u32,
    /// The status the client was sent; 0: none.
    pub(super) status: u16,
    pub(super) failure: Option<Failure>,
    /// Bytes of heads and own answers, taken from and sent to the client.
    pub(super) received: u64,
    pub(super) sent: u64,
    /// The endpoint answered with this; counts for the cluster.
    pub(super) upstream_status: u16,
    /// Bytes of heads sent to and received from endpoints; bodies count as the client's.
    pub(super) up_sent: u64,
    pub(super) up_received: u64,
    /// Payload of the request and of the response.
    pub(super) body_received: u64,
    pub(super) body_sent: u64,
    /// It is a gRPC call.
    pub(super) call: Option<Call>,
    /// What its trailers said, or those that stand in the head, or we.
    pub(super) grpc_status: Option<u32>,
    /// Bytes taken from and given to the client after the protocol was switched.
    pub(super) tunnel: Option<(u64, u64)>,
}

/// A cluster that a request is in flight to.
pub(super) struct Used {
    cluster: Arc<Cluster>,
    worker: usize,
}

impl Used {
    pub(super) fn new(cluster: &Arc<Cluster>, worker: usize) -> Self {
        cluster.cells.at(worker).active.inc();
        Self {
            cluster: Arc::clone(cluster),
            worker,
        }
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        self.cluster.cells.at(self.worker).active.dec();
    }
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self {
            began: now(),
            ..Self::default()
        }
    }

    /// Time in this proxy: from the head to the first write, without connecting, and from the
    /// response's head to its first write.
    fn overhead(&self, ended: u64) -> u64 {
        if self.sent_at == 0 {
            return ended
                .saturating_sub(self.began)
                .saturating_sub(self.connecting);
        }
        let before = self
            .sent_at
            .saturating_sub(self.began)
            .saturating_sub(self.connecting);
        let after = if self.head_at == 0 {
            0
        } else {
            self.answered_at.saturating_sub(self.head_at)
        };
        before + after
    }

    /// Counts and logs. Called once, whatever happened. Returns when that was.
    pub(super) fn close(&mut self, conn: &Conn, state: &State) -> u64 {
        let ended = now();
        let worker = conn.worker.id;
        let listener = conn.listener.cells.at(worker);
        listener.received.add(self.received + self.body_received);
        listener.sent.add(self.sent + self.body_sent);
        let duration = Duration::from_nanos(ended.saturating_sub(self.began));
        let overhead = Duration::from_nanos(self.overhead(ended));
        match &self.rule {
            Some(rule) => {
                let cells = rule.cells.at(worker);
                if let Some(class) = cells.responses.get(usize::from(self.status / 100)) {
                    class.inc();
                }
                if self.call.is_some() {
                    cells.called(self.grpc_status);
                }
                cells.duration.observe(duration);
                cells.overhead.observe(overhead);
                if let Some(failure) = &self.failure {
                    cells.failures.inc(failure.cause);
                }
            }
            None => {
                if let Some(failure) = &self.failure {
                    listener.failures.inc(failure.cause);
                }
            }
        }
        if let Some(used) = self.cluster.as_ref().filter(|_| self.sent_at > 0) {
            let cells = used.cluster.cells.at(worker);
            if let Some(class) = cells.responses.get(usize::from(self.upstream_status / 100)) {
                class.inc();
            }
            cells.sent.add(self.up_sent + self.body_received);
            cells.received.add(self.up_received + self.body_sent);
        }
        if let Some(log) = conn.worker.log() {
            self.log(&log, conn, state, duration, overhead);
        }
        ended
    }

    fn log(
        &self,
        log: &LogHandle,
        conn: &Conn,
        state: &State,
        duration: Duration,
        overhead: Duration,
    ) {
        let view = RequestView {
            bytes: &state.head,
            head: &state.request,
        };
        // A head that was refused while it was read has spans of an earlier one.
        let parsed = state.request.len == state.head.len() && !state.head.is_empty();
        let upstream = (self.head_at > 0)
            .then(|| Duration::from_nanos(self.head_at.saturating_sub(self.sent_at)));
        let first = |name: &'static [u8]| {
            if parsed {
                view.values(name).next()
            } else {
                None
            }
        };
        let mut record = Record {
            time: SystemTime::now() - duration,
            kind: Kind::Http,
            listener: &conn.listener.name,
            tunnel_received: self.tunnel.map(|(up, _)| up),
            tunnel_sent: self.tunnel.map(|(_, down)| down),
            client: conn.peer,
            method: parsed.then(|| view.method()),
            path: parsed.then(|| state.edits.path.as_deref().unwrap_or_else(|| view.path())),
            host: parsed.then(|| view.authority()),
            protocol: parsed.then_some(match state.request.version {
                Version::Http10 => "HTTP/1.0",
                Version::Http11 => "HTTP/1.1",
                Version::Http2 => "HTTP/2",
            }),
            status: (self.status > 0 || self.failure.is_some()).then(|| self.logged_status()),
            grpc_status: self.grpc_status.filter(|_| self.call.is_some()),
            received: self.received + self.body_received,
            sent: self.sent + self.body_sent,
            user_agent: first(b"user-agent"),
            // The client's, or the one we made.
            request_id: view.known(Known::XRequestId).filter(|_| parsed),
            traceparent: first(b"traceparent"),
            route: self.rule.as_ref().map(|r| &*r.route),
            cluster: self.cluster.as_ref().map(|used| &*used.cluster.name),
            endpoint: self.endpoint.as_ref().map(|e| &*e.name),
            attempts: self.tries,
            duration,
            upstream,
            overhead: Some(overhead),
            cause: self.failure.as_ref().map(|f| f.cause),
            detail: self.failure.as_ref().map_or("", |f| f.detail),
            ..Record::new(SystemTime::UNIX_EPOCH, Kind::Http, "")
        };
        if let Some(secured) = &conn.secured {
            secured.log(&mut record);
        }
        if let Some(told) = &self.told {
            told.log(&mut record);
        }
        log.log(&record);
    }

    /// What is logged where nothing was sent: 499 for a client that left, else the cause's status.
    fn logged_status(&self) -> u16 {
        match (&self.failure, self.status) {
            (Some(failure), 0) => failure.cause.status(),
            (_, status) => status,
        }
    }
}
