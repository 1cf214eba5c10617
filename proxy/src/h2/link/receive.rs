//! What each frame does that comes, apart from header blocks and windows.

use bytes::{Buf, BytesMut};

use super::{
    super::{
        abuse::Role,
        frame::{self, Code, HEAD, Head, Kind, MAX_31, MAX_FRAME, PREFACE, flag, setting},
    },
    ASKING, Core, LEAVING,
    store::Gone,
};
use crate::timer::now;

/// Payload from this size on is taken from where it was read; what is smaller is copied, so that it
/// does not keep alive what came with it.
const SPLIT: usize = 4_096;

impl Core {
    /// Acts on all frames in `raw` that are whole, and takes them out. Returns how many.
    pub(super) fn take_frames(&mut self, raw: &mut BytesMut) -> usize {
        if self.preface {
            let n = raw.len().min(PREFACE.len());
            if raw.get(..n) != PREFACE.get(..n) {
                self.blame(Code::PROTOCOL_ERROR, "broken preface");
            }
            if n < PREFACE.len() || self.ended.is_some() {
                return 0;
            }
            raw.advance(n);
            self.preface = false;
        }
        let mut frames = 0;
        while self.ended.is_none()
            && let Some(head) = Head::read(raw)
        {
            if head.length > MAX_FRAME {
                self.wrong_size();
                break;
            }
            if raw.len() < HEAD + head.length as usize {
                break;
            }
            self.frame(&head, raw);
            frames += 1;
        }
        frames
    }

    /// The stream of a client that came next.
    pub(super) fn accept(&mut self) -> Option<u32> {
        while let Some(key) = self.arrived.pop_front() {
            // One that was reset at once never was.
            if self.store.get(key).is_some_and(|slot| slot.gone.is_none()) {
                return Some(key);
            }
            self.drop_stream(key);
        }
        None
    }

    /// Acts on the frame at the front of `raw`, which is whole, and takes it out. After an error of
    /// the connection nothing more may come.
    pub(super) fn frame(&mut self, head: &Head, raw: &mut BytesMut) {
        if let Err(flood) = self.judge.received(head, now) {
            return self.flood(flood);
        }
        let block = self.partial.as_ref().map(|partial| partial.stream);
        let within = head.kind == Kind::Continuation && block == Some(head.stream);
        if block.is_some() && !within {
            return self.blame(Code::PROTOCOL_ERROR, "header block that is not continued");
        }
        if !self.theirs.told && (head.kind != Kind::Settings || head.has(flag::ACK)) {
            return self.blame(Code::PROTOCOL_ERROR, "no SETTINGS at the beginning");
        }
        let size = HEAD + head.length as usize;
        if head.kind == Kind::Data {
            return self.data(head, raw, size);
        }
        let bytes = raw.get(HEAD..size).unwrap_or_default();
        match head.kind {
            Kind::Headers => self.headers(head, bytes),
            Kind::Continuation => self.continuation(head, bytes),
            Kind::Reset => self.reset_came(head.stream, bytes),
            Kind::Settings => self.settings(head, bytes),
            Kind::Ping => self.ping(head, bytes),
            Kind::GoAway => self.go_away(head, bytes),
            Kind::WindowUpdate => self.window_update(head.stream, bytes),
            // RFC 9113 section 8.4: we never allow it, and a client never may.
            Kind::PushPromise => self.blame(Code::PROTOCOL_ERROR, "PUSH_PROMISE"),
            Kind::Priority => self.priority(head, bytes),
            Kind::PriorityUpdate | Kind::Unknown | Kind::Data => {}
        }
        raw.advance(size);
    }

    fn wrong_size(&mut self) {
        self.blame(Code::FRAME_SIZE_ERROR, "HTTP/2 frame of a wrong size");
    }

    /// Nobody heeds it.
    fn priority(&mut self, head: &Head, payload: &[u8]) {
        if payload.len() != 5 {
            self.wrong_size();
        } else if head.stream == 0 {
            self.blame(Code::PROTOCOL_ERROR, "PRIORITY on no stream");
        }
    }

    fn data(&mut self, head: &Head, raw: &mut BytesMut, size: usize) {
        if head.stream == 0 {
            return self.blame(Code::PROTOCOL_ERROR, "DATA on no stream");
        }
        let content = frame::content(head, raw.get(HEAD..size).unwrap_or_default());
        let (at, len) = match content {
            Ok(content) => (HEAD + usize::from(head.has(flag::PADDED)), content.len()),
            Err(code) => return self.blame(code, "broken padding or priority"),
        };
        let taken = self.take_data(head, len);
        let Some(slot) = taken.and_then(|key| self.store.get(key)) else {
            return raw.advance(size);
        };
        if len < SPLIT {
            let content = raw.get(at..at + len).unwrap_or_default();
            slot.tail.extend_from_slice(content);
            raw.advance(size);
        } else {
            let mut piece = raw.split_to(size).freeze();
            piece.advance(at);
            piece.truncate(len);
            slot.take_tail();
            slot.pieces.push_back(piece);
        }
        if len > 0 || slot.recv_closed {
            slot.waits.wake_recv();
        }
        if let Some(key) = taken {
            self.release(key, head.length - len as u32);
            self.closed(key);
        }
    }

