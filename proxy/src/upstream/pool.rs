//! The pool of one worker for one endpoint.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{Arc, Weak},
    time::Duration,
};

use outrigger_config::model;
use tokio::sync::Notify;

use super::{habits::Habits, multiplexed::Links, secure::secure};
use crate::{
    cluster::{
        Cluster,
        endpoint::{Endpoint, Place, Places},
    },
    error::{Cause, Failure},
    h2::link::Spare,
    net::{
        behind::Behind,
        connect::{ConnectOptions, connect},
        stream::Stream,
    },
    timer::now,
    tls::{End, Offer},
};

/// How often a request that waits looks whether a connection was closed on another worker.
const ELSEWHERE: Duration = Duration::from_millis(5);

/// All pools of a worker, by endpoint.
#[derive(Default)]
pub(crate) struct Pools {
    by_endpoint: RefCell<std::collections::HashMap<u32, Rc<Pool>, foldhash::fast::FixedState>>,
}

/// Connections to one endpoint.
pub(crate) struct Pool {
    /// Held by its cluster and by who uses it, not by pools: each worker has one.
    endpoint: Weak<Endpoint>,
    places: Arc<Places>,
    /// Oldest first.
    idle: RefCell<Vec<Idle>>,
    /// Connections that exist, idle ones included.
    open: Cell<u32>,
    /// Requests that wait for a connection.
    pending: Cell<u32>,
    freed: Notify,
    habits: Habits,
    /// Where an endpoint may choose: whether it chose HTTP/2.
    pub(super) learned: Cell<Option<bool>>,
    /// Connections that many requests share.
    pub(super) links: Links,
}

struct Idle {
    connection: Connection,
    since: u64,
    /// Age at which it was last seen open.
    alive: u64,
}

/// A connection in use. Dropping it closes it; [`Connection::release`] keeps it.
pub(crate) struct Connection {
    pub(crate) stream: Stream,
    pool: Rc<Pool>,
    cluster: Arc<Cluster>,
    worker: usize,
    opened: u64,
    /// When its certificates end it.
    pub(crate) end: End,
    requests: u32,
    _place: Place,
}

/// Whose connection is wanted, and what the asker is.
#[derive(Clone, Copy)]
pub(crate) struct Want<'a> {
    pub(crate) cluster: &'a Arc<Cluster>,
    pub(crate) endpoint: &'a Arc<Endpoint>,
    pub(crate) worker: usize,
    /// Limits are for the process; each worker has its share.
    pub(crate) workers: usize,
    /// A connection that nobody used before is needed, and will not be given back.
    pub(crate) private: bool,
    /// What may be spoken, where TLS agrees on that.
    pub(crate) offer: Offer,
    /// Nanoseconds since the process began.
    pub(crate) now: u64,
    /// Memory for what HTTP/2 connections are about to send.
    pub(crate) spare: &'a Spare,
    /// What payload for HTTP/2 connections counts against.
    pub(crate) behind: &'a Behind,
}

/// Where a connection came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Fresh,
    Reused,
}

impl Pools {
    pub(super) fn of(&self, endpoint: &Arc<Endpoint>) -> Rc<Pool> {
        let mut pools = self.by_endpoint.borrow_mut();
        Rc::clone(
            pools
                .entry(endpoint.id)
                .or_insert_with(|| Rc::new(Pool::new(endpoint))),
        )
    }

    /// A connection to an endpoint: an idle one that is safe to reuse, else a new one, else one
    /// that somebody gives back within the cluster's `pending_timeout`.
    ///
    /// # Errors
    /// Causes of connecting, or [`Cause::PoolFull`], [`Cause::PoolTimeout`]. Nothing was sent.
    pub(crate) async fn acquire(&self, want: Want<'_>) -> Result<(Connection, Origin), Failure> {
        let pool = self.of(want.endpoint);
        let settings = &want.cluster.config.pool;
        // Who comes now does not overtake who waits.
        let first = pool.nobody_waits();
        if first
            && !want.private
            && let Some(connection) = pool.checkout(want.now, settings)
        {
            want.cluster.cells.at(want.worker).reused.inc();
            return Ok((connection, Origin::Reused));
        }
        let place = match first.then(|| pool.place(settings)).flatten() {
            Some(place) => place,
            None => match pool.wait(&want, || pool.freed(&want, settings)).await? {
                Freed::Connection(connection) => return Ok((*connection, Origin::Reused)),
                Freed::Place(place) => place,
            },
        };
        let connection = pool.connect(&want, place).await?;
        Ok((connection, Origin::Fresh))
    }

