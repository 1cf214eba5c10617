//! Why a certificate is not taken: one word for logs, metrics and answers, and for people what
//! exactly was wrong.

use std::{fmt, sync::Arc};

use rustls::{CertificateError, OtherError};
use webpki::Error as PathError;

/// What is wrong with a certificate that a peer showed, or that we were given to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Refusal {
    /// There is none.
    Missing,
    /// It cannot be read.
    Malformed,
    /// Its time has passed, or that of a certificate above it.
    Expired,
    /// Its time has not begun, or that of a certificate above it.
    NotYetValid,
    /// No root that is trusted for its trust domain leads to it.
    UnknownCa,
    /// It names no identity, several, or another one than was expected.
    WrongIdentity,
    /// It belongs to a trust domain that is not trusted here.
    WrongTrustDomain,
    /// Its issuer has taken it back, or a certificate above it.
    Revoked,
    /// Its key, or one above it, is too short or of a kind that is not taken.
    WeakKey,
    /// It may not be used for this, or its chain breaks a rule.
    BadChain,
}

impl Refusal {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 10] = [
        Self::Missing,
        Self::Malformed,
        Self::Expired,
        Self::NotYetValid,
        Self::UnknownCa,
        Self::WrongIdentity,
        Self::WrongTrustDomain,
        Self::Revoked,
        Self::WeakKey,
        Self::BadChain,
    ];

    /// The word of logs and metrics.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Missing => "certificate_missing",
            Self::Malformed => "certificate_malformed",
            Self::Expired => "certificate_expired",
            Self::NotYetValid => "certificate_not_yet_valid",
            Self::UnknownCa => "certificate_unknown_ca",
            Self::WrongIdentity => "certificate_wrong_identity",
            Self::WrongTrustDomain => "certificate_wrong_trust_domain",
            Self::Revoked => "certificate_revoked",
            Self::WeakKey => "certificate_weak_key",
            Self::BadChain => "certificate_bad_chain",
        }
    }

    /// With what exactly was wrong.
    pub(crate) fn because(self, detail: impl Into<String>) -> Refused {
        Refused {
            refusal: self,
            detail: detail.into(),
        }
    }
}

/// A refusal and its reason. The reason may hold names that the certificate holds, escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    pub(crate) detail: String,
}

impl Refused {
    /// What the validation of a path says.
    pub(super) fn by_path(error: &PathError) -> Self {
        #[allow(
            clippy::wildcard_enum_match_arm,
            reason = "the enum may grow; what is new is a rule that was broken"
        )]
        let refusal = match error {
            PathError::BadDer | PathError::BadDerTime | PathError::TrailingData(_) => {
                Refusal::Malformed
            }
            PathError::CertExpired { .. } => Refusal::Expired,
            PathError::CertNotValidYet { .. } => Refusal::NotYetValid,
            PathError::CertRevoked => Refusal::Revoked,
            // The issuer has the right name and another key: it is not the one that is trusted.
            PathError::UnknownIssuer | PathError::InvalidSignatureForPublicKey => {
                Refusal::UnknownCa
            }
            PathError::UnsupportedSignatureAlgorithmContext(_)
            | PathError::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Refusal::WeakKey,
            _ => Refusal::BadChain,
        };
        refusal.because(in_words(error).map_or_else(|| error.to_string(), Into::into))
    }

    /// As rustls takes it, so that the peer hears the alert that fits.
    pub(crate) fn into_tls(self) -> rustls::Error {
        let shared = || CertificateError::Other(OtherError(Arc::new(self.clone())));
        match self.refusal {
            Refusal::Missing => rustls::Error::NoCertificatesPresented,
            Refusal::Malformed => CertificateError::BadEncoding.into(),
            Refusal::Expired => CertificateError::Expired.into(),
            Refusal::NotYetValid => CertificateError::NotValidYet.into(),
            Refusal::UnknownCa => CertificateError::UnknownIssuer.into(),
            Refusal::Revoked => CertificateError::Revoked.into(),
            Refusal::WrongIdentity
            | Refusal::WrongTrustDomain
            | Refusal::WeakKey
            | Refusal::BadChain => shared().into(),
        }
    }

    /// What a failed handshake says of the peer's certificate; none if it failed for another
    /// reason. A refusal that came as a plain alert has no detail.
    pub(crate) fn of_tls(error: &rustls::Error) -> Option<Self> {
        let error = match error {
            rustls::Error::NoCertificatesPresented => return Some(Refusal::Missing.because("")),
            rustls::Error::InvalidCertificate(error) => error,
            _ => return None,
        };
        if let CertificateError::Other(OtherError(inner)) = error
            && let Some(refused) = inner.downcast_ref::<Self>()
        {
            return Some(refused.clone());
        }
        let refusal = match error {
            CertificateError::BadEncoding => Refusal::Malformed,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Refusal::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Refusal::NotYetValid
            }
            CertificateError::Revoked => Refusal::Revoked,
            CertificateError::UnknownIssuer => Refusal::UnknownCa,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Refusal::WrongIdentity
            }
            _ => Refusal::BadChain,
        };
        Some(refusal.because(""))
    }
}

/// For what happens; the rest is shown as the library names it.
fn in_words(error: &PathError) -> Option<&'static str> {
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "what is not said in words here is said in the library's"
    )]
    Some(match error {
        PathError::BadDer => "it is no certificate",
        PathError::CertExpired { .. } => "its time has ended, or that of one above it",
        PathError::CertNotValidYet { .. } => "its time has not begun, or that of one above it",
        PathError::CertRevoked => "its issuer took it back, or one above it",
        PathError::UnknownIssuer => "no root of its trust domain leads to it",
        PathError::InvalidSignatureForPublicKey => "its signature is not by the key above it",
        PathError::EndEntityUsedAsCa => "what signed it is no certificate authority",
        PathError::CaUsedAsEndEntity => "a certificate authority is no workload",
        PathError::RequiredEkuNotFoundContext(_) => "it may not be used for this side of TLS",
        PathError::NameConstraintViolation => "what signed it may not vouch for its name",
        PathError::PathLenConstraintViolated => "an authority above it may not have others below",
        PathError::InvalidCrlSignatureForPublicKey => {
            "a revocation list in its issuer's name is not signed by it"
        }
        _ => return None,
    })
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.refusal.word())?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn words_are_unique_tokens() {
        let words: HashSet<_> = Refusal::ALL.iter().map(|r| r.word()).collect();
        assert_eq!(words.len(), Refusal::ALL.len());
        let token = |word: &&str| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(words.iter().all(token));
    }

    #[test]
    fn every_refusal_survives_the_way_through_tls() {
        for refusal in Refusal::ALL {
            let error = refusal.because("x").into_tls();
            let back = Refused::of_tls(&error).unwrap();
            assert_eq!(back.refusal, refusal);
        }
        assert_eq!(Refused::of_tls(&rustls::Error::DecryptError), None);
    }
}
