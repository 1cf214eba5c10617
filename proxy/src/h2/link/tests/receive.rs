//! What a peer says, in the right state and in the wrong one, and what it is told.

use super::super::super::hpack::Block;
use super::*;

/// What a client that says this is told, and how the connection ended.
fn server_says(bytes: &[&[u8]]) -> (Vec<String>, Option<End>) {
    run(async {
        let mut wire = Wire::server().await;
        let said = wire.says(bytes.concat()).await;
        (said, wire.end)
    })
}

type Case<'a> = (&'a str, Vec<u8>, Code);

fn all_break(cases: &[Case<'_>]) {
    for (what, bytes, code) in cases {
        let (said, end) = server_says(&[bytes]);
        assert_eq!(blamed(end), Some(*code), "{what}");
        let last = said.last().map(String::as_str).unwrap_or_default();
        assert!(last.starts_with("GOAWAY"), "{what}: {said:?}");
        assert!(last.ends_with(&format!("{code:?}")), "{what}: {said:?}");
    }
}

#[test]
fn what_of_streams_breaks_a_connection() {
    let protocol = Code::PROTOCOL_ERROR;
    let size = Code::FRAME_SIZE_ERROR;
    let flow = Code::FLOW_CONTROL_ERROR;
    let bytes = |kind, flags, stream, n: usize| raw(kind, flags, stream, &vec![0; n]);
    let closed = Code::STREAM_CLOSED;
    all_break(&[
        ("DATA on none", data(0, 1, false), protocol),
        ("DATA on an idle one", data(1, 1, false), protocol),
        ("HEADERS on none", headers(0, REQUEST, true), protocol),
        ("an even stream", request(2, true), protocol),
        (
            "RST_STREAM on an idle one",
            reset(1, Code::CANCEL),
            protocol,
        ),
        ("RST_STREAM on none", reset(0, Code::CANCEL), protocol),
        ("a short RST_STREAM", bytes(Kind::Reset, 0, 1, 3), size),
        ("WINDOW_UPDATE on an idle one", update(1, 1), protocol),
        ("WINDOW_UPDATE of ours", update(2, 1), protocol),
        ("WINDOW_UPDATE by nothing", update(0, 0), protocol),
        (
            "a short WINDOW_UPDATE",
            bytes(Kind::WindowUpdate, 0, 0, 3),
            size,
        ),
        ("too large a window", update(0, MAX_31), flow),
        ("a large frame", bytes(Kind::Unknown, 0, 0, 16_385), size),
        (
            "padding of nothing",
            bytes(Kind::Data, flag::PADDED, 1, 0),
            size,
        ),
        (
            "CONTINUATION of nothing",
            bytes(Kind::Continuation, 4, 1, 1),
            protocol,
        ),
        (
            "broken HPACK",
            raw(Kind::Headers, 5, 1, &[0xff]),
            Code::COMPRESSION_ERROR,
        ),
        (
            "a block that is not continued",
            [raw(Kind::Headers, 1, 1, &[0x83]), data(1, 1, true)].concat(),
            protocol,
        ),
        (
            "one that goes on elsewhere",
            [
                raw(Kind::Headers, 1, 1, &[0x83]),
                bytes(Kind::Continuation, 4, 3, 0),
            ]
            .concat(),
            protocol,
        ),
        (
            "a stream that was passed over",
            [request(5, true), request(3, true)].concat(),
            closed,
        ),
        (
            "more padding than frame",
            raw(Kind::Data, flag::PADDED, 1, &[2, 0]),
            protocol,
        ),
        (
            "tunnels that are taken back",
            told(&[(8, 1), (8, 0)]),
            protocol,
        ),
    ]);
}

#[test]
fn what_of_others_breaks_a_connection() {
    let protocol = Code::PROTOCOL_ERROR;
    let size = Code::FRAME_SIZE_ERROR;
    let flow = Code::FLOW_CONTROL_ERROR;
    let bytes = |kind, flags, stream, n: usize| raw(kind, flags, stream, &vec![0; n]);
    all_break(&[
        ("PUSH_PROMISE", bytes(Kind::PushPromise, 4, 1, 4), protocol),
        ("PING on a stream", bytes(Kind::Ping, 0, 1, 8), protocol),
        ("a short PING", bytes(Kind::Ping, 0, 0, 7), size),
        (
            "SETTINGS on a stream",
            bytes(Kind::Settings, 0, 1, 0),
            protocol,
        ),
        ("SETTINGS in parts", bytes(Kind::Settings, 0, 0, 5), size),
        (
            "an ACK that says something",
            bytes(Kind::Settings, 1, 0, 6),
            size,
        ),
        ("an ACK too many", bytes(Kind::Settings, 1, 0, 0), protocol),
        ("a first window too large", told(&[(4, MAX_31 + 1)]), flow),
        ("too small a frame", told(&[(5, MAX_FRAME - 1)]), protocol),
        ("too large a frame", told(&[(5, 1 << 24)]), protocol),
        ("ENABLE_PUSH", told(&[(2, 2)]), protocol),
        ("a short GOAWAY", bytes(Kind::GoAway, 0, 0, 7), size),
        ("GOAWAY on a stream", bytes(Kind::GoAway, 0, 1, 8), protocol),
        ("a short PRIORITY", bytes(Kind::Priority, 0, 1, 4), size),
    ]);
}

#[test]
fn what_breaks_a_stream_only() {
    let protocol = "RESET 1 0x1";
    let closed = "RESET 1 0x5";
    let long = headers(1, &[REQUEST, &[("content-length", "5")]].concat(), false);
    // As many digits as are read above; here they have to be as well.
    let digits = [REQUEST, &[("content-length", "0000000000000000005")]].concat();
    let cases: &[(&str, &[&[u8]], &str)] = &[
        (
            "DATA behind the end",
            &[&request(1, true), &data(1, 1, false)],
            closed,
        ),
        (
            "HEADERS behind the end",
            &[&request(1, true), &request(1, true)],
            closed,
        ),
        (
            "HEADERS that end nothing",
            &[&request(1, false), &request(1, false)],
            protocol,
        ),
        ("too much", &[&long, &data(1, 6, false)], protocol),
        ("too little", &[&long, &data(1, 4, true)], protocol),
        (
            "too little in front of trailers",
            &[&long, &data(1, 4, false), &headers(1, &[], true)],
            protocol,
        ),
        (
            "too much of a long length",
            &[&headers(1, &digits, false), &data(1, 6, false)],
            protocol,
        ),
        ("no update", &[&request(1, false), &update(1, 0)], protocol),
        (
            "a window too large",
            &[&request(1, false), &update(1, MAX_31)],
            "RESET 1 0x3",
        ),
    ];
    for (what, bytes, expected) in cases {
        let (said, end) = server_says(bytes);
        assert_eq!(said, [*expected], "{what}");
        assert_eq!(end, None, "{what}");
        // What is under way on it is ignored.
        let late = [
            bytes.concat(),
            data(1, 9, false),
            update(1, 7),
            reset(1, Code::CANCEL),
        ];
        let (said, end) = server_says(&[&late.concat()]);
        assert_eq!(
            (said.as_slice(), end),
            (&[(*expected).to_owned()][..], None),
            "{what}"
        );
    }
    let (said, _) = server_says(&[&long, &data(1, 3, false), &padded(1, 2, 9, true)]);
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn settings_come_first() {
    for (bytes, right) in [
        (raw(Kind::Ping, 0, 0, &[0; 8]), false),
        (raw(Kind::Settings, flag::ACK, 0, b""), false),
        (request(1, true), false),
        (told(&[(0x99, 1)]), true),
    ] {
        for role in [Role::Server, Role::Client] {
            let said = run(async {
                let mut wire = Wire::silent(role, SETTINGS);
                if role == Role::Server {
                    wire.put(PREFACE);
                }
                let said = wire.says(&bytes).await;
                assert_eq!(wire.end.is_none(), right);
                said
            });
            let last = if right {
                "SETTINGS ack"
            } else {
                "GOAWAY 0 0x1"
            };
            assert_eq!(said, ["SETTINGS", "UPDATE 0 983041", last]);
        }
    }
    run(async {
        let mut wire = Wire::silent(Role::Server, SETTINGS);
        wire.says(b"GET / HTTP/1.1\r\n").await;
        assert_eq!(blamed(wire.end), Some(Code::PROTOCOL_ERROR));
    });
}

#[test]
fn a_block_in_many_frames_is_one() {
    run(async {
        let mut wire = Wire::server().await;
        let block = block(&[REQUEST, &[("x", "yz")]].concat());
        let (first, rest) = block.split_at(1);
        // With all that HEADERS may carry: padding, and a priority.
        let mut payload = vec![3, 0, 0, 0, 9, 1];
        payload.extend_from_slice(first);
        payload.extend([0; 3]);
        let flags = flag::END_STREAM | flag::PADDED | flag::PRIORITY;
        wire.put(raw(Kind::Headers, flags, 1, &payload));
        let mut rest = rest.chunks(12).peekable();
        while let Some(part) = rest.next() {
            let flags = rest.peek().map_or(flag::END_HEADERS, |_| 0);
            wire.put(raw(Kind::Continuation, flags, 1, part));
            wire.turn();
        }
        assert!(wire.settle().await.is_empty());
        let read = wire.streams[0].head(|block, end| {
            let last = block.iter().last().map(|field| field.value.to_vec());
            (block.len(), last, end)
        });
        assert_eq!(read, Some((5, Some(b"yz".to_vec()), true)));
    });
}

#[test]
fn small_pieces_become_one_and_large_ones_stay_in_order() {
    run(async {
        let mut wire = Wire::server().await;
        wire.put(request(1, false));
        wire.settle().await;
        assert!(wire.streams[0].head(|_, _| ()).is_some());
        let task = Arc::new(Task::default());
        assert!(task.poll(|cx| wire.streams[0].poll_data(cx)).is_pending());
        for n in [1, 2, 3, 5_000, 4, 5, 4_096, 6] {
            wire.put(data(1, n, false));
        }
        wire.put(headers(1, &[("grpc-status", "0")], true));
        wire.settle().await;
        assert_eq!(task.woken(), 1, "once, until it looks");
        let mut lengths = Vec::new();
        let stream = &mut wire.streams[0];
        while let Poll::Ready(Ok(Some(piece))) = once(|cx| stream.poll_data(cx)) {
            lengths.push(piece.len());
        }
        assert_eq!(lengths, [6, 5_000, 9, 4_096, 6]);
        assert!(!stream.is_read(), "trailers are there");
        assert_eq!(stream.trailers(Block::len), Some(1));
        assert!(stream.is_read());
        assert_eq!(stream.held(), 9_117);
    });
}

#[test]
fn more_streams_than_may_be_are_refused() {
    run(async {
        let settings = Settings {
            max_streams: 2,
            ..SETTINGS
        };
        let mut wire = Wire::open(Role::Server, settings).await;
        let all: Vec<_> = [1, 3, 5].map(|id| request(id, false)).concat();
        assert_eq!(wire.says(all).await, ["RESET 5 0x7"]);
        assert!(
            wire.says(data(5, 10, true)).await.is_empty(),
            "was under way"
        );
        // One that is reset, or done both ways, makes room.
        assert!(
            wire.says([reset(1, Code::CANCEL), request(7, true)].concat())
                .await
                .is_empty()
        );
        assert_eq!(wire.says(request(9, true)).await, ["RESET 9 0x7"]);
        wire.streams[2].send_head(&block(OK), true).unwrap();
        let said = wire.says(request(11, true)).await;
        assert_eq!(said, ["HEADERS 7 end"]);
        assert_eq!((wire.core().open, wire.end), (2, None));
    });
}

#[test]
fn a_list_that_grows_too_large_ends_the_connection() {
    run(async {
        let mut wire = Wire::server().await;
        let long = "x".repeat(10_000);
        let two = [REQUEST, &[("a", long.as_str()), ("b", &long)]].concat();
        wire.put(headers(1, REQUEST, true));
        let large = block(&two);
        wire.put(raw(Kind::Headers, 1, 3, &large[..16_384]));
        wire.put(raw(Kind::Continuation, 4, 3, &large[16_384..]));
        wire.settle().await;
        assert_eq!(wire.end, None);
        let cut = wire.streams[1].head(|block, _| (block.is_over(), block.len()));
        assert_eq!(cut, Some((true, 5)), "the rest is not kept");
        // An entry of the table, named again and again.
        let value = [b'v'; 4_000];
        let mut bomb = vec![0x40, 1, b'n', 0x7f];
        bomb.extend([0xa1, 0x1e]);
        bomb.extend(value);
        bomb.extend([0xbe; 20]);
        let said = wire.says(raw(Kind::Headers, 5, 5, &bomb)).await;
        assert_eq!(wire.end, Some(End::Flood(Flood::HeaderBlock)), "{said:?}");
        assert_eq!(said, ["GOAWAY 3 0xb"]);
    });
}
