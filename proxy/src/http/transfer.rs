//! Moving one body, whatever carries it on either side.
//!
//! Between two HTTP/1 connections a [`Pump`] moves bytes through one buffer; where HTTP/2 is on
//! either side a [`Relay`] moves owned pieces. Who asks for a body to be moved sees no difference.

use std::task::{Context, Poll};

use super::{
    pump::{Broken, Encoding, Plan, Progress, Pump},
    relay::Relay,
};
use crate::{
    h2,
    net::{buffer::Buffer, stream::Stream},
};

/// Where a body comes from.
pub(super) enum Source<'a> {
    Http1(&'a mut Stream),
    Http2(&'a mut h2::Stream),
    /// It was read already, or there is none.
    Nothing,
}

/// Where a body goes.
pub(super) enum Sink<'a> {
    Http1(&'a mut Stream),
    Http2(&'a mut h2::Stream),
    /// The head that went before said that nothing follows.
    Nothing,
}

/// What carries one side of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    Http1,
    Http2,
}

/// One body under way.
pub(super) enum Transfer {
    Pump(Pump),
    Relay(Box<Relay>),
}

impl Transfer {
    /// `out` begins with the message's head where the sink is HTTP/1; towards HTTP/2 it goes by itself.
    pub(super) fn new(from: Carrier, to: Carrier, plan: Plan, out: Vec<u8>) -> Self {
        if (from, to) == (Carrier::Http1, Carrier::Http1) {
            Self::Pump(Pump::new(plan, out))
        } else {
            Self::Relay(Box::new(Relay::new(from, to, &plan, out)))
        }
    }

    /// See [`Pump::poll`].
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: Source<'_>,
        buffer: &mut Buffer,
        sink: Sink<'_>,
    ) -> Poll<Result<Progress, Broken>> {
        match (self, source, sink) {
            (Self::Pump(pump), Source::Http1(source), Sink::Http1(sink)) => {
                pump.poll(cx, source, buffer, sink)
            }
            (Self::Pump(_), ..) => Poll::Ready(Err(Broken::SourceFailed)),
            (Self::Relay(relay), source, sink) => relay.poll(cx, source, buffer, sink),
        }
    }

    /// Writes what waits.
    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
        sink: Sink<'_>,
    ) -> Poll<Result<(), Broken>> {
        match (self, sink) {
            (Self::Pump(pump), Sink::Http1(sink)) => {
                pump.poll_flush(cx, buffer, sink).map_err(Broken::from)
            }
            (Self::Pump(_), _) => Poll::Ready(Err(Broken::SinkFailed)),
            (Self::Relay(relay), sink) => relay.poll_flush(cx, sink),
        }
    }

    /// Gives the transfer up, or takes leave of it. See [`Pump::finish`].
    pub(super) fn finish(self, buffer: &mut Buffer) -> Vec<u8> {
        match self {
            Self::Pump(pump) => pump.finish(buffer),
            Self::Relay(relay) => relay.finish(buffer),
        }
    }

    /// Whether all of the source was read.
    pub(super) fn source_done(&self) -> bool {
        match self {
            Self::Pump(pump) => pump.source_done(),
            Self::Relay(relay) => relay.source_done(),
        }
    }

    /// Whether something waits to be written.
    pub(super) fn is_blocked(&self) -> bool {
        match self {
            Self::Pump(pump) => pump.is_blocked(),
            Self::Relay(relay) => relay.is_blocked(),
        }
    }

    /// Whether everything is written.
    pub(super) fn is_done(&self) -> bool {
        self.source_done() && !self.is_blocked()
    }

    /// Bytes that came behind the body: more than the message.
    pub(super) fn unread(&self, buffer: &Buffer) -> usize {
        match self {
            Self::Pump(pump) => pump.unread(buffer),
            Self::Relay(relay) => relay.unread(buffer),
        }
    }

    /// Bytes of head and framing lined up before anything was moved.
    pub(super) fn waiting(&self) -> u64 {
        match self {
            Self::Pump(pump) => pump.waiting(),
            Self::Relay(relay) => relay.waiting(),
        }
    }

    /// Whether nothing has ever left.
    pub(super) fn is_untouched(&self) -> bool {
        match self {
            Self::Pump(pump) => pump.is_untouched(),
            Self::Relay(relay) => relay.is_untouched(),
        }
    }

    /// Makes it as if nothing had left, to be sent to somebody else. `false` where that cannot be.
    pub(super) fn rewind(&mut self) -> bool {
        match self {
            Self::Pump(pump) => pump.is_untouched(),
            Self::Relay(relay) => relay.rewind(),
        }
    }

    /// What was sent is not needed again.
    pub(super) fn answered(&mut self) {
        if let Self::Relay(relay) = self {
            relay.answered();
        }
    }

    /// Whether it is framed for a sink of this kind.
    pub(super) fn goes_to(&self, carrier: Carrier) -> bool {
        match self {
            Self::Pump(_) => carrier == Carrier::Http1,
            Self::Relay(relay) => relay.goes_to(carrier),
        }
    }

    /// Payload bytes moved.
    pub(super) fn moved(&self) -> u64 {
        match self {
            Self::Pump(pump) => pump.moved,
            Self::Relay(relay) => relay.moved,
        }
    }

    /// Whether anything moved since this was last cleared.
    pub(super) fn progressed(&mut self) -> &mut bool {
        match self {
            Self::Pump(pump) => &mut pump.progressed,
            Self::Relay(relay) => &mut relay.progressed,
        }
    }

    /// The gRPC status in the trailers that passed.
    pub(super) fn grpc_status(&self) -> Option<u32> {
        match self {
            Self::Pump(_) => None,
            Self::Relay(relay) => relay.grpc_status,
        }
    }
}

/// Whether a body that is framed by its own end needs chunks on HTTP/1.
pub(super) fn encoding(body: crate::message::Body) -> Encoding {
    if body == crate::message::Body::Chunked {
        Encoding::Chunked
    } else {
        Encoding::Plain
    }
}
