//! Listeners, and which of them want the same address.

use std::collections::{HashMap, HashSet, hash_map::Entry};
use std::net::IpAddr;
use std::path::Path;

use super::{Checker, Names};
use crate::model::{
    BindAddress, Config, HttpOptions, Listener, Name, Protocol, TcpOptions, is_token,
};

/// Names that a listener may refer to.
pub(super) struct Known<'a> {
    pub(super) routes: &'a Names<'a>,
    pub(super) tls_routes: &'a Names<'a>,
    pub(super) clusters: &'a Names<'a>,
}

pub(super) fn check(listener: &Listener, known: &Known<'_>, checker: &mut Checker<'_>) {
    check_protocol(listener, known, checker);
    if let Some(cluster) = &listener.cluster {
        checker.field("cluster", |checker| {
            checker.reference(cluster, known.clusters);
        });
    }
    check_routes("routes", listener.routes.as_deref(), known.routes, checker);
    check_tcp(&listener.tcp, checker);
    super::tls::check_listener(listener, checker);
    let tls_routes = listener.tls_routes.as_deref();
    check_routes("tls_routes", tls_routes, known.tls_routes, checker);
    checker.field("http", |checker| check_http(&listener.http, checker));
}

/// What goes with the protocol of a listener, and what does not.
fn check_protocol(listener: &Listener, known: &Known<'_>, checker: &mut Checker<'_>) {
    let has_cluster = listener.cluster.is_some();
    match listener.protocol {
        Protocol::Auto => {}
        Protocol::Http => {
            if has_cluster {
                let expected =
                    "no cluster with `protocol: http`; requests go where their routes say";
                checker.problem_at("cluster", "found a cluster", expected);
            }
        }
        Protocol::Tcp => {
            if !has_cluster {
                checker.missing("cluster", "the cluster that connections go to");
            }
            if listener.routes.is_some() {
                let expected = "no routes with `protocol: tcp`; its connections go to `cluster`";
                checker.problem_at("routes", "found routes", expected);
            }
            // Limits that somebody counts on, and that nothing would hold.
            if listener.http != HttpOptions::default() {
                let expected = "no settings of HTTP with `protocol: tcp`";
                checker.problem_at("http", "found settings", expected);
            }
        }
        Protocol::TlsPassthrough => {
            if listener.routes.is_some() {
                let expected = "no routes with `protocol: tls_passthrough`; its connections go \
                                where `tls_routes` say, or to `cluster`";
                checker.problem_at("routes", "found routes", expected);
            }
            let some = match &listener.tls_routes {
                Some(names) => !names.is_empty(),
                None => !known.tls_routes.known.is_empty() || known.tls_routes.is_incomplete,
            };
            if !has_cluster && !some {
                checker.missing(
                    "tls_routes",
                    "TLS routes, or a cluster for every connection",
                );
            }
        }
    }
    let waits = listener.detect_timeout != Listener::DETECT_TIMEOUT;
    let shakes = listener.mtls.is_some();
    if waits && !shakes && matches!(listener.protocol, Protocol::Http | Protocol::Tcp) {
        let expected =
            "no detect_timeout with `protocol: http` or `tcp` and no mtls; nothing is detected";
        checker.problem_at("detect_timeout", "found a time", expected);
    }
    if listener.tls_routes.is_some() && matches!(listener.protocol, Protocol::Http | Protocol::Tcp)
    {
        let expected = "no TLS routes but with `protocol: auto` or `tls_passthrough`";
        checker.problem_at("tls_routes", "found TLS routes", expected);
    }
}

fn check_routes(
    field: &'static str,
    names: Option<&[Name]>,
    known: &Names<'_>,
    checker: &mut Checker<'_>,
) {
    let mut seen = HashSet::new();
    checker.each(field, names.unwrap_or_default(), |checker, name| {
        checker.reference(name, known);
        if !seen.insert(name) {
            let found = format!("{:?} is there twice", name.as_str());
            checker.problem(found, "each route once");
        }
    });
}

/// The kernel counts in seconds.
pub(super) fn check_tcp(tcp: &TcpOptions, checker: &mut Checker<'_>) {
    checker.field("tcp", |checker| {
        for (name, time) in [
            ("keepalive_time", tcp.keepalive_time),
            ("keepalive_interval", tcp.keepalive_interval),
        ] {
            if time.subsec_nanos() > 0 {
                checker.problem_at(name, format!("found {time:?}"), "whole seconds");
            }
        }
    });
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
    let mut taken = Taken::default();
    if let Some(admin) = &config.admin {
        checker.field("admin", |checker| taken.take(&admin.bind, checker));
    }
    if let Some(probes) = &config.probes {
        checker.field("probes", |checker| taken.take(&probes.bind, checker));
    }
    checker.each("listeners", &config.listeners, |checker, listener| {
        taken.take(&listener.bind, checker);
    });
}

/// Addresses, and the place that took each first.
#[derive(Default)]
struct Taken<'c> {
    paths: HashMap<&'c Path, String>,
    /// By port. Few share one.
    ports: HashMap<u16, Vec<(IpAddr, String)>>,
}

impl<'c> Taken<'c> {
    fn take(&mut self, bind: &'c BindAddress, checker: &mut Checker<'_>) {
        checker.field("bind", |checker| {
            let here = checker.here();
            let first = match bind {
                // What could not be read.
                BindAddress::Unix(path) if path.as_os_str().is_empty() => None,
                BindAddress::Unix(path) => match self.paths.entry(path) {
                    Entry::Occupied(first) => Some(first.get().clone()),
                    Entry::Vacant(free) => {
                        free.insert(here);
                        None
                    }
                },
                // The kernel chooses another port for each.
                BindAddress::Tcp(address) if address.port() == 0 => None,
                BindAddress::Tcp(address) => {
                    let same_port = self.ports.entry(address.port()).or_default();
                    let other = same_port.iter().find(|(ip, _)| collide(*ip, address.ip()));
                    let first = other.map(|(_, first)| first.clone());
                    if first.is_none() {
                        same_port.push((address.ip(), here));
                    }
                    first
                }
            };
            if let Some(first) = first {
                let found = format!("the address is taken by {first}");
                checker.problem(found, "an address of its own");
            }
        });
    }
}

/// Whether one port cannot be had at both. `[::]` takes both families, `0.0.0.0` all of one.
fn collide(a: IpAddr, b: IpAddr) -> bool {
    let covers =
        |all: IpAddr, one: IpAddr| all.is_unspecified() && (all.is_ipv6() || one.is_ipv4());
    a == b || covers(a, b) || covers(b, a)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_collide_where_one_takes_the_other_in() {
        for (a, b, expected) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("0.0.0.0", "127.0.0.1", true),
            ("0.0.0.0", "::1", false),
            ("0.0.0.0", "::", true),
            ("::", "127.0.0.1", true),
            ("::", "::1", true),
            ("::1", "127.0.0.1", false),
        ] {
            let (a, b) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(
                (collide(a, b), collide(b, a)),
                (expected, expected),
                "{a} {b}"
            );
        }
    }
}
