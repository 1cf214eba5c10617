//! Numbers that a worker writes on the request path and a scrape reads.
//!
//! Each cell has one writer, its worker, so an increment is a load and a store without a lock
//! prefix; readers on other threads see a recent value. Cells of different workers do not share
//! a cache line.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that only grows. One writer.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    pub(crate) fn inc(&self) {
        self.add(1);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that grows and shrinks. One writer; its values over the workers are summed.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    pub(crate) fn inc(&self) {
        self.0.store(self.0.load(Relaxed).wrapping_add(1), Relaxed);
    }

    pub(crate) fn dec(&self) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(1), Relaxed);
    }

    pub(crate) fn value(&self) -> i64 {
        self.0.load(Relaxed) as i64
    }
}

/// Upper bounds of the buckets of [`Histogram`], in microseconds; one more bucket has no bound.
pub(crate) const BOUNDS_US: [u64; 21] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
    500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// A distribution of durations. One writer.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [Counter; BOUNDS_US.len() + 1],
    sum_ns: Counter,
}

impl Histogram {
    pub(crate) fn observe(&self, duration: std::time::Duration) {
        let ns = duration.as_nanos() as u64;
        let index = BOUNDS_US.partition_point(|bound| bound * 1_000 < ns);
        if let Some(bucket) = self.buckets.get(index) {
            bucket.inc();
        }
        self.sum_ns.add(ns);
    }

    /// Counts per bucket, not cumulative.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = u64> + '_ {
        self.buckets.iter().map(Counter::value)
    }

    pub(crate) fn sum_ns(&self) -> u64 {
        self.sum_ns.value()
    }
}

/// One `T` per worker, each on cache lines of its own.
#[derive(Debug)]
pub(crate) struct PerWorker<T>(Box<[Padded<T>]>);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded<T>(T);

impl<T: Default> PerWorker<T> {
    pub(crate) fn new(workers: usize) -> Self {
        Self((0..workers.max(1)).map(|_| Padded::default()).collect())
    }
}

impl<T> PerWorker<T> {
    /// The cells of one worker. A worker passes its own number, which is below the count.
    #[allow(
        clippy::indexing_slicing,
        reason = "worker numbers are below the count both were made from"
    )]
    pub(crate) fn at(&self, worker: usize) -> &T {
        &self.0[worker].0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|padded| &padded.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn observations_land_in_their_bucket() {
        let histogram = Histogram::default();
        for us in [9, 10, 11, 60_000_000, 60_000_001] {
            histogram.observe(Duration::from_micros(us));
        }
        let counts: Vec<_> = histogram.buckets().collect();
        assert_eq!((counts[0], counts[1], counts[20], counts[21]), (2, 1, 1, 1));
    }
}
