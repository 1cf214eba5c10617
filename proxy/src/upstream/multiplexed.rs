//! HTTP/2 connections of one worker to one endpoint: which of them a request gets, and the task that
//! drives each.
//!
//! A request takes a stream of the first connection that has one left; only when none has, another
//! connection is made. While that is done, and until the endpoint has said how many streams it
//! takes (its SETTINGS), those who come wait for it: a stream too many may be an error that nobody
//! can mend. A connection that is asked to go, too old, or broken gets no more streams and ends when its last one does.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
};

use tokio::sync::Notify;

use super::{
    Origin, Want,
    keepalive::{Keepalive, Silence},
    lease::{Lease, Link, Stage},
    pool::{Dialed, Pool, Pools},
};
use crate::{
    cluster::{Cluster, endpoint::Place},
    error::{Cause, Failure},
    h2::{
        self as http2, Piece,
        abuse::Role,
        io::{self, Bounds, Handle, Parts, link},
    },
    timer::now,
};

/// What ends with the connection: its place in the pool, and its count.
struct Standing {
    pool: Rc<Pool>,
    cluster: Arc<Cluster>,
    worker: usize,
    _place: Place,
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.cluster.cells.at(self.worker).connections.dec();
        self.pool.left();
    }
}

impl Pools {
    /// A stream to an endpoint.
    ///
    /// # Errors
    /// Causes of connecting, or [`Cause::PoolFull`], [`Cause::PoolTimeout`]. Nothing was sent.
    pub(crate) async fn acquire_stream(&self, want: Want<'_>) -> Result<(Lease, Origin), Failure> {
        let pool = self.of(want.endpoint);
        let settings = &want.cluster.config.pool;
        let mut waited = false;
        loop {
            // Who comes now does not overtake who waits.
            if waited || pool.nobody_waits() {
                if let Some(lease) = pool.stream(now_or(want.now, waited)) {
                    want.cluster.cells.at(want.worker).reused.inc();
                    return Ok((lease, Origin::Reused));
                }
                if !pool.links.is_connecting()
                    && let Some(place) = pool.place(settings)
                {
                    let lease = pool.establish(&want, place).await?;
                    return Ok((lease, Origin::Fresh));
                }
            }
            waited = true;
            let found = pool
                .wait(&want, || {
                    pool.stream(now())
                        .map(Found::Stream)
                        .or_else(|| (!pool.links.is_connecting()).then_some(Found::Turn))
                })
                .await?;
            if let Found::Stream(lease) = found {
                return Ok((lease, Origin::Reused));
            }
        }
    }
}

/// What waiting brought.
enum Found {
    Stream(Lease),
    /// Nobody connects any more.
    Turn,
}

fn now_or(at: u64, waited: bool) -> u64 {
    if waited { now() } else { at }
}

/// All HTTP/2 connections to one endpoint.
#[derive(Default)]
pub(super) struct Links {
    list: RefCell<Vec<Rc<Link>>>,
    /// One is being made.
    connecting: Cell<bool>,
}

impl Links {
    /// Lets go of connections that are idle for too long or too old, or of all where the endpoint is `gone`.
    pub(super) fn sweep(&self, now: u64, gone: bool) {
        self.retain(|link| {
            let settings = &link.cluster.config.pool;
            let idle = link.streams.get() == 0
                && now.saturating_sub(link.idle_since.get())
                    > settings.idle_timeout.as_nanos() as u64;
            !(gone || idle || link.is_spent(now))
        });
    }

    /// Lets go of every connection that nobody uses.
    pub(super) fn close_idle(&self) {
        self.retain(|link| link.streams.get() > 0);
    }

    /// Dropped outside of the borrow: the last owner of a connection tells its task.
    fn retain(&self, stays: impl Fn(&Link) -> bool) {
        let mut gone = Vec::new();
        self.list.borrow_mut().retain(|link| {
            let stays = stays(link);
            if !stays {
                link.leaving.set(true);
                gone.push(Rc::clone(link));
            }
            stays
        });
        drop(gone);
    }

    /// Whether a connection is about to have room.
    pub(super) fn is_connecting(&self) -> bool {
        self.connecting.get()
            || self
                .list
                .borrow()
                .iter()
                .any(|link| link.stage.get() == Stage::New)
    }

    pub(super) fn forget(&self, link: &Rc<Link>) {
        link.leaving.set(true);
        self.list.borrow_mut().retain(|l| !Rc::ptr_eq(l, link));
    }
}

impl Pool {
    /// A place on a connection that has one left.
    fn stream(self: &Rc<Self>, now: u64) -> Option<Lease> {
        let mut at = 0;
        loop {
            let link = Rc::clone(self.links.list.borrow().get(at)?);
            match link.poll_room() {
                Poll::Ready(Ok(())) if !link.is_spent(now) => {
                    link.requests.set(link.requests.get().saturating_add(1));
                    return Some(Lease::new(link, self));
                }
                Poll::Pending => at += 1,
                Poll::Ready(_) => self.links.forget(&link),
            }
        }
    }

    /// Makes a connection and takes its first stream.
    async fn establish(self: &Rc<Self>, want: &Want<'_>, place: Place) -> Result<Lease, Failure> {
        let _connecting = Connecting::begin(self);
        let dialed = self.dial(want).await?;
        self.share(want, dialed, place).await
    }

