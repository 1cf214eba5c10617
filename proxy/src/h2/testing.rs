//! Header blocks for tests: lists that are encoded as they are, and read back.

use super::hpack::{Block, Decoder};

/// Fields as they stand in a block, names with their colon where they have one.
pub(crate) type List<'a> = [(&'a [u8], &'a [u8])];

/// What our decoder makes of a list whose fields came as literals without indexing
/// (RFC 7541 section 6.2.2), names in the case they are given in.
pub(crate) fn block(list: &List<'_>) -> Block {
    let mut bytes = Vec::new();
    for (name, value) in list {
        bytes.push(0);
        for text in [name, value] {
            push_length(&mut bytes, text.len());
            bytes.extend_from_slice(text);
        }
    }
    decoded(&bytes)
}

/// What is in a block that was written.
pub(crate) fn decoded(bytes: &[u8]) -> Block {
    let mut block = Block::new();
    block.reset(1 << 20);
    let mut decoder = Decoder::new(4_096);
    decoder.decode(bytes, &mut block).expect("a whole block");
    block
}

/// The same as text, one field a line, a character for each byte.
pub(crate) fn lines(bytes: &[u8]) -> Vec<String> {
    let text = |bytes: &[u8]| bytes.iter().map(|b| char::from(*b)).collect::<String>();
    let block = decoded(bytes);
    let line =
        |field: super::hpack::Field<'_>| format!("{}: {}", text(field.name), text(field.value));
    block.iter().map(line).collect()
}

/// An integer with a prefix of seven bits (RFC 7541 section 5.1).
fn push_length(block: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else {
        return block.push(length as u8);
    };
    block.push(127);
    while rest >= 128 {
        block.push(rest as u8 | 128);
        rest >>= 7;
    }
    block.push(rest as u8);
}
