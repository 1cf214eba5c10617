//! Request heads, accepted and refused.

use proptest::prelude::*;

use super::*;
use crate::{h1::HeadScan, message::RequestView};

const LIMITS: Limits = Limits {
    head: 4096,
    line: 1024,
    fields: 16,
};

fn parse(text: &str) -> Result<(String, RequestHead), (Cause, &'static str)> {
    let text = text.replace('\n', "\r\n");
    let mut head = RequestHead::default();
    let len = HeadScan::default()
        .advance(text.as_bytes(), &LIMITS)
        .map_err(|f| (f.cause, f.detail))?
        .expect("a whole head");
    parse_request(&text.as_bytes()[..len], &LIMITS, &mut head).map_err(|f| (f.cause, f.detail))?;
    Ok((text, head))
}

#[track_caller]
fn accepted(text: &str) -> (String, RequestHead) {
    parse(text).unwrap_or_else(|e| panic!("{text:?}: {e:?}"))
}

#[track_caller]
fn refused(text: &str, cause: Cause) {
    match parse(text) {
        Err((found, _)) if found == cause => {}
        other => panic!("{text:?}: {:?}", other.map(|_| "accepted")),
    }
}

#[test]
fn a_plain_request() {
    let (text, head) = accepted(
        "POST /a/b?c=d HTTP/1.1\nHost: x.example:8080\nContent-Length: 3\nX-One:  two \n\n",
    );
    let view = RequestView {
        bytes: text.as_bytes(),
        head: &head,
    };
    assert_eq!(
        (view.method(), view.path(), view.query()),
        (&b"POST"[..], &b"/a/b"[..], Some(&b"c=d"[..]))
    );
    assert_eq!(
        (view.host(), view.authority()),
        (&b"x.example"[..], &b"x.example:8080"[..])
    );
    assert_eq!((head.body, head.keep_alive), (Body::Length(3), true));
    assert_eq!(view.values(b"x-one").collect::<Vec<_>>(), [b"two"]);
}

#[test]
fn forms_of_the_target() {
    let (text, head) = accepted("GET http://a.example?x HTTP/1.1\nHost: A.example\n\n");
    let view = RequestView {
        bytes: text.as_bytes(),
        head: &head,
    };
    assert_eq!(
        (view.path(), view.query(), view.host()),
        (&b"/"[..], Some(&b"x"[..]), &b"a.example"[..])
    );
    accepted("OPTIONS * HTTP/1.1\nHost: a\n\n");
    accepted("CONNECT a:443 HTTP/1.1\nHost: a:443\n\n");
    accepted("GET / HTTP/1.0\n\n");
    for target in [
        "*",
        "a",
        "a:80",
        "ftp://a/",
        "http://",
        "http:///x",
        "http://u@a/",
        "/#f",
        "/a b",
        "//a b",
        "/\u{e9}",
    ] {
        refused(
            &format!("GET {target} HTTP/1.1\nHost: a\n\n"),
            Cause::BadRequest,
        );
    }
    refused("GET http://b/ HTTP/1.1\nHost: a\n\n", Cause::BadRequest);
    refused("CONNECT a HTTP/1.1\nHost: a\n\n", Cause::BadRequest);
    refused("CONNECT /x HTTP/1.1\nHost: a\n\n", Cause::BadRequest);
}

#[test]
fn hosts() {
    refused("GET / HTTP/1.1\n\n", Cause::BadRequest);
    refused("GET / HTTP/1.1\nHost: a\nHost: a\n\n", Cause::BadRequest);
    refused("GET / HTTP/1.0\nHost: a\nHost: b\n\n", Cause::BadRequest);
    for host in ["", "a b", "a/b", "u@a", "a:b", "[::1", "a:99999"] {
        refused(
            &format!("GET / HTTP/1.1\nHost: {host}\n\n"),
            Cause::BadRequest,
        );
    }
}

#[test]
fn versions() {
    for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9"] {
        refused(
            &format!("GET / {version}\nHost: a\n\n"),
            Cause::VersionNotSupported,
        );
    }
    for version in ["HTTP/1", "http/1.1", "HTTP/1.10", "HTTP/+1.1", ""] {
        refused(&format!("GET / {version}\nHost: a\n\n"), Cause::BadRequest);
    }
    refused("PRI * HTTP/2.0\n\n", Cause::VersionNotSupported);
}

