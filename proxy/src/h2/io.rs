//! What lies between the h2 crate and a socket: sends are collected, reads are rationed, and
//! every frame is seen on its way.
//!
//! h2 flushes after each large DATA frame and whenever it has nothing more to do, which costs a
//! system call each. Here its flush does nothing: a [`Link`] collects what h2 writes, and the
//! connection's task, which keeps the [`Handle`], sends once when a poll of h2 came to its end.
//! Tasks run in the order in which they were woken, so that one send carries what all streams
//! of the same wake had to say.

use std::{
    cell::RefCell,
    io::{self, ErrorKind, IoSlice},
    mem,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use h2::Reason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[cfg(test)]
use self::tests::Tally;
use super::{
    abuse::{Flood, Judge, Limits, Role},
    meter::{Fate, Kind, Meter},
    queue::Queue,
};
use crate::{
    error::{Cause, Failure},
    net::{behind::Behind, buffer::Buffer, stream::Stream},
    timer::now,
};

/// How much of a connection may wait in here, and for how long it keeps its worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Bytes collected before they are sent in the middle of a turn. A slice that is as large is
    /// not copied. Measured in CPU time per response of 16 KiB, ten connections with 32 streams:
    /// 6 us collected, 9 to 11 us with a call for each frame, as much as without a link.
    pub(crate) collect: usize,
    /// Bytes of frames taken in one turn. A frame counts [`FRAME_COST`] beside its bytes.
    pub(crate) turn: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            collect: 64 * 1024,
            turn: 64 * 1024,
        }
    }
}

/// The end of the GOAWAY by which h2 refuses headers that grow when they are decoded.
const HEADERS_TOO_LARGE: &[u8] = b"header_list_way_too_large";

/// What a frame takes to process, in bytes of DATA that take as long.
pub(crate) const FRAME_COST: usize = 512;

/// Buffers of a worker's connections that nobody uses. Between turns only a connection whose
/// peer does not read holds one, so that few serve all.
#[derive(Clone, Debug)]
pub(crate) struct Spare(Rc<RefCell<Vec<Buffer>>>);

impl Spare {
    /// Keeps so many at most.
    pub(crate) fn new(most: usize) -> Self {
        Self(Rc::new(RefCell::new(Vec::with_capacity(most))))
    }

    fn take(&self, capacity: usize) -> Buffer {
        match self.0.borrow_mut().pop() {
            Some(buffer) if buffer.capacity() >= capacity => buffer,
            _ => Buffer::with_capacity(capacity),
        }
    }

    fn give(&self, mut buffer: Buffer) {
        let mut kept = self.0.borrow_mut();
        if kept.len() < kept.capacity() {
            buffer.clear();
            kept.push(buffer);
        }
    }
}

/// What a connection is made of.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) stream: Stream,
    /// Bytes that were read already, to find out what the peer speaks.
    pub(crate) first: &'a [u8],
    pub(crate) role: Role,
    pub(crate) bounds: Bounds,
    pub(crate) limits: &'a Limits,
    pub(crate) spare: &'a Spare,
    /// What all payload counts against that waits for its socket.
    pub(crate) behind: &'a Behind,
}

/// A connection's bytes, as the h2 crate has them.
#[derive(Debug)]
pub(crate) struct Link(Rc<RefCell<Inner>>);

/// The same connection, for the task that drives it.
#[derive(Clone, Debug)]
pub(crate) struct Handle(Rc<RefCell<Inner>>);

/// Streams that were reset before they were accepted, at once. What a turn brings is less.
const PENDING_RESETS: usize = 1_000;
/// Streams that we reset and h2 remembers for a second: what the peer had under way for one that
/// is forgotten makes h2 reset it anew, and the peer is blamed.
const REMEMBERED_RESETS: usize = 1_000;

/// What h2 may hold of one stream's payload, which its window and ours let it have, until it is
/// written: as much as is collected for one send.
const SEND_BUFFER: usize = 64 * 1024;

/// A server's settings of h2 to begin with. What h2 counts over a connection's whole life would
/// end one that lives for weeks; the judge of its [`Link`] holds rates instead.
pub(crate) fn server() -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .max_local_error_reset_streams(None)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_concurrent_reset_streams(REMEMBERED_RESETS)
        .max_send_buffer_size(SEND_BUFFER);
    builder
}

