//! The bytes of one connection, whatever carries them.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::{TcpStream, UnixStream},
};

use super::tls::TlsStream;
use crate::sys::sockopt;

/// A connection's byte stream.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// Over one of the others.
    Tls(Box<TlsStream>),
}

macro_rules! each {
    ($self:expr, $stream:ident => $body:expr, $tls:ident => $other:expr) => {
        match $self {
            Stream::Tcp($stream) => $body,
            Stream::Unix($stream) => $body,
            Stream::Tls($tls) => $other,
        }
    };
}

impl Stream {
    /// Whether a read would not block, without a system call: data, end or error are there. Over TLS
    /// it may turn out that what came is nothing to read.
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, s => s.poll_read_ready(cx), s => s.poll_read_ready(cx))
    }

    /// Reads what is there into `into` and returns how many bytes came; 0 is the end.
    pub(crate) fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if let Self::Tls(stream) = self {
            return stream.poll_read_into(cx, into);
        }
        let mut buf = ReadBuf::new(into);
        match Pin::new(self).poll_read(cx, &mut buf) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(buf.filled().len())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// As a write, but says that nothing will be written behind it: the end that follows at once
    /// leaves in the same segment. MUST be followed by a shutdown: closed without it, a socket in
    /// which something came that nobody read is reset, and these bytes never leave.
    pub(crate) fn poll_write_last(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self::Tcp(stream) = self else {
            return Pin::new(self).poll_write(cx, bytes);
        };
        loop {
            ready!(stream.poll_write_ready(cx))?;
            let send = || sockopt::send_more(&*stream, bytes);
            match stream.try_io(Interest::WRITABLE, send) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    /// Whether a connection that waits is as it was: nothing came on it, not even its end. Without a
    /// system call where none is needed to tell.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        each!(self, s => s.poll_read_ready(&mut cx).is_pending(), s => s.is_quiet())
    }

    /// Makes dropping this reset the connection instead of ending it in order: the peer learns
    /// that what it got may not be whole. Unix sockets know no such thing.
    pub(crate) fn reset_on_drop(&mut self) {
        match self {
            // Fails only where there is no connection left to reset.
            Self::Tcp(stream) => drop(stream.set_zero_linger()),
            Self::Unix(_) => {}
            Self::Tls(stream) => stream.reset_on_drop(),
        }
    }

    /// The error that ended the connection, where one did: seen even while nothing is read or
    /// written, and once only.
    pub(crate) fn take_error(&self) -> Option<io::Error> {
        each!(self, s => s.take_error().unwrap_or_else(Some), s => s.take_error())
    }

    /// Bytes that a write would take now, about. `None` where the kernel does not say.
    pub(crate) fn send_room(&self) -> Option<usize> {
        each!(self, s => sockopt::send_room(s), s => s.send_room())
    }

    #[cfg(test)]
    /// The TCP socket, where it is one.
    pub(crate) fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            Self::Unix(_) | Self::Tls(_) => None,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = match self.get_mut() {
            Self::Tcp(stream) => return Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => return Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => stream,
        };
        let n = ready!(stream.poll_read_into(cx, buf.initialize_unfilled()))?;
        buf.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), s => Pin::new(s).poll_write(cx, buf), s => s.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), s => Pin::new(s).poll_write_vectored(cx, bufs), s => s.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), s => Pin::new(s).poll_shutdown(cx), s => s.poll_shutdown(cx))
    }
}
