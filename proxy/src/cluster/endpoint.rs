//! One endpoint: where it is, and what is known of its load.
//!
//! It outlives the sets and clusters it is in: as long as its addresses stay in the list, the
//! same object stays, with its counters and its average. Everything that changes is an atomic.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use xxhash_rust::xxh3::Xxh3Default;

use super::latency::Latency;
use crate::net::address::Address;

/// The counts of one endpoint in one word, so that a request begins and ends with one atomic
/// operation each: requests in flight in the lower 24 bits (16.7 million; the process cannot hold
/// so many connections), requests ever in the upper 40.
const ONE_REQUEST: u64 = 1 << 24;
const ACTIVE: u64 = ONE_REQUEST - 1;

/// What an endpoint is made from besides its addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Birth<'a> {
    /// Name of the cluster.
    pub(super) cluster: &'a str,
    /// Decay time and assumed latency of the average, in nanoseconds.
    pub(super) decay: u64,
    pub(super) initial: u64,
    /// It joins endpoints that were there before.
    pub(super) joins_others: bool,
    /// Nanoseconds since the process began.
    pub(super) now: u64,
}

/// An endpoint. Keeps its identity, load and latency over changes of the set it belongs to. Its
/// weight is the set's to know.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Unique in the process and never used again: pools are found by it.
    pub(crate) id: u32,
    /// The first address as text; for logs and metrics.
    pub(crate) name: Arc<str>,
    /// Addresses of the same endpoint, preferred first.
    pub(crate) addresses: Vec<Address>,
    /// When it came, in nanoseconds since the process began.
    pub(crate) first_seen: u64,
    token: [u8; 16],
    /// It came to others that were there before, so slow start applies.
    joined_others: bool,
    usable: AtomicBool,
    places: Arc<Places>,
    counts: AtomicU64,
    failed: AtomicU64,
    latency: Latency,
}

impl Endpoint {
    pub(super) fn new(addresses: Vec<Address>, birth: Birth<'_>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);

        let name: Arc<str> = match addresses.first() {
            Some(address) => address.to_string().into(),
            None => "".into(),
        };
        Self {
            id: NEXT.fetch_add(1, Relaxed),
            token: token(birth.cluster, &name),
            name,
            addresses,
            first_seen: birth.now,
            joined_others: birth.joins_others,
            usable: AtomicBool::new(true),
            places: Arc::default(),
            counts: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            latency: Latency::new(birth.decay, birth.initial, birth.now),
        }
    }

    /// Connections to it, over all workers.
    pub(crate) fn places(&self) -> &Arc<Places> {
        &self.places
    }

    /// Counts one request until the guard is dropped.
    pub(crate) fn start(self: &Arc<Self>) -> InFlight {
        self.counts.fetch_add(ONE_REQUEST + 1, Relaxed);
        InFlight {
            endpoint: Arc::clone(self),
        }
    }

    /// Requests (or opaque connections) in flight, over all workers.
    pub(crate) fn active(&self) -> u32 {
        (self.counts.load(Relaxed) & ACTIVE) as u32
    }

    /// Requests ever sent.
    pub(crate) fn requests(&self) -> u64 {
        self.counts.load(Relaxed) / ONE_REQUEST
    }

