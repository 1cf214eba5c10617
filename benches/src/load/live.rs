//! The live view of `load`: a line on the terminal that says how it goes. Threads tell it a few
//! times a second; without a view nothing is told and nothing costs.

use std::{
    collections::VecDeque,
    io::{IsTerminal, Write},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use crate::histogram::Latencies;

#[derive(Default)]
struct State {
    done: u64,
    failed: u64,
    latencies: Latencies,
}

#[derive(Default)]
pub(crate) struct Live {
    on: AtomicBool,
    since: Mutex<State>,
}

impl Live {
    pub(crate) fn off() -> Self {
        Self::default()
    }

    pub(crate) fn on() -> Self {
        let live = Self::default();
        live.on.store(true, Ordering::Relaxed);
        live
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    pub(super) fn tell(&self, done: u64, failed: u64, latencies: &Latencies) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.done += done;
        since.failed += failed;
        since.latencies.merge(latencies);
    }

    fn take(&self) -> State {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut since)
    }

    /// Shows the view on standard error until `end` is dropped or says so.
    pub(crate) fn show(&self, end: &Receiver<()>, whole: Duration) {
        let terminal = std::io::stderr().is_terminal();
        // A log wants a line now and then; a terminal wants one that moves.
        let step = Duration::from_millis(if terminal { 500 } else { 2_000 });
        let begun = Instant::now();
        let mut last = begun;
        let mut trend = Trend::default();
        while let Err(RecvTimeoutError::Timeout) = end.recv_timeout(step) {
            let now = Instant::now();
            let state = self.take();
            let rate = state.done as f64 / (now - last).as_secs_f64();
            last = now;
            let p99 = state.latencies.percentile(99.0);
            trend.push(p99);
            let line = format!(
                "{:5.1}/{:.0} s  {rate:9.0} /s  failed {}  p50 {:7.0} us  p99 {p99:7.0} us  {}",
                (now - begun).as_secs_f64(),
                whole.as_secs_f64(),
                state.failed,
                state.latencies.percentile(50.0),
                trend.show(),
            );
            let (before, after) = if terminal {
                ("\r\x1b[K", "")
            } else {
                ("", "\n")
            };
            let mut out = std::io::stderr().lock();
            let _ = write!(out, "{before}{line}{after}");
            let _ = out.flush();
        }
        if terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// The last p99s as a row of bars, relative to the highest.
#[derive(Default)]
struct Trend(VecDeque<f64>);

impl Trend {
    const LENGTH: usize = 24;

    fn push(&mut self, value: f64) {
        if self.0.len() == Self::LENGTH {
            self.0.pop_front();
        }
        self.0.push_back(value);
    }

    fn show(&self) -> String {
        const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let most = self.0.iter().copied().fold(1e-9, f64::max);
        let bar = |value: &f64| BARS[((value / most * 7.0).round() as usize).min(7)];
        self.0.iter().map(bar).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trend_keeps_its_length_and_its_highest() {
        let mut trend = Trend::default();
        for value in 0..100 {
            trend.push(f64::from(value));
        }
        let shown = trend.show();
        assert_eq!(shown.chars().count(), Trend::LENGTH);
        assert!(shown.ends_with('█'));
    }

    #[test]
    fn what_was_told_is_taken_once() {
        let live = Live::on();
        let mut latencies = Latencies::new();
        latencies.record(Duration::from_millis(1));
        live.tell(1, 2, &latencies);
        let state = live.take();
        assert_eq!(
            (state.done, state.failed, state.latencies.count()),
            (1, 2, 1)
        );
        assert_eq!(live.take().done, 0);
    }
}
