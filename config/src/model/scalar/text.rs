//! Texts: names, header fields, paths, patterns.

use std::borrow::Cow;
use std::fmt;

use serde::Serializer;
use serde::ser::SerializeMap;
use serde_json::json;

use crate::engine::{Catalogue, Grammar, Model, Reader, Refused, Scalar, TypeRef, Writing};
use crate::text::{Node, Value};

/// A string newtype whose inside is public to read and whose checks happen in reading.
macro_rules! string {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Box<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        /// Not checked: for defaults and tests.
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

string! {
    /// Name of an object: 1 to 253 of `A-Z a-z 0-9 - _ . /`.
    Name
    /// Any text without control characters but tabs and line breaks.
    Text
    /// A field name (RFC 9110 token), as written.
    HeaderName
    /// A field value (RFC 9110 section 5.5): no control characters but tab, no blanks at the ends.
    HeaderValue
    /// A path: begins with `/`, visible ASCII, no `?`, `#`, `//`, or dot segments.
    PathText
    /// A regular expression in the `regex` crate's syntax (linear time), at most 1 KiB, matched against the whole value.
    Pattern
}

impl Grammar for Name {
    const SCALAR: Scalar = Scalar {
        name: "name",
        expected: "a name: 1 to 253 of A-Z a-z 0-9 - _ . /",
        schema: || json!({ "type": "string", "pattern": "^[A-Za-z0-9._/-]{1,253}$" }),
    };

    fn parse(text: &str) -> Result<Self, Refused> {
        let known = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
        let fits = (1..=253).contains(&text.len()) && text.bytes().all(known);
        if fits { Ok(text.into()) } else { Err(None) }
    }

    fn text(&self) -> Cow<'_, str> {
        self.as_str().into()
    }

    /// No name that can be read, so that it is told apart.
    fn stand_in() -> Self {
        "".into()
    }
}

impl Grammar for Text {
    const SCALAR: Scalar = Scalar {
        name: "text",
        expected: "text without control characters",
        schema: || json!({ "type": "string" }),
    };

    fn parse(text: &str) -> Result<Self, Refused> {
        let breaks = |c: char| matches!(c, '\t' | '\n' | '\r');
        if text.chars().any(|c| c.is_control() && !breaks(c)) {
            return Err(None);
        }
        Ok(text.into())
    }

    fn text(&self) -> Cow<'_, str> {
        self.as_str().into()
    }

    fn stand_in() -> Self {
        "".into()
    }
}

/// RFC 9110 section 5.6.2.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

impl Grammar for HeaderName {
    const SCALAR: Scalar = Scalar {
        name: "header name",
        expected: "a header name: letters, digits, - and the like",
        schema: || json!({ "type": "string", "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$" }),
    };

    fn parse(text: &str) -> Result<Self, Refused> {
        if is_token(text) && text.len() <= 256 {
            Ok(text.into())
        } else {
            Err(None)
        }
    }

    fn text(&self) -> Cow<'_, str> {
        self.as_str().into()
    }

    fn stand_in() -> Self {
        "".into()
    }
}

impl Grammar for HeaderValue {
    const SCALAR: Scalar = Scalar {
        name: "header value",
        expected: "a header value: no control characters, no blanks at the ends, at most 8 KiB",
        schema: || json!({ "type": "string", "maxLength": 8192 }),
    };

    fn parse(text: &str) -> Result<Self, Refused> {
        let blank = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t'));
        let bytes = text.as_bytes();
        let control = |b: &u8| *b == 0x7f || (*b < 0x20 && *b != b'\t');
        let refused = blank(bytes.first())
            || blank(bytes.last())
            || bytes.iter().any(control)
            || bytes.len() > 8_192;
        if refused { Err(None) } else { Ok(text.into()) }
    }

    fn text(&self) -> Cow<'_, str> {
        self.as_str().into()
    }

    fn stand_in() -> Self {
        "".into()
    }
}

impl PathText {
    /// `/`.
    pub fn root() -> Self {
        Self::from("/")
    }
}

impl Grammar for PathText {
    const SCALAR: Scalar = Scalar {
        name: "path",
        expected: "a path: `/` and visible ASCII, without query, `//`, `.` or `..`, at most 4 KiB",
        schema: || json!({ "type": "string", "pattern": "^/[^?#\\s]*$", "maxLength": 4096 }),
    };

