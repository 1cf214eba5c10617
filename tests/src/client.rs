//! A client that sends exactly the bytes it is given and shows exactly what came back.

use std::{
    io::{self, Write},
    net::SocketAddr,
    time::Duration,
};

use crate::{
    http::Message,
    reader::{Broken, Reader},
    wait::DEADLINE,
    wire::{Address, End, Wire},
};

/// One connection to the proxy.
#[derive(Debug)]
pub struct Client {
    /// The socket.
    pub wire: Wire,
    /// What came and was not taken yet.
    pub reader: Reader,
    /// Interim responses seen before the last one.
    pub interim: Vec<Message>,
}

impl Client {
    /// Connects.
    #[track_caller]
    pub fn connect(address: impl Into<Address>) -> Self {
        let address = address.into();
        Self::try_connect(&address).unwrap_or_else(|e| panic!("cannot connect to {address}: {e}"))
    }

    /// Connects, if someone listens.
    pub fn try_connect(address: &Address) -> io::Result<Self> {
        Ok(Self::over(Wire::connect(address)?))
    }

    /// Uses a connection that is open already.
    pub fn over(wire: Wire) -> Self {
        Self {
            wire,
            reader: Reader::default(),
            interim: Vec::new(),
        }
    }

    /// Sends bytes.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.wire.write_all(bytes.as_ref()).expect("sending");
        self
    }

    /// Sends bytes; the peer may be gone.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.write_all(bytes.as_ref())
    }

    /// Reads a response to GET, whole.
    #[track_caller]
    pub fn response(&mut self) -> Message {
        self.response_to("GET")
    }

    /// Reads the response to `method`, whole.
    #[track_caller]
    pub fn response_to(&mut self, method: &str) -> Message {
        match self.try_response(method) {
            Ok(message) => message,
            Err(e) => panic!(
                "no whole response: {e:?}; bytes seen: {}",
                self.reader.seen[..self.reader.seen.len().min(2_000)].escape_ascii()
            ),
        }
    }

    /// Reads the response to `method`, if it comes whole.
    pub fn try_response(&mut self, method: &str) -> Result<Message, Broken> {
        self.interim.clear();
        self.reader
            .response(&mut self.wire, method, &mut self.interim)
    }

    /// Reads the head of a response and leaves the body.
    #[track_caller]
    pub fn head(&mut self) -> Message {
        self.reader.head(&mut self.wire).expect("a head")
    }

    /// Reads exactly `n` bytes.
    #[track_caller]
    pub fn exactly(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Err(e) = self.reader.exactly(&mut self.wire, n, &mut bytes) {
            panic!("{n} bytes wanted, {} came: {e:?}", bytes.len());
        }
        bytes
    }

    /// Asserts that the connection ends without another byte.
    #[track_caller]
    pub fn expect_end(&mut self) -> End {
        let (bytes, end) = self.rest();
        assert!(bytes.is_empty(), "more came: {}", bytes.escape_ascii());
        end
    }

    /// All that comes until the end.
    #[track_caller]
    pub fn rest(&mut self) -> (Vec<u8>, End) {
        let mut bytes = self.reader.pending().to_vec();
        self.reader = Reader::default();
        let (more, end) = self.wire.drain();
        bytes.extend(more);
        (bytes, end)
    }

    /// Sends a GET and reads the response.
    #[track_caller]
    pub fn get(&mut self, target: &str) -> Message {
        self.send(request("GET", target, &[], b""));
        self.response()
    }

    /// Sends a POST with a length and reads the response.
    #[track_caller]
    pub fn post(&mut self, target: &str, body: &[u8]) -> Message {
        self.send(request("POST", target, &[], body));
        self.response()
    }

    /// Whether the connection is still open: nothing came within `moment`, not even its end.
    pub fn is_silent_for(&mut self, moment: Duration) -> bool {
        self.wire.read_deadline(moment);
        let silent = matches!(self.reader.fill(&mut self.wire), Err(Broken::Late(_)));
        self.wire.read_deadline(DEADLINE);
        silent
    }
}

/// A well-formed request for `a.example`.
pub fn request(method: &str, target: &str, fields: &[&str], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
    if !fields
        .iter()
        .any(|f| f.to_ascii_lowercase().starts_with("host:"))
    {
        bytes.extend_from_slice(b"Host: a.example\r\n");
    }
    for field in fields {
        bytes.extend_from_slice(field.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    if !body.is_empty() {
        bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

/// One GET on a connection of its own.
#[track_caller]
pub fn get(address: SocketAddr, target: &str) -> Message {
    fetch(address, "GET", target, &[])
}

/// One request without a body on a connection of its own.
#[track_caller]
pub fn fetch(address: impl Into<Address>, method: &str, target: &str, fields: &[&str]) -> Message {
    let mut client = Client::connect(address);
    client.send(request(method, target, fields, b""));
    client.response_to(method)
}
