//! From a checked configuration to a snapshot, keeping what did not change.
//!
//! Runs off the workers; with 10,000 routes it takes tens of milliseconds, of which the workers
//! see one pointer swap.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicU32},
};

use outrigger_config::model;

use super::{Compiled, HttpSettings, Listener, Snapshot};
use crate::{
    cluster::Cluster,
    h1::Limits,
    route::{self, Route, RouteTable},
    telemetry::registry::Metrics,
};

/// What a snapshot is built from.
pub(crate) struct Inputs<'a> {
    pub(crate) config: model::Config,
    pub(crate) hash: Arc<str>,
    pub(crate) shown: serde_json::Value,
    pub(crate) metrics: &'a Metrics,
    /// Nanoseconds since the process began.
    pub(crate) now: u64,
}

/// Builds the version after `previous`.
///
/// # Errors
/// A sentence that names the object. The configuration was checked before, so this is a defect or
/// a limit of a compiled structure; the previous version keeps serving.
pub(crate) fn build(inputs: Inputs<'_>, previous: &Snapshot) -> Result<Snapshot, String> {
    let model::Config { mesh, listeners, routes, clusters, .. } = inputs.config;
    let clusters = build_clusters(clusters, previous, inputs.metrics, inputs.now);
    let routes = build_routes(routes, previous, &clusters, inputs.metrics)?;
    let mut tables = Tables { routes: &routes, listeners: &listeners, made: Vec::new() };
    let mut built = Vec::with_capacity(listeners.len());
    for config in &listeners {
        let table = tables.of(config)?;
        built.push(build_listener(config, table, previous, &clusters, inputs.metrics));
    }
    Ok(Snapshot {
        version: previous.version + 1,
        hash: inputs.hash,
        shown: Arc::new(inputs.shown),
        mesh,
        listeners: built,
        routes,
        clusters,
    })
}

type Clusters = HashMap<Arc<str>, Arc<Cluster>, foldhash::fast::RandomState>;

fn build_clusters(configs: Vec<model::Cluster>, previous: &Snapshot, metrics: &Metrics, now: u64) -> Clusters {
    let mut clusters = Clusters::default();
    for config in configs {
        let old = previous.clusters.get(config.name.as_str());
        let cluster = match old {
            Some(old) if old.can_become(&config) => {
                old.apply(&config, now);
                Arc::clone(old)
            }
            _ => {
                let cells = metrics.cluster(config.name.as_str());
                Arc::new(Cluster::from_previous(config, cells, old.map(|o| &**o), now))
            }
        };
        clusters.insert(Arc::clone(&cluster.name), cluster);
    }
    clusters
}

/// A route is kept if its text is the same and every cluster it names is the same object.
fn build_routes(configs: Vec<model::Route>, previous: &Snapshot, clusters: &Clusters, metrics: &Metrics) -> Result<Vec<Compiled>, String> {
    let old: HashMap<&str, &Compiled, foldhash::fast::RandomState> = previous.routes.iter().map(|c| (c.config.name.as_str(), c)).collect();
    let same_clusters = |config: &model::Route| {
        let mut named = config.rules.iter().flat_map(|r| &r.backends).map(|b| b.cluster.as_str());
        named.all(|name| match (clusters.get(name), previous.clusters.get(name)) {
            (Some(new), Some(old)) => Arc::ptr_eq(new, old),
            (None, None) => true,
            _ => false,
        })
    };
    let mut routes = Vec::with_capacity(configs.len());
    for config in configs {
        let kept = old.get(config.name.as_str()).filter(|old| old.config == config && same_clusters(&config));
        let route = match kept {
            Some(old) => Arc::clone(&old.route),
            None => compile(&config, clusters, metrics)?,
        };
        routes.push(Compiled { config, route });
    }
    Ok(routes)
}

fn compile(config: &model::Route, clusters: &Clusters, metrics: &Metrics) -> Result<Arc<Route>, String> {
    let find = |name: &str| clusters.get(name).cloned();
    let compiled = route::compile(config, &find, metrics.route(config.name.as_str()));
    compiled.map_err(|error| format!("route `{}`: {error}", config.name))
}

/// Listeners that serve the same routes share one table.
struct Tables<'a> {
    routes: &'a [Compiled],
    listeners: &'a [model::Listener],
    made: Vec<(Option<Vec<model::Name>>, Arc<RouteTable>)>,
}

impl Tables<'_> {
    fn of(&mut self, listener: &model::Listener) -> Result<Arc<RouteTable>, String> {
        if let Some((_, table)) = self.made.iter().find(|(names, _)| *names == listener.routes) {
            return Ok(Arc::clone(table));
        }
        let named: std::collections::HashSet<&str> = match &listener.routes {
            Some(names) => names.iter().map(model::Name::as_str).collect(),
            None => self.listeners.iter().flat_map(|l| l.routes.iter().flatten()).map(model::Name::as_str).collect(),
        };
        let wanted = listener.routes.is_some();
        let chosen: Vec<Arc<Route>> =
            self.routes.iter().filter(|c| named.contains(c.config.name.as_str()) == wanted).map(|c| Arc::clone(&c.route)).collect();
        let table = Arc::new(RouteTable::build(&chosen));
        self.made.push((listener.routes.clone(), Arc::clone(&table)));
        Ok(table)
    }
}

fn build_listener(
    config: &model::Listener,
    table: Arc<RouteTable>,
    previous: &Snapshot,
    clusters: &Clusters,
    metrics: &Metrics,
) -> Arc<Listener> {
    let old = previous.listener(config.name.as_str());
    let open = old.map_or_else(|| Arc::new(AtomicU32::new(0)), |o| Arc::clone(&o.open));
    Arc::new(Listener {
        name: config.name.as_str().into(),
        table,
        cluster: config.cluster.as_ref().and_then(|name| clusters.get(name.as_str()).cloned()),
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
        upgrades: http.upgrades.iter().map(|u| u.as_str().to_ascii_lowercase().into()).collect(),
        connect: http.connect,
        merge_slashes: http.merge_slashes,
        trusted: http.trusted_proxies.iter().map(|cidr| cidr.0).collect(),
        via: http.via,
        proxy_status: http.proxy_status.unwrap_or(listener.direction != model::Direction::Gateway),
    }
}