#[test]
fn framing() {
    let framed = |fields: &str| format!("POST / HTTP/1.1\nHost: a\n{fields}\n\n");
    assert_eq!(
        accepted(&framed("Transfer-Encoding: Chunked")).1.body,
        Body::Chunked
    );
    for fields in [
        "Content-Length: 1\nContent-Length: 1",
        "Content-Length: 1, 1",
        "Content-Length: +1",
        "Content-Length: -1",
        "Content-Length:",
        "Content-Length: 0x1",
        "Content-Length: 99999999999999999999",
        "Content-Length: 1\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding:",
        "Transfer-Encoding: \u{b}chunked",
        "Content_Length: 1",
        "transfer_encoding: chunked",
        "x_forwarded_for: 1",
    ] {
        refused(&framed(fields), Cause::BadRequest);
    }
    refused(
        &framed("Transfer-Encoding: gzip, chunked"),
        Cause::NotImplemented,
    );
    refused(
        &framed("Transfer-Encoding: identity"),
        Cause::NotImplemented,
    );
    refused(
        "POST / HTTP/1.0\nHost: a\nTransfer-Encoding: chunked\n\n",
        Cause::BadRequest,
    );
    refused(
        "TRACE / HTTP/1.1\nHost: a\nContent-Length: 1\n\n",
        Cause::BadRequest,
    );
}

#[test]
fn field_syntax() {
    for line in [
        "a : b",
        " a: b",
        ": b",
        "a",
        "a\u{0}: b",
        "a: \u{0}",
        "a: b\rc",
        "a: \u{7f}",
        "\u{e9}: b",
        "a b: c",
        "(a): b",
    ] {
        refused(
            &format!("GET / HTTP/1.1\nHost: a\n{line}\n\n"),
            Cause::BadRequest,
        );
    }
    refused("GET / HTTP/1.1\nHost: a\na: b\n c\n\n", Cause::BadRequest);
    accepted("GET / HTTP/1.1\nHost: a\na:\nb: \u{e9}\tx\n\n");
    refused("GET  / HTTP/1.1\nHost: a\n\n", Cause::BadRequest);
    refused("GET /\tHTTP/1.1\nHost: a\n\n", Cause::BadRequest);
    refused("G(T / HTTP/1.1\nHost: a\n\n", Cause::BadRequest);
}

#[test]
fn connection_and_upgrade() {
    let with = |version: &str, fields: &str| {
        accepted(&format!("GET / {version}\nHost: a\n{fields}\n\n")).1
    };
    assert!(!with("HTTP/1.1", "Connection: x, Close").keep_alive);
    assert!(with("HTTP/1.0", "Connection: Keep-Alive").keep_alive);
    assert!(!with("HTTP/1.0", "a: b").keep_alive);
    assert!(
        with("HTTP/1.1", "Connection: upgrade\nUpgrade: websocket")
            .upgrade
            .is_some()
    );
    assert!(with("HTTP/1.1", "Upgrade: websocket").upgrade.is_none());
    assert!(
        with("HTTP/1.0", "Connection: upgrade\nUpgrade: websocket")
            .upgrade
            .is_none()
    );
    assert!(with("HTTP/1.1", "TE: trailers\nConnection: te").te_trailers);
    assert!(!with("HTTP/1.1", "TE: trailers").te_trailers);
    refused(
        "GET / HTTP/1.1\nHost: a\nConnection: a b\n\n",
        Cause::BadRequest,
    );
    refused(
        "GET / HTTP/1.1\nHost: a\nExpect: 200-ok\n\n",
        Cause::ExpectationFailed,
    );
}

/// Whatever hyper's parser and ours both accept, they read alike; what httparse refuses, we refuse.
fn differential(bytes: &[u8]) {
    let Ok(Some(len)) = HeadScan::default().advance(bytes, &LIMITS) else {
        return;
    };
    let mut head = RequestHead::default();
    let ours = parse_request(&bytes[..len], &LIMITS, &mut head);
    let mut slots = [httparse::EMPTY_HEADER; 32];
    let mut oracle = httparse::Request::new(&mut slots);
    let theirs = oracle.parse(&bytes[..len]);
    let Ok(()) = ours else { return };
    let status = theirs.unwrap_or_else(|e| {
        panic!(
            "we accept what httparse refuses ({e}): {:?}",
            String::from_utf8_lossy(bytes)
        )
    });
    assert_eq!(status, httparse::Status::Complete(len));
    let view = RequestView {
        bytes: &bytes[..len],
        head: &head,
    };
    assert_eq!(oracle.method.map(str::as_bytes), Some(view.method()));
    assert_eq!(oracle.headers.len(), head.fields.len());
    for (a, b) in oracle.headers.iter().zip(head.fields.iter()) {
        assert_eq!(
            (a.name.as_bytes(), a.value),
            (b.name.of(bytes), b.value.of(bytes))
        );
    }
}

proptest! {
    #[test]
    fn agrees_with_httparse_on_mutations(edits in prop::collection::vec((0_usize..120, any::<u8>()), 0..6)) {
        let mut bytes = b"POST http://h/p?q HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\nConnection: close, te\r\nTE: trailers\r\nX: y\r\n\r\n".to_vec();
        for (at, byte) in edits {
            if let Some(b) = bytes.get_mut(at) { *b = byte; }
        }
        differential(&bytes);
    }

    #[test]
    fn never_panics(bytes in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b' '), Just(b':'), any::<u8>()], 0..200)) {
        differential(&bytes);
        let mut head = RequestHead::default();
        let _ = parse_request(&bytes, &LIMITS, &mut head);
    }
}
