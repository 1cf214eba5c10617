//! The peak-sensitive moving average of one endpoint's latency, shared by all workers.
//!
//! A latency above the average replaces it at once; one below pulls it down with a weight that
//! grows with the time since the last one. Without any the average decays towards zero, so that
//! an endpoint that was slow once is tried again (Finagle's and Linkerd's Peak EWMA).
//!
//! Average and time stand in one atomic word, so no reader sees one without the other. Two
//! workers that observe at once both succeed; nothing here waits.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// A tick is 2^20 ns, about a millisecond: 32 bits of them last for 52 days, and differences are
/// taken as signed, so that what is idle for longer merely stops decaying.
const TICK: u32 = 20;

/// In the place of the average: nothing was observed yet. A NaN no arithmetic here yields.
const NONE: u32 = u32::MAX;

/// Observations below the average that follow each other by less than this part of the decay
/// time are skipped: their weight would drown in the rounding of an `f32`, and the word need not
/// travel between cores for every request.
const SAMPLES_PER_DECAY: f32 = 4096.0;

/// No penalty raises the average above this.
const CEILING_NS: f32 = 60e9;

#[derive(Debug)]
pub(super) struct Latency {
    /// Bits of the average in nanoseconds as `f32` (upper half), tick of its last change.
    state: AtomicU64,
    /// Bits of the decay time in ticks, as `f32`.
    decay: AtomicU32,
    /// Bits of the latency assumed before the first observation, in nanoseconds, as `f32`.
    initial: AtomicU32,
}

impl Latency {
    /// `decay` and `initial` in nanoseconds.
    pub(super) fn new(decay: u64, initial: u64, now: u64) -> Self {
        let latency = Self {
            state: AtomicU64::new(pack(NONE, tick(now))),
            decay: AtomicU32::default(),
            initial: AtomicU32::default(),
        };
        latency.configure(decay, initial);
        latency
    }

    /// Takes on other settings and keeps what was observed.
    pub(super) fn configure(&self, decay: u64, initial: u64) {
        let ticks = decay as f32 / (1u32 << TICK) as f32;
        self.decay.store(ticks.to_bits(), Relaxed);
        self.initial.store((initial as f32).to_bits(), Relaxed);
    }

    /// The average at `now`, in nanoseconds; before the first observation, the assumed one.
    pub(super) fn estimate(&self, now: u64) -> f32 {
        let (bits, at) = unpack(self.state.load(Relaxed));
        let estimate = if bits == NONE {
            f32::from_bits(self.initial.load(Relaxed))
        } else {
            f32::from_bits(bits)
        };
        estimate * self.kept(elapsed(at, tick(now)))
    }

    /// Whether anything was observed.
    pub(super) fn is_known(&self) -> bool {
        unpack(self.state.load(Relaxed)).0 != NONE
    }

    pub(super) fn observe(&self, latency: u64, now: u64) {
        let observed = latency as f32;
        self.update(now, |estimate, elapsed| match estimate {
            None => Some(observed),
            Some(estimate) => {
                let kept = self.kept(elapsed);
                if observed > estimate * kept {
                    Some(observed)
                } else if kept < 1.0 {
                    Some(estimate * kept + observed * (1.0 - kept))
                } else {
                    None
                }
            }
        });
    }

    /// Doubles the average, and takes it at least to the assumed latency: an endpoint that fails
    /// fast must not look fast.
    pub(super) fn penalize(&self, now: u64) {
        let initial = f32::from_bits(self.initial.load(Relaxed));
        self.update(now, |estimate, elapsed| {
            let estimate = estimate.unwrap_or(initial) * self.kept(elapsed);
            Some((estimate * 2.0).max(initial).min(CEILING_NS))
        });
    }

    fn update(&self, now: u64, next: impl Fn(Option<f32>, f32) -> Option<f32>) {
        let now = tick(now);
        let mut seen = self.state.load(Relaxed);
        loop {
            let (bits, at) = unpack(seen);
            let estimate = (bits != NONE).then(|| f32::from_bits(bits));
            let Some(next) = next(estimate, elapsed(at, now)) else {
                return;
            };
            let next = pack(next.to_bits(), now);
            match self
                .state
                .compare_exchange_weak(seen, next, Relaxed, Relaxed)
            {
                Ok(_) => return,
                Err(other) => seen = other,
            }
        }
    }

