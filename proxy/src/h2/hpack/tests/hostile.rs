//! Blocks that break the rules, are cut off, or want memory.

use super::{
    super::{Block, Decoder, Error, KEPT_TEXT, field, huffman, table::Table},
    LIMIT, TABLE, decode, fields, first, list,
};

#[test]
fn broken_rules_are_errors() {
    let cases: &[(&[u8], Error)] = &[
        // Section 6.1: the index of zero; and one behind both tables.
        (b"\x80", Error::NoSuchEntry),
        (b"\xbe", Error::NoSuchEntry),
        (b"\xff\x80\x80\x80\x00", Error::NoSuchEntry),
        (b"\xff\xff\xff\xff\x7f", Error::NoSuchEntry),
        (b"\x7e\x01v", Error::NoSuchEntry),
        (b"\x0f\x2f\x01v", Error::NoSuchEntry),
        (b"\x1f\x2f\x01v", Error::NoSuchEntry),
        // Section 5.1: more bytes than any value needs.
        (b"\xff\x80\x80\x80\x80\x00", Error::LongInteger),
        (b"\xff\xff\xff\xff\xff\x7f", Error::LongInteger),
        (b"\x3f\xff\xff\xff\xff\x01", Error::LongInteger),
        (b"\x00\x01n\x7f\xff\xff\xff\xff\x0f", Error::LongInteger),
        // Section 5.2: strings that are longer than the block.
        (b"\x00\x02n", Error::Truncated),
        (b"\x00\x01n\x7f\xff\xff\xff\x7fv", Error::Truncated),
        (b"\x00\x81", Error::Truncated),
        // Padding that is none: eight ones, zeros, and a code cut off.
        (b"\x00\x01n\x81\xff", Error::Padding),
        (b"\x00\x01n\x82\x07\xff", Error::Padding),
        (b"\x00\x01n\x81\x00", Error::Padding),
        (b"\x00\x01n\x81\x06", Error::Padding),
        (b"\x00\x01n\x82\xff\xc6", Error::Padding),
        (b"\x00\x01n\x83\xff\xff\xff", Error::Padding),
        // The end of a string: alone, behind a byte, and with a byte behind it.
        (b"\x00\x01n\x84\xff\xff\xff\xff", Error::EndOfString),
        (b"\x00\x01n\x84\x07\xff\xff\xff", Error::Padding),
        (b"\x00\x01n\x85\x07\xff\xff\xff\xff", Error::EndOfString),
        (
            b"\x00\x01n\x8a\xff\xff\xff\xfc\x00\x00\x00\x00\x00\x00",
            Error::EndOfString,
        ),
        (b"\x00\x84\xff\xff\xff\xff\x01v", Error::EndOfString),
        // Sections 4.2 and 6.3.
        (b"\x82\x20", Error::LateSizeUpdate),
        (b"\x20\x82\x20", Error::LateSizeUpdate),
        (b"\x3f\xe2\x1f", Error::LargeSizeUpdate),
        (b"\x20\x20\x20", Error::ManySizeUpdates),
        (b"\x20\x20\x3f\xe1\x1f\x82", Error::ManySizeUpdates),
    ];
    for (block, error) in cases {
        assert_eq!(first(block), Err(*error), "{}", block.escape_ascii());
    }
}

#[test]
fn what_only_looks_broken_is_not() {
    type Expected = &'static [(&'static str, &'static str)];
    let cases: &[(&[u8], Expected)] = &[
        (b"", &[]),
        (b"\x20", &[]),
        (b"\x20\x3f\xe1\x1f\x82", &[(":method", "GET")]),
        // An integer with zeros behind it: 15, in five bytes.
        (b"\x0f\x80\x80\x80\x00\x01v", &[("accept-charset", "v")]),
        (b"\x00\x00\x00", &[("", "")]),
        (b"\x00\x80\x80", &[("", "")]),
        (b"\x00\x01n\x82\x07\x3f", &[("n", "0Y")]),
    ];
    for (block, expected) in cases {
        assert_eq!(
            first(block),
            Ok(fields(expected)),
            "{}",
            block.escape_ascii()
        );
    }
}

