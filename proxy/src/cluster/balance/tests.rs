//! What holds for every balancer, and for each its shares.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use outrigger_config::model::{self, Balance};
use proptest::prelude::*;

use super::*;
use crate::{
    cluster::endpoint::{Birth, InFlight},
    net::address::Address,
};

const SECOND: u64 = 1_000_000_000;

fn balances() -> Vec<Balance> {
    vec![
        Balance::RoundRobin(model::RoundRobin {}),
        Balance::Random(model::Random {}),
        least_request(2),
        least_request(5),
        peak_ewma(),
        ring_hash(),
        maglev(),
    ]
}

fn least_request(choices: u32) -> Balance {
    Balance::LeastRequest(model::LeastRequest { choices })
}

fn peak_ewma() -> Balance {
    Balance::PeakEwma(model::PeakEwma {
        decay: std::time::Duration::from_secs(10),
        initial_latency: std::time::Duration::from_millis(30),
    })
}

fn ring_hash() -> Balance {
    Balance::RingHash(model::RingHash {
        hash_on: Vec::new(),
        min_size: 1_024,
    })
}

fn maglev() -> Balance {
    Balance::Maglev(model::Maglev {
        hash_on: Vec::new(),
        table_size: 65_537,
    })
}

/// Endpoints 10.0.x.y:80 in the order of `numbers`, their balancer, and chance with a fixed seed.
struct Bed {
    endpoints: Vec<Arc<Endpoint>>,
    weights: Vec<u32>,
    balancer: Box<dyn Balancer>,
    slow_start: u64,
    random: RefCell<fastrand::Rng>,
}

impl Bed {
    fn new(balance: &Balance, weights: &[u32]) -> Self {
        let numbered: Vec<(u16, u32)> = (0..).zip(weights.iter().copied()).collect();
        Self::of(balance, &numbered)
    }

    fn of(balance: &Balance, numbered: &[(u16, u32)]) -> Self {
        Self::with(balance, numbered, |_| false)
    }

    fn with(balance: &Balance, numbered: &[(u16, u32)], joins: impl Fn(u16) -> bool) -> Self {
        let endpoint = |number: u16| {
            let [high, low] = number.to_be_bytes();
            let birth = Birth {
                cluster: "c",
                decay: 10 * SECOND,
                initial: SECOND / 33,
                joins_others: joins(number),
                now: 0,
            };
            let address = Address::Tcp(([10, 0, high, low], 80).into());
            Arc::new(Endpoint::new(vec![address], birth))
        };
        let endpoints: Vec<_> = numbered.iter().map(|(it, _)| endpoint(*it)).collect();
        let weights: Vec<_> = numbered.iter().map(|(_, weight)| *weight).collect();
        Self {
            balancer: build(balance, &Candidates::new(&endpoints, &weights, 0)),
            endpoints,
            weights,
            slow_start: 0,
            random: RefCell::new(fastrand::Rng::with_seed(7)),
        }
    }

    fn pick_with(&self, hash: Option<u64>, now: u64, tried: &[u32]) -> Option<usize> {
        let cx = PickContext {
            hash,
            now,
            random: &self.random,
            tried,
        };
        let among = Candidates::new(&self.endpoints, &self.weights, self.slow_start);
        self.balancer.pick(&among, &cx)
    }

    fn pick(&self) -> usize {
        self.pick_with(None, 0, &[]).unwrap()
    }

    /// Which part of so many picks each endpoint gets.
    fn shares(&self, picks: usize, now: u64) -> Vec<f64> {
        let mut counts = vec![0u32; self.endpoints.len()];
        for _ in 0..picks {
            counts[self.pick_with(None, now, &[]).unwrap()] += 1;
        }
        counts
            .iter()
            .map(|n| f64::from(*n) / picks as f64)
            .collect()
    }

    fn name_for(&self, key: u64) -> &str {
        &self.endpoints[self.pick_with(Some(hash(key)), 0, &[]).unwrap()].name
    }

    fn everyone_answered_in(&self, latency: u64, now: u64) {
        for endpoint in &self.endpoints {
            endpoint.start().observe(latency, now);
        }
    }
}

fn hash(key: u64) -> u64 {
    xxhash_rust::xxh3::xxh3_64(&key.to_le_bytes())
}

fn expected_shares(weights: &[u32]) -> Vec<f64> {
    let total: f64 = weights.iter().map(|it| f64::from(*it)).sum();
    weights.iter().map(|it| f64::from(*it) / total).collect()
}

