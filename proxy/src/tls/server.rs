//! TLS that a listener ends: which certificate a client gets, and who clients are.

use std::{collections::HashMap, sync::Arc, time::Duration};

use outrigger_config::model::{self, ClientCertificates, Protocol, TlsVersion};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::Ticketer,
    pki_types::{CertificateDer, UnixTime},
    server::{
        ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert,
        WebPkiClientVerifier, danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
};

use super::{Certificate, Mesh, files::Reader, showable, verify, versions};
use crate::{
    error::{Cause, Failure},
    identity::{
        ClientVerifier, Life, Own, Peer, Refused, certified, element, life_of, peer, provider,
    },
    net::tls::{Role, failure},
};

/// A listener's TLS, ready for use.
pub(crate) struct ServerTls {
    /// In the order of the configuration; the first serves who asks for none of the others.
    served: Vec<Arc<Served>>,
    exact: HashMap<Box<str>, usize>,
    /// By what is behind the `*`.
    wildcards: HashMap<Box<str>, usize>,
    /// Who we are in the mesh, where it is what clients are of.
    own: Option<Arc<Own>>,
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
    pub(crate) certificate: Arc<Certificate>,
}

/// What a listener's TLS is made from: settings, and what was in its files.
#[derive(PartialEq)]
struct Source {
    settings: Settings,
    protocol: Protocol,
    files: u128,
    /// Of what clients are known by.
    trust: u128,
}

/// What a listener's TLS is for.
#[derive(PartialEq)]
enum Settings {
    Edge(model::ListenerTls),
    /// The mesh, with the time that a handshake may take.
    Mesh(Duration),
}

impl Settings {
    fn asks(&self) -> ClientCertificates {
        match self {
            Self::Edge(config) => config.client_certificates,
            Self::Mesh(_) => ClientCertificates::Required,
        }
    }
}

