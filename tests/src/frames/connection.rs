//! One end of an HTTP/2 connection that keeps the books of what comes, and sends what it is told.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Read, Write},
};

use loona_hpack::Decoder;

use super::{Frame, flag, kind, setting};
use crate::wire::{End, Wire, is_reset};

/// The window of a stream and of the connection before anyone said otherwise.
const WINDOW: i64 = 65_535;
/// The payload of a frame that every peer takes.
const FRAME: usize = 16_384;
/// The dynamic table that every peer may use.
const TABLE: usize = 4_096;

/// One end of a connection.
pub struct Connection {
    /// The socket.
    pub wire: Wire,
    /// Every frame that came, oldest first; the payload of DATA is left out.
    pub seen: Vec<Frame>,
    /// Whether SETTINGS are acknowledged as they are read. On at first.
    pub acknowledges: bool,
    /// Whether PING is answered as it is read. On at first.
    pub pongs: bool,
    /// Whether DATA is acknowledged by `WINDOW_UPDATE` as it is read. On at first.
    pub refills: bool,
    /// What the peer set, by identifier.
    pub settings: HashMap<u16, u32>,
    /// What came on each stream.
    pub messages: BTreeMap<u32, Message>,
    incoming: Vec<u8>,
    decoder: Decoder<'static>,
    /// A header block that is not whole yet: its stream, and whether the stream ends with it.
    block: Option<(u32, bool, Vec<u8>)>,
    /// What we may send, on each stream and, as stream 0, in all.
    windows: HashMap<u32, i64>,
    ended: Option<End>,
}

/// What came on a stream so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Header lists before the last head: interim responses.
    pub interim: Vec<Vec<(String, String)>>,
    /// The fields of the head, pseudo-fields first.
    pub fields: Vec<(String, String)>,
    /// The payload of DATA.
    pub body: Vec<u8>,
    /// Fields behind the body.
    pub trailers: Option<Vec<(String, String)>>,
    /// Whether the stream ended in order.
    pub ended: bool,
    /// The code with which it was reset.
    pub reset: Option<u32>,
}

impl Message {
    /// The first value of a field of the head.
    pub fn get(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(n, _)| n == name);
        field.map(|(_, value)| value.as_str())
    }

    /// The status of a response.
    #[track_caller]
    pub fn status(&self) -> u16 {
        let status = self.get(":status").and_then(|status| status.parse().ok());
        status.unwrap_or_else(|| panic!("no status in {self:?}"))
    }

    /// Whether nothing more can come.
    pub fn is_done(&self) -> bool {
        self.ended || self.reset.is_some()
    }

    fn take_fields(&mut self, fields: Vec<(String, String)>, ends: bool) {
        let interim = self.get(":status").is_some_and(|s| s.starts_with('1'));
        if self.fields.is_empty() {
            self.fields = fields;
        } else if interim {
            let before = std::mem::replace(&mut self.fields, fields);
            self.interim.push(before);
        } else {
            self.trailers = Some(fields);
        }
        self.ended |= ends;
    }
}

impl Connection {
    /// An end of a connection on which nothing has been sent.
    pub fn over(wire: Wire) -> Self {
        Self {
            wire,
            seen: Vec::new(),
            acknowledges: true,
            pongs: true,
            refills: true,
            settings: HashMap::new(),
            messages: BTreeMap::new(),
            incoming: Vec::new(),
            decoder: decoder(TABLE),
            block: None,
            windows: HashMap::from([(0, WINDOW)]),
            ended: None,
        }
    }

    /// Sends a frame.
    #[track_caller]
    pub fn send(&mut self, frame: &Frame) -> &mut Self {
        self.send_all(std::slice::from_ref(frame))
    }

    /// Sends frames by one write.
    #[track_caller]
    pub fn send_all(&mut self, frames: &[Frame]) -> &mut Self {
        self.try_send(frames).expect("sending frames");
        self
    }

    /// Sends frames; the peer may be gone.
    pub fn try_send(&mut self, frames: &[Frame]) -> io::Result<()> {
        let bytes: Vec<_> = frames.iter().flat_map(Frame::encode).collect();
        self.wire.write_all(&bytes)
    }

