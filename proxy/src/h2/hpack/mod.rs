//! HPACK (RFC 7541): header lists of HTTP/2 from and to the bytes of a header block.
//!
//! A [`Decoder`] belongs to one connection and reads whole blocks, joined over CONTINUATION, into
//! a [`Block`] that is used again. An [`Encoder`] writes none of its fields into the peer's table,
//! so that [`field`] needs no state at all. What a header list may hold is not judged here: names
//! in upper case, pseudo-fields in the wrong place and empty blocks pass.

#![deny(clippy::indexing_slicing)]

mod decode;
mod encode;
mod huffman;
mod statics;
mod table;

#[cfg(test)]
mod tests;

use std::fmt;

pub(crate) use self::{
    decode::Decoder,
    encode::{Encoder, field, known_field, status, unknown_field},
};

/// What a field takes beside its name and value, in tables (RFC 7541 section 4.1) and in the
/// measure of header lists (RFC 9113 section 6.5.2).
const OVERHEAD: usize = 32;
/// Memory that a block keeps for the next one: bytes of text, and fields.
const KEPT_TEXT: usize = 16 << 10;
const KEPT_FIELDS: usize = 256;

/// A decoded header list: its text, and where in it the fields are.
pub(crate) struct Block {
    /// Names and values, each value directly behind its name.
    text: Vec<u8>,
    fields: Vec<Span>,
    size: usize,
    limit: usize,
}

/// Where a field is in the text of a block.
#[derive(Clone, Copy)]
struct Span {
    start: u32,
    name: u32,
    value: u32,
    known: u8,
    sensitive: bool,
}

/// A field of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) value: &'a [u8],
    /// The first entry of the static table with exactly this name, 1 to 61, however the name came
    /// over the wire; otherwise 0.
    pub(crate) known: u8,
    /// Never to be put into a table, here or by the next hop (RFC 7541 section 7.1.3).
    pub(crate) sensitive: bool,
}

impl Block {
    /// An empty block with no room: [`Block::reset`] says how much it may hold.
    pub(crate) const fn new() -> Self {
        Self {
            text: Vec::new(),
            fields: Vec::new(),
            size: 0,
            limit: 0,
        }
    }

    /// Empties the block for a list of at most `limit` in the measure of RFC 9113 section 6.5.2.
    /// Memory is kept unless a large list made it grow.
    pub(crate) fn reset(&mut self, limit: usize) {
        self.text.clear();
        self.fields.clear();
        self.size = 0;
        // Positions are 32 bits wide.
        self.limit = limit.min(u32::MAX as usize);
        if self.text.capacity() > KEPT_TEXT {
            self.text.shrink_to(KEPT_TEXT);
        }
        if self.fields.capacity() > KEPT_FIELDS {
            self.fields.shrink_to(KEPT_FIELDS);
        }
    }

    /// Whether it takes no more memory than heads usually do.
    pub(crate) const fn is_usual(&self) -> bool {
        self.text.capacity() <= KEPT_TEXT / 8 && self.fields.capacity() <= KEPT_FIELDS / 4
    }

    /// The list was larger than the limit: its last fields are missing.
    pub(crate) const fn is_over(&self) -> bool {
        self.size > self.limit
    }

    /// Size of the whole list (RFC 9113 section 6.5.2), fields that are missing included.
    pub(crate) const fn size(&self) -> usize {
        self.size
    }

    pub(crate) const fn len(&self) -> usize {
        self.fields.len()
    }

    pub(crate) fn get(&self, at: usize) -> Option<Field<'_>> {
        self.fields.get(at).map(|span| span.of(&self.text))
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = Field<'_>> + Clone {
        self.fields.iter().map(|span| span.of(&self.text))
    }

    /// Appends a field of a table: a value behind a name of `name` bytes.
    fn push(&mut self, text: &[u8], name: usize, known: u8) {
        let start = self.text.len();
        if self.fits(text.len()) {
            self.text.extend_from_slice(text);
            self.keep(start, name, known, false);
        }
    }

    /// Makes a field of the text behind `start`, or drops that text for want of room.
    fn commit(&mut self, start: usize, name: usize, known: u8, sensitive: bool) {
        if self.fits(self.text.len() - start) {
            self.keep(start, name, known, sensitive);
        } else {
            self.text.truncate(start);
        }
    }

    /// Counts a field. Once one does not fit none does, as the size never falls.
    const fn fits(&mut self, text: usize) -> bool {
        self.size = self.size.saturating_add(text + OVERHEAD);
        !self.is_over()
    }

    fn keep(&mut self, start: usize, name: usize, known: u8, sensitive: bool) {
        self.fields.push(Span {
            start: start as u32,
            name: name as u32,
            value: (self.text.len() - start - name) as u32,
            known,
            sensitive,
        });
    }
}

impl Span {
    fn of(self, text: &[u8]) -> Field<'_> {
        let start = self.start as usize;
        let middle = start + self.name as usize;
        let end = middle + self.value as usize;
        Field {
            name: text.get(start..middle).unwrap_or_default(),
            value: text.get(middle..end).unwrap_or_default(),
            known: self.known,
            sensitive: self.sensitive,
        }
    }
}

/// Why a block could not be decoded: a connection error of type `COMPRESSION_ERROR`, as the table
/// is out of step from there on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// The block ends within a field.
    Truncated,
    /// An integer of more than five bytes, which is above 2^28 or written oddly.
    LongInteger,
    /// An index of zero, or behind both tables.
    NoSuchEntry,
    /// The Huffman code of the end of a string, in a string.
    EndOfString,
    /// A Huffman string does not end with less than eight bits of one.
    Padding,
    /// A size update behind a field.
    LateSizeUpdate,
    /// A size update above what was announced.
    LargeSizeUpdate,
    /// More than two size updates in front of a block.
    ManySizeUpdates,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "header block ends within a field",
            Self::LongInteger => "integer in a header block is too long",
            Self::NoSuchEntry => "index in a header block is in no table",
            Self::EndOfString => "Huffman string holds its end",
            Self::Padding => "Huffman string is padded wrongly",
            Self::LateSizeUpdate => "table size update behind a field",
            Self::LargeSizeUpdate => "table size update above the announced size",
            Self::ManySizeUpdates => "more than two table size updates",
        })
    }
}

impl std::error::Error for Error {}