    fn parse(text: &str) -> Result<Self, Refused> {
        let visible = |b: u8| (0x21..=0x7e).contains(&b) && b != b'?' && b != b'#' && b != b'\\';
        if !text.starts_with('/') || text.len() > 4_096 || !text.bytes().all(visible) {
            return Err(None);
        }
        // Paths are normalised before they are matched; such a segment would never match.
        let dots = |segment: &str| {
            let plain = segment.to_ascii_lowercase().replace("%2e", ".");
            plain == "." || plain == ".."
        };
        if text.contains("//") || text.split('/').any(dots) {
            return Err(None);
        }
        let escaped = |rest: &str| {
            let digits = rest.as_bytes();
            matches!(digits, [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
        };
        if !text.split('%').skip(1).all(escaped) {
            return Err(Some("a path with two hex digits after each `%`".into()));
        }
        Ok(text.into())
    }

    fn text(&self) -> Cow<'_, str> {
        self.as_str().into()
    }

    fn stand_in() -> Self {
        Self::root()
    }
}

impl Pattern {
    /// Longest pattern.
    const LONGEST: usize = 1_024;
    /// Memory of one compiled pattern.
    /// Why: `\w{1000}{1000}` is short to write.
    const SIZE_LIMIT: usize = 256 << 10;

    /// The pattern, compiled so that it matches whole values only. It works on bytes: `.` is any
    /// byte but a line feed and `\w` is ASCII, since values on the wire need not be UTF-8.
    pub fn compile(&self) -> Result<regex::bytes::Regex, regex::Error> {
        // The group must not be closed from within: the pattern has to be one by itself.
        let plain = Self::build(&self.0)?;
        drop(plain);
        Self::build(&format!(r"\A(?:{})\z", self.0))
    }

    fn build(pattern: &str) -> Result<regex::bytes::Regex, regex::Error> {
        regex::bytes::RegexBuilder::new(pattern)
            .unicode(false)
            .size_limit(Self::SIZE_LIMIT)
            .dfa_size_limit(Self::SIZE_LIMIT)
            .build()
    }
}

impl Grammar for Pattern {
    const SCALAR: Scalar = Scalar {
        name: "pattern",
        expected: "a regular expression of 1 to 1024 bytes, for the whole value",
        schema: || json!({ "type": "string", "format": "regex", "minLength": 1, "maxLength": 1024 }),
    };

    fn parse(text: &str) -> Result<Self, Refused> {
        if text.is_empty() || text.len() > Self::LONGEST {
            return Err(None);
        }
        let pattern = Self::from(text);
        match pattern.compile() {
            Ok(_) => Ok(pattern),
            Err(regex::Error::CompiledTooBig(_)) => Err(Some(
                "a regular expression that compiles to at most 256 KiB".into(),
            )),
            Err(error) => {
                // The message of a syntax error shows the pattern over several lines; its last
                // says what is wrong.
                let text = error.to_string();
                let reason = text.lines().last().unwrap_or_default();
                let reason = reason.strip_prefix("error: ").unwrap_or(reason);
                Err(Some(format!("a regular expression ({reason})").into()))
            }
        }
    }

    fn text(&self) -> Cow<'_, str> {
        self.as_str().into()
    }

    fn stand_in() -> Self {
        ".*".into()
    }
}

/// Names with values, written as an object.
impl Model for (HeaderName, HeaderValue) {
    fn read(node: Node<'_>, cx: &mut Reader<'_>) -> Self {
        cx.unexpected(node, "an object of header names and values");
        Self::stand_in()
    }

    fn stand_in() -> Self {
        (
            <HeaderName as Grammar>::stand_in(),
            <HeaderValue as Grammar>::stand_in(),
        )
    }

    fn write<S: Serializer>(&self, to: S, cx: &Writing<'_>) -> Result<S::Ok, S::Error> {
        Self::write_list(std::slice::from_ref(self), to, cx)
    }

    fn describe(catalogue: &mut Catalogue) -> TypeRef {
        Self::describe_list(catalogue)
    }

