//! The time that counts: it opens after the warm-up and closes after the duration, as seen by the
//! thread that does the work. The leading thread reads what the watched process used at both
//! edges, between two of its own steps, so that requests and CPU time are of the same moment.

use std::time::{Duration, Instant};

use crate::usage::{Sample, Usage, Watch};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    WarmUp,
    Counts,
    Over,
}

pub(crate) struct Window {
    begun: Instant,
    opens: Instant,
    closes: Instant,
    phase: Phase,
    duration: Duration,
    watch: Option<Watch>,
    first: Sample,
    /// What the watched process used while it was open.
    pub(crate) used: Option<Usage>,
    /// How long it was open.
    pub(crate) open: Duration,
}

impl Window {
    pub(crate) fn new(warm_up: Duration, duration: Duration, watch: Option<Watch>) -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            opens: now + warm_up,
            closes: now + warm_up + duration,
            phase: Phase::WarmUp,
            duration,
            watch,
            first: Sample::default(),
            used: None,
            open: Duration::ZERO,
        }
    }

    /// When the load began.
    pub(crate) const fn begun(&self) -> Instant {
        self.begun
    }

    /// Where the time stands. Call it with every new `now`; the first call behind an edge is the
    /// edge.
    pub(crate) fn at(&mut self, now: Instant) -> Phase {
        if self.phase == Phase::WarmUp && now >= self.opens {
            self.phase = Phase::Counts;
            if let Some(watch) = &self.watch {
                self.first = watch.sample();
            }
            self.opens = Instant::now();
            self.closes = self.opens + self.duration;
        } else if self.phase == Phase::Counts && now >= self.closes {
            self.phase = Phase::Over;
            if let Some(watch) = &self.watch {
                self.used = Some(self.first.until(&watch.sample()));
            }
            self.open = now - self.opens;
            self.closes = now;
        }
        self.phase
    }

    /// When `at` has to be called next at the latest.
    pub(crate) const fn edge(&self) -> Instant {
        match self.phase {
            Phase::WarmUp => self.opens,
            Phase::Counts | Phase::Over => self.closes,
        }
    }

    /// Whether nothing is to begin at `intended` any more.
    pub(crate) fn at_rest(&self, intended: Instant) -> bool {
        self.phase == Phase::Over && intended >= self.closes
    }

    /// Whether something that was to begin at `intended` belongs to what counts.
    pub(crate) fn holds(&self, intended: Instant) -> bool {
        self.phase != Phase::WarmUp && intended >= self.opens && intended < self.closes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_and_closes_once() {
        let second = Duration::from_secs(1);
        let mut window = Window::new(second, second, None);
        let begun = window.begun();
        assert_eq!(window.at(begun + second / 2), Phase::WarmUp);
        assert!(!window.holds(begun + second / 2));
        assert_eq!(window.at(begun + second), Phase::Counts);
        // The edge is where the clock really stood, so that reading `/proc` costs no time.
        assert!(window.edge() <= Instant::now() + second);
        let close = window.edge();
        assert_eq!(window.at(close), Phase::Over);
        assert_eq!(window.at(close + second), Phase::Over);
        assert!(!window.holds(close));
        assert!(window.holds(begun + second / 2));
    }
}
