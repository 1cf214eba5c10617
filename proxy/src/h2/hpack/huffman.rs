//! Huffman strings (RFC 7541 section 5.2 and appendix B).
//!
//! The code is canonical: lengths alone determine it, so the tables are computed from those by the
//! compiler. Eleven bits at a time are looked up, which decides every code up to that length and
//! often two of them; longer codes stand for bytes that are rare in fields, and are found by
//! comparison. We never write Huffman strings.

use super::Error;

/// Bits of each byte's code, then of the end of a string.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, //
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, //
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, //
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, //
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, //
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, //
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, //
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, //
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, //
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, //
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, //
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, //
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, //
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, //
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, //
    30,
];
const END: u16 = 256;
const SHORTEST: usize = 5;
const LONGEST: usize = 30;
/// Bits of a lookup.
const WIDTH: u32 = 11;

/// What the next bits of a string are.
#[derive(Clone, Copy)]
struct Found {
    /// One byte or two, the first one lowest; the second is zero where there is one.
    bytes: u16,
    /// Bits of those bytes; zero where the code is longer than the lookup.
    width: u8,
    /// Bits of their codes together.
    bits: u8,
}

/// The codes longer than a lookup, of one length.
#[derive(Clone, Copy)]
struct Long {
    bits: u8,
    /// The first of them, and what is behind the last, at the top of 32 bits.
    first: u32,
    behind: u32,
    /// Where the symbols of the length begin.
    symbols: u16,
}

/// Codes of all symbols, at the bottom of 32 bits.
const CODES: [u32; 257] = codes();
static TABLE: [Found; 1 << WIDTH] = table();
static LONG: [Long; LONGEST - WIDTH as usize] = long();
/// Symbols by their codes.
static SYMBOLS: [u16; 257] = symbols();

/// Appends a decoded string.
///
/// # Errors
/// [`Error::EndOfString`] and [`Error::Padding`]; `out` then has undecided bytes at its end.
#[inline(never)]
pub(super) fn decode(input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let start = out.len();
    // Words are written whole, whatever is in them.
    let most = input.len() * 8 / SHORTEST + WORD;
    out.resize(start + most, 0);
    let room = out.get_mut(start..).unwrap_or_default();
    let length = decode_to(input, room)?;
    out.truncate(start + length);
    Ok(())
}

/// Decodes into `room`, which holds the most that can come of it; returns the length.
fn decode_to(input: &[u8], room: &mut [u8]) -> Result<usize, Error> {
    let mut output = Output { room, length: 0 };
    // The next `have` bits are at the top of `bits`. Below may be some that follow, never others.
    let (mut bits, mut have) = (0_u64, 0_u32);
    let mut rest = input;
    while let Some(eight) = rest.first_chunk() {
        bits |= u64::from_be_bytes(*eight) >> have;
        let taken = (63 - have) / 8;
        rest = rest.get(taken as usize..).unwrap_or_default();
        // At least 56 of them: more than four lookups take, which fill a word at most.
        have += taken * 8;
        let (mut word, mut width) = (0, 0);
        let mut is_long = false;
        for _ in 0..4 {
            let found = look_up(bits);
            if found.width == 0 {
                is_long = true;
                break;
            }
            word |= u64::from(found.bytes) << width;
            width += u32::from(found.width);
            bits <<= found.bits;
            have -= u32::from(found.bits);
        }
        output.put(word, width);
        if is_long && have >= LONGEST as u32 {
            let (byte, length) = long_code(bits)?;
            output.put(u64::from(byte), 8);
            bits <<= length;
            have -= length;
        }
    }
    loop {
        while have <= 56
            && let Some((byte, behind)) = rest.split_first()
        {
            bits |= u64::from(*byte) << (56 - have);
            have += 8;
            rest = behind;
        }
        // Ones behind the end complete no code together with good padding.
        let padded = bits | u64::MAX.checked_shr(have).unwrap_or(0);
        if have < 8 && padded == u64::MAX {
            return Ok(output.length);
        }
        let mut found = look_up(padded);
        if found.width == 0 {
            let (byte, length) = match long_code(padded) {
                Err(_) if have < LONGEST as u32 => return Err(Error::Padding),
                decided => decided?,
            };
            found = Found {
                bytes: u16::from(byte),
                width: 8,
                bits: length as u8,
            };
        }
        let Some(left) = have.checked_sub(u32::from(found.bits)) else {
            return Err(Error::Padding);
        };
        output.put(u64::from(found.bytes), u32::from(found.width));
        bits <<= found.bits;
        have = left;
    }
}

/// Bytes that are written at once.
const WORD: usize = 8;

/// Where decoded bytes go.
struct Output<'a> {
    room: &'a mut [u8],
    length: usize,
}