/// Fields of every form, each with its bytes.
fn pieces() -> Vec<Vec<u8>> {
    let long = "v".repeat(300);
    let mut own = Vec::new();
    field(&mut own, b"x-long", long.as_bytes(), false);
    let name = huffman::encode(b"x-trace-identifier");
    let value = huffman::encode(&[0, 255, b'~', 10, 249, b'0']);
    let both = [
        &[0x40, 0x80 | name.len() as u8][..],
        &name,
        &[0x80 | value.len() as u8],
        &value,
    ];
    vec![
        b"\x82".to_vec(),
        b"\x41\x03a.b".to_vec(),
        own,
        both.concat(),
        b"\xbe".to_vec(),
        b"\x0f\x0d\x02no".to_vec(),
        b"\x1f\x08\x83\xc6\x5a\x28".to_vec(),
        b"\x7f\x00\x03a.b".to_vec(),
        b"\xc0".to_vec(),
    ]
}

#[test]
fn a_block_cut_anywhere_is_whole_fields_or_an_error() {
    let pieces = pieces();
    let whole = pieces.concat();
    let all = first(&whole).expect("a good block");
    assert_eq!(all.len(), pieces.len());
    let mut ends = vec![0];
    for piece in &pieces {
        ends.push(ends.last().unwrap_or(&0) + piece.len());
    }
    for cut in 0..=whole.len() {
        let expected = match ends.iter().position(|end| *end == cut) {
            Some(count) => Ok(all.iter().take(count).cloned().collect()),
            None => Err(Error::Truncated),
        };
        let (front, _) = whole.split_at(cut);
        assert_eq!(first(front), expected, "cut at {cut}");
    }
}

#[test]
fn a_changed_byte_never_panics() {
    let whole = pieces().concat();
    for at in 0..whole.len() {
        for value in 0..=255 {
            let mut changed = whole.clone();
            changed.splice(at..=at, [value]);
            let mut out = Block::new();
            out.reset(200);
            let decoded = Decoder::new(TABLE).decode(&changed, &mut out);
            assert!(decoded.is_err() || out.size() == size(&first(&changed).expect("as before")));
            assert!(out.text.len() + 32 * out.len() <= 200 || decoded.is_err());
        }
    }
}

fn size(list: &super::List) -> usize {
    list.iter().map(|(n, v)| n.len() + v.len() + 32).sum()
}

#[test]
fn every_string_of_two_bytes_survives_the_code() {
    let mut out = Vec::new();
    for one in 0..=255 {
        for two in 0..=255 {
            for string in [&[one, two][..], &[b'a', one, b'b', b'c', two, b'0', b'~']] {
                out.clear();
                out.extend_from_slice(b"before");
                assert_eq!(huffman::decode(&huffman::encode(string), &mut out), Ok(()));
                assert_eq!(out.strip_prefix(b"before"), Some(string));
            }
        }
    }
}

#[test]
fn a_list_over_its_limit_is_counted_and_the_table_stays_in_step() {
    let mut decoder = Decoder::new(TABLE);
    let mut out = Block::new();
    // Two fields of 38 fit into 100, and a third does not; smaller ones behind it neither.
    out.reset(100);
    let block = b"\x40\x03abc\x03def\x40\x03ghi\x03jkl\x40\x03mno\x03pqr\x40\x00\x00\x82";
    assert_eq!(decoder.decode(block, &mut out), Ok(()));
    assert!(out.is_over());
    assert_eq!(list(&out), fields(&[("abc", "def"), ("ghi", "jkl")]));
    assert_eq!(out.size(), 3 * 38 + 32 + 42);
    assert_eq!(
        decode(&mut decoder, b"\xbe\xbf\xc0\xc1"),
        Ok(fields(&[
            ("", ""),
            ("mno", "pqr"),
            ("ghi", "jkl"),
            ("abc", "def")
        ]))
    );
    // The limit itself is not over it.
    out.reset(38);
    assert_eq!(decoder.decode(b"\xc0", &mut out), Ok(()));
    assert!(!out.is_over() && out.len() == 1);
    // A good block of errors is one even when nothing is kept.
    out.reset(0);
    assert_eq!(
        decoder.decode(b"\x82\x00\x01n\x81\xff", &mut out),
        Err(Error::Padding)
    );
}

