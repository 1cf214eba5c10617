//! Whether an endpoint that says nothing is alive: when to ask, and when to give it up.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use outrigger_config::model::Http2Keepalive;
use tokio::time::{Instant, Sleep, sleep};

use crate::timer::now;

/// The watch over one connection.
pub(super) struct Keepalive {
    watch: Watch,
    sleep: Pin<Box<Sleep>>,
}

/// What an endpoint's silence asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// A PING.
    Ask,
    /// The end of the connection.
    GiveUp,
}

impl Keepalive {
    pub(super) fn new(settings: &Http2Keepalive) -> Self {
        Self {
            watch: Watch::new(settings, now()),
            sleep: Box::pin(sleep(settings.interval)),
        }
    }

    /// Takes note of whether anything came. `Pending`: nothing is to be done before the task is
    /// woken.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, heard: bool) -> Poll<Silence> {
        if heard {
            let now = now();
            // While things come the timer is left to expire, rather than set anew for each.
            if self.watch.heard(now) {
                self.set(now);
            }
        }
        while self.sleep.as_mut().poll(cx).is_ready() {
            let now = now();
            let silence = self.watch.look(now);
            self.set(now);
            if let Some(silence) = silence {
                // The timer has to be polled once more; asking wakes the task in any case.
                cx.waker().wake_by_ref();
                return Poll::Ready(silence);
            }
        }
        Poll::Pending
    }

    fn set(&mut self, now: u64) {
        let pause = Duration::from_nanos(self.watch.next().saturating_sub(now));
        self.sleep.as_mut().reset(Instant::now() + pause);
    }
}

/// The arithmetic of it, in nanoseconds.
#[derive(Debug)]
struct Watch {
    interval: u64,
    timeout: u64,
    heard_at: u64,
    asked_at: Option<u64>,
}

impl Watch {
    fn new(settings: &Http2Keepalive, now: u64) -> Self {
        Self {
            interval: settings.interval.as_nanos() as u64,
            timeout: settings.timeout.as_nanos() as u64,
            heard_at: now,
            asked_at: None,
        }
    }

    /// Whether it was asked for.
    fn heard(&mut self, now: u64) -> bool {
        self.heard_at = now;
        self.asked_at.take().is_some()
    }

    /// When to look next.
    fn next(&self) -> u64 {
        match self.asked_at {
            Some(at) => at.saturating_add(self.timeout),
            None => self.heard_at.saturating_add(self.interval),
        }
    }

    fn look(&mut self, now: u64) -> Option<Silence> {
        if now < self.next() {
            return None;
        }
        if self.asked_at.is_some() {
            return Some(Silence::GiveUp);
        }
        self.asked_at = Some(now);
        Some(Silence::Ask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch() -> Watch {
        let settings = Http2Keepalive {
            interval: Duration::from_nanos(100),
            timeout: Duration::from_nanos(30),
        };
        Watch::new(&settings, 1_000)
    }

    #[test]
    fn silence_is_asked_about_and_then_given_up() {
        let mut watch = watch();
        assert_eq!((watch.next(), watch.look(1_099)), (1_100, None));
        assert_eq!(watch.look(1_100), Some(Silence::Ask));
        assert_eq!((watch.next(), watch.look(1_129)), (1_130, None));
        assert_eq!(watch.look(1_130), Some(Silence::GiveUp));
    }

    #[test]
    fn every_byte_is_a_sign_of_life() {
        let mut watch = watch();
        assert!(!watch.heard(1_090));
        assert_eq!(watch.look(1_100), None);
        assert_eq!(watch.look(1_190), Some(Silence::Ask));
        assert!(watch.heard(1_200));
        assert_eq!((watch.look(1_220), watch.next()), (None, 1_300));
        // A task that is late asks, and does not judge by its own delay.
        assert_eq!(watch.look(9_000), Some(Silence::Ask));
        assert_eq!(watch.next(), 9_030);
    }
}
