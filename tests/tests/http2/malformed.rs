//! What is no answer at all, from an endpoint that speaks HTTP/2: the client gets a 502 with its cause,
//! and nobody else notices.

use outrigger_tests::{
    client,
    frames::{
        Block, Client, Connection, Frame, code, flag, kind, request, response, server, setting,
    },
    upstream::Upstream,
    wait,
};

use super::{
    before,
    upstream::{beside, ok},
};

/// What is wrong, and the frames that make it so.
type Wrong = (&'static str, fn(u32) -> Vec<Frame>);

/// Broken messages: their stream is lost and no other (RFC 9113 section 8.1.1).
const MALFORMED: &[Wrong] = &[
    ("no status", |s| {
        vec![Frame::headers(s, Block::of(&[("x", "1")])).end_stream()]
    }),
    ("status of letters", |s| {
        vec![Frame::headers(s, Block::of(&[(":status", "abc")])).end_stream()]
    }),
    ("status below 100", |s| {
        vec![Frame::headers(s, Block::of(&[(":status", "099")])).end_stream()]
    }),
    ("status too long", |s| {
        vec![Frame::headers(s, Block::of(&[(":status", "2000")])).end_stream()]
    }),
    ("status twice", |s| {
        vec![Frame::headers(s, Block::of(&[(":status", "200"), (":status", "200")])).end_stream()]
    }),
    ("status behind a field", |s| {
        vec![Frame::headers(s, Block::of(&[("x", "1"), (":status", "200")])).end_stream()]
    }),
    ("name in upper case", |s| {
        vec![ok(s, &[("X-Upper", "1")]).end_stream()]
    }),
    ("name with a blank", |s| {
        vec![ok(s, &[("a b", "1")]).end_stream()]
    }),
    ("empty name", |s| vec![ok(s, &[("", "1")]).end_stream()]),
    ("line break in a value", |s| {
        vec![ok(s, &[("x", "1\r\ny: 2")]).end_stream()]
    }),
    ("NUL in a value", |s| {
        vec![ok(s, &[("x", "1\0")]).end_stream()]
    }),
    ("field of the connection", |s| {
        vec![ok(s, &[("connection", "close")]).end_stream()]
    }),
    ("transfer coding", |s| {
        vec![ok(s, &[("transfer-encoding", "chunked")]).end_stream()]
    }),
    ("two lengths", |s| {
        vec![
            ok(s, &[("content-length", "1"), ("content-length", "2")]),
            Frame::data(s, *b"1").end_stream(),
        ]
    }),
    ("length that is no number", |s| {
        vec![
            ok(s, &[("content-length", "+1")]),
            Frame::data(s, *b"1").end_stream(),
        ]
    }),
    ("length, and no body", |s| {
        vec![ok(s, &[("content-length", "5")]).end_stream()]
    }),
    ("101", |s| {
        vec![
            Frame::headers(s, response(101, &[])),
            Frame::data(s, *b"1").end_stream(),
        ]
    }),
    ("interim answer that ends", |s| {
        vec![Frame::headers(s, response(103, &[])).end_stream()]
    }),
    ("too many interim answers", |s| {
        vec![Frame::headers(s, response(103, &[])); 40]
    }),
    ("large head", |s| {
        let block = Vec::from(response(200, &[("x", &"a".repeat(70_000))]));
        let mut frames = vec![Frame::open_headers(s, &block[..16_000]).end_stream()];
        frames.extend(
            block[16_000..]
                .chunks(16_000)
                .map(|part| Frame::continuation(s, part)),
        );
        frames.last_mut().unwrap().flags |= flag::END_HEADERS;
        frames
    }),
    ("many fields", |s| {
        let block = (0..200).fold(response(200, &[]), |block, n| {
            block.literal(format!("x-{n}"), "1")
        });
        vec![Frame::headers(s, block).end_stream()]
    }),
];

/// What ends a connection (section 5.4.1).
const BROKEN: &[Wrong] = &[
    ("DATA before the head", |s| vec![Frame::data(s, *b"1")]),
    ("DATA on stream 0", |_| vec![Frame::data(0, *b"1")]),
    ("DATA on a stream that is not open", |_| {
        vec![Frame::data(99, *b"1")]
    }),
    ("head on stream 0", |_| vec![ok(0, &[])]),
    ("head on a stream of the server's", |_| vec![ok(2, &[])]),
    ("head on a stream that is not open", |_| vec![ok(99, &[])]),
    ("push", |s| {
        vec![Frame::new(
            kind::PUSH_PROMISE,
            flag::END_HEADERS,
            s,
            [0, 0, 0, 2, 0x82],
        )]
    }),
    ("frame too large", |s| vec![Frame::data(s, vec![0; 16_385])]),
    ("frame within a head", |s| {
        vec![Frame::open_headers(s, [0x88]), Frame::ping([0; 8])]
    }),
    ("CONTINUATION of nothing", |s| {
        vec![Frame::continuation(s, []).end_headers()]
    }),
    ("broken HPACK", |s| {
        vec![Frame::headers(s, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff])]
    }),
    ("entry of the table that is not there", |s| {
        vec![Frame::headers(s, Block::default().indexed(90))]
    }),
    ("padding longer than its frame", |s| {
        vec![Frame::new(
            kind::HEADERS,
            flag::PADDED | flag::END_HEADERS,
            s,
            [9, 0x88],
        )]
    }),
    ("reset of nothing", |_| vec![Frame::reset(0, code::CANCEL)]),
    ("short reset", |s| {
        vec![Frame::new(kind::RST_STREAM, 0, s, [0, 0])]
    }),
    ("short PING", |_| vec![Frame::new(kind::PING, 0, 0, [1])]),
    ("setting out of range", |_| {
        vec![Frame::settings(&[(
            setting::INITIAL_WINDOW_SIZE,
            0x8000_0000,
        )])]
    }),
    ("half a setting", |_| {
        vec![Frame::new(kind::SETTINGS, 0, 0, [0, 1, 0])]
    }),
    ("empty window update", |_| vec![Frame::window_update(0, 0)]),
    ("window of more than there is", |_| {
        vec![Frame::window_update(0, 0x7fff_ffff)]
    }),
    ("SETTINGS on a stream", |s| {
        vec![Frame::new(kind::SETTINGS, 0, s, [])]
    }),
    ("GOAWAY with an error", |_| {
        vec![
            Frame::goaway(0x7fff_ffff, code::INTERNAL_ERROR),
            Frame::data(0, *b"1"),
        ]
    }),
];

