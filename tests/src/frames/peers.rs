//! The two sides: a client of the proxy, and a server behind it.

use std::ops::{Deref, DerefMut};

use super::{Block, Connection, Frame, Message, PREFACE, request, response, setting};
use crate::{
    upstream::Upstream,
    wire::{Address, Wire},
};

/// A client that follows a script.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    next: u32,
}

impl Client {
    /// Connects and sends preface and SETTINGS, all at their defaults.
    #[track_caller]
    pub fn connect(address: impl Into<Address>) -> Self {
        Self::connect_with(address, &[])
    }

    /// The same with these settings.
    #[track_caller]
    pub fn connect_with(address: impl Into<Address>, settings: &[(u16, u32)]) -> Self {
        let mut client = Self::silent(address);
        for (id, value) in settings {
            if *id == setting::HEADER_TABLE_SIZE {
                client.set_table(*value);
            }
        }
        let hello = [PREFACE, &Frame::settings(settings).encode()].concat();
        std::io::Write::write_all(&mut client.wire, &hello).expect("sending the preface");
        client
    }

    /// Connects and sends nothing.
    #[track_caller]
    pub fn silent(address: impl Into<Address>) -> Self {
        let address = address.into();
        let wire = Wire::connect(&address);
        let wire = wire.unwrap_or_else(|e| panic!("cannot connect to {address}: {e}"));
        Self {
            connection: Connection::over(wire),
            next: 1,
        }
    }

    /// The number of a stream that was not used yet.
    pub fn stream(&mut self) -> u32 {
        let stream = self.next;
        self.next += 2;
        stream
    }

    /// Opens a stream with a whole block; its body, if it is to have one, follows.
    #[track_caller]
    pub fn open(&mut self, block: Block, ends: bool) -> u32 {
        let stream = self.stream();
        let headers = Frame::headers(stream, block);
        let headers = if ends { headers.end_stream() } else { headers };
        self.send(&headers);
        stream
    }

    /// A GET and its whole response.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Message {
        let stream = self.open(request("GET", path, &[]), true);
        self.whole(stream)
    }

    /// A POST and its whole response.
    #[track_caller]
    pub fn post(&mut self, path: &str, body: &[u8]) -> Message {
        let stream = self.open(request("POST", path, &[]), false);
        self.send_body(stream, body, true);
        self.whole(stream)
    }
}

impl Deref for Client {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

/// A back end that speaks HTTP/2 with prior knowledge: sends `settings` on each connection, takes
/// the client's preface, and follows the script.
pub fn server(
    settings: &[(u16, u32)],
    script: impl Fn(&mut Connection) + Send + Sync + 'static,
) -> Upstream {
    let hello = Frame::settings(settings);
    Upstream::script(move |peer| {
        let mut connection = Connection::over(peer.wire.duplicate());
        let sent = connection.try_send(std::slice::from_ref(&hello));
        let preface = connection.exactly(PREFACE.len());
        if sent.is_ok() && preface.as_deref() == Some(PREFACE) {
            script(&mut connection);
        }
    })
}

impl Connection {
    /// The next request that is whole, or `None` when the connection ended. One that is reset
    /// before is passed over.
    #[track_caller]
    pub fn request(&mut self) -> Option<(u32, Message)> {
        loop {
            let whole = self.messages.iter().find(|(_, m)| m.ended);
            if let Some((stream, message)) = whole.map(|(stream, m)| (*stream, m.clone())) {
                self.messages.remove(&stream);
                return Some((stream, message));
            }
            self.read()?;
        }
    }

    /// Answers a stream with fields and a body. `false` where the client would not have it.
    #[track_caller]
    pub fn answer(
        &mut self,
        stream: u32,
        status: u16,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> bool {
        let headers = Frame::headers(stream, response(status, fields));
        if body.is_empty() {
            return self.try_send(&[headers.end_stream()]).is_ok();
        }
        self.try_send(&[headers]).is_ok() && self.send_body(stream, body, true)
    }
}
