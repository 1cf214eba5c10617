//! A TLS session and the socket beneath it, polled by hand like every other stream.
//!
//! - *Reading* takes up to 64 KiB of records at once into the worker's memory, and hands plain
//!   bytes to whoever asked. An end without `close_notify` is an error: what came may not be whole.
//! - *Writing* encrypts what it is given, up to 64 KiB, and sends it by one call. What the socket
//!   does not take waits here, and the write is reported when it is gone: like a socket, a stream
//!   that was written to holds nothing that dropping it would lose. As with a socket's, a write
//!   that is pending is to be repeated with the same bytes; another one fails.
//! - *Dropped* in order, it says `close_notify`, if the socket takes that now.

use std::{
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use rustls::{ClientConfig, ServerConfig, pki_types::CertificateDer, pki_types::ServerName};
use tokio::io::AsyncWrite;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Facts,
    fault::{Role, failure},
    session::{MOST, RECORD, Session, incoming, outgoing},
};
use crate::{
    error::{Cause, Failure},
    net::stream::Stream,
};

/// A connection over TLS, its handshake done.
#[derive(Debug)]
pub(crate) struct TlsStream {
    session: Session,
    socket: Stream,
    /// Encrypted bytes of a write that the socket has not taken.
    unsent: Vec<u8>,
    /// What they are of.
    claimed: Option<Claim>,
    /// We said that we send no more.
    closed: bool,
    /// Nothing more can be said, or should be.
    broken: bool,
}

/// A write whose bytes are encrypted and not all sent.
#[derive(Clone, Copy, Debug)]
struct Claim {
    length: usize,
    hash: u64,
}

/// A connection whose handshake is under way.
#[derive(Debug)]
pub(crate) struct Handshake {
    stream: TlsStream,
    peer: Role,
    /// What was read of the peer already.
    first: Vec<u8>,
    begun: bool,
}

impl Handshake {
    /// With a client, of whom `first` was read already.
    ///
    /// # Errors
    /// The settings are of no use.
    pub(crate) fn accept(
        socket: Stream,
        config: Arc<ServerConfig>,
        first: &[u8],
    ) -> Result<Self, Failure> {
        let session = Session::server(config).map_err(|error| failure(&error, Role::Client))?;
        let mut handshake = Self::new(session, socket, Role::Client);
        first.clone_into(&mut handshake.first);
        Ok(handshake)
    }

    /// With an endpoint of this name, that is offered these protocols.
    ///
    /// # Errors
    /// The name cannot be asked for.
    pub(crate) fn connect(
        socket: Stream,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        alpn: Vec<Vec<u8>>,
    ) -> Result<Self, Failure> {
        let session = Session::client(config, name, alpn);
        let session = session.map_err(|error| failure(&error, Role::Endpoint))?;
        Ok(Self::new(session, socket, Role::Endpoint))
    }

    fn new(session: Session, socket: Stream, peer: Role) -> Self {
        let stream = TlsStream {
            session,
            socket,
            unsent: Vec::new(),
            claimed: None,
            closed: false,
            broken: true,
        };
        Self {
            stream,
            peer,
            first: Vec::new(),
            begun: false,
        }
    }