impl ServerTls {
    /// Of the mesh: shows who we are to whoever is believed. Keeps `previous` if that is the same.
    pub(super) fn of_mesh(
        listener: &model::Listener,
        mesh: &Mesh,
        previous: Option<&Arc<Self>>,
    ) -> Result<Option<Arc<Self>>, String> {
        let Some(identity) = &mesh.own else {
            return Ok(None);
        };
        let source = Source {
            settings: Settings::Mesh(listener.detect_timeout),
            protocol: listener.protocol,
            files: identity.digest,
            trust: mesh.trust_digest,
        };
        if let Some(previous) = previous.filter(|previous| previous.source == source) {
            return Ok(Some(Arc::clone(previous)));
        }
        let clients = Arc::new(ClientVerifier::new(Arc::clone(&mesh.trust)));
        let key = Arc::clone(&identity.own.certified);
        let keys = vec![(key, Arc::clone(&identity.certificate))];
        let mut built = Self::build(source, keys, Some(clients), previous)?;
        built.own = Some(Arc::clone(&identity.own));
        Ok(Some(Arc::new(built)))
    }

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
                Ok((key, certificate)) => keys.push((Arc::new(key), Arc::new(certificate))),
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
            settings: Settings::Edge(config.clone()),
            protocol,
            files,
            trust,
        };
        if let Some(previous) = previous.filter(|previous| previous.source == source) {
            return Some(Arc::clone(previous));
        }
        let built = roots
            .map(|roots| of_authorities(roots, config.client_certificates))
            .transpose()
            .and_then(|clients| Self::build(source, keys, clients, previous));
        match built {
            Ok(built) => Some(Arc::new(built)),
            Err(why) => {
                problems.push((String::new(), why));
                None
            }
        }
    }

    fn build(
        source: Source,
        keys: Vec<(Arc<CertifiedKey>, Arc<Certificate>)>,
        clients: Option<Arc<dyn ClientCertVerifier>>,
        previous: Option<&Arc<Self>>,
    ) -> Result<Self, String> {
        // A ticket says whose it is. One from before a change of whom is trusted is void.
        let same_trust = |old: &&Arc<Self>| {
            old.source.trust == source.trust && old.source.settings.asks() == source.settings.asks()
        };
        let tickets = match previous.filter(same_trust) {
            Some(old) => Arc::clone(&old.tickets),
            None => Ticketer::new().map_err(|error| error.to_string())?,
        };
        let (handshake_timeout, check_authority) = match &source.settings {
            Settings::Edge(config) => (config.handshake_timeout, config.check_authority),
            Settings::Mesh(timeout) => (*timeout, false),
        };
        let mut tls = Self {
            served: Vec::with_capacity(keys.len()),
            exact: HashMap::new(),
            wildcards: HashMap::new(),
            own: None,
            clients,
            handshake_timeout,
            check_authority,
            tickets,
            source,
        };
        for (key, certificate) in keys {
            tls.add(key, certificate)?;
        }
        Ok(tls)
    }

    fn add(&mut self, key: Arc<CertifiedKey>, certificate: Arc<Certificate>) -> Result<(), String> {
        let place = self.served.len();
        for host in certificate.names.hosts() {
            let (names, host) = match host.strip_prefix('*') {
                Some(suffix) => (&mut self.wildcards, suffix),
                None => (&mut self.exact, host),
            };
            names.entry(host.into()).or_insert(place);
        }
        let oldest = match &self.source.settings {
            Settings::Edge(config) => config.min_version,
            Settings::Mesh(_) => TlsVersion::V1_3,
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider()));
        let builder = builder
            .with_protocol_versions(versions(oldest))
            .map_err(|error| error.to_string())?;
        let builder = match &self.clients {
            Some(clients) => builder.with_client_cert_verifier(Arc::clone(clients)),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(Shown(key)));
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
        match (&self.source.settings, self.source.protocol) {
            (
                Settings::Edge(model::ListenerTls {
                    alpn: Some(names), ..
                }),
                _,
            ) => names.iter().map(|name| name.as_str().into()).collect(),
            (_, Protocol::Tcp) => Vec::new(),
            _ => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
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

    /// Whether we can show who we are, where clients must know.
    ///
    /// # Errors
    /// [`Cause::IdentityExpired`].
    pub(crate) fn check_own(&self) -> Result<(), Failure> {
        let own = self.served.first().filter(|_| self.is_of_mesh());
        own.map_or(Ok(()), |own| showable(&own.certificate))
    }

    /// What the chain that a client showed says of it. It was judged before.
    ///
    /// # Errors
    /// It is of the mesh and says nothing.
    pub(crate) fn known(&self, chain: &[CertificateDer<'static>]) -> Result<Known, Failure> {
        let invalid = |refused: Refused| failure(&refused.into_tls(), Role::Client);
        let Some(leaf) = chain.first() else {
            return Ok(Known::default());
        };
        let (own, peer) = match &self.own {
            Some(own) => (Some(&own.facts), Some(peer(chain).map_err(invalid)?)),
            None => (None, None),
        };
        let life = life_of(leaf).map_err(invalid)?;
        Ok(Known {
            element: Some(element(leaf, own.map(|own| &own.id))),
            lives: own.map(|own| own.life).into_iter().chain([life]).collect(),
            peer,
        })
    }

    /// The certificates, in the order of the configuration.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.served.iter().map(|served| &*served.certificate)
    }

    /// Whether clients are of the mesh, so that what they show is an identity.
    pub(crate) fn is_of_mesh(&self) -> bool {
        self.own.is_some()
    }
}

/// What is known of a client by what it showed.
#[derive(Default)]
pub(crate) struct Known {
    /// Who it is in the mesh.
    pub(crate) peer: Option<Peer>,
    /// What applications are told of it.
    pub(crate) element: Option<Box<str>>,
    /// How long what both sides showed is valid.
    pub(crate) lives: Vec<Life>,
}

/// A key that is shown to everybody.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Checks that clients come from some authorities.
fn of_authorities(
    roots: Arc<rustls::RootCertStore>,
    asked: ClientCertificates,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider()));
    if asked == ClientCertificates::Optional {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| error.to_string())
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
