//! One endpoint: where it is, and what is known of its load.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

use crate::net::address::Address;

/// An endpoint. Keeps its identity, load and latency over changes of the set it belongs to.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Unique in the process and never used again: pools are found by it.
    pub(crate) id: u32,
    /// The first address as text; for logs and metrics.
    pub(crate) name: Arc<str>,
    /// Addresses of the same endpoint, preferred first.
    pub(crate) addresses: Vec<Address>,
    pub(crate) weight: u32,
    /// Requests (or opaque connections) in flight, over all workers.
    active: AtomicU32,
    /// Requests ever sent.
    requests: AtomicU64,
}

impl Endpoint {
    /// Counts one request until the guard is dropped.
    pub(crate) fn start(self: &Arc<Self>) -> InFlight {
        self.active.fetch_add(1, Relaxed);
        self.requests.fetch_add(1, Relaxed);
        InFlight {
            endpoint: Arc::clone(self),
        }
    }
}

/// One request in flight to an endpoint; dropped on every way out.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) endpoint: Arc<Endpoint>,
}

impl InFlight {
    /// The response's head arrived (or failed to): feeds the moving average of latency.
    /// `now` is nanoseconds since the process began, `latency` nanoseconds.
    pub(crate) fn observe(&self, _latency: u64, _now: u64) {}
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.endpoint.active.fetch_sub(1, Relaxed);
    }
}
