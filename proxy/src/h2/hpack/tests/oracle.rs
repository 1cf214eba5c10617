//! Another codec reads and writes the same, over connections of several blocks.

use loona_hpack::{
    Decoder as OtherDecoder, Encoder as OtherEncoder, decoder::DecoderError,
    huffman::HuffmanDecoder,
};
use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    super::{Block, Decoder, Encoder, Error, field, huffman, statics},
    LIMIT, List, TABLE, decode, list,
};

/// What a peer's encoder may do next.
#[derive(Clone, Debug)]
enum Step {
    Indexed(u8),
    Literal {
        /// With indexing, without, or never.
        form: u8,
        name: Result<u8, Vec<u8>>,
        value: Vec<u8>,
        huffman: [bool; 2],
    },
}

fn string() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-z0-9/.-]{0,40}".prop_map(String::into_bytes),
        2 => vec(any::<u8>(), 0..12),
        1 => vec(any::<u8>(), 100..400),
        1 => select(vec![&b"te"[..], b"grpc-timeout", b"content-type", b"host"]).prop_map(<[u8]>::to_vec),
    ]
}

/// Mostly those of entries: the first few of the dynamic table have some soon.
fn index() -> impl Strategy<Value = u8> {
    prop_oneof![4 => 1..=61_u8, 4 => 62..=64_u8, 1 => 62..=90_u8]
}

fn step() -> impl Strategy<Value = Step> {
    let literal = (
        select(vec![0x40, 0x40, 0x00, 0x10]),
        prop_oneof![index().prop_map(Ok), string().prop_map(Err)],
        string(),
        any::<[bool; 2]>(),
    );
    prop_oneof![
        index().prop_map(Step::Indexed),
        literal.prop_map(|(form, name, value, huffman)| Step::Literal {
            form,
            name,
            value,
            huffman
        }),
    ]
}

/// Blocks of a connection, each with the size updates in front of it.
fn connection() -> impl Strategy<Value = Vec<(Vec<u16>, Vec<Step>)>> {
    let updates = prop_oneof![
        3 => Just(vec![]),
        1 => vec(prop_oneof![0..200_u16, 0..=4_096_u16], 1..=2),
    ];
    // Loona takes a block of size updates alone for an error.
    vec((updates, vec(step(), 1..12)), 1..8)
}

