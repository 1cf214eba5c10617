//! Heads between HTTP/2 and HTTP/1: what is accepted in the one means the same in the other, and
//! back again.
//!
//! A message of HTTP/2 is given as lines, `name: value`, with its pseudo-header fields. It is built
//! as the `h2` crate builds one, only that what this crate refuses is not all refused here.

use std::collections::BTreeMap;

use h2::ext::Protocol;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method as Verb, Request, Response, StatusCode, Uri,
    request, response,
    uri::{self, Authority, PathAndQuery, Scheme},
};

use super::{
    LIMITS, WRITTEN,
    heads::{check_fields, scan_within},
    show,
};
use crate::{
    error::{Cause, Failure},
    h1::{self, Asked, Delivery},
    h2 as two,
    message::{
        Body, Edits, Fields, Known, Method, RequestHead, RequestView, ResponseHead, ResponseView,
        Version, path,
    },
};

/// A request head. The lowest bit of the first byte says whether its stream ends with it.
pub fn http2_request(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    let end_of_stream = choice & 1 != 0;
    let Some(parts) = request_parts(data) else {
        return;
    };
    let mut bytes = b"what was here before".to_vec();
    let mut head = RequestHead::default();
    let read = two::read_request(&parts, end_of_stream, &LIMITS, &mut bytes, &mut head);
    if let Err(failure) = read {
        let causes = [
            Cause::BadRequest,
            Cause::ExpectationFailed,
            Cause::RequestHeadTooLarge,
            Cause::RequestLineTooLong,
        ];
        assert!(causes.contains(&failure.cause), "{failure}");
        return;
    }
    assert_eq!(head.len, bytes.len());
    check_fields(&bytes, &head.fields);
    let view = RequestView {
        bytes: &bytes,
        head: &head,
    };
    if view.path().starts_with(b"/") {
        match path::normalise(view.path(), false) {
            Ok(normal) => head.normal_path = normal,
            Err(_) => return,
        }
    }
    if head.method != Method::Connect {
        in_lines(&bytes, &head);
    }
    let end_of_stream = end_of_stream || head.body == Body::None;
    over_http2(&bytes, &head, end_of_stream).unwrap_or_else(|f| {
        panic!(
            "what came by HTTP/2 cannot go by it ({f}): {}",
            show(&bytes)
        )
    });
}

/// Written in lines, it is one whole head that we accept, and means the same.
fn in_lines(bytes: &[u8], head: &RequestHead) {
    let view = RequestView { bytes, head };
    let mut out = Vec::new();
    let upgrade = head.upgrade.is_some();
    h1::write_request(
        &mut out,
        &view,
        &Edits::default(),
        upgrade,
        view.authority(),
    );
    let len = scan_within(&out, &WRITTEN);
    assert_eq!(len, Some(out.len()), "not one whole head: {}", show(&out));
    let mut again = RequestHead::default();
    h1::parse_request(&out, &WRITTEN, &mut again)
        .unwrap_or_else(|f| panic!("we refuse what we wrote ({f}): {}", show(&out)));
    assert!(again.keep_alive, "{}", show(&out));
    let read = RequestView {
        bytes: &out,
        head: &again,
    };
    same_request(&view, &read);
    // In the end an empty body is an empty body.
    let empty = |body| matches!(body, Body::None | Body::Length(0));
    assert!(
        head.body == again.body || (empty(head.body) && empty(again.body)),
        "{}",
        show(&out)
    );
}

/// A request that was read, from whatever protocol, is written for HTTP/2 and read from there.
///
/// # Errors
/// It cannot be said in HTTP/2.
fn over_http2(bytes: &[u8], head: &RequestHead, end_of_stream: bool) -> Result<(), Failure> {
    let view = RequestView { bytes, head };
    let host = match view.authority() {
        b"" => b"cluster",
        authority => authority,
    };
    let upgrade = head.upgrade.is_some();
    let edits = Edits::default();
    let parts = two::write_request(&view, &edits, upgrade, host, Scheme::HTTP)?
        .into_parts()
        .0;
    let (mut text, mut again) = (Vec::new(), RequestHead::default());
    two::read_request(&parts, end_of_stream, &WRITTEN, &mut text, &mut again)
        .unwrap_or_else(|f| panic!("we refuse what we wrote ({f}): {parts:?}"));
    check_fields(&text, &again.fields);
    let read = RequestView {
        bytes: &text,
        head: &again,
    };
    same_request(&view, &read);
    assert_eq!(again.version, Version::Http2);
    assert_eq!(again.extended_connect, upgrade);
    let empty = |body| matches!(body, Body::None | Body::Length(0));
    assert!(
        head.body == again.body || (upgrade && empty(head.body)),
        "{} became {}",
        show(bytes),
        show(&text)
    );
    Ok(())
}

