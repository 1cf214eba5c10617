//! One opaque connection: bytes both ways until both ends are done. Serves TCP listeners, and
//! what an HTTP connection, or a stream of one, becomes after an upgrade or CONNECT.
//!
//! Ends are passed on as they come. A FIN one way ends that way alone, after everything before
//! it was written; a reset becomes a reset, so that neither peer takes a broken transfer for a
//! whole one.

mod bulk;
mod pipe;

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

pub(crate) use self::bulk::Bulk;
use self::pipe::{Broken, Pipe, Progress};
use crate::{error::Cause, net::channel::Side};

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From downstream to upstream.
    Up,
    /// From upstream to downstream.
    Down,
}

/// Who looks on while bytes move, and may put an end to it.
pub(crate) trait Watch {
    /// `bytes` more were taken by the receiver. Called once a turn at most.
    fn moved(&mut self, way: Way, bytes: usize);

    /// So many bytes wait in our memory for receivers that are behind, beside what [`Bulk`] counts;
    /// `progress`: such a receiver has taken some since the last time. `false`: they are too many.
    /// Asked when nothing more can be moved for now. MUST arrange to be asked again when that changes.
    fn may_hold(&mut self, cx: &mut Context<'_>, bytes: usize, progress: bool) -> bool;

    /// Ready when the connection has to go, and why. Asked after every turn, after `moved`.
    /// MUST arrange to be asked again when that may change without anything having moved.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<Cause>;
}

/// How a connection was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Bytes that upstream took.
    pub(crate) up_bytes: u64,
    /// Bytes that downstream took.
    pub(crate) down_bytes: u64,
    pub(crate) end: Ended,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Both ways were ended in order.
    Closed,
    /// Downstream reset its connection, or could not be reached any more.
    DownstreamReset,
    /// Upstream reset its connection, or could not be reached any more.
    UpstreamReset,
    /// [`Watch::poll_expired`] said so.
    Expired(Cause),
    /// [`Watch::may_hold`] said no. Bytes are lost: both sides are reset.
    Overfull,
}

impl Ended {
    /// The cause of failure, where it is one.
    pub(crate) fn cause(self) -> Option<Cause> {
        match self {
            Self::Closed => None,
            Self::DownstreamReset => Some(Cause::ClientGone),
            Self::UpstreamReset => Some(Cause::UpstreamClosed),
            Self::Expired(cause) => Some(cause),
            Self::Overfull => Some(Cause::BuffersFull),
        }
    }
}

/// Forwards both ways to the end. `up` and `down` are bytes that were received before and go
/// first.
///
/// Afterwards the caller drops both sides: one whose other side was reset is then reset, too.
pub(crate) fn forward<'a, W: Watch>(
    downstream: Side<'a>,
    upstream: Side<'a>,
    bulk: &Bulk,
    (up, down): (&[u8], &[u8]),
    watch: &'a mut W,
) -> Forward<'a, W> {
    let mut forward = Forward {
        downstream,
        upstream,
        bulk: bulk.clone(),
        up: Pipe::new(),
        down: Pipe::new(),
        up_bytes: 0,
        down_bytes: 0,
        broken: None,
        check: None,
        watch,
    };
    forward.up.begin_with(up, bulk);
    forward.down.begin_with(down, bulk);
    forward
}

/// The future of [`forward`]. Holds no buffer while nothing is under way.
#[must_use]
pub(crate) struct Forward<'a, W> {
    downstream: Side<'a>,
    upstream: Side<'a>,
    bulk: Bulk,
    up: Pipe,
    down: Pipe,
    up_bytes: u64,
    down_bytes: u64,
    /// The side that takes no more bytes. What it sent before goes on to the other, then it is over.
    broken: Option<Ended>,
    /// Runs while a reset could come unseen.
    check: Option<Pin<Box<Sleep>>>,
    watch: &'a mut W,
}

/// How often a side that nothing is read from is asked whether it was reset.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

impl<W: Watch> Future for Forward<'_, W> {
    type Output = Summary;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Summary> {
        let this = self.get_mut();
        let before = (this.up_bytes, this.down_bytes);
        let polled = this.poll_both(cx);
        let end = match polled {
            Poll::Ready(end) => end,
            Poll::Pending if !this.may_hold(cx, before) => Ended::Overfull,
            Poll::Pending => match this.watch.poll_expired(cx) {
                Poll::Ready(cause) => Ended::Expired(cause),
                Poll::Pending => return Poll::Pending,
            },
        };
        match end {
            Ended::DownstreamReset => this.upstream.reset_on_drop(),
            Ended::UpstreamReset => this.downstream.reset_on_drop(),
            Ended::Overfull => {
                this.downstream.reset_on_drop();
                this.upstream.reset_on_drop();
            }
            Ended::Closed | Ended::Expired(_) => {}
        }
        Poll::Ready(Summary {
            up_bytes: this.up_bytes,
            down_bytes: this.down_bytes,
            end,
        })
    }
}

