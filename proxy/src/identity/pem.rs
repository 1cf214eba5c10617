//! Private keys from text. The libraries that read PEM leave copies of what they read in memory
//! that they free; here nothing of a key outlives its use.

use base64ct::{Base64, Encoding as _};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use zeroize::Zeroizing;

/// A private key's bytes, wiped when dropped and never shown.
pub(crate) struct KeyBytes {
    kind: Kind,
    der: Zeroizing<Vec<u8>>,
}

#[derive(Clone, Copy)]
enum Kind {
    Pkcs1,
    Pkcs8,
    Sec1,
}

/// The forms a key is written in.
const LABELS: [(&str, Kind); 3] = [
    ("PRIVATE KEY", Kind::Pkcs8),
    ("EC PRIVATE KEY", Kind::Sec1),
    ("RSA PRIVATE KEY", Kind::Pkcs1),
];

impl KeyBytes {
    /// The one private key in a text that may hold other things beside it.
    ///
    /// # Errors
    /// What is wrong with the text; nothing of it is shown.
    pub(crate) fn from_pem(text: &[u8]) -> Result<Self, &'static str> {
        let mut found = None;
        for (label, kind) in LABELS {
            let begin = format!("-----BEGIN {label}-----");
            let end = format!("-----END {label}-----");
            let mut rest = text;
            while let Some(at) = find(rest, begin.as_bytes()) {
                rest = &rest[at + begin.len()..];
                let length = find(rest, end.as_bytes()).ok_or("a private key has no end")?;
                let inside = &rest[..length];
                rest = &rest[length + end.len()..];
                if found.replace((inside, kind)).is_some() {
                    return Err("there is more than one private key");
                }
            }
        }
        if find(text, b"-----BEGIN ENCRYPTED PRIVATE KEY-----").is_some() {
            return Err("the private key is encrypted: a proxy has nobody to ask for its password");
        }
        let (inside, kind) = found.ok_or("there is no private key")?;
        let mut digits = Zeroizing::new(Vec::with_capacity(inside.len()));
        digits.extend(inside.iter().filter(|b| !b.is_ascii_whitespace()));
        let mut der = Zeroizing::new(vec![0; digits.len()]);
        let length = Base64::decode(digits.as_slice(), &mut der)
            .map_err(|_| "the private key is no base64")?
            .len();
        der.truncate(length);
        Ok(Self { kind, der })
    }

    /// As the libraries take it.
    pub(crate) fn der(&self) -> PrivateKeyDer<'_> {
        let bytes = self.der.as_slice();
        match self.kind {
            Kind::Pkcs1 => PrivatePkcs1KeyDer::from(bytes).into(),
            Kind::Pkcs8 => PrivatePkcs8KeyDer::from(bytes).into(),
            Kind::Sec1 => PrivateSec1KeyDer::from(bytes).into(),
        }
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_text() {
        let read = |text: &str| KeyBytes::from_pem(text.as_bytes());
        let wrap = |label: &str, text: &str| {
            format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
        };
        let key = wrap("PRIVATE KEY", "AAEC\r\nAwQF\n");
        let beside = wrap("CERTIFICATE", "/w==") + "a comment\n" + &key;
        for text in [&key, &beside] {
            let key = read(text).unwrap();
            assert_eq!(key.der().secret_der(), [0, 1, 2, 3, 4, 5]);
            assert!(matches!(key.der(), PrivateKeyDer::Pkcs8(_)));
        }
        for (label, sec1) in [("EC PRIVATE KEY", true), ("RSA PRIVATE KEY", false)] {
            let key = read(&wrap(label, "AA==")).unwrap();
            assert_eq!(matches!(key.der(), PrivateKeyDer::Sec1(_)), sec1);
            assert_eq!(matches!(key.der(), PrivateKeyDer::Pkcs1(_)), !sec1);
        }
        for (text, why) in [
            (String::new(), "there is no private key"),
            (wrap("CERTIFICATE", "AA=="), "there is no private key"),
            (key.clone() + &key, "more than one"),
            (
                key.clone() + &wrap("EC PRIVATE KEY", "AA=="),
                "more than one",
            ),
            (wrap("PRIVATE KEY", "A*=="), "no base64"),
            ("-----BEGIN PRIVATE KEY-----\nAAEC".into(), "no end"),
            (wrap("ENCRYPTED PRIVATE KEY", "AA=="), "encrypted"),
        ] {
            let error = read(&text).err().expect(&text);
            assert!(error.contains(why), "{error}");
        }
    }
}