    /// Drives it. Not to be polled again when it is done.
    ///
    /// # Errors
    /// What is wrong with the peer; it was told, if it could be.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if !self.begun {
            self.begun = true;
            let mut first = std::mem::take(&mut self.first);
            if let Err(error) = self.stream.session.receive(&mut first, &mut []) {
                return Poll::Ready(Err(self.fail(&error)));
            }
        }
        let stream = &mut self.stream;
        while stream.session.common().is_handshaking() {
            // What it waits for is an answer to this.
            match stream.poll_flush_pending(cx) {
                Poll::Ready(Ok(())) | Poll::Pending => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(self.left())),
            }
            match ready!(stream.poll_receive(cx, &mut [])) {
                Ok(Received::Bytes(_)) => {}
                Ok(Received::End) | Err(Broken::Socket(_)) => return Poll::Ready(Err(self.left())),
                Err(Broken::Tls(error)) => return Poll::Ready(Err(self.fail(&error))),
            }
        }
        // A client's last message is what lets its endpoint begin. A server's tickets can go with its first answer.
        if self.peer == Role::Endpoint && ready!(stream.poll_flush_pending(cx)).is_err() {
            return Poll::Ready(Err(self.left()));
        }
        stream.broken = false;
        Poll::Ready(Ok(()))
    }

    /// What was agreed on.
    pub(crate) fn facts(&self) -> Facts {
        Facts::of(self.stream.session.common())
    }

    /// The peer's certificate and those behind it.
    pub(crate) fn certificates(&self) -> &[CertificateDer<'static>] {
        self.stream
            .session
            .common()
            .peer_certificates()
            .unwrap_or_default()
    }

    /// The connection.
    pub(crate) fn done(self) -> Stream {
        Stream::Tls(Box::new(self.stream))
    }

    fn left(&self) -> Failure {
        match self.peer {
            Role::Client => Failure::new(Cause::ClientGone, "within the TLS handshake"),
            Role::Endpoint => Failure::new(
                Cause::UpstreamTlsFailed,
                "the endpoint left within the handshake",
            ),
        }
    }

    /// Tells the peer what is wrong, if that goes at once.
    fn fail(&mut self, error: &rustls::Error) -> Failure {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = self.stream.poll_flush_pending(&mut cx);
        let _ = Pin::new(&mut self.stream.socket).poll_shutdown(&mut cx);
        failure(error, self.peer)
    }

    /// Takes and drops what a peer still sends that was told that its handshake failed, so that it
    /// gets to read that and not a reset. Ready at its end, or when it sends too much.
    pub(crate) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        incoming(|area| {
            // A request behind a handshake fits; whoever sends more does not listen.
            for _ in 0..4 {
                match ready!(self.stream.socket.poll_read_into(cx, area)) {
                    Ok(n) if n > 0 => {}
                    _ => return Poll::Ready(()),
                }
            }
            Poll::Ready(())
        })
    }
}

/// What came.
enum Received {
    /// So many bytes for our side; none where it was only about TLS.
    Bytes(usize),
    /// The socket's end.
    End,
}

/// What broke.
enum Broken {
    Socket(io::Error),
    Tls(rustls::Error),
}

