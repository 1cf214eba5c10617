//! TLS towards the endpoints of a cluster: what they are asked for, and what they must show.

use std::{net::Ipv4Addr, sync::Arc};

use outrigger_config::model::{self, Authorities, SpiffeId, TlsVersion, Verify};
use rustls::{
    ClientConfig, SignatureScheme,
    client::{ResolvesClientCert, Resumption, danger::ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::CertifiedKey,
};

use super::{
    Certificate, Mesh,
    files::Reader,
    server::key_for,
    showable,
    verify::{self, Endpoints},
    versions,
};
use crate::{
    error::{Cause, Failure},
    identity::{Life, ServerVerifier, life_of, provider},
    net::{
        address::Address,
        tls::{Alpn, Facts, Role, failure},
    },
};

/// Names whose sessions are kept for resumption.
/// Why: rustls' own number; an endpoint or its host is one.
const SESSIONS: usize = 256;

/// A cluster's TLS, ready for use.
pub(crate) struct ClientTls {
    pub(crate) config: Arc<ClientConfig>,
    verifier: Arc<dyn ServerCertVerifier>,
    /// Whom we ask for; `None`: each endpoint by its address.
    name: Option<ServerName<'static>>,
    /// What we show.
    own: Option<Arc<Certificate>>,
    source: Source,
}

/// What it is made from.
#[derive(PartialEq)]
enum Source {
    Servers {
        config: model::ClusterTls,
        host: Option<String>,
        files: u128,
    },
    Mesh {
        identities: Vec<SpiffeId>,
        own: u128,
        trust: u128,
    },
}

/// What an endpoint may choose to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Bytes that are not ours to understand.
    Nothing,
    Http1,
    Http2,
    Either,
}

impl Offer {
    /// For ALPN, preferred first.
    pub(crate) fn protocols(self) -> Vec<Vec<u8>> {
        let (h1, h2) = (b"http/1.1".to_vec(), b"h2".to_vec());
        match self {
            Self::Nothing => Vec::new(),
            Self::Http1 => vec![h1],
            Self::Http2 => vec![h2],
            Self::Either => vec![h2, h1],
        }
    }

    /// Whether the answer will do. Who says nothing speaks HTTP/1.1.
    pub(crate) fn is_met(self, facts: &Facts) -> bool {
        match self {
            Self::Http2 => facts.alpn == Alpn::Http2,
            Self::Http1 | Self::Nothing => facts.alpn != Alpn::Http2,
            Self::Either => true,
        }
    }
}

impl ClientTls {
    /// To endpoints that are of the mesh. Keeps `previous` if that is the same.
    pub(super) fn of_mesh(
        identities: &[SpiffeId],
        mesh: &Mesh,
        previous: Option<&Arc<Self>>,
    ) -> Result<Option<Arc<Self>>, String> {
        let Some(identity) = &mesh.own else {
            return Ok(None);
        };
        let source = Source::Mesh {
            identities: identities.to_vec(),
            own: identity.digest,
            trust: mesh.trust_digest,
        };
        if let Some(previous) = previous.filter(|previous| previous.source == source) {
            return Ok(Some(Arc::clone(previous)));
        }
        let verifier = ServerVerifier::new(Arc::clone(&mesh.trust), identities.into());
        let verifier = Arc::new(verifier) as Arc<dyn ServerCertVerifier>;
        let key = Some(Arc::clone(&identity.own.certified));
        let mut client = configure(TlsVersion::V1_3, &verifier, key)?;
        // Names of hosts play no part.
        client.enable_sni = false;
        Ok(Some(Arc::new(Self {
            config: Arc::new(client),
            verifier,
            name: None,
            own: Some(Arc::clone(&identity.certificate)),
            source,
        })))
    }

