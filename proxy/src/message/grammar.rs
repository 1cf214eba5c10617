//! Character classes and small grammars of RFC 9110, 9112 and 9113, as tables and plain functions.

/// `tchar` (RFC 9110 section 5.6.2).
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(byte as u8,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z');
        byte += 1;
    }
    table
};

#[allow(clippy::indexing_slicing, reason = "a byte is below 256")]
pub(crate) fn is_token_byte(byte: u8) -> bool {
    TOKEN[byte as usize]
}

pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|b| is_token_byte(*b))
}

/// Field content: tab, space, visible ASCII and obs-text (RFC 9110 section 5.5). The fold has no
/// early exit, so that it compiles to vector code.
pub(crate) fn is_field_content(bytes: &[u8]) -> bool {
    !bytes.iter().fold(false, |bad, b| {
        bad | (*b < 0x20 && *b != b'\t') | (*b == 0x7f)
    })
}

/// Visible ASCII without space, `#`, `"`, `<`, `>`: what a request target may hold. RFC 3986 allows
/// less (`{`, `|`, `^`, backslash and backtick are sent by browsers and harmless here).
pub(crate) fn is_target(bytes: &[u8]) -> bool {
    !bytes.iter().fold(false, |bad, b| {
        bad | (*b <= 0x20)
            | (*b >= 0x7f)
            | (*b == b'#')
            | (*b == b'"')
            | (*b == b'<')
            | (*b == b'>')
    })
}

/// Without blanks (space, tab) at its ends.
pub(crate) fn trim(bytes: &[u8], start: usize, end: usize) -> (usize, usize) {
    let blank = |at: usize| matches!(bytes.get(at), Some(b' ' | b'\t'));
    let (mut start, mut end) = (start, end);
    while start < end && blank(start) {
        start += 1;
    }
    while end > start && blank(end - 1) {
        end -= 1;
    }
    (start, end)
}

/// Elements of a comma-separated list (RFC 9110 section 5.6.1), trimmed, empty ones left out.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|b| *b == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|e| !e.is_empty())
}

/// `protocol-name [ "/" protocol-version ]` (RFC 9110 section 7.8).
pub(crate) fn is_protocol(bytes: &[u8]) -> bool {
    let mut parts = bytes.splitn(2, |b| *b == b'/');
    parts.all(is_token)
}

/// `1*DIGIT` without sign, blank or overflow.
pub(crate) fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || bytes.len() > 19 || !bytes.iter().all(u8::is_ascii_digit) {
        return None;
    }
    bytes.iter().try_fold(0_u64, |n, b| {
        n.checked_mul(10)?.checked_add(u64::from(b - b'0'))
    })
}

/// `uri-host [ ":" port ]` (RFC 9110 section 7.2), strict: no userinfo, no empty host, a port that is a number.
pub(crate) fn is_authority(bytes: &[u8]) -> bool {
    let (host, port) = if bytes.first() == Some(&b'[') {
        let Some(close) = memchr::memchr(b']', bytes) else {
            return false;
        };
        let (host, rest) = bytes.split_at(close + 1);
        match rest.split_first() {
            None => (host, None),
            Some((b':', port)) => (host, Some(port)),
            Some(_) => return false,
        }
    } else {
        match memchr::memchr(b':', bytes) {
            Some(colon) => (
                bytes.get(..colon).unwrap_or_default(),
                bytes.get(colon + 1..),
            ),
            None => (bytes, None),
        }
    };
    let port_ok = port.is_none_or(|p| p.len() <= 5 && decimal(p).is_some_and(|n| n <= 65_535));
    port_ok && is_host(host)
}

/// Whether a valid authority names a port. Colons stand within an IPv6 literal, too.
pub(crate) fn has_port(authority: &[u8]) -> bool {
    let host = memchr::memchr(b']', authority).unwrap_or(0);
    memchr::memchr(b':', authority.get(host..).unwrap_or_default()).is_some()
}

fn is_host(host: &[u8]) -> bool {
    match host {
        [b'[', inner @ .., b']'] => {
            !inner.is_empty()
                && inner
                    .iter()
                    .all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'))
        }
        [] => false,
        // reg-name: unreserved and sub-delims; percent escapes are refused, since two readers may decode differently.
        name => {
            name.len() <= 255
                && name
                    .iter()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(b))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities() {
        for good in [
            "a",
            "a.b:80",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:65535",
            "x_y",
            "a.:0",
        ] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "", ":80", "a:", "a:b", "a:65536", "a:-1", "u@h", "[::1", "[]", "[::1]x", "a b", "a/b",
            "a%41", "a:1:2", "::1", "a,b", "\u{e9}",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn protocols() {
        for (protocol, expected) in [
            ("websocket", true),
            ("HTTP/2.0", true),
            ("", false),
            ("/", false),
            ("a/", false),
            ("/a", false),
            ("a/b/c", false),
            ("a b", false),
            ("a,b", false),
        ] {
            assert_eq!(is_protocol(protocol.as_bytes()), expected, "{protocol}");
        }
    }

    #[test]
    fn ports() {
        for (authority, expected) in [
            ("a", false),
            ("a:1", true),
            ("[::1]", false),
            ("[::1]:1", true),
        ] {
            assert_eq!(has_port(authority.as_bytes()), expected, "{authority}");
        }
    }

    #[test]
    fn decimals() {
        for (text, expected) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("9999999999999999999", Some(9_999_999_999_999_999_999)),
            ("", None),
            ("+1", None),
            (" 1", None),
            ("1 ", None),
            ("0x1", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(decimal(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn lists_leave_out_empty_elements() {
        assert_eq!(list(b" a ,, b,").collect::<Vec<_>>(), [b"a", b"b"]);
    }
}
