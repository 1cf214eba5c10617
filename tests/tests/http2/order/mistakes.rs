//! What a client may not send, and where the proxy refuses it in another way than the h2 crate does.

use outrigger_tests::frames::{Block, Frame, code, flag, kind, setting};

use super::{Case, block, data, get, post, split};

/// How the proxy refuses.
pub(super) enum Refusal {
    Status(u16),
    Reset(u32),
    Ended(u32),
}

use Refusal::{Ended, Reset, Status};

/// Where it does so otherwise, and why. Sections are of RFC 9113.
pub(super) const OTHERWISE: &[(&str, Refusal)] = &[
    // Section 8.3.1 wants the one or the other; HTTP/1.1 behind us could not be told.
    ("no authority and no host", Status(400)),
    // The same section: they must agree, else two servers could read two hosts.
    ("another host than authority", Status(400)),
    // Section 8.2.1. HTTP/1 would read another value.
    ("a blank before a value", Status(400)),
    // A proxy is no tunnel unless it is told to be one (`http.connect`).
    ("CONNECT", Status(405)),
    // Far more pieces than a head can need (CVE-2024-27316).
    ("a head by bytes", Ended(code::ENHANCE_YOUR_CALM)),
    // The h2 crate takes it, and drops it where nobody sees it.
    ("a pseudo-field in trailers", Status(400)),
    // It ends the connection, where section 8.1.1 and 6.9 make it an error of the stream.
    ("an unknown pseudo-field", Status(400)),
    ("a name in upper case", Status(400)),
    ("a window by nothing", Reset(code::PROTOCOL_ERROR)),
    ("DATA behind the end", Reset(code::STREAM_CLOSED)),
    ("a head behind the end", Reset(code::STREAM_CLOSED)),
    // It calls each of these PROTOCOL_ERROR. Sections 5.1.1, 4.2, 6.5.2 and 4.3 have more to say.
    ("streams backwards", Ended(code::STREAM_CLOSED)),
    ("a short PING", Ended(code::FRAME_SIZE_ERROR)),
    ("a short reset", Ended(code::FRAME_SIZE_ERROR)),
    (
        "SETTINGS that acknowledge and set",
        Ended(code::FRAME_SIZE_ERROR),
    ),
    ("half a setting", Ended(code::FRAME_SIZE_ERROR)),
    (
        "a window beyond what there is",
        Ended(code::FLOW_CONTROL_ERROR),
    ),
    ("broken HPACK", Ended(code::COMPRESSION_ERROR)),
    (
        "an entry of the table that is not there",
        Ended(code::COMPRESSION_ERROR),
    ),
    ("a short window update", Ended(code::FRAME_SIZE_ERROR)),
    ("a short GOAWAY", Ended(code::FRAME_SIZE_ERROR)),
];

