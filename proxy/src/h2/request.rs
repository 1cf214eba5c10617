//! A request head between HTTP/2 and text: what it says, and how it is said.

use h2::ext::Protocol;
use http::{
    HeaderMap, Method as Verb, Request, Uri,
    header::HOST,
    request::Parts,
    uri::{self, Authority, PathAndQuery, Scheme},
};

use super::{
    lines::{self, OVERHEAD},
    map::{self, Recipe, Shared, Text},
};
use crate::{
    error::{Cause, Failure},
    message::{
        Body, Edits, Known, Limits, Method, RequestHead, RequestView, Span, Version,
        content_length, expectation,
        grammar::{has_port, is_authority, is_protocol, is_target, is_token, list},
    },
};

const fn bad(detail: &'static str) -> Failure {
    Failure::new(Cause::BadRequest, detail)
}

/// Writes a received request as text into `bytes`, and what it says into `head`. The allocations of
/// both are reused.
///
/// # Errors
/// The cause (400, 414, 417, 431) and what was wrong; nothing of the request may be forwarded then.
pub(crate) fn read_request(
    parts: &Parts,
    end_of_stream: bool,
    limits: &Limits,
    bytes: &mut Vec<u8>,
    head: &mut RequestHead,
) -> Result<(), Failure> {
    bytes.clear();
    head.fields.clear();
    *head = RequestHead {
        fields: std::mem::take(&mut head.fields),
        version: Version::Http2,
        keep_alive: true,
        ..RequestHead::default()
    };
    check_size(parts, limits)?;
    let asked = Form::of(parts)?;
    let authority = authority(&parts.uri, &parts.headers, asked == Form::Connect)?;
    let target = asked.target(&parts.uri)?;
    request_line(asked.method(parts), target, limits, bytes, head)?;
    head.authority = lines::push(bytes, &mut head.fields, b"host", authority, Known::Host);
    if let Form::Extended(protocol) = asked {
        let protocol = protocol.as_str().as_bytes();
        let value = lines::push(
            bytes,
            &mut head.fields,
            b"upgrade",
            protocol,
            Known::Upgrade,
        );
        head.upgrade = Some(value);
        head.extended_connect = true;
    }
    let others = parts.headers.iter().filter(|(name, _)| **name != HOST);
    lines::append(others, bytes, &mut head.fields, bad)?;
    bytes.extend_from_slice(b"\r\n");
    meaning(bytes, end_of_stream, asked != Form::Plain, head)?;
    head.len = bytes.len();
    Ok(())
}

/// Before anything is copied.
fn check_size(parts: &Parts, limits: &Limits) -> Result<(), Failure> {
    let uri = &parts.uri;
    let target = uri.path_and_query().map_or(0, |t| t.as_str().len());
    let authority = uri.authority().map_or(0, |a| a.as_str().len());
    let pseudo = ":method:scheme:authority:path".len()
        + parts.method.as_str().len()
        + uri.scheme_str().map_or(0, str::len)
        + target
        + authority
        + 4 * OVERHEAD;
    lines::check_size(&parts.headers, pseudo, limits)
}

/// What is asked for, by its pseudo-header fields (RFC 9113 sections 8.3.1 and 8.5, RFC 8441).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form<'a> {
    Plain,
    Connect,
    Extended(&'a Protocol),
}

impl<'a> Form<'a> {
    fn of(parts: &'a Parts) -> Result<Self, Failure> {
        let protocol = parts.extensions.get::<Protocol>();
        match (protocol, parts.method == Verb::CONNECT) {
            (None, false) => Ok(Self::Plain),
            (None, true) => Ok(Self::Connect),
            (Some(p), true) if is_protocol(p.as_ref()) => Ok(Self::Extended(p)),
            (Some(_), _) => Err(bad(":protocol")),
        }
    }

