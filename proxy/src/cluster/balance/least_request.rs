//! Least request: of a few random choices, the one with the fewest requests in flight for its
//! weight.

use outrigger_config::model;

use super::{Balancer, Candidates, choices::Choices};
use crate::cluster::PickContext;

#[derive(Debug)]
pub(super) struct LeastRequest(Choices);

impl LeastRequest {
    pub(super) fn new(settings: &model::LeastRequest, among: &Candidates<'_>) -> Self {
        Self(Choices::new(settings.choices as usize, among))
    }
}

impl Balancer for LeastRequest {
    fn pick(&self, among: &Candidates<'_>, cx: &PickContext<'_>) -> Option<usize> {
        self.0.pick(among, cx, |endpoint, share| {
            endpoint.active() as f32 * share + 1.0
        })
    }
}
