//! A TCP socket that the event loop learns of only when something has to wait for it.
//!
//! A connection that is accepted with its request, answered and closed waits for nothing at its
//! client. Apart from the event loop it costs neither the calls to enter and to leave that, nor a
//! wake-up for what the client sends while nobody wants to read.

use std::{
    io::{self, ErrorKind, IoSlice, Read, Write},
    mem,
    net::{Shutdown, TcpStream as StdTcpStream},
    pin::Pin,
    task::{Context, Poll, ready},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};

use crate::sys::sockopt;

/// A TCP connection, known to the event loop or not yet.
#[derive(Debug)]
pub(crate) struct LateTcp(State);

#[derive(Debug)]
enum State {
    Apart {
        socket: StdTcpStream,
        /// The last read took all there was.
        drained: bool,
    },
    Joined(TcpStream),
    /// The event loop did not take it.
    Refused,
}

impl From<TcpStream> for LateTcp {
    fn from(stream: TcpStream) -> Self {
        Self(State::Joined(stream))
    }
}

impl LateTcp {
    /// A socket that does not block, and on which something has probably come already.
    pub(super) fn apart(socket: StdTcpStream) -> Self {
        Self(State::Apart {
            socket,
            drained: false,
        })
    }

    /// Whether nothing that happens on it wakes anyone.
    pub(crate) fn is_apart(&self) -> bool {
        matches!(self.0, State::Apart { .. })
    }

    /// Makes it known to the event loop, which tells of what has come on it before as well.
    pub(crate) fn join(&mut self) -> io::Result<&mut TcpStream> {
        if self.is_apart()
            && let State::Apart { socket, .. } = mem::replace(&mut self.0, State::Refused)
        {
            self.0 = State::Joined(TcpStream::from_std(socket)?);
        }
        match &mut self.0 {
            State::Joined(stream) => Ok(stream),
            State::Apart { .. } | State::Refused => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// For its options. `None`: it is closed.
    pub(super) fn socket(&self) -> Option<SockRef<'_>> {
        match &self.0 {
            State::Apart { socket, .. } => Some(SockRef::from(socket)),
            State::Joined(stream) => Some(SockRef::from(stream)),
            State::Refused => None,
        }
    }

    #[cfg(test)]
    /// The socket that the event loop knows.
    pub(crate) fn joined(&self) -> Option<&TcpStream> {
        match &self.0 {
            State::Joined(stream) => Some(stream),
            State::Apart { .. } | State::Refused => None,
        }
    }

    pub(super) fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0 {
            State::Apart { drained: false, .. } => Poll::Ready(Ok(())),
            _ => self.join()?.poll_read_ready(cx),
        }
    }

    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let State::Apart { socket, drained } = &mut self.0
            && !*drained
        {
            let room = buf.initialize_unfilled();
            match socket.read(room) {
                Ok(n) => {
                    // The end is to be seen again by whoever asks again.
                    *drained = n > 0 && n < room.len();
                    buf.advance(n);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() != ErrorKind::WouldBlock => {
                    return Poll::Ready(Err(error));
                }
                Err(_) => {}
            }
        }
        Pin::new(self.join()?).poll_read(cx, buf)
    }

    /// Tries `send` until it need not wait.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        mut send: impl FnMut(&SockRef<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if let State::Apart { socket, .. } = &self.0 {
            match send(&SockRef::from(socket)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
        let stream = self.join()?;
        loop {
            ready!(stream.poll_write_ready(cx))?;
            match stream.try_io(Interest::WRITABLE, || send(&SockRef::from(&*stream))) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            State::Joined(stream) => Pin::new(stream).poll_write(cx, bytes),
            _ => self.poll_send(cx, |socket| (&**socket).write(bytes)),
        }
    }

    pub(super) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            State::Joined(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            _ => self.poll_send(cx, |socket| (&**socket).write_vectored(pieces)),
        }
    }

    /// As a write, with `MSG_MORE`.
    pub(super) fn poll_write_more(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, |socket| sockopt::send_more(&**socket, bytes))
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            State::Apart { socket, .. } => Poll::Ready(socket.shutdown(Shutdown::Write)),
            State::Joined(stream) => Pin::new(stream).poll_shutdown(cx),
            State::Refused => Poll::Ready(Err(ErrorKind::NotConnected.into())),
        }
    }

    /// Whether bytes have come that were not read, or perhaps the end.
    pub(super) fn has_unread(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.0 {
            State::Apart { socket, .. } => matches!(socket.peek(&mut [0]), Ok(1)),
            State::Joined(stream) => stream.poll_read_ready(cx).is_ready(),
            State::Refused => false,
        }
    }
}

#[cfg(test)]
mod tests;
