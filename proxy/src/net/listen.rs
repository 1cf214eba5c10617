//! Binding listening sockets, on the thread that builds a table: before anything is swapped, so
//! that a port that is taken leaves the old table in place.
//!
//! Each worker gets a socket of its own on the same port (`SO_REUSEPORT`), so that the kernel
//! spreads connections and no worker wakes another. A Unix socket has no such thing: there the
//! workers hold duplicates of one.

use std::{
    error, fmt, fs,
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use outrigger_config::model::BindAddress;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::{accept::Listener, address::Address, options::SocketOptions};
use crate::sys::sockopt;

/// How to listen.
#[derive(Clone, Debug)]
pub(crate) struct ListenOptions {
    /// Connections the kernel queues for each worker.
    pub(crate) backlog: u32,
    /// Of accepted connections.
    pub(crate) socket: SocketOptions,
    /// Wait in the kernel for the first bytes. Only where the client speaks first.
    pub(crate) defer_accept: Option<Duration>,
    /// Permissions of a Unix socket.
    pub(crate) unix_mode: u32,
    pub(crate) sharing: Sharing,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            backlog: 4_096,
            socket: SocketOptions::default(),
            defer_accept: None,
            unix_mode: 0o600,
            sharing: Sharing::Exclusive,
        }
    }
}

/// Whether the port may be one on which somebody listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// No. Without this `SO_REUSEPORT` would let two proxies with the same file share a port,
    /// each getting half of the connections.
    Exclusive,
    /// With sockets of the same user that were bound by [`Bound::bind`]: those that a reload
    /// replaces. A Unix socket appears at its path with [`Bound::into_sockets`].
    WithOwn,
}

/// Listening sockets on one address, one for each worker.
#[derive(Debug)]
pub(crate) struct Bound {
    address: BindAddress,
    sockets: Vec<BoundSocket>,
    staged: Option<Staged>,
}

/// One worker's listening socket, on its way there.
#[derive(Debug)]
pub(crate) struct BoundSocket {
    pub(super) socket: Socket,
    pub(super) address: BindAddress,
    /// The kernel holds connections back until their client has sent something.
    pub(super) deferred: bool,
    pub(super) file: Option<Arc<SocketFile>>,
}

/// An address could not be listened on.
#[derive(Debug)]
pub(crate) struct BindError {
    address: Address,
    step: &'static str,
    source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            address,
            step,
            source,
        } = self;
        write!(f, "cannot {step} {address}: {source}")
    }
}

impl From<BindError> for io::Error {
    fn from(error: BindError) -> Self {
        Self::new(error.source.kind(), error)
    }
}

impl error::Error for BindError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.source)
    }
}

/// A step of binding, and why it failed.
type Step<T> = Result<T, (&'static str, io::Error)>;

impl Bound {
    /// Listens on `address`.
    pub(crate) fn bind(
        address: &BindAddress,
        options: &ListenOptions,
        workers: usize,
    ) -> Result<Self, BindError> {
        let bound = match address {
            BindAddress::Tcp(address) => bind_tcp(*address, options, workers.max(1)),
            BindAddress::Unix(path) => bind_unix(path, options, workers.max(1)),
        };
        bound.map_err(|(step, source)| BindError {
            address: address.into(),
            step,
            source,
        })
    }

    /// Where it listens: with the port the kernel chose if 0 was asked for.
    pub(crate) fn address(&self) -> &BindAddress {
        &self.address
    }

    /// A socket for each worker. From now on it is this one that clients find.
    pub(crate) fn into_sockets(self) -> Vec<BoundSocket> {
        if let (Some(staged), BindAddress::Unix(path)) = (self.staged, &self.address)
            && let Err(error) = fs::rename(&staged.0, path)
        {
            tracing::error!(path = %path.display(), %error, "a Unix socket cannot be put in its place");
        }
        self.sockets
    }
}

impl BoundSocket {
    /// Hands the socket to the runtime of this thread.
    pub(crate) fn into_listener(self) -> io::Result<Listener> {
        Listener::new(self)
    }

    /// For who accepts by other means. The file, if there is one, goes when the second is dropped.
    pub(crate) fn into_parts(self) -> (Socket, Option<Arc<SocketFile>>) {
        (self.socket, self.file)
    }
}

fn bind_tcp(address: SocketAddr, options: &ListenOptions, workers: usize) -> Step<Bound> {
    let first = match tcp_socket(address, options, options.sharing) {
        Err((step, error)) => match without_ipv6(address, &error) {
            Some(address) => tcp_socket(address, options, options.sharing)?,
            None => return Err((step, error)),
        },
        Ok(first) => first,
    };
    let local = first.local_addr().ok().and_then(|local| local.as_socket());
    let local = local.unwrap_or(address);
    // Not before it is bound: until now, whoever else listens there was a conflict.
    first.set_reuse_port(true).map_err(|e| ("share", e))?;
    let mut sockets = vec![first];
    while sockets.len() < workers {
        sockets.push(tcp_socket(local, options, Sharing::WithOwn)?);
    }
    // Not before all are bound, so that a failure loses no connection.
    for socket in &sockets {
        listen(socket, options)?;
    }
    let address = BindAddress::Tcp(local);
    let sockets = sockets.into_iter().map(|socket| BoundSocket {
        socket,
        address: address.clone(),
        deferred: options.defer_accept.is_some(),
        file: None,
    });
    Ok(Bound {
        sockets: sockets.collect(),
        address,
        staged: None,
    })
}

fn tcp_socket(address: SocketAddr, options: &ListenOptions, sharing: Sharing) -> Step<Socket> {
    let socket = open(Domain::for_address(address))?;
    let prepare = || {
        if address.is_ipv6() && address.ip().is_unspecified() {
            socket.set_only_v6(false)?;
        }
        socket.set_reuse_address(true)?;
        if sharing == Sharing::WithOwn {
            socket.set_reuse_port(true)?;
        }
        options.socket.apply(&SockRef::from(&socket))?;
        match options.defer_accept {
            Some(wait) => sockopt::set_defer_accept(&socket, wait),
            None => Ok(()),
        }
    };
    prepare().map_err(|error| ("set options for", error))?;
    match socket.bind(&address.into()) {
        Ok(()) => Ok(socket),
        Err(error) => Err(("bind", error)),
    }
}

/// Where a kernel without IPv6 listens instead of on `[::]`, which stands for both families.
fn without_ipv6(address: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    let missing = matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL | libc::EPROTONOSUPPORT)
    );
    let both = address.is_ipv6() && address.ip().is_unspecified();
    (missing && both).then(|| (Ipv4Addr::UNSPECIFIED, address.port()).into())
}

