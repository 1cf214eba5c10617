//! What the encoder writes, byte by byte, and that it is read back.

use super::{
    super::{Block, Decoder, Encoder, field, known_field, statics, status, unknown_field},
    LIMIT, TABLE, fields, first,
};

fn written(name: &[u8], value: &[u8], sensitive: bool) -> Vec<u8> {
    let mut out = Vec::new();
    field(&mut out, name, value, sensitive);
    out
}

#[test]
fn whole_entries_of_the_static_table_are_one_byte() {
    for index in 1..=statics::COUNT as u8 {
        let (text, name, known) = statics::get(usize::from(index)).expect("an entry");
        let (name, value) = text.split_at(name);
        if !value.is_empty() {
            assert_eq!(written(name, value, false), [0x80 | index]);
            // A value that must not be put into tables is written even so.
            let literal = written(name, value, true);
            assert_eq!(literal.first().map(|b| b & 0xf0), Some(0x10));
            assert!(literal.ends_with(value));
        }
        assert_eq!(statics::find(name), known);
        assert_eq!(statics::find_any_case(&name.to_ascii_uppercase()), known);
    }
}

#[test]
fn names_of_the_static_table_are_an_index() {
    assert_eq!(written(b":path", b"/x", false), b"\x04\x02/x");
    assert_eq!(written(b"Host", b"a", true), b"\x1f\x17\x01a");
    assert_eq!(written(b"accept-charset", b"", false), b"\x0f\x00\x00");
}

#[test]
fn other_names_are_written_in_lower_case() {
    assert_eq!(
        written(b"X-Trace_{ID}", b"A", false),
        b"\x00\x0cx-trace_{id}\x01A"
    );
    assert_eq!(written(b"te", b"Trailers", true), b"\x10\x02te\x08Trailers");
    assert_eq!(written(b"", b"", false), [0, 0, 0]);
    // One bit away from a name of the table.
    assert_eq!(written(b"\x1apath", b"/", false), b"\x00\x05\x1apath\x01/");
}

#[test]
fn a_status_is_one_byte_or_three_digits() {
    for (code, expected) in [
        (200, &b"\x88"[..]),
        (204, b"\x89"),
        (206, b"\x8a"),
        (304, b"\x8b"),
        (400, b"\x8c"),
        (404, b"\x8d"),
        (500, b"\x8e"),
        (100, b"\x08\x03100"),
        (503, b"\x08\x03503"),
    ] {
        let mut out = Vec::new();
        status(&mut out, code);
        assert_eq!(out, expected);
    }
}

#[test]
fn lengths_around_their_prefix_are_read_back() {
    for length in [0, 1, 126, 127, 128, 254, 255, 256, 16_510, 16_511, 40_000] {
        let text = "v".repeat(length);
        for (name, value) in [("x", &text[..]), (&text, "y"), ("cookie", &text)] {
            let block = written(name.as_bytes(), value.as_bytes(), false);
            assert_eq!(first(&block), Ok(fields(&[(name, value)])));
        }
    }
}

#[test]
fn sensitive_fields_stay_so() {
    let block = [
        written(b"authorization", b"x", true),
        written(b"y", b"x", true),
    ]
    .concat();
    let mut out = Block::new();
    out.reset(LIMIT);
    assert_eq!(Decoder::new(TABLE).decode(&block, &mut out), Ok(()));
    assert!(out.len() == 2 && out.iter().all(|field| field.sensitive));
}

#[test]
fn the_peer_hears_of_the_empty_table_when_it_has_to() {
    let mut encoder = Encoder::new();
    assert_eq!(begun(&mut encoder), b"\x20");
    assert_eq!(begun(&mut encoder), b"");
    // No less than it was.
    encoder.peer_table_size(4_096);
    encoder.peer_table_size(65_536);
    assert_eq!(begun(&mut encoder), b"");
    // Less, though more again before the next block.
    encoder.peer_table_size(100);
    encoder.peer_table_size(200);
    assert_eq!(begun(&mut encoder), b"\x20");
    assert_eq!(begun(&mut encoder), b"");
}

fn begun(encoder: &mut Encoder) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.begin(&mut out);
    out
}

#[test]
fn a_decoded_field_is_written_without_looking_for_its_name() {
    for (name, value) in [
        (&b":method"[..], &b"GET"[..]),
        (b"server", b"x"),
        (b"te", b"y"),
    ] {
        for sensitive in [false, true] {
            let mut out = Vec::new();
            match statics::find(name) {
                0 => unknown_field(&mut out, name, value, sensitive),
                known => known_field(&mut out, known, value, sensitive),
            }
            assert_eq!(out, written(name, value, sensitive));
        }
    }
}