/// A head that came by HTTP/1 and was normalised.
pub(super) fn request_travels(bytes: &[u8], head: &RequestHead) {
    let end_of_stream = matches!(head.body, Body::None | Body::Length(0));
    let Err(failure) = over_http2(bytes, head, end_of_stream) else {
        return;
    };
    // What HTTP/1 may say and HTTP/2, or the `http` crate, may not.
    let view = RequestView { bytes, head };
    let (path, host) = (view.path(), view.authority());
    let expected = match failure.detail {
        "path that HTTP/2 cannot carry" => path.contains(&b'`'),
        "authority that HTTP/2 cannot carry" => host.starts_with(b"["),
        "upgrade with a body or by another method than GET" => {
            head.upgrade.is_some() && (head.method != Method::Get || head.body != Body::None)
        }
        "Upgrade" => head.upgrade.is_some(),
        _ => false,
    };
    assert!(expected, "{failure}: {}", show(bytes));
}

/// Two request heads say the same, whatever protocols they came by. Of bodies their callers know.
fn same_request(one: &RequestView<'_>, other: &RequestView<'_>) {
    let same = |what: &str, a: &[u8], b: &[u8]| {
        assert_eq!(show(a), show(b), "{what} of {}", show(other.bytes));
    };
    same("method", one.method(), other.method());
    same("path", one.path(), other.path());
    same(
        "query",
        one.query().unwrap_or(b"none"),
        other.query().unwrap_or(b"none"),
    );
    if !one.authority().is_empty() {
        same("authority", one.authority(), other.authority());
    }
    let (a, b) = (one.head, other.head);
    assert_eq!(a.te_trailers, b.te_trailers, "{}", show(other.bytes));
    assert_eq!(
        a.expect_continue,
        b.expect_continue,
        "{}",
        show(other.bytes)
    );
    let offers = |view: &RequestView<'_>| -> Option<String> {
        let all = show(view.head.upgrade?.of(view.bytes)).to_ascii_lowercase();
        let first = all.split(',').map(str::trim).find(|o| !o.is_empty());
        Some(first.unwrap_or_default().to_owned())
    };
    assert_eq!(offers(one), offers(other));
    let upgrade = a.upgrade.is_some();
    let expects = a.version != Version::Http10;
    let of = |view: &RequestView<'_>| {
        let mut map = end_to_end(view.bytes, &view.head.fields);
        // HTTP/1 proves by these that an upgrade was meant, HTTP/2 needs no proof.
        map.retain(|name, _| !upgrade || name != "sec-websocket-key");
        map.retain(|name, _| expects || name != "expect");
        map
    };
    assert_eq!(of(one), of(other), "{}", show(other.bytes));
}

/// What every hop must see, with the values of each name in order and cookies as one.
fn end_to_end(bytes: &[u8], fields: &Fields) -> BTreeMap<String, Vec<String>> {
    let mut map = BTreeMap::<String, Vec<String>>::new();
    for field in fields.iter() {
        let hop = matches!(
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
                | Known::Upgrade
        );
        if hop {
            continue;
        }
        let name = show(field.name.of(bytes)).to_ascii_lowercase();
        let value = show(field.value.of(bytes));
        let values = map.entry(name).or_default();
        match values.first_mut() {
            Some(cookie) if field.known == Known::Cookie => {
                let separator = if cookie.is_empty() || value.is_empty() {
                    ""
                } else {
                    "; "
                };
                *cookie = format!("{cookie}{separator}{value}");
            }
            _ => values.push(value),
        }
    }
    map
}

