//! Whether a peer misuses HTTP/2: frames that cost us and carry nothing are held to rates.
//!
//! No io and no clock. Rates decay: each has a burst that refills, so that a link may live for
//! weeks. What grows with honest work is weighed against that work: half of the streams that a
//! client opens may be reset, and the more DATA we send the more `WINDOW_UPDATE` may come back.
//! Totals over a connection's life say nothing about a long one.

use super::frame::{Head, Kind};
use crate::error::Cause;

/// Which end of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A client connected to us.
    Server,
    /// We connected.
    Client,
}

/// How often something may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// So many at once, after a quiet time. Up to twice as many pass while it refills.
    pub(crate) burst: u32,
    /// So many in the long run.
    pub(crate) per_second: u32,
}

impl Rate {
    const fn new(burst: u32, per_second: u32) -> Self {
        Self { burst, per_second }
    }

    const fn times(self, n: u32) -> Self {
        Self::new(
            self.burst.saturating_mul(n),
            self.per_second.saturating_mul(n),
        )
    }
}

/// What a peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// `RST_STREAM` of a client, beyond one for every second stream it opens.
    pub(crate) resets: Rate,
    /// `RST_STREAM` that a client's mistakes make us send, beyond one for every second stream.
    pub(crate) provoked_resets: Rate,
    /// DATA without payload that does not end its stream.
    pub(crate) empty_data: Rate,
    /// SETTINGS, and one more for each 40 settings in one frame.
    pub(crate) settings: Rate,
    /// PING, beyond one for each DATA frame that we sent: peers measure the link with it.
    pub(crate) pings: Rate,
    /// PRIORITY and `PRIORITY_UPDATE`, beyond two per stream.
    pub(crate) priorities: Rate,
    /// `WINDOW_UPDATE`, beyond four per stream and one for each 256 bytes of a DATA frame we sent.
    pub(crate) window_updates: Rate,
    /// Frames of unknown type, GOAWAY and `PUSH_PROMISE`, beyond one per stream.
    pub(crate) others: Rate,
    /// CONTINUATION frames of one header block.
    pub(crate) continuations: u32,
    /// Bytes of one header block as it is sent, compressed.
    pub(crate) header_block: u32,
}

/// CONTINUATION frames of the smallest block.
const CONTINUATIONS: u32 = 5;
/// The least that a peer may have for its frames (RFC 9113 section 6.5.2).
const LEAST_FRAME: u32 = 16_384;

impl Limits {
    /// Bounds of a header block, where a header list may have `header_list` bytes, counted as
    /// RFC 9113 section 6.5.2 does: blocks up to twice that are read and judged as messages. Of
    /// CONTINUATION frames so many may come as carry that, and a quarter more.
    pub(crate) const fn of_blocks(self, header_list: u32) -> Self {
        let block = header_list.saturating_mul(2);
        let frames = block / LEAST_FRAME;
        let frames = frames + frames / 4;
        Self {
            continuations: if frames > CONTINUATIONS {
                frames
            } else {
                CONTINUATIONS
            },
            header_block: block,
            ..self
        }
    }

    /// The same for a peer that carries many clients on one connection. All of them need no more
    /// SETTINGS than one.
    pub(crate) const fn of_many(self) -> Self {
        const MANY: u32 = 10;
        Self {
            resets: self.resets.times(MANY),
            provoked_resets: self.provoked_resets.times(MANY),
            empty_data: self.empty_data.times(MANY),
            pings: self.pings.times(MANY),
            priorities: self.priorities.times(MANY),
            window_updates: self.window_updates.times(MANY),
            others: self.others.times(MANY),
            ..self
        }
    }
}

/// What was too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flood {
    Resets,
    ProvokedResets,
    EmptyData,
    Settings,
    Pings,
    Priorities,
    WindowUpdates,
    Others,
    Continuations,
    HeaderBlock,
}

impl Flood {
    /// The cause in logs and metrics.
    pub(crate) const fn cause(self, role: Role) -> Cause {
        match (role, self) {
            (Role::Client, _) => Cause::Http2UpstreamFlood,
            (_, Self::Resets) => Cause::Http2RapidReset,
            (_, Self::ProvokedResets) => Cause::Http2ProvokedResets,
            (_, Self::Continuations) => Cause::Http2ContinuationFlood,
            (_, Self::HeaderBlock) => Cause::Http2HeaderBomb,
            (_, Self::EmptyData) => Cause::Http2EmptyDataFlood,
            (
                _,
                Self::Settings
                | Self::Pings
                | Self::Priorities
                | Self::WindowUpdates
                | Self::Others,
            ) => Cause::Http2ControlFlood,
        }
    }

    /// For people.
    pub(crate) const fn detail(self) -> &'static str {
        match self {
            Self::Resets => "too many RST_STREAM frames",
            Self::ProvokedResets => "too many streams that had to be reset",
            Self::EmptyData => "too many empty DATA frames",
            Self::Settings => "too many SETTINGS frames",
            Self::Pings => "too many PING frames",
            Self::Priorities => "too many PRIORITY frames",
            Self::WindowUpdates => "too many WINDOW_UPDATE frames",
            Self::Others => "too many frames of other types",
            Self::Continuations => "too many CONTINUATION frames",
            Self::HeaderBlock => "header block too large",
        }
    }
}

/// A reset weighs twice what opening a stream gives back.
const RESET: u32 = 2;
/// Each setting takes six bytes.
const SETTINGS_BYTES: u32 = 240;
const DATA_PER_UPDATE: u32 = 256;
const UPDATES_PER_STREAM: u32 = 4;
const PRIORITIES_PER_STREAM: u32 = 2;