impl<W: Watch> Forward<'_, W> {
    fn poll_both(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let up = self.poll_way(cx, Way::Up);
        if let Poll::Ready(Err(end)) = up {
            return Poll::Ready(end);
        }
        let down = self.poll_way(cx, Way::Down);
        if let Poll::Ready(Err(end)) = down {
            return Poll::Ready(end);
        }
        if self.up.is_done() && self.down.is_done() {
            return Poll::Ready(self.broken.unwrap_or(Ended::Closed));
        }
        let turn_over = Poll::Ready(Ok(Progress::TurnOver));
        if up == turn_over || down == turn_over {
            // Wakes this task after others had their turn and new events were looked for.
            let _ = pin!(tokio::task::yield_now()).poll(cx);
        }
        self.poll_check(cx)
    }

    /// Moves bytes one way. An error is how the connection ends.
    fn poll_way(&mut self, cx: &mut Context<'_>, way: Way) -> Poll<Result<Progress, Ended>> {
        let mut moved = 0;
        let pass_end = self.broken.is_none();
        let (pipe, streams) = match way {
            Way::Up => (&mut self.up, (&mut self.downstream, &mut self.upstream)),
            Way::Down => (&mut self.down, (&mut self.upstream, &mut self.downstream)),
        };
        let polled = pipe.poll(cx, streams, &self.bulk, pass_end, &mut moved);
        if moved > 0 {
            match way {
                Way::Up => self.up_bytes += moved as u64,
                Way::Down => self.down_bytes += moved as u64,
            }
            self.watch.moved(way, moved);
        }
        polled.map(|progress| {
            progress.or_else(|broken| {
                let (sender, receiver) = match way {
                    Way::Up => (Ended::DownstreamReset, Ended::UpstreamReset),
                    Way::Down => (Ended::UpstreamReset, Ended::DownstreamReset),
                };
                match broken {
                    // While the other way was drained for its sake, its own end had a reason.
                    Broken::Sender => Err(self.broken.unwrap_or(sender)),
                    Broken::Memory => Err(Ended::Overfull),
                    Broken::Receiver if self.broken.is_some() => Err(receiver),
                    // A peer may answer, close, and so reset what is still on its way to it.
                    // Its answer was received: it is passed on before the reset.
                    Broken::Receiver => {
                        self.broken = Some(receiver);
                        match way {
                            Way::Up => self.up.abandon(),
                            Way::Down => self.down.abandon(),
                        }
                        Ok(Progress::Done)
                    }
                }
            })
        })
    }

    /// `before`: bytes that had been moved each way before this turn.
    fn may_hold(&mut self, cx: &mut Context<'_>, before: (u64, u64)) -> bool {
        let (mut unread, mut progress) = (0, false);
        if self.up.is_stalled() {
            unread += self.downstream.unread(cx);
            progress |= self.up_bytes > before.0;
        }
        if self.down.is_stalled() {
            unread += self.upstream.unread(cx);
            progress |= self.down_bytes > before.1;
        }
        self.watch.may_hold(cx, unread, progress)
    }

    /// A reset is seen by reading. Of a side that has ended, or whose receiver is behind, nothing
    /// is read; without this such a connection could outlive its peer until it expires. Sockets are
    /// asked now and then, a channel tells.
    fn poll_check(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            let unseen = self.up.is_done() != self.down.is_done()
                || self.up.is_stalled()
                || self.down.is_stalled();
            if unseen {
                if self.downstream.poll_reset(cx).is_ready() {
                    return Poll::Ready(Ended::DownstreamReset);
                }
                if self.upstream.poll_reset(cx).is_ready() {
                    return Poll::Ready(Ended::UpstreamReset);
                }
            }
            let Some(check) = &mut self.check else {
                if unseen {
                    self.check = Some(Box::pin(sleep(CHECK_INTERVAL)));
                    continue;
                }
                return Poll::Pending;
            };
            if check.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if !unseen {
                self.check = None;
                return Poll::Pending;
            }
            check.as_mut().reset(Instant::now() + CHECK_INTERVAL);
            if self.downstream.take_error().is_some() {
                return Poll::Ready(Ended::DownstreamReset);
            }
            if self.upstream.take_error().is_some() {
                return Poll::Ready(Ended::UpstreamReset);
            }
        }
    }
}

#[cfg(test)]
mod tests;