    /// The part of the average that is left after that many ticks; 1 while they are too few to count.
    fn kept(&self, elapsed: f32) -> f32 {
        let decay = f32::from_bits(self.decay.load(Relaxed));
        if elapsed * SAMPLES_PER_DECAY < decay {
            1.0
        } else {
            (-elapsed / decay).exp()
        }
    }
}

fn tick(now: u64) -> u32 {
    (now >> TICK) as u32
}

/// Ticks between two; none where the clocks of two workers disagree.
fn elapsed(from: u32, to: u32) -> f32 {
    to.wrapping_sub(from).cast_signed().max(0) as f32
}

fn pack(estimate: u32, at: u32) -> u64 {
    u64::from(estimate) << 32 | u64::from(at)
}

fn unpack(state: u64) -> (u32, u32) {
    ((state >> 32) as u32, state as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const SECOND: u64 = 1_000 * MS;

    fn ten_seconds() -> Latency {
        Latency::new(10 * SECOND, 30 * MS, 0)
    }

    fn ms(latency: &Latency, now: u64) -> f32 {
        latency.estimate(now) / MS as f32
    }

    fn near(value: f32, expected: f32) {
        assert!(
            (value - expected).abs() <= expected * 0.01,
            "{value} is not near {expected}"
        );
    }

    #[test]
    fn the_first_observation_replaces_the_assumed_latency() {
        let latency = ten_seconds();
        near(ms(&latency, 0), 30.0);
        assert!(!latency.is_known());
        latency.observe(MS, 0);
        near(ms(&latency, 0), 1.0);
        assert!(latency.is_known());
    }

    #[test]
    fn a_peak_counts_at_once_and_decays() {
        let latency = ten_seconds();
        latency.observe(10 * MS, 0);
        latency.observe(100 * MS, MS);
        near(ms(&latency, MS), 100.0);
        // Idle: towards zero, to 1/e in the decay time.
        near(ms(&latency, MS + 10 * SECOND), 100.0 / std::f32::consts::E);
        // A lower one weighs by the time that passed: 100/e + 10 * (1 - 1/e).
        latency.observe(10 * MS, MS + 10 * SECOND);
        near(ms(&latency, MS + 10 * SECOND), 43.11);
    }

    #[test]
    fn many_small_steps_reach_what_is_observed() {
        // The longest decay time settable and a steady stream: rounding must not stop the average.
        let latency = Latency::new(3_600 * SECOND, 30 * MS, 0);
        latency.observe(100 * MS, 0);
        for step in 0..2_000_000u64 {
            latency.observe(90 * MS, step * 10 * MS);
        }
        // 20,000 s are 5.6 decay times.
        near(ms(&latency, 2_000_000 * 10 * MS), 90.0);
    }

    #[test]
    fn failing_fast_is_not_being_fast() {
        let latency = ten_seconds();
        latency.penalize(0);
        near(ms(&latency, 0), 60.0);
        latency.observe(MS, 0);
        near(ms(&latency, 0), 60.0);

        let long_idle = ten_seconds();
        long_idle.observe(MS, 0);
        long_idle.penalize(1_000 * SECOND);
        near(ms(&long_idle, 1_000 * SECOND), 30.0);
        for _ in 0..100 {
            long_idle.penalize(1_000 * SECOND);
        }
        near(ms(&long_idle, 1_000 * SECOND), 60_000.0);
    }

    #[test]
    fn a_clock_that_lags_or_wraps_does_no_harm() {
        let latency = ten_seconds();
        latency.observe(100 * MS, 5 * SECOND);
        near(ms(&latency, 4 * SECOND), 100.0);
        let wrap = (1u64 << (32 + TICK)) - SECOND;
        let latency = Latency::new(10 * SECOND, 30 * MS, wrap);
        latency.observe(100 * MS, wrap);
        near(
            ms(&latency, wrap + 10 * SECOND),
            100.0 / std::f32::consts::E,
        );
    }

    #[test]
    fn settings_change_under_a_kept_average() {
        let latency = ten_seconds();
        latency.observe(100 * MS, 0);
        latency.configure(SECOND, MS);
        near(ms(&latency, SECOND), 100.0 / std::f32::consts::E);
    }

    #[test]
    fn several_threads_never_tear_it() {
        let latency = ten_seconds();
        latency.observe(2 * MS, 0);
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                let latency = &latency;
                scope.spawn(move || {
                    for step in 0..20_000u64 {
                        latency.observe(MS + thread * MS / 4, step * MS);
                        let estimate = ms(latency, step * MS);
                        assert!((0.0..=2.1).contains(&estimate), "{estimate}");
                    }
                });
            }
        });
    }
}
