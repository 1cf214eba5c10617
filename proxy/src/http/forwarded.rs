//! Fields that say where a message has been: what is taken from whom, and what we add.
//!
//! Strangers' `X-Forwarded-*`, `Forwarded`, `X-Real-IP` and `Via` are replaced; those of trusted
//! proxies are extended. Fields named in `Connection` go, unless the name means something to us:
//! then naming it there is an attempt to get rid of it.

use std::{io::Write, net::IpAddr};

use super::Conn;
use crate::{
    error::{Cause, Failure},
    message::{Edits, Field, Fields, Known, Method, RequestHead, Span, Version},
};

/// Passages through this very process before a request counts as going round in circles.
const MAX_PASSAGES: usize = 8;

/// Makes a received head the one that the next hop is to see: what a stranger may not say and what
/// belongs to the received connection alone goes, what we have to say is added. Before anything is
/// decided, so that routes and balancers see what the endpoint will.
///
/// # Errors
/// [`Cause::Loop`].
pub(super) fn prepare(
    conn: &Conn,
    bytes: &mut Vec<u8>,
    head: &mut RequestHead,
    random: &mut fastrand::Rng,
) -> Result<(), Failure> {
    let settings = &conn.listener.http;
    let pseudonym = &*conn.worker.process.pseudonym;
    let ip = conn.peer.map(|p| p.ip().to_canonical());
    let trusted = ip.is_some_and(|ip| settings.trusts(ip));
    let seen = look(bytes, &head.fields);
    let passages = if seen.via {
        passages(bytes, &head.fields, pseudonym)
    } else {
        0
    };
    if passages >= MAX_PASSAGES {
        return Err(Failure::new(
            Cause::Loop,
            "the request went through this proxy too often",
        ));
    }
    let mut own = Own::begin(bytes, head);
    if let Some(ip) = ip {
        own.client_address(ip, trusted && seen.forwarded_for);
        if trusted && seen.forwarded {
            own.extend_forwarded(ip, conn.scheme());
        }
    }
    if !(trusted && seen.forwarded_proto) {
        own.line(
            Known::XForwardedProto,
            "X-Forwarded-Proto",
            conn.scheme().as_bytes(),
        );
    }
    let certificate = conn
        .secured
        .as_ref()
        .and_then(|it| it.client_cert.as_deref());
    if certificate.is_some() || (trusted && seen.client_cert) {
        own.client_certificate(certificate, trusted && seen.client_cert);
    }
    if settings.via {
        own.via(pseudonym, if trusted { 0 } else { passages });
    }
    if !seen.request_id {
        own.line(Known::XRequestId, "X-Request-Id", &request_id(random));
    }
    let received = own.end();
    if seen.lists_fields || seen.replaced {
        let listed = if seen.lists_fields {
            listed(bytes, &head.fields)
        } else {
            Vec::new()
        };
        let mut index = 0;
        head.fields.retain(|field| {
            let goes =
                index < received && (is_replaced(field.known, trusted) || listed.contains(&index));
            index += 1;
            !goes
        });
    }
    Ok(())
}

#[derive(Default)]
struct Seen {
    lists_fields: bool,
    /// Something that is not believed of everyone, or is written anew.
    replaced: bool,
    via: bool,
    forwarded_for: bool,
    forwarded_proto: bool,
    forwarded: bool,
    client_cert: bool,
    request_id: bool,
}

/// One pass over the fields: what is there.
fn look(bytes: &[u8], fields: &Fields) -> Seen {
    let mut seen = Seen::default();
    for field in fields.iter() {
        match field.known {
            Known::Connection => seen.lists_fields |= lists_fields(field.value.of(bytes)),
            Known::XRequestId => seen.request_id = true,
            known => {
                seen.via |= known == Known::Via;
                seen.forwarded_for |= known == Known::XForwardedFor;
                seen.forwarded |= known == Known::Forwarded;
                seen.client_cert |= known == Known::XForwardedClientCert;
                seen.forwarded_proto |= known == Known::XForwardedProto;
                seen.replaced |= is_replaced(known, false);
            }
        }
    }
    seen
}

/// Whether a received field does not go on.
fn is_replaced(known: Known, trusted: bool) -> bool {
    match known {
        // Their values are written anew together with our own.
        Known::XForwardedFor | Known::Forwarded | Known::XForwardedClientCert => true,
        Known::Via
        | Known::XForwardedProto
        | Known::XForwardedHost
        | Known::XForwardedPort
        | Known::XForwardedPrefix
        | Known::XRealIp => !trusted,
        _ => false,
    }
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
    for index in listed(bytes, fields) {
        edits.drop_field(index);
    }
}

/// Places of the fields that `Connection` names and that mean nothing to us.
fn listed(bytes: &[u8], fields: &Fields) -> Vec<usize> {
    let mut listed = Vec::new();
    for connection in fields.iter().filter(|f| f.known == Known::Connection) {
        for option in options(connection.value.of(bytes)) {
            let named = |f: &Field| {
                f.known == Known::Other && f.name.of(bytes).eq_ignore_ascii_case(option)
            };
            let places = fields.iter().enumerate().filter(|(_, f)| named(f));
            listed.extend(places.map(|(index, _)| index));
        }
    }
    listed
}

/// Adds our lines to the end of a received head.
pub(super) struct Own<'a> {
    bytes: &'a mut Vec<u8>,
    head: &'a mut RequestHead,
    /// Fields that were received.
    received: usize,
}

impl<'a> Own<'a> {
    pub(super) fn begin(bytes: &'a mut Vec<u8>, head: &'a mut RequestHead) -> Self {
        let received = head.fields.len();
        // Without the empty line at its end, until ours are written.
        bytes.truncate(bytes.len().saturating_sub(2));
        Self {
            bytes,
            head,
            received,
        }
    }

