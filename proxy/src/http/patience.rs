//! How long an exchange may take, in all and at each step.
//!
//! Two deadlines (the route's for the request and for one try) are points in time. The third, a
//! pause within the stream, is watched in quarters, so that progress costs a flag and not a look
//! at the clock: it expires between one and one and a quarter of its length.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    error::{Cause, Failure},
    timer::{Timer, now},
};

const QUARTERS: u8 = 4;

#[derive(Debug, Default)]
pub(super) struct Patience {
    request_at: Option<u64>,
    /// It is the client's deadline, which comes before the route's.
    of_client: bool,
    backend_at: Option<u64>,
    /// A quarter of the longest pause; zero: no limit.
    quarter: u64,
    quiet: u8,
}

/// What ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expired {
    /// The client's own deadline.
    Deadline,
    Request,
    Backend,
    Pause,
}

impl Expired {
    pub(super) fn failure(self, on_pause: impl FnOnce() -> Cause) -> Failure {
        Failure::from(match self {
            Self::Deadline => Cause::DeadlineExceeded,
            Self::Request => Cause::RequestTimeout,
            Self::Backend => Cause::BackendTimeout,
            Self::Pause => on_pause(),
        })
    }
}

impl Patience {
    pub(super) fn new(began: u64, request: Option<Duration>, pause: Duration) -> Self {
        Self {
            request_at: request.map(|d| began + d.as_nanos() as u64),
            of_client: false,
            backend_at: None,
            quarter: pause.as_nanos() as u64 / u64::from(QUARTERS),
            quiet: 0,
        }
    }

    /// The client itself waits no longer than until then.
    pub(super) fn shorten(&mut self, at: u64) {
        if self.request_at.is_none_or(|of_route| at <= of_route) {
            self.request_at = Some(at);
            self.of_client = true;
        }
    }

    /// What is left of the request's time, in nanoseconds; `None` where there is no limit.
    pub(super) fn left(&self, now: u64) -> Option<u64> {
        self.request_at.map(|at| at.saturating_sub(now))
    }

    /// Why nothing may begin any more, once the request's time is up.
    pub(super) fn spent(&self, now: u64) -> Option<Failure> {
        let over = self.request_at.is_some_and(|at| at <= now);
        over.then(|| self.deadline().failure(|| Cause::Internal))
    }

    fn deadline(&self) -> Expired {
        if self.of_client {
            Expired::Deadline
        } else {
            Expired::Request
        }
    }

    /// A new try begins.
    pub(super) fn begin_try(&mut self, began: u64, backend: Option<Duration>) {
        self.backend_at = backend.map(|d| began + d.as_nanos() as u64);
    }

    /// Sets the timer for whatever comes first.
    pub(super) fn arm(&mut self, timer: &Timer, now: u64) {
        let pause = (self.quarter > 0).then(|| now + self.quarter);
        match [self.request_at, self.backend_at, pause]
            .into_iter()
            .flatten()
            .min()
        {
            Some(at) => timer.set_at(at),
            None => timer.clear(),
        }
    }

    /// Whether a limit has passed. `progressed` is cleared where it was needed.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        timer: &Timer,
        progressed: &mut bool,
    ) -> Poll<Expired> {
        while timer.poll_expired(cx).is_ready() {
            let now = now();
            if self.request_at.is_some_and(|at| at <= now) {
                return Poll::Ready(self.deadline());
            }
            if self.backend_at.is_some_and(|at| at <= now) {
                return Poll::Ready(Expired::Backend);
            }
            if self.quarter_passed(std::mem::take(progressed)) {
                return Poll::Ready(Expired::Pause);
            }
            self.arm(timer, now);
        }
        Poll::Pending
    }

    /// Whether the pause is too long now.
    fn quarter_passed(&mut self, progressed: bool) -> bool {
        self.quiet = if progressed { 0 } else { self.quiet + 1 };
        self.quiet >= QUARTERS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smaller of the client's deadline and the route's counts, and is told apart.
    #[test]
    fn the_first_deadline_counts() {
        let of_route = |ms| Patience::new(5, Some(Duration::from_millis(ms)), Duration::ZERO);
        let mut patience = of_route(1);
        patience.shorten(2_000_000);
        assert_eq!(patience.deadline(), Expired::Request);
        assert_eq!(patience.left(5), Some(1_000_000));
        let mut patience = of_route(3);
        patience.shorten(2_000_000);
        assert_eq!(patience.deadline(), Expired::Deadline);
        assert_eq!(patience.left(1_999_999), Some(1));
        assert_eq!(patience.left(2_000_001), Some(0));
        let mut patience = Patience::new(5, None, Duration::ZERO);
        assert_eq!(patience.left(5), None);
        patience.shorten(u64::MAX);
        assert_eq!(patience.left(1), Some(u64::MAX - 1));
    }

    /// Progress may have come right after the quarter in which it is seen began, or right before
    /// its end: four quiet ones behind it are one to one and a quarter of the pause.
    #[test]
    fn a_pause_is_four_quarters() {
        let mut patience = Patience::new(0, None, Duration::from_secs(1));
        let passed = |patience: &mut Patience, quarters: [bool; 4]| {
            quarters.map(|progressed| patience.quarter_passed(progressed))
        };
        let quiet = [false; 4];
        assert_eq!(passed(&mut patience, quiet), [false, false, false, true]);
        let once = [true, false, false, false];
        assert_eq!(passed(&mut patience, once), [false; 4]);
        assert!(patience.quarter_passed(false));
    }
}
