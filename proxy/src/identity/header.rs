//! What an application is told of a client's certificate: an element of `X-Forwarded-Client-Cert`,
//! in the form that Envoy made usual.
//!
//! Names come from the certificate, which somebody who is trusted has signed and nobody has read.
//! What could be taken for more than one value, or for another field, is left out.

use std::fmt::Write as _;

use outrigger_config::model::SpiffeId;
use rustls::pki_types::CertificateDer;

use super::svid::{self, Fingerprint};

/// Names of a kind that are told; a certificate may have thousands.
const MOST: usize = 16;

/// The element for a client that showed this certificate to us, who are `own`.
pub(crate) fn element(leaf: &CertificateDer<'_>, own: Option<&SpiffeId>) -> Box<str> {
    let mut text = String::new();
    // Writing to a string does not fail.
    if let Some(own) = own {
        let _ = write!(text, "By={own};");
    }
    let _ = write!(text, "Hash={}", Fingerprint::of(leaf));
    let Ok(certificate) = svid::parse(leaf) else {
        return text.into();
    };
    let subject = certificate.subject().to_string();
    if !subject.is_empty() && subject.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        let quoted = subject.replace('\\', "\\\\").replace('"', "\\\"");
        let _ = write!(text, ";Subject=\"{quoted}\"");
    }
    let (uris, dns_names) = svid::names(&certificate).unwrap_or_default();
    for uri in uris.into_iter().filter(|it| is_plain(it)).take(MOST) {
        let _ = write!(text, ";URI={uri}");
    }
    for name in dns_names.iter().filter(|it| is_plain(it)).take(MOST) {
        let _ = write!(text, ";DNS={name}");
    }
    text.into()
}

/// Whether a value needs no quotes.
fn is_plain(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_graphic() && !b",;=\"\\".contains(&b);
    !text.is_empty() && text.len() <= 2_048 && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{Ca, dns, uri},
        *,
    };

    #[test]
    fn what_is_told() {
        let leaf = Ca::new("root").leaf_with("spiffe://one.example/web", |params| {
            let names = ["web.local", "a,b", "a;URI=spiffe://one.example/root"];
            params.subject_alt_names.extend(names.map(dns));
            let name = "one \"two\"; three\\";
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, name);
        });
        let own = "spiffe://one.example/api".parse().unwrap();
        let told = element(&leaf.der, Some(&own));
        let hash = Fingerprint::of(&leaf.der);
        assert_eq!(
            &*told,
            format!(
                "By=spiffe://one.example/api;Hash={hash};Subject=\"CN=one \\\"two\\\"; three\\\\\";\
                 URI=spiffe://one.example/web;DNS=web.local"
            )
        );
    }

    #[test]
    fn what_is_not_told() {
        let leaf = Ca::new("root").leaf_with("spiffe://one.example/web", |params| {
            params.subject_alt_names = vec![uri("https://a.example/x=y\r\nx-evil: 1")];
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, "a\r\nx-evil: 1");
        });
        let hash = Fingerprint::of(&leaf.der);
        assert_eq!(&*element(&leaf.der, None), format!("Hash={hash}"));
        let none = CertificateDer::from(vec![1, 2, 3]);
        assert!(element(&none, None).starts_with("Hash="));
    }
}