    /// Requests that got no answer.
    pub(crate) fn failures(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Whether it may get traffic. `false` is a wish: where no other endpoint is left, it does.
    pub(crate) fn is_usable(&self) -> bool {
        self.usable.load(Relaxed)
    }

    #[cfg(test)]
    pub(crate) fn set_usable(&self, usable: bool) {
        self.usable.store(usable, Relaxed);
    }

    /// The moving average of its latency; `None` before its first answer.
    pub(crate) fn latency(&self, now: u64) -> Option<Duration> {
        self.latency
            .is_known()
            .then(|| Duration::from_nanos(self.latency.estimate(now) as u64))
    }

    /// Opaque text by which a session finds this endpoint again: the same in every process and
    /// over restarts, and without its address in it.
    pub(crate) fn token(&self) -> &str {
        std::str::from_utf8(&self.token).unwrap_or_default()
    }

    pub(super) fn token_bytes(&self) -> &[u8; 16] {
        &self.token
    }

    /// What one more request would have to wait for, in nanoseconds: the average times the
    /// requests in flight and this one. `share` is the mean weight over this endpoint's.
    pub(super) fn cost(&self, share: f32, now: u64) -> f32 {
        let active = self.active();
        if active == 0 && !self.latency.is_known() && self.failures() == 0 {
            // One request may find out; until it is answered the assumed latency holds the others
            // back. Without this, an endpoint that joins fast ones is passed over until the
            // assumed latency has decayed below theirs: half a minute for 30 ms against 1 ms.
            return 0.0;
        }
        self.latency.estimate(now) * (active as f32 * share + 1.0)
    }

    /// The part of its weight an endpoint has at `now`: from a tenth to all of it, growing evenly
    /// over `slow_start` nanoseconds (Envoy's aggression 1.0, minimum 10 %).
    pub(super) fn warmth(&self, slow_start: u64, now: u64) -> f32 {
        let age = now.saturating_sub(self.first_seen);
        if !self.joined_others || age >= slow_start {
            return 1.0;
        }
        (age as f32 / slow_start as f32).max(0.1)
    }

    /// When it has its full weight.
    pub(super) fn warm_at(&self, slow_start: u64) -> u64 {
        if self.joined_others {
            self.first_seen.saturating_add(slow_start)
        } else {
            0
        }
    }

    pub(super) fn configure_latency(&self, decay: u64, initial: u64) {
        self.latency.configure(decay, initial);
    }
}

/// Connections to an endpoint, over all workers. Apart from the endpoint, so that connections that
/// nobody uses do not hold it: they end with it.
#[derive(Debug, Default)]
pub(crate) struct Places {
    open: AtomicU32,
    /// Somebody had to wait for one.
    scarce: AtomicBool,
}

impl Places {
    /// A place for one more connection, if that stays within the limit, which holds exactly and over
    /// all workers.
    pub(crate) fn take(self: &Arc<Self>, limit: u32) -> Option<Place> {
        if self.open.fetch_add(1, Relaxed) < limit {
            return Some(Place(Arc::clone(self)));
        }
        self.open.fetch_sub(1, Relaxed);
        self.scarce.store(true, Relaxed);
        None
    }

    /// Whether somebody had to wait for a connection since this was last asked: then idle ones are
    /// let go, since those who wait may be on another worker.
    pub(crate) fn were_scarce(&self) -> bool {
        self.scarce.load(Relaxed) && self.scarce.swap(false, Relaxed)
    }
}

/// One connection to an endpoint, counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

/// One request in flight to an endpoint; dropped on every way out.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) endpoint: Arc<Endpoint>,
}

impl InFlight {
    /// The response's head arrived: feeds the moving average of latency. Where none arrived, call
    /// [`Self::fail`] instead, since what fails fast is not fast.
    /// `now` is nanoseconds since the process began, `latency` nanoseconds.
    pub(crate) fn observe(&self, latency: u64, now: u64) {
        self.endpoint.latency.observe(latency, now);
    }

    /// The endpoint gave no answer: it refused the connection, ended it, or was too slow. Not for
    /// what the client broke off.
    pub(crate) fn fail(&self, now: u64) {
        self.endpoint.failed.fetch_add(1, Relaxed);
        self.endpoint.latency.penalize(now);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.endpoint.counts.fetch_sub(1, Relaxed);
    }
}

