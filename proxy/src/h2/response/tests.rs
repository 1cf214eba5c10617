//! Responses: every rule of reading and writing them.

use proptest::prelude::*;

use super::{
    super::testing::{block, lines},
    *,
};
use crate::fuzzing;

const LIMITS: Limits = Limits {
    head: 4_096,
    line: 1_024,
    fields: 16,
};

fn answer(status: u16, fields: &[(&str, &str)]) -> Block {
    let status = status.to_string();
    let all = [(":status", &*status)]
        .into_iter()
        .chain(fields.iter().copied());
    let all: Vec<_> = all.map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
    block(&all)
}

fn read(block: &Block, end: bool, asked: Asked) -> Result<(Vec<u8>, ResponseHead), Failure> {
    let (mut bytes, mut head) = (b"old".to_vec(), ResponseHead::default());
    read_response(block, end, asked, &LIMITS, &mut bytes, &mut head)?;
    Ok((bytes, head))
}

#[track_caller]
fn refused(block: &Block, end: bool, detail: &str) {
    let read = read(block, end, Asked::Other);
    let failure = read.map(|(bytes, _)| bytes).expect_err("refused");
    assert_eq!(
        (failure.cause, failure.detail),
        (Cause::BadResponse, detail)
    );
}

#[test]
fn a_head_is_text_with_positions() {
    let (bytes, head) = read(&answer(404, &[("x", "y")]), false, Asked::Other).expect("valid");
    assert_eq!(bytes, b"HTTP/2 404 Not Found\r\nx: y\r\n\r\n");
    assert_eq!(head.reason.of(&bytes), b"Not Found");
    assert_eq!((head.status, head.version), (404, Version::Http2));
    assert_eq!((head.body, head.len), (Body::Chunked, bytes.len()));
    assert!(head.keep_alive);
}

#[test]
fn bodies() {
    let of = |status: u16, length: Option<&str>, end: bool, asked: Asked| {
        let fields: Vec<_> = length.iter().map(|n| ("content-length", *n)).collect();
        let read = read(&answer(status, &fields), end, asked);
        let head = read.map_err(|f| f.detail)?.1;
        Ok((head.body, head.declared_length))
    };
    let (other, head) = (Asked::Other, Asked::Head);
    for (status, length, end, asked, expected) in [
        (200, None, false, other, Ok((Body::Chunked, None))),
        (200, None, true, other, Ok((Body::Length(0), None))),
        (200, Some("5"), false, other, Ok((Body::Length(5), Some(5)))),
        (200, Some("0"), true, other, Ok((Body::Length(0), Some(0)))),
        (
            200,
            Some("5"),
            true,
            other,
            Err("Content-Length without a body"),
        ),
        (200, Some("5"), true, head, Ok((Body::None, Some(5)))),
        (200, None, false, head, Ok((Body::None, None))),
        (204, None, true, other, Ok((Body::None, None))),
        (204, Some("5"), true, other, Err("a body where none may be")),
        (304, Some("5"), true, other, Ok((Body::None, Some(5)))),
        (103, None, false, other, Ok((Body::None, None))),
        (
            103,
            Some("5"),
            false,
            other,
            Err("a body where none may be"),
        ),
        (
            103,
            None,
            true,
            other,
            Err("an interim response that ends its stream"),
        ),
    ] {
        let found = of(status, length, end, asked);
        assert_eq!(found, expected, "{status} {length:?} {end} {asked:?}");
    }
}

