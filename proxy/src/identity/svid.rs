//! What a certificate says of a workload: the rules of X.509-SVIDs, and what is remembered of a
//! peer.
//!
//! Nothing here trusts: whether roots lead to a certificate is for `verify`. This is read from the
//! certificate alone, so that it can be read again after a handshake that was resumed, where
//! nobody asks `verify`.

use std::{fmt, time::Duration};

use outrigger_config::model::SpiffeId;
use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, KeyUsage},
    oid_registry::{
        OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521,
        OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519, Oid,
    },
    prelude::FromDer as _,
    public_key::PublicKey,
    time::ASN1Time,
    x509::SubjectPublicKeyInfo,
};

use super::{
    life::Life,
    refusal::{Refusal, Refused},
};

/// Shortest RSA modulus in bits (NIST SP 800-57: 112 bits of strength).
const SHORTEST_RSA: usize = 2_048;
/// Longest, as signatures of longer ones are not taken either: they only cost time.
const LONGEST_RSA: usize = 8_192;

/// SHA-256 over a whole certificate.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint([u8; 32]);

/// What is remembered of a certificate that names a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) id: SpiffeId,
    /// Of this certificate. Those above it live longer, or a full handshake would have failed.
    pub(crate) life: Life,
    pub(crate) fingerprint: Fingerprint,
    /// Serial number in hexadecimal digits, as revocation lists and people name it.
    pub(crate) serial: Box<str>,
    /// Names in the certificate by which other protocols know the workload.
    pub(crate) dns_names: Box<[Box<str>]>,
}

/// What the chain of a connection says of the peer. To be asked after every handshake: rustls asks
/// no verifier where a session is resumed, and gives the chain of the first handshake back.
///
/// # Errors
/// The certificate is no X.509-SVID of a workload.
pub(crate) fn peer(chain: &[CertificateDer<'_>]) -> Result<Peer, Refused> {
    let leaf = chain
        .first()
        .ok_or_else(|| Refusal::Missing.because("no certificate was shown"))?;
    let parsed = parse(leaf)?;
    of_workload(leaf, &parsed)
}

impl Peer {
    /// Whether it is valid now and, where identities are expected, one of them. For a session that
    /// is resumed this is all that may have changed: tickets do not outlive the trust they were
    /// given under.
    pub(crate) fn admit(
        &self,
        expected: Option<&[SpiffeId]>,
        now: UnixTime,
    ) -> Result<(), Refused> {
        in_time(self.life, now)?;
        match expected {
            Some(expected) if !expected.contains(&self.id) => Err(unexpected(&self.id, expected)),
            _ => Ok(()),
        }
    }
}

pub(super) fn in_time(life: Life, now: UnixTime) -> Result<(), Refused> {
    // Dates and not spans: what is told again and again must not differ each time.
    if now < life.not_before {
        let why = format!("its time begins at {}", date(life.not_before));
        return Err(Refusal::NotYetValid.because(why));
    }
    if now > life.not_after {
        let why = format!("its time ended at {}", date(life.not_after));
        return Err(Refusal::Expired.because(why));
    }
    Ok(())
}

/// For people.
fn date(at: UnixTime) -> String {
    let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
    ASN1Time::from_timestamp(seconds).map_or_else(|_| format!("{seconds} s"), |at| at.to_string())
}

fn unexpected(id: &SpiffeId, expected: &[SpiffeId]) -> Refused {
    let more = match expected.len() {
        0 | 1 => String::new(),
        n => format!(" or {} others", n - 1),
    };
    let first = expected.first().map_or("nobody", SpiffeId::as_str);
    Refusal::WrongIdentity.because(format!("it is {id}, expected is {first}{more}"))
}

/// Reads a certificate that stands alone.
pub(super) fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Refused> {
    let malformed = |why: String| Refusal::Malformed.because(why);
    let (rest, parsed) =
        X509Certificate::from_der(der).map_err(|error| malformed(error.to_string()))?;
    if !rest.is_empty() {
        return Err(malformed("bytes follow the certificate".into()));
    }
    Ok(parsed)
}

/// The rules for a leaf (X509-SVID sections 2 to 5).
fn of_workload(der: &CertificateDer<'_>, cert: &X509Certificate<'_>) -> Result<Peer, Refused> {
    let bad = |why: &str| Refusal::BadChain.because(why);
    let (ids, dns_names) = names(cert)?;
    let id = match ids.as_slice() {
        [id] => id,
        [] => return Err(Refusal::WrongIdentity.because("it names no SPIFFE ID")),
        _ => return Err(Refusal::WrongIdentity.because("it names more than one URI")),
    };
    let id: SpiffeId = id.parse().map_err(|why| {
        let shown = id.escape_debug();
        Refusal::WrongIdentity.because(format!("\"{shown:.200}\" is no SPIFFE ID: {why}"))
    })?;
    if id.path().is_empty() {
        let why = format!("{id} is a trust domain and no workload");
        return Err(Refusal::WrongIdentity.because(why));
    }
    if is_authority(cert)? {
        return Err(bad("a certificate authority is no workload"));
    }
    let usage = key_usage(cert)?.ok_or_else(|| bad("it does not say what its key is for"))?;
    if !usage.digital_signature() {
        return Err(bad("its key may not sign a handshake"));
    }
    if usage.key_cert_sign() || usage.crl_sign() {
        return Err(bad("its key may sign certificates or revocation lists"));
    }
    strong(cert.public_key())?;
    Ok(Peer {
        id,
        life: life(cert)?,
        fingerprint: Fingerprint::of(der),
        serial: hex(cert.raw_serial()).into(),
        dns_names,
    })
}

/// The rules for what signs a workload's certificate, or another that does.
pub(super) fn of_authority(cert: &X509Certificate<'_>) -> Result<(), Refused> {
    let bad = |why: &str| Refusal::BadChain.because(why);
    if !is_authority(cert)? {
        return Err(bad("what signed it is no certificate authority"));
    }
    // RFC 5280 section 4.2.1.3: without the extension, the key may be used for everything.
    if key_usage(cert)?.is_some_and(|usage| !usage.key_cert_sign()) {
        return Err(bad("the key above it may not sign certificates"));
    }
    strong(cert.public_key())
}

/// URIs and DNS names of a certificate.
pub(super) type Names<'a> = (Vec<&'a str>, Box<[Box<str>]>);

