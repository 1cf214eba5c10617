//! A request head between HTTP/2 and text: what it says, and how it is said.

use super::{
    fields::{self, Recipe},
    hpack::{self, Block, Field},
    lines,
    link::Asks,
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
    block: &Block,
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
    let pseudo = Pseudo::of(block)?;
    lines::check_size(block, pseudo.count, limits)?;
    let asked = Form::of(&pseudo)?;
    let others = block.iter().skip(pseudo.count);
    let authority = authority(&pseudo, others.clone(), asked == Form::Connect)?;
    let target = asked.target(&pseudo)?;
    request_line(asked.method(&pseudo), target, limits, bytes, head)?;
    head.authority = lines::push(bytes, &mut head.fields, b"host", authority, Known::Host);
    if let Form::Extended(protocol) = asked {
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
    let others = others.filter(|field| field.known != HOST);
    lines::append(&others, bytes, &mut head.fields, bad)?;
    bytes.extend_from_slice(b"\r\n");
    meaning(bytes, end_of_stream, asked != Form::Plain, head)?;
    head.len = bytes.len();
    Ok(())
}

/// Names in the static table of HPACK.
const AUTHORITY: u8 = 1;
const METHOD: u8 = 2;
const PATH: u8 = 4;
const SCHEME: u8 = 6;
const HOST: u8 = 38;

/// Pseudo-header fields of a request (RFC 9113 section 8.3.1, RFC 8441 section 4).
#[derive(Default)]
struct Pseudo<'a> {
    method: Option<&'a [u8]>,
    scheme: Option<&'a [u8]>,
    authority: Option<&'a [u8]>,
    path: Option<&'a [u8]>,
    protocol: Option<&'a [u8]>,
    count: usize,
}

impl<'a> Pseudo<'a> {
    /// They stand in front of all others, each once.
    fn of(block: &'a Block) -> Result<Self, Failure> {
        let mut pseudo = Self::default();
        for field in block.iter() {
            let place = match (field.known, field.name) {
                (METHOD, _) => &mut pseudo.method,
                (SCHEME, _) => &mut pseudo.scheme,
                (AUTHORITY, _) => &mut pseudo.authority,
                (PATH, _) => &mut pseudo.path,
                (_, b":protocol") => &mut pseudo.protocol,
                (_, [b':', ..]) => return Err(bad("pseudo-header field")),
                _ => break,
            };
            if place.replace(field.value).is_some() {
                return Err(bad("pseudo-header field that came twice"));
            }
            pseudo.count += 1;
        }
        Ok(pseudo)
    }
}

/// What is asked for, by its pseudo-header fields (RFC 9113 sections 8.3.1 and 8.5, RFC 8441).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form<'a> {
    Plain,
    Connect,
    Extended(&'a [u8]),
}

impl<'a> Form<'a> {
    fn of(pseudo: &Pseudo<'a>) -> Result<Self, Failure> {
        match (pseudo.protocol, pseudo.method == Some(b"CONNECT")) {
            (None, false) => Ok(Self::Plain),
            (None, true) => Ok(Self::Connect),
            (Some(p), true) if is_protocol(p) => Ok(Self::Extended(p)),
            (Some(_), _) => Err(bad(":protocol")),
        }
    }

