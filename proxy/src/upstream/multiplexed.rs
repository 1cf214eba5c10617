//! HTTP/2 connections of one worker to one endpoint: which of them a request gets, and the task that
//! drives each.
//!
//! A request takes a stream of the first connection that has one left; only when none has, another
//! connection is made. While that is done, and until the endpoint has said how many streams it
//! takes (its SETTINGS), those who come wait for it: a stream too many may be an error that nobody
//! can mend. A connection that is asked to go, too old, or broken gets no more streams and ends when its last one does.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::{Rc, Weak},
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
        self as http2,
        abuse::Role,
        link::{Connection, End, Parts},
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
            match link.has_room() {
                Some(true) if !link.is_spent(now) => {
                    link.requests.set(link.requests.get().saturating_add(1));
                    return Some(Lease::new(link, self));
                }
                Some(false) => at += 1,
                _ => self.links.forget(&link),
            }
        }
    }

    /// Makes a connection and takes its first stream.
    async fn establish(self: &Rc<Self>, want: &Want<'_>, place: Place) -> Result<Lease, Failure> {
        let _connecting = Connecting::begin(self);
        let dialed = self.dial(want).await?;
        Ok(self.share(want, dialed, place))
    }

    /// Makes a connection one that requests share, and takes its first stream.
    pub(super) fn share(
        self: &Rc<Self>,
        want: &Want<'_>,
        dialed: Dialed<'_>,
        place: Place,
    ) -> Lease {
        let Dialed {
            stream,
            room,
            began: opened,
            end,
            ..
        } = dialed;
        let settings = &want.cluster.config.http2;
        let head = want.cluster.config.max_header_size.0 as u32;
        let connection = Connection::new(Parts {
            stream,
            first: &[],
            role: Role::Client,
            settings: http2::settings(settings, head, false),
            limits: &http2::of_endpoint(settings, head),
            spare: want.spare,
            behind: want.behind,
        });
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
            sender: connection.sender(),
            streams: Cell::new(0),
            requests: Cell::new(1),
            opened,
            end,
            idle_since: Cell::new(opened),
            leaving: Cell::new(false),
            stage: Cell::new(Stage::New),
            staged: Notify::new(),
            why: Cell::new(None),
        });
        tokio::task::spawn_local(drive(
            Rc::clone(self),
            Rc::downgrade(&link),
            standing,
            connection,
        ));
        self.links.list.borrow_mut().push(Rc::clone(&link));
        Lease::new(link, self)
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
async fn drive(pool: Rc<Pool>, link: Weak<Link>, standing: Standing, mut connection: Connection) {
    let config = &standing.cluster.config;
    let mut bdp = http2::bdp(&config.http2);
    let mut keepalive = config.http2_keepalive.as_ref().map(Keepalive::new);
    let mut told = false;
    let why = poll_fn(|cx| {
        let turn = connection.poll_turn(cx);
        if !told && connection.is_told() {
            told = true;
            if let Some(link) = link.upgrade() {
                link.enter(Stage::Told);
            }
            pool.wake_all();
        }
        if let Poll::Ready(end) = turn {
            connection.say_last(cx);
            return Poll::Ready(why(end));
        }
        let heard = bdp.turn(&connection, now);
        if let Some(keepalive) = &mut keepalive
            && let Poll::Ready(silence) = keepalive.poll(cx, heard)
        {
            match silence {
                Silence::Ask => {
                    connection.ask();
                }
                Silence::GiveUp => {
                    return Poll::Ready(Some(Failure::from(Cause::Http2KeepaliveTimeout)));
                }
            }
        }
        if let Poll::Ready(Err(_)) = connection.poll_flush(cx)
            && let Some(link) = link.upgrade()
        {
            // What came before is still read, and behind it the end.
            pool.links.forget(&link);
        }
        // A stream that ended may have made room.
        pool.wake_one();
        Poll::Pending
    })
    .await;
    if let Some(failure) = &why {
        tracing::warn!(cluster = %standing.cluster.name, %failure, "HTTP/2 connection to an endpoint was ended");
    }
    if let Some(link) = link.upgrade() {
        // Streams see no more than that their connection broke.
        link.why.set(why);
        pool.links.forget(&link);
        link.enter(Stage::Ended);
    }
    drop(connection);
    drop(standing);
    pool.wake_all();
}

/// Why we ended a connection.
fn why(end: End) -> Option<Failure> {
    end.failure(Role::Client)
}
