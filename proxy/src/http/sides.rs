//! The two sides of an exchange: the client's and the endpoint's, each carried by an HTTP/1
//! connection of its own or by a stream of an HTTP/2 connection.

use std::task::{Context, Poll};

use super::transfer::{Carrier, Sink, Source};
use crate::{
    error::{Cause, Failure},
    h2::{Channel, Code, Stream as Http2Stream},
    message::Body,
    net::stream::Stream,
    upstream::{Connection, Lease},
};

/// The client's side.
pub(crate) enum Downstream {
    Http1(Stream),
    Http2(Box<ServerStream>),
    /// The connection as a whole, read and written by the task that drives it.
    Driven,
}

/// A request that came on a stream of an HTTP/2 connection.
pub(crate) struct ServerStream {
    pub(super) stream: Http2Stream,
    /// The response's head was sent.
    pub(super) answered: bool,
    /// Why the endpoint reset its stream, for the client to be told the same.
    pub(super) reason: Option<Code>,
}

/// The endpoint's side.
pub(super) enum Upstream {
    Http1(Connection),
    Http2(Box<ClientStream>),
}

/// A request on a stream of an HTTP/2 connection.
pub(super) struct ClientStream {
    pub(super) stream: Http2Stream,
    /// What was asked for by extended CONNECT, where it was.
    pub(super) protocol: Option<Box<[u8]>>,
    /// Last, so that the stream is gone before its place is free.
    pub(super) lease: Lease,
}

impl Downstream {
    pub(super) fn carrier(&self) -> Carrier {
        match self {
            Self::Http1(_) => Carrier::Http1,
            Self::Http2(_) | Self::Driven => Carrier::Http2,
        }
    }

    pub(super) fn source(&mut self) -> Source<'_> {
        match self {
            Self::Http1(stream) => Source::Http1(stream),
            Self::Http2(stream) => Source::Http2(&mut stream.stream),
            Self::Driven => Source::Nothing,
        }
    }

    pub(super) fn sink(&mut self) -> Sink<'_> {
        match self {
            Self::Http1(stream) => Sink::Http1(stream),
            Self::Http2(stream) => Sink::Http2(&mut stream.stream),
            Self::Driven => Sink::Nothing,
        }
    }

    /// The connection of a client that speaks HTTP/1, or whose protocol is not known yet.
    pub(crate) fn stream(&mut self) -> Option<&mut Stream> {
        match self {
            Self::Http1(stream) => Some(stream),
            Self::Http2(_) | Self::Driven => None,
        }
    }

    /// The stream of a client that was granted a tunnel, as bytes; `reset` says that they broke.
    /// Nothing of it is left here.
    pub(super) fn take_channel(&mut self, reset: Code) -> Option<Channel<()>> {
        match std::mem::replace(self, Self::Driven) {
            Self::Http2(stream) => Some(Channel::new(stream.stream, reset, ())),
            other => {
                *self = other;
                None
            }
        }
    }
}

impl ServerStream {
    pub(super) fn new(stream: Http2Stream) -> Self {
        Self {
            stream,
            answered: false,
            reason: None,
        }
    }

    /// Sends the response's head, a header block; with `end` nothing follows.
    pub(super) fn answer(&mut self, block: &[u8], end: bool) -> Result<(), Failure> {
        self.answered = true;
        let gone = |_| Failure::new(Cause::ClientGone, "before the response");
        self.stream.send_head(block, end).map_err(gone)
    }

    /// Ready when the client gave the stream up, or its connection is gone.
    pub(super) fn poll_gone(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.stream.poll_gone(cx).map(|_| ())
    }

    pub(super) fn reset(&mut self, code: Code) {
        self.stream.reset(code);
    }
}

impl Upstream {
    pub(super) fn carrier(&self) -> Carrier {
        match self {
            Self::Http1(_) => Carrier::Http1,
            Self::Http2(_) => Carrier::Http2,
        }
    }

    pub(super) fn source(&mut self) -> Source<'_> {
        match self {
            Self::Http1(connection) => Source::Http1(&mut connection.stream),
            Self::Http2(stream) => Source::Http2(&mut stream.stream),
        }
    }

    /// Whether nothing follows a response's head that says so of its body, or whose stream has ended.
    pub(super) fn is_read(&self, body: Body) -> bool {
        match self {
            Self::Http1(_) => body == Body::None,
            Self::Http2(stream) => stream.stream.is_read(),
        }
    }

    pub(super) fn sink(&mut self) -> Sink<'_> {
        match self {
            Self::Http1(connection) => Sink::Http1(&mut connection.stream),
            Self::Http2(stream) => Sink::Http2(&mut stream.stream),
        }
    }
}

impl ClientStream {
    /// The stream of a tunnel that was granted, as bytes.
    pub(super) fn into_channel(self) -> Channel<Lease> {
        Channel::new(self.stream, Code::CANCEL, self.lease)
    }
}
