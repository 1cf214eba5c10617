//! Requests: every rule of reading and writing them.

use proptest::prelude::*;

use super::{
    super::testing::{block, decoded, lines},
    *,
};
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

/// A request with these fields behind its pseudo-header fields, those that are not empty.
fn request(pseudo: [&str; 4], fields: &[(&str, &str)]) -> Block {
    let names = [":method", ":scheme", ":authority", ":path"];
    let pseudo = names
        .into_iter()
        .zip(pseudo)
        .filter(|(_, value)| !value.is_empty());
    let all = pseudo.chain(fields.iter().copied());
    let all: Vec<_> = all.map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
    block(&all)
}

/// One for `/` of host `a`.
fn with(method: &str, fields: &[(&str, &str)]) -> Block {
    request([method, "http", "a", "/"], fields)
}

fn read(block: &Block, end: bool) -> Result<(Vec<u8>, RequestHead), Failure> {
    let (mut bytes, mut head) = (Vec::new(), RequestHead::default());
    read_request(block, end, &LIMITS, &mut bytes, &mut head)?;
    Ok((bytes, head))
}

#[track_caller]
fn refused(block: &Block, end: bool, cause: Cause, detail: &str) {
    let failure = read(block, end)
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
    let mut out = Vec::new();
    write_request(&mut out, &view, &edits, upgrade, view.authority(), true)?;
    Ok(lines(&out).join("\n"))
}

#[test]
fn a_head_is_text_with_positions() {
    let list: [(&[u8], &[u8]); 9] = [
        (b":path", b"/b?c"),
        (b":method", b"POST"),
        (b":authority", b"a.example:8"),
        (b":scheme", b"https"),
        (b"x-a", b"1"),
        (b"cookie", b"a=1"),
        (b"x-b", b"\xe9"),
        (b"cookie", b""),
        (b"cookie", b"b=2"),
    ];
    let (bytes, head) = read(&block(&list), false).expect("valid");
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
    let first = request(
        ["POST", "http", "a", "/long?query"],
        &[("te", "trailers"), ("expect", "100-continue"), ("x", "y")],
    );
    read_request(&first, false, &LIMITS, &mut bytes, &mut head).expect("valid");
    assert!(head.te_trailers && head.expect_continue);
    let room = bytes.as_ptr();
    let second = request(["GET", "http", "b", "/"], &[]);
    read_request(&second, true, &LIMITS, &mut bytes, &mut head).expect("valid");
    assert_eq!(bytes, b"GET / HTTP/2\r\nhost: b\r\n\r\n");
    assert_eq!(bytes.as_ptr(), room);
    assert_eq!(head.fields.len(), 1);
    assert!(!head.te_trailers && !head.expect_continue);
    assert_eq!(head.body, Body::None);
    assert!(head.query.is_empty());
}

#[test]
fn connection_specific_fields_are_refused() {
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    ] {
        let request = with("GET", &[(name, "x")]);
        refused(
            &request,
            true,
            Cause::BadRequest,
            "connection-specific field",
        );
    }
    for value in ["gzip", "trailers, gzip", "Trailers", ""] {
        let request = with("GET", &[("te", value)]);
        refused(&request, true, Cause::BadRequest, "TE");
    }
}

#[test]
fn lengths() {
    let length = |value: &str| with("POST", &[("content-length", value)]);
    assert_eq!(
        read(&length("5"), false).expect("valid").1.body,
        Body::Length(5)
    );
    assert_eq!(
        read(&length("0"), true).expect("valid").1.body,
        Body::Length(0)
    );
    refused(
        &length("5"),
        true,
        Cause::BadRequest,
        "Content-Length without a body",
    );
    for odd in ["", "+1", "1,1", "1 1", "0x1", "99999999999999999999"] {
        refused(&length(odd), false, Cause::BadRequest, "Content-Length");
    }
    let twice = [("content-length", "5"), ("content-length", "5")];
    let twice = with("POST", &twice);
    refused(
        &twice,
        false,
        Cause::BadRequest,
        "more than one Content-Length",
    );
    let trace = with("TRACE", &[]);
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
    let get = |fields: &[(&str, &str)]| with("GET", fields);
    let large = Cause::RequestHeadTooLarge;
    refused(&get(&many), true, large, "number of fields");
    assert!(read(&get(&many[..16]), true).is_ok());
    // Crumbs that would be small as one line are not as fields.
    let crumbs = [("cookie", ""); 17];
    refused(&get(&crumbs), true, large, "number of fields");
    // Names and overhead of the pseudo-header fields, then their values; overhead and name of this.
    let room = 4_096 - (29 + 128 + 3 + 4 + 1 + 1) - 33;
    let value = "y".repeat(room);
    assert!(read(&get(&[("x", &value)]), true).is_ok());
    let value = "y".repeat(room + 1);
    let (mut bytes, mut head) = (Vec::new(), RequestHead::default());
    let request = get(&[("x", &value)]);
    let failure =
        read_request(&request, true, &LIMITS, &mut bytes, &mut head).expect_err("refused");
    assert_eq!((failure.cause, bytes.capacity()), (large, 0));
}

