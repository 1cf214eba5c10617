//! Reads header blocks (RFC 7541 sections 5 and 6) and keeps the dynamic table in step with the
//! peer's encoder. Literals are decoded at the end of the block's text and stay there, so that
//! none is copied twice and a list over its limit needs no second way.

use super::{Block, Error, huffman, statics, table::Table};

/// What a peer's encoder starts with (RFC 9113 section 6.5.2, `SETTINGS_HEADER_TABLE_SIZE`).
const DEFAULT_TABLE: usize = 4_096;
/// No integer that we read is much larger, and positions in a table are 32 bits wide.
const LARGEST_TABLE: usize = 1 << 28;

/// Decodes the blocks of one direction of a connection, in their order.
pub(crate) struct Decoder {
    table: Table,
    /// No size update may go above it.
    bound: usize,
}

impl Decoder {
    /// `max_table` is what our SETTINGS announce, at most 256 MiB. Less than the default of 4,096
    /// holds from the first block on, which a peer does not know before it has our SETTINGS.
    pub(crate) fn new(max_table: usize) -> Self {
        let bound = max_table.min(LARGEST_TABLE);
        Self {
            table: Table::new(bound.min(DEFAULT_TABLE)),
            bound,
        }
    }

    /// Appends the fields of a whole header block to `out`. Where they do not fit, the rest is
    /// decoded all the same.
    ///
    /// # Errors
    /// Every [`Error`]; the decoder is of no use after one.
    pub(crate) fn decode(&mut self, block: &[u8], out: &mut Block) -> Result<(), Error> {
        let mut input = Input(block);
        self.size_updates(&mut input)?;
        while let Some(first) = input.next() {
            match first {
                0x80.. => {
                    let index = input.integer(first, 0x7f)?;
                    self.indexed(index, out)?;
                }
                0x40.. => {
                    let index = input.integer(first, 0x3f)?;
                    let (start, name, known) = self.literal(index, &mut input, out)?;
                    let text = out.text.get(start..).unwrap_or_default();
                    self.table.insert(text, name, known);
                    out.commit(start, name, known, false);
                }
                0x20.. => return Err(Error::LateSizeUpdate),
                _ => {
                    let index = input.integer(first, 0x0f)?;
                    let (start, name, known) = self.literal(index, &mut input, out)?;
                    out.commit(start, name, known, first & 0x10 != 0);
                }
            }
        }
        Ok(())
    }

    /// Two at most: the smallest of several sizes between two blocks, and the last (section 4.2).
    fn size_updates(&mut self, input: &mut Input<'_>) -> Result<(), Error> {
        let mut seen = 0;
        while let Some(first @ 0x20..=0x3f) = input.0.first().copied() {
            input.next();
            seen += 1;
            if seen > 2 {
                return Err(Error::ManySizeUpdates);
            }
            let size = input.integer(first, 0x1f)?;
            if size > self.bound {
                return Err(Error::LargeSizeUpdate);
            }
            self.table.resize(size);
        }
        Ok(())
    }

    fn indexed(&self, index: usize, out: &mut Block) -> Result<(), Error> {
        let (text, name, known) = self.entry(index)?;
        out.push(text, name, known);
        Ok(())
    }

    /// Decodes name and value to the end of the text: where they start, the length of the name,
    /// and which one it is. An index of zero stands for a name of its own.
    fn literal(
        &self,
        index: usize,
        input: &mut Input<'_>,
        out: &mut Block,
    ) -> Result<(usize, usize, u8), Error> {
        let start = out.text.len();
        let known = if index == 0 {
            input.string(&mut out.text)?;
            statics::find(out.text.get(start..).unwrap_or_default())
        } else {
            let (text, name, known) = self.entry(index)?;
            out.text
                .extend_from_slice(text.get(..name).unwrap_or_default());
            known
        };
        let name = out.text.len() - start;
        input.string(&mut out.text)?;
        Ok((start, name, known))
    }

    /// An entry of either table: its text, the length of its name, and which name it is.
    #[inline]
    fn entry(&self, index: usize) -> Result<(&[u8], usize, u8), Error> {
        match index.checked_sub(statics::COUNT + 1) {
            Some(at) => self.table.get(at),
            None => statics::get(index),
        }
        .ok_or(Error::NoSuchEntry)
    }
}

/// The rest of a block.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    #[inline]
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// An integer whose prefix is the bits of `mask` in `first` (section 5.1).
    #[inline]
    fn integer(&mut self, first: u8, mask: u8) -> Result<usize, Error> {
        let prefix = first & mask;
        if prefix < mask {
            return Ok(usize::from(prefix));
        }
        self.long_integer(prefix)
    }

    /// Five bytes at most, which is 2^28 and more: nothing in a block is larger.
    fn long_integer(&mut self, prefix: u8) -> Result<usize, Error> {
        let mut value = usize::from(prefix);
        for shift in [0, 7, 14, 21] {
            let byte = self.next().ok_or(Error::Truncated)?;
            value += usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Error::LongInteger)
    }

    /// Appends a string (section 5.2).
    #[inline]
    fn string(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let first = self.next().ok_or(Error::Truncated)?;
        let length = self.integer(first, 0x7f)?;
        let (string, rest) = self.0.split_at_checked(length).ok_or(Error::Truncated)?;
        self.0 = rest;
        if first < 0x80 {
            out.extend_from_slice(string);
            return Ok(());
        }
        huffman::decode(string, out)
    }
}