#[test]
fn broken_answers() {
    refused(&answer(101, &[]), false, "101 on HTTP/2");
    refused(&answer(600, &[]), true, "status code");
    for status in [0, 99, 1_000] {
        refused(&answer(status, &[]), true, ":status");
    }
    refused(
        &block(&[(b"x", b"y"), (b":status", b"200")]),
        true,
        ":status",
    );
    refused(&block(&[(b":status", b"abc")]), true, ":status");
    for name in [":status", ":path", "X", "x y", ""] {
        refused(&answer(200, &[(name, "200")]), true, "field name");
    }
    let specific = answer(200, &[("connection", "close")]);
    refused(&specific, true, "connection-specific field");
    let twice = [("content-length", "1"), ("content-length", "1")];
    refused(&answer(200, &twice), false, "more than one Content-Length");
    let many = [("x", "1"); 17];
    let failure = read(&answer(200, &many), true, Asked::Other).map(|(bytes, _)| bytes);
    assert_eq!(
        failure.expect_err("refused").cause,
        Cause::ResponseHeadTooLarge
    );
}

#[test]
fn a_granted_connect_is_a_switch() {
    let (mut bytes, mut head) = (Vec::new(), ResponseHead::default());
    let granted = answer(200, &[("content-length", "7"), ("x", "y")]);
    read_switch(&granted, b"websocket", &LIMITS, &mut bytes, &mut head).expect("granted");
    assert_eq!((head.status, head.body), (101, Body::None));
    assert_eq!(head.declared_length, None);
    assert_eq!(head.upgrade.map(|u| u.of(&bytes)), Some(&b"websocket"[..]));
    let refused = read_switch(&answer(403, &[]), b"x", &LIMITS, &mut bytes, &mut head);
    assert_eq!(refused.expect_err("refused").cause, Cause::BadResponse);
}

#[test]
fn edits_are_applied() {
    let (bytes, head) = read(
        &answer(200, &[("a", "1"), ("b", "2"), ("content-length", "3")]),
        false,
        Asked::Other,
    )
    .expect("valid");
    let mut edits = Edits::default();
    edits.drop_field(0);
    edits.add("Set-Cookie", b"c=d");
    let view = ResponseView {
        bytes: &bytes,
        head: &head,
    };
    let mut out = Vec::new();
    write_response(&mut out, &view, &edits);
    let expected = [
        ":status: 200",
        "b: 2",
        "content-length: 3",
        "set-cookie: c=d",
    ];
    assert_eq!(lines(&out), expected);
}

#[test]
fn an_answer_of_ours() {
    let mut out = Vec::new();
    own_response(&mut out, 503, b"Retry-After: 1\r\nx:y\r\n", Some(7));
    let expected = [
        ":status: 503",
        "retry-after: 1",
        "x: y",
        "content-length: 7",
    ];
    assert_eq!(lines(&out), expected);
}

#[test]
fn the_length_of_nothing_is_not_made_up() {
    let (bytes, head) =
        read(&answer(200, &[("grpc-status", "5")]), true, Asked::Other).expect("valid");
    let view = ResponseView {
        bytes: &bytes,
        head: &head,
    };
    let mut out = Vec::new();
    write_response(&mut out, &view, &Edits::default());
    assert_eq!(lines(&out), [":status: 200", "grpc-status: 5"]);
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "x-[a-c]: [!-~]{0,6}",
        2 => "set-cookie: [a-c]=[0-9]{0,3}",
        1 => "(server|date|via|proxy-status|trailer|grpc-status): [a-z0-9/]{1,5}",
        1 => "content-length: 0{0,2}[0-9]{0,3}",
        1 => "[a-z\"_-]{1,4}: [ -~\t\u{e9}]{0,4}",
    ]
}

proptest! {
    /// The target says what must hold; here it is given more that is valid than mutation makes.
    #[test]
    fn what_is_accepted_means_the_same_in_http1(
        choice in 0_u8..4,
        status in "200|204|304|10[0-4]|[1-6][0-9]{2}",
        lines in proptest::collection::vec(line(), 0..6),
    ) {
        let mut message = vec![choice];
        for line in std::iter::once(format!(":status: {status}")).chain(lines) {
            message.extend(line.chars().map(|c| c as u8));
            message.push(b'\n');
        }
        fuzzing::http2_response(&message);
    }
}