    /// Reads its files. Keeps `previous` if that is the same. Problems are `(place, what)`.
    pub(super) fn read(
        cluster: &model::Cluster,
        config: &model::ClusterTls,
        previous: Option<&Arc<Self>>,
        reader: &mut Reader,
        problems: &mut Vec<(String, String)>,
    ) -> Option<Arc<Self>> {
        let before = problems.len();
        let roots = match &config.ca {
            Authorities::System(_) => {
                verify::system_roots(reader).map_err(|why| ("ca".to_owned(), why))
            }
            Authorities::Files(files) => verify::roots(files, reader)
                .map_err(|(index, why)| (format!("ca.files[{index}]"), why)),
        };
        let own = config.client_certificate.as_ref().map(|own| {
            let (cert, key) = (own.cert.as_str(), own.key.as_str());
            let place = |(field, why)| (format!("client_certificate.{field}"), why);
            let chain = reader
                .certificates(cert)
                .map_err(|why| place(("cert", why)))?;
            let first = chain.first().cloned().unwrap_or_else(|| Vec::new().into());
            let certificate =
                Certificate::read(cert, &first).map_err(|why| place(("cert", why)))?;
            let key = key_for(chain, key, reader).map_err(place)?;
            Ok((key, certificate))
        });
        let files = reader.take_digest();
        let (roots, own) = match (roots, own.transpose()) {
            (Ok(roots), Ok(own)) => (roots, own),
            (roots, own) => {
                problems.extend(roots.err());
                problems.extend(own.err());
                return None;
            }
        };
        debug_assert_eq!(problems.len(), before);
        let source = Source::Servers {
            config: config.clone(),
            host: cluster.dns.as_ref().map(|dns| dns.name.host.to_string()),
            files,
        };
        if let Some(previous) = previous.filter(|previous| previous.source == source) {
            return Some(Arc::clone(previous));
        }
        let built = Self::build(source, cluster, config, roots, own);
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
        cluster: &model::Cluster,
        config: &model::ClusterTls,
        roots: Arc<rustls::RootCertStore>,
        own: Option<(CertifiedKey, Certificate)>,
    ) -> Result<Self, String> {
        let host = match (&config.sni, &config.verify) {
            (Some(sni), _) => Some(sni.as_str()),
            (None, Some(Verify::Hostname(host))) => Some(host.as_str()),
            (None, _) => cluster.dns.as_ref().map(|dns| &*dns.name.host),
        };
        let name = host.map(|host| ServerName::try_from(host.trim_end_matches('.').to_owned()));
        let name = name.transpose().map_err(|error| error.to_string())?;
        let verifier = Endpoints::new(roots, config.verify.as_ref())?;
        let verifier = Arc::new(verifier) as Arc<dyn ServerCertVerifier>;
        let (key, own) = own.unzip();
        let client = configure(config.min_version, &verifier, key.map(Arc::new))?;
        Ok(Self {
            config: Arc::new(client),
            verifier,
            name,
            own: own.map(Arc::new),
            source,
        })
    }

    /// Whom to ask an endpoint for.
    ///
    /// # Errors
    /// It has no name and no address either.
    pub(crate) fn name_of(&self, addresses: &[Address]) -> Result<ServerName<'static>, Failure> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        match addresses.first() {
            Some(Address::Tcp(address)) => Ok(ServerName::IpAddress(address.ip().into())),
            // It is not told; it only has to be one.
            Some(Address::Unix(_)) if self.is_of_mesh() => {
                Ok(ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into()))
            }
            _ => Err(Failure::new(
                Cause::BadRoute,
                "no name to ask the endpoint for",
            )),
        }
    }

    /// Looks again at who a resumed session says the endpoint is: rustls does so only when it sees
    /// the certificate itself.
    pub(crate) fn recheck(
        &self,
        chain: &[CertificateDer<'static>],
        name: &ServerName<'_>,
    ) -> Result<(), Failure> {
        let Some((own, behind)) = chain.split_first() else {
            return Err(Failure::from(Cause::UpstreamCertificateInvalid));
        };
        let now = UnixTime::now();
        let checked = self
            .verifier
            .verify_server_cert(own, behind, name, &[], now);
        checked
            .map(drop)
            .map_err(|error| failure(&error, Role::Endpoint))
    }

    /// What we show to endpoints.
    pub(crate) fn certificate(&self) -> Option<&Certificate> {
        self.own.as_deref()
    }

    /// Whether we can show who we are, where endpoints must know.
    ///
    /// # Errors
    /// [`Cause::IdentityExpired`].
    pub(crate) fn check_own(&self) -> Result<(), Failure> {
        let own = self.own.as_ref().filter(|_| self.is_of_mesh());
        own.map_or(Ok(()), |own| showable(own))
    }

    /// How long what both sides of a connection showed is valid, where that ends it.
    pub(crate) fn lives(&self, chain: &[CertificateDer<'static>]) -> Vec<Life> {
        let own = self.own.as_ref().filter(|_| self.is_of_mesh());
        let theirs = own.and_then(|_| life_of(chain.first()?).ok());
        own.map(|own| own.life).into_iter().chain(theirs).collect()
    }

    /// Whether endpoints are of the mesh, so that what they show is an identity.
    pub(crate) fn is_of_mesh(&self) -> bool {
        matches!(self.source, Source::Mesh { .. })
    }
}

/// What rustls is told, whoever the endpoints are.
fn configure(
    oldest: TlsVersion,
    verifier: &Arc<dyn ServerCertVerifier>,
    key: Option<Arc<CertifiedKey>>,
) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(versions(oldest))
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(verifier));
    let mut client = match key {
        Some(key) => builder.with_client_cert_resolver(Arc::new(Shown(key))),
        None => builder.with_no_client_auth(),
    };
    client.resumption = Resumption::in_memory_sessions(SESSIONS);
    // Early data could be replayed by whoever saw it.
    client.enable_early_data = false;
    Ok(client)
}

/// A key that is shown to whoever asks for one.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
