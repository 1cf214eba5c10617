//! An authority for development: makes a root and certificates below it, for meshes that have no
//! other. Keys are P-256; a workload's certificate is short-lived and has one SPIFFE ID.
//!
//! The root carries no name constraints: the library that most rustls-based proxies validate with
//! refuses every URI under a constraint on URIs, and nobody here believes a root for more than its
//! own trust domain anyway.

use std::time::Duration;

use outrigger_config::model::{SpiffeId, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, UnixTime, pem::PemObject as _};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::{
    bundle::{Bundle, Trust},
    life::Life,
    svid,
    verify::{Role, chain},
};

/// Certificates begin a little earlier than they are made, those that live long: clocks differ.
const EARLIER: Duration = Duration::from_mins(1);

/// A certificate and its key, as PEM.
pub(crate) struct Made {
    pub(crate) certificate: String,
    pub(crate) key: Zeroizing<String>,
    pub(crate) life: Life,
}

/// A root that signs.
pub(crate) struct Authority {
    domain: TrustDomain,
    root: CertificateDer<'static>,
    life: Life,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new root for a trust domain.
    pub(crate) fn make(domain: &TrustDomain, ttl: Duration, now: UnixTime) -> Result<Made, String> {
        let life = life(ttl, now)?;
        let mut params = named(&format!("development authority of {domain}"), life)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![uri(&format!("spiffe://{domain}"))?];
        let key = KeyPair::generate().map_err(unexpected)?;
        let certificate = params.self_signed(&key).map_err(unexpected)?.pem();
        Ok(Made {
            certificate,
            key: Zeroizing::new(key.serialize_pem()),
            life,
        })
    }

    /// One that was made before.
    ///
    /// # Errors
    /// Certificate and key do not make an authority of a trust domain.
    pub(crate) fn load(certificate: &[u8], key: &str) -> Result<Self, String> {
        let root =
            CertificateDer::from_pem_slice(certificate).map_err(|error| error.to_string())?;
        let parsed = svid::parse(&root).map_err(|why| why.to_string())?;
        svid::of_authority(&parsed).map_err(|why| why.to_string())?;
        let life = svid::life(&parsed).map_err(|why| why.to_string())?;
        let names = svid::uris(&parsed).map_err(|why| why.to_string())?;
        let domain = match names.as_slice() {
            [name] => name.parse::<SpiffeId>().ok(),
            _ => None,
        };
        let domain = domain.filter(|id| id.path().is_empty());
        let domain =
            domain.ok_or("the certificate does not name the one trust domain it is for")?;
        let key = KeyPair::from_pem(key).map_err(|_| "the private key cannot be read")?;
        if parsed.public_key().subject_public_key.data.as_ref()
            != rcgen::PublicKeyData::der_bytes(&key)
        {
            return Err("the private key does not belong to the certificate".into());
        }
        let issuer = Issuer::from_ca_cert_der(&root, key).map_err(unexpected)?;
        Ok(Self {
            domain: domain.trust_domain().clone(),
            life,
            issuer,
            root: root.clone(),
        })
    }

    /// A certificate for a workload, with names for those who go by them. It ends with its
    /// authority, at the latest.
    pub(crate) fn issue(
        &self,
        id: &SpiffeId,
        dns_names: &[String],
        ttl: Duration,
        now: UnixTime,
    ) -> Result<Made, String> {
        if *id.trust_domain() != self.domain {
            return Err(format!(
                "this authority is for {}, and not for {id}",
                self.domain
            ));
        }
        let mut life = life(ttl, now)?;
        life.not_after = life.not_after.min(self.life.not_after);
        let mut params = named("workload", life)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        params.subject_alt_names = vec![uri(id.as_str())?];
        for name in dns_names {
            let name = name.as_str().try_into();
            let name = name.map_err(|_| "a DNS name is ASCII".to_owned())?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        let key = KeyPair::generate().map_err(unexpected)?;
        let made = params.signed_by(&key, &self.issuer).map_err(unexpected)?;
        self.check(made.der(), now)?;
        Ok(Made {
            certificate: made.pem(),
            key: Zeroizing::new(key.serialize_pem()),
            life,
        })
    }

    /// What peers would say of it. An authority that has ended is found here.
    fn check(&self, leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), String> {
        let mut trust = Trust::default();
        Bundle::new(vec![self.root.clone()])
            .map(|bundle| trust.add(self.domain.clone(), bundle))
            .and_then(|()| chain(&trust, Role::Client, leaf, &[], now))
            .and_then(|_| chain(&trust, Role::Server, leaf, &[], now))
            .map(|_| ())
            .map_err(|why| format!("nobody would take what this authority signs: {why}"))
    }
}

fn life(ttl: Duration, now: UnixTime) -> Result<Life, String> {
    if ttl.as_secs() == 0 {
        return Err("a certificate lives a second at least".into());
    }
    let end = now.as_secs().checked_add(ttl.as_secs());
    let end = end.ok_or("no certificate lives that long")?;
    Ok(Life {
        not_before: UnixTime::since_unix_epoch(Duration::from_secs(
            now.as_secs()
                .saturating_sub(EARLIER.min(ttl / 10).as_secs()),
        )),
        not_after: UnixTime::since_unix_epoch(Duration::from_secs(end)),
    })
}

fn named(name: &str, life: Life) -> Result<CertificateParams, String> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Outrigger");
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date(life.not_before)?;
    params.not_after = date(life.not_after)?;
    Ok(params)
}

