//! From cells to samples: sums over the workers, and how each type of metric is written.

use std::{fmt, sync::Arc};

use prometheus_client::{
    encoding::{EncodeLabel, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

use super::{
    cells::{BOUNDS_US, Counter, Histogram},
    families::Family,
    metrics::{CauseCounters, Cells},
};
use crate::error::Cause;

/// Objects of one kind with the names of their series.
pub(super) type Group<T> = Vec<(Arc<str>, Cells<T>)>;

/// Classes of status, by index of the `responses` counters.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

pub(super) enum Value {
    Whole(u64),
    Real(f64),
}

/// Where a family's row writes its samples.
pub(super) struct Samples<'a> {
    family: &'static Family,
    encoder: MetricEncoder<'a>,
}

impl<'a> Samples<'a> {
    pub(super) fn new(family: &'static Family, encoder: MetricEncoder<'a>) -> Self {
        Self { family, encoder }
    }

    pub(super) fn value(&mut self, labels: &[&str], value: Value) -> fmt::Result {
        let kind = self.family.kind;
        if labels.is_empty() {
            write_value(&mut self.encoder, kind, value)
        } else {
            let labels = Pairs(self.family.labels, labels);
            write_value(&mut self.encoder.encode_family(&labels)?, kind, value)
        }
    }

    pub(super) fn info(&mut self, labels: &[&str]) -> fmt::Result {
        self.encoder.encode_info(&Pairs(self.family.labels, labels))
    }

    /// One sample per object: the sum of a number over the workers.
    pub(super) fn sums<T>(&mut self, group: &Group<T>, number: fn(&T) -> u64) -> fmt::Result {
        for (name, cells) in group {
            let sum = match self.family.kind {
                // A count that one worker raised and another has not yet been seen to lower.
                MetricType::Gauge => cells.total(number).cast_signed().max(0).cast_unsigned(),
                _ => cells.total(number),
            };
            self.value(&[name], Value::Whole(sum))?;
        }
        Ok(())
    }

    /// One sample per object and class of status that occurred.
    pub(super) fn classes<T>(
        &mut self,
        group: &Group<T>,
        counters: fn(&T) -> &[Counter; 6],
    ) -> fmt::Result {
        self.words(group, CLASSES, counters)
    }

    /// One sample per object and word whose counter is not 0.
    pub(super) fn words<T, const N: usize>(
        &mut self,
        group: &Group<T>,
        words: [&str; N],
        counters: fn(&T) -> &[Counter; N],
    ) -> fmt::Result {
        for (name, cells) in group {
            for (index, class) in words.iter().enumerate() {
                let count = cells.total(|c| counters(c).get(index).map_or(0, Counter::value));
                if count > 0 {
                    self.value(&[name, class], Value::Whole(count))?;
                }
            }
        }
        Ok(())
    }

    /// One sample per cause that occurred.
    pub(super) fn causes<T>(
        &mut self,
        [scope, name]: [&str; 2],
        cells: &Cells<T>,
        counters: fn(&T) -> &CauseCounters,
    ) -> fmt::Result {
        for cause in Cause::ALL {
            let count = cells.total(|c| counters(c).value(*cause));
            if count > 0 {
                self.value(&[scope, name, cause.word()], Value::Whole(count))?;
            }
        }
        Ok(())
    }

    /// One histogram per object.
    pub(super) fn histograms<T>(
        &mut self,
        group: &Group<T>,
        histogram: impl Fn(&T) -> &Histogram,
    ) -> fmt::Result {
        for (name, cells) in group {
            let bounds = BOUNDS_US.iter().map(|us| *us as f64 / 1e6);
            let mut buckets = [(f64::INFINITY, 0); BOUNDS_US.len() + 1];
            for (bucket, bound) in buckets.iter_mut().zip(bounds) {
                bucket.0 = bound;
            }
            let mut sum_ns = 0;
            for of_worker in cells.iter().map(&histogram) {
                sum_ns += of_worker.sum_ns();
                for (bucket, count) in buckets.iter_mut().zip(of_worker.buckets()) {
                    bucket.1 += count;
                }
            }
            let count = buckets.iter().map(|(_, count)| count).sum();
            self.encoder
                .encode_family(&Pairs(self.family.labels, &[name]))?
                .encode_histogram::<NoLabelSet>(sum_ns as f64 / 1e9, count, &buckets, None)?;
        }
        Ok(())
    }
}

fn write_value(encoder: &mut MetricEncoder<'_>, kind: MetricType, value: Value) -> fmt::Result {
    match (kind, value) {
        (MetricType::Counter, Value::Whole(n)) => {
            encoder.encode_counter::<NoLabelSet, _, f64>(&n, None)
        }
        (MetricType::Counter, Value::Real(n)) => {
            encoder.encode_counter::<NoLabelSet, _, f64>(&n, None)
        }
        (_, Value::Whole(n)) => encoder.encode_gauge(&n),
        (_, Value::Real(n)) => encoder.encode_gauge(&n),
    }
}

/// The labels of one sample: keys from the table, values of the object.
#[derive(Debug)]
struct Pairs<'a>(&'static [&'static str], &'a [&'a str]);

impl EncodeLabelSet for Pairs<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        debug_assert_eq!(self.0.len(), self.1.len(), "a value for each label");
        for pair in self.0.iter().copied().zip(self.1.iter().copied()) {
            pair.encode(encoder.encode_label())?;
        }
        Ok(())
    }
}
