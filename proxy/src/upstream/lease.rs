//! One HTTP/2 connection to an endpoint, and the place of a request's stream on it. Which connection
//! a request gets, and what keeps one going, stands in `multiplexed`.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use h2::{
    SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::Request;
use tokio::{sync::Notify, time::timeout};

use super::pool::Pool;
use crate::{
    cluster::Cluster,
    error::{Cause, Failure},
    h2::{self as http2, Piece, Queue},
    timer::now,
    tls::End,
};

/// One HTTP/2 connection.
pub(super) struct Link {
    pub(super) cluster: Arc<Cluster>,
    pub(super) sender: RefCell<SendRequest<Piece>>,
    /// Streams in use.
    pub(super) streams: Cell<u32>,
    /// Streams that were used, ever.
    pub(super) requests: Cell<u32>,
    pub(super) opened: u64,
    pub(super) end: End,
    pub(super) idle_since: Cell<u64>,
    /// It gets no more streams.
    pub(super) leaving: Cell<bool>,
    /// What payload for it is lined up in.
    pub(super) queue: Queue,
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

    /// Whether a stream may be opened now, or the connection is broken. Without a system call.
    ///
    /// A stream that was given up counts for the endpoint until it has been told. One that takes its
    /// place waits within h2 for that, which the connection's task does next.
    pub(super) fn poll_room(&self) -> Poll<Result<(), h2::Error>> {
        let mut sender = self.sender.borrow_mut();
        let theirs = match sender.current_max_send_streams() {
            http2::UNTOLD => 1,
            told => told,
        };
        let limit = theirs.min(self.cluster.config.http2.max_streams as usize);
        if self.leaving.get() || (self.streams.get() as usize) >= limit {
            return Poll::Pending;
        }
        // As nothing is sent by this sender itself, it says at once.
        sender.poll_ready(&mut Context::from_waker(Waker::noop()))
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
        let sender = link.sender.borrow();
        Ok(sender.is_extended_connect_protocol_enabled())
    }

    /// Sends a request's head. `end`: nothing follows.
    ///
    /// # Errors
    /// The connection takes no more requests: nothing was sent.
    pub(crate) fn send(
        &self,
        request: Request<()>,
        end: bool,
    ) -> Result<(ResponseFuture, SendStream<Piece>), Failure> {
        // A sender takes no request while its last one waits to be opened, and whoever asks it
        // whether that is so is woken in place of the request itself. Each has one of its own.
        let mut sender = self.link.sender.borrow().clone();
        let sent = sender.send_request(request, end);
        sent.map_err(|_| {
            self.pool.links.forget(&self.link);
            Failure::new(
                Cause::UpstreamClosed,
                "the connection takes no more requests",
            )
        })
    }

    /// What payload for the connection is lined up in.
    pub(crate) fn queue(&self) -> &Queue {
        &self.link.queue
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
