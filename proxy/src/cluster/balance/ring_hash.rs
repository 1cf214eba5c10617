//! Ring hash: consistent hashing on a ring of points (Karger et al. 1997; libketama).
//!
//! Points depend on names and weights alone, not on order, so every proxy builds the same ring.
//! An endpoint keeps the number of its points while others come and go: one that leaves moves its
//! own keys and no others. (Envoy divides a fixed size among the endpoints: when one of ten
//! leaves, the other nine get new points and nearly as many keys again move between them.)

use outrigger_config::model;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Balancer, Candidates};
use crate::cluster::PickContext;

/// Points of an endpoint of average weight, at least; below twice that many. Its share of the
/// keys then varies by about 9 %.
const POINTS: u64 = 128;

/// Points of a ring (Envoy's bound): 64 MiB.
const MOST: u64 = 8 << 20;

/// Steps along the ring in search of an endpoint that takes the key.
const STEPS: usize = 256;

#[derive(Debug)]
pub(super) struct RingHash {
    /// By hash. Upper halves of the 64 bits are enough: of 8 million points a few thousand share
    /// theirs with another, and the order of those is fixed too.
    points: Box<[Point]>,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    hash: u32,
    endpoint: u32,
}

impl RingHash {
    pub(super) fn new(settings: &model::RingHash, among: &Candidates<'_>) -> Self {
        let by_name = among.by_name();
        let weights: Vec<u64> = by_name.iter().map(|(.., weight)| *weight).collect();
        let counts = points_of(&weights, settings.min_size.into());
        let mut points = Vec::with_capacity(counts.iter().sum::<u64>() as usize);
        for ((endpoint, it, _), count) in by_name.into_iter().zip(counts) {
            points.extend((0..count).map(|seed| Point {
                hash: (xxh3_64_with_seed(it.name.as_bytes(), seed) >> 32) as u32,
                endpoint,
            }));
        }
        // Stable: points with one hash stay in the order of names.
        points.sort_by_key(|point| point.hash);
        Self {
            points: points.into(),
        }
    }
}

/// Points per endpoint. The unit is the power of two below the average weight: it stays the same
/// when endpoints come and go, unless they change what an average endpoint is.
fn points_of(weights: &[u64], min_size: u64) -> Vec<u64> {
    let total: u64 = weights.iter().sum();
    let Some(average) = total.checked_div(weights.len() as u64) else {
        return Vec::new();
    };
    let unit = 1u64 << average.max(1).ilog2();
    let points = |weight: u64, per_unit: u64| (weight * per_unit).div_ceil(unit);
    let sum = |per_unit| weights.iter().map(|it| points(*it, per_unit)).sum::<u64>();

    let min_size = min_size.min(MOST);
    let mut per_unit = POINTS * min_size.div_ceil(sum(POINTS).max(1)).max(1);
    // Small weights are rounded up less by then: by a part in 128 it may still be too few.
    while sum(per_unit) < min_size {
        per_unit += POINTS;
    }
    while sum(per_unit) > MOST && per_unit > 1 {
        per_unit /= 2;
    }
    weights.iter().map(|it| points(*it, per_unit)).collect()
}

impl Balancer for RingHash {
    fn pick(&self, among: &Candidates<'_>, cx: &PickContext<'_>) -> Option<usize> {
        // Without anything to hash, a random place on the ring is a random endpoint by weight.
        let key = cx.hash.unwrap_or_else(|| cx.bits());
        let hash = (key >> 32) as u32;
        let start = self.points.partition_point(|point| point.hash < hash);
        let (before, after) = self.points.split_at_checked(start)?;
        after
            .iter()
            .chain(before)
            .take(STEPS)
            .map(|point| point.endpoint as usize)
            .find(|index| among.admits_key(*index, key, cx))
            .or_else(|| among.any(hash as usize, cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_bounded_and_steady() {
        let check = |weights: &[u64], min_size, expected: &[u64]| {
            assert_eq!(points_of(weights, min_size), expected, "{weights:?}");
        };
        check(&[], 1_024, &[]);
        check(&[1], 1, &[128]);
        check(&[1], 1_024, &[1_024]);
        check(&[1; 3], 1_024, &[384; 3]);
        check(&[1; 8], 1_024, &[128; 8]);
        check(&[1; 10], 1_024, &[128; 10]);
        check(&[100; 10], 1_024, &[200; 10]);
        check(&[1, 3], 1, &[64, 192]);
        check(&[65_535, 1], 1, &[256, 1]);

        let many = points_of(&vec![1; 100_000], 1_024).iter().sum::<u64>();
        assert!(many <= MOST, "{many}");
        // The largest that may be configured.
        let least = 4_194_304;
        let many = vec![1; 40_000];
        for weights in [&[1][..], &[7, 9], &[1; 3], &[65_535, 1], &many] {
            let sum = points_of(weights, least).iter().sum::<u64>();
            assert!((least..=MOST).contains(&sum), "{} {sum}", weights.len());
        }
    }
}
