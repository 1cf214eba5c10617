//! Scenarios: what is sent, and how proxies are set up for it. Each is one small file in
//! `scenarios/`, built into the binary; a path to a file works wherever a name does.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::load::{Request, Work, request::Body};

include!(concat!(env!("OUT_DIR"), "/scenarios.rs"));

/// Seconds of a round, where a scenario does not say otherwise: five rounds of everything by
/// everybody stay within ten minutes.
pub(crate) const ORDINARY: f64 = 0.75;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// From the file's name.
    #[serde(skip_deserializing)]
    pub(crate) name: String,
    /// One line.
    pub(crate) about: String,
    /// Where it stands among the others.
    pub(crate) order: u32,
    /// What a peer must know of; see `lacks` of peers.
    #[serde(default)]
    pub(crate) needs: Vec<String>,
    #[serde(default)]
    pub(crate) proxy: Setup,
    pub(crate) load: Load,
    /// Reload while the load runs.
    pub(crate) storm: Option<Storm>,
}

/// What proxies are set up to do. Templates of peers see these fields.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Setup {
    /// Forward bytes, not requests.
    pub(crate) tcp: bool,
    /// Routes for the hosts `h0.example`, `h1.example`, ...
    pub(crate) hosts: u32,
    /// Routes for the prefixes `/p0`, `/p1`, ... of one host.
    pub(crate) prefixes: u32,
    /// Clients speak HTTP/2, without TLS and with prior knowledge.
    pub(crate) http2: bool,
    /// So does the back end.
    pub(crate) upstream_http2: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Http1,
    Http2,
    TcpBulk,
    TcpShort,
    Idle,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Load {
    pub(crate) kind: Kind,
    #[serde(default = "one")]
    pub(crate) connections: usize,
    /// On each connection of HTTP/2.
    #[serde(default = "one")]
    pub(crate) streams: usize,
    /// Length of a round.
    #[serde(default = "ordinary")]
    pub(crate) seconds: f64,
    /// Fixed rates, each a table of its own; none: as fast as answers come.
    #[serde(default)]
    pub(crate) rates: Vec<f64>,
    /// Connections held, for `idle`.
    #[serde(default)]
    pub(crate) steps: Vec<usize>,
    /// Count system calls, in a pass of their own.
    #[serde(default)]
    pub(crate) system_calls: bool,
    #[serde(default)]
    pub(crate) method: Option<String>,
    #[serde(default)]
    pub(crate) path: Option<String>,
    #[serde(default)]
    pub(crate) host: String,
    /// Bytes of the request's body.
    #[serde(default)]
    pub(crate) body: usize,
    #[serde(default)]
    pub(crate) chunk: Option<usize>,
    #[serde(default)]
    pub(crate) close: bool,
    #[serde(default)]
    pub(crate) grpc: bool,
    #[serde(default)]
    pub(crate) expect: Option<u64>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Storm {
    /// Milliseconds between two reloads.
    pub(crate) every_ms: u64,
}

fn one() -> usize {
    1
}

fn ordinary() -> f64 {
    ORDINARY
}

impl Scenario {
    fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut scenario: Self =
            toml::from_str(text).map_err(|error| format!("scenario {name}: {error}"))?;
        name.clone_into(&mut scenario.name);
        if scenario.load.kind == Kind::Idle && scenario.load.steps.len() < 2 {
            return Err(format!(
                "scenario {name}: `steps` needs at least two numbers"
            ));
        }
        if scenario.load.rates.iter().any(|rate| *rate <= 0.0) {
            return Err(format!("scenario {name}: a rate is above 0"));
        }
        Ok(scenario)
    }

    pub(crate) fn request(&self) -> Request {
        let load = &self.load;
        let defaults = Request::default();
        Request {
            method: load.method.clone().unwrap_or(defaults.method),
            path: load.path.clone().unwrap_or(defaults.path),
            host: load.host.clone(),
            body: Body::Size(load.body),
            chunk: load.chunk,
            close: load.close,
            grpc: load.grpc,
            expect: load.expect,
            ..Request::default()
        }
    }

    pub(crate) fn work(&self) -> Work {
        let request = self.request();
        match self.load.kind {
            Kind::Http1 => Work::Http1 { request },
            Kind::Http2 => Work::Http2 {
                request,
                streams: self.load.streams,
            },
            Kind::TcpBulk => Work::TcpBulk,
            Kind::TcpShort => Work::TcpShort {
                send: 100,
                receive: 1024,
            },
            Kind::Idle => Work::Idle {
                request,
                steps: self.load.steps.clone(),
                settle: 2_200,
            },
        }
    }
}

/// Those built in, in order.
pub(crate) fn all() -> Result<Vec<Scenario>, String> {
    let parse = |(name, text): &(&str, &str)| Scenario::parse(name, text);
    let mut all: Vec<_> = SCENARIOS.iter().map(parse).collect::<Result<_, _>>()?;
    all.sort_by(|a, b| (a.order, &a.name).cmp(&(b.order, &b.name)));
    Ok(all)
}

/// Those that were asked for, by name or by file; all, if none were.
pub(crate) fn choose(only: &[String]) -> Result<Vec<Scenario>, String> {
    let all = all()?;
    if only.is_empty() {
        return Ok(all);
    }
    let find = |wanted: &String| {
        if let Some(found) = all.iter().find(|scenario| scenario.name == *wanted) {
            return Ok(found.clone());
        }
        let path = Path::new(wanted);
        if path.extension().is_some_and(|ending| ending == "toml") {
            let text = fs::read_to_string(path).map_err(|error| format!("{wanted}: {error}"))?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            return Scenario::parse(&name, &text);
        }
        let names: Vec<_> = all.iter().map(|scenario| scenario.name.as_str()).collect();
        Err(format!(
            "no scenario {wanted}; there are {}",
            names.join(", ")
        ))
    };
    only.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_a_scenario() {
        let files = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios")).unwrap();
        assert_eq!(all().unwrap().len(), files.count());
        for scenario in all().unwrap() {
            assert!(!scenario.about.is_empty());
            let http2 = scenario.proxy.http2 || scenario.proxy.upstream_http2;
            assert_eq!(http2, !scenario.needs.is_empty(), "{}", scenario.name);
            assert_eq!(
                scenario.proxy.tcp,
                matches!(scenario.load.kind, Kind::TcpBulk | Kind::TcpShort),
                "{}",
                scenario.name
            );
        }
    }

    #[test]
    fn a_wrong_field_or_name_is_told() {
        let text = "about = 'x'\norder = 1\n[load]\nkind = 'http1'\nconections = 3";
        let error = Scenario::parse("x", text).unwrap_err();
        assert!(error.contains("conections"), "{error}");
        let error = choose(&["nothing".to_owned()]).unwrap_err();
        assert!(error.contains("http1-keepalive"), "{error}");
    }
}
