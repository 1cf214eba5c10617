//! Query parameters: `name=value` joined by `&`. `%XX` is decoded on both sides of the `=`; `+`
//! is a plus sign, since only forms read it as a blank; an escape that is none stays as it is.

use std::borrow::Cow;

use crate::message::path::escape;

/// Name and value of each parameter, as written. One without `=` has an empty value.
pub(super) fn parameters(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    query.split(|byte| *byte == b'&').map(|parameter| {
        match memchr::memchr(b'=', parameter).and_then(|at| parameter.split_at_checked(at)) {
            Some((name, value)) => (name, value.get(1..).unwrap_or_default()),
            None => (parameter, &b""[..]),
        }
    })
}

/// The decoded value of the first parameter of this name. Allocates only where the value has
/// something to decode.
pub(super) fn first<'a>(query: &'a [u8], name: &[u8]) -> Option<Cow<'a, [u8]>> {
    parameters(query)
        .find(|(written, _)| is_equal(written, name))
        .map(|(_, value)| decode(value))
}

pub(super) fn decode(written: &[u8]) -> Cow<'_, [u8]> {
    match memchr::memchr(b'%', written) {
        None => Cow::Borrowed(written),
        Some(_) => Cow::Owned(Decoder(written).collect()),
    }
}

fn is_equal(written: &[u8], text: &[u8]) -> bool {
    match memchr::memchr(b'%', written) {
        None => written == text,
        Some(_) => Decoder(written).eq(text.iter().copied()),
    }
}

struct Decoder<'a>(&'a [u8]);

impl Iterator for Decoder<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        let escaped = escape(rest).filter(|_| byte == b'%');
        let used = if escaped.is_some() { 2 } else { 0 };
        self.0 = rest.get(used..).unwrap_or_default();
        escaped.or(Some(byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, name: &str, expected: Option<&str>) {
        let actual = first(query.as_bytes(), name.as_bytes());
        assert_eq!(actual.as_deref(), expected.map(str::as_bytes), "{query}");
    }

    #[test]
    fn the_first_of_a_name_counts() {
        check("a=1&b=2&a=3", "a", Some("1"));
        check("a=1&b=2&a=3", "b", Some("2"));
        check("a=1", "c", None);
        check("", "a", None);
        check("aa=1&a=2", "a", Some("2"));
        check("a&b=", "a", Some(""));
        check("a&b=", "b", Some(""));
        check("&&=x&a==y=", "a", Some("=y="));
        check("A=1", "a", None);
    }

    #[test]
    fn escapes_are_decoded_and_plus_is_a_plus() {
        check("a=%41b%2Bc+d", "a", Some("Ab+c+d"));
        check("%61%3d=1", "a=", Some("1"));
        check("a=%", "a", Some("%"));
        check("a=%4&b=%zz%41", "a", Some("%4"));
        check("a=%4&b=%zz%41", "b", Some("%zzA"));
        assert!(matches!(decode(b"plain"), Cow::Borrowed(_)));
    }
}
