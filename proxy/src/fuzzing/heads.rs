//! Heads: read as httparse reads them, and written so that they are read back as they were meant.

use super::{LIMITS, WRITTEN, http2, show};
use crate::{
    h1::{
        Asked, Delivery, HeadScan, Limits, parse_request, parse_response, write_request,
        write_response,
    },
    message::{
        Body, Edits, Field, Fields, Known, Method, RequestHead, RequestView, ResponseHead,
        ResponseView, Version, path,
    },
    net::detect::{self, Detected},
};

/// A request head: read, normalised, written for the next hop, read again.
pub fn request(data: &[u8]) {
    let mut head = RequestHead::default();
    // Parsers are given complete heads. They must survive anything else, too.
    let _ = parse_request(data, &LIMITS, &mut head);
    let Some(len) = scan(data) else { return };
    let bytes = &data[..len];
    if parse_request(bytes, &LIMITS, &mut head).is_err() {
        return;
    }
    check_fields(bytes, &head.fields);
    oracle_of_request(bytes, &head);
    check_framing(bytes, &head.fields, head.body);
    let view = RequestView { bytes, head: &head };
    if view.method().len() <= detect::MOST - 9 {
        assert_eq!(
            detect::detect(bytes),
            Detected::Http1,
            "accepted, and not detected"
        );
    }
    let normal = match view.path() {
        path if path.starts_with(b"/") => match path::normalise(path, false) {
            Ok(normal) => normal.or_else(|| head.normal_path.clone()),
            Err(_) => return,
        },
        _ => head.normal_path.clone(),
    };
    head.normal_path = normal;
    // CONNECT is not written on: it becomes a tunnel.
    if head.method != Method::Connect {
        rewrite_request(bytes, &head);
    }
    http2::request_travels(bytes, &head);
}

fn rewrite_request(bytes: &[u8], head: &RequestHead) {
    let view = RequestView { bytes, head };
    let upgrade = head.upgrade.is_some();
    let host = match view.authority() {
        b"" => b"cluster",
        authority => authority,
    };
    let out = written_request(&view, upgrade, host);
    let mut again = RequestHead::default();
    let len = scan_within(&out, &WRITTEN);
    assert_eq!(len, Some(out.len()), "not one whole head: {}", show(&out));
    parse_request(&out, &WRITTEN, &mut again)
        .unwrap_or_else(|f| panic!("we refuse what we wrote ({f}): {}", show(&out)));
    oracle_of_request(&out, &again);
    let read = RequestView {
        bytes: &out,
        head: &again,
    };
    let same = |what: &str, a: &[u8], b: &[u8]| {
        assert_eq!(show(a), show(b), "{what} of {}", show(&out));
    };
    same("method", view.method(), read.method());
    same("path", view.path(), read.path());
    same("query", head.query.of(bytes), again.query.of(&out));
    same("authority", host, read.authority());
    assert_eq!(head.body, again.body, "{}", show(&out));
    assert_eq!(again.version, Version::Http11);
    assert!(again.keep_alive, "{}", show(&out));
    assert_eq!(head.te_trailers, again.te_trailers, "{}", show(&out));
    assert_eq!(
        head.expect_continue,
        again.expect_continue,
        "{}",
        show(&out)
    );
    assert_eq!(
        head.upgrade.map(|u| u.of(bytes)),
        again.upgrade.map(|u| u.of(&out))
    );
    assert_eq!(
        end_to_end(bytes, &head.fields),
        end_to_end(&out, &again.fields)
    );
    assert_eq!(
        show(&written_request(&read, upgrade, host)),
        show(&out),
        "written again, it changes"
    );
}

fn written_request(view: &RequestView<'_>, upgrade: bool, host: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_request(&mut out, view, &Edits::default(), upgrade, host);
    out
}

