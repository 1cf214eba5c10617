//! Round robin: in turn, by weight.
//!
//! Endpoints own stretches of a circle, as long as their weights, and each pick goes on by about
//! 0.618 of the circle. The stride has no factor in common with the circle's length, so one cycle
//! meets every place once and the shares are exact; the golden ratio keeps an endpoint's turns
//! evenly apart. There is no state but one counter, which all workers share: the shares hold over
//! all of them together.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Balancer, Candidates, PROPOSALS};
use crate::cluster::PickContext;

/// Places on the circle, at most: products of two places stay below 2^64.
const LONGEST: u64 = 1 << 31;

/// How far from the golden ratio a better stride is looked for.
const NEARBY: u64 = 64;

#[derive(Debug)]
pub(super) struct RoundRobin {
    /// Begins anywhere, so that many proxies do not send to the same endpoint at the same time.
    turn: AtomicU64,
    /// Places on the circle.
    length: u64,
    stride: u64,
    /// Where each endpoint's stretch ends; empty where all have the same weight.
    ends: Box<[u64]>,
}

impl RoundRobin {
    pub(super) fn new(among: &Candidates<'_>) -> Self {
        let mut weights: Vec<u64> = among.weights.iter().map(|it| u64::from(*it)).collect();
        let common = weights.iter().copied().reduce(divisor).unwrap_or(1).max(1);
        for weight in &mut weights {
            *weight /= common;
        }
        // Weights as large as that are rounded; those of the configuration are not, up to 32,768 endpoints.
        while weights.iter().sum::<u64>() > LONGEST {
            for weight in &mut weights {
                *weight = (*weight / 2).max(1);
            }
        }
        let mut length = 0;
        let ends: Vec<u64> = weights
            .iter()
            .map(|weight| {
                length += weight;
                length
            })
            .collect();
        let equal = length == ends.len() as u64;
        Self {
            turn: AtomicU64::new(fastrand::u64(..)),
            stride: if equal { 1 } else { stride(length) },
            length,
            ends: if equal { Box::default() } else { ends.into() },
        }
    }

    fn next(&self) -> usize {
        let turn = self.turn.fetch_add(1, Relaxed);
        let place = turn.checked_rem(self.length).unwrap_or_default();
        if self.ends.is_empty() {
            return place as usize;
        }
        let place = place * self.stride % self.length;
        self.ends.partition_point(|end| *end <= place)
    }
}

impl Balancer for RoundRobin {
    fn pick(&self, among: &Candidates<'_>, cx: &PickContext<'_>) -> Option<usize> {
        for _ in 0..PROPOSALS {
            let index = self.next();
            if among.admits(index, cx) {
                return Some(index);
            }
        }
        among.any_by_weight(cx)
    }
}

/// About 0.618 of the length, with no factor in common with it, and as hard to approximate by
/// simple fractions as can be found nearby: after so many strides as the denominator of one, an
/// endpoint would have its turns close together and then a long pause.
fn stride(length: u64) -> u64 {
    let golden = (length as f64 * 0.618_033_988_749_894_9) as u64;
    let nearby = golden.saturating_sub(NEARBY).max(1)..=golden.saturating_add(NEARBY).min(length);
    nearby
        .filter(|stride| divisor(*stride, length) == 1)
        .min_by_key(|stride| (largest_quotient(*stride, length), stride.abs_diff(golden)))
        .unwrap_or(1)
}

/// Largest partial quotient of the continued fraction of a/b: large where cutting it off there
/// gives a close approximation.
fn largest_quotient(mut a: u64, mut b: u64) -> u64 {
    let mut largest = 0;
    while a != 0 {
        largest = largest.max(b / a);
        (a, b) = (b % a, a);
    }
    largest
}

/// Greatest common divisor.
fn divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
