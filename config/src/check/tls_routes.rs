//! TLS routes: backends, and which of them want the same name.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use super::{Checker, Names};
use crate::model::{Config, HostPattern, Name, TlsRoute};

pub(super) fn check(route: &TlsRoute, clusters: &Names<'_>, checker: &mut Checker<'_>) {
    if route.backends.is_empty() {
        checker.problem_at("backends", "found no backends", "at least one backend");
    }
    checker.each("backends", &route.backends, |checker, backend| {
        checker.field("cluster", |checker| {
            checker.reference(&backend.cluster, clusters);
        });
    });
}

/// On one listener a name leads to one route: nothing but the name tells them apart, so that a
/// second one would never be used.
pub(super) fn check_hosts(config: &Config, checker: &mut Checker<'_>) {
    let lists = || config.listeners.iter().flat_map(|l| &l.tls_routes);
    let named: HashSet<&Name> = lists().flatten().collect();
    let mut late = Late::new();
    collect(config, |name| !named.contains(name), &mut late);
    for list in lists() {
        let list: HashSet<&Name> = list.iter().collect();
        collect(config, |name| list.contains(name), &mut late);
    }
    let mut route_index = 0;
    checker.each("tls_routes", &config.tls_routes, |checker, route| {
        if let Some(first) = late.get(&(route_index, None)) {
            let found = format!("tls_routes[{first}] serves every name of the same listener");
            checker.problem_at("hosts", found, "one route without hosts for each listener");
        }
        let mut host_index = 0;
        checker.each("hosts", &route.hosts, |checker, _| {
            if let Some(first) = late.get(&(route_index, Some(host_index))) {
                let found = format!("tls_routes[{first}] serves this name of the same listener");
                checker.problem(found, "each name once for each listener");
            }
            host_index += 1;
        });
        route_index += 1;
    });
}

/// Hosts that come too late, by the numbers of their route and their own (none: the route has no
/// hosts), and the number of the route that came before.
type Late = HashMap<(usize, Option<usize>), usize>;

/// Adds what comes too late among the routes that one listener serves.
fn collect(config: &Config, serves: impl Fn(&Name) -> bool, late: &mut Late) {
    let mut taken: HashMap<Option<&HostPattern>, usize> = HashMap::new();
    let routes = config.tls_routes.iter().enumerate();
    for (index, route) in routes.filter(|(_, route)| serves(&route.name)) {
        let hosts = route.hosts.iter().enumerate();
        let every = route.hosts.is_empty().then_some((None, None));
        for (number, host) in hosts.map(|(n, host)| (Some(n), Some(host))).chain(every) {
            // One that could not be read is empty.
            if matches!(host, Some(HostPattern::Exact(name)) if name.is_empty()) {
                continue;
            }
            match taken.entry(host) {
                Entry::Vacant(free) => drop(free.insert(index)),
                Entry::Occupied(first) => drop(late.insert((index, number), *first.get())),
            }
        }
    }
}
