//! Reads HTTP/1 messages from a wire, keeping what came too early for the next one.

use std::io::{self, Read};

use crate::{
    http::{self, Framing, Message},
    wire::{End, Wire},
};

/// Why no whole message was read.
#[derive(Debug)]
pub enum Broken {
    /// The connection ended before the first byte of a message.
    Ended,
    /// The connection ended within a message. What came of it.
    Cut(Box<Option<Message>>),
    /// What came is no message.
    Malformed(String),
    /// Nothing came in time.
    Late(io::Error),
}

/// What is left of earlier reads, with a way to get more.
#[derive(Debug, Default)]
pub struct Reader {
    pending: Vec<u8>,
    /// All bytes that ever came.
    pub seen: Vec<u8>,
    /// How the connection ended, once it has.
    pub end: Option<End>,
}

impl Reader {
    /// Bytes that came and belong to no message read so far.
    pub fn pending(&self) -> &[u8] {
        &self.pending
    }

    /// Reads more; `false` at the end of the connection.
    pub fn fill(&mut self, wire: &mut Wire) -> Result<bool, Broken> {
        let mut buffer = [0; 16_384];
        loop {
            match wire.read(&mut buffer) {
                Ok(0) => {
                    self.end = Some(End::Closed);
                    return Ok(false);
                }
                Ok(n) => {
                    self.pending.extend_from_slice(&buffer[..n]);
                    self.seen.extend_from_slice(&buffer[..n]);
                    return Ok(true);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if crate::wire::is_reset(&e) => {
                    self.end = Some(End::Reset);
                    return Ok(false);
                }
                Err(e) => return Err(Broken::Late(e)),
            }
        }
    }

    /// Reads up to and with `mark`.
    pub fn through(&mut self, wire: &mut Wire, mark: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut from = 0;
        loop {
            if let Some(at) = find(&self.pending[from..], mark) {
                let end = from + at + mark.len();
                return Ok(self.pending.drain(..end).collect());
            }
            from = self.pending.len().saturating_sub(mark.len() - 1);
            if !self.fill(wire)? {
                let nothing = self.pending.is_empty();
                return Err(if nothing {
                    Broken::Ended
                } else {
                    Broken::Cut(Box::new(None))
                });
            }
        }
    }

    /// Reads exactly `n` bytes onto `into`.
    pub fn exactly(
        &mut self,
        wire: &mut Wire,
        mut n: usize,
        into: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        loop {
            let take = n.min(self.pending.len());
            into.extend(self.pending.drain(..take));
            n -= take;
            if n == 0 {
                return Ok(());
            }
            if !self.fill(wire)? {
                return Err(Broken::Cut(Box::new(None)));
            }
        }
    }

    /// Reads a head.
    pub fn head(&mut self, wire: &mut Wire) -> Result<Message, Broken> {
        let raw = self.through(wire, b"\r\n\r\n")?;
        Ok(Message::from_head(&raw))
    }

    /// Reads a request with its body.
    pub fn request(&mut self, wire: &mut Wire) -> Result<Message, Broken> {
        let mut message = self.head(wire)?;
        message.framing = message.request_framing();
        self.body(wire, &mut message)
            .map_err(|e| with(e, &message))?;
        Ok(message)
    }

    /// Reads the response to `method` with its body; 1xx (but 101) are put into `interim`.
    pub fn response(
        &mut self,
        wire: &mut Wire,
        method: &str,
        interim: &mut Vec<Message>,
    ) -> Result<Message, Broken> {
        loop {
            let mut message = self.head(wire)?;
            if !message.line.starts_with("HTTP/1.1 ") {
                return Err(Broken::Malformed(message.line));
            }
            if (100..200).contains(&message.status()) && message.status() != 101 {
                interim.push(message);
                continue;
            }
            message.framing = message.response_framing(method);
            self.body(wire, &mut message)
                .map_err(|e| with(e, &message))?;
            return Ok(message);
        }
    }

    /// Reads a body by the message's framing.
    pub fn body(&mut self, wire: &mut Wire, message: &mut Message) -> Result<(), Broken> {
        match message.framing {
            Framing::None => Ok(()),
            Framing::Length(n) => {
                let n = usize::try_from(n).map_err(|e| Broken::Malformed(e.to_string()))?;
                self.exactly(wire, n, &mut message.body)
            }
            Framing::UntilClose => {
                while self.fill(wire)? {}
                message.body.append(&mut self.pending);
                match self.end {
                    Some(End::Reset) => Err(Broken::Cut(Box::new(None))),
                    _ => Ok(()),
                }
            }
            Framing::Chunked => self.chunks(wire, message),
        }
    }

    /// Reads one chunk onto `into`; `false` after the last one.
    pub fn chunk(&mut self, wire: &mut Wire, into: &mut Vec<u8>) -> Result<bool, Broken> {
        let line = self.through(wire, b"\r\n")?;
        let text = http::latin1(&line[..line.len() - 2]);
        let size = usize::from_str_radix(&text, 16)
            .map_err(|_| Broken::Malformed(format!("chunk size {text:?}")))?;
        if size == 0 {
            return Ok(false);
        }
        self.exactly(wire, size, into)?;
        let mut end = Vec::new();
        self.exactly(wire, 2, &mut end)?;
        if end != b"\r\n" {
            return Err(Broken::Malformed(format!("chunk end {end:?}")));
        }
        Ok(true)
    }

    fn chunks(&mut self, wire: &mut Wire, message: &mut Message) -> Result<(), Broken> {
        while self.chunk(wire, &mut message.body)? {}
        loop {
            let line = self.through(wire, b"\r\n")?;
            if line == b"\r\n" {
                return Ok(());
            }
            let text = http::latin1(&line[..line.len() - 2]);
            message.trailers.push(http::field(&text));
        }
    }
}

/// A message that broke off: says how far it came.
fn with(e: Broken, message: &Message) -> Broken {
    match e {
        Broken::Ended | Broken::Cut(_) => Broken::Cut(Box::new(Some(message.clone()))),
        other => other,
    }
}

/// Where `needle` begins in `hay`.
pub fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|w| w == needle)
}