    /// An extended CONNECT is what HTTP/1 asks for by GET.
    fn method(self, pseudo: &Pseudo<'a>) -> &'a [u8] {
        match self {
            Self::Plain | Self::Connect => pseudo.method.unwrap_or_default(),
            Self::Extended(_) => b"GET",
        }
    }

    /// `:path`; of CONNECT there is none, and the authority stands in the request line.
    fn target(self, pseudo: &Pseudo<'a>) -> Result<&'a [u8], Failure> {
        if self == Self::Connect {
            return match (pseudo.scheme, pseudo.path, pseudo.authority) {
                (None, None, Some(authority)) => Ok(authority),
                _ => Err(bad("CONNECT with :scheme or :path")),
            };
        }
        let scheme = pseudo.scheme.unwrap_or_default();
        if !(scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https")) {
            return Err(bad(":scheme"));
        }
        let target = pseudo.path.unwrap_or_default();
        if target.first() == Some(&b'/') && is_target(target) || target == b"*" {
            Ok(target)
        } else {
            Err(bad(":path"))
        }
    }
}

/// The one host that is asked (RFC 9113 section 8.3.1): two readers could prefer either of
/// `:authority` and `Host`, so they must agree.
fn authority<'a>(
    pseudo: &Pseudo<'a>,
    others: impl Iterator<Item = Field<'a>>,
    connect: bool,
) -> Result<&'a [u8], Failure> {
    let mut hosts = others.filter(|field| field.known == HOST);
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(bad("more than one Host"));
    }
    let authority = match (pseudo.authority, host) {
        (Some(asked), Some(host)) if !asked.eq_ignore_ascii_case(host.value) => {
            return Err(bad("Host differs from :authority"));
        }
        (Some(asked), _) => asked,
        (None, Some(host)) if !connect => host.value,
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

/// What a request that was written asks for.
pub(crate) struct Written {
    pub(crate) asks: Asks,
    /// The protocol that is to begin, in lower case.
    pub(crate) protocol: Option<Box<[u8]>>,
}

/// Appends the request as it goes upstream, by the rules of the HTTP/1 writer. With `upgrade`, the
/// protocol that the head asks for is asked for by extended CONNECT. `secure`: by the scheme `https`.
///
/// # Errors
/// HTTP/2 cannot carry it.
pub(crate) fn write_request(
    out: &mut Vec<u8>,
    request: &RequestView<'_>,
    edits: &Edits,
    upgrade: bool,
    host: &[u8],
    secure: bool,
) -> Result<Written, Failure> {
    let head = request.head;
    let offers = head.upgrade.filter(|_| upgrade);
    let protocol = offers
        .map(|offers| protocol(head, offers.of(request.bytes)))
        .transpose()?;
    out.reserve(request.bytes.len() + edits.added().len() + 64);
    let method = if protocol.is_some() {
        b"CONNECT"
    } else {
        request.method()
    };
    hpack::known_field(out, METHOD, method, false);
    // CONNECT has no scheme and no path.
    let tunnel = head.method == Method::Connect;
    if !tunnel {
        hpack::known_field(out, SCHEME, if secure { b"https" } else { b"http" }, false);
    }
    let host = edits.host.as_deref().unwrap_or(host);
    hpack::known_field(out, AUTHORITY, host, false);
    if !tunnel {
        path(out, request, edits);
    }
    if let Some(protocol) = &protocol {
        hpack::field(out, b":protocol", protocol, false);
    }
    let recipe = Recipe {
        edits,
        kept: head.kept(false),
        length: match head.body {
            Body::Length(n) if protocol.is_none() => Some(n),
            _ => None,
        },
        // The protocol's name in the pseudo-header field stands for it (RFC 8441 section 5).
        without: protocol.as_ref().map(|_| "sec-websocket-key"),
        te_trailers: head.te_trailers,
    };
    fields::write(out, request.bytes, &head.fields, &recipe);
    let asks = match head.method {
        _ if protocol.is_some() => Asks::Tunnel,
        Method::Connect => Asks::Tunnel,
        Method::Head => Asks::Head,
        _ => Asks::Body,
    };
    Ok(Written { asks, protocol })
}

fn path(out: &mut Vec<u8>, request: &RequestView<'_>, edits: &Edits) {
    let path = edits.path.as_deref().unwrap_or_else(|| request.path());
    let query = request.head.query.of(request.bytes);
    if query.is_empty() {
        return hpack::known_field(out, PATH, path, false);
    }
    hpack::known_field(out, PATH, &[path, query].concat(), false);
}

/// The protocol to ask for by extended CONNECT: the one offered first. Names compare without case
/// in HTTP/1, and are lower case here.
fn protocol(head: &RequestHead, offers: &[u8]) -> Result<Box<[u8]>, Failure> {
    // Neither its method nor a body of its own can be said beside the tunnel.
    if head.method != Method::Get || !matches!(head.body, Body::None | Body::Length(0)) {
        return Err(bad("upgrade with a body or by another method than GET"));
    }
    let offer = list(offers).next().filter(|offer| is_protocol(offer));
    let name = offer.ok_or(bad("Upgrade"))?;
    Ok(name.to_ascii_lowercase().into())
}

#[cfg(test)]
mod tests;
