//! Peers: the proxies that are compared, each one file in `peers/` with how it is found, started,
//! reloaded and configured. This file reads them; `find` looks for the programs, `install` brings
//! them.

mod find;
mod install;

use std::{collections::BTreeMap, fs, io, path::Path};

use minijinja::{AutoEscape, Environment, Value, context};
use serde::Deserialize;

pub(crate) use find::{Found, find};
pub(crate) use install::{install, is_complete};

use crate::scenario::Setup;

include!(concat!(env!("OUT_DIR"), "/peers.rs"));

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Peer {
    /// From the file's name.
    #[serde(skip)]
    pub(crate) key: String,
    /// As it is shown.
    pub(crate) name: String,
    pub(crate) order: u32,
    /// Looked for on PATH.
    binary: Option<String>,
    /// Or built by this workspace.
    built: Option<String>,
    /// Environment variable with the path of the program.
    variable: String,
    /// Arguments that make it say its version.
    version: Vec<String>,
    /// Arguments that make it check its configuration.
    pub(crate) validate: Option<Vec<String>>,
    run: Vec<String>,
    #[serde(default)]
    pub(crate) notes: Vec<String>,
    /// What it cannot do, by the word in a scenario's `needs`, and why.
    #[serde(default)]
    pub(crate) lacks: BTreeMap<String, String>,
    pub(crate) reload: Reload,
    #[serde(default)]
    install: Install,
    /// Templates by file name.
    files: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reload {
    /// Arguments instead of `run`, where reloads will come.
    run: Option<Vec<String>>,
    /// Sent after its files were replaced; none if it watches them.
    pub(crate) signal: Option<Signal>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum Signal {
    #[serde(rename = "HUP")]
    Hup,
    #[serde(rename = "USR2")]
    Usr2,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Install {
    #[serde(default)]
    debian: Vec<String>,
    pypi: Option<String>,
    /// Within the virtual environment; `*` stands for one folder.
    binary: Option<String>,
}

/// What one instance of a peer is set up for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instance<'a> {
    pub(crate) setup: &'a Setup,
    pub(crate) port: u16,
    pub(crate) upstream: u16,
    pub(crate) workers: usize,
    pub(crate) reload: bool,
    pub(crate) generation: u64,
    /// Where its files are.
    pub(crate) dir: &'a Path,
}

impl Peer {
    fn parse(key: &str, text: &str) -> Result<Self, String> {
        let mut peer: Self =
            toml::from_str(text).map_err(|error| format!("peer {key}: {error}"))?;
        key.clone_into(&mut peer.key);
        Ok(peer)
    }

    /// Arguments with their placeholders filled in.
    pub(crate) fn arguments(&self, instance: &Instance<'_>) -> Vec<String> {
        let own = self.reload.run.as_ref().filter(|_| instance.reload);
        fill(own.unwrap_or(&self.run), instance)
    }

    pub(crate) fn validation(&self, instance: &Instance<'_>) -> Option<Vec<String>> {
        self.validate.as_ref().map(|list| fill(list, instance))
    }

    /// Writes its files, each replaced as a whole, as a reload wants it.
    pub(crate) fn write(&self, instance: &Instance<'_>) -> io::Result<()> {
        let values = values(instance);
        let mut environment = Environment::new();
        // By the endings of files it would take care of quotes, which templates do themselves.
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        for (name, template) in &self.files {
            let text = environment
                .render_named_str(name, template, &values)
                .map_err(|error| io::Error::other(format!("{}: {error:#}", self.key)))?;
            if text.trim().is_empty() {
                continue;
            }
            let fresh = instance.dir.join(format!(".{name}.new"));
            // The template engine takes the last line feed; HAProxy insists on it.
            fs::write(&fresh, format!("{}\n", text.trim()))?;
            fs::rename(&fresh, instance.dir.join(name))?;
        }
        Ok(())
    }
}

fn fill(list: &[String], instance: &Instance<'_>) -> Vec<String> {
    let dir = instance.dir.to_string_lossy();
    let workers = instance.workers.to_string();
    let fill = |text: &String| text.replace("{dir}", &dir).replace("{workers}", &workers);
    list.iter().map(fill).collect()
}

fn values(instance: &Instance<'_>) -> Value {
    context! {
        port => instance.port,
        upstream => instance.upstream,
        workers => instance.workers,
        reload => instance.reload,
        generation => instance.generation,
        dir => instance.dir.to_string_lossy(),
        root => rustix::process::geteuid().is_root(),
        tcp => instance.setup.tcp,
        hosts => instance.setup.hosts,
        prefixes => instance.setup.prefixes,
        http2 => instance.setup.http2,
        upstream_http2 => instance.setup.upstream_http2,
    }
}

fn all() -> Result<Vec<Peer>, String> {
    let parse = |(key, text): &(&str, &str)| Peer::parse(key, text);
    let mut all: Vec<_> = PEERS.iter().map(parse).collect::<Result<_, _>>()?;
    all.sort_by(|a, b| (a.order, &a.key).cmp(&(b.order, &b.key)));
    Ok(all)
}

/// Those that were asked for, by name or by file; all, if none were.
pub(crate) fn choose(only: &[String]) -> Result<Vec<Peer>, String> {
    let all = all()?;
    if only.is_empty() {
        return Ok(all);
    }
    // Always there; as a name it means: nothing else.
    let wanted = only.iter().filter(|name| *name != "direct");
    let find = |wanted: &String| {
        if let Some(found) = all.iter().find(|peer| peer.key == *wanted) {
            return Ok(found.clone());
        }
        let path = Path::new(wanted);
        if path.extension().is_some_and(|ending| ending == "toml") {
            let text = fs::read_to_string(path).map_err(|error| format!("{wanted}: {error}"))?;
            let key = path.file_stem().unwrap_or_default().to_string_lossy();
            return Peer::parse(&key, &text);
        }
        let names: Vec<_> = all.iter().map(|peer| peer.key.as_str()).collect();
        let names = names.join(", ");
        Err(format!("no peer {wanted}; there are direct, {names}"))
    };
    wanted.map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;

    #[test]
    fn every_peer_has_files_for_every_scenario() {
        let dir = std::env::temp_dir().join(format!("bench-peers-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        for peer in choose(&[]).unwrap() {
            for scenario in scenario::all().unwrap() {
                let instance = Instance {
                    setup: &scenario.proxy,
                    port: 4242,
                    upstream: 4343,
                    workers: 3,
                    reload: scenario.storm.is_some(),
                    generation: 7,
                    dir: &dir,
                };
                peer.write(&instance).unwrap();
                let read = |name: &String| fs::read_to_string(dir.join(name)).unwrap_or_default();
                let text: String = peer.files.keys().map(read).collect();
                assert!(
                    text.contains("4242") && text.contains("4343"),
                    "{}",
                    peer.key
                );
                assert!(!text.contains("{{") && !text.contains("{%"), "{}", peer.key);
                for name in peer.files.keys() {
                    let _ = fs::remove_file(dir.join(name));
                }
            }
        }
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_wrong_name_is_told() {
        let error = choose(&["squid".to_owned()]).unwrap_err();
        assert!(error.contains("haproxy"), "{error}");
        assert!(choose(&["direct".to_owned()]).unwrap().is_empty());
    }
}
