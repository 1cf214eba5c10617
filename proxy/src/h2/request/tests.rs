//! Requests: every rule of reading and writing them, whatever the `h2` crate refuses before.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;
use crate::{
    fuzzing,
    h1::{self, HeadScan},
    message::HeaderLine,
};

const LIMITS: Limits = Limits {
    head: 4_096,
    line: 1_024,
    fields: 16,
};

/// A request as the `h2` crate hands it over.
fn parts(method: &str, uri: &str, fields: &[(&'static str, &str)]) -> Parts {
    let mut builder = Request::builder().method(method).uri(uri);
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    builder.body(()).expect("a request").into_parts().0
}

fn read(parts: &Parts, end: bool) -> Result<(Vec<u8>, RequestHead), Failure> {
    let (mut bytes, mut head) = (Vec::new(), RequestHead::default());
    read_request(parts, end, &LIMITS, &mut bytes, &mut head)?;
    Ok((bytes, head))
}

#[track_caller]
fn refused(parts: &Parts, end: bool, cause: Cause, detail: &str) {
    let failure = read(parts, end)
        .map(|(bytes, _)| bytes)
        .expect_err("refused");
    assert_eq!((failure.cause, failure.detail), (cause, detail));
}

fn parse(text: &str) -> (Vec<u8>, RequestHead) {
    let bytes = text.replace('\n', "\r\n").into_bytes();
    let mut head = RequestHead::default();
    h1::parse_request(&bytes, &LIMITS, &mut head).expect("valid");
    (bytes, head)
}

/// What is sent of a request of HTTP/1, one thing a line.
fn written(text: &str, upgrade: bool, edit: impl Fn(&mut Edits)) -> Result<String, Failure> {
    let (bytes, head) = parse(text);
    let view = RequestView {
        bytes: &bytes,
        head: &head,
    };
    let mut edits = Edits::default();
    edit(&mut edits);
    let out = write_request(&view, &edits, upgrade, view.authority(), Scheme::HTTPS)?;
    assert_eq!(out.version(), http::Version::HTTP_2);
    let mut lines = vec![format!("{} {}", out.method(), out.uri())];
    let protocol = out.extensions().get::<Protocol>();
    lines.extend(protocol.map(|p| format!(":protocol: {}", p.as_str())));
    for (name, value) in out.headers() {
        lines.push(format!("{name}: {}", value.to_str().expect("ASCII")));
    }
    lines.push(String::new());
    Ok(lines.join("\n"))
}

#[test]
fn a_head_is_text_with_positions() {
    let fields = [("x-a", "1"), ("cookie", "a=1"), ("cookie", "b=2")];
    let mut parts = parts("POST", "https://a.example:8/b?c", &fields);
    parts
        .headers
        .insert("x-b", HeaderValue::from_bytes(b"\xe9").expect("a value"));
    let (bytes, head) = read(&parts, false).expect("valid");
    assert_eq!(
        bytes,
        b"POST /b?c HTTP/2\r\nhost: a.example:8\r\nx-a: 1\r\ncookie: a=1; b=2\r\nx-b: \xe9\r\n\r\n"
    );
    let view = RequestView {
        bytes: &bytes,
        head: &head,
    };
    assert_eq!(view.method(), b"POST");
    assert_eq!((view.path(), view.query()), (&b"/b"[..], Some(&b"c"[..])));
    assert_eq!(view.authority(), b"a.example:8");
    assert_eq!(view.host(), b"a.example");
    assert_eq!(view.cookie(b"b"), Some(&b"2"[..]));
    assert_eq!(view.known(Known::Host), Some(&b"a.example:8"[..]));
    assert_eq!((head.version, head.body), (Version::Http2, Body::Chunked));
    assert_eq!(head.len, bytes.len());
    assert!(head.keep_alive && !head.extended_connect && head.upgrade.is_none());
}

#[test]
fn allocations_are_reused_and_nothing_is_left_in_them() {
    let (mut bytes, mut head) = (Vec::new(), RequestHead::default());
    let first = parts(
        "POST",
        "http://a/long?query",
        &[("te", "trailers"), ("expect", "100-continue"), ("x", "y")],
    );
    read_request(&first, false, &LIMITS, &mut bytes, &mut head).expect("valid");
    assert!(head.te_trailers && head.expect_continue);
    let room = bytes.as_ptr();
    let second = parts("GET", "http://b/", &[]);
    read_request(&second, true, &LIMITS, &mut bytes, &mut head).expect("valid");
    assert_eq!(bytes, b"GET / HTTP/2\r\nhost: b\r\n\r\n");
    assert_eq!(bytes.as_ptr(), room);
    assert_eq!(head.fields.len(), 1);
    assert!(!head.te_trailers && !head.expect_continue);
    assert_eq!(head.body, Body::None);
    assert!(head.query.is_empty());
}

#[test]
fn connection_specific_fields_are_refused_whatever_the_crate_lets_through() {
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    ] {
        let parts = parts("GET", "http://a/", &[(name, "x")]);
        refused(&parts, true, Cause::BadRequest, "connection-specific field");
    }
    for value in ["gzip", "trailers, gzip", "Trailers", ""] {
        let parts = parts("GET", "http://a/", &[("te", value)]);
        refused(&parts, true, Cause::BadRequest, "TE");
    }
}

#[test]
fn lengths() {
    let with = |value: &str| parts("POST", "http://a/", &[("content-length", value)]);
    assert_eq!(
        read(&with("5"), false).expect("valid").1.body,
        Body::Length(5)
    );
    assert_eq!(
        read(&with("0"), true).expect("valid").1.body,
        Body::Length(0)
    );
    refused(
        &with("5"),
        true,
        Cause::BadRequest,
        "Content-Length without a body",
    );
    for odd in ["", "+1", "1,1", "1 1", "0x1", "99999999999999999999"] {
        refused(&with(odd), false, Cause::BadRequest, "Content-Length");
    }
    let twice = [("content-length", "5"), ("content-length", "5")];
    let twice = parts("POST", "http://a/", &twice);
    refused(
        &twice,
        false,
        Cause::BadRequest,
        "more than one Content-Length",
    );
    let trace = parts("TRACE", "http://a/", &[]);
    refused(
        &trace,
        false,
        Cause::BadRequest,
        "CONNECT or TRACE with a body",
    );
    assert!(read(&trace, true).is_ok());
}

#[test]
fn bounds_are_held_before_anything_is_copied() {
    let many = [("x", "1"); 17];
    let parts_of = |fields: &[(&'static str, &str)]| parts("GET", "http://a/", fields);
    let large = Cause::RequestHeadTooLarge;
    refused(&parts_of(&many), true, large, "number of fields");
    assert!(read(&parts_of(&many[..16]), true).is_ok());
    // Crumbs that would be small as one line are not as fields.
    let crumbs = [("cookie", ""); 17];
    refused(&parts_of(&crumbs), true, large, "number of fields");
    // Names and overhead of the pseudo-header fields, then their values; overhead and name of this.
    let room = 4_096 - (29 + 128 + 3 + 4 + 1 + 1) - 33;
    let value = "y".repeat(room);
    assert!(read(&parts_of(&[("x", &value)]), true).is_ok());
    let value = "y".repeat(room + 1);
    let (mut bytes, mut head) = (Vec::new(), RequestHead::default());
    let parts = parts_of(&[("x", &value)]);
    let failure = read_request(&parts, true, &LIMITS, &mut bytes, &mut head).expect_err("refused");
    assert_eq!((failure.cause, bytes.capacity()), (large, 0));
}

#[test]
fn a_long_path_is_told_from_a_large_head() {
    let line = |length: usize| parts("GET", &format!("http://a/{}", "b".repeat(length)), &[]);
    let fits = 1_024 - "GET / HTTP/2".len();
    assert!(read(&line(fits), true).is_ok());
    refused(&line(fits + 1), true, Cause::RequestLineTooLong, ":path");
}

#[test]
fn connect_is_a_host_and_a_port() {
    let (bytes, head) = read(&parts("CONNECT", "a.example:443", &[]), false).expect("valid");
    assert_eq!(
        bytes,
        b"CONNECT a.example:443 HTTP/2\r\nhost: a.example:443\r\n\r\n"
    );
    assert_eq!((head.method, head.body), (Method::Connect, Body::None));
    assert!(head.path.is_empty() && head.upgrade.is_none());
    let with_path = parts("CONNECT", "http://a.example:443/", &[]);
    refused(
        &with_path,
        false,
        Cause::BadRequest,
        "CONNECT with :scheme or :path",
    );
    let without_port = parts("CONNECT", "a.example", &[]);
    refused(&without_port, false, Cause::BadRequest, ":authority");
}

#[test]
fn extended_connect_is_an_upgrade_by_get() {
    let mut parts = parts("CONNECT", "https://a.example/chat", &[("origin", "x")]);
    parts.extensions.insert(Protocol::from_static("websocket"));
    let (bytes, head) = read(&parts, false).expect("valid");
    assert_eq!(
        bytes,
        b"GET /chat HTTP/2\r\nhost: a.example\r\nupgrade: websocket\r\norigin: x\r\n\r\n"
    );
    assert!(head.extended_connect);
    assert_eq!((head.method, head.body), (Method::Get, Body::None));
    assert_eq!(head.upgrade.map(|u| u.of(&bytes)), Some(&b"websocket"[..]));
    // Whatever the crate lets through.
    parts.method = Verb::GET;
    refused(&parts, false, Cause::BadRequest, ":protocol");
}

#[test]
fn edits_are_applied() {
    let text = "GET /old?q HTTP/1.1\nHost: a\nA: 1\nB: 2\nC: 3\n\n";
    let sent = written(text, false, |edits| {
        edits.drop_field(2);
        edits.add("D", b"4");
        edits.add_line(&HeaderLine::new("X-Request-Id", ""));
        edits.path = Some(b"/new".as_slice().into());
        edits.host = Some(b"b".as_slice().into());
    });
    assert_eq!(
        sent.expect("carried"),
        "GET https://b/new?q\na: 1\nc: 3\nd: 4\nx-request-id: \n"
    );
}

#[test]
fn what_is_dropped_of_the_framing_is_its_line_alone() {
    let text = "POST / HTTP/1.1\nHost: a\nContent-Length: 5\nX: 1\n\n";
    let sent = written(text, false, |edits| edits.drop_field(1));
    assert_eq!(
        sent.expect("carried"),
        "POST https://a/\ncontent-length: 5\nx: 1\n"
    );
}

#[test]
fn an_upgrade_goes_on_where_it_is_allowed() {
    let text = "GET /chat HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: WebSocket, foo/2\n\
                Sec-WebSocket-Key: x\nSec-WebSocket-Version: 13\n\n";
    assert_eq!(
        written(text, true, |_| ()).expect("carried"),
        "CONNECT https://a/chat\n:protocol: websocket\nsec-websocket-version: 13\n"
    );
    assert_eq!(
        written(text, false, |_| ()).expect("carried"),
        "GET https://a/chat\nsec-websocket-key: x\nsec-websocket-version: 13\n"
    );
}

#[test]
fn what_http2_cannot_carry_is_refused() {
    let long = format!("GET /{} HTTP/1.1\nHost: a\n\n", "b".repeat(1_000));
    let longer = |edits: &mut Edits| {
        edits.path = Some(format!("/{}", "b".repeat(65_534)).into_bytes().into());
    };
    let upgrade = "Host: a\nConnection: Upgrade\nUpgrade: ";
    for (text, cause, detail) in [
        (long, Cause::RequestLineTooLong, "path"),
        (
            format!("POST / HTTP/1.1\n{upgrade}x\n\n"),
            Cause::BadRequest,
            "upgrade with a body or by another method than GET",
        ),
        (
            format!("GET / HTTP/1.1\n{upgrade}x y\n\n"),
            Cause::BadRequest,
            "Upgrade",
        ),
        (
            format!("GET / HTTP/1.1\n{upgrade},\n\n"),
            Cause::BadRequest,
            "Upgrade",
        ),
    ] {
        let edit = |edits: &mut Edits| {
            if cause == Cause::RequestLineTooLong {
                longer(edits);
            }
        };
        let failure = written(&text, true, edit).expect_err("refused");
        assert_eq!((failure.cause, failure.detail), (cause, detail));
    }
}

#[test]
fn values_share_one_text() {
    let (bytes, head) = parse("GET / HTTP/1.1\nHost: a\nA: 1\nCookie: b\nX-Real-Ip: ccc\n\n");
    let view = RequestView {
        bytes: &bytes,
        head: &head,
    };
    let mut edits = Edits::default();
    edits.add("D", b"4");
    let out = write_request(&view, &edits, false, b"a", Scheme::HTTP).expect("carried");
    let begin = out.headers()["a"].as_bytes().as_ptr() as usize;
    for (name, value) in out.headers() {
        let at = value.as_bytes().as_ptr() as usize;
        assert!(at >= begin && at < begin + 128, "{name} stands elsewhere");
    }
    assert!(out.headers()["cookie"].is_sensitive() && !out.headers()["a"].is_sensitive());
}

/// Lines of a message that have a fair chance to be accepted together.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "x-[a-c]: [!-~]{0,6}",
        2 => "cookie: [a-c]=[0-9]{0,3}",
        1 => "(accept|user-agent|via|x-request-id|forwarded|date): [a-z0-9/*]{1,5}",
        1 => Just("te: trailers".to_owned()),
        1 => Just("expect: 100-continue".to_owned()),
        1 => "content-length: 0{0,2}[0-9]{1,3}",
        1 => Just("host: a.example".to_owned()),
        1 => "[a-z\"_-]{1,4}: [ -~\t\u{e9}]{0,4}",
    ]
}

proptest! {
    /// The target says what must hold; here it is given more that is valid than mutation makes.
    #[test]
    fn what_is_accepted_means_the_same_in_http1(
        method in "GET|POST|PUT|OPTIONS|TRACE|CONNECT|[A-Z]{1,3}",
        protocol in proptest::option::weighted(0.1, "websocket|[a-z/]{1,4}"),
        scheme in "http|https|HTTPS",
        authority in "a\\.example(:[0-9]{1,5})?|\\[::1\\]:8|[a-z@:]{1,3}",
        path in "(/([a-c.;%~`\"{]|%2[ef]|\\.\\.){0,4}){1,3}(\\?[!-~]{0,4})?|\\*",
        lines in proptest::collection::vec(line(), 0..6),
        end: bool,
    ) {
        let mut message = vec![u8::from(end)];
        let mut push = |line: String| {
            message.extend(line.chars().map(|c| c as u8));
            message.push(b'\n');
        };
        push(format!(":method: {method}"));
        push(format!(":authority: {authority}"));
        if method != "CONNECT" || protocol.is_some() {
            push(format!(":scheme: {scheme}"));
            push(format!(":path: {path}"));
        }
        if let Some(protocol) = protocol {
            push(format!(":protocol: {protocol}"));
        }
        lines.into_iter().for_each(push);
        fuzzing::http2_request(&message);
    }
}

#[test]
fn a_head_of_the_text_is_whole_to_http1_but_for_its_version() {
    let (bytes, _) = read(&parts("GET", "http://a/b", &[("x", "y")]), true).expect("valid");
    let found = HeadScan::default().advance(&bytes, &LIMITS);
    assert_eq!(found.expect("no fault"), Some(bytes.len()));
    let mut head = RequestHead::default();
    let failure = h1::parse_request(&bytes, &LIMITS, &mut head).expect_err("another version");
    assert_eq!(failure.detail, "HTTP version");
}
