//! Who we are in the mesh and whom we believe of it, as one version of the configuration has it.

use std::sync::Arc;

use outrigger_config::model;
use rustls::pki_types::UnixTime;

use super::{Certificate, files::Reader};
use crate::identity::{Bundle, Own, Trust};

/// Our identity, and everybody's roots.
#[derive(Default)]
pub(crate) struct Mesh {
    pub(crate) own: Option<Identity>,
    pub(crate) trust: Arc<Trust>,
    /// Of the files of `trust`.
    pub(super) trust_digest: u128,
}

/// What we show to others of the mesh.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) own: Arc<Own>,
    pub(crate) certificate: Arc<Certificate>,
    /// Of its files.
    pub(super) digest: u128,
}

impl Mesh {
    /// Reads its files, keeping of `previous` what is the same: that was right when it came, and a
    /// change of something else is not held up by a certificate that has ended since.
    pub(super) fn read(
        config: &model::Config,
        previous: &Self,
        reader: &mut Reader,
        lines: &mut Vec<String>,
    ) -> Self {
        reader.take_digest();
        let own = config.mesh.identity.as_ref().and_then(|identity| {
            read_own(identity, previous.own.as_ref(), reader)
                .map_err(|(field, why)| lines.push(format!("mesh.identity.{field}: {why}")))
                .ok()
        });
        let (trust, trust_digest) = read_trust(&config.trust, previous, reader, lines);
        Self {
            own,
            trust,
            trust_digest,
        }
    }
}

fn read_own(
    config: &model::Identity,
    previous: Option<&Identity>,
    reader: &mut Reader,
) -> Result<Identity, (&'static str, String)> {
    let path = config.cert.as_str();
    let chain = reader.certificates(path).map_err(|why| ("cert", why))?;
    let key = reader.key(config.key.as_str());
    let key = key.map_err(|why| ("key", why))?;
    let digest = reader.take_digest();
    let first = chain.first().cloned().unwrap_or_else(|| Vec::new().into());
    let certificate = Certificate::read(path, &first).map_err(|why| ("cert", why))?;
    let own = if let Some(same) = previous.filter(|previous| previous.digest == digest) {
        Arc::clone(&same.own)
    } else {
        let own = Own::new(&key, chain, UnixTime::now());
        Arc::new(own.map_err(|why| ("cert", format!("{path}: {why}")))?)
    };
    Ok(Identity {
        own,
        certificate: Arc::new(certificate),
        digest,
    })
}

fn read_trust(
    domains: &[model::Trust],
    previous: &Mesh,
    reader: &mut Reader,
    lines: &mut Vec<String>,
) -> (Arc<Trust>, u128) {
    let before = lines.len();
    let mut trust = Trust::default();
    for (at, domain) in domains.iter().enumerate() {
        reader.digest(domain.name.as_str().as_bytes());
        let mut bundle = Bundle::default();
        let mut note = |field: &str, index: usize, path: &model::Text, why: &str| {
            let path = path.as_str();
            // What cannot be opened is named by who tried.
            let path = if why.starts_with(path) {
                ""
            } else {
                &format!("{path}: ")
            };
            lines.push(format!("trust[{at}].{field}[{index}]: {path}{why}"));
        };
        for (index, path) in domain.roots.iter().enumerate() {
            let read = reader.bytes(path.as_str()).and_then(|bytes| {
                let added = bundle.add_pem(&bytes);
                added.map_err(|why| why.to_string())
            });
            if let Err(why) = read {
                note("roots", index, path, &why);
            }
        }
        for (index, path) in domain.revocation_lists.iter().enumerate() {
            let read = reader.bytes(path.as_str()).and_then(|bytes| {
                let revoked = bundle.revoke_by_pem(&bytes);
                revoked.map_err(|why| why.to_string())
            });
            if let Err(why) = read {
                note("revocation_lists", index, path, &why);
            }
        }
        trust.add(domain.name.clone(), bundle);
    }
    let digest = reader.take_digest();
    if lines.len() == before && digest == previous.trust_digest {
        return (Arc::clone(&previous.trust), digest);
    }
    (Arc::new(trust), digest)
}
