//! Messages of HTTP/2 out of lines, `name: value`, with their pseudo-header fields, as our decoder
//! hands them over.

use crate::h2::{Block, hpack::Decoder};

/// What is decoded of a block that has these lines as literals; `None` where one is none.
pub(super) fn block(data: &[u8]) -> Option<Block> {
    let mut bytes = Vec::new();
    for line in data.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        let colon = 1 + line.get(1..)?.windows(2).position(|two| two == b": ")?;
        bytes.push(0);
        string(&mut bytes, &line[..colon]);
        string(&mut bytes, &line[colon + 2..]);
    }
    Some(decoded(&bytes))
}

/// What is in a block that was written.
pub(super) fn decoded(bytes: &[u8]) -> Block {
    let mut block = Block::new();
    block.reset(1 << 20);
    let decoded = Decoder::new(4_096).decode(bytes, &mut block);
    decoded.expect("literals, and entries of the static table");
    block
}

/// A string behind its length (RFC 7541 section 5).
fn string(bytes: &mut Vec<u8>, string: &[u8]) {
    match string.len().checked_sub(127) {
        None => bytes.push(string.len() as u8),
        Some(mut rest) => {
            bytes.push(127);
            while rest >= 128 {
                bytes.push(rest as u8 | 128);
                rest >>= 7;
            }
            bytes.push(rest as u8);
        }
    }
    bytes.extend_from_slice(string);
}