/// A response head. The first byte says whether HEAD was asked (1), and whether the stream ends
/// with it (2).
pub fn http2_response(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    let asked = if choice & 1 == 0 {
        Asked::Other
    } else {
        Asked::Head
    };
    let end_of_stream = choice & 2 != 0;
    let Some(parts) = response_parts(data) else {
        return;
    };
    let mut bytes = b"what was here before".to_vec();
    let mut head = ResponseHead::default();
    if two::read_switch(&parts, b"websocket", &LIMITS, &mut bytes, &mut head).is_ok() {
        check_fields(&bytes, &head.fields);
        switched(&bytes, &head);
    }
    let read = two::read_response(&parts, end_of_stream, asked, &LIMITS, &mut bytes, &mut head);
    if let Err(failure) = read {
        let causes = [Cause::BadResponse, Cause::ResponseHeadTooLarge];
        assert!(causes.contains(&failure.cause), "{failure}");
        return;
    }
    assert_eq!(head.len, bytes.len());
    check_fields(&bytes, &head.fields);
    let view = ResponseView {
        bytes: &bytes,
        head: &head,
    };
    let (out, again) = response_in_lines(&view, asked);
    assert_eq!(head.body, again.body, "{}", show(&out));
    assert_eq!(head.reason.of(&bytes), again.reason.of(&out));
    same_response(
        &view,
        &ResponseView {
            bytes: &out,
            head: &again,
        },
    );
    response_over_http2(&view, asked, end_of_stream);
}

/// Granted by HTTP/2, it is in lines a switch to the protocol that was asked for.
fn switched(bytes: &[u8], head: &ResponseHead) {
    let view = ResponseView { bytes, head };
    let (out, again) = response_in_lines(&view, Asked::Other);
    assert_eq!(again.status, 101);
    assert_eq!(
        again.upgrade.map(|u| u.of(&out)),
        Some(b"websocket".as_slice())
    );
    same_response(
        &view,
        &ResponseView {
            bytes: &out,
            head: &again,
        },
    );
    let back = two::write_response(&view, &Edits::default()).expect("it came by HTTP/2");
    assert_eq!(back.status(), StatusCode::OK);
}

fn response_in_lines(view: &ResponseView<'_>, asked: Asked) -> (Vec<u8>, ResponseHead) {
    let delivery = Delivery {
        body: view.head.body,
        close: false,
        version: Version::Http11,
        upgrade: view.head.status == 101,
    };
    let mut out = Vec::new();
    h1::write_response(&mut out, view, &Edits::default(), delivery);
    let len = scan_within(&out, &WRITTEN);
    assert_eq!(len, Some(out.len()), "not one whole head: {}", show(&out));
    let mut again = ResponseHead::default();
    h1::parse_response(&out, &WRITTEN, asked, &mut again)
        .unwrap_or_else(|f| panic!("we refuse what we wrote ({f}): {}", show(&out)));
    assert!(again.keep_alive, "{}", show(&out));
    (out, again)
}

/// A response that was read, from whatever protocol, is written for HTTP/2 and read from there.
fn response_over_http2(view: &ResponseView<'_>, asked: Asked, end_of_stream: bool) {
    let parts = two::write_response(view, &Edits::default())
        .unwrap_or_else(|f| panic!("it cannot go by HTTP/2 ({f}): {}", show(view.bytes)))
        .into_parts()
        .0;
    let (mut text, mut again) = (Vec::new(), ResponseHead::default());
    two::read_response(
        &parts,
        end_of_stream,
        asked,
        &WRITTEN,
        &mut text,
        &mut again,
    )
    .unwrap_or_else(|f| panic!("we refuse what we wrote ({f}): {parts:?}"));
    check_fields(&text, &again.fields);
    let body = match view.head.body {
        Body::UntilClose => Body::Chunked,
        body => body,
    };
    assert_eq!(body, again.body, "{}", show(&text));
    same_response(
        view,
        &ResponseView {
            bytes: &text,
            head: &again,
        },
    );
}

/// A head that came by HTTP/1, final or interim.
pub(super) fn response_travels(bytes: &[u8], head: &ResponseHead, asked: Asked) {
    let view = ResponseView { bytes, head };
    let bodiless = matches!(head.body, Body::None | Body::Length(0));
    response_over_http2(&view, asked, bodiless && head.status >= 200);
}