#[test]
fn shares_follow_the_weights() {
    for weights in [&[1; 10][..], &[1, 2, 3, 4], &[90, 10], &[100, 1, 1], &[5]] {
        for balance in balances() {
            let bed = Bed::new(&balance, weights);
            // Equal costs: then weight decides alone.
            bed.everyone_answered_in(SECOND / 100, 0);
            // Points on a ring are chance that stays; the rest is chance of 40,000 draws.
            let slack = if matches!(balance, Balance::RingHash(_)) {
                0.3
            } else {
                0.04
            };
            for (share, expected) in bed.shares(40_000, 0).iter().zip(expected_shares(weights)) {
                assert!(
                    (share - expected).abs() <= expected * slack + 0.005,
                    "{balance:?} {weights:?}: {share} for {expected}"
                );
            }
        }
    }
}

#[test]
fn nobody_and_one() {
    for balance in balances() {
        assert_eq!(Bed::new(&balance, &[]).pick_with(None, 0, &[]), None);
        let one = Bed::new(&balance, &[3]);
        assert_eq!(one.pick(), 0);
        let id = one.endpoints[0].id;
        assert_eq!(one.pick_with(None, 0, &[id]), Some(0), "{balance:?}");
        one.endpoints[0].set_usable(false);
        assert_eq!(one.pick_with(None, 0, &[id]), Some(0), "{balance:?}");
    }
}

proptest! {
    /// Open endpoints before tried ones, tried ones before unusable ones, any before none.
    #[test]
    fn what_is_open_is_found(
        members in prop::collection::vec((1u32..1_000, any::<bool>(), prop::bool::weighted(0.2)), 1..20),
        key in any::<Option<u64>>(),
    ) {
        let weights: Vec<u32> = members.iter().map(|it| it.0).collect();
        for balance in balances() {
            let bed = Bed::new(&balance, &weights);
            let mut tried = Vec::new();
            for (endpoint, (_, usable, was_tried)) in bed.endpoints.iter().zip(&members) {
                endpoint.set_usable(*usable);
                if *was_tried {
                    tried.push(endpoint.id);
                }
            }
            let is_open = |index: usize| members[index].1 && !members[index].2;
            for _ in 0..10 {
                let index = bed.pick_with(key.map(hash), 0, &tried).unwrap();
                if (0..members.len()).any(is_open) {
                    prop_assert!(is_open(index), "{balance:?}");
                } else if members.iter().any(|it| it.1) {
                    prop_assert!(members[index].1, "{balance:?}");
                }
            }
        }
    }

    /// Each cycle has the exact shares, wherever it begins.
    #[test]
    fn round_robin_is_exact(weights in prop::collection::vec(1u32..100, 1..12), skip in 0usize..1_000) {
        let bed = Bed::new(&Balance::RoundRobin(model::RoundRobin {}), &weights);
        for _ in 0..skip {
            bed.pick();
        }
        let mut left = weights.clone();
        for _ in 0..weights.iter().sum() {
            let index = bed.pick();
            prop_assert!(left[index] > 0);
            left[index] -= 1;
        }
    }

    /// Turns of an endpoint are spread over the cycle: never is the next more than three times
    /// as far as the average (the three distances of a golden stride).
    #[test]
    fn round_robin_is_smooth(weights in prop::collection::vec(1u32..50, 2..8)) {
        let bed = Bed::new(&Balance::RoundRobin(model::RoundRobin {}), &weights);
        let total = weights.iter().sum::<u32>() as usize;
        let turns: Vec<usize> = (0..2 * total).map(|_| bed.pick()).collect();
        for (index, weight) in weights.iter().enumerate() {
            let places: Vec<usize> = (0..turns.len()).filter(|at| turns[*at] == index).collect();
            let widest = places.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
            let average = total as f64 / f64::from(*weight);
            prop_assert!(widest as f64 <= 3.0 * average + 1.0, "{weights:?}: {widest} for {average}");
        }
    }
}

#[test]
fn round_robin_begins_anywhere() {
    let first = |_| Bed::new(&Balance::RoundRobin(model::RoundRobin {}), &[1; 100]).pick();
    let first: std::collections::HashSet<usize> = (0..20).map(first).collect();
    assert!(first.len() > 5, "{first:?}");
}

#[test]
fn the_unusable_ones_share_goes_to_all_others() {
    for balance in balances() {
        let bed = Bed::new(&balance, &[96, 2, 1, 1]);
        bed.everyone_answered_in(SECOND / 100, 0);
        bed.endpoints[0].set_usable(false);
        let shares = bed.shares(40_000, 0);
        assert!(shares[0] < f64::EPSILON, "{balance:?}");
        for (share, expected) in shares[1..].iter().zip([0.5, 0.25, 0.25]) {
            assert!((share - expected).abs() < 0.15, "{balance:?}: {shares:?}");
        }
    }
}

