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
    route::{self, Route, RouteTable},
    telemetry::registry::Metrics,
};

/// Builds the version after `previous`. `now` is nanoseconds since the process began.
///
/// # Errors
/// A sentence that names the object. The configuration was checked before, so this is a defect or
/// a limit of a compiled structure; the previous version keeps serving.
pub(crate) fn build(
    source: Arc<Loaded>,
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
    let (clusters, to_change) = build_clusters(clusters, previous, metrics, now);
    let routes = build_routes(routes, previous, &clusters, metrics)?;
    let mut tables = Tables {
        config: &source.config,
        routes: &routes,
        made: Vec::new(),
    };
    let mut built = Vec::with_capacity(listeners.len());
    for config in listeners {
        let table = tables.of(config);
        built.push(build_listener(config, table, previous, &clusters, metrics));
    }
    Ok(Snapshot {
        version: previous.version + 1,
        listeners: built,
        routes,
        clusters,
        to_change,
        source,
    })
}

type Clusters = HashMap<Arc<str>, Arc<Cluster>, foldhash::fast::RandomState>;

fn build_clusters(
    configs: &[model::Cluster],
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
                Arc::new(Cluster::from_previous(
                    config.clone(),
                    cells,
                    old.map(|o| &**o),
                    now,
                ))
            }
        };
        clusters.insert(Arc::clone(&cluster.name), cluster);
    }
    (clusters, to_change)
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
        // Routes that this listener names, or (without a list) those that no listener names.
        let named: HashSet<&str> = match &listener.routes {
            Some(names) => names.iter().map(model::Name::as_str).collect(),
            None => self
                .config
                .listeners
                .iter()
                .flat_map(|l| l.routes.iter().flatten())
                .map(model::Name::as_str)
                .collect(),
        };
        let wanted = listener.routes.is_some();
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