fn same_response(one: &ResponseView<'_>, other: &ResponseView<'_>) {
    let (a, b) = (one.head, other.head);
    assert_eq!(a.status, b.status);
    // Where no body can follow, `Content-Length: 0` says nothing; an empty one may go unsaid.
    if a.body == Body::None && a.said_length().is_some() {
        assert_eq!(a.said_length(), b.declared_length, "{}", show(other.bytes));
    }
    assert_eq!(
        end_to_end(one.bytes, &a.fields),
        end_to_end(other.bytes, &b.fields)
    );
}

/// Trailers. The lowest bit of the first byte says whose they are.
pub fn http2_trailers(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    let from_upstream = choice & 1 != 0;
    let Some((_, map)) = lines(data) else { return };
    let mut section = b"before".to_vec();
    let read = two::read_trailers(&map, &LIMITS, from_upstream, &mut section);
    if let Err(failure) = read {
        let causes = if from_upstream {
            [Cause::BadResponse, Cause::ResponseHeadTooLarge]
        } else {
            [Cause::BadRequest, Cause::RequestHeadTooLarge]
        };
        assert!(causes.contains(&failure.cause), "{failure}");
        return;
    }
    let section = section.strip_prefix(b"before").expect("it appends");
    let mut out = Vec::new();
    h1::write_trailers(&mut out, section, &LIMITS, from_upstream)
        .unwrap_or_else(|f| panic!("we refuse what we wrote ({f}): {}", show(section)));
    assert_eq!(show(&out), show(section), "more was left out of it later");
    let back = two::write_trailers(section, &LIMITS, from_upstream)
        .unwrap_or_else(|f| panic!("we refuse what we wrote ({f}): {}", show(section)));
    let passed: Vec<_> = map.iter().filter(|(n, _)| back.contains_key(*n)).collect();
    assert_eq!(passed, back.iter().collect::<Vec<_>>());
}

/// Pseudo-header fields by name, and the others.
type Message<'a> = (BTreeMap<&'a [u8], &'a [u8]>, HeaderMap);

fn lines(data: &[u8]) -> Option<Message<'_>> {
    let (mut pseudo, mut map) = (BTreeMap::new(), HeaderMap::new());
    for line in data.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        let colon = 1 + line.get(1..)?.windows(2).position(|two| two == b": ")?;
        let (name, value) = (&line[..colon], &line[colon + 2..]);
        if name.starts_with(b":") {
            if !map.is_empty() || pseudo.insert(name, value).is_some() {
                return None;
            }
        } else {
            let name = HeaderName::from_lowercase(name).ok()?;
            map.append(name, HeaderValue::from_bytes(value).ok()?);
        }
    }
    Some((pseudo, map))
}

fn request_parts(data: &[u8]) -> Option<request::Parts> {
    let (mut pseudo, map) = lines(data)?;
    let mut take = |name: &[u8]| pseudo.remove(name);
    let mut out = Request::new(());
    *out.method_mut() = Verb::from_bytes(take(b":method")?).ok()?;
    let mut uri = uri::Parts::default();
    if let Some(authority) = take(b":authority") {
        uri.authority = Some(Authority::try_from(authority).ok()?);
    }
    if let Some(path) = take(b":path") {
        uri.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    }
    if let Some(scheme) = take(b":scheme") {
        let scheme = Scheme::try_from(scheme).ok()?;
        // The crate forgets it where there is no authority.
        uri.scheme = uri.authority.is_some().then_some(scheme);
    }
    if let Some(protocol) = take(b":protocol") {
        let protocol = Protocol::from(std::str::from_utf8(protocol).ok()?);
        out.extensions_mut().insert(protocol);
    }
    *out.uri_mut() = Uri::from_parts(uri).ok()?;
    *out.headers_mut() = map;
    Some(out.into_parts().0)
}

fn response_parts(data: &[u8]) -> Option<response::Parts> {
    let (pseudo, map) = lines(data)?;
    let mut out = Response::new(());
    *out.status_mut() = StatusCode::from_bytes(pseudo.get(b":status".as_slice())?).ok()?;
    *out.headers_mut() = map;
    Some(out.into_parts().0)
}
