//! Responses and trailers of HTTP/2 in lines and back, and responses of HTTP/1 over HTTP/2.

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
    error::Cause,
    h1::{self, Asked, Delivery},
    h2,
    message::{Body, Edits, ResponseHead, ResponseView, Version},
};

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
    let Some(given) = block(data) else {
        return;
    };
    let mut bytes = b"what was here before".to_vec();
    let mut head = ResponseHead::default();
    if h2::read_switch(&given, b"websocket", &LIMITS, &mut bytes, &mut head).is_ok() {
        check_fields(&bytes, &head.fields);
        switched(&bytes, &head);
    }
    let read = h2::read_response(&given, end_of_stream, asked, &LIMITS, &mut bytes, &mut head);
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
    let mut back = Vec::new();
    h2::write_response(&mut back, &view, &Edits::default());
    assert_eq!(decoded(&back).get(0).map(|f| f.value), Some(&b"200"[..]));
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
    let mut out = Vec::new();
    h2::write_response(&mut out, view, &Edits::default());
    let written = decoded(&out);
    let (mut text, mut again) = (Vec::new(), ResponseHead::default());
    h2::read_response(
        &written,
        end_of_stream,
        asked,
        &WRITTEN,
        &mut text,
        &mut again,
    )
    .unwrap_or_else(|f| panic!("we refuse what we wrote ({f}): {}", show(&out)));
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
pub(in crate::fuzzing) fn response_travels(bytes: &[u8], head: &ResponseHead, asked: Asked) {
    let view = ResponseView { bytes, head };
    response_over_http2(&view, asked, is_empty(head.body) && head.status >= 200);
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
    let Some(given) = block(data) else { return };
    let mut section = b"before".to_vec();
    let read = h2::read_trailers(&given, &LIMITS, from_upstream, &mut section);
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
    let (back, _) = h2::write_trailers(section, &LIMITS, from_upstream)
        .unwrap_or_else(|f| panic!("we refuse what we wrote ({f}): {}", show(section)));
    let passed = h2::pass_trailers(&given, &LIMITS, from_upstream)
        .unwrap_or_else(|f| panic!("refused in one form only ({f}): {}", show(section)));
    assert_eq!(show(&back), show(&passed), "one way lets more pass");
}
