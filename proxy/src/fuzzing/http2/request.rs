//! Requests of HTTP/2 in lines and back, and requests of HTTP/1 over HTTP/2.

use super::{
    super::{
        LIMITS, WRITTEN,
        heads::{check_fields, scan_within},
        show,
    },
    end_to_end, is_empty,
    message::{block, decoded},
};
use crate::{
    error::{Cause, Failure},
    h1, h2,
    message::{Body, Edits, Method, RequestHead, RequestView, Version, path},
};

/// A request head. The lowest bit of the first byte says whether its stream ends with it.
pub fn http2_request(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    let end_of_stream = choice & 1 != 0;
    let Some(given) = block(data) else {
        return;
    };
    let mut bytes = b"what was here before".to_vec();
    let mut head = RequestHead::default();
    let read = h2::read_request(&given, end_of_stream, &LIMITS, &mut bytes, &mut head);
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
    assert!(
        head.body == again.body || (is_empty(head.body) && is_empty(again.body)),
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
    let (edits, mut out) = (Edits::default(), Vec::new());
    h2::write_request(&mut out, &view, &edits, upgrade, host, false)?;
    let written = decoded(&out);
    let (mut text, mut again) = (Vec::new(), RequestHead::default());
    h2::read_request(&written, end_of_stream, &WRITTEN, &mut text, &mut again)
        .unwrap_or_else(|f| panic!("we refuse what we wrote ({f}): {}", show(&out)));
    check_fields(&text, &again.fields);
    let read = RequestView {
        bytes: &text,
        head: &again,
    };
    same_request(&view, &read);
    assert_eq!(again.version, Version::Http2);
    assert_eq!(again.extended_connect, upgrade);
    assert!(
        head.body == again.body || (upgrade && is_empty(head.body)),
        "{} became {}",
        show(bytes),
        show(&text)
    );
    Ok(())
}

/// A head that came by HTTP/1 and was normalised.
pub(in crate::fuzzing) fn request_travels(bytes: &[u8], head: &RequestHead) {
    let end_of_stream = is_empty(head.body);
    let Err(failure) = over_http2(bytes, head, end_of_stream) else {
        return;
    };
    // What HTTP/1 may say and HTTP/2 may not.
    let expected = match failure.detail {
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
