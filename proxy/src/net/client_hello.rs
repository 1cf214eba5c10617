//! The first message of a TLS connection, read by somebody who has no part in it: which name the
//! client asks for (SNI, RFC 6066), and which protocols it offers (ALPN, RFC 7301). No io and no
//! clock: the caller reads, and asks again with more bytes.
//!
//! The message may come in several records, and these in any number of pieces. It is read where it
//! lies: nothing is put together, and nothing is copied but the name and the protocols. What is
//! not well-formed is refused; what is unknown (GREASE, RFC 8701) is passed over. Whether the rest
//! of it makes a handshake is for the two ends to find out.

#![deny(clippy::indexing_slicing)]

use std::fmt;

/// The most that a `ClientHello` may take, with the heads of its records. Those of today take 300
/// to 2,000 bytes.
pub(crate) const MOST: usize = 16_384;

/// What the bytes so far are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// The beginning of a `ClientHello`.
    Incomplete,
    /// None, or one that is not well-formed: a few words for the log.
    Invalid(&'static str),
    /// A whole one.
    Done(Box<ClientHello>),
}

/// What is of interest in a `ClientHello`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientHello {
    name: Short<LONGEST_NAME>,
    protocols: Short<PROTOCOLS>,
}

/// Longest name of a host (RFC 1035 section 2.3.4).
const LONGEST_NAME: usize = 255;
/// Room for protocols; they are for people who read logs.
const PROTOCOLS: usize = 64;

impl ClientHello {
    /// The name asked for, in lower case and without a dot at its end.
    pub(crate) fn server_name(&self) -> Option<&[u8]> {
        Some(self.name.bytes()).filter(|name| !name.is_empty())
    }

    /// The protocols offered with a comma between them, in the client's order, as many as there is
    /// room for. Any byte may be in there.
    pub(crate) fn protocols(&self) -> Option<&[u8]> {
        Some(self.protocols.bytes()).filter(|list| !list.is_empty())
    }
}

/// A few bytes that need no memory of their own.
#[derive(Clone, PartialEq, Eq)]
struct Short<const ROOM: usize> {
    bytes: [u8; ROOM],
    length: usize,
}

impl<const ROOM: usize> Short<ROOM> {
    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl<const ROOM: usize> Default for Short<ROOM> {
    fn default() -> Self {
        Self {
            bytes: [0; ROOM],
            length: 0,
        }
    }
}

impl<const ROOM: usize> fmt::Debug for Short<ROOM> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.bytes().escape_ascii())
    }
}

/// How far the records of a message are known. Asked again with more bytes it goes on where it was,
/// so that a message in many small pieces costs no more than one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scan {
    /// Where the first record begins that is not all there.
    at: usize,
    /// How much of the message is before it.
    have: usize,
    /// The head of the message, as far as it is there.
    head: [u8; MESSAGE],
}

impl Scan {
    /// Judges the bytes that came so far, from the first of the connection on. What is behind the
    /// message is not looked at.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Parsed {
        match self.extent(bytes) {
            Ok(None) if bytes.len() >= MOST => Parsed::Invalid(TOO_LARGE),
            Ok(None) => Parsed::Incomplete,
            Err(what) => Parsed::Invalid(what),
            Ok(Some(length)) => match message(&mut Cursor::new(bytes, length)) {
                Ok(hello) => Parsed::Done(Box::new(hello)),
                Err(what) => Parsed::Invalid(what),
            },
        }
    }

    /// Whether the records with the message are all there, and how long the message is.
    fn extent(&mut self, bytes: &[u8]) -> Result<Option<usize>, &'static str> {
        loop {
            let record = bytes.get(self.at..).unwrap_or_default();
            let mut known = record.iter().zip(0..RECORD);
            if known.any(|(byte, at)| match at {
                0 => *byte != HANDSHAKE,
                1 => *byte != 3,
                2 => *byte > 4,
                _ => false,
            }) {
                return Err("no TLS handshake record");
            }
            let [_, _, _, high, low, payload @ ..] = record else {
                return Ok(None);
            };
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            if length == 0 || length > LARGEST_RECORD {
                return Err("a TLS record of a length that none has");
            }
            let present = payload.get(..length).unwrap_or(payload);
            for (to, from) in self.head.iter_mut().skip(self.have).zip(present) {
                *to = *from;
            }
            let [kind, a, b, c] = self.head;
            let known = self.have + present.len();
            if known > 0 && kind != CLIENT_HELLO {
                return Err("not a ClientHello");
            }
            if known >= MESSAGE {
                let body = u32::from_be_bytes([0, a, b, c]);
                let message = MESSAGE + body as usize;
                // On the wire, if this record were the last.
                if self.at + RECORD + message.saturating_sub(self.have) > MOST {
                    return Err(TOO_LARGE);
                }
                if self.have + length > message {
                    return Err("more than a ClientHello in its records");
                }
                if known == message {
                    return Ok(Some(message));
                }
            }
            if present.len() < length {
                return Ok(None);
            }
            self.have += length;
            self.at += RECORD + length;
        }
    }
}

/// The kind of record that TLS begins with.
pub(crate) const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// The head of a record, and of a handshake message.
const RECORD: usize = 5;
const MESSAGE: usize = 4;
/// The largest payload of a record that is not encrypted (RFC 8446 section 5.1).
const LARGEST_RECORD: usize = 1 << 14;

const TOO_LARGE: &str = "a ClientHello larger than allowed";
const SHORT: &str = "a field of the ClientHello goes beyond its end";