    /// Closes idle connections that are too old or were closed by the peer, and forgets pools of
    /// endpoints that are gone. Called about once a second.
    pub(crate) fn sweep(&self, now: u64) {
        let mut pools = self.by_endpoint.borrow_mut();
        pools.retain(|_, pool| {
            // Nobody holds the endpoint: it has left its cluster.
            let gone = pool.endpoint.strong_count() == 0;
            pool.sweep(now, gone);
            pool.links.sweep(now, gone);
            !(gone && pool.open.get() == 0)
        });
    }

    /// Closes every idle connection.
    pub(crate) fn close_idle(&self) {
        for pool in self.by_endpoint.borrow().values() {
            let idle = std::mem::take(&mut *pool.idle.borrow_mut());
            drop(idle);
            pool.links.close_idle();
        }
    }
}

/// One worker's part of a limit that holds for the process: together they make up the whole.
fn share(limit: u32, worker: usize, workers: usize) -> u32 {
    let workers = workers.max(1) as u32;
    limit / workers + u32::from((worker as u32) < limit % workers)
}

impl Pool {
    fn new(endpoint: &Arc<Endpoint>) -> Self {
        Self {
            endpoint: Arc::downgrade(endpoint),
            places: Arc::clone(endpoint.places()),
            idle: RefCell::default(),
            open: Cell::new(0),
            pending: Cell::new(0),
            freed: Notify::new(),
            habits: Habits::new(),
            learned: Cell::new(None),
            links: Links::default(),
        }
    }

    pub(super) fn nobody_waits(&self) -> bool {
        self.pending.get() == 0
    }

    pub(super) fn wake_one(&self) {
        if self.pending.get() > 0 {
            self.freed.notify_one();
        }
    }

    pub(super) fn wake_all(&self) {
        self.freed.notify_waiters();
    }

    /// A connection that was given back, or room for a new one.
    fn freed(&self, want: &Want<'_>, settings: &model::Pool) -> Option<Freed> {
        if !want.private
            && let Some(connection) = self.checkout(now(), settings)
        {
            return Some(Freed::Connection(Box::new(connection)));
        }
        self.place(settings).map(Freed::Place)
    }

    /// The idle connection used last, if it is open and its pause is known to be safe.
    fn checkout(&self, now: u64, settings: &model::Pool) -> Option<Connection> {
        loop {
            let mut idle = self.idle.borrow_mut().pop()?;
            let age = now.saturating_sub(idle.since);
            if !idle.connection.is_open() {
                self.habits.closed_between(idle.alive, age);
                continue;
            }
            if idle.connection.is_spent(now, settings)
                || age > settings.idle_timeout.as_nanos() as u64
            {
                continue;
            }
            if !self.habits.is_reusable(age) {
                self.look_at_oldest(now);
                idle.alive = age;
                self.habits.alive_at(age);
                if !self.habits.is_reusable(age) {
                    self.idle.borrow_mut().push(idle);
                    return None;
                }
            }
            idle.connection.requests += 1;
            return Some(idle.connection);
        }
    }

    /// The connection that has been idle longest shows most.
    fn look_at_oldest(&self, now: u64) {
        if let Some(oldest) = self.idle.borrow_mut().first_mut()
            && oldest.connection.is_open()
        {
            oldest.alive = now.saturating_sub(oldest.since);
            self.habits.alive_at(oldest.alive);
        }
    }

