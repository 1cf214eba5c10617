//! Who speaks first where a listener's cluster is: what was seen of it, and how long a client's
//! silence is waited through before that cluster is dialed.
//!
//! A client of a database, of SMTP or of FTP is silent until it is greeted. Who waits for its first bytes to
//! tell the protocol holds it up, so the cluster is dialed meanwhile. Where the client then speaks
//! HTTP that was for nothing. So each time it was, the next dial waits longer; a greeting takes
//! that back. Where servers greet and clients speak first as well, a client must be given the time
//! to: it would get a greeting that is not meant for it. Only *when* is dialed depends on this.
//!
//! Pure: `now` is an argument, in nanoseconds since the process began. Shared by all workers; that
//! one of two things seen at the same moment is lost does no harm.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// How long something seen is believed.
const REMEMBERED: u64 = 600 * 1_000_000_000;

/// By what the wait grows with each dial for nothing: from 1 ms by 16 ms and 256 ms to 4 s.
const GROWTH: u32 = 16;

/// What was seen. Times are 0 where nothing was.
#[derive(Debug, Default)]
pub(crate) struct FirstSpeaker {
    /// When the server last spoke first, and when a client that did had another destination.
    greeted: AtomicU64,
    elsewhere: AtomicU64,
    /// When the cluster was last dialed for nothing, and how often since the last greeting.
    in_vain: AtomicU64,
    times: AtomicU64,
}

impl FirstSpeaker {
    /// How long to wait for the client's first bytes before the cluster is dialed. `usual` is the
    /// wait where nothing is known.
    pub(crate) fn wait(&self, usual: Duration, now: u64) -> Duration {
        let is_fresh = |at: u64| at != 0 && now.saturating_sub(at) < REMEMBERED;
        let greets = is_fresh(self.greeted.load(Relaxed));
        let times = if is_fresh(self.in_vain.load(Relaxed)) {
            self.times.load(Relaxed)
        } else {
            0
        };
        let both = greets && is_fresh(self.elsewhere.load(Relaxed));
        match (greets, times) {
            (true, _) if !both => Duration::ZERO,
            (true, _) | (false, 0) => usual,
            (false, times) => {
                let growth = GROWTH.saturating_pow(times.min(8) as u32);
                usual.max(Duration::from_millis(1)).saturating_mul(growth)
            }
        }
    }

    /// The server spoke before its client did.
    pub(crate) fn greeted(&self, now: u64) {
        self.greeted.store(now.max(1), Relaxed);
        self.times.store(0, Relaxed);
    }

    /// The client spoke first, and what it said leads elsewhere. Noted once a second at most, since
    /// many do.
    pub(crate) fn went_elsewhere(&self, now: u64) {
        let before = self.elsewhere.load(Relaxed);
        if before == 0 || now.saturating_sub(before) > 1_000_000_000 {
            self.elsewhere.store(now.max(1), Relaxed);
        }
    }

    /// For such a client the cluster had been dialed, at `dialed`. Of many that were dialed together
    /// only the first counts.
    pub(crate) fn dialed_in_vain(&self, dialed: u64, now: u64) {
        let before = self.in_vain.load(Relaxed);
        if before == 0 || now.saturating_sub(before) >= REMEMBERED {
            self.times.store(1, Relaxed);
        } else if dialed >= before {
            self.times.fetch_add(1, Relaxed);
        }
        self.in_vain.store(now.max(1), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Duration = Duration::from_millis(1);
    const MINUTE: u64 = 60 * 1_000_000_000;

    fn waits(seen: &FirstSpeaker, now: u64) -> u128 {
        seen.wait(USUAL, now).as_millis()
    }

    #[test]
    fn a_server_that_greets_is_dialed_at_once_until_that_is_forgotten() {
        let seen = FirstSpeaker::default();
        assert_eq!(waits(&seen, MINUTE), 1);
        seen.greeted(MINUTE);
        assert_eq!(waits(&seen, MINUTE), 0);
        assert_eq!(waits(&seen, 10 * MINUTE), 0);
        assert_eq!(waits(&seen, 11 * MINUTE), 1);
    }

    #[test]
    fn each_dial_for_nothing_makes_the_next_one_rarer_until_that_is_forgotten() {
        let seen = FirstSpeaker::default();
        let mut expected = 1;
        for _ in 0..5 {
            assert_eq!(waits(&seen, MINUTE), expected);
            seen.dialed_in_vain(MINUTE, MINUTE);
            expected *= 16;
        }
        for _ in 0..100 {
            seen.dialed_in_vain(MINUTE, MINUTE);
        }
        assert!(waits(&seen, MINUTE) > 10 * 60 * 1_000);
        assert_eq!(waits(&seen, 11 * MINUTE), 1);
        seen.dialed_in_vain(11 * MINUTE, 11 * MINUTE);
        assert_eq!(waits(&seen, 11 * MINUTE), 16);
        // Without a wait there is one as soon as it has something to grow from.
        let seen = FirstSpeaker::default();
        assert_eq!(seen.wait(Duration::ZERO, 0), Duration::ZERO);
        seen.dialed_in_vain(0, 0);
        assert_eq!(seen.wait(Duration::ZERO, 0).as_millis(), 16);
    }

    #[test]
    fn what_was_dialed_together_counts_once() {
        let seen = FirstSpeaker::default();
        for later in 1..100 {
            seen.dialed_in_vain(MINUTE, MINUTE + later);
        }
        assert_eq!(waits(&seen, 2 * MINUTE), 16);
    }

    #[test]
    fn where_both_happen_the_wait_is_the_usual_one() {
        let seen = FirstSpeaker::default();
        for _ in 0..3 {
            seen.dialed_in_vain(MINUTE, MINUTE);
        }
        seen.greeted(MINUTE);
        assert_eq!(waits(&seen, MINUTE), 0);
        seen.went_elsewhere(MINUTE);
        assert_eq!(waits(&seen, MINUTE), 1);
        for _ in 0..3 {
            seen.dialed_in_vain(2 * MINUTE, 2 * MINUTE);
            assert_eq!(waits(&seen, 2 * MINUTE), 1);
        }
        seen.greeted(3 * MINUTE);
        seen.went_elsewhere(3 * MINUTE);
        assert_eq!(waits(&seen, 3 * MINUTE), 1);
        seen.greeted(13 * MINUTE - 1);
        assert_eq!(waits(&seen, 13 * MINUTE - 1), 1);
        assert_eq!(waits(&seen, 13 * MINUTE), 0);
    }
}