    /// Makes a connection one that requests share, and takes its first stream.
    pub(super) async fn share(
        self: &Rc<Self>,
        want: &Want<'_>,
        dialed: Dialed<'_>,
        place: Place,
    ) -> Result<Lease, Failure> {
        let Dialed {
            stream,
            room,
            began: opened,
            end,
            ..
        } = dialed;
        let settings = &want.cluster.config.http2;
        let head = want.cluster.config.max_header_size.0 as u32;
        let (io, handle) = link(Parts {
            stream,
            first: &[],
            role: Role::Client,
            bounds: Bounds::default(),
            limits: &http2::of_endpoint(settings, head),
            spare: want.spare,
            behind: want.behind,
        });
        let builder = http2::client_builder(settings, head);
        // Sends our preface and settings, and waits for nothing.
        let handshake = builder.handshake::<_, Piece>(io).await;
        let (sender, connection) =
            handshake.map_err(|_| Failure::new(Cause::BadResponse, "HTTP/2 handshake"))?;
        let standing = Standing {
            pool: Rc::clone(self),
            cluster: Arc::clone(want.cluster),
            worker: want.worker,
            _place: place,
        };
        std::mem::forget(room);
        want.cluster.cells.at(want.worker).connections.inc();
        let link = Rc::new(Link {
            cluster: Arc::clone(want.cluster),
            sender: RefCell::new(sender),
            streams: Cell::new(0),
            requests: Cell::new(1),
            opened,
            end,
            idle_since: Cell::new(opened),
            leaving: Cell::new(false),
            stage: Cell::new(Stage::New),
            staged: Notify::new(),
            queue: handle.queue(),
            why: Cell::new(None),
        });
        tokio::task::spawn_local(drive(
            Rc::clone(self),
            Rc::downgrade(&link),
            standing,
            connection,
            handle,
        ));
        self.links.list.borrow_mut().push(Rc::clone(&link));
        Ok(Lease::new(link, self))
    }
}

/// Lets those go on who wait for a connection that is made.
pub(super) struct Connecting<'a>(&'a Rc<Pool>);

impl<'a> Connecting<'a> {
    pub(super) fn begin(pool: &'a Rc<Pool>) -> Self {
        pool.links.connecting.set(true);
        Self(pool)
    }
}

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.0.links.connecting.set(false);
        self.0.wake_all();
    }
}

/// Drives a connection to its end. It ends by itself when nobody can open streams any more and the
/// last one is done.
async fn drive(
    pool: Rc<Pool>,
    link: std::rc::Weak<Link>,
    standing: Standing,
    mut connection: h2::client::Connection<io::Link, Piece>,
    handle: Handle,
) {
    let windows = standing.cluster.config.http2.clone();
    let mut bdp = http2::bdp(connection.ping_pong(), &windows);
    let settings = standing.cluster.config.http2_keepalive.as_ref();
    let mut keepalive = settings.map(Keepalive::new);
    let (mut told, mut dead) = (false, false);
    let result = poll_fn(|cx| {
        let polled = Pin::new(&mut connection).poll(cx);
        if polled.is_ready() {
            return polled;
        }
        if !told && connection.max_concurrent_send_streams() != http2::UNTOLD {
            told = true;
            if let Some(link) = link.upgrade() {
                link.enter(Stage::Told);
            }
            pool.wake_all();
        }
        let received = handle.take_received();
        if let Some(bdp) = &mut bdp
            && let Some(window) = bdp.poll(cx, received, now)
        {
            connection.set_target_window_size(window.max(http2::connection_window(&windows)));
            // Fails where the last change is not acknowledged yet; the next one says more.
            let _ = connection.set_initial_window_size(window);
            cx.waker().wake_by_ref();
        }
        if let Some(keepalive) = &mut keepalive
            && let Poll::Ready(silence) = keepalive.poll(cx, received > 0)
        {
            match (silence, &mut bdp) {
                (Silence::Ask, Some(bdp)) => bdp.probe(),
                (Silence::Ask, None) => {}
                (Silence::GiveUp, _) => {
                    dead = true;
                    return Poll::Ready(Ok(()));
                }
            }
        }
        if let Poll::Ready(Err(_)) = handle.poll_flush_turn(cx)
            && let Some(link) = link.upgrade()
        {
            // What came before is still read, and behind it the end.
            pool.links.forget(&link);
        }
        // What was told to the endpoint just now may have made room.
        pool.wake_one();
        match handle.flood() {
            Some(_) => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    })
    .await;
    let why = if dead {
        Some(Failure::from(Cause::Http2KeepaliveTimeout))
    } else {
        why(&handle, result.as_ref().err())
    };
    if let Some(failure) = &why {
        tracing::warn!(cluster = %standing.cluster.name, %failure, "HTTP/2 connection to an endpoint was ended");
    } else if let Err(error) = &result {
        tracing::debug!(cluster = %standing.cluster.name, %error, "HTTP/2 connection to an endpoint ended");
    }
    if let Some(link) = link.upgrade() {
        // Streams see no more than that their connection broke.
        link.why.set(why);
        pool.links.forget(&link);
        link.enter(Stage::Ended);
    }
    drop(standing);
    pool.wake_all();
}

/// Why we ended a connection.
fn why(handle: &Handle, error: Option<&h2::Error>) -> Option<Failure> {
    if let Some(flood) = handle.flood() {
        return Some(Failure::new(flood.cause(Role::Client), flood.detail()));
    }
    error.and_then(|error| handle.failure(error))
}