/// Of a stream first, then of the whole connection.
#[allow(clippy::too_many_lines, reason = "a table")]
pub(super) fn mistakes() -> Vec<Case> {
    let field = |name, value| {
        vec![block(
            1,
            &[
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "a"),
                (":path", "/"),
                (name, value),
            ],
        )]
    };
    let body = |frames: &[Frame]| [&[post(1, &[])], frames].concat();
    let length = |n, frames: &[Frame]| [&[post(1, &[("content-length", n)])], frames].concat();
    let bad = |kind, flags, stream, payload: &[u8]| vec![Frame::new(kind, flags, stream, payload)];
    vec![
        // Of a stream.
        (
            "no method",
            vec![block(1, &[(":scheme", "http"), (":path", "/")])],
            &[1],
        ),
        (
            "no path",
            vec![block(
                1,
                &[(":method", "GET"), (":scheme", "http"), (":authority", "a")],
            )],
            &[1],
        ),
        (
            "no scheme",
            vec![block(
                1,
                &[(":method", "GET"), (":authority", "a"), (":path", "/")],
            )],
            &[1],
        ),
        (
            "empty path",
            vec![block(
                1,
                &[
                    (":method", "GET"),
                    (":scheme", "http"),
                    (":authority", "a"),
                    (":path", ""),
                ],
            )],
            &[1],
        ),
        ("method twice", field(":method", "GET"), &[1]),
        ("a pseudo-field of answers", field(":status", "200"), &[1]),
        ("an unknown pseudo-field", field(":what", "x"), &[1]),
        (
            "a pseudo-field behind a field",
            vec![block(
                1,
                &[
                    (":method", "GET"),
                    ("a", "b"),
                    (":scheme", "http"),
                    (":path", "/"),
                ],
            )],
            &[1],
        ),
        ("a name in upper case", field("A-B", "x"), &[1]),
        ("connection", field("connection", "close"), &[1]),
        (
            "transfer-encoding",
            field("transfer-encoding", "chunked"),
            &[1],
        ),
        ("te: gzip", field("te", "gzip"), &[1]),
        (
            "no authority and no host",
            vec![block(
                1,
                &[(":method", "GET"), (":scheme", "http"), (":path", "/")],
            )],
            &[1],
        ),
        ("another host than authority", field("host", "b"), &[1]),
        ("a blank before a value", field("a-x", " y"), &[1]),
        (
            "a length too long",
            length("4", &[data(1, "abc").end_stream()]),
            &[1],
        ),
        (
            "a length too short",
            length("2", &[data(1, "abc").end_stream()]),
            &[1],
        ),
        (
            "a length too long, and trailers",
            length("4", &[data(1, "abc"), block(1, &[("a-t", "1")])]),
            &[1],
        ),
        (
            "two lengths",
            vec![
                post(1, &[("content-length", "3"), ("content-length", "4")]),
                data(1, "abc").end_stream(),
            ],
            &[1],
        ),
        (
            "a length of no digits",
            length("3x", &[data(1, "abc").end_stream()]),
            &[1],
        ),
        (
            "a pseudo-field in trailers",
            body(&[block(1, &[(":path", "/")])]),
            &[1],
        ),
        (
            "a field of the connection in trailers",
            body(&[block(1, &[("connection", "close")])]),
            &[1],
        ),
        (
            "trailers that do not end",
            body(&[Frame::headers(1, Block::of(&[("a-t", "1")]))]),
            &[1],
        ),
        (
            "a window that is too large",
            body(&[Frame::window_update(1, 0x7fff_ffff)]),
            &[1],
        ),
        (
            "a window by nothing",
            body(&[Frame::window_update(1, 0)]),
            &[1],
        ),
        (
            "CONNECT with a path",
            vec![block(
                1,
                &[
                    (":method", "CONNECT"),
                    (":scheme", "http"),
                    (":authority", "a:1"),
                    (":path", "/"),
                ],
            )],
            &[1],
        ),
        (
            "CONNECT",
            vec![block(1, &[(":method", "CONNECT"), (":authority", "a:1")])],
            &[1],
        ),
        ("a head by bytes", split(&get(1), &[1; 20]), &[1]),
        // Of the connection.
        ("DATA behind the end", vec![get(1), data(1, "x")], &[1]),
        ("a head behind the end", vec![get(1), get(1)], &[1]),
        ("DATA before a head", vec![data(1, "x")], &[]),
        ("DATA of stream 0", vec![data(0, "x")], &[]),
        ("a head of stream 0", vec![get(0)], &[]),
        ("a head of a stream of the server's", vec![get(2)], &[]),
        ("streams backwards", vec![get(5), get(3)], &[]),
        (
            "a reset of a stream to come",
            vec![Frame::reset(5, code::CANCEL)],
            &[],
        ),
        (
            "a window of a stream to come",
            vec![Frame::window_update(5, 1)],
            &[],
        ),
        (
            "a window of all by nothing",
            vec![Frame::window_update(0, 0)],
            &[],
        ),
        (
            "a window of all that is too large",
            vec![Frame::window_update(0, 0x7fff_ffff)],
            &[],
        ),
        (
            "PUSH_PROMISE",
            bad(
                kind::PUSH_PROMISE,
                flag::END_HEADERS,
                1,
                &[0, 0, 0, 2, 0x82],
            ),
            &[],
        ),
        (
            "CONTINUATION of nothing",
            vec![Frame::continuation(1, []).end_headers()],
            &[],
        ),
        (
            "a frame within a head",
            vec![split(&get(1), &[5])[0].clone(), Frame::ping([0; 8])],
            &[],
        ),
        (
            "an unknown frame within a head",
            vec![split(&get(1), &[5])[0].clone(), Frame::new(0xfa, 0, 1, [])],
            &[],
        ),
        (
            "CONTINUATION of another stream",
            vec![
                split(&get(1), &[5])[0].clone(),
                Frame::continuation(3, [0x84]).end_headers(),
            ],
            &[],
        ),
        (
            "padding longer than its head",
            bad(
                kind::HEADERS,
                flag::PADDED | flag::END_HEADERS,
                1,
                &[9, 0x82],
            ),
            &[],
        ),
        (
            "padding longer than its data",
            body(&bad(kind::DATA, flag::PADDED, 1, &[9, 1])),
            &[],
        ),
        ("a short PING", bad(kind::PING, 0, 0, &[1]), &[]),
        ("a PING of a stream", bad(kind::PING, 0, 1, &[0; 8]), &[]),
        ("a short reset", bad(kind::RST_STREAM, 0, 1, &[0]), &[]),
        ("SETTINGS of a stream", bad(kind::SETTINGS, 0, 1, &[]), &[]),
        (
            "SETTINGS that acknowledge and set",
            bad(kind::SETTINGS, flag::ACK, 0, &[0, 1, 0, 0, 0, 0]),
            &[],
        ),
        ("half a setting", bad(kind::SETTINGS, 0, 0, &[0, 1]), &[]),
        (
            "a window beyond what there is",
            vec![Frame::settings(&[(
                setting::INITIAL_WINDOW_SIZE,
                0x8000_0000,
            )])],
            &[],
        ),
        (
            "frames too small",
            vec![Frame::settings(&[(setting::MAX_FRAME_SIZE, 1)])],
            &[],
        ),
        (
            "a frame too large",
            body(&[Frame::data(1, vec![0; 16_385])]),
            &[],
        ),
        ("broken HPACK", vec![Frame::headers(1, [0xff; 8])], &[]),
        (
            "an entry of the table that is not there",
            vec![Frame::headers(1, Block::default().indexed(90))],
            &[],
        ),
        (
            "a short window update",
            bad(kind::WINDOW_UPDATE, 0, 0, &[0]),
            &[],
        ),
        ("a short GOAWAY", bad(kind::GOAWAY, 0, 0, &[0; 3]), &[]),
    ]
}
