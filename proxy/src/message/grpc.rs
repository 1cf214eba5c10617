//! What gRPC says in heads and trailers: what makes a request a call, how long it may take, what
//! became of it. Messages within bodies are nobody's business here.
//!
//! The names and forms are those of "gRPC over HTTP2". gRPC-Web is another protocol, to which we
//! are a proxy like to any.

use super::{Method, RequestView, ResponseView, grammar::decimal};
use crate::error::Cause;

/// The field that tells how long a call may take.
pub(crate) const TIMEOUT: &[u8] = b"grpc-timeout";

/// Most digits of a timeout.
const DIGITS: usize = 8;
/// Units of a timeout, finest first, and their nanoseconds.
const UNITS: [(u8, u64); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60_000_000_000),
    (b'H', 3_600_000_000_000),
];

/// Status codes of our own failures.
mod code {
    pub(super) const CANCELLED: u32 = 1;
    pub(super) const UNKNOWN: u32 = 2;
    pub(super) const DEADLINE_EXCEEDED: u32 = 4;
    pub(super) const PERMISSION_DENIED: u32 = 7;
    pub(super) const RESOURCE_EXHAUSTED: u32 = 8;
    pub(super) const ABORTED: u32 = 10;
    pub(super) const UNIMPLEMENTED: u32 = 12;
    pub(super) const INTERNAL: u32 = 13;
    pub(super) const UNAVAILABLE: u32 = 14;
    pub(super) const DATA_LOSS: u32 = 15;
    pub(super) const UNAUTHENTICATED: u32 = 16;
}

/// Whether a request is a gRPC call.
pub(crate) fn is_call(request: &RequestView<'_>) -> bool {
    request.head.method == Method::Post
        && request
            .values(b"content-type")
            .next()
            .is_some_and(is_content_type)
}

/// `application/grpc`, alone or with a message format (`+proto`) or parameters behind it.
pub(crate) fn is_content_type(value: &[u8]) -> bool {
    const TYPE: &[u8] = b"application/grpc";
    value
        .split_at_checked(TYPE.len())
        .is_some_and(|(kind, rest)| {
            kind.eq_ignore_ascii_case(TYPE)
                && matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'\t'))
        })
}

/// Service and method in a call's path.
pub(crate) fn names(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let names = path.strip_prefix(b"/")?;
    let (service, method) = names.split_at(memchr::memchr(b'/', names)?);
    let method = method.get(1..)?;
    let valid = !service.is_empty() && !method.is_empty() && !method.contains(&b'/');
    valid.then_some((service, method))
}