fn integer(out: &mut Vec<u8>, first: u8, mask: u8, value: usize) {
    let mut rest = value;
    if rest < usize::from(mask) {
        out.push(first | rest as u8);
        return;
    }
    out.push(first | mask);
    rest -= usize::from(mask);
    while rest > 0x7f {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn text(out: &mut Vec<u8>, string: &[u8], coded: bool) {
    let code = huffman::encode(string);
    let (first, bytes) = if coded {
        (0x80, &code[..])
    } else {
        (0, string)
    };
    integer(out, first, 0x7f, bytes.len());
    out.extend_from_slice(bytes);
}

fn write(updates: &[u16], steps: &[Step]) -> Vec<u8> {
    let mut out = Vec::new();
    for size in updates {
        integer(&mut out, 0x20, 0x1f, usize::from(*size));
    }
    for step in steps {
        match step {
            Step::Indexed(index) => integer(&mut out, 0x80, 0x7f, usize::from(*index)),
            Step::Literal {
                form,
                name,
                value,
                huffman: [name_coded, value_coded],
            } => {
                let mask = if *form == 0x40 { 0x3f } else { 0x0f };
                let index = name.as_ref().map_or(0, |index| usize::from(*index));
                integer(&mut out, *form, mask, index);
                if let Err(name) = name {
                    text(&mut out, name, *name_coded);
                }
                text(&mut out, value, *value_coded);
            }
        }
    }
    out
}

fn other() -> OtherDecoder<'static> {
    let mut other = OtherDecoder::new();
    other.set_max_allowed_table_size(TABLE);
    other
}

/// The first entry of the static table with a name.
fn known(name: &[u8]) -> u8 {
    (1..=statics::COUNT as u8)
        .find(|index| {
            let entry = statics::get(usize::from(*index));
            entry.is_some_and(|(text, length, _)| text.split_at(length).0 == name)
        })
        .unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_a_peer_writes_is_read_alike(blocks in connection()) {
        let (mut ours, mut other) = (Decoder::new(TABLE), other());
        // So that the indexes of the first block mostly are of entries.
        let begin = b"\x40\x01a\x01b\x44\x02/x\x40\x02te\x08trailers";
        prop_assert_eq!(decode(&mut ours, begin).ok(), other.decode(begin).ok());
        let mut out = Block::new();
        for (updates, steps) in &blocks {
            let block = write(updates, steps);
            out.reset(LIMIT);
            let decoded = ours.decode(&block, &mut out);
            let Ok(expected) = other.decode(&block) else {
                prop_assert_eq!(decoded, Err(Error::NoSuchEntry));
                return Ok(());
            };
            prop_assert_eq!(decoded, Ok(()));
            prop_assert_eq!(list(&out), expected);
            for (field, step) in out.iter().zip(steps) {
                prop_assert_eq!(field.known, known(field.name));
                let never = matches!(step, Step::Literal { form: 0x10, .. });
                prop_assert_eq!(field.sensitive, never);
            }
        }
    }

    #[test]
    fn any_bytes_are_judged_alike(blocks in vec(vec(any::<u8>(), 0..40), 1..6)) {
        let (mut ours, mut other) = (Decoder::new(TABLE), other());
        for block in &blocks {
            match (decode(&mut ours, block), other.decode(block)) {
                (Ok(list), Ok(expected)) => prop_assert_eq!(list, expected),
                // It does not mind where size updates are, but wants a field behind them.
                (Err(Error::LateSizeUpdate | Error::ManySizeUpdates), _)
                | (Ok(_), Err(DecoderError::SizeUpdateAtEnd))
                | (Err(_), Err(_)) => return Ok(()),
                (ours, other) => prop_assert!(false, "{ours:?} and {other:?}"),
            }
        }
    }

    #[test]
    fn strings_are_decoded_alike(code in prop_oneof![
        vec(any::<u8>(), 0..40),
        string().prop_map(|string| huffman::encode(&string)),
        // Long codes, and the end of a string.
        vec(select(vec![0xff, 0xfe, 0xfd, 0xf8, 0x00, 0x07]), 0..24),
    ]) {
        let mut out = Vec::new();
        let decoded = huffman::decode(&code, &mut out).map(|()| out);
        prop_assert_eq!(decoded.ok(), HuffmanDecoder::new().decode(&code).ok());
    }

    #[test]
    fn what_another_encoder_indexes_is_read(lists in vec(vec((string(), string()), 0..12), 1..8)) {
        // A few names and values again and again, so that its table is of use.
        let (mut ours, mut other) = (Decoder::new(TABLE), OtherEncoder::new());
        let usual = [(&b"grpc-encoding"[..], &b"gzip"[..]), (b"te", b"trailers"), (b":path", b"/s")];
        for own in &lists {
            let all: List = usual
                .iter()
                .map(|(name, value)| (name.to_vec(), value.to_vec()))
                .chain(own.iter().cloned())
                .collect();
            let block = other.encode(all.iter().map(|(name, value)| (&name[..], &value[..])));
            prop_assert_eq!(decode(&mut ours, &block), Ok(all));
        }
    }

    #[test]
    fn another_decoder_reads_what_we_write(lists in vec(vec((string(), string(), any::<bool>()), 1..12), 1..4)) {
        let (mut encoder, mut other) = (Encoder::new(), other());
        let mut ours = Decoder::new(TABLE);
        for own in &lists {
            let mut block = Vec::new();
            encoder.begin(&mut block);
            for (name, value, sensitive) in own {
                field(&mut block, name, value, *sensitive);
            }
            let expected: List = own
                .iter()
                .map(|(name, value, _)| (name.to_ascii_lowercase(), value.clone()))
                .collect();
            prop_assert_eq!(other.decode(&block).ok(), Some(expected.clone()));
            prop_assert_eq!(decode(&mut ours, &block), Ok(expected));
        }
    }
}