fn token(cluster: &str, name: &str) -> [u8; 16] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut hasher = Xxh3Default::new();
    hasher.update(cluster.as_bytes());
    // No name has a zero byte, so no two pairs make the same text.
    hasher.update(&[0]);
    hasher.update(name.as_bytes());
    let digest = hasher.digest();
    std::array::from_fn(|i| {
        let nibble = digest >> (60 - 4 * i) & 0xf;
        HEX.get(nibble as usize).copied().unwrap_or(b'0')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn endpoint(joins_others: bool) -> Arc<Endpoint> {
        let address = Address::Tcp(([127, 0, 0, 1], 80).into());
        let birth = Birth {
            cluster: "c",
            decay: 10 * SECOND,
            initial: 30_000_000,
            joins_others,
            now: SECOND,
        };
        Arc::new(Endpoint::new(vec![address], birth))
    }

    #[test]
    fn requests_are_counted_until_their_guard_drops() {
        let endpoint = endpoint(false);
        let first = endpoint.start();
        let second = endpoint.start();
        assert_eq!((endpoint.active(), endpoint.requests()), (2, 2));
        drop(first);
        second.fail(0);
        assert_eq!((endpoint.active(), endpoint.requests()), (1, 2));
        drop(second);
        assert_eq!((endpoint.active(), endpoint.requests()), (0, 2));
        assert_eq!(endpoint.failures(), 1);
    }

    #[test]
    fn a_panic_counts_down_too() {
        let endpoint = endpoint(false);
        let result = std::panic::catch_unwind(|| {
            let _guard = endpoint.start();
            panic!("one connection");
        });
        assert!(result.is_err());
        assert_eq!(endpoint.active(), 0);
    }

    #[test]
    fn ids_are_never_used_again() {
        let first = endpoint(false).id;
        assert!(endpoint(false).id > first);
    }

    #[test]
    fn one_request_may_try_what_is_unknown() {
        let endpoint = endpoint(false);
        assert!(endpoint.cost(1.0, SECOND) < 1.0);
        let first = endpoint.start();
        assert!(endpoint.cost(1.0, SECOND) > 50e6);
        first.observe(1_000_000, SECOND);
        let cost = endpoint.cost(1.0, SECOND);
        assert!((1.9e6..2.1e6).contains(&cost), "{cost}");
        drop(first);
        let cost = endpoint.cost(1.0, SECOND);
        assert!((0.9e6..1.1e6).contains(&cost), "{cost}");
    }

    #[test]
    fn what_fails_at_once_is_not_tried_by_everyone() {
        let endpoint = endpoint(false);
        endpoint.start().fail(SECOND);
        assert!(endpoint.cost(1.0, SECOND) > 50e6);
    }

    #[test]
    fn weight_divides_the_requests_in_flight() {
        let endpoint = endpoint(false);
        let guards = [endpoint.start(), endpoint.start()];
        guards[0].observe(1_000_000, SECOND);
        let cost = endpoint.cost(0.5, SECOND);
        assert!((1.9e6..2.1e6).contains(&cost), "{cost}");
    }

    #[test]
    fn slow_start_is_for_those_that_join_others() {
        let window = 10 * SECOND;
        let late = endpoint(true);
        for (age, expected) in [
            (0, 0.1),
            (SECOND / 2, 0.1),
            (5 * SECOND, 0.5),
            (window, 1.0),
        ] {
            let warmth = late.warmth(window, SECOND + age);
            assert!((warmth - expected).abs() < 0.001, "{age}: {warmth}");
        }
        assert!((endpoint(false).warmth(window, SECOND) - 1.0).abs() < f32::EPSILON);
        assert!((late.warmth(0, SECOND) - 1.0).abs() < f32::EPSILON);
    }

    #[test]
    fn a_token_is_stable_and_of_its_cluster() {
        let token = |cluster, name| String::from_utf8(token(cluster, name).into()).unwrap();
        // Pinned: tokens live in cookies over restarts and upgrades.
        assert_eq!(token("c", "127.0.0.1:80"), endpoint(false).token());
        assert_eq!(token("c", "127.0.0.1:80"), "fd99e52faa1fdf15");
        assert_ne!(token("c", "127.0.0.1:80"), token("d", "127.0.0.1:80"));
        assert_ne!(token("ab", "c"), token("a", "bc"));
    }

    #[test]
    fn an_endpoint_is_small() {
        // 10,000 of them are part of a budget of 60 MiB; name and address come on top, about 100 bytes.
        assert!(size_of::<Endpoint>() <= 144, "{}", size_of::<Endpoint>());
    }
}
