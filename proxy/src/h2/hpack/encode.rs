//! Writes header blocks with the static table alone: nothing is put into the peer's dynamic table
//! and no string is Huffman-coded. Both would save bytes and cost each side more work than the
//! bytes do; between sidecars a literal is a copy.

use super::statics;

/// What a peer's decoder starts with (RFC 9113 section 6.5.2).
const DEFAULT_TABLE: u32 = 4_096;

const INDEXED: u8 = 0x80;
const SIZE_UPDATE_TO_ZERO: u8 = 0x20;
const NEVER_INDEXED: u8 = 0x10;
const NOT_INDEXED: u8 = 0x00;

/// The bits of the first byte of a literal that hold the index of its name.
const INDEX_PREFIX: u8 = 0x0f;
/// Lengths below are one byte.
const SHORT: usize = 0x7f;

const METHOD: u8 = 2;
const PATH: u8 = 4;
const SCHEME: u8 = 6;
const STATUS: u8 = 8;
const ACCEPT_ENCODING: u8 = 16;

/// What has to stand in front of the next block: the state of one direction of a connection.
pub(crate) struct Encoder {
    /// A size update is due.
    due: bool,
    /// What the peer allows.
    peer: u32,
}

impl Encoder {
    pub(crate) const fn new() -> Self {
        Self {
            due: true,
            peer: DEFAULT_TABLE,
        }
    }

    /// Begins a block, before its fields. The first one tells the peer that its table stays empty.
    pub(crate) fn begin(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.due) {
            out.push(SIZE_UPDATE_TO_ZERO);
        }
    }

    /// `SETTINGS_HEADER_TABLE_SIZE` of the peer, from our acknowledgement on. When it becomes less
    /// the next block has to begin with a size update (RFC 9113 section 4.3.1), though our table
    /// was at zero before.
    pub(crate) const fn peer_table_size(&mut self, size: u32) {
        if size < self.peer {
            self.due = true;
        }
        self.peer = size;
    }
}

/// Appends a field. Its name may be of any case and is written in lower case.
pub(crate) fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8], sensitive: bool) {
    let known = statics::find_any_case(name);
    if known != 0 {
        known_field(out, known, value, sensitive);
        return;
    }
    let start = begin_name(out, name, sensitive);
    out.get_mut(start..)
        .unwrap_or_default()
        .make_ascii_lowercase();
    string(out, value);
}

/// Appends a field whose name is in the static table: `known` is the first entry with it, 1 to 61,
/// as [`super::Field::known`] has it. Saves looking for the name.
#[inline]
pub(crate) fn known_field(out: &mut Vec<u8>, known: u8, value: &[u8], sensitive: bool) {
    let exact = exact(known, value);
    if exact != 0 && !sensitive {
        out.push(INDEXED | exact);
        return;
    }
    let first = literal(sensitive);
    match known.checked_sub(INDEX_PREFIX) {
        None => out.push(first | known),
        Some(rest) => out.extend_from_slice(&[first | INDEX_PREFIX, rest]),
    }
    string(out, value);
}

/// Appends a field whose name is in lower case and not in the static table, as one that was decoded
/// with [`super::Field::known`] at zero. Saves looking for it; another name is right too, but longer.
#[inline]
pub(crate) fn unknown_field(out: &mut Vec<u8>, name: &[u8], value: &[u8], sensitive: bool) {
    begin_name(out, name, sensitive);
    string(out, value);
}

/// Appends the beginning of a literal with a name of its own; returns where the name is.
#[inline]
fn begin_name(out: &mut Vec<u8>, name: &[u8], sensitive: bool) -> usize {
    let first = literal(sensitive);
    if name.len() < SHORT {
        out.extend_from_slice(&[first, name.len() as u8]);
    } else {
        out.push(first);
        long_length(out, name.len());
    }
    let start = out.len();
    out.extend_from_slice(name);
    start
}

/// Appends `:status`.
pub(crate) fn status(out: &mut Vec<u8>, status: u16) {
    let mut digits = itoa::Buffer::new();
    known_field(out, STATUS, digits.format(status).as_bytes(), false);
}

/// The entry of the static table with this name and value, or zero.
fn exact(known: u8, value: &[u8]) -> u8 {
    match (known, value) {
        (METHOD, b"GET") => 2,
        (METHOD, b"POST") => 3,
        (PATH, b"/") => 4,
        (PATH, b"/index.html") => 5,
        (SCHEME, b"http") => 6,
        (SCHEME, b"https") => 7,
        (STATUS, b"200") => 8,
        (STATUS, b"204") => 9,
        (STATUS, b"206") => 10,
        (STATUS, b"304") => 11,
        (STATUS, b"400") => 12,
        (STATUS, b"404") => 13,
        (STATUS, b"500") => 14,
        (ACCEPT_ENCODING, b"gzip, deflate") => 16,
        _ => 0,
    }
}

const fn literal(sensitive: bool) -> u8 {
    if sensitive {
        NEVER_INDEXED
    } else {
        NOT_INDEXED
    }
}

/// Appends a string as it is, behind its length (RFC 7541 sections 5.1 and 5.2).
#[inline]
fn string(out: &mut Vec<u8>, string: &[u8]) {
    if string.len() < SHORT {
        out.push(string.len() as u8);
    } else {
        long_length(out, string.len());
    }
    out.extend_from_slice(string);
}

fn long_length(out: &mut Vec<u8>, length: usize) {
    out.push(SHORT as u8);
    let mut rest = length - SHORT;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