/// A response head: read, framed for a client, written, read again. The first byte chooses the
/// client and what was asked.
pub fn response(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    let asked = if choice & 1 == 0 {
        Asked::Other
    } else {
        Asked::Head
    };
    let version = if choice & 2 == 0 {
        Version::Http11
    } else {
        Version::Http10
    };
    let mut head = ResponseHead::default();
    let _ = parse_response(data, &LIMITS, asked, &mut head);
    let Some(len) = scan(data) else { return };
    let bytes = &data[..len];
    if parse_response(bytes, &LIMITS, asked, &mut head).is_err() {
        return;
    }
    check_fields(bytes, &head.fields);
    oracle_of_response(bytes, &head);
    check_framing(bytes, &head.fields, head.body);
    // Only 101 answers to an upgrade go on, and interim ones only to clients that know them.
    let switched = head.status == 101;
    if (switched && head.upgrade.is_none()) || (head.status < 200 && version == Version::Http10) {
        return;
    }
    let body = match (head.body, version) {
        (Body::Chunked | Body::UntilClose, Version::Http11) => Body::Chunked,
        (Body::Chunked | Body::UntilClose, _) => Body::UntilClose,
        (body, _) => body,
    };
    let delivery = Delivery {
        body,
        close: choice & 4 != 0 || body == Body::UntilClose,
        version,
        upgrade: switched,
    };
    rewrite_response(bytes, &head, asked, delivery);
    if !switched {
        http2::response_travels(bytes, &head, asked);
    }
}

fn rewrite_response(bytes: &[u8], head: &ResponseHead, asked: Asked, delivery: Delivery) {
    let view = ResponseView { bytes, head };
    let out = written_response(&view, delivery);
    let mut again = ResponseHead::default();
    let len = scan_within(&out, &WRITTEN);
    assert_eq!(len, Some(out.len()), "not one whole head: {}", show(&out));
    parse_response(&out, &WRITTEN, asked, &mut again)
        .unwrap_or_else(|f| panic!("we refuse what we wrote ({f}): {}", show(&out)));
    oracle_of_response(&out, &again);
    assert_eq!(head.status, again.status);
    assert_eq!(show(head.reason.of(bytes)), show(again.reason.of(&out)));
    assert_eq!(delivery.body, again.body, "{}", show(&out));
    if head.status >= 200 {
        let kept = !delivery.close && again.body != Body::UntilClose;
        assert_eq!(kept, again.keep_alive, "{}", show(&out));
    }
    if head.status < 200 || head.status == 204 {
        // RFC 9110 section 8.6, RFC 9112 section 6.1.
        assert!(
            !again
                .fields
                .iter()
                .any(|f| f.known == Known::ContentLength || f.known == Known::TransferEncoding),
            "{}",
            show(&out)
        );
    }
    if head.body == Body::None && head.status >= 200 && head.status != 204 {
        assert_eq!(head.declared_length, again.declared_length);
    }
    assert_eq!(
        head.upgrade.map(|u| u.of(bytes)),
        again.upgrade.map(|u| u.of(&out))
    );
    assert_eq!(
        end_to_end(bytes, &head.fields),
        end_to_end(&out, &again.fields)
    );
    let read = ResponseView {
        bytes: &out,
        head: &again,
    };
    assert_eq!(
        show(&written_response(&read, delivery)),
        show(&out),
        "written again, it changes"
    );
}

fn written_response(view: &ResponseView<'_>, delivery: Delivery) -> Vec<u8> {
    let mut out = Vec::new();
    write_response(&mut out, view, &Edits::default(), delivery);
    out
}

/// The length of a complete head, the same however it arrives.
fn scan(data: &[u8]) -> Option<usize> {
    let whole = HeadScan::default().advance(data, &LIMITS);
    let mut scan = HeadScan::default();
    let piecewise = (1..=data.len())
        .map(|end| scan.advance(&data[..end], &LIMITS))
        .find(|verdict| !matches!(verdict, Ok(None)))
        .unwrap_or(Ok(None));
    match (whole, piecewise) {
        (Ok(a), Ok(b)) => {
            assert_eq!(a, b, "{}", show(data));
            a
        }
        (Err(_), Err(_)) => None,
        (a, b) => panic!("whole {a:?}, byte by byte {b:?}: {}", show(data)),
    }
}

pub(super) fn scan_within(data: &[u8], limits: &Limits) -> Option<usize> {
    HeadScan::default()
        .advance(data, limits)
        .unwrap_or_else(|f| panic!("{f}: {}", show(data)))
}

