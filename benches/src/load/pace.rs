//! An open loop: when the next request is due. A request has an intended time that no answer
//! before it can delay, and latency counts from there; otherwise a server that stalls would be
//! asked less and look fast (coordinated omission).

use std::time::{Duration, Instant};

#[derive(Clone, Debug)]
pub(crate) struct Pace {
    begun: Instant,
    between: Duration,
    next: u32,
}

impl Pace {
    /// `offset` is the time of the first request behind `begun`.
    pub(crate) fn new(begun: Instant, between: Duration, offset: Duration) -> Self {
        Self {
            begun: begun + offset,
            between,
            next: 0,
        }
    }

    /// When the next request is to begin.
    pub(crate) fn next(&self) -> Instant {
        self.begun + self.between * self.next
    }

    /// The intended time of the next request if it is due.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Instant> {
        let intended = self.next();
        (intended <= now).then(|| {
            self.next += 1;
            intended
        })
    }

    /// Takes the next request whether or not it is due.
    pub(crate) fn reserve(&mut self) -> Instant {
        let intended = self.next();
        self.next += 1;
        intended
    }

    /// How many requests were to begin before `end` and have not been taken; takes them.
    pub(crate) fn overdue(&mut self, end: Instant, mut each: impl FnMut(Instant)) {
        while let Some(intended) = self.take(end) {
            if intended < end {
                each(intended);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_missed_keeps_its_time() {
        let begun = Instant::now();
        let step = Duration::from_millis(10);
        let mut pace = Pace::new(begun, step, Duration::ZERO);
        assert_eq!(pace.take(begun), Some(begun));
        assert_eq!(pace.take(begun + step / 2), None);
        // A stall of a second: a hundred requests are due, each at its own time.
        let late = begun + Duration::from_secs(1);
        let due: Vec<_> = std::iter::from_fn(|| pace.take(late)).collect();
        assert_eq!(due.len(), 100);
        assert_eq!(due[0], begun + step);
        assert_eq!(pace.next(), late + step);
    }

    #[test]
    fn what_never_began_is_told() {
        let begun = Instant::now();
        let step = Duration::from_millis(10);
        let mut pace = Pace::new(begun, step, step / 2);
        let mut told = Vec::new();
        pace.overdue(begun + step * 3, |intended| told.push(intended));
        assert_eq!(
            told,
            [begun + step / 2, begun + step * 3 / 2, begun + step * 5 / 2]
        );
    }
}
