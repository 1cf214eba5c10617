//! The socket of a face, accepted from on the side thread. Binding is `net::listen`'s, as for traffic.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::{fs::MetadataExt as _, net::UnixListener as StdUnixListener},
    sync::Arc,
};

use outrigger_config::model::BindAddress;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::net::{
    listen::{Bound, ListenOptions, Sharing, SocketFile},
    stream::Stream,
};

/// Callers that may queue: orchestrators and operators are few.
const BACKLOG: u32 = 128;

/// A bound socket that is not accepted from yet.
#[derive(Debug)]
pub(super) struct Listening(Bound);

/// A socket that is accepted from.
pub(super) enum Acceptor {
    Tcp(TcpListener),
    Unix(
        UnixListener,
        #[expect(dead_code, reason = "dropping it removes the socket's file")]
        Option<Arc<SocketFile>>,
    ),
}

/// Who connected, and to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// To this address of ours.
    Tcp(SocketAddr),
    /// As this user; `None` where the kernel does not tell.
    Unix(Option<u32>),
}

impl Listening {
    pub(super) fn bind(at: &BindAddress, sharing: Sharing) -> io::Result<Self> {
        let options = ListenOptions {
            backlog: BACKLOG,
            sharing,
            ..ListenOptions::default()
        };
        Ok(Self(Bound::bind(at, &options, 1)?))
    }

    /// Where it is; a port that the kernel chose is filled in.
    pub(super) fn address(&self) -> &BindAddress {
        self.0.address()
    }

    /// From now on it is this one that callers find. With it comes the user this process makes
    /// files as, where it has made one. Must be called within a runtime.
    pub(super) fn accept(self) -> io::Result<(Acceptor, Option<u32>)> {
        let address = self.0.address().clone();
        let socket = self.0.into_sockets().pop();
        let (socket, file) = socket.ok_or(io::ErrorKind::NotConnected)?.into_parts();
        Ok(match address {
            BindAddress::Tcp(_) => (Acceptor::Tcp(TcpListener::from_std(socket.into())?), None),
            BindAddress::Unix(path) => {
                let socket: StdUnixListener = socket.into();
                let owner = fs::symlink_metadata(path).ok().map(|made| made.uid());
                (Acceptor::Unix(UnixListener::from_std(socket)?, file), owner)
            }
        })
    }
}

impl Acceptor {
    /// May be dropped at any time without losing a connection.
    pub(super) async fn accept(&self) -> io::Result<(Stream, Caller)> {
        match self {
            Self::Tcp(socket) => tcp(socket.accept().await?.0),
            Self::Unix(socket, _) => Ok(unix(socket.accept().await?.0)),
        }
    }

    /// A connection that is queued, asked of the kernel itself: the runtime may not know of it yet.
    pub(super) fn accept_queued(&self) -> io::Result<(Stream, Caller)> {
        let accept = |socket: SockRef<'_>| {
            let (socket, _) = socket.accept()?;
            socket.set_nonblocking(true)?;
            Ok::<_, io::Error>(socket)
        };
        match self {
            Self::Tcp(socket) => tcp(TcpStream::from_std(accept(socket.into())?.into())?),
            Self::Unix(socket, _) => {
                let accepted = accept(socket.into())?;
                Ok(unix(UnixStream::from_std(accepted.into())?))
            }
        }
    }
}

fn tcp(stream: TcpStream) -> io::Result<(Stream, Caller)> {
    let local = stream.local_addr()?;
    Ok((Stream::Tcp(stream.into()), Caller::Tcp(local)))
}

fn unix(stream: UnixStream) -> (Stream, Caller) {
    let uid = stream.peer_cred().ok().map(|peer| peer.uid());
    (Stream::Unix(stream), Caller::Unix(uid))
}
