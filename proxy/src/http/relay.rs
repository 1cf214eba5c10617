//! Moving one body in owned pieces, where HTTP/2 is on at least one side.
//!
//! A piece is read, framed for the other side and handed over before the next one is read. Towards
//! HTTP/2 it waits for the receiver's window, towards HTTP/1 for its socket; what is read is
//! acknowledged to an HTTP/2 sender only then, so a slow receiver costs one piece.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use h2::{RecvStream, SendStream};
use http::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::{
    pump::{Broken, Encoding, Plan, Progress, write_chunk_size},
    transfer::{Carrier, Sink, Source},
};
use crate::{
    error::{Cause, Failure},
    h1::{Decoder, Step},
    h2::{self as http2, Piece, Queue},
    message::{Body, Limits},
    net::{
        behind::{Behind, Hold},
        buffer::Buffer,
        stream::Stream,
    },
};

/// Payload up to this size is copied behind its framing, so that it leaves with it.
const SMALL: usize = 4_096;
/// Framing and small payload collected before they are written.
const ENOUGH: usize = 16_384;
/// Reads of a body that HTTP/1 carries, and of one that keeps filling them.
const READ: usize = 16_384;
const BULK: usize = 65_536;
/// What an HTTP/2 sender may send on a stream at first. Of windows that grew as much is counted
/// as came.
const FIRST_WINDOW: usize = 65_535;
/// What a stream takes that waits, beside its payload: its task, its heads, its place in h2.
const STREAM: usize = 8_192;

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
    trailers: Option<HeaderMap>,
    /// All of the source was read.
    ended: bool,
    touched: bool,
    pub(super) moved: u64,
    pub(super) progressed: bool,
    pub(super) grpc_status: Option<u32>,
}

/// How the body comes.
enum From {
    Http1 {
        decoder: Decoder,
        /// What was read and not decoded. Pieces are split off its front without copying.
        raw: BytesMut,
        /// It has taken over what the connection's buffer held.
        begun: bool,
        read: usize,
    },
    Http2,
}

/// How it goes on.
enum To {
    Http1 {
        encoding: Encoding,
        /// To be written before the payload. Lent by the connection's state.
        out: Vec<u8>,
        written: usize,
        tail: &'static [u8],
    },
    Http2 {
        /// The receiver was told that nothing follows.
        closed: bool,
        /// Lent by the connection's state, of no use here.
        lent: Vec<u8>,
    },
}

