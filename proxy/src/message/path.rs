//! Path normalisation: done once, before anything is decided, so that policy, routing and the
//! endpoint see the same bytes.
//!
//! Escapes of unreserved characters are decoded (RFC 3986 section 6.2.2.2: `/%61dmin` is
//! `/admin`, and a rule for the one must see the other), then dot segments are resolved (section
//! 5.2.4). Every other escape stays as the client wrote it, and so do `;param` and, unless asked
//! otherwise, empty segments: decoding those could change what a path means.
//!
//! Refused rather than repaired: escapes that are none, `%00`, and `..` above the root.

use std::fmt;

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathError {
    /// Neither begins with `/` nor is `*` or empty.
    NotAbsolute,
    /// A `%` that two hexadecimal digits do not follow.
    BadEscape,
    /// An escaped NUL.
    Nul,
    /// A byte that does not belong into a path at all.
    BadByte,
    /// `..` above the root.
    AboveRoot,
}

impl PathError {
    /// A few fixed words for the log.
    pub(crate) const fn detail(self) -> &'static str {
        match self {
            Self::NotAbsolute => "path does not begin with a slash",
            Self::BadEscape => "malformed percent-escape in path",
            Self::Nul => "escaped NUL in path",
            Self::BadByte => "invalid byte in path",
            Self::AboveRoot => "path leads above the root",
        }
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail())
    }
}

/// The normal form of a path; `None` where it is normal already, which costs no allocation.
///
/// The path holds visible ASCII without `?` and `#`, as the parser has checked. `*` and the empty
/// path (of CONNECT) are normal.
pub(crate) fn normalise(path: &[u8], merge_slashes: bool) -> Result<Option<Box<str>>, PathError> {
    if path.first() != Some(&b'/') {
        return match path {
            b"" | b"*" => Ok(None),
            _ => Err(PathError::NotAbsolute),
        };
    }
    if is_plain(path, merge_slashes) || !needs_change(path, merge_slashes)? {
        return Ok(None);
    }
    let resolved = resolve(&decode_unreserved(path), merge_slashes)?;
    let text = String::from_utf8(resolved).map_err(|_| PathError::BadByte)?;
    Ok(Some(text.into_boxed_str()))
}

/// Nothing here can need a change: no escape, nothing that may begin a dot segment. Written as a
/// fold without early exit so that it compiles to vector instructions.
#[allow(
    clippy::needless_bitwise_bool,
    reason = "branches would keep the loop from becoming vector instructions"
)]
fn is_plain(path: &[u8], merge_slashes: bool) -> bool {
    let next = path.get(1..).unwrap_or_default();
    let found = path.iter().zip(next).fold(false, |found, (&a, &b)| {
        found | (b == b'%') | ((a == b'/') & ((b == b'.') | ((b == b'/') & merge_slashes)))
    });
    !found
}

/// Checks every escape, and finds out whether the normal form differs.
fn needs_change(path: &[u8], merge_slashes: bool) -> Result<bool, PathError> {
    let mut change = false;
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'%' => {
                let escaped = escape(tail).ok_or(PathError::BadEscape)?;
                if escaped == 0 {
                    return Err(PathError::Nul);
                }
                change |= is_unreserved(escaped);
                rest = tail.get(2..).unwrap_or_default();
            }
            b'/' => {
                let segment = tail.split(|b| *b == b'/').next().unwrap_or_default();
                let empty = segment.is_empty() && !tail.is_empty();
                change |= is_dots(segment) || (merge_slashes && empty);
            }
            b'!'..=b'~' => {}
            _ => return Err(PathError::BadByte),
        }
    }
    Ok(change)
}

/// Decodes escapes of unreserved characters. Every escape has been checked.
///
/// What is decoded never contributes to another escape, since all of them are complete: the
/// result has no more to decode.
fn decode_unreserved(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = escape(tail).filter(|escaped| byte == b'%' && is_unreserved(*escaped));
        out.push(escaped.unwrap_or(byte));
        let used = if escaped.is_some() { 2 } else { 0 };
        rest = tail.get(used..).unwrap_or_default();
    }
    out
}

/// Removes dot segments and, where asked, empty ones. An empty last segment stays: it is the
/// slash at the end.
fn resolve(path: &[u8], merge_slashes: bool) -> Result<Vec<u8>, PathError> {
    let mut out = Vec::with_capacity(path.len());
    let mut segments = path
        .get(1..)
        .unwrap_or_default()
        .split(|byte| *byte == b'/')
        .peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b".." => {
                let parent = memchr::memrchr(b'/', &out).ok_or(PathError::AboveRoot)?;
                out.truncate(parent);
            }
            b"." => {}
            b"" if merge_slashes && !last => {}
            _ => {
                out.push(b'/');
                out.extend_from_slice(segment);
            }
        }
        if last && is_dots(segment) {
            out.push(b'/');
        }
    }
    Ok(out)
}

