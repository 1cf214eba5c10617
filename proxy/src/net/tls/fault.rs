//! What is wrong with a handshake, in our words.

use rustls::{AlertDescription, Error};

use crate::{
    error::{Cause, Failure},
    identity::{Refusal, Refused},
};

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
    if let Some(refused) = Refused::of_tls(error) {
        return certificate(refused.refusal, peer);
    }
    match (error, peer) {
        (
            Error::AlertReceived(AlertDescription::NoApplicationProtocol)
            | Error::NoApplicationProtocol,
            Role::Endpoint,
        ) => Failure::from(Cause::UpstreamAlpn),
        (Error::AlertReceived(alert), Role::Client) => {
            Failure::new(Cause::TlsHandshakeFailed, told(*alert))
        }
        (Error::AlertReceived(alert), Role::Endpoint) => {
            Failure::new(Cause::UpstreamTlsAlert, told(*alert))
        }
        (_, Role::Client) => Failure::new(Cause::TlsHandshakeFailed, amiss(error)),
        (_, Role::Endpoint) => Failure::new(Cause::UpstreamTlsFailed, amiss(error)),
    }
}

/// What is wrong with a peer's certificate.
fn certificate(refusal: Refusal, peer: Role) -> Failure {
    use Cause as C;
    let cause = match (refusal, peer) {
        (Refusal::Missing, Role::Client) => C::ClientCertificateMissing,
        (Refusal::Malformed | Refusal::BadChain, Role::Client) => C::ClientCertificateInvalid,
        (Refusal::Expired, Role::Client) => C::ClientCertificateExpired,
        (Refusal::NotYetValid, Role::Client) => C::ClientCertificateNotYetValid,
        (Refusal::UnknownCa, Role::Client) => C::ClientCertificateUnknownCa,
        (Refusal::WrongIdentity, Role::Client) => C::ClientCertificateWrongIdentity,
        (Refusal::WrongTrustDomain, Role::Client) => C::ClientCertificateWrongTrustDomain,
        (Refusal::Revoked, Role::Client) => C::ClientCertificateRevoked,
        (Refusal::WeakKey, Role::Client) => C::ClientCertificateWeakKey,
        (Refusal::Missing | Refusal::Malformed | Refusal::BadChain, Role::Endpoint) => {
            C::UpstreamCertificateInvalid
        }
        (Refusal::Expired, Role::Endpoint) => C::UpstreamCertificateExpired,
        (Refusal::NotYetValid, Role::Endpoint) => C::UpstreamCertificateNotYetValid,
        (Refusal::UnknownCa, Role::Endpoint) => C::UpstreamCertificateUnknownCa,
        (Refusal::WrongIdentity, Role::Endpoint) => C::UpstreamCertificateName,
        (Refusal::WrongTrustDomain, Role::Endpoint) => C::UpstreamCertificateWrongTrustDomain,
        (Refusal::Revoked, Role::Endpoint) => C::UpstreamCertificateRevoked,
        (Refusal::WeakKey, Role::Endpoint) => C::UpstreamCertificateWeakKey,
    };
    Failure::from(cause)
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
