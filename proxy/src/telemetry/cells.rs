//! Numbers that a worker writes on the request path and a scrape reads.
//!
//! Each cell has one writer, its worker, so an increment is a load and a store without a lock
//! prefix; readers on other threads see a recent value. Cells of different workers do not share
//! a cache line.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

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
        self.0.load(Relaxed).cast_signed()
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

/// One `T` per worker, each on cache lines of its own and made when that worker first asks for it:
/// what is configured but never used costs a few words, and shows in no scrape.
#[derive(Debug)]
pub(crate) struct PerWorker<T> {
    slots: Box<[Slot<T>]>,
    /// Where the first use asks for a series of its own; without one it is always granted.
    budget: Option<Arc<Budget<T>>>,
    /// What the budget said; asked once, so that all workers count in the same place.
    own: OnceLock<bool>,
}

/// Empty until first use; `None` where the budget's shared cells are used instead.
type Slot<T> = OnceLock<Option<Box<Padded<T>>>>;

#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded<T>(T);

impl<T> PerWorker<T> {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            slots: (0..workers.max(1)).map(|_| Slot::new()).collect(),
            budget: None,
            own: OnceLock::new(),
        }
    }

    /// Cells that become a series of their own only if `budget` has room when they are first used.
    pub(crate) fn within(budget: &Arc<Budget<T>>) -> Self {
        let mut cells = Self::new(budget.overflow.slots.len());
        cells.budget = Some(Arc::clone(budget));
        cells
    }

    /// Cells that are always counted in the budget's shared series.
    pub(crate) fn overflowing(budget: &Arc<Budget<T>>) -> Self {
        budget.refused.fetch_add(1, Relaxed);
        let mut cells = Self::within(budget);
        cells.own = OnceLock::from(false);
        cells
    }

    /// Cells that exist: of workers that used them. Empty where the shared cells were used.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots
            .iter()
            .filter_map(|slot| slot.get()?.as_deref())
            .map(|padded| &padded.0)
    }

    /// Whether a worker has used these cells and they are a series of their own.
    pub(crate) fn is_series(&self) -> bool {
        self.iter().next().is_some()
    }

    /// The sum of one number over the workers.
    pub(crate) fn total(&self, number: impl Fn(&T) -> u64) -> u64 {
        self.iter()
            .fold(0, |sum, cells| sum.wrapping_add(number(cells)))
    }
}

impl<T: Default> PerWorker<T> {
    /// The cells of one worker. A worker passes its own number, which is below the count. To ask
    /// is to use: not for objects that carry no traffic.
    #[allow(
        clippy::indexing_slicing,
        reason = "worker numbers are below the count both were made from"
    )]
    pub(crate) fn at(&self, worker: usize) -> &T {
        match self.slots[worker].get_or_init(|| self.first_use()) {
            Some(own) => &own.0,
            None => self.shared(worker),
        }
    }

    #[cold]
    fn first_use(&self) -> Option<Box<Padded<T>>> {
        let own = match &self.budget {
            Some(budget) => *self.own.get_or_init(|| budget.admit()),
            None => true,
        };
        own.then(Box::default)
    }

    #[cold]
    fn shared(&self, worker: usize) -> &T {
        let budget = self.budget.as_ref();
        budget
            .expect("only a budget refuses a series")
            .overflow
            .at(worker)
    }
}

impl<T> Drop for PerWorker<T> {
    fn drop(&mut self) {
        if let (Some(budget), Some(own)) = (&self.budget, self.own.get()) {
            let count = if *own {
                &budget.granted
            } else {
                &budget.refused
            };
            count.fetch_sub(1, Relaxed);
        }
    }
}

/// How many names of one kind may be series of their own, and where the others are counted.
#[derive(Debug)]
pub(crate) struct Budget<T> {
    most: usize,
    granted: AtomicUsize,
    refused: AtomicUsize,
    /// The one series that all further names share.
    pub(crate) overflow: Arc<PerWorker<T>>,
}

impl<T> Budget<T> {
    pub(crate) fn new(workers: usize, most: usize) -> Self {
        Self {
            most,
            granted: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            overflow: Arc::new(PerWorker::new(workers)),
        }
    }

    fn admit(&self) -> bool {
        let admitted = self
            .granted
            .fetch_update(Relaxed, Relaxed, |n| (n < self.most).then_some(n + 1))
            .is_ok();
        if !admitted {
            self.refused.fetch_add(1, Relaxed);
        }
        admitted
    }

    /// Whether the next name would be refused.
    pub(crate) fn is_spent(&self) -> bool {
        self.granted.load(Relaxed) >= self.most
    }

    /// Names that are counted in the shared series now.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Relaxed)
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

    #[test]
    fn cells_are_made_by_the_worker_that_uses_them() {
        let cells = PerWorker::<Counter>::new(4);
        assert!(!cells.is_series());
        cells.at(2).add(5);
        cells.at(2).inc();
        cells.at(0).inc();
        assert_eq!(cells.iter().count(), 2);
        assert_eq!(cells.total(Counter::value), 7);
    }

    #[test]
    fn names_beyond_the_budget_share_one_series() {
        let budget = Arc::new(Budget::<Counter>::new(2, 1));
        let [first, second, third] = [(); 3].map(|()| PerWorker::within(&budget));
        second.at(1).inc(); // first come, first served: by use, not by creation
        first.at(0).add(10);
        first.at(1).add(10);
        assert!(second.is_series() && !first.is_series());
        assert_eq!(budget.overflow.total(Counter::value), 20);
        assert_eq!((budget.is_spent(), budget.refused()), (true, 1));

        drop(second);
        assert!(!budget.is_spent());
        third.at(0).inc();
        assert!(third.is_series());
        first.at(0).inc(); // what was refused stays where its counts are
        assert_eq!(budget.overflow.total(Counter::value), 21);
        drop(first);
        assert_eq!(budget.refused(), 0);
    }

    #[test]
    fn unused_cells_cost_less_than_a_hundred_bytes() {
        let arc_header = 2 * size_of::<usize>();
        let workers = 2;
        let cost = arc_header
            + size_of::<PerWorker<[u64; 100]>>()
            + workers * size_of::<Slot<[u64; 100]>>();
        assert!(cost < 100, "{cost}");
    }

    #[test]
    fn every_worker_may_be_the_first() {
        let budget = Arc::new(Budget::<Counter>::new(8, 1));
        let (a, b) = (PerWorker::within(&budget), PerWorker::within(&budget));
        std::thread::scope(|scope| {
            for worker in 0..8 {
                let (a, b) = (&a, &b);
                scope.spawn(move || {
                    for _ in 0..1_000 {
                        a.at(worker).inc();
                        b.at(worker).inc();
                    }
                });
            }
        });
        assert_ne!(a.is_series(), b.is_series());
        let (one, other) = if a.is_series() { (&a, &b) } else { (&b, &a) };
        assert_eq!(one.total(Counter::value), 8_000);
        assert_eq!(other.total(Counter::value), 0);
        assert_eq!(budget.overflow.total(Counter::value), 8_000);
    }
}