    fn read_list(node: Node<'_>, cx: &mut Reader<'_>) -> Vec<Self> {
        if !matches!(node.entry().value, Value::Object { .. }) {
            cx.unexpected(node, "an object of header names and values");
            return Vec::new();
        }
        let fields = node.fields();
        let mut list: Vec<Self> = Vec::with_capacity(fields.len());
        for (key, value) in fields {
            let Some((text, _)) = key.scalar() else {
                continue;
            };
            match HeaderName::parse(text) {
                Err(_) => cx.wrong_key(key, text, HeaderName::SCALAR.expected),
                Ok(name) => {
                    // The case of a header name has no meaning.
                    let same = |known: &Self| known.0.as_str().eq_ignore_ascii_case(text);
                    if list.iter().any(same) {
                        cx.key_twice(key, text);
                    }
                    let value = cx.at_key(text, |cx| HeaderValue::read(value, cx));
                    list.push((name, value));
                }
            }
        }
        list
    }

    fn write_list<S: Serializer>(
        list: &[Self],
        to: S,
        cx: &Writing<'_>,
    ) -> Result<S::Ok, S::Error> {
        let mut object = to.serialize_map(Some(list.len()))?;
        for (name, value) in list {
            cx.entry(&mut object, name.as_str(), value)?;
        }
        object.end()
    }

    fn describe_list(catalogue: &mut Catalogue) -> TypeRef {
        HeaderName::describe(catalogue);
        TypeRef::Map(Box::new(HeaderValue::describe(catalogue)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn names() {
        check::<Name>(&[
            ("web", Ok("web")),
            ("shop/api-v1.eu_2", Ok("shop/api-v1.eu_2")),
            ("", Err("")),
            ("a b", Err("")),
            ("ä", Err("")),
            (&"x".repeat(254), Err("")),
        ]);
    }

    #[test]
    fn header_fields() {
        check::<HeaderName>(&[
            ("X-Env", Ok("X-Env")),
            ("x_y", Ok("x_y")),
            ("", Err("")),
            (":path", Err("")),
            ("a b", Err("")),
            ("a\r\nb", Err("")),
            (&"x".repeat(257), Err("")),
        ]);
        check::<HeaderValue>(&[
            ("", Ok("")),
            ("a b\tc", Ok("a b\tc")),
            ("ü", Ok("ü")),
            (" a", Err("")),
            ("a\t", Err("")),
            ("a\r\nx: y", Err("")),
            ("\u{7f}", Err("")),
            ("a\0", Err("")),
        ]);
    }

    #[test]
    fn paths() {
        let escape = "a path with two hex digits after each `%`";
        check::<PathText>(&[
            ("/", Ok("/")),
            ("/api/v1", Ok("/api/v1")),
            ("/api/", Ok("/api/")),
            ("/a.b/..c/.d", Ok("/a.b/..c/.d")),
            ("/a%20b;c=d", Ok("/a%20b;c=d")),
            ("", Err("")),
            ("api", Err("")),
            ("/a?b", Err("")),
            ("/a#b", Err("")),
            ("/a b", Err("")),
            ("/ä", Err("")),
            ("//", Err("")),
            ("/a//b", Err("")),
            ("/a/../b", Err("")),
            ("/a/.", Err("")),
            ("/%2e%2E/b", Err("")),
            ("/.%2e", Err("")),
            ("/a\\b", Err("")),
            ("/a%2", Err(escape)),
            ("/a%zz", Err(escape)),
        ]);
    }

    #[test]
    fn patterns() {
        check::<Pattern>(&[
            ("/a/[0-9]+", Ok("/a/[0-9]+")),
            (r"\d{3}|\w+", Ok(r"\d{3}|\w+")),
            ("", Err("")),
            (&"x".repeat(1_025), Err("")),
            ("a(", Err("a regular expression (unclosed group)")),
            ("a)|(b", Err("a regular expression (unopened group)")),
            (
                "(?=a)",
                Err(
                    "a regular expression (look-around, including look-ahead and look-behind, is not supported)",
                ),
            ),
            (
                r"\w{1000}{1000}",
                Err("a regular expression that compiles to at most 256 KiB"),
            ),
        ]);
    }

    #[test]
    fn patterns_match_whole_values() {
        for (pattern, value, expected) in [
            ("a|ab", "ab", true),
            ("a|ab", "abc", false),
            ("[0-9]+", "123\n", false),
            ("(?i)chrome.*", "Chrome/1", true),
            (".*", "\u{e4}", true),
        ] {
            let regex = Pattern::from(pattern).compile().unwrap();
            assert_eq!(
                regex.is_match(value.as_bytes()),
                expected,
                "{pattern} {value}"
            );
        }
        assert!(Pattern::from(".").compile().unwrap().is_match(b"\xff"));
    }
}
