//! Tests of the codec: the examples of the RFC, another codec's opinion, and hostile blocks.

mod hostile;
mod oracle;
mod rfc;
mod writing;

use super::{Block, Decoder, Error};

/// The default of HTTP/2.
const TABLE: usize = 4_096;
const LIMIT: usize = 64 << 10;

type List = Vec<(Vec<u8>, Vec<u8>)>;

/// Decodes one block of a connection.
fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<List, Error> {
    let mut out = Block::new();
    out.reset(LIMIT);
    decoder.decode(block, &mut out)?;
    Ok(list(&out))
}

/// Decodes the first block of a connection.
fn first(block: &[u8]) -> Result<List, Error> {
    decode(&mut Decoder::new(TABLE), block)
}

fn list(block: &Block) -> List {
    let own = |bytes: &[u8]| bytes.to_vec();
    block.iter().map(|f| (own(f.name), own(f.value))).collect()
}

fn fields(fields: &[(&str, &str)]) -> List {
    let own = |text: &str| text.as_bytes().to_vec();
    fields.iter().map(|(n, v)| (own(n), own(v))).collect()
}
