//! Responses: every rule of reading and writing them, whatever the `h2` crate refuses before.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;
use crate::fuzzing;

const LIMITS: Limits = Limits {
    head: 4_096,
    line: 1_024,
    fields: 16,
};

fn parts(status: u16, fields: &[(&'static str, &str)]) -> Parts {
    let mut builder = Response::builder().status(status);
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    builder.body(()).expect("a response").into_parts().0
}

fn read(parts: &Parts, end: bool, asked: Asked) -> Result<(Vec<u8>, ResponseHead), Failure> {
    let (mut bytes, mut head) = (b"old".to_vec(), ResponseHead::default());
    read_response(parts, end, asked, &LIMITS, &mut bytes, &mut head)?;
    Ok((bytes, head))
}

#[track_caller]
fn refused(parts: &Parts, end: bool, detail: &str) {
    let read = read(parts, end, Asked::Other);
    let failure = read.map(|(bytes, _)| bytes).expect_err("refused");
    assert_eq!(
        (failure.cause, failure.detail),
        (Cause::BadResponse, detail)
    );
}

#[test]
fn a_head_is_text_with_positions() {
    let (bytes, head) = read(&parts(404, &[("x", "y")]), false, Asked::Other).expect("valid");
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
        let read = read(&parts(status, &fields), end, asked);
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
    refused(&parts(101, &[]), false, "101 on HTTP/2");
    refused(&parts(600, &[]), true, "status code");
    let specific = parts(200, &[("connection", "close")]);
    refused(&specific, true, "connection-specific field");
    let twice = [("content-length", "1"), ("content-length", "1")];
    refused(&parts(200, &twice), false, "more than one Content-Length");
    let many = [("x", "1"); 17];
    let failure = read(&parts(200, &many), true, Asked::Other).map(|(bytes, _)| bytes);
    assert_eq!(
        failure.expect_err("refused").cause,
        Cause::ResponseHeadTooLarge
    );
}

#[test]
fn a_granted_connect_is_a_switch() {
    let (mut bytes, mut head) = (Vec::new(), ResponseHead::default());
    let granted = parts(200, &[("content-length", "7"), ("x", "y")]);
    read_switch(&granted, b"websocket", &LIMITS, &mut bytes, &mut head).expect("granted");
    assert_eq!((head.status, head.body), (101, Body::None));
    assert_eq!(head.declared_length, None);
    assert_eq!(head.upgrade.map(|u| u.of(&bytes)), Some(&b"websocket"[..]));
    let refused = read_switch(&parts(403, &[]), b"x", &LIMITS, &mut bytes, &mut head);
    assert_eq!(refused.expect_err("refused").cause, Cause::BadResponse);
}

#[test]
fn edits_are_applied() {
    let (bytes, head) = read(
        &parts(200, &[("a", "1"), ("b", "2"), ("content-length", "3")]),
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
    let out = write_response(&view, &edits).expect("carried");
    assert_eq!(out.status(), 200);
    let fields: Vec<_> = out.headers().iter().collect();
    let value = HeaderValue::from_static;
    assert_eq!(
        fields,
        [
            (&http::header::HeaderName::from_static("b"), &value("2")),
            (&http::header::CONTENT_LENGTH, &value("3")),
            (&http::header::SET_COOKIE, &value("c=d")),
        ]
    );
}

#[test]
fn the_length_of_nothing_is_not_made_up() {
    let (bytes, head) =
        read(&parts(200, &[("grpc-status", "5")]), true, Asked::Other).expect("valid");
    let view = ResponseView {
        bytes: &bytes,
        head: &head,
    };
    let out = write_response(&view, &Edits::default()).expect("carried");
    assert_eq!(out.headers().len(), 1);
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
