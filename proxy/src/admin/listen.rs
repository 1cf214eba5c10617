//! Binding and accepting. A Unix socket appears at its path with mode 0600 from its first
//! moment, takes the place of a dead one, never of a live one, and is removed with its owner.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::UnixListener as StdUnixListener,
    },
    path::{Path, PathBuf},
};

use outrigger_config::model::BindAddress;
use socket2::{Domain, SockAddr, Socket as Socket2, Type};
use tokio::net::{TcpListener, UnixListener};

use crate::net::{address::Address, stream::Stream};

/// A bound socket that is not accepted from yet.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) address: Address,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(std::net::TcpListener),
    Unix(StdUnixListener, SocketFile),
}

/// A socket that is accepted from.
pub(super) enum Acceptor {
    Tcp(TcpListener),
    Unix(
        UnixListener,
        #[expect(dead_code, reason = "dropping it removes the socket's file")] SocketFile,
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
    pub(super) fn bind(at: &BindAddress) -> io::Result<Self> {
        let (address, socket) = match at {
            BindAddress::Tcp(at) => {
                let socket = std::net::TcpListener::bind(at)?;
                socket.set_nonblocking(true)?;
                (Address::Tcp(socket.local_addr()?), Socket::Tcp(socket))
            }
            BindAddress::Unix(path) => {
                let (socket, file) = bind_unix(path)?;
                socket.set_nonblocking(true)?;
                (Address::Unix(path.clone()), Socket::Unix(socket, file))
            }
        };
        Ok(Self { address, socket })
    }

    /// The user this process makes files as, where it has just made one.
    pub(super) fn owner(&self) -> Option<u32> {
        match &self.socket {
            Socket::Tcp(_) => None,
            Socket::Unix(_, file) => Some(file.owner),
        }
    }

    /// Must be called within a runtime.
    pub(super) fn accept(self) -> io::Result<Acceptor> {
        Ok(match self.socket {
            Socket::Tcp(socket) => Acceptor::Tcp(TcpListener::from_std(socket)?),
            Socket::Unix(socket, file) => Acceptor::Unix(UnixListener::from_std(socket)?, file),
        })
    }
}

impl Acceptor {
    /// May be dropped at any time without losing a connection.
    pub(super) async fn accept(&self) -> io::Result<(Stream, Caller)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, _) = socket.accept().await?;
                let local = stream.local_addr()?;
                Ok((Stream::Tcp(stream), Caller::Tcp(local)))
            }
            Self::Unix(socket, _) => {
                let (stream, _) = socket.accept().await?;
                let uid = stream.peer_cred().ok().map(|peer| peer.uid());
                Ok((Stream::Unix(stream), Caller::Unix(uid)))
            }
        }
    }
}

fn bind_unix(path: &Path) -> io::Result<(StdUnixListener, SocketFile)> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{} is there and is not a socket", path.display()),
            ));
        }
        Ok(_) if !is_dead(path) => return Err(io::ErrorKind::AddrInUse.into()),
        _ => {}
    }
    // Made under another name first: permissions are right before anybody can connect, and a
    // dead socket is replaced in one step.
    let other = path.with_file_name(format!(".{}", std::process::id()));
    let _ = fs::remove_file(&other);
    let socket = StdUnixListener::bind(&other)?;
    let ready = fs::set_permissions(&other, fs::Permissions::from_mode(0o600))
        .and_then(|()| fs::symlink_metadata(&other))
        .and_then(|made| fs::rename(&other, path).map(|()| made));
    match ready {
        Ok(made) => {
            let file = SocketFile {
                path: path.to_owned(),
                id: (made.dev(), made.ino()),
                owner: made.uid(),
            };
            Ok((socket, file))
        }
        Err(error) => {
            let _ = fs::remove_file(&other);
            Err(error)
        }
    }
}

/// Whether nobody listens at a socket's path any more. Asks without waiting: a live one whose
/// queue is full would not answer.
fn is_dead(path: &Path) -> bool {
    let asked = Socket2::new(Domain::UNIX, Type::STREAM, None).and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    });
    asked.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// The path of a Unix socket, removed when nobody listens any more, unless it is someone else's by
/// then.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
    owner: u32,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.id)
        {
            let _ = fs::remove_file(&self.path);
        }
    }
}
