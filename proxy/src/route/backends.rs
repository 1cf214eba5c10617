//! The backends of a rule, and the choice among them by weight.

use std::sync::Arc;

use crate::{cluster::Cluster, filter::Filters};

/// Backends with their weights.
pub(crate) struct Backends {
    list: Box<[Backend]>,
    /// Sum of the weights.
    total: u64,
}

/// One backend.
pub(crate) struct Backend {
    /// `None`: the reference points at nothing, and its share of the requests gets 500.
    pub(crate) cluster: Option<Arc<Cluster>>,
    /// For requests to this backend, after those of the rule.
    pub(crate) filters: Filters,
    /// Sum of the weights up to and with this one.
    until: u64,
}

impl Backends {
    /// Backends in order, each with its weight.
    pub(super) fn new(list: impl Iterator<Item = (Option<Arc<Cluster>>, Filters, u32)>) -> Self {
        let mut total = 0;
        let list = list
            .map(|(cluster, filters, weight)| {
                total += u64::from(weight);
                Backend {
                    cluster,
                    filters,
                    until: total,
                }
            })
            .collect();
        Self { list, total }
    }

    /// The backend for a request; `None` where there is none or all weigh nothing, which is a 500.
    pub(crate) fn pick(&self, random: &mut fastrand::Rng) -> Option<&Backend> {
        match (&*self.list, self.total) {
            (_, 0) => None,
            ([only], _) => Some(only),
            (list, total) => {
                let point = random.u64(0..total);
                list.get(list.partition_point(|backend| backend.until <= point))
            }
        }
    }

    /// All of them, those of weight 0 too.
    pub(crate) fn all(&self) -> &[Backend] {
        &self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Picks many times and compares shares with weights.
    fn check(weights: &[u32]) {
        let list = weights.iter().map(|w| (None, Filters::default(), *w));
        let backends = Backends::new(list);
        let mut random = fastrand::Rng::with_seed(7);
        let mut counts = vec![0_u32; weights.len()];
        let tries = 100_000;
        for _ in 0..tries {
            if let Some(backend) = backends.pick(&mut random) {
                let index = backends.all().iter().position(|b| std::ptr::eq(b, backend));
                counts[index.unwrap()] += 1;
            }
        }
        let total: u64 = weights.iter().map(|w| u64::from(*w)).sum();
        for (weight, count) in weights.iter().zip(&counts) {
            let expected = f64::from(*weight) / total.max(1) as f64;
            let actual = f64::from(*count) / f64::from(tries);
            assert!((expected - actual).abs() < 0.01, "{weights:?}: {counts:?}");
            assert!(*weight > 0 || *count == 0, "{weights:?}: {counts:?}");
        }
    }

    #[test]
    fn shares_follow_weights() {
        for weights in [
            &[][..],
            &[0],
            &[5],
            &[0, 0],
            &[90, 10],
            &[0, 1, 0, 3, 0],
            &[1_000_000, 1_000_000, 1],
        ] {
            check(weights);
        }
    }
}
