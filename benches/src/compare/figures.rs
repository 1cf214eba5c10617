//! From what a round came to, to the figures of a table.

use std::collections::BTreeMap;

use crate::{
    load::{Outcome, Work},
    report::Column,
    stats::Better,
};

pub(crate) type Figures = BTreeMap<&'static str, Vec<f64>>;

const MIB: f64 = 1_048_576.0;
const GIB: f64 = 1_073_741_824.0;

/// The columns of a kind of work. The first that has a spread is the one plots show.
pub(crate) fn columns(work: &Work, open_loop: bool) -> Vec<Column> {
    let column = |key, title, digits, spread, better| Column {
        key,
        title,
        digits,
        spread,
        better,
    };
    let less = Some(Better::Less);
    let more = Some(Better::More);
    let peak = column("peak", "peak MiB", 1, false, None);
    let softirq = column("softirq", "+softirq", 1, false, None);
    match work {
        Work::TcpBulk => vec![
            column("cpu", "CPU s/GiB", 3, true, less),
            column("gbit", "Gbit/s", 1, true, more),
            peak,
        ],
        Work::Idle { .. } => vec![
            column("each", "KiB/connection", 2, true, less),
            column("first", "MiB at first", 1, false, None),
            column("full", "MiB with all", 1, false, None),
            column("after", "MiB after", 1, false, None),
        ],
        // Which p99 is better is not told by the wall clock of a shared machine: no rank.
        _ if open_loop => vec![
            column("cpu", "CPU us/req", 2, true, less),
            softirq,
            column("rate", "req/s", 0, false, None),
            column("p50", "p50 us", 0, true, less),
            column("p90", "p90", 0, false, None),
            column("p99", "p99", 0, true, None),
            column("p999", "p99.9", 0, false, None),
            column("added50", "p50 added", 0, false, None),
            column("added99", "p99 added", 0, false, None),
            peak,
        ],
        _ => vec![
            column("cpu", "CPU us/req", 2, true, less),
            softirq,
            column("user", "user %", 0, false, None),
            column("rate", "req/s", 0, true, more),
            column("p50", "p50 us", 0, false, None),
            column("p99", "p99", 0, false, None),
            column("calls", "calls/req", 2, false, None),
            peak,
        ],
    }
}

/// Adds the figures of one round.
pub(crate) fn fill(figures: &mut Figures, outcome: &Outcome, work: &Work) {
    let mut add = |key, value: f64| figures.entry(key).or_default().push(value);
    if let Some(peak) = outcome.peak {
        add("peak", peak as f64 / MIB);
    }
    let used = outcome.used;
    match work {
        Work::TcpBulk => {
            if let Some(used) = used.filter(|_| outcome.bytes > 0) {
                add(
                    "cpu",
                    used.cpu_ns as f64 / 1e9 / (outcome.bytes as f64 / GIB),
                );
            }
            add(
                "gbit",
                outcome.bytes as f64 * 8.0 / 1e9 / outcome.seconds.max(1e-9),
            );
        }
        Work::Idle { .. } => {
            let (first, last) = (outcome.held.first(), outcome.held.last());
            if let (Some((few, before)), Some((many, with))) = (first, last) {
                let more = (*many as f64 - *few as f64).max(1.0);
                add("each", (*with as f64 - *before as f64) / more / 1024.0);
                add("first", *before as f64 / MIB);
                add("full", *with as f64 / MIB);
            }
            if let Some(after) = outcome.let_go {
                add("after", after as f64 / MIB);
            }
        }
        _ => {
            if let Some(used) = used.filter(|_| outcome.completed > 0) {
                let each = |ns: u64| ns as f64 / 1e3 / outcome.completed as f64;
                add("cpu", each(used.cpu_ns));
                if used.idle_share.is_some() {
                    add("softirq", each(used.softirq_ns));
                }
                add("user", used.user_share * 100.0);
            }
            add("rate", outcome.per_second());
            for (key, percent) in [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p999", 99.9)] {
                add(key, outcome.latencies.percentile(percent));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{load::Request, usage::Usage};

    fn outcome() -> Outcome {
        Outcome {
            seconds: 2.0,
            completed: 1_000,
            bytes: 1 << 30,
            used: Some(Usage {
                cpu_ns: 12_000_000,
                softirq_ns: 4_000_000,
                idle_share: Some(0.2),
                ..Usage::default()
            }),
            ..Outcome::default()
        }
    }

    #[test]
    fn figures_are_per_request_per_byte_and_per_connection() {
        let request = Request::default();
        let mut figures = Figures::new();
        fill(
            &mut figures,
            &outcome(),
            &Work::Http1 {
                request: request.clone(),
            },
        );
        assert_eq!(figures["cpu"], [12.0]);
        assert_eq!(figures["softirq"], [4.0]);
        assert_eq!(figures["rate"], [500.0]);
        let mut figures = Figures::new();
        fill(&mut figures, &outcome(), &Work::TcpBulk);
        assert!((figures["cpu"][0] - 0.012).abs() < 1e-12);
        let mut held = outcome();
        held.held = vec![(100, 10 << 20), (1_124, 11 << 20)];
        let idle = Work::Idle {
            request,
            steps: Vec::new(),
            settle: 0,
        };
        let mut figures = Figures::new();
        fill(&mut figures, &held, &idle);
        assert_eq!(figures["each"], [1.0]);
        assert_eq!(figures["first"], [10.0]);
    }

    #[test]
    fn nothing_is_claimed_without_a_watched_process() {
        let mut alone = outcome();
        alone.used = None;
        let mut figures = Figures::new();
        let request = Request::default();
        fill(&mut figures, &alone, &Work::Http1 { request });
        assert!(!figures.contains_key("cpu") && figures.contains_key("rate"));
    }
}
