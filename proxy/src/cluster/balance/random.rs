//! Random: by chance, by weight.

use super::{Balancer, Candidates, PROPOSALS, weights::Weights};
use crate::cluster::PickContext;

#[derive(Debug)]
pub(super) struct Random(Weights);

impl Random {
    pub(super) fn new(among: &Candidates<'_>) -> Self {
        Self(Weights::new(among.weights))
    }
}

impl Balancer for Random {
    fn pick(&self, among: &Candidates<'_>, cx: &PickContext<'_>) -> Option<usize> {
        for _ in 0..PROPOSALS {
            let index = self.0.draw(cx);
            if among.admits(index, cx) {
                return Some(index);
            }
        }
        among.any_by_weight(cx)
    }
}
