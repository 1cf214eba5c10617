//! Whether a peer is who it has to be: the verifiers that rustls asks in a handshake.
//!
//! Identity is taken from the SPIFFE ID alone. Names of hosts play no part, and so the name that a
//! client asks for does not either. An ID is believed if roots of its own trust domain vouch for
//! it: a root of another domain that is trusted, too, does not count.
//!
//! rustls asks none of this where a session is resumed: see [`super::svid::peer`].

use std::{cell::RefCell, sync::Arc};

use outrigger_config::model::SpiffeId;
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use webpki::{
    EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth, RevocationOptionsBuilder,
    UnknownStatusPolicy, VerifiedPath,
};

use super::{
    bundle::{Bundle, Root, Trust},
    refusal::{Refusal, Refused},
    svid::{self, Peer},
};

/// Most certificates in a chain, the workload's included. A mesh has two or three.
pub(crate) const LONGEST_CHAIN: usize = 10;

/// What the peer is in this handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Client,
    Server,
}

/// Judges a chain in full.
///
/// # Errors
/// The first thing that is wrong with it.
pub(crate) fn chain(
    trust: &Trust,
    role: Role,
    leaf: &CertificateDer<'_>,
    between: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<Peer, Refused> {
    if between.len() >= LONGEST_CHAIN {
        let why = format!("more than {LONGEST_CHAIN} certificates");
        return Err(Refusal::BadChain.because(why));
    }
    let peer = svid::peer(std::slice::from_ref(leaf))?;
    let domain = peer.id.trust_domain();
    let bundle = trust.bundle(domain).ok_or_else(|| {
        Refusal::WrongTrustDomain.because(format!("{domain} is not trusted here"))
    })?;
    let end = EndEntityCert::try_from(leaf).map_err(|error| Refused::by_path(&error))?;
    // There is a root, or there would be no bundle.
    let mut refused = Refusal::UnknownCa.because(format!("no root is known for {domain}"));
    for root in &bundle.roots {
        match below(bundle, root, role, &end, between, now) {
            Ok(()) => return Ok(peer),
            // What is wrong under the right root says more than that others are not it.
            Err(why) if refused.refusal == Refusal::UnknownCa => refused = why,
            Err(_) => {}
        }
    }
    if refused.refusal == Refusal::UnknownCa {
        // A signature by a key that is too short is one that cannot be checked.
        for cert in between {
            svid::strong(svid::parse(cert)?.public_key())?;
        }
    }
    Err(refused)
}

/// Looks for a path from a root to the leaf that breaks no rule.
fn below(
    bundle: &Bundle,
    root: &Root,
    role: Role,
    end: &EndEntityCert<'_>,
    between: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<(), Refused> {
    let lists = bundle.lists(root);
    let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
        options
            .with_depth(RevocationCheckDepth::Chain)
            // Where an authority has no list, nothing was taken back.
            .with_status_policy(UnknownStatusPolicy::Allow)
            .with_expiration_policy(ExpirationPolicy::Ignore)
            .build()
    });
    let usage = match role {
        Role::Client => KeyUsage::client_auth(),
        Role::Server => KeyUsage::server_auth(),
    };
    // The library knows no reasons but its own.
    let reason = RefCell::new(None);
    let judge = |path: &VerifiedPath<'_>| {
        further(root, path, now).map_err(|why| {
            *reason.borrow_mut() = Some(why);
            webpki::Error::UnknownIssuer
        })
    };
    let algorithms = algorithms();
    let found = end.verify_for_usage(
        algorithms.all,
        &root.anchor,
        between,
        now,
        usage,
        revocation,
        Some(&judge),
    );
    match found {
        Ok(_) => Ok(()),
        Err(error) => Err(reason.take().unwrap_or_else(|| Refused::by_path(&error))),
    }
}

/// What the library does not look at: the life of a root, what keys in between are for, and URIs
/// under constraints.
fn further(root: &Root, path: &VerifiedPath<'_>, now: UnixTime) -> Result<(), Refused> {
    svid::in_time(root.life, now).map_err(|why| Refused {
        detail: format!("its root: {}", why.detail),
        ..why
    })?;
    let hosts = |der: &CertificateDer<'_>, is_authority: bool| {
        let cert = svid::parse(der)?;
        if is_authority {
            svid::of_authority(&cert)?;
        }
        let stray = svid::uris(&cert)?
            .into_iter()
            .find(|uri| !root.hosts.allow(uri));
        stray.map_or(Ok(()), |uri| {
            let shown = uri.escape_debug();
            Err(Refusal::BadChain.because(format!("its root may not vouch for {shown:.200}")))
        })
    };
    hosts(&path.end_entity().der(), false)?;
    path.intermediate_certificates()
        .try_for_each(|cert| hosts(&cert.der(), true))
}

/// Algorithms of signatures that are taken; none with SHA-1 or short RSA keys is among them.
fn algorithms() -> WebPkiSupportedAlgorithms {
    super::provider().signature_verification_algorithms
}

/// Of a server that we connect to: it must be one of those we meant.
#[derive(Debug)]
pub(crate) struct ServerVerifier {
    trust: Arc<Trust>,
    expected: Arc<[SpiffeId]>,
}

/// Of clients that connect to us: any identity that is trusted, and nobody without one. Who of them
/// may do what is for policy to say.
#[derive(Debug)]
pub(crate) struct ClientVerifier {
    trust: Arc<Trust>,
}

impl ServerVerifier {
    /// Takes one of `expected` and nobody else; if that is empty, nobody.
    pub(crate) fn new(trust: Arc<Trust>, expected: Arc<[SpiffeId]>) -> Self {
        Self { trust, expected }
    }
}

impl ClientVerifier {
    pub(crate) fn new(trust: Arc<Trust>) -> Self {
        Self { trust }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        chain(&self.trust, Role::Server, leaf, between, now)
            .and_then(|peer| peer.admit(Some(&self.expected), now))
            .map(|()| ServerCertVerified::assertion())
            .map_err(Refused::into_tls)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        true
    }

    /// None: a workload has one identity, and names of roots would only make the handshake longer.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        chain(&self.trust, Role::Client, leaf, between, now)
            .map(|_| ClientCertVerified::assertion())
            .map_err(Refused::into_tls)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

#[cfg(test)]
mod tests;