#[test]
fn a_long_path_is_told_from_a_large_head() {
    let line = |length| {
        request(
            ["GET", "http", "a", &format!("/{}", "b".repeat(length))],
            &[],
        )
    };
    let fits = 1_024 - "GET / HTTP/2".len();
    assert!(read(&line(fits), true).is_ok());
    refused(&line(fits + 1), true, Cause::RequestLineTooLong, ":path");
}

#[test]
fn connect_is_a_host_and_a_port() {
    let (bytes, head) =
        read(&request(["CONNECT", "", "a.example:443", ""], &[]), false).expect("valid");
    assert_eq!(
        bytes,
        b"CONNECT a.example:443 HTTP/2\r\nhost: a.example:443\r\n\r\n"
    );
    assert_eq!((head.method, head.body), (Method::Connect, Body::None));
    assert!(head.path.is_empty() && head.upgrade.is_none());
    let with_path = request(["CONNECT", "http", "a.example:443", "/"], &[]);
    refused(
        &with_path,
        false,
        Cause::BadRequest,
        "CONNECT with :scheme or :path",
    );
    let without_port = request(["CONNECT", "", "a.example", ""], &[]);
    refused(&without_port, false, Cause::BadRequest, ":authority");
}

#[test]
fn extended_connect_is_an_upgrade_by_get() {
    let asked = |method| {
        let fields = [(":protocol", "websocket"), ("origin", "x")];
        request([method, "https", "a.example", "/chat"], &fields)
    };
    let (bytes, head) = read(&asked("CONNECT"), false).expect("valid");
    assert_eq!(
        bytes,
        b"GET /chat HTTP/2\r\nhost: a.example\r\nupgrade: websocket\r\norigin: x\r\n\r\n"
    );
    assert!(head.extended_connect);
    assert_eq!((head.method, head.body), (Method::Get, Body::None));
    assert_eq!(head.upgrade.map(|u| u.of(&bytes)), Some(&b"websocket"[..]));
    refused(&asked("GET"), false, Cause::BadRequest, ":protocol");
}

#[test]
fn pseudo_header_fields_stand_in_front_and_once() {
    let bad = |block: &Block, detail| refused(block, true, Cause::BadRequest, detail);
    let twice = "pseudo-header field that came twice";
    bad(&with("GET", &[(":path", "/")]), twice);
    bad(&with("GET", &[(":method", "GET")]), twice);
    for name in [":status", ":what", ":", ":Path"] {
        bad(&with("GET", &[(name, "200")]), "pseudo-header field");
    }
    for name in [":path", ":protocol", ":status", ":what"] {
        bad(&with("GET", &[("x", "y"), (name, "/")]), "field name");
    }
    bad(&request(["", "http", "a", "/"], &[]), "method");
    bad(&request(["GET", "", "a", "/"], &[]), ":scheme");
    bad(&request(["GET", "ftp", "a", "/"], &[]), ":scheme");
    bad(&request(["GET", "http", "", "/"], &[]), "no :authority");
    for path in ["", "a", "http://a/", "/a b", "/a#b"] {
        bad(&request(["GET", "http", "a", path], &[]), ":path");
    }
    bad(
        &with("GET", &[("host", "b")]),
        "Host differs from :authority",
    );
    bad(
        &with("GET", &[("host", "a"), ("host", "a")]),
        "more than one Host",
    );
    assert!(read(&with("GET", &[("host", "A")]), true).is_ok());
}

