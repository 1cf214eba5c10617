//! The two sides of an exchange: the client's and the endpoint's, each carried by an HTTP/1
//! connection of its own or by a stream of an HTTP/2 connection.

use std::task::{Context, Poll};

use h2::{Reason, RecvStream, SendStream, client::ResponseFuture, server::SendResponse};

use super::transfer::{Carrier, Sink, Source};
use crate::{
    h2::{Piece, Queue},
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
    pub(super) recv: RecvStream,
    pub(super) respond: SendResponse<Piece>,
    pub(super) queue: Queue,
    /// From the response's head on, where a body follows.
    pub(super) send: Option<SendStream<Piece>>,
    /// The response's head was sent.
    pub(super) answered: bool,
    /// Why the endpoint reset its stream, for the client to be told the same.
    pub(super) reason: Option<Reason>,
}

/// The endpoint's side.
pub(super) enum Upstream {
    Http1(Connection),
    Http2(Box<ClientStream>),
}

/// A request on a stream of an HTTP/2 connection.
pub(super) struct ClientStream {
    pub(super) response: ResponseFuture,
    pub(super) send: SendStream<Piece>,
    /// From the response's head on.
    pub(super) recv: Option<RecvStream>,
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
            Self::Http2(stream) => Source::Http2(&mut stream.recv),
            Self::Driven => Source::Nothing,
        }
    }

    pub(super) fn sink(&mut self) -> Sink<'_> {
        match self {
            Self::Http1(stream) => Sink::Http1(stream),
            Self::Http2(stream) => match &mut stream.send {
                Some(send) => Sink::Http2(send, &stream.queue),
                None => Sink::Nothing,
            },
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
}

impl ServerStream {
    pub(super) fn new(recv: RecvStream, respond: SendResponse<Piece>, queue: Queue) -> Self {
        Self {
            recv,
            respond,
            queue,
            send: None,
            answered: false,
            reason: None,
        }
    }

    /// Ready when the client gave the stream up, or its connection is gone.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.send {
            Some(send) => send.poll_reset(cx).map(|_| ()),
            None if self.answered => Poll::Pending,
            None => self.respond.poll_reset(cx).map(|_| ()),
        }
    }

    pub(super) fn reset(&mut self, reason: Reason) {
        match &mut self.send {
            Some(send) => send.send_reset(reason),
            None => self.respond.send_reset(reason),
        }
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
            Self::Http2(stream) => stream.recv.as_mut().map_or(Source::Nothing, Source::Http2),
        }
    }

    /// Whether nothing follows a response's head that says so of its body, or whose stream has ended.
    pub(super) fn is_read(&self, body: Body) -> bool {
        match self {
            Self::Http1(_) => body == Body::None,
            Self::Http2(stream) => stream.recv.as_ref().is_none_or(RecvStream::is_end_stream),
        }
    }

    pub(super) fn sink(&mut self) -> Sink<'_> {
        match self {
            Self::Http1(connection) => Sink::Http1(&mut connection.stream),
            Self::Http2(stream) => Sink::Http2(&mut stream.send, stream.lease.queue()),
        }
    }
}
