//! Flow control (RFC 9113 section 5.2): what a peer may send, what it is told of, and what we may.

use super::{
    super::frame::{self, Code, MAX_31},
    Core,
};

/// What a peer may send on a connection.
#[derive(Debug)]
pub(super) struct Window {
    /// What it may send now.
    left: i64,
    /// What it may have under way or untaken at most.
    size: u32,
    /// What was released, and it was not told of.
    owed: u32,
}

impl Window {
    pub(super) fn new(size: u32) -> Self {
        Self {
            left: i64::from(size),
            size,
            owed: 0,
        }
    }

    /// Takes note of what came. `false`: it was too much.
    pub(super) fn came(&mut self, n: u32) -> bool {
        self.left -= i64::from(n);
        self.left >= 0
    }

    /// What nothing that came holds.
    #[cfg(test)]
    pub(super) fn free(&self) -> i64 {
        self.left + i64::from(self.owed)
    }

    /// Releases so much. Returns what the peer is to be told, once it is worth a frame.
    fn release(&mut self, n: u32) -> Option<u32> {
        self.owed = self.owed.saturating_add(n);
        if self.owed < (self.size / 2).max(1) {
            return None;
        }
        self.left += i64::from(self.owed);
        Some(std::mem::take(&mut self.owed))
    }

    /// Makes it larger; it never shrinks.
    fn grow(&mut self, size: u32) -> Option<u32> {
        let more = size.checked_sub(self.size).filter(|more| *more > 0)?;
        self.size = size;
        self.release(more)
    }
}

impl Core {
    pub(super) fn set_connection_window(&mut self, size: u32) {
        if let Some(by) = self.recv.grow(size.min(MAX_31)) {
            frame::window_update(self.out.text(), 0, by);
            self.speak();
        }
    }

    /// Lets each stream have a larger window, once the peer knows of it.
    pub(super) fn set_stream_window(&mut self, size: u32) {
        let size = size.min(MAX_31);
        // One change at a time: what comes meanwhile is measured again.
        if self.unacknowledged.is_empty() && size != self.window {
            let window = frame::setting::INITIAL_WINDOW_SIZE;
            frame::settings(self.out.text(), &[(window, size)]);
            self.unacknowledged.push_back(size);
            self.speak();
        }
    }

    /// The peer has taken note of our settings: its windows are what they say.
    pub(super) fn acknowledged(&mut self) {
        let Some(size) = self.unacknowledged.pop_front() else {
            return self.blame(
                Code::PROTOCOL_ERROR,
                "SETTINGS acknowledged that were not sent",
            );
        };
        let more = i64::from(size) - i64::from(self.window);
        self.window = size;
        for slot in self.store.iter_mut() {
            slot.recv_window += more;
        }
    }

    /// What came on a stream is done with.
    pub(super) fn release(&mut self, key: u32, n: u32) {
        let half = (self.window / 2).max(1);
        let mut update = None;
        if let Some(slot) = self.store.get(key) {
            slot.held = slot.held.saturating_sub(n);
            if !slot.recv_closed && slot.gone.is_none() {
                slot.owed += n;
                if slot.owed >= half {
                    slot.recv_window += i64::from(slot.owed);
                    update = Some((slot.id, std::mem::take(&mut slot.owed)));
                }
            }
        }
        if let Some((id, by)) = update {
            frame::window_update(self.out.text(), id, by);
            self.updated();
            self.speak();
        }
        self.release_connection(n);
    }

    pub(super) fn release_connection(&mut self, n: u32) {
        if let Some(by) = self.recv.release(n)
            && self.ended.is_none()
        {
            frame::window_update(self.out.text(), 0, by);
            self.speak();
        }
    }

    /// The peer lets us send more.
    pub(super) fn window_update(&mut self, stream: u32, payload: &[u8]) {
        let Some(by) = frame::number(payload).map(|by| by & MAX_31) else {
            return self.blame(Code::FRAME_SIZE_ERROR, "HTTP/2 frame of a wrong size");
        };
        if stream == 0 {
            self.send_window += i64::from(by);
            if by == 0 {
                return self.blame(Code::PROTOCOL_ERROR, "WINDOW_UPDATE by nothing");
            }
            if self.send_window > i64::from(MAX_31) {
                return self.blame(Code::FLOW_CONTROL_ERROR, "broken flow control of HTTP/2");
            }
            return self.next_in_line();
        }
        let Some(key) = self.store.find(stream) else {
            return self.check_idle(stream);
        };
        let Some(slot) = self.store.get(key).filter(|slot| slot.gone.is_none()) else {
            return;
        };
        slot.send_window += i64::from(by);
        if by == 0 {
            return self.reset_for(key, Code::PROTOCOL_ERROR);
        }
        if slot.send_window > i64::from(MAX_31) {
            return self.reset_for(key, Code::FLOW_CONTROL_ERROR);
        }
        if slot.send_window > 0 && !slot.queued {
            slot.waits.wake_send();
        }
    }

    /// The window that the peer gives each stream has changed (RFC 9113 section 6.9.2).
    pub(super) fn set_their_window(&mut self, size: u32) {
        let more = i64::from(size) - i64::from(self.theirs.window);
        self.theirs.window = size;
        let mut overflow = false;
        for slot in self.store.iter_mut() {
            slot.send_window += more;
            overflow |= slot.send_window > i64::from(MAX_31);
            if more > 0 && slot.send_window > 0 && !slot.queued {
                slot.waits.wake_send();
            }
        }
        if overflow {
            self.blame(Code::FLOW_CONTROL_ERROR, "broken flow control of HTTP/2");
        }
    }
}
