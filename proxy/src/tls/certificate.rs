//! What we need to know of a certificate: for which names it is, and until when.

use std::net::IpAddr;

use rustls::pki_types::{CertificateDer, ServerName};
use webpki::EndEntityCert;

/// A certificate in use.
#[derive(Debug)]
pub(crate) struct Certificate {
    /// The file it is from.
    pub(crate) file: Box<str>,
    pub(crate) names: Names,
    /// The last second in which it is valid, since 1970.
    pub(crate) expires: Option<i64>,
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
        Ok(Self {
            file: file.into(),
            names,
            expires: not_after(der),
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

/// The end of a certificate's validity in seconds since 1970 (RFC 5280 section 4.1.2.5). No
/// certificate that is used here gets to this without rustls' own reader having taken it.
fn not_after(der: &[u8]) -> Option<i64> {
    let (_, certificate, _) = element(der)?;
    let (_, mut fields, _) = element(certificate)?;
    // A version in front, then serial number, signature algorithm and issuer.
    if fields.first() == Some(&0xa0) {
        fields = element(fields)?.2;
    }
    for _ in 0..3 {
        fields = element(fields)?.2;
    }
    let (_, validity, _) = element(fields)?;
    let (_, _, rest) = element(validity)?;
    let (tag, time, _) = element(rest)?;
    seconds(tag, std::str::from_utf8(time).ok()?)
}

/// The first element of DER: its tag, its content, and what is behind it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let count = usize::from(first & 0x7f);
        let (bytes, behind) = rest.split_at_checked(count).filter(|_| count <= 4)?;
        length = bytes.iter().fold(0, |sum, b| (sum << 8) | usize::from(*b));
        rest = behind;
    }
    let (content, behind) = rest.split_at_checked(length)?;
    Some((tag, content, behind))
}

/// `UTCTime` (`YYMMDDHHMMSSZ`) or `GeneralizedTime` (`YYYYMMDDHHMMSSZ`).
fn seconds(tag: u8, text: &str) -> Option<i64> {
    let number = |text: &str, at: usize| text.get(at..at + 2)?.parse::<i64>().ok();
    let (year, text) = match tag {
        0x17 => {
            let year = number(text, 0)?;
            // RFC 5280 section 4.1.2.5.1.
            (
                if year < 50 {
                    2_000 + year
                } else {
                    1_900 + year
                },
                text.get(2..)?,
            )
        }
        0x18 => (100 * number(text, 0)? + number(text, 2)?, text.get(4..)?),
        _ => return None,
    };
    let [month, day, hour, minute, second] = [0, 2, 4, 6, 8].map(|at| number(text, at));
    // Days since 1970 by the proleptic Gregorian calendar, years begun in March.
    let (month, day) = (month?, day?);
    let years = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (years.div_euclid(400), years.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * 86_400 + hour? * 3_600 + minute? * 60 + second?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds() {
        for (tag, text, expected) in [
            (0x17, "700101000000Z", Some(0)),
            (0x17, "491231235959Z", Some(2_524_607_999)),
            (0x17, "240229120000Z", Some(1_709_208_000)),
            (0x18, "20500101000000Z", Some(2_524_608_000)),
            (0x18, "99991231235959Z", Some(253_402_300_799)),
            (0x18, "2050", None),
            (0x02, "700101000000Z", None),
        ] {
            assert_eq!(seconds(tag, text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        for bytes in [
            &b""[..],
            &[0x30],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x30, 0x89, 1],
        ] {
            assert_eq!(not_after(bytes), None);
        }
    }

    #[test]
    fn a_certificate_says_for_whom_and_until_when() {
        let names = ["shop.example", "*.Wild.example", "127.0.0.1", "::1"];
        let mut params = rcgen::CertificateParams::new(names.map(String::from)).unwrap();
        params.not_after = rcgen::date_time_ymd(2051, 2, 3);
        let key = rcgen::KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        let certificate = Certificate::read("x", &der).unwrap();
        assert_eq!(certificate.expires, Some(2_558_995_200));
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
