//! Fields that say where a message has been: what is taken from whom, and what we add.
//!
//! Strangers' `X-Forwarded-*`, `Forwarded`, `X-Real-IP` and `Via` are replaced; those of trusted
//! proxies are extended. Fields named in `Connection` go, unless the name means something to us:
//! then naming it there is an attempt to get rid of it.

use std::{io::Write, net::IpAddr};

use super::Conn;
use crate::{
    error::{Cause, Failure},
    message::{Edits, Fields, Known, Method, RequestHead, RequestView, Version},
};

/// Passages through this very process before a request counts as going round in circles.
const MAX_PASSAGES: usize = 8;

/// Prepares the edits of a request for its next hop.
///
/// # Errors
/// [`Cause::Loop`].
pub(super) fn prepare(
    conn: &Conn,
    request: &RequestView<'_>,
    edits: &mut Edits,
    random: &mut fastrand::Rng,
) -> Result<(), Failure> {
    let settings = &conn.listener.http;
    let ip = conn.peer.map(|p| p.ip().to_canonical());
    let trusted = ip.is_some_and(|ip| settings.trusted.iter().any(|net| net.contains(&ip)));
    let seen = look(request.bytes, &request.head.fields, edits, trusted);
    if seen.lists_fields {
        drop_listed(request.bytes, &request.head.fields, edits);
    }
    let passages = if seen.via {
        passages(request, &conn.worker.process.pseudonym)
    } else {
        0
    };
    if passages >= MAX_PASSAGES {
        return Err(Failure::new(
            Cause::Loop,
            "the request went through this proxy too often",
        ));
    }
    if let Some(ip) = ip {
        client_address(request, edits, ip, trusted && seen.forwarded_for);
        if trusted && seen.forwarded {
            extend_forwarded(request, edits, ip);
        }
    }
    if !(trusted && seen.forwarded_proto) {
        edits.add("X-Forwarded-Proto", b"http");
    }
    if settings.via {
        add_via(
            request,
            edits,
            &conn.worker.process.pseudonym,
            if trusted { 0 } else { passages },
        );
    }
    if !seen.request_id {
        edits.add("X-Request-Id", &request_id(random));
    }
    Ok(())
}

#[derive(Default)]
struct Seen {
    lists_fields: bool,
    via: bool,
    forwarded_for: bool,
    forwarded_proto: bool,
    forwarded: bool,
    request_id: bool,
}

/// One pass over the fields: what is there, and what a stranger may not say.
fn look(bytes: &[u8], fields: &Fields, edits: &mut Edits, trusted: bool) -> Seen {
    let mut seen = Seen::default();
    for (index, field) in fields.iter().enumerate() {
        let drop = match field.known {
            Known::Connection => {
                seen.lists_fields |= lists_fields(field.value.of(bytes));
                continue;
            }
            Known::XRequestId => {
                seen.request_id = true;
                continue;
            }
            Known::Via => {
                seen.via = true;
                !trusted
            }
            // Their values are written anew together with our own.
            Known::XForwardedFor | Known::Forwarded => {
                seen.forwarded_for |= field.known == Known::XForwardedFor;
                seen.forwarded |= field.known == Known::Forwarded;
                true
            }
            Known::XForwardedProto => {
                seen.forwarded_proto = true;
                !trusted
            }
            Known::XForwardedHost
            | Known::XForwardedPort
            | Known::XForwardedPrefix
            | Known::XRealIp => !trusted,
            _ => continue,
        };
        if drop {
            edits.drop_field(index);
        }
    }
    seen
}

/// Whether `Connection` names anything but its usual options.
fn lists_fields(value: &[u8]) -> bool {
    let usual: [&[u8]; 4] = [b"close", b"keep-alive", b"upgrade", b"te"];
    !usual.iter().any(|u| value.eq_ignore_ascii_case(u))
        && options(value).any(|o| !usual.iter().any(|u| o.eq_ignore_ascii_case(u)))
}

fn options(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|b| *b == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|o| !o.is_empty())
}

/// Drops the fields that `Connection` names (RFC 9110 section 7.6.1).
pub(super) fn drop_listed(bytes: &[u8], fields: &Fields, edits: &mut Edits) {
    for connection in fields.iter().filter(|f| f.known == Known::Connection) {
        for option in options(connection.value.of(bytes)) {
            for (index, field) in fields.iter().enumerate() {
                if field.known == Known::Other && field.name.of(bytes).eq_ignore_ascii_case(option)
                {
                    edits.drop_field(index);
                }
            }
        }
    }
}

fn client_address(request: &RequestView<'_>, edits: &mut Edits, ip: IpAddr, extend: bool) {
    let mut value = [0_u8; 48];
    let text = write_ip(&mut value, ip);
    if !extend {
        edits.add("X-Forwarded-For", text);
        return;
    }
    let mut chain = Vec::with_capacity(128);
    for earlier in request
        .head
        .fields
        .iter()
        .filter(|f| f.known == Known::XForwardedFor)
    {
        chain.extend_from_slice(earlier.value.of(request.bytes));
        chain.extend_from_slice(b", ");
    }
    chain.extend_from_slice(text);
    edits.add("X-Forwarded-For", &chain);
}

