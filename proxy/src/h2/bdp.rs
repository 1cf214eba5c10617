//! How much may be under way to us: windows that follow what a connection carries in a round trip.
//!
//! A PING that goes out while a body comes in tells the round trip; what arrived until its answer
//! is what the path holds. If that is most of the window, the window was the limit, and it is
//! doubled. Connections that carry little are never asked: gRPC servers dislike to be pinged.
//! h2 lets one PING of ours be under way, so who wants one as a sign of life asks here, too.

use std::task::{Context, Poll};

use h2::{Ping, PingPong};

/// Bytes within this time show that a body is under way.
const RECENT: u64 = 1_000_000_000;
/// After a round trip that was not the limit, the next one is looked at no sooner.
const PAUSE: u64 = 100_000_000;

/// The estimate of one connection.
pub(crate) struct Bdp {
    ping: PingPong,
    judge: Judge,
    /// A PING is under way that measures nothing.
    probing: bool,
}

impl Bdp {
    /// `window` is that of a stream to begin with, `most` what it may become.
    pub(crate) fn new(ping: PingPong, window: u32, most: u32) -> Self {
        Self {
            ping,
            judge: Judge::new(window, most),
            probing: false,
        }
    }

    /// Makes the peer give a sign of life, by a PING if none is under way.
    pub(crate) fn probe(&mut self) {
        if !self.judge.is_asking() {
            self.probing |= self.ping.send_ping(Ping::opaque()).is_ok();
        }
    }

    /// Takes note of payload that came, and returns the window to use from now on, if it changes.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        received: u64,
        now: impl FnOnce() -> u64,
    ) -> Option<u32> {
        if self.probing {
            self.probing = self.ping.poll_pong(cx).is_pending();
        }
        if received == 0 && !self.judge.is_asking() {
            return None;
        }
        let now = now();
        if self.judge.received(received, now) {
            // Fails only where one is under way, which the judge knows of.
            let asked = self.ping.send_ping(Ping::opaque()).is_ok();
            self.judge.asked(asked);
        }
        if !self.judge.is_asking() {
            return None;
        }
        match self.ping.poll_pong(cx) {
            Poll::Ready(Ok(_)) => self.judge.answered(now),
            Poll::Ready(Err(_)) | Poll::Pending => None,
        }
    }
}

/// The arithmetic of it.
#[derive(Debug)]
struct Judge {
    window: u32,
    most: u32,
    /// Payload since `since`, while nothing is asked.
    recent: u64,
    since: u64,
    /// Payload since the PING that is under way.
    asking: Option<u64>,
    not_before: u64,
}

impl Judge {
    const fn new(window: u32, most: u32) -> Self {
        Self {
            window,
            most,
            recent: 0,
            since: 0,
            asking: None,
            not_before: 0,
        }
    }

    /// Whether to send a PING now.
    fn received(&mut self, bytes: u64, now: u64) -> bool {
        if bytes == 0 || self.window >= self.most {
            return false;
        }
        if let Some(sum) = &mut self.asking {
            *sum += bytes;
            return false;
        }
        if now.saturating_sub(self.since) > RECENT {
            self.since = now;
            self.recent = 0;
        }
        self.recent += bytes;
        self.recent >= u64::from(self.window) / 2 && now >= self.not_before
    }

    fn asked(&mut self, asked: bool) {
        self.asking = asked.then_some(0);
        self.recent = 0;
    }

    const fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    /// The answer came: whether the window grows.
    fn answered(&mut self, now: u64) -> Option<u32> {
        let carried = self.asking.take().unwrap_or_default();
        if carried < u64::from(self.window) * 2 / 3 {
            self.not_before = now + PAUSE;
            return None;
        }
        let doubled = carried.saturating_mul(2).min(u64::from(self.most)) as u32;
        self.window = doubled.max(self.window);
        Some(self.window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn round(judge: &mut Judge, before: u64, within: u64, now: u64) -> Option<u32> {
        assert!(judge.received(before, now));
        judge.asked(true);
        assert!(!judge.received(within, now));
        judge.answered(now + MS)
    }

    #[test]
    fn a_window_that_is_the_limit_doubles_up_to_its_bound() {
        let mut judge = Judge::new(65_535, 1 << 20);
        assert_eq!(round(&mut judge, 40_000, 65_535, MS), Some(131_070));
        assert_eq!(round(&mut judge, 70_000, 131_070, 2 * MS), Some(262_140));
        assert_eq!(round(&mut judge, 200_000, 900_000, 3 * MS), Some(1 << 20));
        // At its bound nothing is asked any more.
        assert!(!judge.received(1 << 20, 4 * MS));
    }

    #[test]
    fn a_window_that_is_not_the_limit_stays() {
        let mut judge = Judge::new(65_535, 1 << 20);
        assert_eq!(round(&mut judge, 40_000, 10_000, MS), None);
        assert!(!judge.received(60_000, 50 * MS), "too soon after the last");
        assert!(judge.received(60_000, 150 * MS));
    }

    #[test]
    fn little_traffic_is_never_asked_about() {
        let mut judge = Judge::new(65_535, 1 << 20);
        for second in 1..100 {
            assert!(!judge.received(30_000, second * 1_001 * MS));
        }
    }
}