/// The same for a client, to whom nothing may be pushed.
pub(crate) fn client() -> h2::client::Builder {
    let mut builder = h2::client::Builder::new();
    builder
        .max_local_error_reset_streams(None)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_concurrent_reset_streams(REMEMBERED_RESETS)
        .max_send_buffer_size(SEND_BUFFER)
        .enable_push(false);
    builder
}

/// A connection for h2, and what its task keeps. A task that polls h2, its handshake included,
/// must call [`Handle::poll_flush_turn`] after every poll that returned `Pending`, and then ask
/// [`Handle::flood`].
pub(crate) fn link(parts: Parts<'_>) -> (Link, Handle) {
    let inner = Rc::new(RefCell::new(Inner {
        stream: parts.stream,
        first: parts.first.to_vec(),
        outbound: Outbound {
            collected: Buffer::default(),
            bounds: parts.bounds,
            spare: parts.spare.clone(),
            failed: None,
            blocked_at: None,
            meter: Meter::new(parts.role == Role::Client),
        },
        inbound: Meter::new(parts.role == Role::Server),
        left: parts.bounds.turn,
        role: parts.role,
        judge: Judge::new(parts.role, parts.limits, now()),
        flood: None,
        bomb: false,
        received: 0,
        queue: Queue::new(parts.behind),
        #[cfg(test)]
        tally: Tally::default(),
    }));
    (Link(Rc::clone(&inner)), Handle(inner))
}

#[derive(Debug)]
struct Inner {
    stream: Stream,
    first: Vec<u8>,
    outbound: Outbound,
    inbound: Meter,
    /// What may still be taken in this turn.
    left: usize,
    role: Role,
    judge: Judge,
    flood: Option<Flood>,
    /// Whether h2 told the peer that its headers grow too large when they are decoded.
    bomb: bool,
    received: u64,
    queue: Queue,
    #[cfg(test)]
    tally: Tally,
}

#[derive(Debug)]
struct Outbound {
    collected: Buffer,
    bounds: Bounds,
    spare: Spare,
    /// Once sending failed, it fails.
    failed: Option<ErrorKind>,
    /// Since when the socket takes nothing.
    blocked_at: Option<u64>,
    meter: Meter,
}

impl Handle {
    /// Ends a turn: sends what h2 wrote in it, and lets it read anew. `Pending` means that the
    /// peer takes no more for now; the task is woken when it does.
    pub(crate) fn poll_flush_turn(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        inner.left = inner.outbound.bounds.turn;
        inner.poll_send_collected(cx)
    }

    /// What payload for this connection is lined up in.
    pub(crate) fn queue(&self) -> Queue {
        self.0.borrow().queue.clone()
    }

    /// Since when the peer takes nothing of what waits for it.
    pub(crate) fn blocked_at(&self) -> Option<u64> {
        self.0.borrow().outbound.blocked_at
    }

    /// The peer is behind: what waits for it is at the disposal of others. `false`: they need it,
    /// and the task is to end the connection.
    pub(crate) fn wait(&self, cx: &Context<'_>) -> bool {
        let inner = self.0.borrow();
        let collected = inner.outbound.collected.capacity();
        inner.queue.wait(collected, cx.waker())
    }

    /// The peer has caught up.
    pub(crate) fn go_on(&self) {
        self.0.borrow().queue.go_on();
    }

    /// What the peer did too much of. Nothing more is read then: where a client connected to us
    /// the task is to shut down with `ENHANCE_YOUR_CALM`; where we connected h2 is told that the
    /// connection failed.
    pub(crate) fn flood(&self) -> Option<Flood> {
        self.0.borrow().flood
    }