/// Lines follow each other without a gap, and hold nothing that could end one.
pub(super) fn check_fields(bytes: &[u8], fields: &Fields) {
    let mut end = None;
    for field in fields.iter() {
        let (name, value, line) = (
            field.name.of(bytes),
            field.value.of(bytes),
            field.line.of(bytes),
        );
        assert!(end.is_none_or(|end| end == field.line.start), "a gap");
        end = Some(field.line.end);
        assert!(!name.is_empty() && line.starts_with(name) && line.ends_with(b"\r\n"));
        let inside = &line[..line.len() - 2];
        assert!(
            !inside.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)),
            "{}",
            show(line)
        );
        assert_eq!(value, value.trim_ascii());
        assert_eq!(field.known, Known::of(name));
    }
    let rest = &bytes[end.map_or(bytes.len() - 2, |end| end as usize)..];
    assert_eq!(rest, b"\r\n");
}

/// One framing has one reading: never two fields that speak of it.
fn check_framing(bytes: &[u8], fields: &Fields, body: Body) {
    let values = |known: Known| -> Vec<&[u8]> {
        let of = fields.iter().filter(|f| f.known == known);
        of.map(|f| f.value.of(bytes)).collect()
    };
    let (length, coding) = (
        values(Known::ContentLength),
        values(Known::TransferEncoding),
    );
    assert!(length.len() + coding.len() <= 1, "{}", show(bytes));
    match body {
        Body::Chunked => assert!(coding[0].eq_ignore_ascii_case(b"chunked")),
        Body::Length(n) => {
            let text = std::str::from_utf8(length[0]).expect("digits");
            assert_eq!(text.parse(), Ok(n));
        }
        Body::None | Body::UntilClose => {}
    }
}

/// What the next hop must get as it came.
fn end_to_end<'a>(bytes: &'a [u8], fields: &'a Fields) -> Vec<(String, String)> {
    let passes = |field: &&Field| {
        !matches!(
            field.known,
            Known::Host
                | Known::ContentLength
                | Known::TransferEncoding
                | Known::Connection
                | Known::KeepAlive
                | Known::ProxyConnection
                | Known::ProxyAuthenticate
                | Known::ProxyAuthorization
                | Known::Te
                | Known::Http2Settings
                | Known::Expect
                | Known::Upgrade
        )
    };
    let fields = fields.iter().filter(passes);
    fields
        .map(|f| (show(f.name.of(bytes)), show(f.value.of(bytes))))
        .collect()
}

/// httparse accepts the head and finds the same in it.
fn oracle_of_request(bytes: &[u8], head: &RequestHead) {
    let mut slots = [httparse::EMPTY_HEADER; 96];
    let mut oracle = httparse::Request::new(&mut slots);
    let status = oracle.parse(bytes);
    assert_eq!(
        status,
        Ok(httparse::Status::Complete(bytes.len())),
        "we accept {}",
        show(bytes)
    );
    let method = head.method_text.of(bytes);
    assert_eq!(oracle.method.map(str::as_bytes), Some(method));
    let minor = u8::from(head.version == Version::Http11);
    assert_eq!(oracle.version, Some(minor));
    let target = oracle.path.unwrap_or_default().as_bytes();
    if target.starts_with(b"/") {
        let ours = [head.path.of(bytes), head.query.of(bytes)].concat();
        assert_eq!(show(target), show(&ours));
    }
    same_fields(bytes, &head.fields, oracle.headers);
}

fn oracle_of_response(bytes: &[u8], head: &ResponseHead) {
    let mut slots = [httparse::EMPTY_HEADER; 96];
    let mut oracle = httparse::Response::new(&mut slots);
    let status = oracle.parse(bytes);
    assert_eq!(
        status,
        Ok(httparse::Status::Complete(bytes.len())),
        "we accept {}",
        show(bytes)
    );
    assert_eq!(oracle.code, Some(head.status));
    same_fields(bytes, &head.fields, oracle.headers);
}

fn same_fields(bytes: &[u8], ours: &Fields, theirs: &[httparse::Header<'_>]) {
    let ours: Vec<_> = ours
        .iter()
        .map(|f| (show(f.name.of(bytes)), show(f.value.of(bytes))))
        .collect();
    let theirs: Vec<_> = theirs
        .iter()
        .map(|h| (show(h.name.as_bytes()), show(h.value)))
        .collect();
    assert_eq!(ours, theirs);
}
