//! Accepting connections on one worker, whatever goes wrong with one of them or with the process.

use std::{
    cell::RefCell,
    fs::File,
    future::poll_fn,
    io::{self, ErrorKind},
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use outrigger_config::model::BindAddress;
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::Socket;
use tokio::{
    io::unix::AsyncFd,
    net::{TcpStream, UnixStream},
};

use super::{
    late::LateTcp,
    listen::{BoundSocket, SocketFile},
    stream::Stream,
};
use crate::sys::readable;

/// The two ends of an accepted connection. A PROXY protocol header may put others in their place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Who connected. Absent for a Unix socket.
    pub(crate) remote: Option<SocketAddr>,
    /// What was connected to. Absent for a Unix socket.
    pub(crate) local: Option<SocketAddr>,
}

/// A worker's listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: AsyncFd<Socket>,
    kind: Kind,
    /// A descriptor kept in reserve for when there are no others.
    spare: RefCell<Option<File>>,
    _file: Option<Arc<SocketFile>>,
}

#[derive(Debug)]
enum Kind {
    Tcp {
        /// What accepted connections are connected to, where it is the same for all.
        local: Option<SocketAddr>,
        /// They come with what their client sent first.
        deferred: bool,
    },
    Unix,
}

/// How long to leave the queue alone when the process or the kernel lacks something.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Listener {
    pub(super) fn new(bound: BoundSocket) -> io::Result<Self> {
        let kind = match bound.address {
            BindAddress::Tcp(local) => Kind::Tcp {
                local: (!local.ip().is_unspecified()).then(|| canonical(local)),
                deferred: bound.deferred,
            },
            BindAddress::Unix(_) => Kind::Unix,
        };
        Ok(Self {
            socket: readable::watch(bound.socket)?,
            kind,
            spare: RefCell::new(open_spare()),
            _file: bound.file,
        })
    }

    /// The next connection. Waits for nothing while some are queued, so that one wake accepts
    /// several (as many as the runtime lets a task do at once).
    ///
    /// Survives a lack of descriptors or memory: `failed` is told, and after a pause it tries
    /// again. When a pause did not help, what is queued is closed, so that clients learn of it
    /// at once instead of waiting for their own timeouts.
    pub(crate) async fn accept(&self, mut failed: impl FnMut(&io::Error)) -> (Stream, Peer) {
        let mut pause = FIRST_PAUSE;
        loop {
            match poll_fn(|cx| self.poll_accept(cx)).await {
                Ok(accepted) => return accepted,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    failed(&error);
                    if pause > FIRST_PAUSE && lacks_descriptors(&error) {
                        self.shed();
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// A connection that is queued now, for the time between no longer waiting for connections
    /// and closing the socket, which would reset them.
    pub(crate) fn accept_queued(&self) -> io::Result<Option<(Stream, Peer)>> {
        loop {
            match self.accept_now() {
                Ok(accepted) => return Ok(Some(accepted)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, Peer)>> {
        loop {
            let mut ready = ready!(self.socket.poll_read_ready(cx))?;
            if let Ok(accepted) = ready.try_io(|_| self.accept_now()) {
                return Poll::Ready(accepted);
            }
        }
    }

    fn accept_now(&self) -> io::Result<(Stream, Peer)> {
        let (socket, remote) = self.accept_raw()?;
        let Kind::Tcp { local, deferred } = self.kind else {
            let stream = UnixStream::from_std(socket.into())?;
            return Ok((Stream::Unix(stream), Peer::default()));
        };
        let socket = std::net::TcpStream::from(socket);
        let peer = Peer {
            remote: remote.map(canonical),
            local: Some(match local {
                Some(local) => local,
                None => canonical(socket.local_addr()?),
            }),
        };
        let stream = if deferred {
            LateTcp::apart(socket)
        } else {
            TcpStream::from_std(socket)?.into()
        };
        Ok((Stream::Tcp(stream), peer))
    }

    fn accept_raw(&self) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (socket, remote) = acceptfrom_with(self.socket.as_fd(), flags)?;
        let remote = remote.and_then(|remote| remote.try_into().ok());
        Ok((socket, remote))
    }

    /// Closes what is queued, by means of the descriptor in reserve.
    fn shed(&self) {
        /// Connections closed in one go. The next pause brings the next go.
        const MOST: usize = 1_024;
        let mut spare = self.spare.borrow_mut();
        *spare = None;
        for _ in 0..MOST {
            match self.accept_raw() {
                Ok(connection) => drop(connection),
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) => break,
            }
        }
        *spare = open_spare();
    }
}

/// On a dual-stack socket an IPv4 peer shows as `::ffff:a.b.c.d`; it is the same peer.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some() => {
            SocketAddr::new(address.ip().to_canonical(), address.port())
        }
        _ => address,
    }
}

fn open_spare() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Whether an error belongs to the connection that would have been accepted, and the next may be
/// fine. `accept(2)`: errors that are already pending on the new socket are passed on.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::ECONNRESET
                | libc::EINTR
                | libc::EPERM
                | libc::EPROTO
                | libc::ETIMEDOUT
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
        )
    )
}

fn lacks_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

#[cfg(test)]
mod tests;