#[track_caller]
fn assert_refused(what: &str, frames: fn(u32) -> Vec<Frame>) -> Upstream {
    let (up, proxy) = beside(frames);
    let mut http1 = client::Client::connect(proxy.web());
    let got = http1.get("/odd");
    assert_eq!(got.status(), 502, "{what}: {got}");
    let mut http2 = Client::connect(proxy.web());
    let got = http2.get("/odd");
    assert_eq!((got.status(), got.ended), (502, true), "{what}");
    // Neither client nor endpoint is worse off.
    assert_eq!(http1.post("/", b"on").body, b"on", "{what}");
    assert_eq!(http2.post("/", b"on").body, b"on", "{what}");
    for line in &proxy.log_of(4)[..2] {
        let cause = line["cause"].as_str().unwrap_or("none");
        let expected = [
            "http_protocol_error",
            "http_response_header_section_size",
            "http_upgrade_failed",
        ];
        assert!(expected.contains(&cause), "{what}: {line}");
        assert_eq!(line["status"], 502, "{what}: {line}");
        assert_eq!(line["attempts"], 1, "{what}: {line}");
    }
    up
}

#[test]
fn answers_that_are_malformed_are_a_502() {
    for (what, frames) in MALFORMED {
        // An error of the stream and not of its connection (RFC 9113 section 8.1.1).
        assert_eq!(assert_refused(what, *frames).connections(), 1, "{what}");
    }
}

#[test]
fn frames_out_of_order_are_a_502() {
    for (what, frames) in BROKEN {
        // An error of the stream, or of the connection: then each request loses its own, and those
        // behind them share another.
        let connections = assert_refused(what, *frames).connections();
        assert!([1, 3].contains(&connections), "{what}: {connections}");
    }
}

#[test]
fn a_body_that_is_not_what_its_length_says_is_never_taken_for_whole() {
    let wrong: [Wrong; 3] = [
        ("too short", |s| {
            vec![
                ok(s, &[("content-length", "5")]),
                Frame::data(s, *b"1234").end_stream(),
            ]
        }),
        ("too long", |s| {
            vec![
                ok(s, &[("content-length", "5")]),
                Frame::data(s, *b"123456").end_stream(),
            ]
        }),
        ("too short, with trailers", |s| {
            vec![
                ok(s, &[("content-length", "5")]),
                Frame::data(s, *b"1234"),
                Frame::headers(s, Block::of(&[("x", "1")])).end_stream(),
            ]
        }),
    ];
    for (what, frames) in wrong {
        let (_up, proxy) = beside(frames);
        let got = Client::connect(proxy.web()).get("/odd");
        let told = got.reset.is_some() || got.status() == 502;
        assert!(told, "{what}: {got:?}");
        let mut http1 = client::Client::connect(proxy.web());
        http1.send(client::request("GET", "/odd", &["Connection: close"], b""));
        let (answer, _) = http1.rest();
        let answer = answer.escape_ascii().to_string();
        let whole = answer.ends_with("12345") || answer.ends_with("123456");
        assert!(!whole, "{what}: {answer}");
        for line in proxy.log_of(2) {
            assert!(line["cause"].is_string(), "{what}: {line}");
        }
    }
}

#[test]
fn data_beyond_the_window_ends_the_connection() {
    let up = server(&[], |connection: &mut Connection| {
        while let Some((stream, request)) = connection.request() {
            if request.get(":path") != Some("/flood") {
                connection.answer(stream, 200, &[], b"on");
                continue;
            }
            // Six frames are more than the 65,535 bytes that we allow before we read any.
            let mut frames = vec![ok(stream, &[])];
            frames.resize(7, Frame::data(stream, vec![b'x'; 16_384]));
            let _ = connection.try_send(&frames);
        }
    });
    let proxy = before(&[&up.address], "http2: { max_window: 64KiB }");
    // A client that takes nothing, so that nothing is acknowledged upstream.
    let mut client = Client::connect_with(proxy.web(), &[(setting::INITIAL_WINDOW_SIZE, 0)]);
    let stream = client.open(request("GET", "/flood", &[]), true);
    wait::until("the connection to be ended", || {
        (up.connections() == 1 && up.open() == 0).then_some(())
    });
    client.send(&Frame::window_update(stream, 1 << 20));
    let got = client.whole(stream);
    assert_eq!((got.ended, got.reset), (false, Some(code::INTERNAL_ERROR)));
    let log = proxy.log_of(1);
    assert_eq!(log[0]["cause"], "http_protocol_error", "{log:?}");
    assert_eq!(client::get(proxy.web(), "/").body, b"on");
    assert_eq!(up.connections(), 2);
}
