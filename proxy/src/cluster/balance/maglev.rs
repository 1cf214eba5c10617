//! Maglev: consistent hashing by a table (Eisenbud et al., NSDI 2016, section 3.4).
//!
//! One look-up per pick, and shares that follow the weights closely; when an endpoint leaves, a
//! few more keys move than were its own. The table depends on names and weights alone, not on
//! order, so every proxy builds the same one.

use std::{cmp::Reverse, collections::BinaryHeap};

use outrigger_config::model;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Balancer, Candidates};
use crate::cluster::PickContext;

/// Slots looked at in search of an endpoint that takes the key.
const STEPS: usize = 256;

const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Maglev {
    table: Table,
}

/// Index of the endpoint of each slot, in as few bytes as will do: a table of 65,537 slots takes
/// 128 KiB for any number of endpoints that it suits.
#[derive(Debug)]
enum Table {
    Narrow(Box<[u16]>),
    Wide(Box<[u32]>),
}

impl Maglev {
    pub(super) fn new(settings: &model::Maglev, among: &Candidates<'_>) -> Self {
        let slots = fill(settings.table_size, among);
        let table = if u16::try_from(among.len()).is_ok() {
            Table::Narrow(slots.into_iter().map(|slot| slot as u16).collect())
        } else {
            Table::Wide(slots.into())
        };
        Self { table }
    }
}

impl Balancer for Maglev {
    fn pick(&self, among: &Candidates<'_>, cx: &PickContext<'_>) -> Option<usize> {
        // Without anything to hash, a random slot is a random endpoint by weight.
        let hash = cx.hash.unwrap_or_else(|| cx.bits());
        let len = match &self.table {
            Table::Narrow(slots) => slots.len(),
            Table::Wide(slots) => slots.len(),
        };
        let start = hash.checked_rem(len as u64)? as usize;
        (start..len)
            .chain(0..start)
            .take(STEPS)
            .filter_map(|slot| match &self.table {
                Table::Narrow(slots) => slots.get(slot).map(|it| usize::from(*it)),
                Table::Wide(slots) => slots.get(slot).map(|it| *it as usize),
            })
            .find(|index| among.admits_key(*index, hash, cx))
            .or_else(|| among.any(start, cx))
    }
}

/// One endpoint's walk over the table: it takes the next free slot at each of its turns.
struct Walk {
    endpoint: u32,
    weight: u64,
    turns: u64,
    slot: u64,
    skip: u64,
}

/// Endpoints take turns by weight until every slot is taken. An endpoint's nth turn is due at
/// n/weight; those due at once go by name.
fn fill(size: u32, among: &Candidates<'_>) -> Vec<u32> {
    if among.len() == 0 {
        return Vec::new();
    }
    let size = prime_from(u64::from(size));
    let mut walks: Vec<Walk> = among
        .by_name()
        .into_iter()
        .map(|(endpoint, it, weight)| Walk {
            endpoint,
            weight: weight.max(1),
            turns: 0,
            slot: xxh3_64_with_seed(it.name.as_bytes(), 0) % size,
            skip: xxh3_64_with_seed(it.name.as_bytes(), 1) % (size - 1) + 1,
        })
        .collect();

    // Due times are fractions of one denominator, so that comparing them is exact and the same
    // everywhere: 2^40 / weight per turn.
    let due = |walk: &Walk| u128::from(walk.turns + 1) * ((1u128 << 40) / u128::from(walk.weight));
    let mut queue: BinaryHeap<Reverse<(u128, usize)>> = walks
        .iter()
        .enumerate()
        .map(|(place, walk)| Reverse((due(walk), place)))
        .collect();
    let mut table = vec![NONE; size as usize];
    for _ in 0..size {
        let Some(Reverse((_, place))) = queue.pop() else {
            break;
        };
        let Some(walk) = walks.get_mut(place) else {
            break;
        };
        walk.take_slot(&mut table);
        walk.turns += 1;
        queue.push(Reverse((due(walk), place)));
    }
    table
}

impl Walk {
    /// A skip and a prime have no factor in common, so the walk meets every slot; it is called
    /// while one is free.
    fn take_slot(&mut self, table: &mut [u32]) {
        let size = table.len() as u64;
        for _ in 0..size {
            let slot = self.slot as usize;
            self.slot = (self.slot + self.skip) % size;
            if let Some(free) = table.get_mut(slot).filter(|it| **it == NONE) {
                *free = self.endpoint;
                return;
            }
        }
    }
}

/// The least prime from `least` on. The configuration asks for a prime; another size would leave
/// slots that no walk meets.
fn prime_from(least: u64) -> u64 {
    let least = least.max(3);
    let is_prime = |n: &u64| (2..=n.isqrt()).all(|divisor| !n.is_multiple_of(divisor));
    // There is one below the double (Bertrand's postulate).
    (least..2 * least).find(is_prime).unwrap_or(65_537)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_become_primes() {
        for (size, prime) in [
            (0, 3),
            (3, 3),
            (4, 5),
            (65_536, 65_537),
            (5_000_011, 5_000_011),
        ] {
            assert_eq!(prime_from(size), prime);
        }
    }
}