    /// Sends a body within the windows that the peer gives, reading while it has to wait. `false`
    /// where the peer ended the stream or connection first.
    #[track_caller]
    pub fn send_body(&mut self, stream: u32, mut body: &[u8], end: bool) -> bool {
        loop {
            if self.message(stream).is_some_and(|m| m.reset.is_some()) {
                return false;
            }
            let room = self.window(0).min(self.window(stream));
            let room = usize::try_from(room).unwrap_or(0);
            let (now, later) = body.split_at(body.len().min(room).min(FRAME));
            if now.is_empty() && !body.is_empty() {
                if self.read().is_none() {
                    return false;
                }
                continue;
            }
            body = later;
            let mut frame = Frame::data(stream, now);
            if end && body.is_empty() {
                frame = frame.end_stream();
            }
            for id in [0, stream] {
                let left = self.window(id) - i64::try_from(now.len()).unwrap();
                self.windows.insert(id, left);
            }
            if self.try_send(&[frame]).is_err() {
                return false;
            }
            if body.is_empty() {
                return true;
            }
        }
    }

    /// What may be sent on a stream, or in all (stream 0).
    pub fn window(&self, stream: u32) -> i64 {
        let initial = self.settings.get(&setting::INITIAL_WINDOW_SIZE);
        let initial = initial.map_or(WINDOW, |size| i64::from(*size));
        self.windows.get(&stream).copied().unwrap_or(initial)
    }

    /// What came on a stream so far.
    pub fn message(&self, stream: u32) -> Option<&Message> {
        self.messages.get(&stream)
    }

    /// Reads the next frame, whatever it is.
    #[track_caller]
    pub fn frame(&mut self) -> Frame {
        match self.read() {
            Some(frame) => frame,
            None => panic!("the connection ended; so far: {:#?}", self.seen),
        }
    }