    /// Makes room for a new connection.
    fn drop_oldest(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        if idle.is_empty() {
            return false;
        }
        let oldest = idle.remove(0);
        drop(idle);
        drop(oldest);
        true
    }

    /// A place for a new connection, if need be that of an idle one.
    pub(super) fn place(&self, settings: &model::Pool) -> Option<Place> {
        let limit = settings.max_connections;
        let place = self.places.take(limit);
        place.or_else(|| {
            self.drop_oldest()
                .then(|| self.places.take(limit))
                .flatten()
        })
    }

    /// Waits until something was given back, closed or made that `look` can use.
    pub(super) async fn wait<T>(
        &self,
        want: &Want<'_>,
        look: impl Fn() -> Option<T>,
    ) -> Result<T, Failure> {
        let settings = &want.cluster.config.pool;
        if self.pending.get() >= share(settings.max_pending, want.worker, want.workers) {
            return Err(Failure::new(
                Cause::PoolFull,
                "too many requests wait for a connection",
            ));
        }
        let gauge = &want.cluster.cells.at(want.worker).pending;
        let _waiting = Waiting::new(&self.pending, gauge);
        let freed = async {
            loop {
                // Another worker cannot wake this one.
                let _ = tokio::time::timeout(ELSEWHERE, self.freed.notified()).await;
                if let Some(found) = look() {
                    return found;
                }
            }
        };
        let result = tokio::time::timeout(settings.pending_timeout, freed).await;
        result.map_err(|_| Failure::new(Cause::PoolTimeout, "no connection became free in time"))
    }

    async fn connect(
        self: &Rc<Self>,
        want: &Want<'_>,
        place: Place,
    ) -> Result<Connection, Failure> {
        let dialed = self.dial(want).await?;
        Ok(Self::own(self, want, dialed, place))
    }

    /// A connection of this pool.
    pub(super) fn own(
        pool: &Rc<Self>,
        want: &Want<'_>,
        dialed: Dialed<'_>,
        place: Place,
    ) -> Connection {
        std::mem::forget(dialed.room);
        want.cluster.cells.at(want.worker).connections.inc();
        Connection {
            stream: dialed.stream,
            pool: Rc::clone(pool),
            cluster: Arc::clone(want.cluster),
            worker: want.worker,
            opened: dialed.began,
            end: dialed.end,
            requests: 1,
            _place: place,
        }
    }

    /// A place for a new connection, when there is one.
    pub(super) async fn place_or_wait(&self, want: &Want<'_>) -> Result<Place, Failure> {
        let settings = &want.cluster.config.pool;
        let first = self.nobody_waits();
        match first.then(|| self.place(settings)).flatten() {
            Some(place) => Ok(place),
            None => self.wait(want, || self.place(settings)).await,
        }
    }

