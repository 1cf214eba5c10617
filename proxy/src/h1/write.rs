//! Writing heads: the first line, the fields that stay, the edits, and the framing of this hop.
//!
//! Lines that stay are copied in runs. `Host`, `Content-Length`, `Transfer-Encoding` and
//! `Connection` are always written from parsed values, in the place and with the name the sender
//! wrote, so that both hops see one framing.

use crate::{
    error::{Cause, Failure},
    message::{
        Body, Edits, Fields, Kept, Known, Limits, Method, RequestHead, RequestView, ResponseHead,
        ResponseView, Version, as_response, goes_on, may_trail, parse_section,
    },
};

/// How the fields of a message are framed and what its `Connection` says on the next hop.
struct Framing<'a> {
    body: Body,
    /// `Content-Length` to write even though no body follows.
    declared_length: Option<u64>,
    host: Option<&'a [u8]>,
    kept: Kept,
    te_trailers: bool,
    close: bool,
    keep_alive_10: bool,
}

/// Appends the request's head as it goes upstream: always HTTP/1.1, on a connection we mean to keep.
pub(crate) fn write_request(
    out: &mut Vec<u8>,
    request: &RequestView<'_>,
    edits: &Edits,
    upgrade: bool,
    host: &[u8],
) {
    let head = request.head;
    out.reserve(request.bytes.len() + edits.added().len() + 64);
    out.extend_from_slice(request.method());
    out.push(b' ');
    out.extend_from_slice(edits.path.as_deref().unwrap_or_else(|| request.path()));
    out.extend_from_slice(head.query.of(request.bytes));
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let framing = Framing {
        body: head.body,
        declared_length: length_of_nothing(head),
        host: Some(edits.host.as_deref().unwrap_or(host)),
        kept: head.kept(upgrade),
        te_trailers: head.te_trailers,
        close: false,
        keep_alive_10: false,
    };
    let has_host = !head.fields.iter().all(|f| f.known != Known::Host);
    if !has_host {
        line(out, b"Host", framing.host.unwrap_or_default());
    }
    write_fields(out, request.bytes, &head.fields, edits, &framing);
}

/// HTTP/2 tells by the end of the stream that a body is empty. In lines its length is said where
/// servers expect one (RFC 9110 section 8.6), and else answer 411.
fn length_of_nothing(head: &RequestHead) -> Option<u64> {
    let expects_body = matches!(head.method, Method::Post | Method::Put | Method::Patch);
    (head.version == Version::Http2 && expects_body).then_some(0)
}

/// How a response reaches the client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    pub(crate) body: Body,
    /// Close the connection after it.
    pub(crate) close: bool,
    /// The client's version.
    pub(crate) version: Version,
    /// The response switches protocols.
    pub(crate) upgrade: bool,
}

/// Appends a response's head as it goes downstream.
pub(crate) fn write_response(
    out: &mut Vec<u8>,
    response: &ResponseView<'_>,
    edits: &Edits,
    delivery: Delivery,
) {
    let head = response.head;
    out.reserve(response.bytes.len() + edits.added().len() + 64);
    out.extend_from_slice(b"HTTP/1.1 ");
    decimal(out, u64::from(head.status));
    out.push(b' ');
    out.extend_from_slice(head.reason.of(response.bytes));
    out.extend_from_slice(b"\r\n");
    let framing = Framing {
        body: delivery.body,
        declared_length: head.said_length(),
        host: None,
        kept: ResponseHead::kept(delivery.upgrade),
        te_trailers: false,
        close: delivery.close && head.status >= 200,
        keep_alive_10: !delivery.close && delivery.version == Version::Http10,
    };
    write_fields(out, response.bytes, &head.fields, edits, &framing);
}

