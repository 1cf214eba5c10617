//! One end of a connection, TCP or Unix, with deadlines on every read and write.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use socket2::SockRef;

use crate::wait::DEADLINE;

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An IP address and port.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Address {
    /// Reads `ip:port` or `unix:/path`.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        match text.strip_prefix("unix:") {
            Some(path) => Self::Unix(path.into()),
            None => Self::Tcp(
                text.parse()
                    .unwrap_or_else(|_| panic!("no address: {text}")),
            ),
        }
    }

    /// The IP address and port.
    #[track_caller]
    pub fn tcp(&self) -> SocketAddr {
        match self {
            Self::Tcp(address) => *address,
            Self::Unix(path) => panic!("not TCP: {}", path.display()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

/// A connected socket.
#[derive(Debug)]
pub enum Wire {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By FIN.
    Closed,
    /// By RST.
    Reset,
}

impl Wire {
    /// Connects, and sets every deadline.
    pub fn connect(address: &Address) -> io::Result<Self> {
        let wire = match address {
            Address::Tcp(address) => Self::Tcp(TcpStream::connect_timeout(address, DEADLINE)?),
            Address::Unix(path) => Self::Unix(UnixStream::connect(path)?),
        };
        wire.prepare()?;
        Ok(wire)
    }

    /// Takes an accepted TCP connection.
    pub fn accepted(stream: TcpStream) -> io::Result<Self> {
        let wire = Self::Tcp(stream);
        wire.prepare()?;
        Ok(wire)
    }

    /// Takes an accepted Unix connection.
    pub fn accepted_unix(stream: UnixStream) -> io::Result<Self> {
        let wire = Self::Unix(stream);
        wire.prepare()?;
        Ok(wire)
    }

    fn prepare(&self) -> io::Result<()> {
        match self {
            Self::Tcp(s) => {
                s.set_nodelay(true)?;
                s.set_write_timeout(Some(DEADLINE))?;
            }
            Self::Unix(s) => s.set_write_timeout(Some(DEADLINE))?,
        }
        self.read_deadline(DEADLINE);
        Ok(())
    }

    /// How long one read may take.
    pub fn read_deadline(&self, limit: Duration) {
        match self {
            Self::Tcp(s) => s.set_read_timeout(Some(limit)).unwrap(),
            Self::Unix(s) => s.set_read_timeout(Some(limit)).unwrap(),
        }
    }

    /// How long one write may take.
    pub fn write_deadline(&self, limit: Duration) {
        match self {
            Self::Tcp(s) => s.set_write_timeout(Some(limit)).unwrap(),
            Self::Unix(s) => s.set_write_timeout(Some(limit)).unwrap(),
        }
    }

    /// Sends FIN; reading goes on.
    pub fn finish(&self) {
        let _ = match self {
            Self::Tcp(s) => s.shutdown(Shutdown::Write),
            Self::Unix(s) => s.shutdown(Shutdown::Write),
        };
    }

    /// Makes closing send RST instead of FIN: whatever waits in the buffers is lost.
    pub fn reset_on_close(&self) {
        if let Self::Tcp(s) = self {
            SockRef::from(s).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }

    /// Closes with RST.
    pub fn reset(self) {
        self.reset_on_close();
    }

    /// A small receive buffer, so that a reader who stops is felt soon.
    pub fn small_receive_buffer(&self) {
        if let Self::Tcp(s) = self {
            SockRef::from(s).set_recv_buffer_size(16 * 1024).unwrap();
        }
    }

    /// Another handle of the same socket.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        match self {
            Self::Tcp(s) => Self::Tcp(s.try_clone().unwrap()),
            Self::Unix(s) => Self::Unix(s.try_clone().unwrap()),
        }
    }

    /// Our own address.
    #[track_caller]
    pub fn local(&self) -> SocketAddr {
        match self {
            Self::Tcp(s) => s.local_addr().unwrap(),
            Self::Unix(_) => panic!("a Unix socket has no port"),
        }
    }

    /// Reads to the end, and says how it came. Panics when it does not come in time.
    #[track_caller]
    pub fn drain(&mut self) -> (Vec<u8>, End) {
        let mut bytes = Vec::new();
        let mut buffer = [0; 16_384];
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return (bytes, End::Closed),
                Ok(n) => bytes.extend_from_slice(&buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if is_reset(&e) => return (bytes, End::Reset),
                Err(e) => panic!(
                    "the connection did not end ({e}); so far: {}",
                    bytes.escape_ascii()
                ),
            }
        }
    }
}

/// Whether an error says that the peer reset the connection.
pub fn is_reset(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
    )
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(s) => s.read(buffer),
            Self::Unix(s) => s.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(s) => s.write(bytes),
            Self::Unix(s) => s.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
