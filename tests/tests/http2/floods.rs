//! Frames that cost the receiver more than the sender: resets, control frames, continuations
//! (S30, S31, S32, S35).

use outrigger_tests::frames::{Block, Frame, code, flag, kind, request};

use super::bench::{Bench, calmed, flood};

/// HEADERS of a request whose body is to come.
fn open(stream: u32) -> Frame {
    Frame::headers(stream, request("POST", "/attack", &[]))
}

/// The first `n` streams of a client.
fn streams(n: u32) -> impl Iterator<Item = u32> {
    (0..n).map(|n| 2 * n + 1)
}

#[test]
fn streams_that_are_reset_as_they_are_opened_end_the_connection() {
    let bench = Bench::new();
    let pairs: Vec<_> = streams(20_000)
        .flat_map(|stream| [open(stream), Frame::reset(stream, code::CANCEL)])
        .collect();
    bench.attacked(|bench| calmed(bench, "http2_rapid_reset", &pairs));
    let reached = bench.up.connections();
    assert!(reached < 2_500, "{reached} requests reached the service");
}

#[test]
fn cancelling_every_second_call_is_no_attack() {
    let bench = Bench::new();
    let mut client = bench.client();
    for _ in 0..700 {
        let stream = client.open(request("POST", "/", &[]), false);
        client.send(&Frame::reset(stream, code::CANCEL));
        assert_eq!(client.get("/").status(), 200);
    }
    assert!(!client.seen.iter().any(|frame| frame.kind == kind::GOAWAY));
}

/// Frames on a stream that make the receiver reset it.
type Trick = fn(u32) -> Vec<Frame>;

#[test]
fn mistakes_that_make_us_reset_streams_end_the_connection() {
    let bench = Bench::new();
    let tricks: [(&str, Trick); 6] = [
        ("a window that overflows", |stream| {
            vec![open(stream), Frame::window_update(stream, 0x7fff_ffff)]
        }),
        ("a stream that depends on itself", |stream| {
            let depends = [&stream.to_be_bytes()[..], &[15]].concat();
            let priority = Frame::new(kind::PRIORITY, 0, stream, depends);
            vec![open(stream), priority]
        }),
        ("a field of HTTP/1 connections", |stream| {
            let block = request("GET", "/attack", &[("connection", "close")]);
            vec![Frame::headers(stream, block).end_stream()]
        }),
        ("a second head behind the end", |stream| {
            vec![open(stream).end_stream(), open(stream)]
        }),
        ("less than the length says", |stream| {
            let block = request("POST", "/attack", &[("content-length", "9")]);
            let data = Frame::data(stream, *b"two").end_stream();
            vec![Frame::headers(stream, block), data]
        }),
        ("a length that is not the body's", |stream| {
            let block = request("POST", "/attack", &[("content-length", "1")]);
            let data = Frame::data(stream, *b"two").end_stream();
            vec![Frame::headers(stream, block), data]
        }),
    ];
    for (name, trick) in tricks {
        eprintln!("{name}");
        let frames: Vec<_> = streams(5_000).flat_map(trick).collect();
        bench.attacked(|bench| calmed(bench, "http2_provoked_resets", &frames));
    }
}

#[test]
fn control_frames_have_their_rates() {
    let bench = Bench::new();
    for frame in [
        Frame::ping(*b"whatever"),
        Frame::new(kind::PING, flag::ACK, 0, *b"whatever"),
        Frame::settings(&[]),
        Frame::settings(&[(0xaaaa, 1); 30]),
        Frame::priority(1),
        Frame::new(0x10, 0, 0, *b"\0\0\0\x01u=1"),
        Frame::window_update(0, 1),
        Frame::new(0xfa, 0, 0, *b"grease"),
    ] {
        eprintln!("{frame:?}");
        let frames = vec![frame; 20_000];
        bench.attacked(|bench| calmed(bench, "http2_control_flood", &frames));
    }
}

