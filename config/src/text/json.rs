//! JSON (RFC 8259), strictly, with places. Its own parser because `serde_json` knows no places once
//! a value is built, and because YAML is no true superset (tabs, surrogate pairs).

use std::borrow::Cow;

use super::document::Unit;
use super::{Document, Kind, MAX_DEPTH, MAX_VALUES, Unreadable, Value};

pub(super) fn parse(text: &str) -> Result<Document<'_>, Unreadable> {
    let mut parser = Parser {
        text,
        at: if text.starts_with('\u{feff}') { 3 } else { 0 },
        document: Document::new(text, Unit::Bytes),
    };
    parser.blanks();
    parser.value(0)?;
    parser.blanks();
    match parser.peek() {
        None => Ok(parser.document),
        Some(_) => Err(parser.expected("the end")),
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    document: Document<'t>,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Texts are at most `MAX_TEXT` long, so a place always fits.
    fn place(&self) -> u32 {
        u32::try_from(self.at).unwrap_or(u32::MAX)
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn expected(&self, what: &str) -> Unreadable {
        let found = self
            .text
            .get(self.at..)
            .and_then(|rest| rest.chars().next());
        let found = found.map_or_else(|| "the end".to_owned(), |c| format!("{c:?}"));
        self.error(format!("not JSON: found {found}; expected {what}"))
    }

    fn error(&self, message: impl Into<String>) -> Unreadable {
        Unreadable::new(self.place(), message)
    }

    fn value(&mut self, depth: usize) -> Result<(), Unreadable> {
        if depth > MAX_DEPTH {
            return Err(self.error(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        if self.document.is_full() {
            return Err(self.error(format!("more than {MAX_VALUES} values")));
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'a'..=b'z') => self.word(),
            _ => Err(self.expected("a value")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), Unreadable> {
        let start = self.open();
        let mut len = 0;
        if !self.closes(b'}') {
            loop {
                self.blanks();
                if self.peek() != Some(b'"') {
                    return Err(self.expected("a key in double quotes"));
                }
                self.string()?;
                self.blanks();
                if self.peek() != Some(b':') {
                    return Err(self.expected("`:`"));
                }
                self.at += 1;
                self.blanks();
                self.value(depth + 1)?;
                len += 1;
                if !self.continues(b'}', "`,` or `}`")? {
                    break;
                }
            }
        }
        let end = self.document.len();
        self.document.entries[start].value = Value::Object { len, end };
        Ok(())
    }

    fn list(&mut self, depth: usize) -> Result<(), Unreadable> {
        let start = self.open();
        let mut len = 0;
        if !self.closes(b']') {
            loop {
                self.blanks();
                self.value(depth + 1)?;
                len += 1;
                if !self.continues(b']', "`,` or `]`")? {
                    break;
                }
            }
        }
        let end = self.document.len();
        self.document.entries[start].value = Value::List { len, end };
        Ok(())
    }

    /// Enters a list or object, whose length is not known yet.
    fn open(&mut self) -> usize {
        let value = Value::List { len: 0, end: 0 };
        let start = self.document.push(self.place(), Kind::Null, value);
        self.at += 1;
        start as usize
    }

    fn closes(&mut self, bracket: u8) -> bool {
        self.blanks();
        let closes = self.peek() == Some(bracket);
        self.at += usize::from(closes);
        closes
    }

    fn continues(&mut self, bracket: u8, expected: &str) -> Result<bool, Unreadable> {
        self.blanks();
        let comma = self.peek() == Some(b',');
        if comma || self.peek() == Some(bracket) {
            self.at += 1;
            return Ok(comma);
        }
        Err(self.expected(expected))
    }

    fn word(&mut self) -> Result<(), Unreadable> {
        let rest = &self.text[self.at..];
        for (word, kind) in [
            ("null", Kind::Null),
            ("true", Kind::Bool),
            ("false", Kind::Bool),
        ] {
            if let Some(after) = rest.strip_prefix(word)
                && !after.starts_with(|c: char| c.is_ascii_alphanumeric())
            {
                self.scalar(word.len(), kind);
                return Ok(());
            }
        }
        Err(self.expected("a value"))
    }

    fn number(&mut self) -> Result<(), Unreadable> {
        let bytes = &self.text.as_bytes()[self.at..];
        let digits = |from: usize| {
            bytes[from..]
                .iter()
                .take_while(|b| b.is_ascii_digit())
                .count()
        };
        let mut end = usize::from(bytes[0] == b'-');
        let whole = digits(end);
        if whole == 0 || (whole > 1 && bytes[end] == b'0') {
            return Err(self.expected("a number without leading zeros"));
        }
        end += whole;
        if bytes.get(end) == Some(&b'.') {
            let fraction = digits(end + 1);
            end += 1 + fraction;
            if fraction == 0 {
                self.at += end;
                return Err(self.expected("a digit"));
            }
        }
        if let Some(b'e' | b'E') = bytes.get(end) {
            end += 1;
            end += usize::from(matches!(bytes.get(end), Some(b'+' | b'-')));
            let exponent = digits(end);
            if exponent == 0 {
                self.at += end;
                return Err(self.expected("a digit"));
            }
            end += exponent;
        }
        self.scalar(end, Kind::Number);
        Ok(())
    }

    fn scalar(&mut self, len: usize, kind: Kind) {
        let text = &self.text[self.at..self.at + len];
        let place = self.place();
        self.document
            .push(place, kind, Value::Scalar(Cow::Borrowed(text)));
        self.at += len;
    }

    fn string(&mut self) -> Result<(), Unreadable> {
        let place = self.place();
        self.at += 1;
        // Without an escape the text is borrowed.
        let start = self.run()?;
        let mut text = Cow::Borrowed(start);
        while self.peek() == Some(b'\\') {
            let character = self.escape()?;
            let rest = self.run()?;
            let text = text.to_mut();
            text.push(character);
            text.push_str(rest);
        }
        self.at += 1;
        self.document.push(place, Kind::Text, Value::Scalar(text));
        Ok(())
    }

    /// The characters up to an escape or the end of a string.
    fn run(&mut self) -> Result<&'t str, Unreadable> {
        let text = self.text;
        let bytes = &text.as_bytes()[self.at..];
        let len = bytes
            .iter()
            .take_while(|&&b| b != b'"' && b != b'\\' && b >= 0x20);
        let start = self.at;
        self.at += len.count();
        match self.peek() {
            Some(b'"' | b'\\') => Ok(&text[start..self.at]),
            Some(_) => Err(self.expected("no control character in a string")),
            None => Err(self.expected("the closing quote of a string")),
        }
    }

    fn escape(&mut self) -> Result<char, Unreadable> {
        self.at += 1;
        let character = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.expected("an escape such as \\n or \\u00e4")),
        };
        self.at += 1;
        Ok(character)
    }

    /// Four hexadecimal digits after `\u`, or a pair of surrogates written so.
    fn unicode(&mut self) -> Result<char, Unreadable> {
        let lone = "\\u with a half of a surrogate pair";
        let first = self.hex()?;
        let code = match first {
            0xd800..=0xdbff => {
                if !self.text[self.at..].starts_with("\\u") {
                    return Err(self.error(format!("not JSON: {lone}")));
                }
                self.at += 1;
                match self.hex()? {
                    second @ 0xdc00..=0xdfff => {
                        0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                    }
                    _ => return Err(self.error(format!("not JSON: {lone}"))),
                }
            }
            other => other,
        };
        char::from_u32(code).ok_or_else(|| self.error(format!("not JSON: {lone}")))
    }

    /// Four hex digits after `u`.
    fn hex(&mut self) -> Result<u32, Unreadable> {
        self.at += 1;
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|b| char::from(b).to_digit(16));
            let digit = digit.ok_or_else(|| self.expected("four hex digits"))?;
            code = code << 4 | digit;
            self.at += 1;
        }
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::Node;

    /// What `serde_json` makes of the same text is the oracle.
    fn as_value(node: Node<'_>) -> serde_json::Value {
        match node.scalar() {
            Some((text, Kind::Text)) => serde_json::Value::String(text.to_owned()),
            Some((text, _)) => serde_json::from_str(text).unwrap(),
            None => match node.entry().value {
                Value::List { .. } => node.items().map(as_value).collect(),
                _ => node
                    .fields()
                    .map(|(key, value)| (key.scalar().unwrap().0.to_owned(), as_value(value)))
                    .collect::<serde_json::Map<_, _>>()
                    .into(),
            },
        }
    }

    fn check(text: &str) {
        let ours = parse(text).ok().map(|document| as_value(document.root()));
        let theirs = serde_json::from_str(text.trim_start_matches('\u{feff}')).ok();
        assert_eq!(ours, theirs, "{text}");
    }

    #[test]
    fn agrees_with_serde_json() {
        for text in [
            "",
            " ",
            "null",
            "nul",
            "nulls",
            "true",
            "false ",
            "tru",
            "[]",
            "[ ]",
            "[1]",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{}",
            "{ }",
            r#"{"a":1}"#,
            r#"{"a":1,}"#,
            r#"{"a" : [ {} , [] ]}"#,
            "{a:1}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1 "b":2}"#,
            "0",
            "-0",
            "00",
            "01",
            "-",
            "-a",
            "1.",
            "1.5",
            ".5",
            "1e5",
            "1E+5",
            "1e",
            "1e-",
            "-1.25e-3",
            "+1",
            "0x10",
            "\"",
            "\"a",
            r#""a""#,
            r#""\n\t\r\b\f\/\\\"""#,
            r#""\x""#,
            r#""\u00e4""#,
            r#""\u00E4b""#,
            r#""\u12""#,
            r#""\ud83d\ude00""#,
            r#""\ud83d""#,
            r#""\ude00""#,
            r#""\ud83d\u0041""#,
            r#""\ud83dx""#,
            "\"a\u{1}\"",
            "\"ä\"",
            "[1]x",
            "[[[[[[]]]]]]",
            "\"\u{7f}\"",
            "/**/1",
            "'a'",
        ] {
            check(text);
        }
    }

    #[test]
    fn refuses_what_is_too_deep() {
        let deep = "[".repeat(MAX_DEPTH + 2);
        assert_eq!(
            parse(&deep).unwrap_err().message,
            "nested deeper than 64 levels"
        );
        assert!(parse(&"[".repeat(2_000_000)).is_err());
    }

    proptest! {
        #[test]
        fn agrees_on_near_misses(text in r#"([\[\]{},:" ]|true|null|"a"|"\\n"|1|-2\.5|0){0,12}"#) {
            check(&text);
        }

        #[test]
        fn never_panics(text in r#"[\[\]{},:"\\ué0-9eE+.\-tfn\x00-\x20]{0,40}"#) {
            let _ = parse(&text);
        }
    }
}
