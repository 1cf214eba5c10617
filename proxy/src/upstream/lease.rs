//! One HTTP/2 connection to an endpoint, and the place of a request's stream on it. Which connection
//! a request gets, and what keeps one going, stands in `multiplexed`.

use std::{cell::Cell, rc::Rc, sync::Arc};

use tokio::{sync::Notify, time::timeout};

use super::pool::Pool;
use crate::{
    cluster::Cluster,
    error::{Cause, Failure},
    h2::{
        Stream,
        link::{Asks, Sender},
    },
    timer::now,
    tls::End,
};

/// One HTTP/2 connection.
pub(super) struct Link {
    pub(super) cluster: Arc<Cluster>,
    pub(super) sender: Sender,
    /// Streams in use.
    pub(super) streams: Cell<u32>,
    /// Streams that were used, ever.
    pub(super) requests: Cell<u32>,
    pub(super) opened: u64,
    pub(super) end: End,
    pub(super) idle_since: Cell<u64>,
    /// It gets no more streams.
    pub(super) leaving: Cell<bool>,
    /// Why it ended, where that is known better than from what its streams see.
    pub(super) why: Cell<Option<Failure>>,
    pub(super) stage: Cell<Stage>,
    /// Tells of every new stage.
    pub(super) staged: Notify,
}

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    New,
    /// The endpoint's first SETTINGS hold: how many streams it takes, and whether tunnels.
    Told,
    Ended,
}

/// One stream's place on a connection, until it is dropped.
pub(crate) struct Lease {
    link: Rc<Link>,
    pool: Rc<Pool>,
}

impl Link {
    pub(super) fn enter(&self, stage: Stage) {
        self.stage.set(stage);
        self.staged.notify_waiters();
    }

    /// Whether a stream may be opened now. `None`: never again.
    pub(super) fn has_room(&self) -> Option<bool> {
        if self.leaving.get() || !self.sender.is_open() {
            return None;
        }
        let theirs = self.sender.max_streams().unwrap_or(1);
        let most = theirs.min(self.cluster.config.http2.max_streams);
        Some(self.streams.get() < most)
    }

    pub(super) fn is_spent(&self, now: u64) -> bool {
        let settings = &self.cluster.config.pool;
        let too_old = !settings.max_lifetime.is_zero()
            && now.saturating_sub(self.opened) >= settings.max_lifetime.as_nanos() as u64;
        too_old
            || self.end.is_near(now)
            || (settings.max_requests > 0 && self.requests.get() >= settings.max_requests)
    }
}

impl Lease {
    pub(super) fn new(link: Rc<Link>, pool: &Rc<Pool>) -> Self {
        link.streams.set(link.streams.get() + 1);
        Self {
            link,
            pool: Rc::clone(pool),
        }
    }

    /// Whether the endpoint takes extended CONNECT (RFC 8441 section 3). Its first SETTINGS say so,
    /// and are waited for on a connection that is new, as long as for the connection itself.
    ///
    /// # Errors
    /// They did not come in time, or the connection ended without. Nothing was sent.
    pub(crate) async fn takes_tunnels(&self) -> Result<bool, Failure> {
        let link = &self.link;
        // From here on it hears what is told.
        let staged = link.staged.notified();
        if link.stage.get() == Stage::New {
            let patience = link.cluster.config.connect_timeout;
            let late = |_| Failure::new(Cause::ConnectTimeout, "no SETTINGS");
            timeout(patience, staged).await.map_err(late)?;
        }
        if link.stage.get() == Stage::Ended {
            let detail = "the connection ended before the request was sent";
            return Err(Failure::new(Cause::UpstreamClosed, detail));
        }
        Ok(link.sender.takes_tunnels())
    }

    /// Opens a stream with a request's header block. `end`: nothing follows.
    ///
    /// # Errors
    /// The connection takes no more requests: nothing was sent.
    pub(crate) fn send(&self, block: &[u8], end: bool, asks: Asks) -> Result<Stream, Failure> {
        self.link.sender.open(block, end, asks).ok_or_else(|| {
            self.pool.links.forget(&self.link);
            let detail = "the connection takes no more requests";
            Failure::new(Cause::UpstreamClosed, detail)
        })
    }

    /// Why the connection ended, where we ended it.
    pub(crate) fn why(&self) -> Option<Failure> {
        self.link.why.get()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.link.streams.set(self.link.streams.get() - 1);
        if self.link.streams.get() == 0 {
            self.link.idle_since.set(now());
        }
        self.pool.wake_one();
    }
}
