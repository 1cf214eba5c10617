//! Authorities and certificates made on the spot, for tests: right by default, and wrong in the
//! one way that a test asks for. Times are fixed, so that no clock decides.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, PublicKeyData, RevokedCertParams, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use time::OffsetDateTime;

use super::bundle::{Bundle, Trust};

/// The time at which tests ask.
pub(crate) const NOW: u64 = 1_800_000_000;
/// From a thousand seconds before it to a thousand after it certificates are valid.
pub(crate) const SPAN: u64 = 1_000;

pub(crate) fn now() -> UnixTime {
    at(NOW)
}

pub(crate) fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

pub(crate) fn date(seconds: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds.try_into().unwrap()).unwrap()
}

pub(crate) struct Ca {
    params: CertificateParams,
    pub(crate) key: KeyPair,
    pub(crate) der: CertificateDer<'static>,
}

/// A workload's certificate with its key.
pub(crate) struct Leaf {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) key: KeyPair,
}

pub(crate) fn uri(uri: &str) -> SanType {
    SanType::URI(uri.try_into().unwrap())
}

pub(crate) fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

/// An extension with name constraints on URIs.
pub(crate) fn constraints(permitted: &[(u8, &str)], excluded: &[(u8, &str)]) -> CustomExtension {
    let content = super::constraints::extension(permitted, excluded);
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 30], content);
    extension.set_criticality(true);
    extension
}

/// A public RSA key with a modulus of so many bits, of which nobody has the other half.
pub(crate) struct Rsa(Vec<u8>);

impl Rsa {
    pub(crate) fn new(bits: usize) -> Self {
        let bytes = bits / 8 + 1;
        let integer = [&[2, 0x82][..], &(bytes as u16).to_be_bytes(), &[0]].concat();
        let exponent = [2, 3, 1, 0, 1];
        let length = (integer.len() + bytes - 1 + exponent.len()) as u16;
        let mut der = [&[0x30, 0x82][..], &length.to_be_bytes(), &integer].concat();
        der.resize(der.len() + bytes - 1, 0xc1);
        der.extend_from_slice(&exponent);
        Self(der)
    }
}

impl PublicKeyData for Rsa {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date(NOW - SPAN);
    params.not_after = date(NOW + SPAN);
    params
}

fn authority(name: &str, edit: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    edit(&mut params);
    params
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        Self::with(name, |_| {})
    }

    pub(crate) fn with(name: &str, edit: impl FnOnce(&mut CertificateParams)) -> Self {
        let params = authority(name, edit);
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        Self { params, key, der }
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    /// An authority that this one vouches for.
    pub(crate) fn below(&self, name: &str, edit: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        self.below_with_key(name, &key, edit, &key)
    }

    /// The certificate is for one key, and what is signed below it is signed by another.
    pub(crate) fn below_with_key(
        &self,
        name: &str,
        shown: &impl PublicKeyData,
        edit: impl FnOnce(&mut CertificateParams),
        key: &KeyPair,
    ) -> Self {
        let params = authority(name, edit);
        let der = params
            .signed_by(shown, &self.issuer())
            .unwrap()
            .der()
            .clone();
        let key = KeyPair::from_pem(&key.serialize_pem()).unwrap();
        Self { params, key, der }
    }

    pub(crate) fn leaf(&self, id: &str) -> Leaf {
        self.leaf_with(id, |_| {})
    }

    pub(crate) fn leaf_with(&self, id: &str, edit: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let key = KeyPair::generate().unwrap();
        self.leaf_with_key(id, &key, edit, key_of(&key))
    }

    pub(crate) fn leaf_with_key(
        &self,
        id: &str,
        shown: &impl PublicKeyData,
        edit: impl FnOnce(&mut CertificateParams),
        key: KeyPair,
    ) -> Leaf {
        let mut params = named("workload");
        params.subject_alt_names = vec![uri(id)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        edit(&mut params);
        let der = params
            .signed_by(shown, &self.issuer())
            .unwrap()
            .der()
            .clone();
        Leaf { der, key }
    }

    /// A list of what this authority took back.
    pub(crate) fn list(&self, serials: &[u8], next: u64) -> CertificateRevocationListDer<'static> {
        let revoked = |serial: &u8| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[*serial]),
            revocation_time: date(NOW - SPAN),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date(NOW - SPAN),
            next_update: date(next),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer()).unwrap().der().clone()
    }
}

/// The same key once more: it cannot be cloned.
fn key_of(key: &KeyPair) -> KeyPair {
    KeyPair::from_pem(&key.serialize_pem()).unwrap()
}

/// Trust in a domain by some roots.
pub(crate) fn trusting(domain: &str, roots: &[&Ca]) -> Trust {
    let mut trust = Trust::default();
    let roots = roots.iter().map(|ca| ca.der.clone()).collect();
    let bundle = Bundle::new(roots).unwrap();
    trust.add(domain.parse().unwrap(), bundle);
    trust
}

pub(crate) fn pem(kind: &str, der: &[u8]) -> String {
    use base64ct::{Base64, Encoding as _};
    let text = Base64::encode_string(der);
    let mut out = format!("-----BEGIN {kind}-----\n");
    for line in text.as_bytes().chunks(64) {
        out.push_str(std::str::from_utf8(line).unwrap());
        out.push('\n');
    }
    out + &format!("-----END {kind}-----\n")
}
