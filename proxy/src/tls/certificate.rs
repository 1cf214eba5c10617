//! What we need to know of a certificate: for which names it is, and until when.

use std::net::IpAddr;

use rustls::pki_types::{CertificateDer, ServerName};
use webpki::EndEntityCert;

use crate::identity::{Life, life_of};

/// A certificate in use.
#[derive(Debug)]
pub(crate) struct Certificate {
    /// The file it is from.
    pub(crate) file: Box<str>,
    pub(crate) names: Names,
    pub(crate) life: Life,
}

/// The names a certificate is for.
#[derive(Debug)]
pub(crate) struct Names {
    /// In lower case, wildcards as they are.
    hosts: Vec<Box<str>>,
    der: CertificateDer<'static>,
}

impl Certificate {
    /// # Errors
    /// It is none.
    pub(super) fn read(file: &str, der: &CertificateDer<'static>) -> Result<Self, String> {
        let names = Names::read(der).ok_or_else(|| format!("{file}: it cannot be read"))?;
        let life = life_of(der).map_err(|why| format!("{file}: {why}"))?;
        Ok(Self {
            file: file.into(),
            names,
            life,
        })
    }
}

impl Names {
    pub(super) fn read(der: &CertificateDer<'static>) -> Option<Self> {
        let parsed = EndEntityCert::try_from(der).ok()?;
        let hosts = parsed.valid_dns_names();
        Some(Self {
            hosts: hosts.map(|name| name.to_ascii_lowercase().into()).collect(),
            der: der.clone(),
        })
    }

    pub(crate) fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(|host| &**host)
    }

    /// Whether the certificate is for a host, as it stands in a request: with or without a port,
    /// in any case. A wildcard stands for one label (RFC 9525 section 6.3).
    pub(crate) fn covers(&self, authority: &[u8]) -> bool {
        let host = host_of(authority);
        let host = host.strip_suffix(b".").unwrap_or(host);
        if self.hosts.iter().any(|name| is_for(name.as_bytes(), host)) {
            return true;
        }
        let text = std::str::from_utf8(host).unwrap_or_default();
        let Ok(address) = text.parse::<IpAddr>() else {
            return false;
        };
        let name = ServerName::IpAddress(address.into());
        EndEntityCert::try_from(&self.der)
            .is_ok_and(|it| it.verify_is_valid_for_subject_name(&name).is_ok())
    }
}

/// A host without its port, and without the brackets of an IPv6 address.
fn host_of(authority: &[u8]) -> &[u8] {
    if let Some(rest) = authority.strip_prefix(b"[") {
        return rest.split(|b| *b == b']').next().unwrap_or_default();
    }
    authority.split(|b| *b == b':').next().unwrap_or_default()
}

fn is_for(name: &[u8], host: &[u8]) -> bool {
    let Some(suffix) = name.strip_prefix(b"*") else {
        return name.eq_ignore_ascii_case(host);
    };
    let Some(at) = host.iter().position(|b| *b == b'.') else {
        return false;
    };
    let (label, rest) = host.split_at(at);
    !label.is_empty() && rest.eq_ignore_ascii_case(suffix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_says_for_whom_and_until_when() {
        let names = ["shop.example", "*.Wild.example", "127.0.0.1", "::1"];
        let mut params = rcgen::CertificateParams::new(names.map(String::from)).unwrap();
        params.not_after = rcgen::date_time_ymd(2051, 2, 3);
        let key = rcgen::KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        let certificate = Certificate::read("x", &der).unwrap();
        assert_eq!(certificate.life.not_after.as_secs(), 2_558_995_200);
        for (authority, expected) in [
            ("shop.example", true),
            ("SHOP.example.:443", true),
            ("shop.example.evil", false),
            ("a.wild.example", true),
            ("a.b.wild.example", false),
            (".wild.example", false),
            ("wild.example", false),
            ("127.0.0.1:80", true),
            ("127.0.0.2", false),
            ("[::1]:8443", true),
            ("[::2]", false),
            ("", false),
        ] {
            let covers = certificate.names.covers(authority.as_bytes());
            assert_eq!(covers, expected, "{authority}");
        }
    }
}
