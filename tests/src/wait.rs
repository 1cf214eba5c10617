//! Deadlines, and waiting for what has no event of its own.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long anything may take that should happen at once. Generous: it only ever passes when a
/// test fails, and machines that run tests can be slow.
pub const DEADLINE: Duration = Duration::from_secs(15);

/// Asks until `check` returns something, or fails with `what` after [`DEADLINE`].
#[track_caller]
pub fn until<T>(what: &str, check: impl FnMut() -> Option<T>) -> T {
    until_within(DEADLINE, what, check)
}

/// As [`until`], with a deadline of its own.
#[track_caller]
pub fn until_within<T>(limit: Duration, what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_micros(500);
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < end, "waited {limit:?} in vain for {what}");
        std::thread::park_timeout(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// A gate that threads wait at until it is opened. It never closes again.
#[derive(Debug, Default)]
pub struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    /// Lets everyone through, now and later.
    pub fn open(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.opened.notify_all();
    }

    /// Waits until the gate is open, [`DEADLINE`] at most.
    #[track_caller]
    pub fn pass(&self) {
        let guard = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let (guard, _) = self
            .opened
            .wait_timeout_while(guard, DEADLINE, |open| !*open)
            .unwrap_or_else(PoisonError::into_inner);
        let open = *guard;
        drop(guard);
        assert!(open, "a gate was not opened within {DEADLINE:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn until_returns_the_first_answer() {
        let mut asked = 0;
        let found = until("three", || {
            asked += 1;
            (asked == 3).then_some("three")
        });
        assert_eq!((found, asked), ("three", 3));
    }

    #[test]
    #[should_panic(expected = "in vain for nothing")]
    fn until_fails_at_its_deadline() {
        until_within(Duration::from_millis(5), "nothing", || None::<()>);
    }

    #[test]
    fn gate_lets_waiters_through() {
        let gate = Gate::default();
        std::thread::scope(|scope| {
            scope.spawn(|| gate.pass());
            gate.open();
        });
        gate.pass();
    }
}
