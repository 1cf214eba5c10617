//! Who may vouch for others, and whether an endpoint is who it is meant to be.

use std::sync::Arc;

use outrigger_config::model::{Text, Verify};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use webpki::EndEntityCert;

use super::files::Reader;
use crate::identity::provider;

/// The authorities in some files; an error has the number of the file.
pub(super) fn roots(
    files: &[Text],
    reader: &mut Reader,
) -> Result<Arc<RootCertStore>, (usize, String)> {
    let mut store = RootCertStore::empty();
    for (index, file) in files.iter().enumerate() {
        let path = file.as_str();
        let all = reader.certificates(path).map_err(|why| (index, why))?;
        for certificate in all {
            store
                .add(certificate)
                .map_err(|_| (index, format!("{path}: a certificate that cannot be read")))?;
        }
    }
    Ok(Arc::new(store))
}

/// Those that the system trusts.
pub(super) fn system_roots(reader: &mut Reader) -> Result<Arc<RootCertStore>, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    for certificate in found.certs {
        reader.digest(&certificate);
        // Systems keep some that nobody can read any more.
        let _ = store.add(certificate);
    }
    if store.is_empty() {
        let why = found.errors.first().map(|error| format!(": {error}"));
        return Err(format!(
            "the system has no certificates of authorities{}",
            why.unwrap_or_default()
        ));
    }
    Ok(Arc::new(store))
}

/// Checks endpoints' certificates.
#[derive(Debug)]
pub(super) struct Endpoints {
    roots: Arc<RootCertStore>,
    webpki: Arc<WebPkiServerVerifier>,
    expected: Expected,
}

/// For whom the certificate must be.
#[derive(Debug)]
enum Expected {
    /// Whom we asked for.
    Asked,
    Host(ServerName<'static>),
    /// One of these, exactly.
    Names(Vec<Box<str>>),
}

impl Endpoints {
    pub(super) fn new(roots: Arc<RootCertStore>, verify: Option<&Verify>) -> Result<Self, String> {
        let builder =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider()));
        let expected = match verify {
            None => Expected::Asked,
            Some(Verify::Hostname(host)) => {
                let name = ServerName::try_from(host.as_str().to_owned());
                Expected::Host(name.map_err(|error| error.to_string())?)
            }
            Some(Verify::San(names)) => {
                Expected::Names(names.iter().map(|name| name.as_str().into()).collect())
            }
        };
        Ok(Self {
            webpki: builder.build().map_err(|error| error.to_string())?,
            roots,
            expected,
        })
    }
}

impl ServerCertVerifier for Endpoints {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        behind: &[CertificateDer<'_>],
        asked: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let names = match &self.expected {
            Expected::Asked => {
                return self
                    .webpki
                    .verify_server_cert(own, behind, asked, ocsp, now);
            }
            Expected::Host(host) => {
                return self.webpki.verify_server_cert(own, behind, host, ocsp, now);
            }
            Expected::Names(names) => names,
        };
        let algorithms = provider().signature_verification_algorithms.all;
        let parsed = ParsedCertificate::try_from(own)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, behind, now, algorithms)?;
        let parsed = EndEntityCert::try_from(own)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let is_wanted = |name: &str| {
            parsed
                .valid_dns_names()
                .any(|own| own.eq_ignore_ascii_case(name))
                || parsed.valid_uri_names().any(|own| own == name)
        };
        if names.iter().any(|name| is_wanted(name)) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::NotValidForName))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, own, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, own, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}
