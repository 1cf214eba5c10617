//! Moving one body in owned pieces, where HTTP/2 is on at least one side.
//!
//! A piece is read, framed for the other side and handed over before the next one is read. Towards
//! HTTP/2 it waits for the receiver's window, towards HTTP/1 for its socket; what is read is
//! acknowledged to an HTTP/2 sender only then, so a slow receiver costs one piece. Of a request the
//! beginning is kept until it is answered, since an endpoint may refuse what it was sent.

mod from;
mod sent;
mod to;

use std::{
    io,
    task::{Context, Poll},
};

use bytes::Bytes;

use super::{
    pump::{Broken, Plan, Progress},
    transfer::{Carrier, Sink, Source},
};
use crate::{
    message::{Body, Limits},
    net::{
        behind::{Behind, Hold},
        buffer::Buffer,
    },
};
use from::From;
use to::To;

/// What is small: payload up to this size is copied behind its framing, so that it leaves with it;
/// working memory beyond it is not kept, and is not asked for where memory is scarce.
const SMALL: usize = 4_096;
/// What a stream takes that waits, beside its payload: its task, its heads, its endpoint's connection.
/// Measured, with what the allocator adds.
const STREAM: usize = 10_240;

pub(super) struct Relay {
    from: From,
    to: To,
    limits: Limits,
    most: u64,
    from_upstream: bool,
    behind: Behind,
    /// What is held while the receiver is behind.
    held: Hold,
    /// Read and not handed over.
    payload: Bytes,
    /// Read from an HTTP/2 sender and not acknowledged.
    owed: usize,
    /// As a header block.
    trailers: Option<Vec<u8>>,
    /// All of the source was read.
    ended: bool,
    touched: bool,
    pub(super) moved: u64,
    pub(super) progressed: bool,
    pub(super) grpc_status: Option<u32>,
}

impl Relay {
    pub(super) fn new(from: Carrier, to: Carrier, plan: &Plan, out: Vec<u8>) -> Self {
        let ended = plan.body == Body::None;
        Self {
            from: From::new(from, plan),
            to: To::new(to, plan, out),
            limits: plan.limits,
            most: plan.most,
            from_upstream: plan.from_upstream,
            behind: plan.behind.clone(),
            held: Hold::new(&plan.behind),
            payload: Bytes::new(),
            owed: 0,
            trailers: None,
            ended,
            touched: false,
            moved: 0,
            progressed: false,
            grpc_status: None,
        }
    }

    /// A whole body of ours, towards HTTP/2.
    pub(super) fn of(body: Bytes, plan: &Plan) -> Self {
        let mut relay = Self::new(Carrier::Http2, Carrier::Http2, plan, Vec::new());
        relay.payload = body;
        relay.ended = true;
        relay
    }

    /// Moves what can be moved. After [`Progress::SourceDone`] the source is not needed: go on with
    /// [`Relay::poll_flush`].
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut source: Source<'_>,
        buffer: &mut Buffer,
        mut sink: Sink<'_>,
    ) -> Poll<Result<Progress, Broken>> {
        loop {
            let mut starving = false;
            while !self.ended && self.has_room() {
                match self.poll_source(cx, &mut source, buffer) {
                    Poll::Ready(Ok(())) => self.progressed = true,
                    Poll::Ready(Err(broken)) => return Poll::Ready(Err(broken)),
                    Poll::Pending => {
                        starving = true;
                        break;
                    }
                }
            }
            if self.ended {
                return Poll::Ready(Ok(if self.is_blocked() {
                    Progress::SourceDone
                } else {
                    Progress::Done
                }));
            }
            if self.is_blocked() {
                match self.poll_flush_to(cx, &mut sink) {
                    Poll::Ready(sent) => self.caught_up(sent)?,
                    Poll::Pending => {
                        self.wait(cx, &mut source)?;
                        // One of an HTTP/2 stream's own is of no use while it waits.
                        if self.from_upstream && buffer.is_empty() {
                            buffer.shrink(0);
                        }
                        return Poll::Pending;
                    }
                }
            }
            if starving {
                return Poll::Pending;
            }
        }
    }

    /// Waits for a receiver that is behind, and counts what is held for it.
    fn wait(&mut self, cx: &Context<'_>, source: &mut Source<'_>) -> Result<(), Broken> {
        let held = self.from.held(source, self.payload.len());
        if self.held.set(STREAM + held) && self.held.wait(cx.waker()) {
            Ok(())
        } else {
            Err(Broken::NoMemory)
        }
    }

    /// The receiver took what waited, or failed.
    fn caught_up(&mut self, sent: io::Result<()>) -> Result<(), Broken> {
        self.held.go_on();
        let _less = self.held.set(0);
        Ok(sent?)
    }

    /// Writes what waits.
    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        mut sink: Sink<'_>,
    ) -> Poll<Result<(), Broken>> {
        match self.poll_flush_to(cx, &mut sink) {
            Poll::Ready(sent) => Poll::Ready(self.caught_up(sent)),
            Poll::Pending => {
                self.wait(cx, &mut Source::Nothing)?;
                Poll::Pending
            }
        }
    }

    /// Gives the transfer up. What came behind the body goes back to where it was read from.
    pub(super) fn finish(self, buffer: &mut Buffer) -> Vec<u8> {
        self.from.give_back(buffer, self.ended);
        let mut lent = self.to.into_lent();
        lent.clear();
        // What grew for one message does not stay.
        if lent.capacity() > SMALL {
            lent = Vec::new();
        }
        lent
    }

    /// The request was answered: it is not sent again.
    pub(super) fn answered(&mut self) {
        if let To::Http2 { sent, .. } = &mut self.to {
            sent.forget();
        }
    }

    /// Begins anew with what was sent, if all of it is still there.
    pub(super) fn rewind(&mut self) -> bool {
        let To::Http2 { closed, sent } = &mut self.to else {
            return !self.touched;
        };
        if self.touched {
            let Some(again) = sent.again(&self.payload) else {
                return false;
            };
            self.payload = again;
            *closed = false;
            self.touched = false;
        }
        true
    }

    pub(super) fn goes_to(&self, carrier: Carrier) -> bool {
        self.to.is_for(carrier)
    }

    pub(super) fn source_done(&self) -> bool {
        self.ended
    }

    pub(super) fn is_blocked(&self) -> bool {
        !self.payload.is_empty() || self.to.is_blocked(self.ended)
    }

    pub(super) fn unread(&self, buffer: &Buffer) -> usize {
        self.from.unread(buffer)
    }

    pub(super) fn waiting(&self) -> u64 {
        self.to.waiting()
    }

    pub(super) fn is_untouched(&self) -> bool {
        !self.touched
    }

    /// Whether another piece may be read: what was read before can still be joined by it.
    fn has_room(&self) -> bool {
        self.payload.is_empty() && self.to.has_room()
    }
}