fn is_dots(segment: &[u8]) -> bool {
    matches!(segment, b"." | b"..")
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// The byte that two hexadecimal digits at the front stand for.
pub(crate) fn escape(digits: &[u8]) -> Option<u8> {
    let digit = |index: usize| char::from(*digits.get(index)?).to_digit(16);
    Some((digit(0)? * 16 + digit(1)?) as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(path: &str, expected: Result<&str, PathError>) {
        let actual = normalise(path.as_bytes(), false);
        let actual = actual.map(|changed| changed.unwrap_or_else(|| path.into()));
        assert_eq!(actual.as_deref(), expected.as_deref(), "{path}");
    }

    #[test]
    fn dot_segments_are_resolved() {
        for (path, expected) in [
            ("/a/b/c/./../../g", "/a/g"),
            ("/.", "/"),
            ("/./", "/"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/b/../", "/a/"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/a/%2e/b", "/a/b"),
            ("/a//..", "/a/"),
            ("//..", "/"),
            ("/a/..//b", "//b"),
        ] {
            check(path, Ok(expected));
        }
    }

    #[test]
    fn what_only_looks_special_stays() {
        for path in [
            "",
            "*",
            "/",
            "/.well-known/x",
            "/...",
            "/a..b/.c/d.",
            "/a%20b%2fc%2Fd%5c",
            "/a;b=c/..;/d",
            "//a///b",
            "/%252e%252e/a",
            "/%c3%a9%C3%A9",
        ] {
            assert_eq!(normalise(path.as_bytes(), false), Ok(None), "{path}");
        }
    }

    #[test]
    fn escapes_of_unreserved_characters_are_decoded() {
        check("/%61dmin%2ephp", Ok("/admin.php"));
        check("/%7euser/%5F%2D", Ok("/~user/_-"));
        check("/%41%2f%41", Ok("/A%2fA"));
    }

    #[test]
    fn slashes_are_merged_on_request() {
        for (path, expected) in [
            ("//", "/"),
            ("//a///b//", "/a/b/"),
            ("/a//../b", "/b"),
            ("/a/.//b", "/a/b"),
        ] {
            let actual = normalise(path.as_bytes(), true).unwrap();
            assert_eq!(actual.as_deref(), Some(expected), "{path}");
        }
        assert_eq!(normalise(b"/a/b/", true), Ok(None));
        assert_eq!(normalise(b"//..", true), Err(PathError::AboveRoot));
    }

    #[test]
    fn what_cannot_be_normalised_is_refused() {
        for (path, error) in [
            ("a", PathError::NotAbsolute),
            ("*/", PathError::NotAbsolute),
            ("/%", PathError::BadEscape),
            ("/%2", PathError::BadEscape),
            ("/%zz", PathError::BadEscape),
            ("/%%32e", PathError::BadEscape),
            ("/%+1", PathError::BadEscape),
            ("/a%00", PathError::Nul),
            ("/..", PathError::AboveRoot),
            ("/a/../../b", PathError::AboveRoot),
            ("/%2e%2e/etc", PathError::AboveRoot),
            ("/%20 ", PathError::BadByte),
            ("/%20\u{e9}", PathError::BadByte),
        ] {
            check(path, Err(error));
        }
    }

    /// Section 5.2.4 on a list of segments, without any shortcut.
    fn oracle(path: &str, merge_slashes: bool) -> Result<String, PathError> {
        let mut decoded = String::new();
        let mut chars = path.chars();
        while let Some(char) = chars.next() {
            if char != '%' {
                decoded.push(char);
                continue;
            }
            let digits: String = chars.by_ref().take(2).collect();
            let good = digits.len() == 2 && digits.chars().all(|c| c.is_ascii_hexdigit());
            match u8::from_str_radix(&digits, 16) {
                Ok(0) if good => return Err(PathError::Nul),
                Ok(byte) if good && is_unreserved(byte) => decoded.push(byte.into()),
                Ok(_) if good => decoded.extend(["%", &digits]),
                _ => return Err(PathError::BadEscape),
            }
        }
        let segments: Vec<&str> = decoded.split('/').skip(1).collect();
        let mut kept: Vec<&str> = Vec::new();
        for (index, segment) in segments.iter().enumerate() {
            let last = index + 1 == segments.len();
            match *segment {
                "." => {}
                ".." => drop(kept.pop().ok_or(PathError::AboveRoot)?),
                "" if merge_slashes && !last => {}
                other => kept.push(other),
            }
            if last && matches!(*segment, "." | "..") {
                kept.push("");
            }
        }
        Ok(format!("/{}", kept.join("/")))
    }

    proptest! {
        #[test]
        fn agrees_with_the_oracle(
            path in "/([a./%]|%2e|%2E|%61|%2f|%00|\\.\\.|/|;){0,12}",
            merge: bool,
        ) {
            let actual = normalise(path.as_bytes(), merge)
                .map(|changed| changed.map_or_else(|| path.clone(), String::from));
            let expected = oracle(&path, merge);
            // Which of several faults is named does not matter.
            if actual.is_ok() || expected.is_ok() {
                prop_assert_eq!(&actual, &expected);
            }
            if let Ok(normal) = actual {
                prop_assert_eq!(normalise(normal.as_bytes(), merge), Ok(None));
                prop_assert!(normal.split('/').all(|s| s != "." && s != ".."));
                prop_assert!(!merge || !normal.contains("//"));
            }
        }

        #[test]
        fn any_bytes_are_survived(path: Vec<u8>, merge: bool) {
            let _ = normalise(&path, merge);
        }
    }
}