impl TlsStream {
    /// Whether a read would bring something, as far as that is known without looking into it.
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.session.plain().is_empty() || self.session.peer_closed {
            return Poll::Ready(Ok(()));
        }
        self.socket.poll_read_ready(cx)
    }

    /// Whether nothing came but what TLS has to say by itself, such as tickets.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        while self.session.plain().is_empty() && !self.session.peer_closed {
            if self.socket.poll_read_ready(&mut cx).is_pending() {
                return true;
            }
            match self.poll_receive(&mut cx, &mut []) {
                Poll::Ready(Ok(Received::Bytes(_))) => {}
                Poll::Ready(_) => return false,
                Poll::Pending => return true,
            }
        }
        false
    }

    pub(crate) fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if into.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            if !self.session.plain().is_empty() {
                return Poll::Ready(Ok(self.session.take_plain(into)));
            }
            if self.session.peer_closed {
                return Poll::Ready(Ok(0));
            }
            let received = self.poll_receive(cx, into);
            if received.is_pending() {
                // Tickets and the like, which no write has taken along.
                let _ = self.poll_flush_pending(cx);
            }
            match ready!(received) {
                Ok(Received::Bytes(0)) => {}
                Ok(Received::Bytes(n)) => return Poll::Ready(Ok(n)),
                Ok(Received::End) => {
                    self.broken = true;
                    let error = io::Error::new(ErrorKind::UnexpectedEof, "no close_notify");
                    return Poll::Ready(Err(error));
                }
                Err(Broken::Socket(error)) => {
                    self.broken = true;
                    return Poll::Ready(Err(error));
                }
                Err(Broken::Tls(error)) => {
                    let _ = self.poll_flush_pending(cx);
                    self.broken = true;
                    return Poll::Ready(Err(io::Error::new(ErrorKind::InvalidData, error)));
                }
            }
        }
    }

    /// One read of the socket.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<Result<Received, Broken>> {
        // No more than about what there is room for: the rest would have to be kept.
        let most = into.len().clamp(RECORD, MOST);
        let kept = self.session.partial().len();
        incoming(|area| {
            let Some(room) = area.get_mut(..kept + most) else {
                return Poll::Ready(Err(Broken::Tls(rustls::Error::PeerSentOversizedRecord)));
            };
            let (front, fresh) = room.split_at_mut(kept);
            let n = match ready!(self.socket.poll_read_into(cx, fresh)) {
                Ok(0) => return Poll::Ready(Ok(Received::End)),
                Ok(n) => n,
                Err(error) => return Poll::Ready(Err(Broken::Socket(error))),
            };
            front.copy_from_slice(self.session.partial());
            let came = room.get_mut(..kept + n).unwrap_or_default();
            let received = self.session.receive(came, into);
            self.broken |= received.is_err();
            Poll::Ready(received.map(Received::Bytes).map_err(Broken::Tls))
        })
    }

    /// Sends what waits to be sent: of a write first, then what TLS has to say.
    fn poll_flush_pending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unsent.is_empty() {
            std::mem::swap(&mut self.unsent, &mut self.session.pending);
        }
        while !self.unsent.is_empty() {
            let n = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.unsent))?;
            if n == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.unsent.drain(..n);
            if self.unsent.is_empty() {
                self.unsent = std::mem::take(&mut self.session.pending);
            }
        }
        // An idle connection holds no memory.
        self.unsent = Vec::new();
        Poll::Ready(Ok(()))
    }

    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(claim) = self.claimed {
            let same = bytes.get(..claim.length).map(xxh3_64) == Some(claim.hash);
            if !same {
                self.broken = true;
                let why = "a write that was begun is not gone on with";
                return Poll::Ready(Err(io::Error::other(why)));
            }
            ready!(self.poll_flush_pending(cx))?;
            self.claimed = None;
            return Poll::Ready(Ok(claim.length));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if self.broken || self.closed {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        if !self.unsent.is_empty() {
            ready!(self.poll_flush_pending(cx))?;
        }
        outgoing(|area| {
            let (taken, length) = self.session.encrypt(bytes, area).map_err(|error| {
                self.broken = true;
                io::Error::other(error)
            })?;
            let mut rest = area.get(..length).unwrap_or_default();
            while !rest.is_empty() {
                match Pin::new(&mut self.socket).poll_write(cx, rest) {
                    Poll::Ready(Ok(n)) if n > 0 => rest = rest.get(n..).unwrap_or_default(),
                    Poll::Ready(other) => {
                        self.broken = true;
                        return Poll::Ready(other.and(Err(ErrorKind::WriteZero.into())));
                    }
                    Poll::Pending => {
                        let claimed = bytes.get(..taken).unwrap_or_default();
                        self.unsent = rest.to_vec();
                        self.claimed = Some(Claim {
                            length: taken,
                            hash: xxh3_64(claimed),
                        });
                        return Poll::Pending;
                    }
                }
            }
            Poll::Ready(Ok(taken))
        })
    }

    /// Several pieces as one, so that they share records and the call.
    pub(crate) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut some = pieces.iter().filter(|piece| !piece.is_empty());
        let (first, second) = (some.next(), some.next());
        if second.is_none() {
            return self.poll_write(cx, first.map_or(&[], |piece| piece));
        }
        incoming(|area| {
            let mut length = 0;
            for piece in pieces {
                let n = piece.len().min(MOST - length);
                if let (Some(to), Some(from)) = (area.get_mut(length..length + n), piece.get(..n)) {
                    to.copy_from_slice(from);
                }
                length += n;
            }
            self.poll_write(cx, area.get(..length).unwrap_or_default())
        })
    }

    /// Says that no more is sent, and ends the socket's side.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closed && !self.broken {
            self.closed = true;
            self.session.close().map_err(io::Error::other)?;
        }
        if !self.broken {
            ready!(self.poll_flush_pending(cx))?;
        }
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    /// Its end is to be a reset, so that nobody takes what was sent for whole.
    pub(crate) fn reset_on_drop(&mut self) {
        self.broken = true;
        self.socket.reset_on_drop();
    }

    pub(crate) fn take_error(&self) -> Option<io::Error> {
        self.socket.take_error()
    }

    pub(crate) fn send_room(&self) -> Option<usize> {
        self.socket.send_room()
    }
}

impl Drop for TlsStream {
    fn drop(&mut self) {
        let cut_short = self.claimed.is_some() || std::thread::panicking();
        if !self.broken && !self.closed && !cut_short && self.session.close().is_ok() {
            let mut cx = Context::from_waker(Waker::noop());
            let _ = self.poll_flush_pending(&mut cx);
        }
    }
}