#[test]
fn empty_data_has_its_rate() {
    let bench = Bench::new();
    let mut frames = vec![open(1)];
    frames.resize(20_000, Frame::data(1, []));
    bench.attacked(|bench| calmed(bench, "http2_empty_data_flood", &frames));

    // A few are harmless, and so is one at the end of every request.
    let mut client = bench.client();
    for _ in 0..150 {
        let stream = client.open(request("POST", "/", &[]), false);
        client.send(&Frame::data(stream, []).end_stream());
        assert_eq!(client.whole(stream).status(), 200);
    }
    let stream = client.open(request("POST", "/", &[]), false);
    let mut frames = vec![Frame::data(stream, []); 50];
    frames.push(Frame::data(stream, *b"hello").end_stream());
    client.send_all(&frames);
    assert_eq!(client.whole(stream).body, b"hello");
}

#[test]
fn a_client_that_reads_nothing_is_not_answered_without_end() {
    let bench = Bench::new();
    bench.attacked(|bench| {
        let mut client = bench.client();
        client.wire.small_receive_buffer();
        let pings = vec![Frame::ping(*b"whatever"); 10_000];
        // What the sockets hold is taken before anyone looks at it.
        let refused = (0..1_000).any(|_| client.try_send(&pings).is_err());
        assert!(refused, "all of it was taken");
        bench.blames("http2_control_flood", 1);
    });
}

#[test]
fn a_block_has_a_limit_in_frames() {
    let bench = Bench::new();
    let block = Vec::from(request("GET", "/", &[]));
    let pieces = |n: usize| {
        let mut frames = vec![Frame::open_headers(1, []).end_stream()];
        frames.resize(n, Frame::continuation(1, []));
        frames.push(Frame::continuation(1, &*block).end_headers());
        frames
    };
    let mut client = bench.client();
    client.send_all(&pieces(10));
    assert_eq!(client.whole(1).status(), 200);
    bench.attacked(|bench| calmed(bench, "http2_continuation_flood", &pieces(100_000)));
}

#[test]
fn a_block_has_a_limit_in_bytes_before_it_is_decoded() {
    let bench = Bench::new();
    // One field whose value does not end within what is allowed.
    let block = Vec::from(Block::default().literal("a", vec![b'x'; 400_000]));
    let mut frames = vec![Frame::open_headers(1, [])];
    let parts = block.chunks(16_384);
    frames.extend(parts.map(|part| Frame::continuation(1, part)));
    bench.attacked(|bench| calmed(bench, "http2_header_bomb", &frames));
}

#[test]
fn a_broken_rule_is_told_by_its_code() {
    let bench = Bench::new();
    let cases: [(&str, u32, Vec<Frame>); 6] = [
        (
            "the connection's window overflows",
            code::FLOW_CONTROL_ERROR,
            vec![Frame::window_update(0, 0x7fff_ffff)],
        ),
        (
            "a window grows by nothing",
            code::PROTOCOL_ERROR,
            vec![Frame::window_update(0, 0)],
        ),
        (
            "a client pushes",
            code::PROTOCOL_ERROR,
            vec![Frame::new(
                kind::PUSH_PROMISE,
                flag::END_HEADERS,
                1,
                [0, 0, 0, 2],
            )],
        ),
        (
            "a frame is too large",
            code::FRAME_SIZE_ERROR,
            vec![open(1), Frame::data(1, vec![0; 100_000])],
        ),
        (
            "CONTINUATION follows nothing",
            code::PROTOCOL_ERROR,
            vec![Frame::continuation(1, [])],
        ),
        (
            "DATA on a stream that was never opened",
            code::PROTOCOL_ERROR,
            vec![Frame::data(7, *b"x")],
        ),
    ];
    for (n, (name, expected, frames)) in cases.into_iter().enumerate() {
        let (code, debug) = flood(&mut bench.client(), &frames);
        assert_eq!(code, expected, "{name}: {debug}");
        bench.blames("http2_protocol_error", n + 1);
    }
}
