//! A listener's cluster, dialed before its client has spoken: when, and what becomes of it.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use outrigger_config::model::{SendProxyProtocol, SpeaksFirst};

use super::opaque::{Dialing, Reached, dial};
use crate::{
    cluster::Cluster,
    http::{self, Conn},
    shared::State,
    snapshot::Listener,
    telemetry::metrics::EarlyDial,
    timer::now,
};

/// How long a client's silence is waited through. `None`: the cluster is not dialed early. That will
/// also be the answer where a policy judges requests: nothing may pass there that is not read.
pub(super) fn wait(listener: &Listener, cluster: &Cluster) -> Option<Duration> {
    let settings = &listener.config;
    let wait = match cluster.config.speaks_first {
        SpeaksFirst::Never => return None,
        SpeaksFirst::Always => Duration::ZERO,
        SpeaksFirst::Learn => listener.first_speaker.wait(settings.dial_after, now()),
    };
    // Then it is dialed anyhow.
    Some(wait).filter(|wait| *wait < settings.detect_timeout)
}

/// A connection to an endpoint of the cluster, or the way there.
pub(super) struct Early {
    cluster: Arc<Cluster>,
    dialed_at: u64,
    step: Step,
}

enum Step {
    Dialing(Dialing),
    There(Reached),
}

impl Early {
    /// Begins to dial. A PROXY header goes ahead: the server may wait for it before it speaks.
    pub(super) fn dial(conn: &Conn, cluster: &Arc<Cluster>) -> Box<Self> {
        let mut header = Vec::new();
        http::greeting(conn, cluster, &mut header);
        Box::new(Self {
            cluster: Arc::clone(cluster),
            dialed_at: now(),
            step: Step::Dialing(Box::pin(dial(conn, cluster, header))),
        })
    }

    /// Whether the server has spoken; what it said is in the state then. `false`: there is no
    /// connection, or it has ended.
    pub(super) fn poll_spoken(
        &mut self,
        cx: &mut Context<'_>,
        state: &mut Option<Box<State>>,
        take: impl FnOnce() -> Box<State>,
    ) -> Poll<bool> {
        if let Step::Dialing(dialing) = &mut self.step {
            self.step = Step::There(ready!(dialing.as_mut().poll(cx)));
        }
        let Step::There(Reached {
            result: Ok(dialed), ..
        }) = &mut self.step
        else {
            return Poll::Ready(false);
        };
        let stream = &mut dialed.connection.stream;
        if ready!(stream.poll_read_ready(cx)).is_err() {
            return Poll::Ready(false);
        }
        let buffer = &mut state.get_or_insert_with(take).upstream;
        match ready!(stream.poll_read_into(cx, buffer.spare())) {
            Ok(n) if n > 0 => {
                buffer.received(n);
                Poll::Ready(true)
            }
            _ => Poll::Ready(false),
        }
    }

    /// The connection, in the state that it is in.
    pub(super) fn dialing(self) -> Dialing {
        match self.step {
            Step::Dialing(dialing) => dialing,
            Step::There(reached) => Box::pin(std::future::ready(reached)),
        }
    }

    /// The client spoke first, and goes elsewhere. Where its requests may go to the same cluster,
    /// the connection can serve them; else it is closed.
    pub(super) fn let_go(self, conn: &Conn) {
        let listener = &conn.listener;
        listener.first_speaker.dialed_in_vain(self.dialed_at, now());
        count(conn, EarlyDial::InVain);
        let is_shared = self.cluster.config.proxy_protocol == SendProxyProtocol::Off;
        if let Step::There(Reached {
            result: Ok(dialed), ..
        }) = self.step
            && is_shared
            && listener.is_routed_to
        {
            let workers = conn.worker.process.workers;
            dialed.connection.release(now(), None, workers);
        }
    }
}

/// The server spoke first.
pub(super) fn greeted(conn: &Conn) {
    conn.listener.first_speaker.greeted(now());
    count(conn, EarlyDial::Greeted);
}

/// The connection serves a client that spoke first, or nobody has spoken.
pub(super) fn used(conn: &Conn) {
    count(conn, EarlyDial::Used);
}

/// The connection came to nothing, and nothing is learned from that.
pub(super) fn gone(conn: &Conn) {
    count(conn, EarlyDial::InVain);
}

fn count(conn: &Conn, outcome: EarlyDial) {
    let cells = conn.listener.cells.at(conn.worker.id);
    cells.dialed_early(outcome);
}