    /// Why h2 ended the connection by itself, where the peer is to blame and was told so by GOAWAY.
    pub(crate) fn failure(&self, error: &h2::Error) -> Option<Failure> {
        let inner = self.0.borrow();
        if !(error.is_go_away() && error.is_library()) {
            return None;
        }
        let flood = match error.reason()? {
            Reason::ENHANCE_YOUR_CALM if inner.bomb => Some(Flood::HeaderBlock),
            // Of what h2 limits in all others our own limits are reached first.
            Reason::ENHANCE_YOUR_CALM => Some(Flood::SmallData),
            _ => None,
        };
        Some(match (flood, inner.role) {
            (Some(flood), role) => Failure::new(flood.cause(role), flood.detail()),
            (None, Role::Server) => Failure::new(Cause::Http2ProtocolError, detail(error)),
            (None, Role::Client) => Failure::new(Cause::BadResponse, detail(error)),
        })
    }

    /// Bytes that h2 wrote and the peer has not taken.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.0.borrow().outbound.collected.len()
    }

    /// Bytes that came since this was asked last.
    pub(crate) fn take_received(&self) -> u64 {
        let mut inner = self.0.borrow_mut();
        mem::take(&mut inner.received)
    }

    /// What went through since this was asked last.
    #[cfg(test)]
    fn take_tally(&self) -> Tally {
        mem::take(&mut self.0.borrow_mut().tally)
    }

    /// The socket, once h2 is done with its side and this is the last handle.
    #[cfg(test)]
    pub(crate) fn into_stream(self) -> Option<Stream> {
        Rc::into_inner(self.0).map(|inner| inner.into_inner().stream)
    }
}

/// An error of the connection (RFC 9113 section 7) in words.
fn detail(error: &h2::Error) -> &'static str {
    match error.reason() {
        Some(Reason::FLOW_CONTROL_ERROR) => "broken flow control of HTTP/2",
        Some(Reason::FRAME_SIZE_ERROR) => "HTTP/2 frame of a wrong size",
        Some(Reason::COMPRESSION_ERROR) => "broken compression of headers",
        Some(Reason::STREAM_CLOSED) => "frame on a closed stream",
        _ => "broken rules of HTTP/2",
    }
}

