//! The TLS of one version of the configuration, by the names of listeners and clusters.

use std::{collections::HashMap, sync::Arc};

use outrigger_config::model::{self, Mtls};

use crate::identity::Life;

use super::{
    Certificate, ClientTls, Mesh, ServerTls,
    files::{Reader, Watched},
};

/// Everything that was made of files.
#[derive(Default)]
pub(crate) struct Table {
    listeners: HashMap<Arc<str>, Arc<ServerTls>>,
    clusters: HashMap<Arc<str>, Arc<ClientTls>>,
    mesh: Mesh,
    /// The files, as they were read.
    pub(crate) files: Watched,
}

impl Table {
    /// Reads what a configuration names, keeping of `previous` what did not change.
    ///
    /// # Errors
    /// Everything that is missing or wrong, a line each with its field and file.
    pub(crate) fn read(config: &model::Config, previous: &Self) -> Result<Self, String> {
        let mut table = Self::default();
        let mut reader = Reader::default();
        let mut lines = Vec::new();
        table.mesh = Mesh::read(config, &previous.mesh, &mut reader, &mut lines);
        for (index, listener) in config.listeners.iter().enumerate() {
            let name = listener.name.as_str();
            let old = previous.listeners.get(name);
            if listener.mtls_in(&config.mesh) != Mtls::Off {
                let made = ServerTls::of_mesh(listener, &table.mesh, old);
                let made =
                    made.map_err(|why| lines.push(format!("listeners[{index}].mtls: {why}")));
                table
                    .listeners
                    .extend(made.ok().flatten().map(|tls| (name.into(), tls)));
                continue;
            }
            let Some(tls) = &listener.tls else { continue };
            let mut problems = Vec::new();
            let read = ServerTls::read(tls, listener.protocol, old, &mut reader, &mut problems);
            table.listeners.extend(read.map(|tls| (name.into(), tls)));
            say(&mut lines, "listeners", index, problems);
        }
        for (index, cluster) in config.clusters.iter().enumerate() {
            let name = cluster.name.as_str();
            let old = previous.clusters.get(name);
            if !cluster.identities.is_empty() {
                let made = ClientTls::of_mesh(&cluster.identities, &table.mesh, old);
                let made =
                    made.map_err(|why| lines.push(format!("clusters[{index}].identities: {why}")));
                table
                    .clusters
                    .extend(made.ok().flatten().map(|tls| (name.into(), tls)));
                continue;
            }
            let Some(tls) = &cluster.tls else { continue };
            let mut problems = Vec::new();
            let read = ClientTls::read(cluster, tls, old, &mut reader, &mut problems);
            table.clusters.extend(read.map(|tls| (name.into(), tls)));
            say(&mut lines, "clusters", index, problems);
        }
        table.files = reader.watched;
        if lines.is_empty() {
            Ok(table)
        } else {
            Err(lines.join("\n"))
        }
    }

    pub(crate) fn listener(&self, name: &str) -> Option<&Arc<ServerTls>> {
        self.listeners.get(name)
    }

    /// Who we are in the mesh, and whom we believe of it.
    pub(crate) fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    pub(crate) fn cluster(&self, name: &str) -> Option<&Arc<ClientTls>> {
        self.clusters.get(name)
    }

    /// Every certificate in use. One of the mesh is there once, however many show it.
    pub(crate) fn certificates(&self) -> Vec<InUse<'_>> {
        let listeners = self.listeners.iter().filter(|(_, tls)| !tls.is_of_mesh());
        let clusters = self.clusters.iter().filter(|(_, tls)| !tls.is_of_mesh());
        let mut all: Vec<_> = listeners
            .flat_map(|(name, tls)| tls.certificates().map(move |it| of("listener", name, it)))
            .collect();
        all.extend(
            clusters.filter_map(|(name, tls)| Some(of("cluster", name, tls.certificate()?))),
        );
        if let Some(own) = &self.mesh.own {
            all.push(of("mesh", own.own.facts.id.as_str(), &own.certificate));
        }
        for (domain, bundle) in self.mesh.trust.domains() {
            all.extend(bundle.roots.iter().map(|root| InUse {
                scope: "trust",
                name: domain.as_str(),
                file: &root.fingerprint,
                life: root.life,
            }));
        }
        all.sort_by_key(|it| (it.scope, it.name, it.file));
        all
    }
}

/// A certificate in use.
pub(crate) struct InUse<'a> {
    /// What it is used by.
    pub(crate) scope: &'static str,
    pub(crate) name: &'a str,
    /// Its file, or the fingerprint of a root: a file may have several.
    pub(crate) file: &'a str,
    pub(crate) life: Life,
}

fn of<'a>(scope: &'static str, name: &'a str, it: &'a Certificate) -> InUse<'a> {
    InUse {
        scope,
        name,
        file: &it.file,
        life: it.life,
    }
}

fn say(lines: &mut Vec<String>, kind: &str, index: usize, problems: Vec<(String, String)>) {
    lines.extend(problems.into_iter().map(|(place, why)| {
        let dot = if place.is_empty() { "" } else { "." };
        format!("{kind}[{index}].tls{dot}{place}: {why}")
    }));
}
