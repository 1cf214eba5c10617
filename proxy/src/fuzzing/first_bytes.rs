//! What is asked of bytes before, or apart from, HTTP: protocol, PROXY header, `ClientHello`, path.

use std::net::SocketAddr;

use super::{WRITTEN, show};
use crate::{
    h1::parse_request,
    message::{RequestHead, path as paths},
    net::{
        client_hello,
        detect::{self, Detected, detect as judge},
        proxy_protocol::{self, Parsed},
    },
};

/// A path: what is normal stays so, and means the same in a request. The first byte says whether
/// slashes are merged.
pub fn path(data: &[u8]) {
    let Some((merge, path)) = data.split_first() else {
        return;
    };
    let merge = merge & 1 == 1;
    let Ok(normal) = paths::normalise(path, merge) else {
        return;
    };
    let normal = normal.as_ref().map_or(path, |text| text.as_bytes());
    assert_eq!(
        paths::normalise(normal, merge),
        Ok(None),
        "normal, and changed again: {}",
        show(normal)
    );
    assert!(normal.len() <= path.len().max(1), "{}", show(path));
    if !normal.starts_with(b"/") {
        return;
    }
    if path.ends_with(b"/") {
        assert!(
            normal.ends_with(b"/"),
            "the slash at the end: {}",
            show(normal)
        );
    }
    let mut segments = normal.split(|b| *b == b'/');
    assert!(
        segments.all(|s| !matches!(s, b"." | b"..")),
        "{}",
        show(normal)
    );
    // No other reader finds a dot segment by decoding what is left.
    let decoded = unescape(normal);
    let hides = |segment: &[u8]| matches!(segment, b"." | b"..");
    let escaped_slash = normal.windows(3).any(|e| e.eq_ignore_ascii_case(b"%2f"));
    if decoded.split(|b| *b == b'/').any(hides) {
        assert!(escaped_slash, "a hidden dot segment: {}", show(normal));
    }
    let wrap = |path: &[u8]| [b"GET ", path, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
    let (before, after) = (wrap(path), wrap(normal));
    let mut head = RequestHead::default();
    if parse_request(&before, &WRITTEN, &mut head).is_ok() && head.query.is_empty() {
        parse_request(&after, &WRITTEN, &mut head).expect("the normal form is a path, too");
        assert_eq!(show(head.path.of(&after)), show(normal));
    }
}

/// Every escape decoded once.
fn unescape(mut path: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some((byte, rest)) = path.split_first() {
        let escaped = paths::escape(rest).filter(|_| *byte == b'%');
        out.push(escaped.unwrap_or(*byte));
        path = &rest[if escaped.is_some() { 2 } else { 0 }..];
    }
    out
}

/// A PROXY header: what is said of a beginning holds for the whole, and what was read can be
/// written and read again.
pub fn proxy_protocol(data: &[u8]) {
    let verdict = proxy_protocol::parse(data);
    let near = |at: &usize| *at < 256 || data.len() - at < 16;
    for at in (0..data.len()).filter(near) {
        let early = proxy_protocol::parse(&data[..at]);
        match (early, verdict) {
            (Parsed::Incomplete, Parsed::Done { length, .. }) => {
                assert!(at < length, "complete, and not seen to be");
            }
            (Parsed::Incomplete, _) => {}
            (Parsed::Done { length, .. }, _) => {
                assert!(
                    length <= at && early == verdict,
                    "{early:?}, then {verdict:?}"
                );
            }
            (Parsed::Invalid(_), _) => {
                assert!(
                    matches!(verdict, Parsed::Invalid(_)),
                    "invalid, then {verdict:?}"
                );
            }
        }
    }
    let Parsed::Done {
        length,
        source,
        destination,
    } = verdict
    else {
        if verdict == Parsed::Incomplete {
            assert!(data.len() < proxy_protocol::MOST, "never decided");
        }
        return;
    };
    assert!(length <= data.len().min(proxy_protocol::MOST));
    if let [0x21, 0x11 | 0x21, high, low] = data.get(12..16).unwrap_or_default()
        && data.starts_with(b"\r\n")
    {
        let declared = usize::from(u16::from_be_bytes([*high, *low]));
        assert_eq!(length, 16 + declared);
        assert!(source.is_some() && destination.is_some());
    }
    let of_one_family = source
        .zip(destination)
        .filter(|(source, destination)| source.is_ipv4() == destination.is_ipv4());
    for version in [proxy_protocol::Version::V1, proxy_protocol::Version::V2] {
        let mut out = Vec::new();
        proxy_protocol::write(version, source, destination, &mut out);
        let expected = Parsed::Done {
            length: out.len(),
            source: of_one_family.map(|(source, _): (SocketAddr, _)| source),
            destination: of_one_family.map(|(_, destination)| destination),
        };
        assert_eq!(proxy_protocol::parse(&out), expected, "{}", show(&out));
    }
}

/// Detection: decided in time, and for good.
pub fn detect(data: &[u8]) {
    let verdict = judge(data);
    if data.len() >= detect::MOST {
        assert_ne!(verdict, Detected::NeedMore, "{}", show(data));
    }
    for at in 0..data.len().min(detect::MOST) {
        let early = judge(&data[..at]);
        assert!(
            early == Detected::NeedMore || early == verdict,
            "{early:?} of {at} bytes, then {verdict:?}: {}",
            show(data)
        );
    }
}

/// The first message of TLS: decided in time and for good, and the same in records of any size.
/// The first byte is that size.
pub fn client_hello(data: &[u8]) {
    use client_hello::{MOST, Parsed, Scan};
    let parse = |bytes: &[u8]| Scan::default().advance(bytes);
    let Some((size, data)) = data.split_first() else {
        return;
    };
    let verdict = parse(data);
    if data.len() >= MOST {
        assert_ne!(verdict, Parsed::Incomplete, "never decided");
    }
    let mut scan = Scan::default();
    for at in 0..data.len() {
        let early = scan.advance(&data[..at]);
        if early == verdict && early != Parsed::Incomplete {
            break;
        }
        assert!(
            early == Parsed::Incomplete,
            "{early:?} of {at} bytes, then {verdict:?}: {}",
            show(data)
        );
    }
    let Parsed::Done(hello) = &verdict else {
        return;
    };
    assert_eq!(
        detect::detect(data),
        Detected::Tls,
        "understood, and not seen to be TLS: {}",
        show(data)
    );
    if let Some(name) = hello.server_name() {
        let plain = |b: &u8| b.is_ascii_graphic() && !b.is_ascii_uppercase();
        assert!(
            name.len() <= 255 && name.iter().all(plain),
            "{}",
            show(name)
        );
    }
    // Its records end where the message does; the rest is not of it.
    let (mut message, mut rest) = (Vec::new(), data);
    while let [22, 3, _, high, low, payload @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        message.extend_from_slice(&payload[..length]);
        rest = &payload[length..];
        let whole = message.len() >= 4 && message.len() >= 4 + size_of_message(&message);
        if whole {
            break;
        }
    }
    let size = usize::from(*size).max(1);
    let again: Vec<u8> = message
        .chunks(size)
        .flat_map(|part| [&[22, 3, 3, 0, part.len() as u8], part].concat())
        .collect();
    if again.len() <= MOST {
        assert_eq!(
            parse(&again),
            verdict,
            "in records of {size}: {}",
            show(data)
        );
    }
}

/// What the head of a handshake message says of its body.
fn size_of_message(message: &[u8]) -> usize {
    let [_, a, b, c, ..] = message else { return 0 };
    usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c)
}