#[test]
fn slow_start_holds_back_the_new_one() {
    for balance in [
        Balance::RoundRobin(model::RoundRobin {}),
        Balance::Random(model::Random {}),
        least_request(2),
        least_request(5),
        peak_ewma(),
        ring_hash(),
        maglev(),
    ] {
        for weights in [[1; 5], [2, 4, 2, 4, 3]] {
            let numbered: Vec<(u16, u32)> = (0..).zip(weights).collect();
            let mut bed = Bed::with(&balance, &numbered, |number| number == 4);
            bed.slow_start = 10 * SECOND;
            // At these times, a part of the 20 % it will have. Its own share of what is left over
            // goes to everyone, so a little more than the plain part is right. A ring is no more
            // even than its points.
            let uneven = match balance {
                Balance::RingHash(_) => 0.03,
                _ => 0.0,
            };
            for (now, least, most) in [
                (0, 0.01, 0.03),
                (5 * SECOND, 0.09 - uneven, 0.14 + uneven),
                (10 * SECOND, 0.19 - uneven, 0.21 + uneven),
            ] {
                bed.everyone_answered_in(SECOND / 100, now);
                let share = bed.shares(40_000, now)[4];
                assert!(
                    (least..=most).contains(&share),
                    "{balance:?} at {now}: {share}"
                );
            }
        }
    }
}

/// Each key comes to the new endpoint once and stays. On a ring it stays until then where it was
/// before the endpoint came.
#[test]
fn slow_start_moves_keys_one_by_one() {
    let (old, all) = (
        [(0, 1), (1, 1), (2, 1), (3, 1)],
        [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1)],
    );
    for balance in [ring_hash(), maglev()] {
        let before = Bed::of(&balance, &old);
        let mut bed = Bed::with(&balance, &all, |number| number == 4);
        bed.slow_start = 10 * SECOND;
        let (mut early, mut late) = (0, 0);
        for key in (0..4_000).map(hash) {
            let at = |second| bed.pick_with(Some(key), second * SECOND, &[]).unwrap();
            let turns: Vec<bool> = (0..=10).map(|second| at(second) == 4).collect();
            assert!(turns.is_sorted(), "{balance:?}: {turns:?}");
            early += u32::from(turns[1]);
            late += u32::from(turns[10]);
            if matches!(balance, Balance::RingHash(_)) && !turns[3] {
                assert_eq!(Some(at(3)), before.pick_with(Some(key), 0, &[]));
            }
        }
        assert!(early > 0 && early * 5 < late, "{balance:?}: {early} {late}");
    }
}

fn load(bed: &Bed, index: usize, count: usize) -> Vec<InFlight> {
    (0..count).map(|_| bed.endpoints[index].start()).collect()
}

#[test]
fn two_choices_avoid_the_busy_one() {
    for balance in [least_request(2), least_request(5), peak_ewma()] {
        let bed = Bed::new(&balance, &[1; 10]);
        bed.everyone_answered_in(SECOND / 100, 0);
        let _busy = load(&bed, 3, 20);
        let share = bed.shares(20_000, 0)[3];
        assert!(share < 0.001, "{balance:?}: {share}");
    }
}

#[test]
fn a_heavy_endpoint_may_be_busier_but_not_bad() {
    for balance in [least_request(2), peak_ewma()] {
        let bed = Bed::new(&balance, &[9, 1]);
        bed.everyone_answered_in(SECOND / 100, 0);
        // Nine to one: as busy for its weight.
        let busy = (load(&bed, 0, 9), load(&bed, 1, 1));
        let share = bed.shares(20_000, 0)[0];
        assert!((share - 0.9).abs() < 0.02, "{balance:?}: {share}");
        drop(busy);
        let _stuck = load(&bed, 0, 200);
        let share = bed.shares(20_000, 0)[0];
        assert!(share < 0.001, "{balance:?}: {share}");
    }
}

#[test]
fn more_choices_find_the_idle_one_more_often() {
    let idle_share = |choices| {
        let bed = Bed::new(&least_request(choices), &[1; 20]);
        let _busy: Vec<_> = (1..20).map(|index| load(&bed, index, 1)).collect();
        bed.shares(20_000, 0)[0]
    };
    // 2/20, 8/20.
    assert!((idle_share(2) - 0.1).abs() < 0.01);
    assert!((idle_share(8) - 0.4).abs() < 0.02);
}

