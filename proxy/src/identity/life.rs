//! How far a certificate is in its life. Times are arguments; no clock is read.

use std::time::Duration;

use rustls::pki_types::UnixTime;

/// From when to when something is valid, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) not_before: UnixTime,
    pub(crate) not_after: UnixTime,
}

/// How much of a life has passed, in the steps at which somebody is to hear of it.
///
/// Whoever renews does so at half the life; at three quarters that has failed more than once; at
/// nine tenths somebody has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Passed {
    /// It has not begun.
    Nothing,
    /// Less than half.
    Young,
    Half,
    ThreeQuarters,
    NineTenths,
    All,
}

impl Passed {
    /// As a percentage, for a gauge.
    pub(crate) const fn percent(self) -> u64 {
        match self {
            Self::Nothing | Self::Young => 0,
            Self::Half => 50,
            Self::ThreeQuarters => 75,
            Self::NineTenths => 90,
            Self::All => 100,
        }
    }
}

impl Life {
    pub(crate) fn passed(self, now: UnixTime) -> Passed {
        let (from, to, now) = (
            self.not_before.as_secs(),
            self.not_after.as_secs(),
            now.as_secs(),
        );
        if now < from {
            return Passed::Nothing;
        }
        if now > to {
            return Passed::All;
        }
        let (passed, whole) = (u128::from(now - from), u128::from(to - from));
        let reached = |percent: u128| passed * 100 >= whole * percent;
        match () {
            () if reached(90) => Passed::NineTenths,
            () if reached(75) => Passed::ThreeQuarters,
            () if reached(50) => Passed::Half,
            () => Passed::Young,
        }
    }

    /// When the next step of [`Self::passed`] is due, at the soonest a second from `now`; never
    /// for what is over.
    pub(crate) fn next_step(self, now: UnixTime) -> Option<Duration> {
        let (from, to) = (self.not_before.as_secs(), self.not_after.as_secs());
        let whole = u128::from(to.saturating_sub(from));
        // Rounded up, so that the step is reached when its time has come.
        let at = |percent: u128| u128::from(from) + (whole * percent).div_ceil(100);
        let steps = [u128::from(from), at(50), at(75), at(90), u128::from(to) + 1];
        let now = u128::from(now.as_secs());
        let next = steps.into_iter().find(|step| *step > now)?;
        Some(Duration::from_secs(
            u64::try_from(next - now).unwrap_or(u64::MAX),
        ))
    }

    /// Seconds until it is over; negative afterwards.
    pub(crate) fn left(self, now: UnixTime) -> f64 {
        self.not_after.as_secs() as f64 - now.as_secs() as f64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    fn life(from: u64, to: u64) -> Life {
        Life {
            not_before: at(from),
            not_after: at(to),
        }
    }

    #[test]
    fn steps() {
        let life = life(1_000, 1_200);
        for (now, passed, next) in [
            (0, Passed::Nothing, Some(1_000)),
            (999, Passed::Nothing, Some(1)),
            (1_000, Passed::Young, Some(100)),
            (1_099, Passed::Young, Some(1)),
            (1_100, Passed::Half, Some(50)),
            (1_150, Passed::ThreeQuarters, Some(30)),
            (1_180, Passed::NineTenths, Some(21)),
            (1_200, Passed::NineTenths, Some(1)),
            (1_201, Passed::All, None),
        ] {
            assert_eq!(life.passed(at(now)), passed, "{now}");
            let next = next.map(Duration::from_secs);
            assert_eq!(life.next_step(at(now)), next, "{now}");
        }
        assert!((life.left(at(1_100)) - 100.0).abs() < f64::EPSILON);
        assert!((life.left(at(1_300)) + 100.0).abs() < f64::EPSILON);
    }

    proptest! {
        #[test]
        fn a_step_is_due_when_the_state_changes(from in 0_u64..1 << 40, whole in 0_u64..1 << 40, now in 0_u64..1 << 41) {
            let life = life(from, from + whole);
            let before = life.passed(at(now));
            if let Some(next) = life.next_step(at(now)) {
                let then = now + next.as_secs();
                prop_assert!(then > now);
                prop_assert_eq!(life.passed(at(then - 1)), before);
            } else {
                prop_assert_eq!(before, Passed::All);
            }
        }
    }
}