    /// Reads until a frame of this type came.
    #[track_caller]
    pub fn expect(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.frame();
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// Reads until a stream is done.
    #[track_caller]
    pub fn whole(&mut self, stream: u32) -> Message {
        loop {
            match self.messages.get(&stream) {
                Some(message) if message.is_done() => return message.clone(),
                _ => self.frame(),
            };
        }
    }

    /// Reads until the head of a message came on a stream, or the stream is reset.
    #[track_caller]
    pub fn head(&mut self, stream: u32) -> Message {
        loop {
            match self.messages.get(&stream) {
                Some(m) if !m.fields.is_empty() || m.reset.is_some() => return m.clone(),
                _ => self.frame(),
            };
        }
    }

    /// Reads until GOAWAY with an error came, and returns its code and debug data. The graceful
    /// kind is passed over.
    #[track_caller]
    pub fn goaway(&mut self) -> (u32, String) {
        loop {
            let frame = self.expect(kind::GOAWAY);
            if frame.number(4) != super::code::NO_ERROR {
                let debug = String::from_utf8_lossy(&frame.payload[8..]).into_owned();
                return (frame.number(4), debug);
            }
        }
    }

    /// Reads to the end of the connection, and says how it came.
    #[track_caller]
    pub fn end(&mut self) -> End {
        while self.read().is_some() {}
        self.ended.expect("it ended")
    }

    /// Reads the next frame and keeps the books; `None` at the end of the connection. Panics when
    /// nothing comes in time.
    #[track_caller]
    pub fn read(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, length)) = Frame::decode(&self.incoming) {
                self.incoming.drain(..length);
                self.book(&frame);
                return Some(frame);
            }
            if self.ended.is_some() {
                return None;
            }
            match self.fill() {
                Ok(()) => {}
                Err(e) if is_reset(&e) => self.ended = Some(End::Reset),
                Err(e) => panic!("no frame came ({e}); so far: {:#?}", self.seen),
            }
        }
    }

    /// Holds the peer to the size of the dynamic table that we set, before it encodes anything.
    pub(super) fn set_table(&mut self, size: u32) {
        self.decoder = decoder(size as usize);
    }

    /// Reads `n` bytes that are no frames.
    pub(super) fn exactly(&mut self, n: usize) -> Option<Vec<u8>> {
        while self.incoming.len() < n && self.ended.is_none() {
            self.fill().ok()?;
        }
        (self.incoming.len() >= n).then(|| self.incoming.drain(..n).collect())
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut buffer = [0; FRAME];
        match self.wire.read(&mut buffer) {
            Ok(0) => self.ended = Some(End::Closed),
            Ok(n) => self.incoming.extend_from_slice(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }

    #[track_caller]
    fn book(&mut self, frame: &Frame) {
        self.seen.push(match frame.kind {
            kind::DATA => Frame::new(frame.kind, frame.flags, frame.stream, []),
            _ => frame.clone(),
        });
        match frame.kind {
            kind::DATA => self.book_data(frame),
            kind::HEADERS => {
                let from = if frame.has(flag::PRIORITY) { 5 } else { 0 };
                let block = unpadded(frame)[from..].to_vec();
                self.block = Some((frame.stream, frame.has(flag::END_STREAM), block));
                self.book_block(frame);
            }
            kind::CONTINUATION => {
                let (_, _, block) = self.block.as_mut().expect("a block to go on with");
                block.extend_from_slice(&frame.payload);
                self.book_block(frame);
            }
            kind::RST_STREAM => {
                let message = self.messages.entry(frame.stream).or_default();
                message.reset = Some(frame.number(0));
            }
            kind::SETTINGS if !frame.has(flag::ACK) => self.book_settings(frame),
            kind::PING if self.pongs && !frame.has(flag::ACK) => {
                let pong = Frame::new(kind::PING, flag::ACK, 0, frame.payload.clone());
                let _ = self.try_send(&[pong]);
            }
            kind::WINDOW_UPDATE => {
                let window = self.window(frame.stream) + i64::from(frame.number(0));
                self.windows.insert(frame.stream, window);
            }
            _ => {}
        }
    }

    fn book_data(&mut self, frame: &Frame) {
        let message = self.messages.entry(frame.stream).or_default();
        message.body.extend_from_slice(unpadded(frame));
        message.ended |= frame.has(flag::END_STREAM);
        let taken = u32::try_from(frame.payload.len()).unwrap();
        if self.refills && taken > 0 {
            let mut updates = vec![Frame::window_update(0, taken)];
            if !message.ended {
                updates.push(Frame::window_update(frame.stream, taken));
            }
            let _ = self.try_send(&updates);
        }
    }

    #[track_caller]
    fn book_block(&mut self, frame: &Frame) {
        if !frame.has(flag::END_HEADERS) {
            return;
        }
        let (stream, ends, block) = self.block.take().expect("a block that ends");
        let fields = self.decoder.decode(&block).expect("HPACK");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let fields = fields.into_iter().map(|(n, v)| (text(n), text(v)));
        let message = self.messages.entry(stream).or_default();
        message.take_fields(fields.collect(), ends);
    }

    fn book_settings(&mut self, frame: &Frame) {
        for setting in frame.payload.chunks_exact(6) {
            let id = u16::from_be_bytes([setting[0], setting[1]]);
            let value = u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
            let before = self.window(u32::MAX);
            self.settings.insert(id, value);
            // Windows of open streams move with the setting (RFC 9113 section 6.9.2).
            let moved = self.window(u32::MAX) - before;
            for (stream, window) in &mut self.windows {
                *window += if *stream == 0 { 0 } else { moved };
            }
        }
        if self.acknowledges {
            let _ = self.try_send(&[Frame::settings_ack()]);
        }
    }
}

fn decoder(table: usize) -> Decoder<'static> {
    let mut decoder = Decoder::new();
    decoder.set_max_table_size(table.min(TABLE));
    decoder.set_max_allowed_table_size(table);
    decoder
}

/// The payload without padding.
fn unpadded(frame: &Frame) -> &[u8] {
    match frame.payload.split_first() {
        Some((padding, rest)) if frame.has(flag::PADDED) => {
            &rest[..rest.len() - usize::from(*padding)]
        }
        _ => &frame.payload,
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("wire", &self.wire)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}
