//! TLS that a listener ends: which certificate a client gets, and who clients are.

use std::{collections::HashMap, sync::Arc, time::Duration};

use outrigger_config::model::{self, ClientCertificates, Protocol};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::Ticketer,
    pki_types::{CertificateDer, UnixTime},
    server::{
        NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier, danger::ClientCertVerifier,
    },
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::{Certificate, files::Reader, verify, versions};
use crate::{
    error::{Cause, Failure},
    identity::{certified, provider},
    net::tls::{Role, failure},
};

/// A listener's TLS, ready for use.
pub(crate) struct ServerTls {
    /// In the order of the configuration; the first serves who asks for none of the others.
    served: Vec<Arc<Served>>,
    exact: HashMap<Box<str>, usize>,
    /// By what is behind the `*`.
    wildcards: HashMap<Box<str>, usize>,
    /// Checks clients' certificates; `None`: nobody is asked.
    clients: Option<Arc<dyn ClientCertVerifier>>,
    pub(crate) handshake_timeout: Duration,
    pub(crate) check_authority: bool,
    tickets: Arc<dyn ProducesTickets>,
    /// What it was made from.
    source: Source,
}

/// A certificate, and how it is served.
pub(crate) struct Served {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) certificate: Certificate,
}

/// What a listener's TLS is made from: settings, and what was in its files.
#[derive(PartialEq)]
struct Source {
    config: model::ListenerTls,
    protocol: Protocol,
    files: u128,
    /// Of what clients are known by.
    trust: u128,
}

impl ServerTls {
    /// Reads its files. Keeps `previous` if that is the same. Problems are `(place, what)`.
    pub(super) fn read(
        config: &model::ListenerTls,
        protocol: Protocol,
        previous: Option<&Arc<Self>>,
        reader: &mut Reader,
        problems: &mut Vec<(String, String)>,
    ) -> Option<Arc<Self>> {
        let before = problems.len();
        let mut keys = Vec::new();
        for (index, each) in config.certificates.iter().enumerate() {
            let mut note = |field: &str, why: String| {
                problems.push((format!("certificates[{index}].{field}"), why));
            };
            match pair(each, reader) {
                Ok(pair) => keys.push(pair),
                Err((field, why)) => note(field, why),
            }
        }
        let files = reader.take_digest();
        let asked = config.client_certificates != ClientCertificates::Off;
        let roots = asked.then(|| verify::roots(&config.client_ca, reader));
        let trust = reader.take_digest();
        let roots = match roots.transpose() {
            Ok(roots) => roots,
            Err((index, why)) => {
                problems.push((format!("client_ca[{index}]"), why));
                None
            }
        };
        if problems.len() > before {
            return None;
        }
        let source = Source {
            config: config.clone(),
            protocol,
            files,
            trust,
        };
        if let Some(previous) = previous.filter(|previous| previous.source == source) {
            return Some(Arc::clone(previous));
        }
        match Self::build(source, keys, roots, previous) {
            Ok(built) => Some(Arc::new(built)),
            Err(why) => {
                problems.push((String::new(), why));
                None
            }
        }
    }

