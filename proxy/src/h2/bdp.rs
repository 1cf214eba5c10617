//! How much may be under way to us: windows that follow what a connection carries in a round trip.
//!
//! A PING that goes out while a body comes in tells the round trip; what arrived until its answer
//! is what the path holds, but for what the sender was not let send. It goes right behind a `WINDOW_UPDATE`, so that the answer has all in front
//! of it that this lets come. If that is a good part of the window, the window was the limit, and it is
//! doubled. Connections that carry little are never asked: gRPC servers dislike to be pinged.
//! One PING of ours is under way at a time, so who wants one as a sign of life asks here, too.

use super::link::Connection;

/// Bytes within this time show that a body is under way.
const RECENT: u64 = 1_000_000_000;
/// After a round trip that was not the limit, the next one is looked at no sooner.
const PAUSE: u64 = 100_000_000;

/// The estimate of one connection.
pub(crate) struct Bdp {
    judge: Judge,
    /// What the connection's window is at least.
    connection: u32,
}

impl Bdp {
    /// `window` is that of a stream to begin with, `most` what it may become; `connection` that of the
    /// connection to begin with.
    pub(crate) fn new(window: u32, most: u32, connection: u32) -> Self {
        Self {
            judge: Judge::new(window, most),
            connection,
        }
    }

    /// Takes note of payload that came, and lets the windows grow. Returns whether anything came.
    pub(crate) fn turn(&mut self, link: &Connection, now: impl FnOnce() -> u64) -> bool {
        let received = link.take_received();
        if received == 0 && !self.judge.is_asking() {
            return false;
        }
        let now = now();
        if link.take_measuring() {
            self.judge.asked();
        }
        if self.judge.received(received, now) {
            link.measure();
        }
        if self.judge.is_asking()
            && link.take_answer()
            && let Some(window) = self.judge.answered(now)
        {
            link.set_windows(window.max(self.connection), window);
        }
        received > 0
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

    fn asked(&mut self) {
        self.asking = Some(0);
        self.recent = 0;
    }

    const fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    /// The answer came: whether the window grows.
    fn answered(&mut self, now: u64) -> Option<u32> {
        let carried = self.asking.take().unwrap_or_default();
        // A sender that fills its window has the half of it under way of which it was not told yet.
        if carried < u64::from(self.window) / 3 {
            self.not_before = now + PAUSE;
            return None;
        }
        self.window = self.window.saturating_mul(2).min(self.most);
        Some(self.window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn round(judge: &mut Judge, before: u64, within: u64, now: u64) -> Option<u32> {
        assert!(judge.received(before, now));
        judge.asked();
        assert!(!judge.received(within, now));
        judge.answered(now + MS)
    }

    #[test]
    fn a_window_that_is_the_limit_doubles_up_to_its_bound() {
        let mut judge = Judge::new(65_535, 1 << 20);
        assert_eq!(round(&mut judge, 40_000, 65_535, MS), Some(131_070));
        assert_eq!(round(&mut judge, 70_000, 131_070, 2 * MS), Some(262_140));
        assert_eq!(round(&mut judge, 200_000, 90_000, 3 * MS), Some(524_280));
        assert_eq!(round(&mut judge, 300_000, 900_000, 4 * MS), Some(1_048_560));
        assert_eq!(round(&mut judge, 600_000, 600_000, 5 * MS), Some(1 << 20));
        // At its bound nothing is asked any more.
        assert!(!judge.received(1 << 20, 6 * MS));
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
