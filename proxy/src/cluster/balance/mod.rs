//! How an endpoint is picked.
//!
//! A balancer is built when a set of endpoints is, so that a pick only reads: it neither
//! allocates nor waits, knows no clock, and draws chance from its [`PickContext`]. To add one:
//! its settings in `outrigger_config`, a file here, and a line in [`build`].
//!
//! A balancer proposes; whether an endpoint may be taken is asked of [`Candidates`] alone, so
//! that health, attempts already made and slow start mean the same everywhere.

mod choices;
mod least_request;
mod maglev;
mod peak_ewma;
mod random;
mod ring_hash;
mod round_robin;
mod weights;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use outrigger_config::model::{Balance, HashOn};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{PickContext, endpoint::Endpoint};

/// How many times a balancer proposes before it takes what [`Candidates::any`] finds.
const PROPOSALS: usize = 8;

/// Picks endpoints of the one set it was built for.
pub(crate) trait Balancer: Send + Sync {
    /// Index of the endpoint for a request, or `None` where there is no endpoint at all.
    ///
    /// MUST be given the endpoints it was built from. MUST return one that
    /// [`Candidates::is_open`] where there is one.
    fn pick(&self, among: &Candidates<'_>, cx: &PickContext<'_>) -> Option<usize>;
}

/// Builds the balancer of a set. Every endpoint of it has a weight above zero.
pub(super) fn build(balance: &Balance, among: &Candidates<'_>) -> Box<dyn Balancer> {
    match balance {
        Balance::RoundRobin(_) => Box::new(round_robin::RoundRobin::new(among)),
        Balance::Random(_) => Box::new(random::Random::new(among)),
        Balance::LeastRequest(it) => Box::new(least_request::LeastRequest::new(it, among)),
        Balance::PeakEwma(_) => Box::new(peak_ewma::PeakEwma::new(among)),
        Balance::RingHash(it) => Box::new(ring_hash::RingHash::new(it, among)),
        Balance::Maglev(it) => Box::new(maglev::Maglev::new(it, among)),
    }
}

/// What a balancer hashes; nothing where it does not.
pub(super) fn hash_on(balance: &Balance) -> &[HashOn] {
    match balance {
        Balance::RingHash(it) => &it.hash_on,
        Balance::Maglev(it) => &it.hash_on,
        _ => &[],
    }
}

/// The endpoints a balancer picks from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidates<'a> {
    endpoints: &'a [Arc<Endpoint>],
    /// Of each endpoint, above zero.
    weights: &'a [u32],
    /// Nanoseconds that slow start takes; 0 where none of them is in it.
    slow_start: u64,
}

impl<'a> Candidates<'a> {
    pub(super) fn new(endpoints: &'a [Arc<Endpoint>], weights: &'a [u32], slow_start: u64) -> Self {
        Self {
            endpoints,
            weights,
            slow_start,
        }
    }

    /// When the last of them will have ended its slow start.
    pub(super) fn warm_at(&self) -> u64 {
        let ends = self.endpoints.iter().map(|it| it.warm_at(self.slow_start));
        ends.max().unwrap_or_default()
    }

    fn len(&self) -> usize {
        self.endpoints.len()
    }

    fn get(&self, index: usize) -> Option<&'a Endpoint> {
        self.endpoints.get(index).map(|endpoint| &**endpoint)
    }

    /// Their places in the list in the order of their names, which is the same in every proxy.
    fn by_name(&self) -> Vec<(u32, &'a Endpoint, u64)> {
        let endpoints = self.endpoints.iter().map(|it| &**it);
        let weights = self.weights.iter().map(|weight| u64::from(*weight));
        let mut list: Vec<_> = (0..)
            .zip(endpoints.zip(weights))
            .map(|(place, (endpoint, weight))| (place, endpoint, weight))
            .collect();
        list.sort_unstable_by(|a, b| a.1.name.cmp(&b.1.name));
        list
    }

    /// Whether this endpoint may be taken: it is usable, and this request has not tried it.
    fn is_open(&self, index: usize, cx: &PickContext<'_>) -> bool {
        self.get(index)
            .is_some_and(|it| it.is_usable() && !cx.tried.contains(&it.id))
    }

    /// [`Self::is_open`], and while the endpoint is in slow start only by chance, so that it gets
    /// that part of what it would get.
    fn admits(&self, index: usize, cx: &PickContext<'_>) -> bool {
        if !self.is_open(index, cx) {
            return false;
        }
        let warmth = self.warmth(index, cx);
        warmth >= 1.0 || cx.unit() < warmth
    }

    /// [`Self::is_open`], and while the endpoint is in slow start only for a part of all keys that
    /// grows with it: each key comes to it once and stays, in every proxy at the same warmth.
    fn admits_key(&self, index: usize, key: u64, cx: &PickContext<'_>) -> bool {
        /// A number of 24 bits to a part of one, as exact as an `f32` can be.
        const UNIT: f32 = 1.0 / (1 << 24) as f32;
        if !self.is_open(index, cx) {
            return false;
        }
        let warmth = self.warmth(index, cx);
        let place = |it: &Endpoint| (xxh3_64_with_seed(it.name.as_bytes(), key) >> 40) as f32;
        warmth >= 1.0 || self.get(index).map_or(0.0, place) * UNIT < warmth
    }

    fn warmth(&self, index: usize, cx: &PickContext<'_>) -> f32 {
        if self.slow_start == 0 {
            return 1.0;
        }
        self.get(index)
            .map_or(1.0, |it| it.warmth(self.slow_start, cx.now))
    }

    /// The first open endpoint from `start` on, round the list; where none is open, the first
    /// usable one, then whichever stands at `start`: a request is better sent to an endpoint
    /// thought bad than to none.
    fn any(&self, start: usize, cx: &PickContext<'_>) -> Option<usize> {
        let len = self.len();
        let start = start.checked_rem(len)?;
        let round = || (start..len).chain(0..start);
        round()
            .find(|index| self.is_open(*index, cx))
            .or_else(|| round().find(|index| self.get(*index).is_some_and(Endpoint::is_usable)))
            .or(Some(start))
    }

    /// A random open endpoint, exactly by weight and warmth, by looking at all of them; where
    /// none is open, as [`Self::any`].
    fn any_by_weight(&self, cx: &PickContext<'_>) -> Option<usize> {
        let weigh = |index| match (self.get(index), self.weights.get(index)) {
            (Some(endpoint), Some(weight)) if self.is_open(index, cx) => {
                f64::from(*weight) * f64::from(endpoint.warmth(self.slow_start, cx.now))
            }
            _ => 0.0,
        };
        let weights = || (0..self.len()).map(weigh);
        let mut place = weights().sum::<f64>() * f64::from(cx.unit());
        weights()
            .position(|weight| {
                place -= weight;
                weight > 0.0 && place < 0.0
            })
            .or_else(|| self.any(cx.below(self.len()), cx))
    }
}