impl Inner {
    /// Reads into `buf` and shows the frames to the judge.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.flood.is_some() {
                return self.refuse();
            }
            if self.left == 0 {
                // Others have their turn first.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let before = buf.filled().len();
            if self.first.is_empty() {
                ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
            } else {
                let n = self.first.len().min(buf.remaining());
                buf.put_slice(self.first.get(..n).unwrap_or_default());
                self.first.drain(..n);
                if self.first.is_empty() {
                    self.first = Vec::new();
                }
            }
            let came = buf.filled().len() - before;
            if came == 0 {
                return Poll::Ready(Ok(()));
            }
            let fresh = buf.filled_mut().get_mut(before..).unwrap_or_default();
            let goes_on = self.judge(fresh);
            buf.set_filled(before + goes_on);
            if goes_on > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Looks at what came and returns how much of it goes on.
    fn judge(&mut self, fresh: &mut [u8]) -> usize {
        let (judge, flood) = (&mut self.judge, &mut self.flood);
        let (mut frames, came) = (0, fresh.len());
        let goes_on = self.inbound.feed(fresh, |head| {
            frames += 1;
            #[cfg(test)]
            self.tally.received(head);
            judge.received(head, now).unwrap_or_else(|found| {
                *flood = Some(found);
                Fate::Stop
            })
        });
        self.received += came as u64;
        self.left = self.left.saturating_sub(came + frames * FRAME_COST);
        goes_on
    }

    fn refuse(&self) -> Poll<io::Result<()>> {
        match self.role {
            Role::Server => Poll::Pending,
            Role::Client => Poll::Ready(Err(ErrorKind::ConnectionAborted.into())),
        }
    }

    /// Takes what h2 writes: collects it, or hands it on where that is better.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(kind) = self.outbound.failed {
            return Poll::Ready(Err(kind.into()));
        }
        let taken = if bytes.len() < self.outbound.bounds.collect {
            self.outbound.collect(bytes)
        } else {
            0
        };
        let taken = match taken {
            0 if !bytes.is_empty() => ready!(self.poll_send(cx, bytes))?,
            taken => taken,
        };
        self.watch(bytes.get(..taken).unwrap_or_default());
        Poll::Ready(Ok(taken))
    }

    /// Sends what was collected and then of `bytes` what the socket takes, by one call; returns
    /// how many of `bytes` are sent or collected now.
    fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let collected = self.outbound.collected.len();
            let both = [self.outbound.collected.filled(), bytes].map(IoSlice::new);
            let slices = both.get(usize::from(collected == 0)..).unwrap_or_default();
            let sent = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
            let sent = ready!(self.sent(sent))?;
            self.outbound.release(sent.min(collected));
            if sent > collected {
                return Poll::Ready(Ok(sent - collected));
            }
            // A large slice waits where it lies until the socket takes it.
            if bytes.len() < self.outbound.bounds.collect {
                return Poll::Ready(Ok(self.outbound.collect(bytes)));
            }
        }
    }

    fn poll_send_collected(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(kind) = self.outbound.failed {
            return Poll::Ready(Err(kind.into()));
        }
        while !self.outbound.collected.is_empty() {
            let bytes = self.outbound.collected.filled();
            let sent = Pin::new(&mut self.stream).poll_write(cx, bytes);
            match self.sent(sent) {
                Poll::Ready(sent) => self.outbound.release(sent?),
                Poll::Pending => {
                    self.outbound.settle();
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Books the outcome of a send.
    fn sent(&mut self, sent: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let Poll::Ready(sent) = sent else {
            self.outbound.blocked_at.get_or_insert_with(now);
            return Poll::Pending;
        };
        self.outbound.blocked_at = None;
        let failed = match sent {
            Ok(0) => ErrorKind::WriteZero.into(),
            Ok(n) => {
                #[cfg(test)]
                self.tally.send(n);
                return Poll::Ready(Ok(n));
            }
            Err(error) => error,
        };
        self.outbound.failed = Some(failed.kind());
        self.outbound.release(self.outbound.collected.len());
        Poll::Ready(Err(failed))
    }

    /// Looks at what h2 sends: its own replies are where a peer's tricks show.
    fn watch(&mut self, bytes: &[u8]) {
        let (judge, flood) = (&mut self.judge, &mut self.flood);
        let mut leaving = false;
        self.outbound.meter.watch(bytes, |head| {
            #[cfg(test)]
            self.tally.sent(head);
            leaving |= head.kind == Kind::GoAway;
            if let Err(found) = judge.sent(head, now) {
                flood.get_or_insert(found);
            }
        });
        // Nothing follows the last GOAWAY. h2 tells its reason to the peer and not to us.
        self.bomb |= leaving && bytes.ends_with(HEADERS_TOO_LARGE);
    }
}

impl Outbound {
    /// Copies what there is room for.
    fn collect(&mut self, bytes: &[u8]) -> usize {
        let room = self.bounds.collect.saturating_sub(self.collected.len());
        let n = room.min(bytes.len());
        if n == 0 {
            return 0;
        }
        if self.collected.capacity() < self.bounds.collect {
            let small = mem::replace(&mut self.collected, self.spare.take(self.bounds.collect));
            self.append(small.filled());
        }
        if self.collected.spare().len() < n {
            self.collected.compact();
        }
        self.append(bytes.get(..n).unwrap_or_default());
        n
    }

    fn append(&mut self, bytes: &[u8]) {
        if let Some(place) = self.collected.spare().get_mut(..bytes.len()) {
            place.copy_from_slice(bytes);
            self.collected.received(bytes.len());
        }
    }

    /// The first `n` bytes are done with. An empty buffer goes back.
    fn release(&mut self, n: usize) {
        self.collected.consume(n);
        if self.collected.is_empty() && self.collected.capacity() > 0 {
            let buffer = mem::take(&mut self.collected);
            // What `settle` made is too small for anyone else.
            if buffer.capacity() >= self.bounds.collect {
                self.spare.give(buffer);
            }
        }
    }

    /// Waits for a peer that does not read with no more memory than what waits.
    fn settle(&mut self) {
        let waiting = self.collected.len();
        if waiting <= self.collected.capacity() / 4 {
            let mut small = Buffer::with_capacity(waiting);
            mem::swap(&mut small, &mut self.collected);
            let large = small;
            self.append(large.filled());
            if large.capacity() >= self.bounds.collect {
                self.spare.give(large);
            }
        }
    }
}

impl AsyncRead for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        ready!(inner.poll_send_collected(cx))?;
        Pin::new(&mut inner.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
