//! One side of a tunnel: a socket of its own, or a part of a connection that others share.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::AsyncWrite;

use super::stream::Stream;

/// Bytes both ways inside of a connection: what a socket does, by other means.
pub(crate) trait Channel {
    /// Reads what is there into `into` and returns how many bytes came; 0 is the end.
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Takes some of `bytes`, as far as the receiver has room. Fails with `OutOfMemory` where what
    /// waits for receivers takes all that it may.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Tells the receiver that nothing follows. Fails with `NotConnected` where there is no channel
    /// any more; then reading says why.
    fn end(&mut self) -> io::Result<()>;

    /// Ready when the peer reset it. MUST be noticed without anything being read or written.
    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// As [`Stream::reset_on_drop`].
    fn reset_on_drop(&mut self);

    /// Bytes that came and that the sender was not told are handed on. Wakes the task when more come.
    fn unread(&mut self, cx: &mut Context<'_>) -> usize;
}

/// One side of a tunnel.
pub(crate) enum Side<'a> {
    Socket(&'a mut Stream),
    Channel(&'a mut (dyn Channel + 'static)),
}

impl<'a> From<&'a mut Stream> for Side<'a> {
    fn from(stream: &'a mut Stream) -> Self {
        Self::Socket(stream)
    }
}

impl Side<'_> {
    /// As [`Stream::poll_read_into`].
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Socket(stream) => stream.poll_read_into(cx, into),
            Self::Channel(channel) => channel.poll_read(cx, into),
        }
    }

    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Socket(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
            Self::Channel(channel) => channel.poll_write(cx, bytes),
        }
    }

    /// Tells the receiver that nothing follows.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Socket(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
            Self::Channel(channel) => Poll::Ready(channel.end()),
        }
    }

    /// See [`Stream::reset_on_drop`].
    pub(crate) fn reset_on_drop(&mut self) {
        match self {
            Self::Socket(stream) => stream.reset_on_drop(),
            Self::Channel(channel) => channel.reset_on_drop(),
        }
    }

    /// See [`Stream::take_error`]. A socket has to be asked; a channel tells, see [`Self::poll_reset`].
    pub(crate) fn take_error(&self) -> Option<io::Error> {
        match self {
            Self::Socket(stream) => stream.take_error(),
            Self::Channel(_) => None,
        }
    }

    /// Ready when the peer reset a channel.
    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Socket(_) => Poll::Pending,
            Self::Channel(channel) => channel.poll_reset(cx),
        }
    }

    /// Bytes that came and wait in our memory to be read. What waits in a socket is the kernel's.
    /// For a side that nothing is read from for now: wakes the task when more come.
    pub(crate) fn unread(&mut self, cx: &mut Context<'_>) -> usize {
        match self {
            Self::Socket(_) => 0,
            Self::Channel(channel) => channel.unread(cx),
        }
    }

    /// See [`Stream::send_room`]. What a channel may send is shared: it is not kept free for what
    /// has not been read yet.
    pub(crate) fn send_room(&self) -> Option<usize> {
        match self {
            Self::Socket(stream) => stream.send_room(),
            Self::Channel(_) => None,
        }
    }
}
