//! From a checked configuration to a snapshot, keeping what did not change.
//!
//! Runs off the workers; with 10,000 routes it takes tens of milliseconds, of which the workers
//! see one pointer swap.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::AtomicU32},
};

use outrigger_config::{Loaded, model};

use super::{HttpSettings, Listener, Snapshot};
use crate::{
    cluster::Cluster,
    h1::Limits,
    policy::{Guard, Policy},
    route::{self, Route, RouteTable, TlsRoute, TlsTable},
    telemetry::registry::Metrics,
    tls,
};

/// Builds the version after `previous`. `now` is nanoseconds since the process began.
///
/// # Errors
/// A sentence that names the object. The configuration was checked before, so this is a defect or
/// a limit of a compiled structure; the previous version keeps serving.
pub(crate) fn build(
    source: Arc<Loaded>,
    tls: tls::Table,
    previous: &Snapshot,
    metrics: &Metrics,
    now: u64,
) -> Result<Snapshot, String> {
    let model::Config {
        listeners,
        routes,
        clusters,
        ..
    } = &source.config;
    let (clusters, to_change) = build_clusters(clusters, &tls, previous, metrics, now);
    let routes = build_routes(routes, previous, &clusters, metrics)?;
    let mut tables = Tables {
        config: &source.config,
        routes: &routes,
        made: Vec::new(),
    };
    let tls_routes: Vec<_> = (source.config.tls_routes.iter())
        .map(|config| TlsRoute::compile(config, &|name| clusters.get(name).cloned()))
        .collect();
    let policies = build_policies(&source.config.policies, metrics)?;
    let mut built = Vec::with_capacity(listeners.len());
    for config in listeners {
        let table = tables.of(config);
        let ends_tls = tls.listener(config.name.as_str()).cloned();
        let passes = tls_table(config, &source.config, &tls_routes, ends_tls.is_some());
        let old = previous.listener(config.name.as_str());
        let is_routed_to = is_routed_to(config, &source.config);
        let found = Found {
            table,
            passes,
            ends_tls,
            guard: guard(config, &source.config.policies, &policies),
            plain_too: config.mtls_in(&source.config.mesh) == model::Mtls::Permissive,
            is_routed_to,
        };
        built.push(build_listener(config, found, old, &clusters, metrics));
    }
    Ok(Snapshot {
        version: previous.version + 1,
        listeners: built,
        routes,
        clusters,
        tls,
        to_change,
        source,
    })
}

type Clusters = HashMap<Arc<str>, Arc<Cluster>, foldhash::fast::RandomState>;

fn build_clusters(
    configs: &[model::Cluster],
    tls: &tls::Table,
    previous: &Snapshot,
    metrics: &Metrics,
    now: u64,
) -> (Clusters, Vec<Arc<Cluster>>) {
    let mut clusters = Clusters::default();
    let mut to_change = Vec::new();
    for config in configs {
        let old = previous.clusters.get(config.name.as_str());
        let cluster = match old {
            Some(old) if old.can_become(config) => {
                to_change.push(Arc::clone(old));
                Arc::clone(old)
            }
            _ => {
                let cells = metrics.cluster(config.name.as_str());
                let old = old.map(|o| &**o);
                let cluster = Cluster::from_previous(config.clone(), cells, old, now);
                cluster.set_tls(tls.cluster(config.name.as_str()).cloned());
                Arc::new(cluster)
            }
        };
        clusters.insert(Arc::clone(&cluster.name), cluster);
    }
    (clusters, to_change)
}

fn build_policies(
    configs: &[model::Policy],
    metrics: &Metrics,
) -> Result<Vec<Arc<Policy>>, String> {
    let build = |config: &model::Policy| {
        let cells = metrics.policy(config.name.as_str());
        let compiled = Policy::compile(config, cells);
        compiled.map_err(|error| format!("policy `{}`: {error}", config.name))
    };
    configs.iter().map(build).collect()
}

/// The policies that name a listener.
fn guard(
    listener: &model::Listener,
    configs: &[model::Policy],
    policies: &[Arc<Policy>],
) -> Option<Arc<Guard>> {
    let all = configs.iter().zip(policies);
    let own = all.filter(|(config, _)| config.listeners.contains(&listener.name));
    Guard::of(own.map(|(_, policy)| Arc::clone(policy)))
}

/// A route is kept if its text is the same and every cluster it names is the same object.
fn build_routes(
    configs: &[model::Route],
    previous: &Snapshot,
    clusters: &Clusters,
    metrics: &Metrics,
) -> Result<Vec<Arc<Route>>, String> {
    let before = previous.source.config.routes.iter().zip(&previous.routes);
    let old: HashMap<&str, _, foldhash::fast::RandomState> = before
        .map(|(config, route)| (config.name.as_str(), (config, route)))
        .collect();
    let same_clusters = |config: &model::Route| {
        let mut named = config
            .rules
            .iter()
            .flat_map(|r| &r.backends)
            .map(|b| b.cluster.as_str());
        named.all(
            |name| match (clusters.get(name), previous.clusters.get(name)) {
                (Some(new), Some(old)) => Arc::ptr_eq(new, old),
                (None, None) => true,
                _ => false,
            },
        )
    };
    let build = |config: &model::Route| match old.get(config.name.as_str()) {
        Some((before, route)) if *before == config && same_clusters(config) => {
            Ok(Arc::clone(route))
        }
        _ => compile(config, clusters, metrics),
    };
    configs.iter().map(build).collect()
}

