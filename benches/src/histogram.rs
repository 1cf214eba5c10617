//! Latencies: a histogram of nanoseconds with three digits, and the form it travels in between
//! processes and into reports.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Longest latency that is told apart; longer ones count as this one.
const MOST: u64 = 120_000_000_000;

#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "Sparse", into = "Sparse")]
pub(crate) struct Latencies(hdrhistogram::Histogram<u64>);

/// Counts by value, only those that are there.
#[derive(Serialize, Deserialize)]
struct Sparse(Vec<(u64, u64)>);

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

impl Latencies {
    pub(crate) fn new() -> Self {
        let histogram = hdrhistogram::Histogram::new_with_bounds(500, MOST, 3);
        Self(histogram.expect("fixed bounds that are in order"))
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(MOST);
        self.0.saturating_record(nanos.min(MOST));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.0
            .add(&other.0)
            .expect("all histograms have the same bounds");
    }

    pub(crate) fn clear(&mut self) {
        self.0.reset();
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// Microseconds below which `percent` of all stay; 0 if there are none.
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        self.0.value_at_percentile(percent) as f64 / 1e3
    }

    pub(crate) fn max(&self) -> f64 {
        self.0.max() as f64 / 1e3
    }
}

impl From<Sparse> for Latencies {
    fn from(sparse: Sparse) -> Self {
        let mut all = Self::new();
        for (value, count) in sparse.0 {
            all.0.saturating_record_n(value.min(MOST), count);
        }
        all
    }
}

impl From<Latencies> for Sparse {
    fn from(all: Latencies) -> Self {
        let recorded = all.0.iter_recorded();
        Self(
            recorded
                .map(|step| (step.value_iterated_to(), step.count_at_value()))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_survive_the_way_between_processes() {
        let mut all = Latencies::new();
        for micros in 1..=1_000 {
            all.record(Duration::from_micros(micros));
        }
        let text = serde_json::to_string(&all).unwrap();
        let again: Latencies = serde_json::from_str(&text).unwrap();
        assert_eq!(again.count(), 1_000);
        for percent in [50.0, 90.0, 99.0, 99.9] {
            let expected = percent * 10.0;
            let got = again.percentile(percent);
            assert!(
                (got - expected).abs() < expected * 0.002,
                "{got} for {percent}"
            );
            assert!((got - all.percentile(percent)).abs() < f64::EPSILON);
        }
    }

    #[test]
    fn what_is_too_long_counts_as_the_longest() {
        let mut all = Latencies::new();
        all.record(Duration::from_hours(1));
        assert_eq!(all.count(), 1);
        assert!(all.max() >= 119e6);
    }
}
