//! What a connection speaks, by its first bytes. No io and no clock: the caller reads, asks, and
//! gives up at its deadline.
//!
//! Decided as early as the bytes allow, so that a binary protocol waits for nothing. A decision
//! once made does not change with more bytes.

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detected {
    /// An HTTP/1 request line begins.
    Http1,
    /// The preface of HTTP/2 with prior knowledge (RFC 9113 section 3.4).
    Http2Preface,
    /// A TLS record with a `ClientHello` begins.
    Tls,
    /// None of these.
    Opaque,
    /// The bytes so far fit more than one of these.
    NeedMore,
}

/// No more bytes than this are needed for a decision.
pub(crate) const MOST: usize = LONGEST_METHOD + 1 + "https://".len();

/// The longest registered method is `UPDATEREDIRECTREF` with 17 letters.
const LONGEST_METHOD: usize = 24;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Methods that decide by themselves. Words of other protocols (`USER`, `HELO`, `AUTH`, ...) fit
/// the grammar of a method, too; behind any other word a path or a URI has to follow.
const METHODS: &[&[u8]] = &[
    b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH",
];

/// Judges the bytes that came so far.
pub(crate) fn detect(bytes: &[u8]) -> Detected {
    match bytes.first() {
        None => Detected::NeedMore,
        Some(0x16) => tls(bytes),
        Some(_) if bytes.starts_with(PREFACE) => Detected::Http2Preface,
        Some(_) if PREFACE.starts_with(bytes) => Detected::NeedMore,
        Some(_) => http1(bytes),
    }
}

/// A handshake record (RFC 8446 section 5.1) of any version, which begins with a `ClientHello`.
fn tls(bytes: &[u8]) -> Detected {
    let fits = bytes.iter().take(6).enumerate().all(|(at, byte)| match at {
        1 => *byte == 3,
        2 => *byte <= 4,
        5 => *byte == 1,
        _ => true,
    });
    match (fits, bytes.len() >= 6) {
        (false, _) => Detected::Opaque,
        (true, true) => Detected::Tls,
        (true, false) => Detected::NeedMore,
    }
}

/// `method SP target` (RFC 9112 section 3).
fn http1(bytes: &[u8]) -> Detected {
    let looked_at = bytes.get(..=LONGEST_METHOD).unwrap_or(bytes);
    let Some(end) = looked_at.iter().position(|byte| !is_token(*byte)) else {
        return if bytes.len() > LONGEST_METHOD {
            Detected::Opaque
        } else {
            Detected::NeedMore
        };
    };
    let (method, rest) = bytes.split_at(end);
    match rest.split_first() {
        Some((b' ', target)) if !method.is_empty() => {
            if METHODS.contains(&method) {
                Detected::Http1
            } else {
                target_form(target)
            }
        }
        _ => Detected::Opaque,
    }
}

/// Whether a request target follows an unusual method: a path, a URI, or `* HTTP`.
fn target_form(target: &[u8]) -> Detected {
    if target.first() == Some(&b'/') {
        return Detected::Http1;
    }
    let mut more = false;
    for form in [b"http://".as_slice(), b"https://", b"* HTTP/"] {
        let n = common_prefix(target, form);
        if n == form.len() {
            return Detected::Http1;
        }
        more |= n == target.len();
    }
    if more {
        Detected::NeedMore
    } else {
        Detected::Opaque
    }
}

/// How many bytes are the same from the first on, not minding case.
fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let pairs = a.iter().zip(b);
    pairs.take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count()
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every shorter prefix is undecided; the whole is decided so.
    fn check(bytes: &[u8], want: Detected) {
        for n in 0..bytes.len() {
            assert_eq!(detect(&bytes[..n]), Detected::NeedMore, "{:?}", &bytes[..n]);
        }
        assert_eq!(detect(bytes), want, "{bytes:?}");
    }

    #[test]
    fn http_is_known_by_method_and_blank() {
        for method in METHODS {
            check(&[method, b" ".as_slice()].concat(), Detected::Http1);
        }
        check(b"PROPFIND /", Detected::Http1);
        check(b"get /", Detected::Http1);
        check(b"M-SEARCH * HTTP/", Detected::Http1);
        check(b"REPORT http://", Detected::Http1);
        check(b"REPORT HTTPS://", Detected::Http1);
        check(b"ABCDEFGHIJKLMNOPQRSTUVWX /", Detected::Http1);
    }

    #[test]
    fn http2_is_known_by_its_whole_preface() {
        check(PREFACE, Detected::Http2Preface);
        // HTTP/1 with an odd method or version: refused by the HTTP engine, with an answer.
        check(b"PRI * HTTP/2.0\r\n\r\nX", Detected::Http1);
        check(b"PRI /", Detected::Http1);
        check(b"PRI x", Detected::Opaque);
    }

    #[test]
    fn tls_is_known_by_its_client_hello() {
        check(b"\x16\x03\x01\x02\x00\x01", Detected::Tls);
        check(b"\x16\x03\x03\x00\xf0\x01", Detected::Tls);
        check(b"\x16\x04", Detected::Opaque);
        check(b"\x16\x03\x05", Detected::Opaque);
        check(b"\x16\x03\x01\x02\x00\x02", Detected::Opaque);
    }

    #[test]
    fn other_protocols_are_opaque_with_the_first_byte_that_tells() {
        let first: [&[u8]; 8] = [
            b"\0",   // PostgreSQL, Kafka, DNS
            b"\x10", // MQTT
            b"\x03", // RDP
            b"\x80", // SSL 2
            b"\r",   // PROXY protocol version 2, or an empty line
            b" ",    // nothing that HTTP begins with
            b"/",    // Gopher
            b"\xff", // Telnet
        ];
        for bytes in first {
            check(bytes, Detected::Opaque);
        }
        check(b"*1\r", Detected::Opaque); // Redis
        check(b"PING\r", Detected::Opaque); // Redis, typed by hand
        check(b"AMQP\0", Detected::Opaque);
        check(b"0\x0c", Detected::Opaque); // LDAP
        check(b"SSH-2.0-x\r", Detected::Opaque);
        check(b"SSH-2.0-OpenSSH_9.2p1 D", Detected::Opaque);
        check(b"USER g", Detected::Opaque); // IRC, FTP
        check(b"get k", Detected::Opaque); // memcached
        check(b"EHLO hx", Detected::Opaque); // SMTP: `h` could begin `http://`
        check(b"EHLO *x", Detected::Opaque);
        check(b"ABCDEFGHIJKLMNOPQRSTUVWXY", Detected::Opaque);
    }

    proptest! {
        #[test]
        fn a_decision_stays_and_comes_in_time(
            start in prop::sample::select(vec![
                "", "P", "PRI * HTTP/2.0\r\n", "GET", "USER ", "PURGE http", "ABCDEFGHIJKLMNOPQRSTUVWX ",
                "\u{16}\u{3}", "NOTIFY * HTTP",
            ]),
            tail in prop::collection::vec(prop_oneof![any::<u8>(), Just(b' '), Just(b'A')], 0..64),
        ) {
            let bytes = [start.as_bytes(), &tail].concat();
            let mut decided = None;
            for n in 0..=bytes.len() {
                match (detect(&bytes[..n]), decided) {
                    (Detected::NeedMore, None) => prop_assert!(n < MOST),
                    (now, None) => decided = Some(now),
                    (now, Some(then)) => prop_assert_eq!(now, then),
                }
            }
        }
    }
}