fn compile(
    config: &model::Route,
    clusters: &Clusters,
    metrics: &Metrics,
) -> Result<Arc<Route>, String> {
    let find = |name: &str| clusters.get(name).cloned();
    let compiled = route::compile(config, &find, metrics.route(config.name.as_str()));
    compiled.map_err(|error| format!("route `{}`: {error}", config.name))
}

/// Listeners that serve the same routes share one table.
struct Tables<'a> {
    config: &'a model::Config,
    routes: &'a [Arc<Route>],
    made: Vec<(&'a Option<Vec<model::Name>>, Arc<RouteTable>)>,
}

impl<'a> Tables<'a> {
    fn of(&mut self, listener: &'a model::Listener) -> Arc<RouteTable> {
        if let Some((_, table)) = self
            .made
            .iter()
            .find(|(names, _)| **names == listener.routes)
        {
            return Arc::clone(table);
        }
        let (named, wanted) = served(listener, self.config, |listener| &listener.routes);
        let chosen: Vec<_> = self
            .routes
            .iter()
            .filter(|r| named.contains(&*r.name) == wanted)
            .cloned()
            .collect();
        let table = Arc::new(RouteTable::build(&chosen));
        self.made.push((&listener.routes, Arc::clone(&table)));
        table
    }
}

/// Names of the routes that a listener serves, and whether these are to be taken or left out: those
/// in its list, or (without a list) those that no listener names.
fn served<'a>(
    own: &'a model::Listener,
    all: &'a model::Config,
    list: fn(&model::Listener) -> &Option<Vec<model::Name>>,
) -> (HashSet<&'a str>, bool) {
    let named = match list(own) {
        Some(names) => names.iter().map(model::Name::as_str).collect(),
        None => (all.listeners.iter())
            .flat_map(|listener| list(listener).iter().flatten())
            .map(model::Name::as_str)
            .collect(),
    };
    (named, list(own).is_some())
}

/// How a listener finds the cluster of a TLS connection.
fn tls_table(
    listener: &model::Listener,
    config: &model::Config,
    routes: &[Arc<TlsRoute>],
    is_ended: bool,
) -> Option<Arc<TlsTable>> {
    let build = || {
        let (named, wanted) = served(listener, config, |listener| &listener.tls_routes);
        let chosen = routes.iter().filter(|r| named.contains(&*r.name) == wanted);
        Arc::new(TlsTable::build(chosen))
    };
    match listener.protocol {
        model::Protocol::TlsPassthrough => Some(build()),
        // What is ended here does not pass through.
        model::Protocol::Auto if is_ended => None,
        model::Protocol::Auto => Some(build()).filter(|table| !table.is_empty()),
        model::Protocol::Http | model::Protocol::Tcp => None,
    }
}

/// Whether a route of a listener leads to the cluster for what is not HTTP.
fn is_routed_to(listener: &model::Listener, config: &model::Config) -> bool {
    let Some(cluster) = &listener.cluster else {
        return false;
    };
    let (named, wanted) = served(listener, config, |listener| &listener.routes);
    (config.routes.iter())
        .filter(|route| named.contains(route.name.as_str()) == wanted)
        .flat_map(|route| &route.rules)
        .flat_map(|rule| &rule.backends)
        .any(|backend| backend.cluster == *cluster)
}

/// What was found for a listener.
struct Found {
    table: Arc<RouteTable>,
    passes: Option<Arc<TlsTable>>,
    ends_tls: Option<Arc<tls::ServerTls>>,
    guard: Option<Arc<Guard>>,
    plain_too: bool,
    is_routed_to: bool,
}

fn build_listener(
    config: &model::Listener,
    found: Found,
    old: Option<&Arc<Listener>>,
    clusters: &Clusters,
    metrics: &Metrics,
) -> Arc<Listener> {
    let open = old.map_or_else(|| Arc::new(AtomicU32::new(0)), |o| Arc::clone(&o.open));
    let same_cluster = old.filter(|old| old.config.cluster == config.cluster);
    let first_speaker = same_cluster.map(|old| Arc::clone(&old.first_speaker));
    Arc::new(Listener {
        name: config.name.as_str().into(),
        table: found.table,
        tls: found.passes,
        ends_tls: found.ends_tls,
        guard: found.guard,
        plain_too: found.plain_too,
        first_speaker: first_speaker.unwrap_or_default(),
        is_routed_to: found.is_routed_to,
        cluster: config
            .cluster
            .as_ref()
            .and_then(|name| clusters.get(name.as_str()).cloned()),
        http: http_settings(config),
        cells: metrics.listener(config.name.as_str()),
        open,
        config: config.clone(),
    })
}

fn http_settings(listener: &model::Listener) -> HttpSettings {
    let http = &listener.http;
    HttpSettings {
        limits: Limits {
            head: http.max_header_size.0 as usize,
            line: http.max_request_line.0 as usize,
            fields: http.max_headers as usize,
        },
        header_timeout: http.header_timeout,
        idle_timeout: http.idle_timeout,
        stream_idle_timeout: http.stream_idle_timeout,
        max_body: http.max_body_size.map_or(u64::MAX, |size| size.0),
        max_requests: http.max_requests,
        max_lifetime: listener.max_lifetime,
        http2: http.http2.clone(),
        http2_resets: http.http2_resets.clone(),
        http2_provoked_resets: http.http2_provoked_resets.clone(),
        upgrades: http
            .upgrades
            .iter()
            .map(|u| u.as_str().to_ascii_lowercase().into())
            .collect(),
        connect: http.connect,
        merge_slashes: http.merge_slashes,
        trusted: http.trusted_proxies.iter().map(|cidr| cidr.0).collect(),
        via: http.via,
        proxy_status: http
            .proxy_status
            .unwrap_or(listener.direction != model::Direction::Gateway),
    }
}
