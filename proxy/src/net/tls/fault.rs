//! What is wrong with a handshake, in our words.

use rustls::{AlertDescription, CertificateError, Error};

use crate::error::{Cause, Failure};

/// Whom we shake hands with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A client: we are its server.
    Client,
    /// An endpoint of a cluster.
    Endpoint,
}

/// What to call an error of rustls, by whom the peer is.
pub(crate) fn failure(error: &Error, peer: Role) -> Failure {
    match peer {
        Role::Client => with_client(error),
        Role::Endpoint => with_endpoint(error),
    }
}

fn with_client(error: &Error) -> Failure {
    match error {
        Error::NoCertificatesPresented => Failure::from(Cause::ClientCertificateMissing),
        Error::InvalidCertificate(why) => {
            let cause = match why {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    Cause::ClientCertificateExpired
                }
                _ => Cause::ClientCertificateInvalid,
            };
            Failure::new(cause, wrong(why))
        }
        Error::AlertReceived(alert) => Failure::new(Cause::TlsHandshakeFailed, told(*alert)),
        _ => Failure::new(Cause::TlsHandshakeFailed, amiss(error)),
    }
}

fn with_endpoint(error: &Error) -> Failure {
    match error {
        Error::InvalidCertificate(why) => {
            let cause = match why {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    Cause::UpstreamCertificateExpired
                }
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Cause::UpstreamCertificateName,
                _ => Cause::UpstreamCertificateInvalid,
            };
            Failure::new(cause, wrong(why))
        }
        Error::NoCertificatesPresented => Failure::from(Cause::UpstreamCertificateInvalid),
        Error::AlertReceived(AlertDescription::NoApplicationProtocol)
        | Error::NoApplicationProtocol => Failure::from(Cause::UpstreamAlpn),
        Error::AlertReceived(alert) => Failure::new(Cause::UpstreamTlsAlert, told(*alert)),
        _ => Failure::new(Cause::UpstreamTlsFailed, amiss(error)),
    }
}

/// What is wrong with a certificate.
fn wrong(why: &CertificateError) -> &'static str {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet"
        }
        CertificateError::UnknownIssuer => "nobody who is trusted has issued it",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name"
        }
        CertificateError::Revoked => "it was revoked",
        CertificateError::BadSignature => "its signature is wrong",
        CertificateError::BadEncoding => "it cannot be read",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is for another use"
        }
        _ => "it is not acceptable",
    }
}

/// What the peer told us.
fn told(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::UnknownCA => "the peer does not know who issued our certificate",
        AlertDescription::BadCertificate => "the peer refuses our certificate",
        AlertDescription::CertificateExpired => "to the peer our certificate has expired",
        AlertDescription::CertificateUnknown => "the peer does not accept our certificate",
        AlertDescription::CertificateRequired => "the peer wants a certificate of ours",
        AlertDescription::ProtocolVersion => "the peer speaks none of our versions",
        AlertDescription::HandshakeFailure => "the peer found nothing in common",
        AlertDescription::UnrecognisedName => "the peer does not have that name",
        AlertDescription::UserCanceled => "the peer gave up",
        _ => "an alert of the peer",
    }
}

/// Anything else.
fn amiss(error: &Error) -> &'static str {
    use rustls::PeerIncompatible as Lacks;
    match error {
        Error::PeerIncompatible(
            Lacks::Tls12NotOffered
            | Lacks::Tls12NotOfferedOrEnabled
            | Lacks::Tls13RequiredForQuic
            | Lacks::ServerDoesNotSupportTls12Or13
            | Lacks::ServerTlsVersionIsDisabledByOurConfig
            | Lacks::SupportedVersionsExtensionRequired,
        ) => "no version in common",
        Error::PeerIncompatible(Lacks::NoCipherSuitesInCommon) => "no cipher suite in common",
        Error::PeerIncompatible(Lacks::NoKxGroupsInCommon) => "no key exchange in common",
        Error::PeerIncompatible(_) => "too little in common",
        Error::NoApplicationProtocol => "no protocol in common",
        Error::PeerMisbehaved(_) => "the peer broke the rules",
        Error::InvalidMessage(_) => "not TLS, or malformed",
        Error::DecryptError => "a record that cannot be decrypted",
        Error::PeerSentOversizedRecord => "a record that is too large",
        _ => "TLS failed",
    }
}
