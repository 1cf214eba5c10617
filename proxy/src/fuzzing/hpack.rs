//! Header blocks of HTTP/2: how much is kept changes nothing else, and what was read is written
//! so that it is read again.

use super::show;
use crate::h2::hpack::{
    Block, Decoder, Encoder, Error, Field, field, known_field, status, unknown_field,
};

const TABLE: usize = 4_096;
const OVERHEAD: usize = 32;
/// More than blocks of an input's length can make.
const ALL: usize = 64 << 20;

/// The blocks of a connection. The first byte chooses the limit of a list; each block is behind a
/// byte that says how long it is.
pub fn hpack(data: &[u8]) {
    let [limit, blocks @ ..] = data else {
        return;
    };
    let limit = usize::from(*limit) * 4;
    let (mut decoder, mut unlimited) = (Decoder::new(TABLE), Decoder::new(TABLE));
    let mut peer = Peer {
        encoder: Encoder::new(),
        decoder: Decoder::new(TABLE),
    };
    let (mut some, mut all) = (Block::new(), Block::new());
    let mut rest = blocks;
    while let [length, behind @ ..] = rest {
        let block = &behind[..behind.len().min(usize::from(*length))];
        rest = &behind[block.len()..];
        some.reset(limit);
        all.reset(ALL);
        let outcome = unlimited.decode(block, &mut all);
        assert_eq!(decoder.decode(block, &mut some), outcome, "{}", show(block));
        if outcome.is_err() {
            return;
        }
        assert!(!all.is_over());
        check_limit(&some, &all, limit);
        peer.check(&all);
    }
}

/// A list over its limit is the front of the whole one.
fn check_limit(some: &Block, all: &Block, limit: usize) {
    assert_eq!(some.size(), all.size());
    assert_eq!(some.is_over(), all.size() > limit);
    assert!(some.iter().eq(all.iter().take(some.len())));
    assert!(size(some) <= limit);
    assert_eq!(size(all), all.size());
    assert_eq!(some.len() == all.len(), !some.is_over());
}

fn size(block: &Block) -> usize {
    let of = |field: Field<'_>| field.name.len() + field.value.len() + OVERHEAD;
    block.iter().map(of).sum()
}

/// Who reads what we write.
struct Peer {
    encoder: Encoder,
    decoder: Decoder,
}

impl Peer {
    fn check(&mut self, block: &Block) {
        let mut out = Vec::new();
        self.encoder.begin(&mut out);
        for one in block.iter() {
            let start = out.len();
            field(&mut out, one.name, one.value, one.sensitive);
            check_ways(&one, &out[start..]);
        }
        let mut again = Block::new();
        again.reset(ALL);
        assert_eq!(
            self.decoder.decode(&out, &mut again),
            Ok::<(), Error>(()),
            "{}",
            show(&out)
        );
        assert_eq!(again.len(), block.len());
        for (read, meant) in again.iter().zip(block.iter()) {
            assert_eq!(read.name, meant.name.to_ascii_lowercase());
            assert_eq!(read.value, meant.value);
            assert_eq!(read.sensitive, meant.sensitive);
            if read.name == meant.name {
                assert_eq!(read.known, meant.known);
            }
        }
    }
}

/// The shorter ways to write a field write the same.
fn check_ways(one: &Field<'_>, written: &[u8]) {
    let mut out = Vec::new();
    if one.known != 0 {
        known_field(&mut out, one.known, one.value, one.sensitive);
        assert_eq!(out, written);
    } else if !one.name.iter().any(u8::is_ascii_uppercase) {
        unknown_field(&mut out, one.name, one.value, one.sensitive);
        assert_eq!(out, written);
    }
    let digits = std::str::from_utf8(one.value).ok();
    let code = digits.and_then(|digits| digits.parse::<u16>().ok());
    if let Some(code) = code.filter(|code| code.to_string().as_bytes() == one.value)
        && one.name == b":status"
        && !one.sensitive
    {
        out.clear();
        status(&mut out, code);
        assert_eq!(out, written);
    }
}