fn write_fields(
    out: &mut Vec<u8>,
    bytes: &[u8],
    list: &Fields,
    edits: &Edits,
    framing: &Framing<'_>,
) {
    let mut run = None;
    let mut framed = false;
    for (index, field) in list.iter().enumerate() {
        let copied = !edits.is_dropped(index) && goes_on(field.known, framing.kept);
        if copied {
            // Between two fields of the list there may be lines that are not in it any more.
            match &mut run {
                Some((_, end)) if *end == field.line.start => *end = field.line.end,
                _ => {
                    flush(out, bytes, &mut run);
                    run = Some((field.line.start, field.line.end));
                }
            }
            continue;
        }
        flush(out, bytes, &mut run);
        match field.known {
            Known::Host => {
                if let Some(host) = framing.host {
                    line(out, field.name.of(bytes), host);
                }
            }
            Known::ContentLength | Known::TransferEncoding if !framed => {
                framed = write_framing(out, Some(field.name.of(bytes)), framing, field.known);
            }
            _ => {}
        }
    }
    flush(out, bytes, &mut run);
    out.extend_from_slice(edits.added());
    if !framed {
        write_framing(out, None, framing, Known::Other);
    }
    if framing.te_trailers {
        out.extend_from_slice(b"TE: trailers\r\n");
    }
    match (framing.kept.upgrade, framing.te_trailers) {
        (true, true) => out.extend_from_slice(b"Connection: Upgrade, TE\r\n"),
        (true, false) => out.extend_from_slice(b"Connection: Upgrade\r\n"),
        (false, true) => out.extend_from_slice(b"Connection: TE\r\n"),
        (false, false) if framing.close => out.extend_from_slice(b"Connection: close\r\n"),
        (false, false) if framing.keep_alive_10 => {
            out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        _ => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the framing field; `name` is how the sender wrote it, if the sender used this very one.
fn write_framing(
    out: &mut Vec<u8>,
    name: Option<&[u8]>,
    framing: &Framing<'_>,
    written: Known,
) -> bool {
    let length = match framing.body {
        Body::Length(n) => Some(n),
        Body::None => framing.declared_length,
        Body::Chunked | Body::UntilClose => None,
    };
    match (length, framing.body) {
        (Some(n), _) => {
            let name = name.filter(|_| written == Known::ContentLength);
            out.extend_from_slice(name.unwrap_or(b"Content-Length"));
            out.extend_from_slice(b": ");
            decimal(out, n);
            out.extend_from_slice(b"\r\n");
            true
        }
        (None, Body::Chunked) => {
            let name = name.filter(|_| written == Known::TransferEncoding);
            line(out, name.unwrap_or(b"Transfer-Encoding"), b"chunked");
            true
        }
        _ => false,
    }
}

fn flush(out: &mut Vec<u8>, bytes: &[u8], run: &mut Option<(u32, u32)>) {
    if let Some((start, end)) = run.take() {
        out.extend_from_slice(bytes.get(start as usize..end as usize).unwrap_or_default());
    }
}

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn decimal(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

/// Appends the lines of a trailer section that may be passed on, and its last empty line.
///
/// # Errors
/// The section is not valid field syntax.
pub(crate) fn write_trailers(
    out: &mut Vec<u8>,
    bytes: &[u8],
    limits: &Limits,
    from_upstream: bool,
) -> Result<(), Failure> {
    if !bytes.is_empty() {
        let mut list = Fields::default();
        let parsed = parse_section(bytes, 0, limits.fields, &mut list, |detail| {
            Failure::new(Cause::BadRequest, detail)
        });
        parsed.map_err(|f| if from_upstream { as_response(f) } else { f })?;
        for field in list.iter() {
            let name = field.name.of(bytes);
            if may_trail(field.known, name) {
                line(out, name, field.value.of(bytes));
            }
        }
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        h1::{Asked, parse_request, parse_response},
        message::{RequestHead, ResponseHead},
    };

    const LIMITS: Limits = Limits {
        head: 4096,
        line: 4096,
        fields: 32,
    };

    fn request(text: &str, edit: impl Fn(&mut Edits)) -> String {
        let text = text.replace('\n', "\r\n");
        let mut head = RequestHead::default();
        parse_request(text.as_bytes(), &LIMITS, &mut head).expect("valid");
        let view = RequestView {
            bytes: text.as_bytes(),
            head: &head,
        };
        let mut edits = Edits::default();
        edit(&mut edits);
        let mut out = Vec::new();
        write_request(
            &mut out,
            &view,
            &edits,
            head.upgrade.is_some(),
            view.authority(),
        );
        String::from_utf8(out).expect("text").replace("\r\n", "\n")
    }

    fn response(text: &str, asked: Asked, delivery: impl Fn(&ResponseHead) -> Delivery) -> String {
        let text = text.replace('\n', "\r\n");
        let mut head = ResponseHead::default();
        parse_response(text.as_bytes(), &LIMITS, asked, &mut head).expect("valid");
        let mut out = Vec::new();
        let delivery = delivery(&head);
        write_response(
            &mut out,
            &ResponseView {
                bytes: text.as_bytes(),
                head: &head,
            },
            &Edits::default(),
            delivery,
        );
        String::from_utf8(out).expect("text").replace("\r\n", "\n")
    }

    #[test]
    fn order_and_case_stay() {
        let text = "POST /x HTTP/1.1\nX-B: 1\nhOST: a\nx-a:2\ncontent-length: 03\nX-C: 4\n\n";
        assert_eq!(
            request(text, |_| ()),
            "POST /x HTTP/1.1\nX-B: 1\nhOST: a\nx-a:2\ncontent-length: 3\nX-C: 4\n\n"
        );
    }

    #[test]
    fn hop_by_hop_fields_go() {
        let text = "GET / HTTP/1.1\nHost: a\nConnection: close\nKeep-Alive: x\nTE: gzip\nProxy-Connection: x\nProxy-Authorization: x\nUpgrade: h2c\nX: y\n\n";
        assert_eq!(request(text, |_| ()), "GET / HTTP/1.1\nHost: a\nX: y\n\n");
        let text = "GET / HTTP/1.1\nHost: a\nConnection: te\nTE: trailers\n\n";
        assert_eq!(
            request(text, |_| ()),
            "GET / HTTP/1.1\nHost: a\nTE: trailers\nConnection: TE\n\n"
        );
        let text = "GET / HTTP/1.1\nHost: a\nConnection: upgrade\nUpgrade: websocket\n\n";
        assert_eq!(
            request(text, |_| ()),
            "GET / HTTP/1.1\nHost: a\nUpgrade: websocket\nConnection: Upgrade\n\n"
        );
    }

    #[test]
    fn what_is_sent_names_its_options() {
        let text = "GET / HTTP/1.1\nHost: a\nConnection: te, upgrade\nTE: trailers\nUpgrade: websocket\n\n";
        assert_eq!(
            request(text, |_| ()),
            "GET / HTTP/1.1\nHost: a\nUpgrade: websocket\nTE: trailers\nConnection: Upgrade, TE\n\n"
        );
    }

    #[test]
    fn an_expectation_of_http_1_0_stays_behind() {
        let text = "GET / HTTP/1.0\nHost: a\nExpect: 100-continue\nX: y\n\n";
        assert_eq!(request(text, |_| ()), "GET / HTTP/1.1\nHost: a\nX: y\n\n");
    }

    #[test]
    fn edits_are_applied() {
        let text = "GET /old?q HTTP/1.1\nHost: a\nA: 1\nB: 2\nC: 3\n\n";
        let edited = request(text, |edits| {
            edits.drop_field(2);
            edits.add("D", b"4");
            edits.path = Some(b"/new".as_slice().into());
            edits.host = Some(b"b".as_slice().into());
        });
        assert_eq!(edited, "GET /new?q HTTP/1.1\nHost: b\nA: 1\nC: 3\nD: 4\n\n");
    }

    #[test]
    fn an_absolute_target_goes_on_in_origin_form() {
        assert_eq!(
            request("GET http://a/b?c HTTP/1.1\nHost: a\n\n", |_| ()),
            "GET /b?c HTTP/1.1\nHost: a\n\n"
        );
        assert_eq!(
            request("GET /x HTTP/1.0\n\n", |_| ()),
            "GET /x HTTP/1.1\nHost: \n\n"
        );
    }

    #[test]
    fn responses_are_reframed_for_their_client() {
        let keep = |body, version| {
            move |_: &ResponseHead| Delivery {
                body,
                close: false,
                version,
                upgrade: false,
            }
        };
        let text = "HTTP/1.0 200 Fine\nA: b\n\n";
        assert_eq!(
            response(text, Asked::Other, keep(Body::Chunked, Version::Http11)),
            "HTTP/1.1 200 Fine\nA: b\nTransfer-Encoding: chunked\n\n"
        );
        let text = "HTTP/1.1 200 OK\ncontent-length: 5\nA: b\n\n";
        assert_eq!(
            response(text, Asked::Other, keep(Body::Length(5), Version::Http10)),
            "HTTP/1.1 200 OK\ncontent-length: 5\nA: b\nConnection: keep-alive\n\n"
        );
        assert_eq!(
            response(text, Asked::Head, keep(Body::None, Version::Http11)),
            "HTTP/1.1 200 OK\ncontent-length: 5\nA: b\n\n"
        );
        let text = "HTTP/1.1 204 No Content\nContent-Length: 0\n\n";
        assert_eq!(
            response(text, Asked::Other, keep(Body::None, Version::Http11)),
            "HTTP/1.1 204 No Content\n\n"
        );
        let text = "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nConnection: x\n\n";
        let close = |_: &ResponseHead| Delivery {
            body: Body::UntilClose,
            close: true,
            version: Version::Http10,
            upgrade: false,
        };
        assert_eq!(
            response(text, Asked::Other, close),
            "HTTP/1.1 200 OK\nConnection: close\n\n"
        );
    }

    #[test]
    fn trailers_lose_what_has_no_place_there() {
        let mut out = Vec::new();
        let section = b"X-Sum: 1\r\nHost: a\r\nX-Forwarded-For: 1\r\nSet-Cookie: a\r\nContent-Length: 3\r\n\r\n";
        write_trailers(&mut out, section, &LIMITS, false).expect("valid");
        assert_eq!(out, b"X-Sum: 1\r\n\r\n");
        assert!(write_trailers(&mut out, b"a b: c\r\n\r\n", &LIMITS, false).is_err());
    }
}
