//! Messages of HTTP/2 out of lines, `name: value`, with their pseudo-header fields: built as the
//! `h2` crate builds them, only that what this crate refuses is not all refused here.

use std::collections::BTreeMap;

use h2::ext::Protocol;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, request,
    response,
    uri::{self, Authority, PathAndQuery, Scheme},
};

/// Pseudo-header fields by name, and the others.
pub(super) type Message<'a> = (BTreeMap<&'a [u8], &'a [u8]>, HeaderMap);

pub(super) fn lines(data: &[u8]) -> Option<Message<'_>> {
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

pub(super) fn request_parts(data: &[u8]) -> Option<request::Parts> {
    let (mut pseudo, map) = lines(data)?;
    let mut take = |name: &[u8]| pseudo.remove(name);
    let mut out = Request::new(());
    *out.method_mut() = Method::from_bytes(take(b":method")?).ok()?;
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

pub(super) fn response_parts(data: &[u8]) -> Option<response::Parts> {
    let (pseudo, map) = lines(data)?;
    let mut out = Response::new(());
    *out.status_mut() = StatusCode::from_bytes(pseudo.get(b":status".as_slice())?).ok()?;
    *out.headers_mut() = map;
    Some(out.into_parts().0)
}
