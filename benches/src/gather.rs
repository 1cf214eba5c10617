//! A socket for HTTP/2 that collects what one turn of a connection writes and sends it at once.
//! The h2 crate flushes after each large frame; generator and back end would otherwise spend
//! more on system calls than the proxy they are to load.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// From so much on writes wait for the socket.
const MOST: usize = 256 << 10;

struct Inner {
    socket: TcpStream,
    out: Vec<u8>,
    sent: usize,
}

/// One handle is h2's, the other belongs to who drives the connection and flushes.
#[derive(Clone)]
pub(crate) struct Gather(Rc<RefCell<Inner>>);

impl Gather {
    pub(crate) fn new(socket: TcpStream) -> Self {
        Self(Rc::new(RefCell::new(Inner {
            socket,
            out: Vec::with_capacity(16 << 10),
            sent: 0,
        })))
    }

    /// Sends what was collected, as far as the socket takes it.
    pub(crate) fn flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().flush(context)
    }

    /// Drives a connection by `turn`, sending after each turn what it wrote.
    pub(crate) async fn drive<T>(&self, mut turn: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
        poll_fn(|context| {
            let result = turn(context);
            // An error of the socket is met by the next read as well.
            let _ = self.flush(context);
            result
        })
        .await
    }
}

impl Inner {
    fn flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let written = ready!(Pin::new(&mut self.socket).poll_write(context, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
        }
        self.out.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Gather {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Gather {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.0.borrow_mut();
        if inner.out.len() >= MOST {
            ready!(inner.flush(context))?;
        }
        inner.out.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        ready!(inner.flush(context))?;
        Pin::new(&mut inner.socket).poll_shutdown(context)
    }
}
