//! The TLS of one version of the configuration, by the names of listeners and clusters.

use std::{collections::HashMap, sync::Arc};

use outrigger_config::model;

use super::{
    Certificate, ClientTls, ServerTls,
    files::{Reader, Watched},
};

/// Everything that was made of files.
#[derive(Default)]
pub(crate) struct Table {
    listeners: HashMap<Arc<str>, Arc<ServerTls>>,
    clusters: HashMap<Arc<str>, Arc<ClientTls>>,
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
        for (index, listener) in config.listeners.iter().enumerate() {
            let Some(tls) = &listener.tls else { continue };
            let mut problems = Vec::new();
            let name = listener.name.as_str();
            let old = previous.listeners.get(name);
            let read = ServerTls::read(tls, listener.protocol, old, &mut reader, &mut problems);
            table.listeners.extend(read.map(|tls| (name.into(), tls)));
            say(&mut lines, "listeners", index, problems);
        }
        for (index, cluster) in config.clusters.iter().enumerate() {
            let Some(tls) = &cluster.tls else { continue };
            let mut problems = Vec::new();
            let name = cluster.name.as_str();
            let old = previous.clusters.get(name);
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

    pub(crate) fn cluster(&self, name: &str) -> Option<&Arc<ClientTls>> {
        self.clusters.get(name)
    }

    /// Every certificate in use: the kind and name of whose it is.
    pub(crate) fn certificates(&self) -> Vec<(&'static str, &str, &Certificate)> {
        let mut all: Vec<_> = (self.listeners.iter())
            .flat_map(|(name, tls)| tls.certificates().map(move |it| ("listener", &**name, it)))
            .collect();
        let own = self.clusters.iter();
        all.extend(own.filter_map(|(name, tls)| Some(("cluster", &**name, tls.certificate()?))));
        all.sort_by_key(|(kind, name, it)| (*kind, *name, it.file.clone()));
        all
    }
}

fn say(lines: &mut Vec<String>, kind: &str, index: usize, problems: Vec<(String, String)>) {
    lines.extend(problems.into_iter().map(|(place, why)| {
        let dot = if place.is_empty() { "" } else { "." };
        format!("{kind}[{index}].tls{dot}{place}: {why}")
    }));
}