impl Relay {
    pub(super) fn new(from: Carrier, to: Carrier, plan: &Plan, out: Vec<u8>) -> Self {
        let ended = plan.body == Body::None;
        Self {
            from: match from {
                Carrier::Http1 => From::Http1 {
                    decoder: Decoder::new(plan.body, plan.limits),
                    raw: BytesMut::new(),
                    begun: false,
                    read: READ,
                },
                Carrier::Http2 => From::Http2,
            },
            to: match to {
                Carrier::Http1 => To::Http1 {
                    encoding: plan.encoding,
                    out,
                    written: 0,
                    tail: b"",
                },
                // A head without a body said so itself.
                Carrier::Http2 => To::Http2 {
                    closed: ended,
                    lent: out,
                },
            },
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

    /// Waits for a receiver that is behind, and counts what is held for it: all that an HTTP/2
    /// sender may send before anything is acknowledged, or what was read ahead.
    fn wait(&mut self, cx: &Context<'_>, source: &mut Source<'_>) -> Result<(), Broken> {
        let held = match (&self.from, source) {
            (From::Http2, Source::Http2(recv)) => {
                let flow = recv.flow_control();
                let used = flow.used_capacity();
                let may_come = usize::try_from(flow.available_capacity()).unwrap_or(0);
                used.max((used + may_come).min(FIRST_WINDOW))
            }
            (From::Http1 { raw, .. }, _) => self.payload.len() + raw.capacity(),
            (From::Http2, _) => self.payload.len(),
        };
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
        if let From::Http1 {
            raw, begun: true, ..
        } = &self.from
        {
            buffer.clear();
            if self.ended {
                buffer.append(raw);
            }
        }
        let mut lent = match self.to {
            To::Http1 { out, .. } => out,
            To::Http2 { lent, .. } => lent,
        };
        lent.clear();
        lent
    }

    pub(super) fn source_done(&self) -> bool {
        self.ended
    }

    pub(super) fn is_blocked(&self) -> bool {
        !self.payload.is_empty()
            || match &self.to {
                To::Http1 {
                    out, written, tail, ..
                } => *written < out.len() || !tail.is_empty(),
                To::Http2 { closed, .. } => self.ended && !closed,
            }
    }

    pub(super) fn unread(&self, buffer: &Buffer) -> usize {
        match &self.from {
            From::Http1 {
                raw, begun: true, ..
            } => raw.len(),
            From::Http1 { .. } => buffer.len(),
            From::Http2 => 0,
        }
    }

    pub(super) fn waiting(&self) -> u64 {
        match &self.to {
            To::Http1 { out, .. } => out.len() as u64,
            To::Http2 { .. } => 0,
        }
    }

    pub(super) fn is_untouched(&self) -> bool {
        !self.touched
    }

    /// Whether another piece may be read: what was read before can still be joined by it.
    fn has_room(&self) -> bool {
        self.payload.is_empty()
            && match &self.to {
                To::Http1 {
                    out, written, tail, ..
                } => *written == 0 && out.len() < ENOUGH && tail.is_empty(),
                To::Http2 { .. } => true,
            }
    }

    /// Takes one piece, or the end.
    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Source<'_>,
        buffer: &mut Buffer,
    ) -> Poll<Result<(), Broken>> {
        match (&mut self.from, source) {
            (From::Http2, Source::Http2(recv)) => self.poll_frames(cx, recv),
            (
                From::Http1 {
                    decoder,
                    raw,
                    begun,
                    read,
                },
                Source::Http1(stream),
            ) => {
                if !*begun {
                    *begun = true;
                    raw.extend_from_slice(buffer.filled());
                    buffer.clear();
                }
                let step = decoder.step(raw).map_err(Broken::Framing)?;
                match step {
                    Step::Data { skip, len } => {
                        bytes::Buf::advance(raw, skip);
                        let piece = raw.split_to(len).freeze();
                        let mut last = decoder.is_done();
                        // The usual end of a chunked body goes with its last piece.
                        if raw.starts_with(b"\r\n0\r\n\r\n")
                            && let Step::End { skip, .. } =
                                decoder.step(raw).map_err(Broken::Framing)?
                        {
                            bytes::Buf::advance(raw, skip);
                            last = true;
                        }
                        self.accept(piece).map_err(Broken::Framing)?;
                        self.ended = last;
                        Poll::Ready(Ok(()))
                    }
                    Step::End { skip, trailers } => {
                        let section = trailers.of(raw);
                        let map = http2::write_trailers(section, &self.limits, self.from_upstream)
                            .map_err(Broken::Framing)?;
                        self.grpc_status = http2::grpc_status(&map);
                        self.trailers = (!map.is_empty()).then_some(map);
                        bytes::Buf::advance(raw, skip);
                        self.ended = true;
                        Poll::Ready(Ok(()))
                    }
                    Step::More { skip } => {
                        bytes::Buf::advance(raw, skip);
                        if self.behind.is_tight() && raw.is_empty() {
                            // As small a piece as is worth the call.
                            *read = SMALL;
                            *raw = BytesMut::new();
                        }
                        let n = ready!(poll_read(cx, stream, raw, read))
                            .map_err(|_| Broken::SourceFailed)?;
                        if n > 0 {
                            return Poll::Ready(Ok(()));
                        }
                        if !decoder.may_end_by_close() {
                            return Poll::Ready(Err(Broken::SourceEnded));
                        }
                        self.ended = true;
                        Poll::Ready(Ok(()))
                    }
                }
            }
            _ => Poll::Ready(Err(Broken::SourceFailed)),
        }
    }

    fn poll_frames(
        &mut self,
        cx: &mut Context<'_>,
        recv: &mut RecvStream,
    ) -> Poll<Result<(), Broken>> {
        if self.owed > 0 {
            // Fails only where the stream is gone, and then reading says so.
            let _ = recv.flow_control().release_capacity(self.owed);
            self.owed = 0;
        }
        match ready!(recv.poll_data(cx)) {
            Some(Ok(piece)) => {
                self.owed = piece.len();
                self.ended = recv.is_end_stream();
                self.accept(piece).map_err(Broken::Framing)?;
                if self.ended {
                    self.end_http1();
                }
                Poll::Ready(Ok(()))
            }
            Some(Err(error)) => Poll::Ready(Err(Broken::Reset(error.reason()))),
            None => {
                let trailers = ready!(recv.poll_trailers(cx))
                    .map_err(|error| Broken::Reset(error.reason()))?;
                if let Some(trailers) = trailers {
                    self.take_trailers(trailers).map_err(Broken::Framing)?;
                } else {
                    self.end_http1();
                }
                self.ended = true;
                Poll::Ready(Ok(()))
            }
        }
    }

    fn end_http1(&mut self) {
        if let To::Http1 {
            encoding: Encoding::Chunked,
            out,
            tail,
            ..
        } = &mut self.to
        {
            if self.payload.is_empty() {
                out.extend_from_slice(b"0\r\n\r\n");
            } else {
                *tail = b"\r\n0\r\n\r\n";
            }
        }
    }

    fn take_trailers(&mut self, mut trailers: HeaderMap) -> Result<(), Failure> {
        self.grpc_status = http2::grpc_status(&trailers);
        match &mut self.to {
            To::Http1 { encoding, out, .. } => {
                if *encoding == Encoding::Chunked {
                    out.extend_from_slice(b"0\r\n");
                    http2::read_trailers(&trailers, &self.limits, self.from_upstream, out)?;
                }
            }
            To::Http2 { .. } => {
                http2::keep_allowed(&mut trailers, &self.limits, self.from_upstream)?;
                self.trailers = (!trailers.is_empty()).then_some(trailers);
            }
        }
        Ok(())
    }

    /// Lines a piece up to be handed over.
    fn accept(&mut self, piece: Bytes) -> Result<(), Failure> {
        self.moved += piece.len() as u64;
        if self.moved > self.most {
            return Err(Failure::new(Cause::RequestBodyTooLarge, "size of the body"));
        }
        let To::Http1 {
            encoding,
            out,
            tail,
            ..
        } = &mut self.to
        else {
            self.payload = piece;
            return Ok(());
        };
        // An empty chunk would be the last one.
        if piece.is_empty() {
            return Ok(());
        }
        let chunked = *encoding == Encoding::Chunked;
        if chunked {
            write_chunk_size(out, piece.len());
        }
        if piece.len() <= SMALL {
            out.extend_from_slice(&piece);
            if chunked {
                out.extend_from_slice(b"\r\n");
            }
        } else {
            self.payload = piece;
            if chunked {
                *tail = b"\r\n";
            }
        }
        Ok(())
    }

    fn poll_flush_to(&mut self, cx: &mut Context<'_>, sink: &mut Sink<'_>) -> Poll<io::Result<()>> {
        if !self.is_blocked() {
            return Poll::Ready(Ok(()));
        }
        match (&mut self.to, sink) {
            (To::Http1 { .. }, Sink::Http1(stream)) => self.poll_write(cx, stream),
            (To::Http2 { .. }, Sink::Http2(send, queue)) => self.poll_send(cx, send, queue),
            _ => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<()>> {
        let To::Http1 {
            out, written, tail, ..
        } = &mut self.to
        else {
            return Poll::Ready(Ok(()));
        };
        loop {
            let head = out.get(*written..).unwrap_or_default();
            let n = match (head, &self.payload[..], *tail) {
                ([], [], []) => break,
                (bytes, [], []) | ([], bytes, []) | ([], [], bytes) => {
                    ready!(Pin::new(&mut *stream).poll_write(cx, bytes))?
                }
                (head, payload, tail) => {
                    let slices = [
                        IoSlice::new(head),
                        IoSlice::new(payload),
                        IoSlice::new(tail),
                    ];
                    ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices))?
                }
            };
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.progressed = true;
            self.touched = true;
            let of_head = n.min(out.len() - *written);
            *written += of_head;
            let of_payload = (n - of_head).min(self.payload.len());
            bytes::Buf::advance(&mut self.payload, of_payload);
            *tail = tail.get(n - of_head - of_payload..).unwrap_or_default();
        }
        out.clear();
        *written = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        send: &mut SendStream<Piece>,
        queue: &Queue,
    ) -> Poll<io::Result<()>> {
        let To::Http2 { closed, .. } = &mut self.to else {
            return Poll::Ready(Ok(()));
        };
        while !self.payload.is_empty() {
            send.reserve_capacity(self.payload.len());
            if send.capacity() == 0 {
                match ready!(send.poll_capacity(cx)) {
                    Some(Ok(_)) => continue,
                    Some(Err(error)) => return Poll::Ready(Err(broken_pipe(error))),
                    None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                }
            }
            let room = send.capacity().min(self.payload.len());
            let piece = self.payload.split_to(room);
            let Some(piece) = queue.piece(piece) else {
                return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
            };
            let last = self.ended && self.payload.is_empty() && self.trailers.is_none();
            send.send_data(piece, last).map_err(broken_pipe)?;
            self.touched = true;
            self.progressed = true;
            *closed |= last;
        }
        if self.ended && !*closed {
            match self.trailers.take() {
                Some(trailers) => send.send_trailers(trailers).map_err(broken_pipe)?,
                None => send.send_data(Piece::empty(), true).map_err(broken_pipe)?,
            }
            self.touched = true;
            *closed = true;
        }
        Poll::Ready(Ok(()))
    }
}

fn broken_pipe(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, error)
}

/// Reads into the free end of `raw`, more at once for a body that keeps filling it.
fn poll_read(
    cx: &mut Context<'_>,
    stream: &mut Stream,
    raw: &mut BytesMut,
    read: &mut usize,
) -> Poll<io::Result<usize>> {
    raw.reserve(*read);
    // Stateless: a read that is pending is made anew at the next poll.
    let n = ready!(pin!(stream.read_buf(raw)).poll(cx))?;
    if n >= *read {
        *read = BULK;
    }
    Poll::Ready(Ok(n))
}