/// How long a call may take, in nanoseconds, and the number of the field that says so.
///
/// # Errors
/// It is malformed or said twice: nobody could tell which deadline the client has.
pub(crate) fn timeout(request: &RequestView<'_>) -> Result<Option<(usize, u64)>, &'static str> {
    let mut found = None;
    for (index, field) in request.head.fields.iter().enumerate() {
        let name = field.name.of(request.bytes);
        if name.len() != TIMEOUT.len() || !name.eq_ignore_ascii_case(TIMEOUT) {
            continue;
        }
        let value = parse_timeout(field.value.of(request.bytes)).ok_or("grpc-timeout")?;
        if found.replace((index, value)).is_some() {
            return Err("more than one grpc-timeout");
        }
    }
    Ok(found)
}

/// At most eight digits and a unit. Zero, which the grammar has not, is a deadline that has passed.
fn parse_timeout(value: &[u8]) -> Option<u64> {
    let (unit, digits) = value.split_last()?;
    let (_, nanos) = UNITS.iter().find(|(letter, _)| letter == unit)?;
    let number = decimal(digits).filter(|_| digits.len() <= DIGITS)?;
    // 11,000 years in hours are not told from 584 in nanoseconds.
    Some(number.saturating_mul(*nanos))
}

/// A timeout in the finest unit that holds it, rounded down: never more than is left.
pub(crate) fn write_timeout(nanos: u64, out: &mut [u8; DIGITS + 1]) -> &[u8] {
    let fits = |(_, unit): &&(u8, u64)| nanos / unit < 10_u64.pow(DIGITS as u32);
    // 64 bits of nanoseconds are not so many hours that those would not fit.
    let (letter, unit) = UNITS.iter().find(fits).copied().unwrap_or((b'H', u64::MAX));
    let mut number = itoa::Buffer::new();
    let digits = number.format(nanos / unit).bytes();
    let text = digits.chain([letter]);
    let len = out
        .iter_mut()
        .zip(text)
        .map(|(place, byte)| *place = byte)
        .count();
    out.get(..len).unwrap_or_default()
}

/// A `grpc-status` as it was sent; `None` for what is no number.
pub(crate) fn status(value: &[u8]) -> Option<u32> {
    decimal(value)?.try_into().ok()
}

/// The status of an answer without body or trailers, which says it in its head.
pub(crate) fn status_in_head(response: &ResponseView<'_>) -> Option<u32> {
    let mut fields = response.head.fields.iter();
    let named = |name: &[u8]| name.eq_ignore_ascii_case(b"grpc-status");
    let field = fields.find(|field| named(field.name.of(response.bytes)))?;
    status(field.value.of(response.bytes))
}

/// Whether a status is a mark against the endpoint that gave it, as a 5xx is: it threw, is broken,
/// or does not serve. `UNIMPLEMENTED` is the same of every endpoint, `RESOURCE_EXHAUSTED` may be the
/// caller's own quota, and a deadline is as short as its client made it.
pub(crate) const fn is_failure(status: u32) -> bool {
    matches!(
        status,
        code::UNKNOWN | code::INTERNAL | code::UNAVAILABLE | code::DATA_LOSS
    )
}

/// The status that tells a client of a failure of ours.
pub(crate) const fn of(cause: Cause) -> u32 {
    if cause.is_connect_failure() {
        // Also where connecting took too long: nothing was sent, and another try may do.
        return code::UNAVAILABLE;
    }
    match cause.status() {
        401 => code::UNAUTHENTICATED,
        403 => code::PERMISSION_DENIED,
        404 | 405 | 501 => code::UNIMPLEMENTED,
        408 | 504 => code::DEADLINE_EXCEEDED,
        413 | 414 | 429 | 431 => code::RESOURCE_EXHAUSTED,
        499 => code::CANCELLED,
        421 | 502 | 503 => code::UNAVAILABLE,
        508 => code::ABORTED,
        _ => code::INTERNAL,
    }
}

/// Appends a `grpc-message`: all but visible ASCII and space is percent-encoded, and `%` too.
pub(crate) fn write_message(text: &str, out: &mut Vec<u8>) {
    const HEX: [u8; 16] = *b"0123456789ABCDEF";
    let digit = |n: u8| HEX.get(usize::from(n)).copied().unwrap_or(b'0');
    for byte in text.bytes() {
        match byte {
            b'%' | ..b' ' | 0x7f.. => {
                out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 0xf)]);
            }
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::testing::{TestRequest, TestResponse};

    #[test]
    fn what_is_a_call() {
        for (method, content_type, expected) in [
            ("POST", "application/grpc", true),
            ("POST", "application/grpc+proto", true),
            ("POST", "Application/GRPC;charset=utf-8", true),
            ("POST", "application/grpc ; x=y", true),
            ("GET", "application/grpc", false),
            ("post", "application/grpc", false),
            ("POST", "application/grpc-web", false),
            ("POST", "application/grpc-web+proto", false),
            ("POST", "application/grp", false),
            ("POST", "text/plain, application/grpc", false),
            ("POST", "", false),
        ] {
            let fields = [("Content-Type", content_type)];
            let request = TestRequest::new(method, "a", "/s/m", &fields);
            assert_eq!(
                is_call(&request.view()),
                expected,
                "{method} {content_type}"
            );
        }
        assert!(!is_call(&TestRequest::new("POST", "a", "/s/m", &[]).view()));
    }

    #[test]
    fn names_in_paths() {
        assert_eq!(names(b"/a.B/C"), Some((&b"a.B"[..], &b"C"[..])));
        for none in ["", "/", "/a", "/a/", "//b", "a/b", "/a/b/", "/a/b/c", "*"] {
            assert_eq!(names(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn timeouts_are_read_strictly() {
        for (text, expected) in [
            ("1n", Some(1)),
            ("250u", Some(250_000)),
            ("100m", Some(100_000_000)),
            ("5S", Some(5_000_000_000)),
            ("2M", Some(120_000_000_000)),
            ("1H", Some(3_600_000_000_000)),
            ("0m", Some(0)),
            ("00000010S", Some(10_000_000_000)),
            ("99999999H", Some(u64::MAX)),
            ("100000000n", None),
            ("", None),
            ("S", None),
            ("5", None),
            ("5s", None),
            ("5 S", None),
            (" 5S", None),
            ("-5S", None),
            ("+5S", None),
            ("1.5S", None),
            ("5SS", None),
        ] {
            assert_eq!(parse_timeout(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn one_timeout_is_enough() {
        let of =
            |fields: &[(&str, &str)]| timeout(&TestRequest::new("POST", "", "/s/m", fields).view());
        assert_eq!(of(&[("a", "b")]), Ok(None));
        assert_eq!(
            of(&[("a", "b"), ("Grpc-Timeout", "1u")]),
            Ok(Some((1, 1_000)))
        );
        assert_eq!(of(&[("grpc-timeout", "x")]), Err("grpc-timeout"));
        let twice = [("grpc-timeout", "1S"), ("grpc-timeout", "1S")];
        assert_eq!(of(&twice), Err("more than one grpc-timeout"));
    }

    #[test]
    fn timeouts_are_written_short_and_never_too_long() {
        for (nanos, expected) in [
            (0, "0n"),
            (1, "1n"),
            (99_999_999, "99999999n"),
            (100_000_000, "100000u"),
            (4_999_999_999, "4999999u"),
            (99_999_999_999, "99999999u"),
            (100_000_000_000, "100000m"),
            (99_999_999_999_999, "99999999m"),
            (100_000_000_000_000, "100000S"),
            (u64::MAX, "5124095H"),
        ] {
            let mut out = Default::default();
            let text = write_timeout(nanos, &mut out);
            assert_eq!(str::from_utf8(text), Ok(expected), "{nanos}");
            assert!(parse_timeout(text).unwrap() <= nanos, "{nanos}");
        }
    }

    #[test]
    fn statuses() {
        assert_eq!(status(b"14"), Some(14));
        assert_eq!(status(b"300"), Some(300));
        for none in ["", "+1", "-1", "1 ", "OK", "99999999999"] {
            assert_eq!(status(none.as_bytes()), None, "{none}");
        }
        let head = TestResponse::new(200, &[("a", "b"), ("Grpc-Status", "5")]);
        assert_eq!(status_in_head(&head.view()), Some(5));
        assert_eq!(status_in_head(&TestResponse::new(200, &[]).view()), None);
    }

    #[test]
    fn each_failure_has_its_status() {
        for (cause, expected) in [
            (Cause::BadRequest, code::INTERNAL),
            (Cause::RequestHeadTooLarge, code::RESOURCE_EXHAUSTED),
            (Cause::RequestBodyTooLarge, code::RESOURCE_EXHAUSTED),
            (Cause::RequestBodyTimeout, code::DEADLINE_EXCEEDED),
            (Cause::ClientGone, code::CANCELLED),
            (Cause::Loop, code::ABORTED),
            (Cause::NoRoute, code::UNIMPLEMENTED),
            (Cause::BadRoute, code::INTERNAL),
            (Cause::NoEndpoint, code::UNAVAILABLE),
            (Cause::ConnectionRefused, code::UNAVAILABLE),
            (Cause::ConnectTimeout, code::UNAVAILABLE),
            (Cause::UpstreamClosed, code::UNAVAILABLE),
            (Cause::DeadlineExceeded, code::DEADLINE_EXCEEDED),
            (Cause::RequestTimeout, code::DEADLINE_EXCEEDED),
            (Cause::Draining, code::UNAVAILABLE),
            (Cause::Internal, code::INTERNAL),
        ] {
            assert_eq!(of(cause), expected, "{cause:?}");
        }
    }

    #[test]
    fn messages_are_percent_encoded() {
        let mut out = Vec::new();
        write_message("50% of ~\u{fc}\r\n\u{7f}!", &mut out);
        assert_eq!(out, b"50%25 of ~%C3%BC%0D%0A%7F!");
    }
}
