//! What an endpoint has shown of how long it keeps idle connections.
//!
//! A connection that the peer closes just as we write to it loses a request that may or may not
//! have been processed. Peers rarely say how long they wait, so we rely on what was seen: that
//! a connection idle for some time was still open shows that shorter pauses are safe. Until that
//! is seen, an idle connection is left alone and a new one is opened; the old one goes on waiting
//! in the pool, and by that becomes the evidence. The price is a few connects after the start.
//!
//! Pure: ages and round trips come in, verdicts go out. Times are nanoseconds.

use std::cell::Cell;

const MS: u64 = 1_000_000;

/// Pauses up to this are taken as safe of a peer of which nothing is known: the next request of a
/// busy client. No server in use has so short a limit without announcing `Connection: close`.
const UNKNOWN: u64 = 10 * MS;

#[derive(Debug)]
pub(super) struct Habits {
    /// The greatest age at which an idle connection was seen open.
    survived: Cell<u64>,
    /// What the peer announced in `Keep-Alive: timeout`.
    announced: Cell<u64>,
    /// Pauses safe without evidence.
    unknown: Cell<u64>,
    /// The shortest connect seen: about one round trip.
    round_trip: Cell<u64>,
}

impl Habits {
    pub(super) fn new() -> Self {
        Self {
            survived: Cell::new(0),
            announced: Cell::new(0),
            unknown: Cell::new(UNKNOWN),
            round_trip: Cell::new(u64::MAX),
        }
    }

    /// Whether a connection idle for `age` may carry a request.
    pub(super) fn is_reusable(&self, age: u64) -> bool {
        age <= self.safe_age()
    }

    /// The longest pause known to be safe. What we saw is a round trip old when it matters: half
    /// of it until the peer's FIN would have come, half until our request arrives.
    fn safe_age(&self) -> u64 {
        let evidence = self.survived.get().max(self.announced.get());
        let trip = if self.round_trip.get() == u64::MAX {
            0
        } else {
            self.round_trip.get()
        };
        let shown = (evidence / 5 * 4).min(evidence.saturating_sub(2 * trip));
        shown.max(self.unknown.get())
    }

    pub(super) fn connected_in(&self, took: u64) {
        self.round_trip.set(self.round_trip.get().min(took));
    }

    /// An idle connection of this age is open.
    pub(super) fn alive_at(&self, age: u64) {
        self.survived.set(self.survived.get().max(age));
        if age > 5 * UNKNOWN {
            self.unknown.set(UNKNOWN);
        }
    }

    /// An idle connection was found closed; it was last seen open at age `alive`, and is `age` old now.
    pub(super) fn closed_between(&self, alive: u64, age: u64) {
        self.survived.set(self.survived.get().min(alive));
        self.announced.set(self.announced.get().min(age));
        if age <= 5 * UNKNOWN {
            self.unknown.set(alive.min(UNKNOWN) / 2);
        }
    }

    /// `Keep-Alive: timeout=N`.
    pub(super) fn announced(&self, seconds: u32) {
        self.announced.set(u64::from(seconds) * 1_000 * MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_survived_is_safe_with_a_margin() {
        let habits = Habits::new();
        assert!(habits.is_reusable(5 * MS) && !habits.is_reusable(200 * MS));
        habits.alive_at(1_000 * MS);
        assert!(habits.is_reusable(800 * MS) && !habits.is_reusable(801 * MS));
        habits.connected_in(300 * MS);
        assert!(habits.is_reusable(400 * MS) && !habits.is_reusable(401 * MS));
    }

    #[test]
    fn a_close_takes_back_what_was_believed() {
        let habits = Habits::new();
        habits.alive_at(5_000 * MS);
        habits.closed_between(190 * MS, 210 * MS);
        assert!(habits.is_reusable(152 * MS) && !habits.is_reusable(153 * MS));
    }

    #[test]
    fn a_peer_that_closes_at_once_is_never_trusted() {
        let habits = Habits::new();
        habits.closed_between(0, 2 * MS);
        assert!(!habits.is_reusable(MS));
        habits.alive_at(100 * MS);
        assert!(habits.is_reusable(10 * MS));
    }

    #[test]
    fn an_announcement_counts_until_it_proves_wrong() {
        let habits = Habits::new();
        habits.announced(5);
        assert!(habits.is_reusable(4_000 * MS) && !habits.is_reusable(4_001 * MS));
        habits.closed_between(0, 1_000 * MS);
        assert!(!habits.is_reusable(900 * MS));
    }
}
