//! Peak EWMA: of two random choices, the one where a request would wait for less: the moving
//! average of latency, which jumps at peaks, times the requests in flight (Finagle, Linkerd).

use super::{Balancer, Candidates, choices::Choices};
use crate::cluster::PickContext;

/// Decay and assumed latency are the endpoints' own, who outlive this.
#[derive(Debug)]
pub(super) struct PeakEwma(Choices);

impl PeakEwma {
    pub(super) fn new(among: &Candidates<'_>) -> Self {
        Self(Choices::new(2, among))
    }
}

impl Balancer for PeakEwma {
    fn pick(&self, among: &Candidates<'_>, cx: &PickContext<'_>) -> Option<usize> {
        self.0
            .pick(among, cx, |endpoint, share| endpoint.cost(share, cx.now))
    }
}