impl Output<'_> {
    /// Appends the low `width` bits of a word, the lowest byte first.
    #[inline]
    fn put(&mut self, word: u64, width: u32) {
        let room = self.room.get_mut(self.length..);
        if let Some(whole) = room.and_then(<[u8]>::first_chunk_mut::<WORD>) {
            *whole = word.to_le_bytes();
        }
        self.length += width as usize / 8;
    }
}

#[inline]
#[expect(clippy::indexing_slicing, reason = "so many bits, so many entries")]
fn look_up(bits: u64) -> Found {
    TABLE[(bits >> (64 - WIDTH)) as usize]
}

/// The byte of a code that a lookup did not decide, and its length.
#[cold]
fn long_code(bits: u64) -> Result<(u8, u32), Error> {
    let bits = (bits >> 32) as u32;
    let found = LONG.iter().find(|long| bits < long.behind);
    let symbol = found.and_then(|long| {
        let nth = (bits - long.first) >> (32 - long.bits);
        SYMBOLS.get(usize::from(long.symbols) + nth as usize)
    });
    match (found, symbol) {
        (Some(long), Some(symbol)) if *symbol != END => Ok((*symbol as u8, u32::from(long.bits))),
        _ => Err(Error::EndOfString),
    }
}

/// How many codes have a length.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn count(length: usize) -> usize {
    let (mut count, mut symbol) = (0, 0);
    while symbol < LENGTHS.len() {
        count += (LENGTHS[symbol] as usize == length) as usize;
        symbol += 1;
    }
    count
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn symbols() -> [u16; 257] {
    let mut symbols = [0; 257];
    let (mut at, mut length) = (0, SHORTEST);
    while length <= LONGEST {
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                symbols[at] = symbol as u16;
                at += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    symbols
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn codes() -> [u32; 257] {
    let symbols = symbols();
    let mut codes = [0; 257];
    let (mut code, mut at) = (0, 0);
    while at < symbols.len() {
        let symbol = symbols[at] as usize;
        codes[symbol] = code;
        at += 1;
        if at < symbols.len() {
            code = (code + 1) << (LENGTHS[symbols[at] as usize] - LENGTHS[symbol]);
        }
    }
    codes
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn table() -> [Found; 1 << WIDTH] {
    let none = Found {
        bytes: 0,
        width: 0,
        bits: 0,
    };
    let mut table = [none; 1 << WIDTH];
    let mut one = 0;
    while one < 256 {
        let bits = LENGTHS[one] as u32;
        if bits <= WIDTH {
            let left = WIDTH - bits;
            let found = Found {
                bytes: one as u16,
                width: 8,
                bits: bits as u8,
            };
            fill(&mut table, CODES[one] << left, left, found);
            let mut two = 0;
            while two < 256 {
                let more = LENGTHS[two] as u32;
                if more <= left {
                    let found = Found {
                        bytes: (one | two << 8) as u16,
                        width: 16,
                        bits: (bits + more) as u8,
                    };
                    let code = CODES[one] << left | CODES[two] << (left - more);
                    fill(&mut table, code, left - more, found);
                }
                two += 1;
            }
        }
        one += 1;
    }
    table
}

/// Sets the entries that begin with a code, `free` being the bits behind it.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn fill(table: &mut [Found; 1 << WIDTH], code: u32, free: u32, found: Found) {
    let mut low = 0;
    while low < 1_u32 << free {
        table[(code | low) as usize] = found;
        low += 1;
    }
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn long() -> [Long; LONGEST - WIDTH as usize] {
    let empty = Long {
        bits: 0,
        first: 0,
        behind: 0,
        symbols: 0,
    };
    let mut all = [empty; LONGEST - WIDTH as usize];
    let symbols = symbols();
    let mut before = 0;
    let mut length = 1;
    while length <= LONGEST {
        let count = count(length);
        if length > WIDTH as usize {
            // No code of this length: no bits are below its end.
            let (mut first, mut behind) = (0, 0);
            if count > 0 {
                let shift = 32 - length as u32;
                first = CODES[symbols[before] as usize] << shift;
                // The last code of all would end at 2^32; its last bits are part of no other.
                behind = first.saturating_add((count as u32) << shift);
            }
            all[length - WIDTH as usize - 1] = Long {
                bits: length as u8,
                first,
                behind,
                symbols: before as u16,
            };
        }
        before += count;
        length += 1;
    }
    all
}

/// A string as a peer would write it.
#[cfg(test)]
pub(super) fn encode(string: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut bits, mut have) = (0_u64, 0);
    for byte in string {
        let at = usize::from(*byte);
        let (code, length) = CODES.get(at).zip(LENGTHS.get(at)).unwrap_or((&0, &0));
        bits = bits << length | u64::from(*code);
        have += u32::from(*length);
        while have >= 8 {
            have -= 8;
            out.push((bits >> have) as u8);
        }
    }
    if have > 0 {
        out.push((bits << (8 - have)) as u8 | 0xff >> have);
    }
    out
}
