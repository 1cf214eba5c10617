//! One flush per turn of the event loop.
//!
//! The h2 crate flushes its io after each large frame. Here it is handed an io that collects what
//! is written and flushes nothing; the task that drives the connection sends once, after the poll
//! in which everything ran that the same wake made ready.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use outrigger_config::model::Http2Options;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::stream::Stream;

/// What is collected at most before it is sent within a turn.
const COLLECTED: usize = 65_536;

/// The io that h2 reads from and writes to.
pub(crate) struct Io(Rc<RefCell<Shared>>);

/// The same, for the task that drives the connection.
pub(crate) struct Handle(Rc<RefCell<Shared>>);

struct Shared {
    stream: Stream,
    /// Read before the protocol was known.
    first: BytesMut,
    out: BytesMut,
}

impl Io {
    pub(crate) fn new(stream: Stream, first: &[u8]) -> (Self, Handle) {
        let shared = Rc::new(RefCell::new(Shared {
            stream,
            first: first.into(),
            out: BytesMut::new(),
        }));
        (Self(Rc::clone(&shared)), Handle(shared))
    }
}

impl Handle {
    /// Sends what was collected.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_flush(cx)
    }
}

impl Shared {
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let n = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.out))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.advance(n);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut shared = self.0.borrow_mut();
        if !shared.first.is_empty() {
            let n = shared.first.len().min(buf.remaining());
            buf.put_slice(&shared.first.split_to(n));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut shared.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut shared = self.0.borrow_mut();
        if shared.out.len() >= COLLECTED {
            ready!(shared.poll_flush(cx))?;
        }
        shared.out.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    /// Not now: see [`poll_turn`].
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = self.0.borrow_mut();
        ready!(shared.poll_flush(cx))?;
        Pin::new(&mut shared.stream).poll_shutdown(cx)
    }
}

/// Polls a connection, then sends what it wrote. Ready when either is over.
pub(crate) fn poll_turn<T, E>(
    cx: &mut Context<'_>,
    handle: &Handle,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<Result<T, E>>,
) -> Poll<Result<T, E>>
where
    E: From<h2::Error>,
{
    let polled = poll(cx);
    if polled.is_pending() {
        let _ = handle.poll_flush(cx);
    }
    polled
}

pub(crate) fn server_builder(settings: &Http2Options, head: usize) -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(settings.initial_window.0 as u32)
        .initial_connection_window_size(connection_window(settings))
        .max_concurrent_streams(settings.max_streams)
        .max_header_list_size(head as u32)
        .max_local_error_reset_streams(None);
    builder
}

pub(crate) fn client_builder(settings: &Http2Options, head: usize) -> h2::client::Builder {
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(settings.initial_window.0 as u32)
        .initial_connection_window_size(connection_window(settings))
        .max_header_list_size(head as u32)
        .max_local_error_reset_streams(None);
    builder
}

/// Several streams at their window at once, to begin with.
fn connection_window(settings: &Http2Options) -> u32 {
    (settings.initial_window.0 * 16).min(settings.max_window.0) as u32
}
