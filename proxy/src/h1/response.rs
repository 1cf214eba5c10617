//! A response head: from bytes to what it says.
//!
//! As strict as with requests: an answer that two readers could understand differently is a
//! broken answer, and never passed on as if it were whole.

use super::request::Connection;
use crate::{
    error::{Cause, Failure},
    message::{
        Asked, Body, Known, Limits, ResponseHead, Span, Version, as_response, content_length,
        grammar::{decimal, is_field_content, list},
        parse_section,
    },
};

const fn bad(detail: &'static str) -> Failure {
    Failure::new(Cause::BadResponse, detail)
}

/// Parses a head found complete by [`super::HeadScan`].
///
/// # Errors
/// [`Cause::BadResponse`] or [`Cause::ResponseHeadTooLarge`]; the connection is not to be used again.
pub(crate) fn parse_response(
    bytes: &[u8],
    limits: &Limits,
    asked: Asked,
    head: &mut ResponseHead,
) -> Result<(), Failure> {
    head.fields.clear();
    *head = ResponseHead {
        fields: std::mem::take(&mut head.fields),
        len: bytes.len(),
        ..ResponseHead::default()
    };
    let line_end = memchr::memchr(b'\n', bytes)
        .and_then(|lf| lf.checked_sub(1))
        .ok_or(bad("no status line"))?;
    status_line(bytes.get(..line_end).unwrap_or_default(), head)?;
    parse_section(bytes, line_end + 2, limits.fields, &mut head.fields, bad)
        .map_err(as_response)?;
    meaning(bytes, asked, head)
}

/// `HTTP-version SP status-code SP [ reason-phrase ]` (RFC 9112 section 4). The second space may be
/// missing where there is no reason: many servers leave it out, and it has one reading.
fn status_line(line: &[u8], head: &mut ResponseHead) -> Result<(), Failure> {
    head.version = match line.get(..9) {
        Some(b"HTTP/1.1 ") => Version::Http11,
        Some(b"HTTP/1.0 ") => Version::Http10,
        _ => return Err(bad("HTTP version")),
    };
    head.status = match line.get(9..12) {
        Some(digits) if digits.iter().all(u8::is_ascii_digit) => {
            decimal(digits).unwrap_or(0) as u16
        }
        _ => return Err(bad("status code")),
    };
    if !(100..=599).contains(&head.status) {
        return Err(bad("status code"));
    }
    match line.get(12..) {
        None | Some([]) => {}
        Some([b' ', reason @ ..]) if is_field_content(reason) => {
            head.reason = Span::new(13, line.len());
        }
        Some(_) => return Err(bad("reason phrase")),
    }
    Ok(())
}

fn meaning(bytes: &[u8], asked: Asked, head: &mut ResponseHead) -> Result<(), Failure> {
    let mut length = None;
    let mut coding = None;
    let mut upgrade_seen = false;
    let mut connection = Connection::default();
    for field in head.fields.iter() {
        let value = field.value.of(bytes);
        match field.known {
            Known::ContentLength => content_length(value, &mut length).map_err(bad)?,
            Known::TransferEncoding if coding.replace(value).is_some() => {
                return Err(bad("more than one Transfer-Encoding"));
            }
            Known::Connection => connection.read(value).map_err(as_response)?,
            Known::KeepAlive => {
                head.keep_alive_timeout = head
                    .keep_alive_timeout
                    .or_else(|| keep_alive_timeout(value));
            }
            Known::Upgrade => {
                head.upgrade = (!upgrade_seen).then_some(field.value);
                upgrade_seen = true;
            }
            _ => {}
        }
    }
    head.upgrade = head
        .upgrade
        .filter(|_| head.status == 101 && connection.upgrade);
    head.declared_length = length;
    head.body = body(head, asked, length, coding)?;
    head.keep_alive = head.body != Body::UntilClose && connection.stays(head.version);
    Ok(())
}

/// RFC 9112 section 6.3, for responses.
fn body(
    head: &ResponseHead,
    asked: Asked,
    length: Option<u64>,
    coding: Option<&[u8]>,
) -> Result<Body, Failure> {
    if coding.is_some() && (length.is_some() || head.version == Version::Http10) {
        return Err(bad("Transfer-Encoding with Content-Length or on HTTP/1.0"));
    }
    if coding.is_some_and(|c| !c.eq_ignore_ascii_case(b"chunked")) {
        return Err(bad("Transfer-Encoding"));
    }
    let interim = head.status < 200;
    if (interim || head.status == 204) && (coding.is_some() || length.is_some_and(|n| n > 0)) {
        return Err(bad("a body where none may be"));
    }
    if interim || matches!(head.status, 204 | 304) || asked == Asked::Head {
        return Ok(Body::None);
    }
    Ok(match (coding, length) {
        (Some(_), _) => Body::Chunked,
        (None, Some(n)) => Body::Length(n),
        (None, None) => Body::UntilClose,
    })
}

