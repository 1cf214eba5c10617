//! Connecting to an endpoint: to its one address, or to the quickest of several
//! (happy eyeballs, RFC 8305).
//!
//! Nothing is remembered between calls: which address won says nothing about the next time, and
//! an endpoint that has only one family answering costs one attempt delay at most.

use std::{
    error, fmt,
    future::{Future, poll_fn},
    io::{self, ErrorKind},
    net::SocketAddr,
    path::Path,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    net::{TcpSocket, TcpStream, UnixStream},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{address::Address, options::SocketOptions, stream::Stream};
use crate::error::Cause;

/// How long an attempt is alone before the next address is tried beside it (RFC 8305 section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How to connect.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ConnectOptions {
    pub(crate) socket: SocketOptions,
}

impl From<&outrigger_config::model::TcpOptions> for ConnectOptions {
    fn from(options: &outrigger_config::model::TcpOptions) -> Self {
        Self {
            socket: options.into(),
        }
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// Nobody listens there.
    Refused(io::Error),
    /// Nobody answered in time.
    Timeout,
    /// There is no way to that address, or a firewall is in it.
    Unreachable(io::Error),
    /// We lack descriptors, memory or ports; the endpoint is not to blame.
    Local(io::Error),
    /// Anything else, such as an address that is none.
    Other(io::Error),
}

impl ConnectError {
    /// What to call it in logs, metrics and answers.
    pub(crate) fn cause(&self) -> Cause {
        match self {
            Self::Refused(_) => Cause::ConnectionRefused,
            Self::Timeout => Cause::ConnectTimeout,
            Self::Unreachable(_) | Self::Other(_) => Cause::Unreachable,
            Self::Local(_) => Cause::Internal,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no answer in time"),
            Self::Refused(e) | Self::Unreachable(e) | Self::Local(e) | Self::Other(e) => e.fmt(f),
        }
    }
}

impl error::Error for ConnectError {}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // A socket file that is not there is a server that is not there.
            ErrorKind::ConnectionRefused | ErrorKind::NotFound | ErrorKind::ConnectionReset => {
                return Self::Refused(error);
            }
            ErrorKind::TimedOut => return Self::Timeout,
            _ => {}
        }
        match error.raw_os_error() {
            Some(
                libc::ENETUNREACH
                | libc::EHOSTUNREACH
                | libc::ENETDOWN
                | libc::EHOSTDOWN
                | libc::EACCES
                | libc::EPERM
                | libc::EAFNOSUPPORT,
            ) => Self::Unreachable(error),
            Some(
                libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EADDRNOTAVAIL,
            ) => Self::Local(error),
            _ => Self::Other(error),
        }
    }
}

/// Connects to one endpoint by whichever of its addresses answers first, preferred first.
pub(crate) async fn connect(
    addresses: &[Address],
    options: &ConnectOptions,
    limit: Duration,
) -> Result<Stream, ConnectError> {
    let connected = match addresses {
        [address] => timeout(limit, connect_one(address, options)).await,
        // Boxed, so that the usual endpoint with one address does not pay for its size.
        _ => timeout(limit, Box::pin(race(by_turns(addresses), options))).await,
    };
    connected.unwrap_or(Err(ConnectError::Timeout))
}

async fn connect_one(address: &Address, options: &ConnectOptions) -> Result<Stream, ConnectError> {
    match address {
        Address::Tcp(address) => connect_tcp(*address, options).await,
        Address::Unix(path) => connect_unix(path).await,
    }
}

async fn connect_tcp(
    address: SocketAddr,
    options: &ConnectOptions,
) -> Result<Stream, ConnectError> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    options.socket.apply(&SockRef::from(&socket))?;
    let stream = match socket.connect(address).await {
        Ok(stream) => stream,
        // With IPv4 our ports towards that address are used up. With IPv6 we have no address
        // of that family at all: the way a container without IPv6 answers.
        Err(e) if e.kind() == ErrorKind::AddrNotAvailable && address.is_ipv6() => {
            return Err(ConnectError::Unreachable(e));
        }
        Err(e) => return Err(e.into()),
    };
    if is_to_itself(&stream, address)? {
        return Err(ConnectError::Refused(ErrorKind::ConnectionRefused.into()));
    }
    Ok(Stream::Tcp(stream.into()))
}

/// Where nobody listens on a local port of the ephemeral range, the kernel may choose just that
/// port for our end, and TCP then connects the socket to itself (RFC 9293 section 3.5).
fn is_to_itself(stream: &TcpStream, address: SocketAddr) -> io::Result<bool> {
    Ok(address.ip().is_loopback() && stream.local_addr()? == address)
}

async fn connect_unix(path: &Path) -> Result<Stream, ConnectError> {
    /// The queue of a Unix socket cannot be waited for without blocking.
    const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(5);
    loop {
        match UnixStream::connect(path).await {
            Ok(stream) => return Ok(Stream::Unix(stream)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(FULL_QUEUE_PAUSE).await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// The families by turns, the first address's family first, each in the order given
/// (RFC 8305 section 4).
fn by_turns(addresses: &[Address]) -> Vec<&Address> {
    let is_v6 = |address: &Address| matches!(address, Address::Tcp(SocketAddr::V6(_)));
    let first = addresses.first().is_some_and(is_v6);
    let mut preferred = addresses.iter().filter(|a| is_v6(a) == first);
    let mut others = addresses.iter().filter(|a| is_v6(a) != first);
    let mut ordered = Vec::with_capacity(addresses.len());
    while ordered.len() < addresses.len() {
        ordered.extend(preferred.next());
        ordered.extend(others.next());
    }
    ordered
}

/// Starts an attempt with each address in turn, the next one as soon as one fails or the delay
/// is over. The first to succeed wins; the others are dropped, which closes their sockets.
async fn race(addresses: Vec<&Address>, options: &ConnectOptions) -> Result<Stream, ConnectError> {
    let mut waiting = addresses.into_iter();
    let mut running: Vec<Pin<Box<dyn Future<Output = _> + '_>>> = Vec::new();
    let mut first_error = None;
    let mut delay = pin!(sleep_until(Instant::now()));
    loop {
        if let Some(address) = waiting.next() {
            running.push(Box::pin(connect_one(address, options)));
            delay.as_mut().reset(Instant::now() + ATTEMPT_DELAY);
        } else if running.is_empty() {
            let nothing = || ConnectError::Other(ErrorKind::InvalidInput.into());
            return Err(first_error.unwrap_or_else(nothing));
        }
        let next_is_due = waiting.len() > 0;
        let ended = poll_fn(|cx| {
            for at in 0..running.len() {
                let Some(attempt) = running.get_mut(at) else {
                    break;
                };
                if let Poll::Ready(result) = attempt.as_mut().poll(cx) {
                    drop(running.swap_remove(at));
                    return Poll::Ready(Some(result));
                }
            }
            if next_is_due && delay.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            Poll::Pending
        });
        match ended.await {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(error)) => {
                first_error.get_or_insert(error);
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests;
