//! The power of two (or more) choices: draw a few endpoints by chance, take the cheapest
//! (Mitzenmacher 2001). No herd forms, since not everyone sees the same best one.

use super::{Candidates, PROPOSALS, weights::Weights};
use crate::cluster::{PickContext, endpoint::Endpoint};

/// Largest number of endpoints compared; what `choices` may be in the configuration.
const MOST: usize = 16;

/// With unequal weights, how many times cheaper an endpoint must be to be taken although chance
/// drew only another one.
const MUCH_CHEAPER: f32 = 2.0;

/// The drawing part of P2C balancers; what is cheap is theirs to say.
#[derive(Debug)]
pub(super) struct Choices {
    count: usize,
    weights: Weights,
    /// Mean weight over the endpoint's weight; empty where all weights are equal.
    shares: Box<[f32]>,
}

impl Choices {
    pub(super) fn new(count: usize, among: &Candidates<'_>) -> Self {
        let weights = Weights::new(among.weights);
        let shares = match &weights {
            Weights::Equal(_) => Box::default(),
            Weights::Alias(_) => {
                let total: f64 = among.weights.iter().map(|it| f64::from(*it)).sum();
                let mean = total / among.len() as f64;
                let share = |weight: &u32| (mean / f64::from(*weight)) as f32;
                among.weights.iter().map(share).collect()
            }
        };
        Self {
            count: count.clamp(2, MOST),
            weights,
            shares,
        }
    }

    /// The cheapest of those drawn. `cost` gets an endpoint and its mean weight over its weight.
    pub(super) fn pick(
        &self,
        among: &Candidates<'_>,
        cx: &PickContext<'_>,
        cost: impl Fn(&Endpoint, f32) -> f32,
    ) -> Option<usize> {
        if among.len() < 2 {
            return among.any(0, cx);
        }
        for _ in 0..PROPOSALS {
            let mut best = Best::default();
            match &self.weights {
                Weights::Equal(_) if self.count == 2 || among.len() == 2 => {
                    let first = cx.below(among.len());
                    let second = cx.below(among.len() - 1);
                    let second = second + usize::from(second >= first);
                    self.consider(first, &mut best, among, cx, &cost);
                    self.consider(second, &mut best, among, cx, &cost);
                }
                Weights::Equal(_) => self.several(&mut best, among, cx, &cost),
                Weights::Alias(_) => self.by_weight(&mut best, among, cx, &cost),
            }
            if best.index.is_some() {
                return best.index;
            }
        }
        among.any_by_weight(cx)
    }

    fn consider(
        &self,
        index: usize,
        best: &mut Best,
        among: &Candidates<'_>,
        cx: &PickContext<'_>,
        cost: impl Fn(&Endpoint, f32) -> f32,
    ) {
        if !among.admits(index, cx) {
            return;
        }
        let Some(endpoint) = among.get(index) else {
            return;
        };
        let share = self.shares.get(index).copied().unwrap_or(1.0);
        best.offer(index, cost(endpoint, share), cx);
    }

    /// Draws more than two different ones (Floyd's algorithm: each subset is as likely).
    fn several(
        &self,
        best: &mut Best,
        among: &Candidates<'_>,
        cx: &PickContext<'_>,
        cost: impl Fn(&Endpoint, f32) -> f32,
    ) {
        let count = self.count.min(among.len());
        let mut drawn = [usize::MAX; MOST];
        for (slot, last) in (among.len() - count..among.len()).enumerate() {
            let index = cx.below(last + 1);
            let index = if drawn.contains(&index) { last } else { index };
            if let Some(place) = drawn.get_mut(slot) {
                *place = index;
            }
            self.consider(index, best, among, cx, &cost);
        }
    }

    /// Draws by weight, the same one perhaps more than once: only so do equal costs lead to
    /// shares equal to the weights. A heavy endpoint that is drawn against itself is compared
    /// with one other, lest it be taken however bad it is.
    fn by_weight(
        &self,
        best: &mut Best,
        among: &Candidates<'_>,
        cx: &PickContext<'_>,
        cost: impl Fn(&Endpoint, f32) -> f32,
    ) {
        let first = self.weights.draw(cx);
        self.consider(first, best, among, cx, &cost);
        let mut alone = true;
        for _ in 1..self.count {
            let next = self.weights.draw(cx);
            alone &= next == first;
            self.consider(next, best, among, cx, &cost);
        }
        if alone && best.index.is_some() {
            let other = cx.below(among.len() - 1);
            let other = other + usize::from(other >= first);
            self.consider(other, best, among, cx, |endpoint, share| {
                cost(endpoint, share) * MUCH_CHEAPER
            });
        }
    }
}

/// The cheapest so far. Of several that cost the same, each is as likely to stay.
#[derive(Debug, Default)]
struct Best {
    index: Option<usize>,
    cost: f32,
    equals: usize,
}

impl Best {
    fn offer(&mut self, index: usize, cost: f32, cx: &PickContext<'_>) {
        if self.index.is_none() || cost < self.cost {
            *self = Self {
                index: Some(index),
                cost,
                equals: 1,
            };
        } else if cost <= self.cost {
            self.equals += 1;
            if cx.below(self.equals) == 0 {
                self.index = Some(index);
            }
        }
    }
}