/// A text that is no UTF-8 is malformed and not passed over.
pub(super) fn names<'a>(cert: &X509Certificate<'a>) -> Result<Names<'a>, Refused> {
    let found = cert
        .subject_alternative_name()
        .map_err(|error| Refusal::Malformed.because(error.to_string()))?;
    let (mut uris, mut dns_names) = (Vec::new(), Vec::new());
    for name in found.iter().flat_map(|found| &found.value.general_names) {
        match name {
            GeneralName::URI(uri) => uris.push(*uri),
            GeneralName::DNSName(name) => dns_names.push((*name).into()),
            GeneralName::Invalid(..) => {
                return Err(Refusal::Malformed.because("a name in it cannot be read"));
            }
            _ => {}
        }
    }
    Ok((uris, dns_names.into()))
}

/// Every URI in a certificate, for constraints on names.
pub(super) fn uris<'a>(cert: &X509Certificate<'a>) -> Result<Vec<&'a str>, Refused> {
    Ok(names(cert)?.0)
}

fn is_authority(cert: &X509Certificate<'_>) -> Result<bool, Refused> {
    let found = cert
        .basic_constraints()
        .map_err(|error| Refusal::Malformed.because(error.to_string()))?;
    Ok(found.is_some_and(|found| found.value.ca))
}

fn key_usage(cert: &X509Certificate<'_>) -> Result<Option<KeyUsage>, Refused> {
    let found = cert
        .key_usage()
        .map_err(|error| Refusal::Malformed.because(error.to_string()))?;
    Ok(found.map(|found| *found.value))
}

/// Whether a key is of a kind and length that is taken.
pub(super) fn strong(key: &SubjectPublicKeyInfo<'_>) -> Result<(), Refused> {
    let weak = |why: String| Err(Refusal::WeakKey.because(why));
    let kind = &key.algorithm.algorithm;
    if *kind == OID_SIG_ED25519 {
        return Ok(());
    }
    if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let parameters = key.algorithm.parameters.as_ref();
        let curve = parameters.and_then(|parameters| Oid::try_from(parameters.clone()).ok());
        return match curve {
            Some(c) if [OID_EC_P256, OID_NIST_EC_P384, OID_NIST_EC_P521].contains(&c) => Ok(()),
            Some(other) => weak(format!("a key on the curve {other} is not taken")),
            None => weak("a key on a curve without a name is not taken".into()),
        };
    }
    if *kind == OID_PKCS1_RSAENCRYPTION {
        return match key.parsed() {
            Ok(PublicKey::RSA(rsa)) if (SHORTEST_RSA..=LONGEST_RSA).contains(&rsa.key_size()) => {
                Ok(())
            }
            Ok(PublicKey::RSA(rsa)) => weak(format!("an RSA key of {} bits", rsa.key_size())),
            _ => Err(Refusal::Malformed.because("its RSA key cannot be read")),
        };
    }
    weak(format!("a key of the kind {kind} is not taken"))
}

/// From when to when a certificate is valid.
///
/// # Errors
/// It is none.
pub(crate) fn life_of(der: &CertificateDer<'_>) -> Result<Life, Refused> {
    life(&parse(der)?)
}

pub(super) fn life(cert: &X509Certificate<'_>) -> Result<Life, Refused> {
    // Nothing before 1970 is valid today; nothing that ends before it ever was.
    let seconds = |time: ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
    let at = |time| UnixTime::since_unix_epoch(Duration::from_secs(seconds(time)));
    let (not_before, not_after) = (
        at(cert.validity().not_before),
        at(cert.validity().not_after),
    );
    if not_after < not_before {
        return Err(Refusal::Malformed.because("its time ends before it begins"));
    }
    Ok(Life {
        not_before,
        not_after,
    })
}

impl Fingerprint {
    pub(super) fn of(der: &CertificateDer<'_>) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to a string does not fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}
