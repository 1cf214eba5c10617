//! A request head: from bytes to what it says.

use super::{
    grammar::{
        decimal, is_authority, is_field_content, is_target, is_token, is_token_byte, list, trim,
    },
    scan::Limits,
};
use crate::{
    error::{Cause, Failure},
    message::{Body, Field, Fields, Known, Method, RequestHead, Span, Version},
};

const fn bad(detail: &'static str) -> Failure {
    Failure::new(Cause::BadRequest, detail)
}

/// Parses a head found complete by [`super::HeadScan`] into `head`, whose allocations are reused.
///
/// # Errors
/// The cause (400, 405, 417, 431, 501, 505) and what was wrong; nothing of the request may be forwarded then.
pub(crate) fn parse_request(
    bytes: &[u8],
    limits: &Limits,
    head: &mut RequestHead,
) -> Result<(), Failure> {
    head.fields.clear();
    *head = RequestHead {
        fields: std::mem::take(&mut head.fields),
        len: bytes.len(),
        ..RequestHead::default()
    };
    let line_end = end_of_line(bytes, 0).ok_or(bad("no request line"))?;
    let target = request_line(bytes, line_end, head)?;
    fields(bytes, line_end + 2, limits.fields, &mut head.fields, bad)?;
    let host = meaning(bytes, head)?;
    resolve_target(bytes, target, host, head)
}

/// Position of the CR that ends the line which begins at `start`.
fn end_of_line(bytes: &[u8], start: usize) -> Option<usize> {
    let lf = start + memchr::memchr(b'\n', bytes.get(start..)?)?;
    lf.checked_sub(1)
        .filter(|cr| *cr >= start && bytes.get(*cr) == Some(&b'\r'))
}

/// `method SP request-target SP HTTP-version` (RFC 9112 section 3), single spaces.
fn request_line(bytes: &[u8], end: usize, head: &mut RequestHead) -> Result<Span, Failure> {
    let line = bytes.get(..end).unwrap_or_default();
    let first = memchr::memchr(b' ', line).ok_or(bad("request line without spaces"))?;
    let last = memchr::memrchr(b' ', line)
        .filter(|l| *l > first)
        .ok_or(bad("request line without version"))?;
    let method = line.get(..first).unwrap_or_default();
    if !is_token(method) {
        return Err(bad("method"));
    }
    head.method = Method::of(method);
    head.method_text = Span::new(0, first);
    head.version = match line.get(last + 1..).unwrap_or_default() {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Failure::new(Cause::VersionNotSupported, "HTTP version"));
        }
        _ => return Err(bad("HTTP version")),
    };
    let target = Span::new(first + 1, last);
    if target.is_empty() || !is_target(target.of(line)) {
        return Err(bad("request target"));
    }
    Ok(target)
}

/// Splits the field section into `into`. Shared with responses and trailers, which fail with another cause.
pub(super) fn fields(
    bytes: &[u8],
    start: usize,
    most: usize,
    into: &mut Fields,
    fail: fn(&'static str) -> Failure,
) -> Result<(), Failure> {
    let mut start = start;
    loop {
        let end = end_of_line(bytes, start).ok_or(fail("line end"))?;
        if end == start {
            return Ok(());
        }
        if into.len() == most {
            return Err(Failure::new(Cause::RequestHeadTooLarge, "number of fields"));
        }
        let mut colon = start;
        let mut underscore = false;
        while let Some(byte) = bytes.get(colon).filter(|b| is_token_byte(**b)) {
            underscore |= *byte == b'_';
            colon += 1;
        }
        if colon == start || bytes.get(colon) != Some(&b':') {
            return Err(fail(match bytes.get(start) {
                Some(b' ' | b'\t') => "folded line",
                Some(b':') => "empty field name",
                _ => "field name",
            }));
        }
        let name = Span::new(start, colon);
        let (value_start, value_end) = trim(bytes, colon + 1, end);
        let value = Span::new(value_start, value_end);
        if !is_field_content(value.of(bytes)) {
            return Err(fail("control byte in a field value"));
        }
        let known = Known::of(name.of(bytes));
        if underscore && is_twin(name.of(bytes)) {
            return Err(fail("field name that differs from a protected one by `_`"));
        }
        into.push(Field {
            name,
            value,
            line: Span::new(start, end + 2),
            known,
        });
        start = end + 2;
    }
}

/// Whether a name becomes a protected one when a careless peer reads `_` as `-` (CGI does).
fn is_twin(name: &[u8]) -> bool {
    let mut dashed = [0_u8; 24];
    let Some(copy) = dashed.get_mut(..name.len()) else {
        return false;
    };
    for (to, from) in copy.iter_mut().zip(name) {
        *to = if *from == b'_' { b'-' } else { *from };
    }
    !matches!(
        Known::of(copy),
        Known::Other | Known::XRequestId | Known::KeepAlive
    )
}

/// What the fields mean for the connection and the body. Returns the `Host` value.
fn meaning(bytes: &[u8], head: &mut RequestHead) -> Result<Option<Span>, Failure> {
    let mut host = None;
    let mut length = None;
    let mut coding = None;
    let mut upgrade = None;
    let mut upgrade_seen = false;
    let mut te_trailers = false;
    let mut connection = Connection::default();
    for field in head.fields.iter() {
        let value = field.value.of(bytes);
        match field.known {
            Known::Host if host.replace(field.value).is_some() => {
                return Err(bad("more than one Host"));
            }
            Known::ContentLength => {
                let n = decimal(value).ok_or(bad("Content-Length"))?;
                if length.replace(n).is_some() {
                    return Err(bad("more than one Content-Length"));
                }
            }
            Known::TransferEncoding if coding.replace(value).is_some() => {
                return Err(bad("more than one Transfer-Encoding"));
            }
            Known::Connection => connection.read(value)?,
            // Two lines could name different protocols, and only one of them would be judged.
            Known::Upgrade => {
                upgrade = (!upgrade_seen).then_some(field.value);
                upgrade_seen = true;
            }
            Known::Expect if head.version == Version::Http11 => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Failure::new(Cause::ExpectationFailed, "Expect"));
                }
                head.expect_continue = true;
            }
            Known::Te => te_trailers |= list(value).any(|e| e.eq_ignore_ascii_case(b"trailers")),
            _ => {}
        }
    }
    head.body = body(head.version, length, coding)?;
    if matches!(head.method, Method::Connect | Method::Trace) && head.body != Body::None {
        return Err(bad("CONNECT or TRACE with a body"));
    }
    head.keep_alive = match head.version {
        Version::Http11 | Version::Http2 => !connection.close,
        Version::Http10 => connection.keep_alive && !connection.close,
    };
    head.te_trailers = te_trailers && connection.te;
    head.upgrade = upgrade.filter(|_| connection.upgrade && head.version == Version::Http11);
    Ok(host)
}