    /// An extended CONNECT is what HTTP/1 asks for by GET.
    fn method(self, parts: &'a Parts) -> &'a [u8] {
        match self {
            Self::Plain | Self::Connect => parts.method.as_str().as_bytes(),
            Self::Extended(_) => b"GET",
        }
    }

    /// `:path`; of CONNECT there is none, and the authority stands in the request line.
    fn target(self, uri: &'a Uri) -> Result<&'a [u8], Failure> {
        if self == Self::Connect {
            return match (uri.scheme(), uri.path(), uri.authority()) {
                (None, "", Some(authority)) => Ok(authority.as_str().as_bytes()),
                _ => Err(bad("CONNECT with :scheme or :path")),
            };
        }
        let known = |s: &str| s.eq_ignore_ascii_case("http") || s.eq_ignore_ascii_case("https");
        if !uri.scheme_str().is_none_or(known) {
            return Err(bad(":scheme"));
        }
        let target = uri.path_and_query().ok_or(bad(":path"))?;
        // One that is missing, or begins with a fragment, is shown as `/`, but is not that.
        if target.as_str() == "/" && *target != PathAndQuery::from_static("/") {
            return Err(bad(":path"));
        }
        let target = target.as_str().as_bytes();
        if target.first() == Some(&b'/') && is_target(target) || target == b"*" {
            Ok(target)
        } else {
            Err(bad(":path"))
        }
    }
}

/// The one host that is asked (RFC 9113 section 8.3.1): two readers could prefer either of
/// `:authority` and `Host`, so they must agree.
fn authority<'a>(uri: &'a Uri, fields: &'a HeaderMap, connect: bool) -> Result<&'a [u8], Failure> {
    let mut hosts = fields.get_all(HOST).iter().map(http::HeaderValue::as_bytes);
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(bad("more than one Host"));
    }
    let asked = uri.authority().map(|a| a.as_str().as_bytes());
    let authority = match (asked, host) {
        (Some(asked), Some(host)) if !asked.eq_ignore_ascii_case(host) => {
            return Err(bad("Host differs from :authority"));
        }
        (Some(asked), _) => asked,
        (None, Some(host)) if !connect => host,
        (None, _) => return Err(bad("no :authority")),
    };
    if !is_authority(authority) || (connect && !has_port(authority)) {
        return Err(bad(":authority"));
    }
    Ok(authority)
}

fn request_line(
    method: &[u8],
    target: &[u8],
    limits: &Limits,
    bytes: &mut Vec<u8>,
    head: &mut RequestHead,
) -> Result<(), Failure> {
    if !is_token(method) {
        return Err(bad("method"));
    }
    head.method = Method::of(method);
    bytes.extend_from_slice(method);
    head.method_text = Span::new(0, bytes.len());
    bytes.push(b' ');
    let start = bytes.len();
    bytes.extend_from_slice(target);
    let end = bytes.len();
    if target == b"*" && head.method != Method::Options {
        return Err(bad(":path"));
    }
    if head.method != Method::Connect {
        head.set_target(bytes, Span::new(start, end));
    }
    bytes.extend_from_slice(b" HTTP/2");
    if bytes.len() > limits.line {
        return Err(Failure::new(Cause::RequestLineTooLong, ":path"));
    }
    bytes.extend_from_slice(b"\r\n");
    Ok(())
}

/// What the fields mean for the body.
fn meaning(
    bytes: &[u8],
    end_of_stream: bool,
    tunnel: bool,
    head: &mut RequestHead,
) -> Result<(), Failure> {
    let mut length = None;
    for field in head.fields.iter() {
        let value = field.value.of(bytes);
        match field.known {
            Known::ContentLength => content_length(value, &mut length).map_err(bad)?,
            Known::Expect => {
                expectation(value)?;
                head.expect_continue = true;
            }
            Known::Te => head.te_trailers = true,
            _ => {}
        }
    }
    head.body = match length {
        // What follows the head is not a body.
        None if tunnel => Body::None,
        None if end_of_stream => Body::None,
        None => Body::Chunked,
        Some(n) if end_of_stream && n > 0 => return Err(bad("Content-Length without a body")),
        Some(n) => Body::Length(n),
    };
    if (tunnel || head.method == Method::Trace) && head.body != Body::None {
        return Err(bad("CONNECT or TRACE with a body"));
    }
    Ok(())
}

/// The request as it goes upstream, by the rules of the HTTP/1 writer. With `upgrade`, the protocol
/// that the head asks for is asked for by extended CONNECT.
///
/// # Errors
/// HTTP/2, or the crate that speaks it, cannot carry it.
pub(crate) fn write_request(
    request: &RequestView<'_>,
    edits: &Edits,
    upgrade: bool,
    host: &[u8],
    scheme: Scheme,
) -> Result<Request<()>, Failure> {
    let head = request.head;
    let offers = head.upgrade.filter(|_| upgrade);
    let protocol = offers
        .map(|offers| protocol(head, offers.of(request.bytes)))
        .transpose()?;
    let host = edits.host.as_deref().unwrap_or(host);
    let path = edits.path.as_deref().unwrap_or_else(|| request.path());
    let query = head.query.of(request.bytes);
    let room = path.len() + query.len() + host.len() + edits.added().len() + 20;
    let mut text = Text::begin(request.bytes, room);
    let target = text.push(&[path, query]);
    let authority = text.push(&[host]);
    let added = text.push(&[edits.added()]);
    let length = match head.body {
        Body::Length(n) if protocol.is_none() => {
            Some(text.push(&[itoa::Buffer::new().format(n).as_bytes()]))
        }
        _ => None,
    };
    let text = text.end();
    let recipe = Recipe {
        edits,
        kept: head.kept(false),
        added,
        length,
        // The protocol's name in the pseudo-header field stands for it (RFC 8441 section 5).
        without: protocol.as_ref().map(|_| "sec-websocket-key"),
        te_trailers: head.te_trailers,
    };
    let fields = map::fields(&text, &head.fields, &recipe).map_err(bad)?;
    let mut out = Request::new(());
    *out.version_mut() = http::Version::HTTP_2;
    *out.method_mut() = match &protocol {
        Some(_) => Verb::CONNECT,
        None => Verb::from_bytes(request.method()).map_err(|_| bad("method"))?,
    };
    let tunnel = head.method == Method::Connect;
    *out.uri_mut() = uri(&text, (!tunnel).then_some((scheme, target)), authority)?;
    *out.headers_mut() = fields;
    if let Some(protocol) = protocol {
        out.extensions_mut().insert(protocol);
    }
    Ok(out)
}

/// Pseudo-header fields; CONNECT has no scheme and no path.
fn uri(text: &Shared, target: Option<(Scheme, Span)>, authority: Span) -> Result<Uri, Failure> {
    let mut parts = uri::Parts::default();
    let authority = Authority::from_maybe_shared(text.part(authority));
    parts.authority = Some(authority.map_err(|_| bad("authority that HTTP/2 cannot carry"))?);
    if let Some((scheme, target)) = target {
        // Positions in it are 16 bits wide in the `http` crate.
        if target.len() >= usize::from(u16::MAX) {
            return Err(Failure::new(Cause::RequestLineTooLong, "path"));
        }
        let target = PathAndQuery::from_maybe_shared(text.part(target));
        parts.path_and_query = Some(target.map_err(|_| bad("path that HTTP/2 cannot carry"))?);
        parts.scheme = Some(scheme);
    }
    Uri::from_parts(parts).map_err(|_| bad("request target"))
}

/// The protocol to ask for by extended CONNECT: the one offered first. Names compare without case
/// in HTTP/1, and are lower case here.
fn protocol(head: &RequestHead, offers: &[u8]) -> Result<Protocol, Failure> {
    // Neither its method nor a body of its own can be said beside the tunnel.
    if head.method != Method::Get || !matches!(head.body, Body::None | Body::Length(0)) {
        return Err(bad("upgrade with a body or by another method than GET"));
    }
    let offer = list(offers).next().filter(|offer| is_protocol(offer));
    let name = offer.and_then(|offer| std::str::from_utf8(offer).ok());
    let name = name.ok_or(bad("Upgrade"))?.to_ascii_lowercase();
    Ok(Protocol::from(name.as_str()))
}

#[cfg(test)]
mod tests;