    fn build(
        source: Source,
        keys: Vec<(CertifiedKey, Certificate)>,
        roots: Option<Arc<rustls::RootCertStore>>,
        previous: Option<&Arc<Self>>,
    ) -> Result<Self, String> {
        let clients = match roots {
            None => None,
            Some(roots) => {
                let mut builder =
                    WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider()));
                if source.config.client_certificates == ClientCertificates::Optional {
                    builder = builder.allow_unauthenticated();
                }
                Some(builder.build().map_err(|error| error.to_string())?)
            }
        };
        // A ticket says whose it is. One from before a change of whom is trusted is void.
        let same_trust = |old: &&Arc<Self>| {
            old.source.trust == source.trust
                && old.source.config.client_certificates == source.config.client_certificates
        };
        let tickets = match previous.filter(same_trust) {
            Some(old) => Arc::clone(&old.tickets),
            None => Ticketer::new().map_err(|error| error.to_string())?,
        };
        let mut tls = Self {
            served: Vec::with_capacity(keys.len()),
            exact: HashMap::new(),
            wildcards: HashMap::new(),
            clients,
            handshake_timeout: source.config.handshake_timeout,
            check_authority: source.config.check_authority,
            tickets,
            source,
        };
        for (key, certificate) in keys {
            tls.add(key, certificate)?;
        }
        Ok(tls)
    }

    fn add(&mut self, key: CertifiedKey, certificate: Certificate) -> Result<(), String> {
        let place = self.served.len();
        for host in certificate.names.hosts() {
            let (names, host) = match host.strip_prefix('*') {
                Some(suffix) => (&mut self.wildcards, suffix),
                None => (&mut self.exact, host),
            };
            names.entry(host.into()).or_insert(place);
        }
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider()));
        let builder = builder
            .with_protocol_versions(versions(self.source.config.min_version))
            .map_err(|error| error.to_string())?;
        let builder = match &self.clients {
            Some(clients) => builder.with_client_cert_verifier(Arc::clone(clients)),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        config.alpn_protocols = self.offered();
        // Ours has the cheapest first, and all are as good as each other.
        config.ignore_client_order = true;
        config.ticketer = Arc::clone(&self.tickets);
        // What is in a ticket needs no memory here, and no lock.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // Whoever replays early data repeats a request.
        config.max_early_data_size = 0;
        self.served.push(Arc::new(Served {
            config: Arc::new(config),
            certificate,
        }));
        Ok(())
    }

    /// Protocols, preferred first.
    fn offered(&self) -> Vec<Vec<u8>> {
        match (&self.source.config.alpn, self.source.protocol) {
            (Some(names), _) => names.iter().map(|name| name.as_str().into()).collect(),
            (None, Protocol::Tcp) => Vec::new(),
            (None, _) => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        }
    }

    /// What a client gets that asks for this name (in lower case) or for none.
    pub(crate) fn choose(&self, name: Option<&[u8]>) -> Option<&Arc<Served>> {
        let named = name.and_then(|name| {
            let name = std::str::from_utf8(name).ok()?;
            let suffix = || name.find('.').and_then(|at| name.get(at..));
            let wildcard = || suffix().and_then(|suffix| self.wildcards.get(suffix));
            self.exact.get(name).or_else(wildcard)
        });
        self.served.get(named.copied().unwrap_or(0))
    }

    /// Looks again at who a resumed session says the client is: rustls does so only when it sees
    /// the certificate itself.
    pub(crate) fn recheck(&self, chain: &[CertificateDer<'static>]) -> Result<(), Failure> {
        let Some(clients) = &self.clients else {
            return Ok(());
        };
        let Some((own, behind)) = chain.split_first() else {
            return if clients.client_auth_mandatory() {
                Err(Failure::from(Cause::ClientCertificateMissing))
            } else {
                Ok(())
            };
        };
        let checked = clients.verify_client_cert(own, behind, UnixTime::now());
        checked
            .map(drop)
            .map_err(|error| failure(&error, Role::Client))
    }

    /// The certificates, in the order of the configuration.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.served.iter().map(|served| &served.certificate)
    }
}

/// A certificate with its key, that fit each other. An error names the field.
fn pair(
    config: &model::Certificate,
    reader: &mut Reader,
) -> Result<(CertifiedKey, Certificate), (&'static str, String)> {
    let chain = reader
        .certificates(config.cert.as_str())
        .map_err(|why| ("cert", why))?;
    let first = chain.first().cloned().unwrap_or_else(|| Vec::new().into());
    let certificate =
        Certificate::read(config.cert.as_str(), &first).map_err(|why| ("cert", why))?;
    let mut key = key_for(chain, config.key.as_str(), reader)?;
    if let Some(ocsp) = &config.ocsp {
        let response = reader.bytes(ocsp.as_str()).map_err(|why| ("ocsp", why))?;
        // A response is a sequence (RFC 6960 section 4.2.1), as DER and not as PEM.
        if response.first() != Some(&0x30) {
            let why = format!("{}: no OCSP response (DER is expected)", ocsp.as_str());
            return Err(("ocsp", why));
        }
        key.ocsp = Some(response.to_vec());
    }
    Ok((key, certificate))
}

/// The key of a chain, seen to fit it.
pub(super) fn key_for(
    chain: Vec<CertificateDer<'static>>,
    key: &str,
    reader: &mut Reader,
) -> Result<CertifiedKey, (&'static str, String)> {
    let bytes = reader.key(key).map_err(|why| ("key", why))?;
    certified(chain, &bytes).map_err(|why| ("key", format!("{key}: {why}")))
}