fn open(domain: Domain) -> Step<Socket> {
    let open = || {
        let socket = Socket::new(domain, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    open().map_err(|error| ("open a socket for", error))
}

fn listen(socket: &Socket, options: &ListenOptions) -> Step<()> {
    let backlog = i32::try_from(options.backlog).unwrap_or(i32::MAX);
    socket.listen(backlog).map_err(|error| ("listen on", error))
}

fn bind_unix(path: &Path, options: &ListenOptions, workers: usize) -> Step<Bound> {
    let address = SockAddr::unix(path).map_err(|error| ("bind", error))?;
    let staged = match options.sharing {
        Sharing::Exclusive => {
            remove_stale(path, &address)?;
            None
        }
        Sharing::WithOwn => Some(Staged::beside(path)),
    };
    let born = staged.as_ref().map_or(path, |staged| &staged.0);
    let address = SockAddr::unix(born).map_err(|error| ("bind", error))?;
    let socket = open(Domain::UNIX)?;
    socket.bind(&address).map_err(|error| ("bind", error))?;
    let file = SocketFile::new(born, path).map_err(|error| ("find", error))?;
    // Nobody can connect before `listen`, so nobody uses the permissions it was born with.
    let permissions = fs::Permissions::from_mode(options.unix_mode);
    fs::set_permissions(born, permissions).map_err(|error| ("set permissions of", error))?;
    listen(&socket, options)?;

    let file = Arc::new(file);
    let address = BindAddress::Unix(path.to_path_buf());
    let mut sockets = Vec::with_capacity(workers);
    for _ in 1..workers {
        sockets.push(socket.try_clone().map_err(|error| ("duplicate", error))?);
    }
    sockets.push(socket);
    let sockets = sockets.into_iter().map(|socket| BoundSocket {
        socket,
        address: address.clone(),
        deferred: false,
        file: Some(Arc::clone(&file)),
    });
    Ok(Bound {
        sockets: sockets.collect(),
        address,
        staged,
    })
}

/// The name a Unix socket has until it takes the place of another; gone with this.
#[derive(Debug)]
struct Staged(PathBuf);

impl Staged {
    fn beside(path: &Path) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        Self(path.with_file_name(format!(".{}-{number}", std::process::id())))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Not there any more where it took its place.
        let _ = fs::remove_file(&self.0);
    }
}

/// Removes a socket that a process left behind: one on which nobody answers.
fn remove_stale(path: &Path, address: &SockAddr) -> Step<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(("look at", error)),
        Ok(found) if !found.file_type().is_socket() => {
            let reason = "there is a file that is not a socket";
            return Err(("bind", io::Error::new(ErrorKind::AlreadyExists, reason)));
        }
        Ok(_) => {}
    }
    match open(Domain::UNIX)?.connect(address) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(("remove the stale socket", error))
            }
            _ => Ok(()),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // Connected, its queue full, or not ours to ask.
        _ => Err(("bind", ErrorKind::AddrInUse.into())),
    }
}

/// The file of a Unix socket; removed with its last user, unless somebody put another in its place.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    device_and_inode: (u64, u64),
}

impl SocketFile {
    /// The socket that is at `born` now and will be at `path`.
    fn new(born: &Path, path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_path_buf(),
            device_and_inode: identity(born)?,
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.device_and_inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests;