#[test]
fn peak_ewma_turns_from_the_slow_and_comes_back() {
    let bed = Bed::new(&peak_ewma(), &[1; 5]);
    bed.everyone_answered_in(SECOND / 1_000, 0);
    bed.endpoints[2].start().observe(SECOND, 0);
    assert!(bed.shares(20_000, 0)[2] < 0.001);
    // The others are seen to take a millisecond all the time; it decays for 69 s = ln(1000) * 10 s.
    for (now, is_back) in [(60 * SECOND, false), (75 * SECOND, true)] {
        for index in [0, 1, 3, 4] {
            bed.endpoints[index].start().observe(SECOND / 1_000, now);
        }
        assert_eq!(bed.shares(20_000, now)[2] > 0.1, is_back, "{now}");
    }
}

#[test]
fn a_new_endpoint_beside_fast_ones_is_found_out_at_once() {
    let bed = Bed::new(&peak_ewma(), &[1; 10]);
    for endpoint in &bed.endpoints[1..] {
        endpoint.start().observe(SECOND / 1_000, 0);
    }
    let mut picks = 0;
    while bed.pick() != 0 {
        picks += 1;
        assert!(picks < 100);
    }
    // While its first request is out, it gets no other.
    let first = load(&bed, 0, 1);
    assert!(bed.shares(10_000, 0)[0] < 0.001);
    first[0].observe(SECOND / 1_000, 0);
    drop(first);
    assert!((bed.shares(20_000, 0)[0] - 0.1).abs() < 0.02);
}

/// Part of the keys of others that moves when endpoint `gone` leaves.
fn disturbed(balance: &Balance, weights: &[u32], gone: u16) -> f64 {
    const KEYS: u64 = 20_000;
    let all: Vec<(u16, u32)> = (0..).zip(weights.iter().copied()).collect();
    let rest: Vec<_> = all.iter().copied().filter(|it| it.0 != gone).collect();
    let (before, after) = (Bed::of(balance, &all), Bed::of(balance, &rest));
    let gone = &before.endpoints[usize::from(gone)].name;
    let moved = |key: &u64| {
        let owner = before.name_for(*key);
        owner != &**gone && owner != after.name_for(*key)
    };
    (0..KEYS).filter(moved).count() as f64 / KEYS as f64
}

#[test]
fn consistent_hashing_moves_little() {
    for (balance, most) in [(ring_hash(), 0.0), (maglev(), 0.03)] {
        for (weights, gone) in [
            (&[1; 10][..], 4),
            (&[1; 50], 0),
            (&[3, 1, 2, 1, 3, 2, 1, 2, 1, 3], 2),
        ] {
            let part = disturbed(&balance, weights, gone);
            assert!(part <= most, "{balance:?} {weights:?}: {part}");
        }
    }
}

#[test]
fn consistent_hashing_does_not_depend_on_the_order() {
    for balance in [ring_hash(), maglev()] {
        let list = [(1, 1), (2, 2), (3, 1), (4, 3)];
        let reversed: Vec<_> = list.iter().rev().copied().collect();
        let (one, other) = (Bed::of(&balance, &list), Bed::of(&balance, &reversed));
        for key in 0..5_000 {
            assert_eq!(one.name_for(key), other.name_for(key), "{balance:?}");
        }
    }
}

#[test]
fn a_key_has_one_second_choice() {
    for balance in [ring_hash(), maglev()] {
        let bed = Bed::new(&balance, &[1; 10]);
        let mut seconds: HashMap<usize, u32> = HashMap::new();
        for key in 0..2_000 {
            let hash = Some(hash(key));
            let first = bed.pick_with(hash, 0, &[]).unwrap();
            let tried = [bed.endpoints[first].id];
            let second = bed.pick_with(hash, 0, &tried).unwrap();
            assert_ne!(first, second);
            assert_eq!(bed.pick_with(hash, 0, &tried), Some(second));
            if first == 0 {
                *seconds.entry(second).or_default() += 1;
            }
        }
        // The keys of one endpoint do not all go to the same other one.
        assert!(seconds.len() > 5, "{balance:?}: {seconds:?}");
    }
}

#[test]
fn maglev_tables_are_even() {
    for weights in [
        &[1; 7][..],
        &[1; 100],
        &[1, 2, 3, 4],
        &[65_535, 1],
        &[97, 89, 3],
    ] {
        let bed = Bed::new(&maglev(), weights);
        let mut slots = vec![0u32; weights.len()];
        for slot in 0..65_537 {
            slots[bed.pick_with(Some(slot), 0, &[]).unwrap()] += 1;
        }
        for (count, share) in slots.iter().zip(expected_shares(weights)) {
            let quota = share * 65_537.0;
            assert!(
                (f64::from(*count) - quota).abs() <= 2.0,
                "{weights:?}: {slots:?}"
            );
        }
    }
}