#[test]
fn names_are_in_lower_case_and_values_clean() {
    let bad = |field, detail| refused(&with("GET", &[field]), true, Cause::BadRequest, detail);
    for name in ["X-A", "Cookie", "x a", "", "x:", "x\r\n"] {
        bad((name, "1"), "field name");
    }
    for value in ["a\0", "a\r\nb: c", "\n", "a\x7f"] {
        bad(("x", value), "control byte in a field value");
        bad(("cookie", value), "control byte in a field value");
    }
    for value in [" a", "a ", "\ta"] {
        bad(("x", value), "blank around a field value");
    }
    // A crumb that is not the first one.
    let crumbs = with("GET", &[("cookie", "a=b"), ("x", "y"), ("cookie", "a\0")]);
    refused(
        &crumbs,
        true,
        Cause::BadRequest,
        "control byte in a field value",
    );
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
        ":method: GET\n:scheme: https\n:authority: b\n:path: /new?q\na: 1\nc: 3\nd: 4\nx-request-id: "
    );
}

#[test]
fn what_is_dropped_of_the_framing_is_its_line_alone() {
    let text = "POST / HTTP/1.1\nHost: a\nContent-Length: 5\nX: 1\n\n";
    let sent = written(text, false, |edits| edits.drop_field(1));
    assert_eq!(
        sent.expect("carried"),
        ":method: POST\n:scheme: https\n:authority: a\n:path: /\ncontent-length: 5\nx: 1"
    );
}

#[test]
fn an_upgrade_goes_on_where_it_is_allowed() {
    let text = "GET /chat HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: WebSocket, foo/2\n\
                Sec-WebSocket-Key: x\nSec-WebSocket-Version: 13\n\n";
    assert_eq!(
        written(text, true, |_| ()).expect("carried"),
        ":method: CONNECT\n:scheme: https\n:authority: a\n:path: /chat\n:protocol: websocket\n\
         sec-websocket-version: 13"
    );
    assert_eq!(
        written(text, false, |_| ()).expect("carried"),
        ":method: GET\n:scheme: https\n:authority: a\n:path: /chat\nsec-websocket-key: x\n\
         sec-websocket-version: 13"
    );
}

#[test]
fn what_http2_cannot_carry_is_refused() {
    let upgrade = "Host: a\nConnection: Upgrade\nUpgrade: ";
    for (text, detail) in [
        (
            format!("POST / HTTP/1.1\n{upgrade}x\n\n"),
            "upgrade with a body or by another method than GET",
        ),
        (format!("GET / HTTP/1.1\n{upgrade}x y\n\n"), "Upgrade"),
        (format!("GET / HTTP/1.1\n{upgrade},\n\n"), "Upgrade"),
    ] {
        let failure = written(&text, true, |_| ()).expect_err("refused");
        assert_eq!((failure.cause, failure.detail), (Cause::BadRequest, detail));
    }
}

#[test]
fn what_an_answer_means_goes_with_the_request() {
    let asks = |text: &str, upgrade| {
        let (bytes, head) = parse(text);
        let view = RequestView {
            bytes: &bytes,
            head: &head,
        };
        let edits = Edits::default();
        let written = write_request(&mut Vec::new(), &view, &edits, upgrade, b"a", false);
        written.map(|w| (w.asks, w.protocol)).expect("carried")
    };
    assert_eq!(
        asks("GET / HTTP/1.1\nHost: a\n\n", false),
        (Asks::Body, None)
    );
    assert_eq!(
        asks("HEAD / HTTP/1.1\nHost: a\n\n", false),
        (Asks::Head, None)
    );
    let chat = "GET / HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: WebSocket\n\n";
    let protocol: Box<[u8]> = b"websocket".as_slice().into();
    assert_eq!(asks(chat, true), (Asks::Tunnel, Some(protocol)));
    assert_eq!(asks(chat, false), (Asks::Body, None));
}

#[test]
fn secrets_are_never_to_be_indexed() {
    let (bytes, head) = parse("GET / HTTP/1.1\nHost: a\nA: 1\nCookie: b\nAuthorization: c\n\n");
    let view = RequestView {
        bytes: &bytes,
        head: &head,
    };
    let mut out = Vec::new();
    write_request(&mut out, &view, &Edits::default(), false, b"a", false).expect("carried");
    let block = decoded(&out);
    let secret: Vec<_> = block
        .iter()
        .filter(|f| f.sensitive)
        .map(|f| f.name)
        .collect();
    assert_eq!(secret, [&b"cookie"[..], b"authorization"]);
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
    let (bytes, _) = read(&with("GET", &[("x", "y")]), true).expect("valid");
    let found = HeadScan::default().advance(&bytes, &LIMITS);
    assert_eq!(found.expect("no fault"), Some(bytes.len()));
    let mut head = RequestHead::default();
    let failure = h1::parse_request(&bytes, &LIMITS, &mut head).expect_err("another version");
    assert_eq!(failure.detail, "HTTP version");
}