    /// Connects, over TLS where the cluster says so.
    pub(super) async fn dial(self: &Rc<Self>, want: &Want<'_>) -> Result<Dialed<'_>, Failure> {
        let tls = want.cluster.tls()?;
        let cells = want.cluster.cells.at(want.worker);
        self.open.set(self.open.get() + 1);
        let room = Room(self);
        let began = now();
        let options = ConnectOptions::from(&want.cluster.config.tcp);
        let limit = want.cluster.connect_timeout();
        cells.connects.inc();
        let failed = |failure: Failure, error: &dyn std::fmt::Display| {
            cells.connect_failures.inc();
            want.cluster.connect_failed();
            tracing::debug!(cluster = %want.cluster.name, endpoint = %want.endpoint.name, %error, "connect failed");
            failure
        };
        let connected = connect(&want.endpoint.addresses, &options, limit).await;
        let mut stream = connected.map_err(|error| failed(Failure::from(error.cause()), &error))?;
        let took = now() - began;
        self.habits.connected_in(took);
        let (mut http2, mut end) = (false, End::NEVER);
        if let Some(tls) = tls {
            let left = limit.saturating_sub(Duration::from_nanos(took));
            // Boxed, so that who needs no TLS does not carry its size.
            let secured = Box::pin(secure(stream, &tls, want, want.offer, left)).await;
            let secured = secured.map_err(|failure| {
                if failure.cause == Cause::UpstreamAlpn {
                    self.unlearn();
                }
                failed(failure, &failure)
            })?;
            (stream, http2, end) = (secured.stream, secured.http2, secured.end);
        }
        Ok(Dialed {
            stream,
            http2,
            end,
            room,
            began,
        })
    }

    fn sweep(&self, now: u64, gone: bool) {
        let mut closed = Vec::new();
        let scarce = self.places.were_scarce();
        let mut idle = self.idle.borrow_mut();
        let mut kept = Vec::with_capacity(idle.len());
        for mut entry in idle.drain(..) {
            let age = now.saturating_sub(entry.since);
            let settings = &entry.connection.cluster.config.pool;
            let old = scarce
                || age > settings.idle_timeout.as_nanos() as u64
                || entry.connection.is_spent(now, settings);
            if !entry.connection.is_open() {
                self.habits.closed_between(entry.alive, age);
                closed.push(entry);
            } else if gone || old {
                closed.push(entry);
            } else {
                entry.alive = age;
                self.habits.alive_at(age);
                kept.push(entry);
            }
        }
        *idle = kept;
        drop(idle);
        drop(closed);
    }

    pub(super) fn left(&self) {
        self.open.set(self.open.get() - 1);
        self.freed.notify_one();
    }
}

/// What waiting brought.
enum Freed {
    Connection(Box<Connection>),
    Place(Place),
}

/// A new connection.
pub(super) struct Dialed<'a> {
    pub(super) stream: Stream,
    /// TLS agreed on HTTP/2.
    pub(super) http2: bool,
    /// When its certificates end it.
    pub(super) end: End,
    /// To be forgotten by who gives it back when the connection ends.
    pub(super) room: Room<'a>,
    pub(super) began: u64,
}

/// A place in the pool that is given back unless a connection takes it over.
pub(super) struct Room<'a>(&'a Rc<Pool>);

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.0.left();
    }
}

struct Waiting<'a> {
    pending: &'a Cell<u32>,
    gauge: &'a crate::telemetry::cells::Gauge,
}

impl<'a> Waiting<'a> {
    fn new(pending: &'a Cell<u32>, gauge: &'a crate::telemetry::cells::Gauge) -> Self {
        pending.set(pending.get() + 1);
        gauge.inc();
        Self { pending, gauge }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pending.set(self.pending.get() - 1);
        self.gauge.dec();
    }
}

impl Connection {
    /// Without a system call: whether nothing came since the last answer. Data nobody asked for
    /// counts as closed, since it would be taken for the next answer.
    fn is_open(&mut self) -> bool {
        self.stream.is_quiet()
    }

    fn is_spent(&self, now: u64, settings: &model::Pool) -> bool {
        let too_old = !settings.max_lifetime.is_zero()
            && now.saturating_sub(self.opened) >= settings.max_lifetime.as_nanos() as u64;
        too_old
            || self.end.is_near(now)
            || (settings.max_requests > 0 && self.requests >= settings.max_requests)
    }

    /// Gives the connection back after a complete exchange. `timeout` is what the peer announced.
    pub(crate) fn release(self, now: u64, timeout: Option<u32>, workers: usize) {
        let pool = Rc::clone(&self.pool);
        let settings = &self.cluster.config.pool;
        if let Some(seconds) = timeout {
            pool.habits.announced(seconds);
        }
        let most = share(settings.max_idle, self.worker, workers) as usize;
        let wanted_elsewhere = pool.pending.get() == 0 && pool.places.were_scarce();
        if most == 0 || wanted_elsewhere || self.is_spent(now, settings) {
            return;
        }
        let mut idle = pool.idle.borrow_mut();
        let oldest = (idle.len() >= most).then(|| idle.remove(0));
        idle.push(Idle {
            connection: self,
            since: now,
            alive: 0,
        });
        drop(idle);
        drop(oldest);
        pool.wake_one();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.cluster.cells.at(self.worker).connections.dec();
        self.pool.left();
    }
}
