//! What came of the load: counted by each thread, added up, and sent between processes.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{
    Plan,
    live::Live,
    window::{Phase, Window},
};
use crate::{histogram::Latencies, usage::Usage};

/// Ways in which a request can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No connection.
    Connect,
    /// The connection ended before the answer did.
    Broken,
    /// Not a 2xx, or a status of gRPC that is not 0.
    Status,
    /// Not an answer, or not of the expected length.
    Malformed,
    Timeout,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Errors {
    pub(crate) connect: u64,
    pub(crate) broken: u64,
    pub(crate) status: u64,
    pub(crate) malformed: u64,
    pub(crate) timeout: u64,
}

impl Errors {
    pub(crate) const fn total(&self) -> u64 {
        self.connect + self.broken + self.status + self.malformed + self.timeout
    }

    const fn count(&mut self, fault: Fault) {
        *match fault {
            Fault::Connect => &mut self.connect,
            Fault::Broken => &mut self.broken,
            Fault::Status => &mut self.status,
            Fault::Malformed => &mut self.malformed,
            Fault::Timeout => &mut self.timeout,
        } += 1;
    }

    pub(crate) const fn add(&mut self, other: &Self) {
        self.connect += other.connect;
        self.broken += other.broken;
        self.status += other.status;
        self.malformed += other.malformed;
        self.timeout += other.timeout;
    }

    /// `3 broken, 1 timeout`, or nothing.
    pub(crate) fn describe(&self) -> String {
        let kinds = [
            (self.connect, "not connected"),
            (self.broken, "broken off"),
            (self.status, "bad status"),
            (self.malformed, "malformed"),
            (self.timeout, "timed out"),
        ];
        let there = kinds.iter().filter(|(count, _)| *count > 0);
        let words: Vec<_> = there
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        words.join(", ")
    }
}

/// One thread's counts.
pub(crate) struct Tally {
    pub(crate) outcome: Outcome,
    open_loop: bool,
    /// Latencies since the live view was told, if there is one.
    fresh: Option<Latencies>,
    told: Instant,
    done: u64,
    failed: u64,
}

/// How often the live view is told.
const PULSE: Duration = Duration::from_millis(200);

impl Tally {
    pub(crate) fn new(open_loop: bool, live: &Live) -> Self {
        Self {
            outcome: Outcome::default(),
            open_loop,
            fresh: live.is_on().then(Latencies::new),
            told: Instant::now(),
            done: 0,
            failed: 0,
        }
    }

    /// A request that should have begun at `intended` has its right answer.
    pub(crate) fn done(
        &mut self,
        window: &mut Window,
        intended: Instant,
        now: Instant,
        bytes: u64,
    ) {
        let counts = window.at(now) == Phase::Counts;
        let latency = now.saturating_duration_since(intended);
        if counts {
            self.outcome.completed += 1;
            self.outcome.bytes += bytes;
        }
        // In an open loop what counts is what should have begun while the window was open; an
        // answer that comes late must not be left out because it is late.
        if (self.open_loop && window.holds(intended)) || (!self.open_loop && counts) {
            self.outcome.latencies.record(latency);
        }
        if let Some(fresh) = &mut self.fresh {
            fresh.record(latency);
            self.done += 1;
        }
    }

    /// A request of an open loop that had no answer when the load ended.
    pub(crate) fn unfinished(&mut self, window: &Window, intended: Instant, now: Instant) {
        if window.holds(intended) {
            self.outcome.unfinished += 1;
            let latency = now.saturating_duration_since(intended);
            self.outcome.latencies.record(latency);
        }
    }

    pub(crate) const fn fault(&mut self, fault: Fault) {
        self.outcome.errors.count(fault);
        self.failed += 1;
    }

    /// Tells the live view, now and then.
    pub(crate) fn pulse(&mut self, now: Instant, live: &Live) {
        if let Some(fresh) = &mut self.fresh
            && now - self.told >= PULSE
        {
            live.tell(self.done, self.failed, fresh);
            fresh.clear();
            (self.done, self.failed, self.told) = (0, 0, now);
        }
    }

    /// Takes over what the window saw.
    pub(crate) fn close(mut self, window: &Window) -> Self {
        self.outcome.seconds = window.open.as_secs_f64();
        self.outcome.used = window.used;
        self
    }
}

/// What came of a plan.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// How long the window was open.
    pub(crate) seconds: f64,
    /// Right answers in it.
    pub(crate) completed: u64,
    /// Bytes of their bodies, or of the streams.
    pub(crate) bytes: u64,
    /// At any time, the warm-up too.
    pub(crate) errors: Errors,
    /// Connections that the other side closed between requests.
    pub(crate) reconnects: u64,
    /// Requests of an open loop that had no answer by the end; they are among the latencies.
    pub(crate) unfinished: u64,
    pub(crate) latencies: Latencies,
    pub(crate) used: Option<Usage>,
    /// Connections held, and what the watched process then had in memory.
    pub(crate) held: Vec<(usize, u64)>,
    /// The same after they were closed.
    pub(crate) let_go: Option<u64>,
    /// Most memory the watched process ever had.
    pub(crate) peak: Option<u64>,
}

impl Outcome {
    pub(crate) fn add(&mut self, tally: Tally) {
        let other = tally.outcome;
        self.seconds = self.seconds.max(other.seconds);
        self.completed += other.completed;
        self.bytes += other.bytes;
        self.errors.add(&other.errors);
        self.reconnects += other.reconnects;
        self.unfinished += other.unfinished;
        self.latencies.merge(&other.latencies);
        self.used = self.used.or(other.used);
    }

    pub(super) fn finish(&mut self, plan: &Plan) {
        let watch = plan.watch.as_ref();
        self.peak = watch.map(|watch| crate::usage::memory(watch.pid).peak);
    }

    /// Right answers per second.
    pub(crate) fn per_second(&self) -> f64 {
        self.completed as f64 / self.seconds.max(1e-9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_answer_counts_in_an_open_loop_and_its_time_is_from_the_plan() {
        let second = Duration::from_secs(1);
        let live = Live::off();
        let mut window = Window::new(Duration::ZERO, second, None);
        window.at(Instant::now());
        let close = window.edge();
        let intended = window.begun() + second / 2;
        let mut open = Tally::new(true, &live);
        open.done(&mut window, intended, close + second, 1);
        assert_eq!(open.outcome.completed, 0, "not while the window was open");
        assert_eq!(open.outcome.latencies.count(), 1);
        assert!(open.outcome.latencies.max() > 1.4e6);
        let mut closed = Tally::new(false, &live);
        closed.done(&mut window, intended, close + second, 1);
        assert_eq!(closed.outcome.latencies.count(), 0);
    }

    #[test]
    fn errors_are_described() {
        let mut errors = Errors::default();
        assert_eq!(errors.describe(), "");
        errors.count(Fault::Broken);
        errors.count(Fault::Broken);
        errors.count(Fault::Timeout);
        assert_eq!(errors.describe(), "2 broken off, 1 timed out");
        assert_eq!(errors.total(), 3);
    }
}