fn date(at: UnixTime) -> Result<OffsetDateTime, String> {
    let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds)
        .map_err(|_| "no certificate lives that long".to_owned())
}

fn uri(uri: &str) -> Result<SanType, String> {
    uri.try_into().map(SanType::URI).map_err(unexpected)
}

#[allow(clippy::needless_pass_by_value, reason = "`map_err` hands it over")]
fn unexpected(error: rcgen::Error) -> String {
    format!("the certificate cannot be made: {error}")
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            own::Own,
            pem::KeyBytes,
            testing::{NOW, SPAN, at, now},
        },
        *,
    };

    const TTL: Duration = Duration::from_secs(SPAN);

    fn authority() -> Authority {
        let made = Authority::make(&"one.example".parse().unwrap(), TTL, now()).unwrap();
        Authority::load(made.certificate.as_bytes(), &made.key).unwrap()
    }

    fn issue(
        authority: &Authority,
        id: &str,
        ttl: Duration,
        now: UnixTime,
    ) -> Result<Made, String> {
        let names = ["web.local".to_owned()];
        authority.issue(&id.parse().unwrap(), &names, ttl, now)
    }

    #[test]
    fn what_it_issues_is_an_identity() {
        let made = issue(&authority(), "spiffe://one.example/web", TTL / 2, now()).unwrap();
        let key = KeyBytes::from_pem(made.key.as_bytes()).unwrap();
        let chain = CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap();
        let own = Own::new(&key, vec![chain], now()).unwrap();
        assert_eq!(own.facts.id.as_str(), "spiffe://one.example/web");
        assert_eq!(&*own.facts.dns_names, ["web.local".into()]);
        assert_eq!(own.facts.life, made.life);
        assert_eq!(made.life.not_after, at(NOW + SPAN / 2));
    }

    #[test]
    fn nothing_outlives_its_authority() {
        let authority = authority();
        let made = issue(&authority, "spiffe://one.example/web", TTL * 2, now()).unwrap();
        assert_eq!(made.life.not_after, at(NOW + SPAN));
        let late = issue(
            &authority,
            "spiffe://one.example/web",
            TTL,
            at(NOW + SPAN + 1),
        );
        assert!(late.is_err_and(|why| why.contains("certificate_expired")));
    }

    #[test]
    fn what_it_does_not_issue() {
        let authority = authority();
        for (id, why) in [
            ("spiffe://two.example/web", "is for one.example"),
            ("spiffe://one.example", "is a trust domain"),
        ] {
            let error = issue(&authority, id, TTL, now()).err().unwrap();
            assert!(error.contains(why), "{error}");
        }
        let error = issue(
            &authority,
            "spiffe://one.example/web",
            Duration::ZERO,
            now(),
        );
        assert!(error.is_err());
        let forever = Duration::from_secs(u64::MAX / 2);
        assert!(Authority::make(&"d".parse().unwrap(), forever, now()).is_err());
    }

    #[test]
    fn what_is_no_authority() {
        let domain: TrustDomain = "one.example".parse().unwrap();
        let one = Authority::make(&domain, TTL, now()).unwrap();
        let other = Authority::make(&domain, TTL, now()).unwrap();
        let leaf = issue(&authority(), "spiffe://one.example/web", TTL, now()).unwrap();
        for (certificate, key, why) in [
            (&one.certificate, &other.key, "does not belong"),
            (&leaf.certificate, &leaf.key, "no certificate authority"),
            (
                &one.certificate,
                &Zeroizing::new(String::new()),
                "cannot be read",
            ),
            (&String::new(), &one.key, ""),
        ] {
            let error = Authority::load(certificate.as_bytes(), key).err().unwrap();
            assert!(error.contains(why), "{error}");
        }
    }
}
