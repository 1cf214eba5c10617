//! Header blocks (RFC 9113 section 4.3), whole or in several frames, and which message of a stream
//! each is part of.

use super::{
    super::{
        abuse::{Flood, Role},
        frame::{self, Code, Head},
        hpack::Block,
    },
    BOMB, Core,
    store::{Asks, Section, Slot},
};
use crate::message::grammar::decimal;

/// A block that is not whole yet.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) stream: u32,
    end: bool,
    bytes: Vec<u8>,
}

/// `:status`, in the static table of HPACK.
const STATUS: u8 = 8;
/// `content-length` there.
const CONTENT_LENGTH: u8 = 28;
/// Interim responses that nobody has taken.
const MAX_HEADS: usize = 16;

impl Core {
    pub(super) fn headers(&mut self, head: &Head, payload: &[u8]) {
        let block = match frame::content(head, payload) {
            Ok(block) => block,
            Err(code) => return self.blame(code, "broken padding or priority"),
        };
        let (stream, end) = (head.stream, head.ends_stream());
        if stream == 0 {
            return self.blame(Code::PROTOCOL_ERROR, "HEADERS on no stream");
        }
        if head.ends_headers() {
            return self.section(stream, end, block);
        }
        self.partial = Some(Partial {
            stream,
            end,
            bytes: block.to_vec(),
        });
    }

    /// The judge has bounded how much may come.
    pub(super) fn continuation(&mut self, head: &Head, payload: &[u8]) {
        let Some(partial) = &mut self.partial else {
            return self.blame(Code::PROTOCOL_ERROR, "CONTINUATION of nothing");
        };
        partial.bytes.extend_from_slice(payload);
        if head.ends_headers()
            && let Some(Partial { stream, end, bytes }) = self.partial.take()
        {
            self.section(stream, end, &bytes);
        }
    }

    /// A whole block. It is decoded whatever becomes of it: what follows builds on it.
    fn section(&mut self, stream: u32, end: bool, bytes: &[u8]) {
        let mut block = self.spare.take_block();
        let limit = self.ours.header_list as usize;
        block.reset(limit);
        if self.decoder.decode(bytes, &mut block).is_err() {
            return self.blame(Code::COMPRESSION_ERROR, "broken compression of headers");
        }
        if block.size() > limit.saturating_mul(BOMB) {
            return self.flood(Flood::HeaderBlock);
        }
        match self.store.find(stream) {
            Some(key) => self.further(key, Section { block, end }),
            None => match self.role {
                Role::Server => self.open(stream, Section { block, end }),
                Role::Client => {
                    self.spare.give_block(block);
                    self.on_closed(stream);
                }
            },
        }
    }

    /// A client's request.
    fn open(&mut self, id: u32, section: Section) {
        if id <= self.last_peer {
            self.spare.give_block(section.block);
            return self.on_closed(id);
        }
        if id.is_multiple_of(2) {
            return self.blame(Code::PROTOCOL_ERROR, "stream of an even number");
        }
        // Beyond the last one we named, the client knows that it is not processed.
        if self.leaving.is_some_and(|last| id > last) {
            return self.spare.give_block(section.block);
        }
        self.last_peer = id;
        if self.open >= self.ours.max_streams {
            self.spare.give_block(section.block);
            self.remember(id);
            return self.send_reset(id, Code::REFUSED_STREAM);
        }
        let (window, theirs) = (self.window, self.theirs.window);
        let (key, slot) = self.store.insert(id);
        slot.recv_window = i64::from(window);
        slot.send_window = i64::from(theirs);
        slot.counted = true;
        slot.head_came = true;
        slot.recv_closed = section.end;
        slot.left = length(&section.block);
        slot.heads.push_back(section);
        self.open += 1;
        self.arrived.push_back(key);
    }

    /// What follows on a stream: an answer's head, or trailers.
    fn further(&mut self, key: u32, section: Section) {
        let Some(slot) = self.store.get(key) else {
            return;
        };
        if slot.gone.is_some() {
            return self.spare.give_block(section.block);
        }
        if slot.recv_closed {
            return self.reset_for(key, Code::STREAM_CLOSED);
        }
        if slot.head_came {
            if !section.end || slot.left.is_some_and(|left| left > 0) {
                return self.reset_for(key, Code::PROTOCOL_ERROR);
            }
            slot.trailers = Some(section.block);
        } else {
            let interim = is_interim(&section.block);
            if (interim && section.end) || slot.heads.len() == MAX_HEADS {
                return self.reset_for(key, Code::PROTOCOL_ERROR);
            }
            if !interim {
                answered(slot, &section);
            }
            slot.heads.push_back(section);
        }
        let Some(slot) = self.store.get(key) else {
            return;
        };
        if slot.trailers.is_some() || slot.heads.back().is_some_and(|section| section.end) {
            slot.recv_closed = true;
        }
        slot.waits.wake_recv();
        self.closed(key);
    }

    /// Whether a stream that we know nothing of is one that was there. One that was not yet may
    /// have nothing said of it.
    pub(super) fn check_idle(&mut self, stream: u32) {
        if self.is_idle(stream) {
            self.blame(Code::PROTOCOL_ERROR, "frame on a stream that is idle");
        }
    }

    fn is_idle(&self, stream: u32) -> bool {
        let ours = stream.is_multiple_of(2) == (self.role == Role::Server);
        match (ours, self.role) {
            // We open none.
            (true, Role::Server) | (false, Role::Client) => true,
            (true, Role::Client) => stream >= self.next,
            (false, Role::Server) => {
                stream > self.last_peer && self.leaving.is_none_or(|last| stream <= last)
            }
        }
    }

    /// HEADERS or DATA on a stream that is closed. Those that were under way when we reset it mean
    /// nothing (RFC 9113 section 5.1).
    pub(super) fn on_closed(&mut self, stream: u32) {
        if self.is_idle(stream) {
            return self.blame(Code::PROTOCOL_ERROR, "frame on a stream that is idle");
        }
        let beyond = self.leaving.is_some_and(|last| stream > last);
        if !beyond && !self.reset.contains(&stream) {
            self.blame(Code::STREAM_CLOSED, "frame on a closed stream");
        }
    }
}

/// The head of the answer itself.
fn answered(slot: &mut Slot, section: &Section) {
    slot.head_came = true;
    slot.left = match slot.asked {
        _ if section.end => None,
        // One that is refused is answered like any other request.
        Asks::Tunnel if is_success(&section.block) => None,
        Asks::Head => Some(0),
        _ if says_nothing(&section.block) => Some(0),
        _ => length(&section.block),
    };
}

fn status(block: &Block) -> &[u8] {
    let field = block.get(0).filter(|field| field.known == STATUS);
    field.map_or(b"", |field| field.value)
}

fn is_interim(block: &Block) -> bool {
    matches!(status(block), [b'1', _, _])
}

fn is_success(block: &Block) -> bool {
    matches!(status(block), [b'2', _, _])
}

/// 204 and 304: a length there is that of another message.
fn says_nothing(block: &Block) -> bool {
    matches!(status(block), b"204" | b"304")
}

/// How much is to come, where that is said. It is read as above, where what makes no sense is refused:
/// a length that held there and not here would let a body go on as another message.
fn length(block: &Block) -> Option<u64> {
    let mut all = block.iter().filter(|field| field.known == CONTENT_LENGTH);
    decimal(all.next()?.value)
}