/// A part of the message. Steps over the heads of records in between.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    bytes: &'a [u8],
    /// Bytes left of the current record, and of the part.
    in_record: usize,
    left: usize,
}

impl<'a> Cursor<'a> {
    /// A message of this length, in records which are all there.
    fn new(bytes: &'a [u8], length: usize) -> Self {
        Self {
            bytes,
            in_record: 0,
            left: length,
        }
    }

    /// The next bytes that lie together, `most` of them at most.
    fn run(&mut self, most: usize) -> Result<&'a [u8], &'static str> {
        if most > self.left {
            return Err(SHORT);
        }
        if self.in_record == 0 {
            let [_, _, _, high, low, payload @ ..] = self.bytes else {
                return Err(SHORT);
            };
            self.in_record = usize::from(u16::from_be_bytes([*high, *low]));
            self.bytes = payload;
        }
        let (run, rest) = self
            .bytes
            .split_at_checked(most.min(self.in_record))
            .ok_or(SHORT)?;
        self.bytes = rest;
        self.in_record -= run.len();
        self.left -= run.len();
        Ok(run)
    }

    fn copy(&mut self, mut into: &mut [u8]) -> Result<(), &'static str> {
        while !into.is_empty() {
            let run = self.run(into.len())?;
            let (to, rest) = into.split_at_mut_checked(run.len()).ok_or(SHORT)?;
            to.copy_from_slice(run);
            into = rest;
        }
        Ok(())
    }

    fn skip(&mut self, mut count: usize) -> Result<(), &'static str> {
        while count > 0 {
            count -= self.run(count)?.len();
        }
        Ok(())
    }

    fn byte(&mut self) -> Result<usize, &'static str> {
        let mut byte = [0];
        self.copy(&mut byte)?;
        Ok(usize::from(u8::from_be_bytes(byte)))
    }

    fn word(&mut self) -> Result<usize, &'static str> {
        let mut word = [0; 2];
        self.copy(&mut word)?;
        Ok(usize::from(u16::from_be_bytes(word)))
    }

    /// The next `length` bytes as a part of their own.
    fn part(&mut self, length: usize) -> Result<Self, &'static str> {
        let part = Self {
            left: length,
            ..*self
        };
        self.skip(length)?;
        Ok(part)
    }
}

/// RFC 8446 section 4.1.2, which versions 1.0 to 1.2 share.
fn message(message: &mut Cursor<'_>) -> Result<ClientHello, &'static str> {
    message.skip(MESSAGE)?;
    if message.word()? >> 8 != 3 {
        return Err("a ClientHello of no version of TLS");
    }
    let random = 32;
    message.skip(random)?;
    let session = message.byte()?;
    let suites = message.part(session).and_then(|_| message.word())?;
    if session > 32 || suites < 2 || suites % 2 != 0 {
        return Err("a session id or cipher suites of a wrong length");
    }
    message.skip(suites)?;
    let compressions = message.byte()?;
    if compressions == 0 {
        return Err("a ClientHello without a compression method");
    }
    message.skip(compressions)?;
    let mut hello = ClientHello::default();
    // Extensions came after TLS 1.0, and may be left out as a whole.
    if message.left > 0 && message.word()? != message.left {
        return Err("extensions of a wrong length");
    }
    let mut seen = [false; 2];
    while message.left > 0 {
        let kind = message.word()?;
        let length = message.word()?;
        let mut content = message.part(length)?;
        let (seen, read): (_, fn(&mut Cursor<'_>, &mut ClientHello) -> _) = match (kind, &mut seen)
        {
            (0, [seen, _]) => (seen, server_name),
            (16, [_, seen]) => (seen, protocols),
            _ => continue,
        };
        if std::mem::replace(seen, true) {
            return Err("an extension that is there twice");
        }
        read(&mut content, &mut hello)?;
    }
    Ok(hello)
}

/// RFC 6066 section 3: one name of a host, and no other kind of name is known.
fn server_name(content: &mut Cursor<'_>, hello: &mut ClientHello) -> Result<(), &'static str> {
    let list = content.word()?;
    if list != content.left || content.byte()? != 0 {
        return Err("a server name that is none of a host");
    }
    let length = content.word()?;
    if length != content.left {
        return Err("more than one server name");
    }
    let name = &mut hello.name;
    let text = name.bytes.get_mut(..length).unwrap_or_default();
    content.copy(text)?;
    text.make_ascii_lowercase();
    let dotless = text.strip_suffix(b".").unwrap_or(text);
    name.length = dotless.len();
    let fits = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    if content.left > 0 || dotless.is_empty() || !dotless.iter().all(fits) {
        return Err("a server name that no host has");
    }
    Ok(())
}

/// RFC 7301 section 3.1.
fn protocols(content: &mut Cursor<'_>, hello: &mut ClientHello) -> Result<(), &'static str> {
    const WRONG: &str = "a list of protocols of a wrong length";
    let list = &mut hello.protocols;
    if content.word()? != content.left || content.left == 0 {
        return Err(WRONG);
    }
    let mut full = false;
    while content.left > 0 {
        let length = content.byte()?;
        if length == 0 {
            return Err(WRONG);
        }
        let mut protocol = content.part(length)?;
        let begin = if list.length == 0 { 0 } else { list.length + 1 };
        let room = list.bytes.get_mut(list.length..begin + length);
        let Some(room) = room.filter(|_| !full) else {
            full = true;
            continue;
        };
        let (comma, text) = room.split_at_mut(begin - list.length);
        comma.fill(b',');
        protocol.copy(text)?;
        list.length = begin + length;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
