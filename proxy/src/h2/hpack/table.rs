//! The dynamic table of a decoder (RFC 7541 sections 2.3.2 and 4).
//!
//! The text of all entries is one run of bytes in the order of their arrival: new ones go behind
//! it, the oldest leave in front. When the room behind is used up, what is left moves to the
//! front. So each entry is one piece, name and value together, and none has an allocation. Memory
//! grows with what a peer stores, to twice the size of the table.

use std::collections::VecDeque;

use super::OVERHEAD;

pub(super) struct Table {
    /// What left the table, then the live entries.
    text: Vec<u8>,
    /// Newest first, as indexes count.
    entries: VecDeque<Entry>,
    /// The position of the first byte of `text`. Positions never move, and wrap around.
    base: u32,
    size: usize,
    max: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    /// Position of the name; the value is behind it.
    start: u32,
    name: u32,
    value: u32,
    known: u8,
}

impl Entry {
    const fn text(&self) -> usize {
        self.name as usize + self.value as usize
    }
}

impl Table {
    /// A table of at most `max` (section 4.1), itself at most 256 MiB.
    pub(super) const fn new(max: usize) -> Self {
        Self {
            text: Vec::new(),
            entries: VecDeque::new(),
            base: 0,
            size: 0,
            max,
        }
    }

    /// An entry, zero being the newest: its text, the length of its name, and which name it is.
    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<(&[u8], usize, u8)> {
        let entry = self.entries.get(at)?;
        let start = self.place(*entry);
        let text = self.text.get(start..start + entry.text())?;
        Some((text, entry.name as usize, entry.known))
    }

    /// Adds a field, `text` being a value behind a name of `name` bytes. One that is larger than
    /// the table empties it, and is no error (section 4.4).
    pub(super) fn insert(&mut self, text: &[u8], name: usize, known: u8) {
        let size = text.len() + OVERHEAD;
        if size > self.max {
            self.clear();
            return;
        }
        self.shrink(self.max - size);
        if self.text.capacity() - self.text.len() < text.len() {
            self.make_room(text.len());
        }
        self.entries.push_front(Entry {
            start: self.base.wrapping_add(self.text.len() as u32),
            name: name as u32,
            value: (text.len() - name) as u32,
            known,
        });
        self.text.extend_from_slice(text);
        self.size += size;
    }

    /// Sets the size that entries may take. A peer that wants no table gets its memory freed.
    pub(super) fn resize(&mut self, max: usize) {
        if max == 0 {
            *self = Self::new(0);
        }
        self.max = max;
        self.shrink(max);
    }

    /// Lets the oldest entries go until the rest takes at most `size`.
    fn shrink(&mut self, size: usize) {
        while self.size > size {
            let Some(oldest) = self.entries.pop_back() else {
                return;
            };
            self.size -= oldest.text() + OVERHEAD;
        }
        if self.entries.is_empty() {
            self.text.clear();
        }
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.text.clear();
        self.size = 0;
    }

    /// Moves the live text to the front. It happens once for as many bytes as are moved, because
    /// there is room for twice what is live.
    fn make_room(&mut self, more: usize) {
        let dead = self
            .entries
            .back()
            .map_or(self.text.len(), |oldest| self.place(*oldest));
        self.text.drain(..dead);
        self.base = self.base.wrapping_add(dead as u32);
        let wanted = 2 * (self.text.len() + more);
        if self.text.capacity() < wanted {
            self.text.reserve_exact(wanted - self.text.len());
        }
    }

    /// Where an entry is in `text`.
    #[inline]
    const fn place(&self, entry: Entry) -> usize {
        entry.start.wrapping_sub(self.base) as usize
    }

    /// Bytes of memory in use for text.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.text.capacity()
    }
}