    /// Ends the head, and returns how many fields were received.
    pub(super) fn end(self) -> usize {
        self.bytes.extend_from_slice(b"\r\n");
        self.head.len = self.bytes.len();
        self.received
    }

    pub(super) fn line(&mut self, known: Known, name: &str, value: &[u8]) {
        let start = self.open(name);
        self.bytes.extend_from_slice(value);
        self.close(known, name, start);
    }

    /// Begins a line whose value is appended in pieces. Returns where it begins.
    fn open(&mut self, name: &str) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b": ");
        start
    }

    fn close(&mut self, known: Known, name: &str, start: usize) {
        let colon = start + name.len();
        let end = self.bytes.len();
        self.bytes.extend_from_slice(b"\r\n");
        self.head.fields.push(Field {
            name: Span::new(start, colon),
            value: Span::new(colon + 2, end),
            line: Span::new(start, end + 2),
            known,
        });
    }

    /// Appends what earlier proxies said in fields of this name, each with a comma behind it.
    fn earlier(&mut self, known: Known) {
        let received = self.head.fields.iter().take(self.received);
        for field in received.filter(|f| f.known == known) {
            let value = field.value;
            self.bytes
                .extend_from_within(value.start as usize..value.end as usize);
            self.bytes.extend_from_slice(b", ");
        }
    }

    fn client_address(&mut self, ip: IpAddr, extend: bool) {
        const NAME: &str = "X-Forwarded-For";
        let start = self.open(NAME);
        if extend {
            self.earlier(Known::XForwardedFor);
        }
        let mut text = [0_u8; 48];
        self.bytes.extend_from_slice(write_ip(&mut text, ip));
        self.close(Known::XForwardedFor, NAME, start);
    }

    /// What earlier proxies said of certificates, where they are believed, and of the client's.
    fn client_certificate(&mut self, certificate: Option<&str>, extend: bool) {
        const NAME: &str = "X-Forwarded-Client-Cert";
        let start = self.open(NAME);
        if extend {
            self.earlier(Known::XForwardedClientCert);
        }
        match certificate {
            Some(certificate) => self.bytes.extend_from_slice(certificate.as_bytes()),
            // Without the comma that something was to follow.
            None => self.bytes.truncate(self.bytes.len() - 2),
        }
        self.close(Known::XForwardedClientCert, NAME, start);
    }

    /// RFC 7239: an element of our own behind those of trusted proxies.
    fn extend_forwarded(&mut self, ip: IpAddr, proto: &str) {
        const NAME: &str = "Forwarded";
        let start = self.open(NAME);
        self.earlier(Known::Forwarded);
        let node = if ip.is_ipv6() {
            format!("for=\"[{ip}]\";proto={proto}")
        } else {
            format!("for={ip};proto={proto}")
        };
        self.bytes.extend_from_slice(node.as_bytes());
        self.close(Known::Forwarded, NAME, start);
    }

    /// Our entry, and in place of a stranger's the ones that are ours.
    fn via(&mut self, pseudonym: &str, earlier: usize) {
        const NAME: &str = "Via";
        let start = self.open(NAME);
        for _ in 0..earlier {
            self.bytes.extend_from_slice(b"1.1 ");
            self.bytes.extend_from_slice(pseudonym.as_bytes());
            self.bytes.extend_from_slice(b", ");
        }
        self.bytes.extend_from_slice(match self.head.version {
            Version::Http10 => b"1.0 ",
            Version::Http11 => b"1.1 ",
            Version::Http2 => b"2.0 ",
        });
        self.bytes.extend_from_slice(pseudonym.as_bytes());
        self.close(Known::Via, NAME, start);
    }
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
fn passages(bytes: &[u8], fields: &Fields, pseudonym: &str) -> usize {
    let via = fields.iter().filter(|f| f.known == Known::Via);
    via.map(|f| memchr::memmem::find_iter(f.value.of(bytes), pseudonym).count())
        .sum()
}

/// The digits of a number, all at once: each nibble in a byte of its own, and there made a digit.
fn hex(bits: u64) -> [u8; 16] {
    const LOW: u128 = 0x0f0f_0f0f_0f0f_0f0f_0f0f_0f0f_0f0f_0f0f;
    const ONES: u128 = 0x0101_0101_0101_0101_0101_0101_0101_0101;
    let mut wide = u128::from(bits);
    for (shift, mask) in [
        (32, 0x0000_0000_ffff_ffff_0000_0000_ffff_ffff),
        (16, 0x0000_ffff_0000_ffff_0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff_00ff_00ff_00ff_00ff),
        (4, LOW),
    ] {
        wide = (wide | (wide << shift)) & mask;
    }
    // Those above nine, each as a one in its byte.
    let letters = ((wide + ONES * 6) >> 4) & ONES;
    (wide + ONES * u128::from(b'0') + letters * u128::from(b'a' - b'9' - 1)).to_be_bytes()
}

/// A random UUID (RFC 9562 version 4).
fn request_id(random: &mut fastrand::Rng) -> [u8; 36] {
    let bits = random.u128(..);
    let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let mut digits = [0; 32];
    // Half of its digits at a time, a byte each.
    for (half, part) in digits.chunks_exact_mut(16).enumerate() {
        let bits = (bits >> (64 * (1 - half))) as u64;
        part.copy_from_slice(&hex(bits));
    }
    let mut text = [b'-'; 36];
    for (at, from, len) in [(0, 0, 8), (9, 8, 4), (14, 12, 4), (19, 16, 4), (24, 20, 12)] {
        if let (Some(to), Some(from)) = (text.get_mut(at..at + len), digits.get(from..from + len)) {
            to.copy_from_slice(from);
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