/// Tokens of `Connection` (RFC 9110 section 7.6.1).
#[derive(Default)]
pub(super) struct Connection {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
    pub(super) te: bool,
}

impl Connection {
    pub(super) fn read(&mut self, value: &[u8]) -> Result<(), Failure> {
        for token in list(value) {
            if !is_token(token) {
                return Err(bad("Connection"));
            }
            self.close |= token.eq_ignore_ascii_case(b"close");
            self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
            self.upgrade |= token.eq_ignore_ascii_case(b"upgrade");
            self.te |= token.eq_ignore_ascii_case(b"te");
        }
        Ok(())
    }
}

/// RFC 9112 section 6.3, for requests. Every combination that has two readings is refused.
fn body(version: Version, length: Option<u64>, coding: Option<&[u8]>) -> Result<Body, Failure> {
    match (coding, length) {
        (None, None) => Ok(Body::None),
        (None, Some(n)) => Ok(Body::Length(n)),
        (Some(_), Some(_)) => Err(bad("Content-Length with Transfer-Encoding")),
        (Some(_), None) if version == Version::Http10 => Err(bad("Transfer-Encoding on HTTP/1.0")),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Body::Chunked),
        (Some(coding), None) => {
            let chunked = list(coding)
                .filter(|c| c.eq_ignore_ascii_case(b"chunked"))
                .count();
            let last = list(coding)
                .last()
                .is_some_and(|c| c.eq_ignore_ascii_case(b"chunked"));
            let tokens = !coding.is_empty() && list(coding).all(is_token);
            if !tokens || chunked > 1 || (chunked == 1 && !last) {
                return Err(bad("Transfer-Encoding"));
            }
            Err(Failure::new(Cause::NotImplemented, "Transfer-Encoding"))
        }
    }
}

/// The four forms of a target (RFC 9112 section 3.2), and its agreement with `Host`.
fn resolve_target(
    bytes: &[u8],
    target: Span,
    host: Option<Span>,
    head: &mut RequestHead,
) -> Result<(), Failure> {
    if host.is_none() && head.version == Version::Http11 {
        return Err(bad("no Host"));
    }
    if host.is_some_and(|h| !is_authority(h.of(bytes))) {
        return Err(bad("Host"));
    }
    head.authority = host.unwrap_or_default();
    let text = target.of(bytes);
    if head.method == Method::Connect {
        if !is_authority(text) || memchr::memchr(b':', text).is_none() {
            return Err(bad("target of CONNECT"));
        }
        return agree(bytes, target, host, head);
    }
    match text {
        [b'/', ..] => {
            split_query(bytes, target, head);
            Ok(())
        }
        b"*" if head.method == Method::Options => {
            head.path = target;
            Ok(())
        }
        _ => {
            let scheme = [&b"http://"[..], b"https://"].into_iter().find(|s| {
                text.get(..s.len())
                    .is_some_and(|t| t.eq_ignore_ascii_case(s))
            });
            let start =
                target.start as usize + scheme.ok_or(bad("form of the request target"))?.len();
            let rest = bytes.get(start..target.end as usize).unwrap_or_default();
            let end = start
                + rest
                    .iter()
                    .position(|b| matches!(b, b'/' | b'?'))
                    .unwrap_or(rest.len());
            let authority = Span::new(start, end);
            if !is_authority(authority.of(bytes)) {
                return Err(bad("authority of the request target"));
            }
            split_query(bytes, Span::new(end, target.end as usize), head);
            if head.path.is_empty() {
                let asterisk = head.method == Method::Options && head.query.is_empty();
                head.normal_path = Some(if asterisk { "*" } else { "/" }.into());
            }
            agree(bytes, authority, host, head)
        }
    }
}

/// A target that names a host must name the one of `Host`: two readers could prefer either.
fn agree(
    bytes: &[u8],
    authority: Span,
    host: Option<Span>,
    head: &mut RequestHead,
) -> Result<(), Failure> {
    if host.is_some_and(|h| !h.of(bytes).eq_ignore_ascii_case(authority.of(bytes))) {
        return Err(bad("Host differs from the request target"));
    }
    head.authority = authority;
    Ok(())
}

fn split_query(bytes: &[u8], target: Span, head: &mut RequestHead) {
    let (start, end) = (target.start as usize, target.end as usize);
    let mark = memchr::memchr(b'?', target.of(bytes)).map_or(end, |at| start + at);
    head.path = Span::new(start, mark);
    head.query = Span::new(mark, end);
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
