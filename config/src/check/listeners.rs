//! Listeners, and which of them want the same address.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Checker, Names};
use crate::model::{BindAddress, Config, HttpOptions, Listener, Protocol, is_token};

pub(super) fn check(
    listener: &Listener,
    routes: &Names<'_>,
    clusters: &Names<'_>,
    checker: &mut Checker<'_>,
) {
    match listener.protocol {
        Protocol::Tcp => {
            if listener.cluster.is_none() {
                checker.missing("cluster", "the cluster that connections go to");
            }
            if listener.routes.is_some() {
                let expected = "no routes with `protocol: tcp`; its connections go to `cluster`";
                checker.problem_at("routes", "found routes", expected);
            }
        }
        Protocol::Http if listener.cluster.is_some() => {
            let expected = "no cluster with `protocol: http`; requests go where their routes say";
            checker.problem_at("cluster", "found a cluster", expected);
        }
        Protocol::Http | Protocol::Auto => {}
    }
    if let Some(cluster) = &listener.cluster {
        checker.field("cluster", |checker| checker.reference(cluster, clusters));
    }
    if let Some(names) = &listener.routes {
        let mut known = HashSet::new();
        checker.each("routes", names, |checker, name| {
            checker.reference(name, routes);
            if !known.insert(name) {
                let found = format!("{:?} is there twice", name.as_str());
                checker.problem(found, "each route once");
            }
        });
    }
    checker.field("http", |checker| check_http(&listener.http, checker));
}

fn check_http(http: &HttpOptions, checker: &mut Checker<'_>) {
    checker.each("upgrades", &http.upgrades, |checker, upgrade| {
        let text = upgrade.as_str();
        let (name, version) = text.split_once('/').unwrap_or((text, "1"));
        if !is_token(name) || !is_token(version) {
            checker.problem(format!("found {text:?}"), "a protocol such as websocket");
        } else if name.eq_ignore_ascii_case("h2c") || name.eq_ignore_ascii_case("http") {
            checker.problem(
                format!("found {text:?}"),
                "a protocol other than HTTP, whose requests would escape routing",
            );
        }
    });
}

/// No two sockets of the process may want one address.
pub(super) fn check_binds(config: &Config, checker: &mut Checker<'_>) {
    let mut taken: HashMap<BindAddress, String> = HashMap::new();
    if let Some(admin) = &config.admin {
        checker.field("admin", |checker| take(&admin.bind, &mut taken, checker));
    }
    if let Some(probes) = &config.probes {
        checker.field("probes", |checker| take(&probes.bind, &mut taken, checker));
    }
    checker.each("listeners", &config.listeners, |checker, listener| {
        take(&listener.bind, &mut taken, checker);
    });
}

fn take(bind: &BindAddress, taken: &mut HashMap<BindAddress, String>, checker: &mut Checker<'_>) {
    let key = match bind {
        // The kernel chooses another port for each.
        BindAddress::Tcp(address) if address.port() == 0 => return,
        // `[::]` takes both families.
        BindAddress::Tcp(address) if address.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED) => {
            BindAddress::Tcp(SocketAddr::new(
                Ipv6Addr::UNSPECIFIED.into(),
                address.port(),
            ))
        }
        // What could not be read.
        BindAddress::Unix(path) if path.as_os_str().is_empty() => return,
        other => other.clone(),
    };
    checker.field("bind", |checker| match taken.get(&key) {
        Some(first) => {
            let found = format!("the address is taken by {first}");
            checker.problem(found, "an address of its own");
        }
        None => {
            taken.insert(key, checker.here());
        }
    });
}