/// `Keep-Alive: timeout=5, max=100`.
fn keep_alive_timeout(value: &[u8]) -> Option<u32> {
    list(value).find_map(|parameter| {
        let seconds = parameter.get(8..).filter(|_| {
            parameter
                .get(..8)
                .is_some_and(|n| n.eq_ignore_ascii_case(b"timeout="))
        })?;
        u32::try_from(decimal(seconds)?).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::HeadScan;

    const LIMITS: Limits = Limits {
        head: 4096,
        line: 4096,
        fields: 16,
    };

    fn parse(text: &str, asked: Asked) -> Result<ResponseHead, Cause> {
        let text = text.replace('\n', "\r\n");
        let mut head = ResponseHead::default();
        let len = HeadScan::default()
            .advance(text.as_bytes(), &LIMITS)
            .map_err(|f| as_response(f).cause)?
            .expect("a whole head");
        parse_response(&text.as_bytes()[..len], &LIMITS, asked, &mut head).map_err(|f| f.cause)?;
        Ok(head)
    }

    #[track_caller]
    fn body_of(text: &str, expected: Body) {
        assert_eq!(
            parse(text, Asked::Other).map(|h| h.body),
            Ok(expected),
            "{text:?}"
        );
    }

    #[test]
    fn bodies() {
        body_of("HTTP/1.1 200 OK\nContent-Length: 5\n\n", Body::Length(5));
        body_of(
            "HTTP/1.1 200\nTransfer-Encoding: chunked\n\n",
            Body::Chunked,
        );
        body_of("HTTP/1.1 200 \n\n", Body::UntilClose);
        body_of("HTTP/1.1 204 No Content\nContent-Length: 0\n\n", Body::None);
        body_of(
            "HTTP/1.1 304 Not Modified\nContent-Length: 7\n\n",
            Body::None,
        );
        body_of("HTTP/1.1 100 Continue\n\n", Body::None);
        let head = parse("HTTP/1.1 200 OK\nContent-Length: 5\n\n", Asked::Head).expect("valid");
        assert_eq!((head.body, head.declared_length), (Body::None, Some(5)));
    }

    #[test]
    fn broken_answers() {
        for text in [
            "HTTP/1.1 2000 OK\n\n",
            "HTTP/1.1 20 OK\n\n",
            "HTTP/1.1 099 x\n\n",
            "HTTP/1.1 600 x\n\n",
            "HTTP/2.0 200 OK\n\n",
            "HTTP/1.1  200 OK\n\n",
            "ICY 200 OK\n\n",
            "HTTP/1.1 200 O\u{0}K\n\n",
            "HTTP/1.1 200 OK\nContent-Length: 1\nContent-Length: 1\n\n",
            "HTTP/1.1 200 OK\nContent-Length: 1\nTransfer-Encoding: chunked\n\n",
            "HTTP/1.0 200 OK\nTransfer-Encoding: chunked\n\n",
            "HTTP/1.1 200 OK\nTransfer-Encoding: gzip, chunked\n\n",
            "HTTP/1.1 204 x\nContent-Length: 1\n\n",
            "HTTP/1.1 103 x\nTransfer-Encoding: chunked\n\n",
            "HTTP/1.1 200 OK\na: b\n c\n\n",
            "HTTP/1.1 200 OK\na : b\n\n",
        ] {
            assert_eq!(
                parse(text, Asked::Other).err(),
                Some(Cause::BadResponse),
                "{text:?}"
            );
        }
    }

    #[test]
    fn keeping_the_connection() {
        let keep = |text: &str| parse(text, Asked::Other).expect("valid").keep_alive;
        assert!(keep("HTTP/1.1 200 OK\nContent-Length: 0\n\n"));
        assert!(!keep(
            "HTTP/1.1 200 OK\nContent-Length: 0\nConnection: close\n\n"
        ));
        assert!(!keep("HTTP/1.0 200 OK\nContent-Length: 0\n\n"));
        assert!(!keep("HTTP/1.1 200 OK\n\n"));
        let head = parse(
            "HTTP/1.1 200 OK\nContent-Length: 0\nKeep-Alive: max=3, Timeout=5\n\n",
            Asked::Other,
        )
        .expect("valid");
        assert_eq!(head.keep_alive_timeout, Some(5));
    }
}
