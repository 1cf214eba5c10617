//! A request head: from bytes to what it says.

use crate::{
    error::{Cause, Failure},
    message::{
        Body, Known, Limits, Method, RequestHead, Span, Version, content_length, end_of_line,
        expectation,
        grammar::{has_port, is_authority, is_target, is_token, list},
        parse_section,
    },
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
    parse_section(bytes, line_end + 2, limits.fields, &mut head.fields, bad)?;
    let host = meaning(bytes, head)?;
    resolve_target(bytes, target, host, head)
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
            Known::ContentLength => content_length(value, &mut length).map_err(bad)?,
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
                expectation(value)?;
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
    head.keep_alive = connection.stays(head.version);
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

    /// Whether the sender means to keep the connection (RFC 9112 section 9.3).
    pub(super) fn stays(&self, version: Version) -> bool {
        !self.close && (self.keep_alive || version != Version::Http10)
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
        if !is_authority(text) || !has_port(text) {
            return Err(bad("target of CONNECT"));
        }
        return agree(bytes, target, host, head);
    }
    match text {
        [b'/', ..] => {
            head.set_target(bytes, target);
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
            head.set_target(bytes, Span::new(end, target.end as usize));
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

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
