//! The loop of one thread: accepts on all plain ports and moves bytes. HTTP/1 is one of the
//! services; what its bytes mean stands in `http1`.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    rc::Rc,
};

use rustix::net::{RecvFlags, SocketFlags, accept_with, recv};
use slab::Slab;

use super::http1::{self, Server};
use crate::{
    load::request::pattern,
    poll::{Interest, Poller},
};

/// Bytes per read, and from where on a body is discarded in the kernel.
const READ: usize = 64 << 10;
const WINDOW: usize = 1 << 20;

pub(super) struct Services {
    pub(super) http: TcpListener,
    pub(super) source: TcpListener,
    pub(super) sink: TcpListener,
    pub(super) answer: TcpListener,
    pub(super) echo: TcpListener,
}

enum Role {
    Http(Box<http1::Conn>),
    Source,
    Sink,
    Answer,
    Echo,
}

struct Conn {
    socket: TcpStream,
    role: Role,
    interest: Interest,
    /// What is being sent, and how much of it was.
    out: Rc<[u8]>,
    sent: usize,
    /// Close when it was.
    last: bool,
}

enum Next {
    Keep,
    Close,
}

pub(super) fn serve(services: Services) -> io::Result<()> {
    let listeners = [
        services.http,
        services.source,
        services.sink,
        services.answer,
        services.echo,
    ];
    let mut poller = Poller::new()?;
    for (key, listener) in listeners.iter().enumerate() {
        poller.add(listener, key, Interest::Read)?;
    }
    let first = listeners.len();
    let mut conns: Slab<Conn> = Slab::new();
    let mut ready = Vec::new();
    let mut server = Server::default();
    let mut buffer = vec![0; WINDOW];
    let answer: Rc<[u8]> = pattern(1024).into();
    let source: Rc<[u8]> = vec![b's'; WINDOW].into();
    loop {
        poller.wait(None, &mut ready)?;
        for key in &ready {
            if let Some(listener) = listeners.get(*key) {
                while let Some(socket) = accept(listener)? {
                    let role = match *key {
                        0 => Role::Http(Box::default()),
                        1 => Role::Source,
                        2 => Role::Sink,
                        3 => Role::Answer,
                        _ => Role::Echo,
                    };
                    let interest = match role {
                        Role::Source => Interest::Write,
                        _ => Interest::Read,
                    };
                    let entry = conns.vacant_entry();
                    poller.add(&socket, entry.key() + first, interest)?;
                    entry.insert(Conn {
                        socket,
                        role,
                        interest,
                        out: Rc::from([]),
                        sent: 0,
                        last: false,
                    });
                }
                continue;
            }
            let at = key - first;
            let Some(conn) = conns.get_mut(at) else {
                continue;
            };
            let next = match &conn.role {
                Role::Source => conn.pour(&source),
                Role::Sink => conn.drain(&mut buffer),
                Role::Answer => conn.respond(&answer, &mut buffer),
                Role::Echo => conn.echo(&mut buffer),
                Role::Http(_) => conn.http(&mut server, &mut buffer),
            };
            let next = next.and_then(|next| conn.settle(&poller, *key).map(|()| next));
            if !matches!(next, Ok(Next::Keep)) {
                conns.remove(at);
            }
        }
    }
}

/// One connection from the queue; an error of one of them is not ours.
fn accept(listener: &TcpListener) -> io::Result<Option<TcpStream>> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    loop {
        return match accept_with(listener, flags).map_err(io::Error::from) {
            Ok(socket) => Ok(Some(TcpStream::from(socket))),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => Ok(None),
                ErrorKind::ConnectionAborted | ErrorKind::Interrupted => continue,
                _ => Err(error),
            },
        };
    }
}

impl Conn {
    /// Waits for what it has to wait for.
    fn settle(&mut self, poller: &Poller, key: usize) -> io::Result<()> {
        let waits = matches!(self.role, Role::Source) || self.sent < self.out.len();
        let interest = if waits {
            Interest::Write
        } else {
            Interest::Read
        };
        if interest != self.interest {
            self.interest = interest;
            poller.change(&self.socket, key, interest)?;
        }
        Ok(())
    }

    /// Sends what is to be sent; whether all of it is.
    fn send(&mut self) -> io::Result<bool> {
        while let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.socket.write(rest) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn put(&mut self, bytes: &Rc<[u8]>) {
        self.out = Rc::clone(bytes);
        self.sent = 0;
    }

    fn pour(&mut self, source: &Rc<[u8]>) -> io::Result<Next> {
        if self.sent >= self.out.len() {
            self.put(source);
        }
        self.send()?;
        Ok(Next::Keep)
    }

    /// Bytes that came, thrown away; none at the end.
    fn drop_bytes(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match recv(&self.socket, buffer, RecvFlags::TRUNC).map_err(io::Error::from) {
            Ok((_, count)) => Ok(Some(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn drain(&mut self, buffer: &mut [u8]) -> io::Result<Next> {
        Ok(match self.drop_bytes(buffer)? {
            Some(0) => Next::Close,
            _ => Next::Keep,
        })
    }

    fn respond(&mut self, answer: &Rc<[u8]>, buffer: &mut [u8]) -> io::Result<Next> {
        if self.sent < self.out.len() {
            self.send()?;
            return Ok(Next::Keep);
        }
        match self.drop_bytes(buffer)? {
            Some(0) => return Ok(Next::Close),
            Some(_) => {
                self.put(answer);
                self.send()?;
            }
            None => {}
        }
        Ok(Next::Keep)
    }

    fn echo(&mut self, buffer: &mut [u8]) -> io::Result<Next> {
        if !self.send()? {
            return Ok(Next::Keep);
        }
        match self.socket.read(&mut buffer[..READ]) {
            Ok(0) => return Ok(Next::Close),
            Ok(count) => {
                self.put(&Rc::from(&buffer[..count]));
                self.send()?;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(Next::Keep)
    }

    fn http(&mut self, server: &mut Server, buffer: &mut [u8]) -> io::Result<Next> {
        if !self.send()? {
            return Ok(Next::Keep);
        }
        loop {
            if self.last {
                return Ok(Next::Close);
            }
            let Role::Http(http) = &mut self.role else {
                return Ok(Next::Close);
            };
            let skippable = http.skippable();
            let (count, asked) = if skippable >= READ as u64 {
                let most = skippable.min(WINDOW as u64) as usize;
                let count = recv(&self.socket, &mut buffer[..most], RecvFlags::TRUNC);
                (count.map(|(_, count)| count).map_err(Into::into), most)
            } else {
                (self.socket.read(&mut buffer[..READ]), READ)
            };
            let count = match count {
                Ok(0) => return Ok(Next::Close),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Next::Keep),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let answer = if skippable >= READ as u64 {
                http.skip(server, count as u64)
            } else {
                http.feed(server, &buffer[..count])
            };
            match answer {
                Some(answer) => {
                    self.last = answer.close;
                    self.out = answer.bytes;
                    self.sent = 0;
                    if !self.send()? {
                        return Ok(Next::Keep);
                    }
                }
                None if count < asked => return Ok(Next::Keep),
                None => continue,
            }
            // After a short read there is nothing more, and asking would cost a call.
            if count < asked && !self.last {
                return Ok(Next::Keep);
            }
        }
    }
}
