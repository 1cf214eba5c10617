//! The back end behind every proxy: answers of any size, an echo, a sink and a source, and the
//! same over HTTP/2 and gRPC. Small and quick, so that it is not what is measured.

mod http1;
mod http2;
mod routes;
mod tcp;

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    os::fd::AsFd,
    sync::mpsc,
    thread,
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use serde::{Deserialize, Serialize};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// Where each service listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Addresses {
    /// HTTP/1.
    pub(crate) http: SocketAddr,
    /// HTTP/2 with prior knowledge, and gRPC.
    pub(crate) http2: SocketAddr,
    /// Sends bytes without end.
    pub(crate) source: SocketAddr,
    /// Takes bytes without end.
    pub(crate) sink: SocketAddr,
    /// Answers the first bytes with 1 KiB.
    pub(crate) answer: SocketAddr,
    /// Sends back what came.
    pub(crate) echo: SocketAddr,
}

#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) host: IpAddr,
    /// Port of HTTP/1; the others are taken from the kernel if it is 0, else follow it.
    pub(crate) port: u16,
    pub(crate) threads: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            threads: 1,
        }
    }
}

/// Serves until the process ends; `on_ready` is told the addresses.
pub(crate) fn run(settings: Settings, on_ready: impl FnOnce(Addresses)) -> io::Result<()> {
    let mut sets = Vec::new();
    let mut addresses: Option<Addresses> = None;
    for _ in 0..settings.threads.max(1) {
        let listeners = Listeners::bind(&settings, addresses)?;
        addresses = Some(listeners.addresses()?);
        sets.push(listeners);
    }
    let (ended, end) = mpsc::channel();
    for listeners in sets {
        let http2 = listeners.http2;
        let (first, second) = (ended.clone(), ended.clone());
        let loops = tcp::Services {
            http: listeners.http,
            source: listeners.source,
            sink: listeners.sink,
            answer: listeners.answer,
            echo: listeners.echo,
        };
        thread::Builder::new().name("plain".into()).spawn(move || {
            let _ = first.send(tcp::serve(loops));
        })?;
        thread::Builder::new().name("http2".into()).spawn(move || {
            let _ = second.send(http2::serve(http2));
        })?;
    }
    if let Some(addresses) = addresses {
        on_ready(addresses);
    }
    // Each serves for ever; whichever ends has failed.
    end.recv().unwrap_or(Ok(()))
}

/// Writes addresses as one line of JSON for whoever started us.
pub(crate) fn announce(addresses: &Addresses) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, addresses)?;
    writeln!(out)?;
    out.flush()
}

struct Listeners {
    http: TcpListener,
    http2: TcpListener,
    source: TcpListener,
    sink: TcpListener,
    answer: TcpListener,
    echo: TcpListener,
}

impl Listeners {
    /// Binds all, beside those of another thread if there are some.
    fn bind(settings: &Settings, beside: Option<Addresses>) -> io::Result<Self> {
        let shared = settings.threads > 1;
        let at = |offset: u16, known: fn(&Addresses) -> SocketAddr| {
            let port = match settings.port {
                0 => 0,
                port => port
                    .checked_add(offset)
                    .ok_or(io::ErrorKind::InvalidInput)?,
            };
            let address = beside
                .as_ref()
                .map_or(SocketAddr::new(settings.host, port), known);
            listener(address, shared)
                .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))
        };
        Ok(Self {
            http: at(0, |a| a.http)?,
            http2: at(1, |a| a.http2)?,
            source: at(2, |a| a.source)?,
            sink: at(3, |a| a.sink)?,
            answer: at(4, |a| a.answer)?,
            echo: at(5, |a| a.echo)?,
        })
    }

    fn addresses(&self) -> io::Result<Addresses> {
        Ok(Addresses {
            http: self.http.local_addr()?,
            http2: self.http2.local_addr()?,
            source: self.source.local_addr()?,
            sink: self.sink.local_addr()?,
            answer: self.answer.local_addr()?,
            echo: self.echo.local_addr()?,
        })
    }
}

fn listener(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(socket.as_fd(), true)?;
    if shared {
        sockopt::set_socket_reuseport(socket.as_fd(), true)?;
    }
    // Accepted connections inherit it.
    sockopt::set_tcp_nodelay(socket.as_fd(), true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}