#[test]
fn a_bomb_takes_no_memory_beyond_the_limit() {
    let mut decoder = Decoder::new(TABLE);
    let mut out = Block::new();
    out.reset(LIMIT);
    let value = vec![b'v'; TABLE - 32 - 1];
    let mut block = vec![0x40, 1, b'n', 0x7f];
    let rest = value.len() - 0x7f;
    block.extend([rest as u8 | 0x80, (rest >> 7) as u8]);
    block.extend(&value);
    block.extend([0xbe; 10_000]);
    assert_eq!(decoder.decode(&block, &mut out), Ok(()));
    assert!(out.is_over());
    assert_eq!(out.size(), 10_001 * TABLE);
    assert_eq!(out.len(), LIMIT / TABLE);
    assert!(out.text.len() <= LIMIT && out.text.capacity() <= 2 * LIMIT);
    // And gives it back.
    out.reset(LIMIT);
    assert!(out.text.capacity() <= KEPT_TEXT);
    // As many small fields.
    out.reset(LIMIT);
    assert_eq!(decoder.decode(&vec![0x82; 100_000], &mut out), Ok(()));
    assert_eq!(out.len(), LIMIT / 42);
    out.reset(LIMIT);
    assert!(out.fields.capacity() <= 256);
}

#[test]
fn a_table_keeps_its_memory_within_twice_its_size() {
    let mut table = Table::new(TABLE);
    let text = vec![b'x'; TABLE];
    for turn in 0..20_000_usize {
        let length = [0, 1, 40, 3, 200, 4_064, 90, 1_500, 2_000, 64][turn % 10];
        let (text, _) = text.split_at(length);
        table.insert(text, length / 2, 0);
        assert_eq!(table.get(0), Some((text, length / 2, 0)));
        assert!(table.memory() <= 2 * TABLE);
    }
    table.resize(0);
    assert_eq!((table.memory(), table.get(0)), (0, None));
}

#[test]
fn an_entry_larger_than_the_table_empties_it() {
    let mut decoder = Decoder::new(100);
    let big = [&b"\x40\x01n\x44"[..], &[b'v'; 68]].concat();
    assert_eq!(
        decode(&mut decoder, b"\x40\x01a\x01b").map(|list| list.len()),
        Ok(1)
    );
    assert_eq!(decode(&mut decoder, b"\xbe"), Ok(fields(&[("a", "b")])));
    assert_eq!(decode(&mut decoder, &big).map(|list| list.len()), Ok(1));
    assert_eq!(decode(&mut decoder, b"\xbe"), Err(Error::NoSuchEntry));
}

#[test]
fn a_name_outlives_the_entry_that_it_pushes_out() {
    // Section 4.4: the new entry takes its name from the one that leaves for it.
    let mut decoder = Decoder::new(64);
    let named = b"\x40\x0aabcdefghij\x01x";
    assert_eq!(decode(&mut decoder, named).map(|list| list.len()), Ok(1));
    let expected = fields(&[("abcdefghij", "yy")]);
    assert_eq!(decode(&mut decoder, b"\x7e\x02yy"), Ok(expected.clone()));
    assert_eq!(decode(&mut decoder, b"\xbe"), Ok(expected));
    assert_eq!(decode(&mut decoder, b"\xbf"), Err(Error::NoSuchEntry));
}

#[test]
fn a_larger_table_is_used_once_the_peer_says_so() {
    let mut decoder = Decoder::new(10_000);
    let value = vec![b'v'; 5_000];
    let mut block = vec![0x40, 1, b'n', 0x7f, 0x89, 0x26];
    block.extend(&value);
    // Until then its encoder has 4,096.
    assert_eq!(decode(&mut decoder, &block).map(|list| list.len()), Ok(1));
    let update = [&[0x3f, 0xf1, 0x4d][..], &block, &[0xbe]].concat();
    assert_eq!(decode(&mut decoder, &update).map(|list| list.len()), Ok(2));
    assert_eq!(
        decode(&mut decoder, &[0x3f, 0xf2, 0x4d]),
        Err(Error::LargeSizeUpdate)
    );
}