/// Judges one connection.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    role: Role,
    resets: Bucket,
    provoked_resets: Bucket,
    empty_data: Bucket,
    settings: Bucket,
    pings: Bucket,
    priorities: Bucket,
    window_updates: Bucket,
    others: Bucket,
    most_continuations: u32,
    most_block: u32,
    /// The last stream that a client opened.
    last_stream: u32,
    block: Option<Block>,
}

/// A header block that is not whole yet.
#[derive(Clone, Copy, Debug, Default)]
struct Block {
    bytes: u32,
    continuations: u32,
}

impl Judge {
    /// `now` is in nanoseconds of any clock that does not go back.
    pub(crate) fn new(role: Role, limits: &Limits, now: u64) -> Self {
        let bucket = |rate: Rate| Bucket::new(rate, now);
        Self {
            role,
            resets: bucket(limits.resets.times(RESET)),
            provoked_resets: bucket(limits.provoked_resets.times(RESET)),
            empty_data: bucket(limits.empty_data),
            settings: bucket(limits.settings),
            pings: bucket(limits.pings),
            priorities: bucket(limits.priorities),
            window_updates: bucket(limits.window_updates),
            others: bucket(limits.others),
            most_continuations: limits.continuations,
            most_block: limits.header_block,
            last_stream: 0,
            block: None,
        }
    }

    /// Judges a frame of the peer. The clock is asked only where a burst is used up.
    pub(crate) fn received(&mut self, head: &Head, now: impl FnOnce() -> u64) -> Result<(), Flood> {
        let (bucket, cost, flood) = match head.kind {
            Kind::Data if head.is_empty_data() => (&mut self.empty_data, 1, Flood::EmptyData),
            Kind::Reset if self.role == Role::Server => (&mut self.resets, RESET, Flood::Resets),
            // Full windows bound the one; a server that resets what we ask for harms us not.
            Kind::Data | Kind::Reset => return Ok(()),
            Kind::Headers => {
                if self.role == Role::Server {
                    self.opened(head.stream);
                }
                return self.block(Block::default(), head);
            }
            Kind::Continuation => {
                let mut block = self.block.unwrap_or_default();
                block.continuations += 1;
                return self.block(block, head);
            }
            Kind::Settings => {
                let cost = 1 + head.length / SETTINGS_BYTES;
                (&mut self.settings, cost, Flood::Settings)
            }
            Kind::Ping => (&mut self.pings, 1, Flood::Pings),
            Kind::Priority | Kind::PriorityUpdate => (&mut self.priorities, 1, Flood::Priorities),
            Kind::WindowUpdate => (&mut self.window_updates, 1, Flood::WindowUpdates),
            Kind::GoAway | Kind::PushPromise | Kind::Unknown => {
                (&mut self.others, 1, Flood::Others)
            }
        };
        if bucket.take(cost, now) {
            Ok(())
        } else {
            Err(flood)
        }
    }

    /// Takes note of a frame of ours.
    pub(crate) fn sent(&mut self, head: &Head) {
        match head.kind {
            Kind::Data => {
                self.pings.earn(1);
                self.window_updates.earn(head.length / DATA_PER_UPDATE);
            }
            Kind::Headers if self.role == Role::Client => self.opened(head.stream),
            _ => {}
        }
    }

    /// Takes note of an `RST_STREAM` that a client's mistake made us send.
    pub(crate) fn provoked(&mut self, now: impl FnOnce() -> u64) -> Result<(), Flood> {
        if self.provoked_resets.take(RESET, now) {
            Ok(())
        } else {
            Err(Flood::ProvokedResets)
        }
    }

    /// HEADERS on a stream: opens it, unless they are trailers or refer to an old one.
    fn opened(&mut self, stream: u32) {
        if stream > self.last_stream {
            self.last_stream = stream;
            self.resets.earn(1);
            self.provoked_resets.earn(1);
            self.priorities.earn(PRIORITIES_PER_STREAM);
            self.window_updates.earn(UPDATES_PER_STREAM);
            self.others.earn(1);
        }
    }

    /// A further part of a header block. What is too large never reaches HPACK.
    fn block(&mut self, mut block: Block, head: &Head) -> Result<(), Flood> {
        block.bytes = block.bytes.saturating_add(head.length);
        if block.continuations > self.most_continuations {
            return Err(Flood::Continuations);
        }
        if block.bytes > self.most_block {
            return Err(Flood::HeaderBlock);
        }
        self.block = (!head.ends_headers()).then_some(block);
        Ok(())
    }
}

/// A rate that refills. It refills when it is empty and not before, so that frames within their
/// burst cost no look at the clock.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: u32,
    rate: Rate,
    refilled: u64,
}

impl Bucket {
    const fn new(rate: Rate, now: u64) -> Self {
        Self {
            left: rate.burst,
            rate,
            refilled: now,
        }
    }

    /// Takes `n`, if the burst or what came back since has so many.
    fn take(&mut self, n: u32, now: impl FnOnce() -> u64) -> bool {
        if self.left < n {
            self.refill(now());
        }
        match self.left.checked_sub(n) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    fn earn(&mut self, n: u32) {
        self.left = self.left.saturating_add(n).min(self.rate.burst);
    }

    fn refill(&mut self, now: u64) {
        const SECOND: u128 = 1_000_000_000;
        let passed = u128::from(now.saturating_sub(self.refilled));
        let per_second = u128::from(self.rate.per_second);
        let gained = passed * per_second / SECOND;
        let room = self.rate.burst - self.left;
        if gained >= u128::from(room) {
            self.left = self.rate.burst;
            self.refilled = now;
        } else {
            // What is less than one is not lost.
            self.left += gained as u32;
            self.refilled += (gained * SECOND / per_second.max(1)) as u64;
        }
    }
}

#[cfg(test)]
mod tests;
