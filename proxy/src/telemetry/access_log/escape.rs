//! Bytes of strangers, made harmless: one line stays one line, JSON stays JSON, and nothing
//! reaches a terminal as a command or turns the direction of its text.

/// Writes `bytes` as the inside of a JSON string. What is not UTF-8 becomes U+FFFD.
pub(super) fn json(bytes: &[u8], out: &mut Vec<u8>) {
    run(bytes, out, |piece, out| match piece {
        Piece::Char(c @ ('"' | '\\')) => out.extend_from_slice(&[b'\\', c as u8]),
        Piece::Char(c) => {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                unicode(u32::from(*unit), 4, out);
            }
        }
        Piece::Invalid(_) => unicode(0xfffd, 4, out),
    });
}

/// Writes `bytes` as the inside of a quoted logfmt value. What is not UTF-8 becomes `\xNN`.
pub(super) fn quoted(bytes: &[u8], out: &mut Vec<u8>) {
    run(bytes, out, |piece, out| match piece {
        Piece::Char(c @ ('"' | '\\')) => out.extend_from_slice(&[b'\\', c as u8]),
        Piece::Char(c) if c.is_ascii() => hex(c as u8, out),
        Piece::Char(c) => {
            out.extend_from_slice(b"\\u{");
            let digits = (u32::BITS - u32::from(c).leading_zeros()).div_ceil(4);
            digits_of(u32::from(c), digits, out);
            out.push(b'}');
        }
        Piece::Invalid(bytes) => bytes.iter().for_each(|byte| hex(*byte, out)),
    });
}

/// Whether a value may stand in logfmt without quotes.
pub(super) fn is_bare(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'='))
}

/// Something that cannot stand as it is.
enum Piece<'a> {
    Char(char),
    Invalid(&'a [u8]),
}

/// Copies what is harmless as runs and hands over the rest.
fn run(bytes: &[u8], out: &mut Vec<u8>, mut escape: impl FnMut(Piece<'_>, &mut Vec<u8>)) {
    if bytes.iter().all(|byte| is_plain(*byte)) {
        out.extend_from_slice(bytes);
        return;
    }
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(at) = rest.find(is_harmful) {
            let (harmless, harmful) = rest.split_at(at);
            out.extend_from_slice(harmless.as_bytes());
            let mut chars = harmful.chars();
            if let Some(c) = chars.next() {
                escape(Piece::Char(c), out);
            }
            rest = chars.as_str();
        }
        out.extend_from_slice(rest.as_bytes());
        if !chunk.invalid().is_empty() {
            escape(Piece::Invalid(chunk.invalid()), out);
        }
    }
}

const fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && !matches!(byte, b'"' | b'\\')
}

/// Control characters (C0, DEL, C1), quotes, line and paragraph separators, and characters that
/// turn the direction of text (Unicode UAX 9).
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '"' | '\\'
                | '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}'
        )
}

/// `\xNN`
fn hex(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\\x");
    digits_of(u32::from(byte), 2, out);
}

/// `\uNNNN`
fn unicode(unit: u32, digits: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\\u");
    digits_of(unit, digits, out);
}

fn digits_of(number: u32, digits: u32, out: &mut Vec<u8>) {
    for place in (0..digits).rev() {
        let digit = (number >> (4 * place) & 0xf) as u8;
        out.push(if digit < 10 {
            b'0' + digit
        } else {
            b'a' + digit - 10
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(bytes: &[u8], as_json: &str, as_text: &str) {
        let (mut out, mut text) = (Vec::new(), Vec::new());
        json(bytes, &mut out);
        quoted(bytes, &mut text);
        assert_eq!(String::from_utf8(out).unwrap(), as_json);
        assert_eq!(String::from_utf8(text).unwrap(), as_text);
    }

    #[test]
    fn harmful_bytes_are_spelt_out() {
        check(b"/api/v1?x", "/api/v1?x", "/api/v1?x");
        check(b"", "", "");
        check("grüße 日本 🦀".as_bytes(), "grüße 日本 🦀", "grüße 日本 🦀");
        check(
            b"a\r\nb\0\x1b[31m\x7f",
            r"a\u000d\u000ab\u0000\u001b[31m\u007f",
            r"a\x0d\x0ab\x00\x1b[31m\x7f",
        );
        check(
            br#"say "hi" \ x"#,
            r#"say \"hi\" \\ x"#,
            r#"say \"hi\" \\ x"#,
        );
        check(
            b"\xff\xfe ok \xc3",
            r"\ufffd\ufffd ok \ufffd",
            r"\xff\xfe ok \xc3",
        );
        check(b"\xed\xa0\x80", r"\ufffd\ufffd\ufffd", r"\xed\xa0\x80"); // a surrogate is not UTF-8
        check(
            "\u{9b}31m \u{202e}x\u{2028}".as_bytes(),
            r"\u009b31m \u202ex\u2028",
            r"\u{9b}31m \u{202e}x\u{2028}",
        );
    }

    /// Undoes [`quoted`]: nothing is lost by it.
    fn unquote(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let after = &rest[c.len_utf8()..];
            rest = if c != '\\' {
                out.extend_from_slice(c.to_string().as_bytes());
                after
            } else if let Some(hex) = after.strip_prefix('x') {
                out.push(u8::from_str_radix(&hex[..2], 16).unwrap());
                &hex[2..]
            } else if let Some(code) = after.strip_prefix("u{") {
                let (code, rest) = code.split_once('}').unwrap();
                let c = char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap();
                out.extend_from_slice(c.to_string().as_bytes());
                rest
            } else {
                out.push(after.as_bytes()[0]);
                &after[1..]
            };
        }
        out
    }

    proptest! {
        #[test]
        fn json_reads_back(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut out = vec![b'"'];
            json(&bytes, &mut out);
            out.push(b'"');
            let read: String = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(read, String::from_utf8_lossy(&bytes));
            let text = String::from_utf8(out).unwrap();
            prop_assert!(!text.contains(char::is_control));
        }

        #[test]
        fn any_text_reads_back(text in any::<String>()) {
            let mut out = vec![b'"'];
            json(text.as_bytes(), &mut out);
            out.push(b'"');
            let read: String = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(read, text);
        }

        #[test]
        fn quoted_loses_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut out = Vec::new();
            quoted(&bytes, &mut out);
            let text = String::from_utf8(out).unwrap();
            prop_assert!(!text.contains(char::is_control));
            prop_assert_eq!(unquote(&text), bytes);
        }
    }
}