/// RFC 7239: an element of our own behind those of trusted proxies.
fn extend_forwarded(request: &RequestView<'_>, edits: &mut Edits, ip: IpAddr) {
    let mut chain = Vec::with_capacity(128);
    for earlier in request
        .head
        .fields
        .iter()
        .filter(|f| f.known == Known::Forwarded)
    {
        chain.extend_from_slice(earlier.value.of(request.bytes));
        chain.extend_from_slice(b", ");
    }
    let node = if ip.is_ipv6() {
        format!("for=\"[{ip}]\";proto=http")
    } else {
        format!("for={ip};proto=http")
    };
    chain.extend_from_slice(node.as_bytes());
    edits.add("Forwarded", &chain);
}

fn write_ip(into: &mut [u8; 48], ip: IpAddr) -> &[u8] {
    let room = into.len();
    let mut rest = &mut into[..];
    // An address takes at most 45 bytes.
    let _ = match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            let mut number = itoa::Buffer::new();
            let mut put = |n: u8, dot: &[u8]| {
                rest.write_all(number.format(n).as_bytes())
                    .and_then(|()| rest.write_all(dot))
            };
            put(a, b".")
                .and_then(|()| put(b, b"."))
                .and_then(|()| put(c, b"."))
                .and_then(|()| put(d, b""))
        }
        IpAddr::V6(v6) => write!(rest, "{v6}"),
    };
    let written = room - rest.len();
    into.get(..written).unwrap_or_default()
}

/// How often our own name stands in `Via`.
fn passages(request: &RequestView<'_>, pseudonym: &str) -> usize {
    let via = request.head.fields.iter().filter(|f| f.known == Known::Via);
    via.map(|f| memchr::memmem::find_iter(f.value.of(request.bytes), pseudonym).count())
        .sum()
}

/// Our entry, and in place of a stranger's the ones that are ours.
fn add_via(request: &RequestView<'_>, edits: &mut Edits, pseudonym: &str, earlier: usize) {
    let version = match request.head.version {
        Version::Http10 => "1.0 ",
        Version::Http11 => "1.1 ",
    };
    edits.begin("Via");
    for _ in 0..earlier {
        edits.push(b"1.1 ");
        edits.push(pseudonym.as_bytes());
        edits.push(b", ");
    }
    edits.push(version.as_bytes());
    edits.push(pseudonym.as_bytes());
    edits.end();
}

/// A random UUID (RFC 9562 version 4).
fn request_id(random: &mut fastrand::Rng) -> [u8; 36] {
    let bits = random.u128(..);
    let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let mut text = [b'-'; 36];
    let mut shift = 128;
    for (at, digit) in text.iter_mut().enumerate() {
        if !matches!(at, 8 | 13 | 18 | 23) {
            shift -= 4;
            *digit = *b"0123456789abcdef"
                .get((bits >> shift) as usize & 15)
                .unwrap_or(&b'0');
        }
    }
    text
}

/// Whether the request asks for a protocol that is on the list.
pub(super) fn upgrade_allowed(bytes: &[u8], head: &RequestHead, allowed: &[Box<str>]) -> bool {
    let token = |offered: &[u8]| {
        allowed
            .iter()
            .any(|a| offered.eq_ignore_ascii_case(a.as_bytes()))
    };
    let mut offers = head
        .upgrade
        .iter()
        .flat_map(|span| options(span.of(bytes)))
        .peekable();
    head.method == Method::Get && offers.peek().is_some() && offers.all(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_text() {
        let mut room = [0; 48];
        for text in [
            "1.2.3.4",
            "255.255.255.255",
            "::1",
            "2001:db8:1111:2222:3333:4444:5555:6666",
        ] {
            assert_eq!(
                write_ip(&mut room, text.parse().expect("address")),
                text.as_bytes()
            );
        }
    }

    #[test]
    fn request_ids_are_uuids() {
        let mut random = fastrand::Rng::with_seed(7);
        let id = String::from_utf8(request_id(&mut random).to_vec()).expect("ASCII");
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&id.as_bytes()[19]));
        assert!(
            id.bytes()
                .enumerate()
                .all(|(i, b)| matches!(i, 8 | 13 | 18 | 23) == (b == b'-'))
        );
        assert_ne!(id.as_bytes(), request_id(&mut random));
    }

    #[test]
    fn usual_connection_options_list_no_field() {
        for usual in [
            &b"close"[..],
            b"Keep-Alive",
            b"keep-alive, Upgrade",
            b"TE,close",
            b"",
        ] {
            assert!(!lists_fields(usual));
        }
        assert!(lists_fields(b"close, x-foo"));
    }
}
