//! When connections end with the certificates that they were made with. Times are arguments.

use std::time::Duration;

use rustls::pki_types::UnixTime;

use crate::identity::Life;

/// Most time between being asked to leave and the end.
const LONGEST_NOTICE: Duration = Duration::from_mins(5);

/// When a connection ends, in nanoseconds since the process began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// It is asked to leave.
    pub(crate) near: u64,
    /// It is cut.
    pub(crate) at: u64,
}

impl End {
    pub(crate) const NEVER: Self = Self {
        near: u64::MAX,
        at: u64::MAX,
    };

    /// With the first of some certificates. The notice is the last tenth of what is left or some of
    /// it, by `chance` in 0..=1: what was made together is not to leave together.
    pub(crate) fn of(
        lives: impl IntoIterator<Item = Life>,
        (now, clock): (u64, UnixTime),
        chance: f64,
    ) -> Self {
        let first = lives.into_iter().map(|life| life.not_after.as_secs()).min();
        let Some(first) = first else {
            return Self::NEVER;
        };
        // The last second counts.
        let left = (first + 1).saturating_sub(clock.as_secs());
        let left = Duration::from_secs(left);
        let notice = (left / 10).min(LONGEST_NOTICE).mul_f64(0.5 + chance / 2.0);
        let later = |span: Duration| {
            let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
            now.saturating_add(nanos)
        };
        Self {
            near: later(left.saturating_sub(notice)),
            at: later(left),
        }
    }

    pub(crate) fn is_near(self, now: u64) -> bool {
        now >= self.near
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    fn life(not_after: u64) -> Life {
        Life {
            not_before: at(0),
            not_after: at(not_after),
        }
    }

    #[test]
    fn the_first_to_end_counts() {
        let of = |ends: &[u64], chance| {
            let lives = ends.iter().map(|end| life(*end));
            let end = End::of(lives, (7 * SECOND, at(1_000)), chance);
            (end.near / SECOND, end.at / SECOND)
        };
        assert_eq!(of(&[1_999, 1_099], 1.0), (97, 107));
        assert_eq!(of(&[1_099], 0.0), (102, 107));
        assert_eq!(of(&[100_999], 1.0), (99_707, 100_007));
        // What is over ends at once.
        assert_eq!(of(&[900], 0.5), (7, 7));
        assert_eq!(End::of([], (0, at(0)), 0.0), End::NEVER);
        assert_eq!(of(&[u64::MAX - 1], 0.0).1, u64::MAX / SECOND);
    }
}