    /// Counts DATA with `len` bytes of content. Returns the stream that is to have them.
    fn take_data(&mut self, head: &Head, len: usize) -> Option<u32> {
        // Padding counts as what it fills.
        if !self.recv.came(head.length) {
            self.blame(Code::FLOW_CONTROL_ERROR, "broken flow control of HTTP/2");
            return None;
        }
        let Some(key) = self.store.find(head.stream) else {
            self.release_connection(head.length);
            self.on_closed(head.stream);
            return None;
        };
        let role = self.role;
        let slot = self.store.get(key)?;
        // What was under way when it was reset means nothing.
        let gone = slot.gone.is_some();
        if gone || slot.recv_closed {
            self.release_connection(head.length);
            if !gone {
                self.reset_for(key, Code::STREAM_CLOSED);
            }
            return None;
        }
        slot.recv_window -= i64::from(head.length);
        slot.held += head.length;
        let left = slot.left.map(|left| left.checked_sub(len as u64));
        let short = head.ends_stream() && left.flatten().is_some_and(|left| left > 0);
        let early = role == Role::Client && !slot.head_came;
        if slot.recv_window < 0 {
            self.reset_for(key, Code::FLOW_CONTROL_ERROR);
            return None;
        }
        if left == Some(None) || short || early {
            self.reset_for(key, Code::PROTOCOL_ERROR);
            return None;
        }
        slot.left = left.flatten();
        slot.recv_closed = head.ends_stream();
        Some(key)
    }

    fn reset_came(&mut self, stream: u32, payload: &[u8]) {
        let Some(code) = frame::number(payload) else {
            return self.wrong_size();
        };
        if stream == 0 {
            return self.blame(Code::PROTOCOL_ERROR, "RST_STREAM on no stream");
        }
        let Some(key) = self.store.find(stream) else {
            return self.check_idle(stream);
        };
        self.remember(stream);
        self.lose(key, Gone::Reset(Code(code)));
    }

    fn settings(&mut self, head: &Head, payload: &[u8]) {
        if head.stream != 0 {
            return self.blame(Code::PROTOCOL_ERROR, "SETTINGS on a stream");
        }
        let (all, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() || (head.has(flag::ACK) && !all.is_empty()) {
            return self.wrong_size();
        }
        if head.has(flag::ACK) {
            return self.acknowledged();
        }
        self.theirs.told = true;
        for [i0, i1, v0, v1, v2, v3] in all {
            let id = u16::from_be_bytes([*i0, *i1]);
            self.setting(id, u32::from_be_bytes([*v0, *v1, *v2, *v3]));
        }
        if self.ended.is_none() {
            frame::settings_ack(self.out.text());
        }
    }

    fn setting(&mut self, id: u16, value: u32) {
        let theirs = &mut self.theirs;
        match id {
            setting::HEADER_TABLE_SIZE => self.encoder.peer_table_size(value),
            setting::MAX_CONCURRENT_STREAMS => theirs.max_streams = value,
            setting::INITIAL_WINDOW_SIZE if value > MAX_31 => {
                self.blame(Code::FLOW_CONTROL_ERROR, "setting out of its range");
            }
            setting::INITIAL_WINDOW_SIZE => self.set_their_window(value),
            setting::MAX_FRAME_SIZE if (MAX_FRAME..1 << 24).contains(&value) => {
                theirs.max_frame = value;
            }
            // RFC 8441 section 3: it does not go back.
            setting::ENABLE_CONNECT_PROTOCOL if value == 1 || (value == 0 && !theirs.tunnels) => {
                theirs.tunnels = value == 1;
            }
            // A server may not say that it takes what only a server sends.
            setting::ENABLE_PUSH if value == 0 || (value == 1 && self.role == Role::Server) => {}
            setting::MAX_FRAME_SIZE | setting::ENABLE_CONNECT_PROTOCOL | setting::ENABLE_PUSH => {
                self.blame(Code::PROTOCOL_ERROR, "setting out of its range");
            }
            _ => {}
        }
    }

    fn ping(&mut self, head: &Head, payload: &[u8]) {
        if head.stream != 0 {
            return self.blame(Code::PROTOCOL_ERROR, "PING on a stream");
        }
        let Ok(opaque) = <[u8; 8]>::try_from(payload) else {
            return self.wrong_size();
        };
        if !head.has(flag::ACK) {
            return frame::ping(self.out.text(), true, opaque);
        }
        match opaque {
            ASKING if self.ping.asked => {
                self.ping.asked = false;
                self.ping.answered = true;
            }
            LEAVING if self.ping.leaving => self.leave_behind(),
            _ => {}
        }
    }

    fn go_away(&mut self, head: &Head, payload: &[u8]) {
        let Some((last, rest)) = payload.split_first_chunk::<4>() else {
            return self.wrong_size();
        };
        let Some(code) = rest.first_chunk::<4>() else {
            return self.wrong_size();
        };
        if head.stream != 0 {
            return self.blame(Code::PROTOCOL_ERROR, "GOAWAY on a stream");
        }
        let last = u32::from_be_bytes(*last) & MAX_31;
        let code = Code(u32::from_be_bytes(*code));
        self.left = true;
        if self.role == Role::Client {
            self.lose_beyond(last, code);
        }
    }

    /// Streams that a server that leaves has not looked at.
    fn lose_beyond(&mut self, last: u32, code: Code) {
        for slot in self.store.iter_mut() {
            if slot.id > last && !slot.is_closed() {
                slot.gone = Some(Gone::Left(code));
                slot.waits.wake();
                if std::mem::take(&mut slot.woken) {
                    self.promised = self.promised.saturating_sub(slot.wanted);
                }
            }
        }
        self.next_in_line();
    }

    /// A stream ended before its end.
    pub(super) fn lose(&mut self, key: u32, gone: Gone) {
        if let Some(slot) = self.store.get(key)
            && slot.gone.is_none()
        {
            slot.gone = Some(gone);
            slot.waits.wake();
            self.closed(key);
            self.pass_turn(key);
        }
    }
}
