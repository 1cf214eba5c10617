//! Identities, trust, and mTLS of listeners and clusters. Whether the files are there and right is
//! seen where they are read.

use std::collections::HashMap;

use super::{Checker, tls::file, tls::file_here};
use crate::model::{Config, Listener, Mtls, Protocol, Trust, TrustDomain};

/// The trust domains of a configuration.
pub(super) struct Trusted<'c>(HashMap<&'c TrustDomain, u32>);

pub(super) fn check<'c>(config: &'c Config, checker: &mut Checker<'_>) -> Trusted<'c> {
    if let Some(identity) = &config.mesh.identity {
        checker.field("mesh", |checker| {
            checker.field("identity", |checker| {
                file("cert", &identity.cert, checker);
                file("key", &identity.key, checker);
            });
        });
    }
    let mut known = HashMap::new();
    checker.each("trust", &config.trust, |checker, trust| {
        check_trust(trust, checker);
        let at = known.len() as u32;
        if let Some(first) = known.insert(&trust.name, at)
            && !checker.is_unread()
        {
            let found = format!("{} is the name of trust[{first}] too", trust.name);
            checker.problem_at("name", found, "each trust domain once");
        }
    });
    Trusted(known)
}

fn check_trust(trust: &Trust, checker: &mut Checker<'_>) {
    if trust.roots.is_empty() && !checker.is_unread() {
        checker.problem_at("roots", "found no files", "at least one");
    }
    checker.each("roots", &trust.roots, |checker, path| {
        file_here(path, checker);
    });
    checker.each(
        "revocation_lists",
        &trust.revocation_lists,
        |checker, path| file_here(path, checker),
    );
}

pub(super) fn check_listener(
    listener: &Listener,
    config: &Config,
    trusted: &Trusted<'_>,
    checker: &mut Checker<'_>,
) {
    if listener.mtls_in(&config.mesh) == Mtls::Off {
        return;
    }
    if config.mesh.identity.is_none() {
        let expected = "`mesh.identity`, which clients are shown";
        checker.problem_at("mtls", "found no identity of ours", expected);
    }
    if trusted.0.is_empty() {
        let expected = "`trust` in a domain of clients";
        checker.problem_at("mtls", "found nobody who is believed", expected);
    }
    if listener.tls.is_some() {
        let expected = "one of `tls` and `mtls`; a connection is encrypted once";
        checker.problem_at("mtls", "found settings of `tls` beside it", expected);
    }
    if listener.protocol == Protocol::TlsPassthrough || listener.tls_routes.is_some() {
        let expected = "no mtls with `protocol: tls_passthrough` or `tls_routes`; \
                        what passes through is not ended here";
        checker.problem_at("mtls", "found TLS that passes through", expected);
    }
}

/// Who endpoints are, and whether they can be known.
pub(super) fn check_cluster(
    cluster: &crate::model::Cluster,
    config: &Config,
    trusted: &Trusted<'_>,
    checker: &mut Checker<'_>,
) {
    if cluster.identities.is_empty() {
        return;
    }
    if config.mesh.identity.is_none() {
        let expected = "`mesh.identity`, which endpoints are shown";
        checker.problem_at("identities", "found no identity of ours", expected);
    }
    if cluster.tls.is_some() {
        let expected = "one of `tls` and `identities`; a connection is encrypted once";
        checker.problem_at(
            "identities",
            "found settings of `tls` beside them",
            expected,
        );
    }
    checker.each("identities", &cluster.identities, |checker, id| {
        check_domain(id.trust_domain(), trusted, checker);
    });
}

/// Whether somebody could vouch for those of a domain.
pub(super) fn check_domain(domain: &TrustDomain, trusted: &Trusted<'_>, checker: &mut Checker<'_>) {
    if !trusted.0.contains_key(domain) && !checker.is_unread() {
        let found = format!("the trust domain {domain} is not in `trust`");
        checker.problem(found, "one that is");
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    const MESH: &str =
        "mesh: { identity: { cert: a, key: b } }\ntrust: [{ name: d, roots: [c] }]\n";

    fn with_mesh(text: &str, expected: &[&str]) {
        check(&format!("{MESH}{text}"), expected);
    }

    #[test]
    fn what_is_right() {
        with_mesh(
            "listeners: [{ name: l, bind: '127.0.0.1:1', mtls: permissive }]\n\
             clusters: [{ name: c, endpoints: ['127.0.0.1:1'], identities: ['spiffe://d/web'] }]",
            &[],
        );
        // By default an inbound listener is strict where it can be.
        check(
            "mesh: { identity: { cert: a, key: b } }\n\
             listeners: [{ name: l, bind: '127.0.0.1:1', direction: inbound }]",
            &[
                "listeners[0].mtls: found nobody who is believed; expected `trust` in a domain of clients",
            ],
        );
        check(
            "mesh: { identity: { cert: a, key: b } }\n\
             listeners: [{ name: l, bind: '127.0.0.1:1', direction: inbound, mtls: off }, { name: m, bind: '127.0.0.1:2' }]",
            &[],
        );
    }

    #[test]
    fn what_is_missing_or_too_much() {
        check(
            "listeners: [{ name: l, bind: '127.0.0.1:1', mtls: strict }]\n\
             clusters: [{ name: c, endpoints: ['127.0.0.1:1'], identities: ['spiffe://d/web'] }]",
            &[
                "listeners[0].mtls: found no identity of ours; expected `mesh.identity`, which clients are shown",
                "listeners[0].mtls: found nobody who is believed; expected `trust` in a domain of clients",
                "clusters[0].identities: found no identity of ours; expected `mesh.identity`, which endpoints are shown",
                "clusters[0].identities[0]: the trust domain d is not in `trust`; expected one that is",
            ],
        );
        with_mesh(
            "listeners: [{ name: l, bind: '127.0.0.1:1', mtls: strict, tls: { certificates: [{ cert: a, key: b }] } },\n\
             { name: m, bind: '127.0.0.1:2', mtls: strict, tls_routes: [] }]\n\
             clusters: [{ name: c, endpoints: ['127.0.0.1:1'], identities: ['spiffe://d/web'], tls: {}, proxy_protocol: v1 }]",
            &[
                "listeners[0].mtls: found settings of `tls` beside it; expected one of `tls` and `mtls`; a connection is encrypted once",
                "listeners[1].mtls: found TLS that passes through; expected no mtls with `protocol: tls_passthrough` or `tls_routes`; what passes through is not ended here",
                "clusters[0].identities: found settings of `tls` beside them; expected one of `tls` and `identities`; a connection is encrypted once",
                "clusters[0].proxy_protocol: found a PROXY header for connections over TLS; expected `off`, or no TLS",
            ],
        );
        check(
            "mesh: { identity: { cert: '', key: b } }\n\
             trust: [{ name: d, roots: [], revocation_lists: [''] }, { name: d, roots: [a] }, { name: D, roots: [a] }]",
            &[
                "mesh.identity.cert: found \"\"; expected the path of a file",
                "trust[0].roots: found no files; expected at least one",
                "trust[0].revocation_lists[0]: found \"\"; expected the path of a file",
                "trust[1].name: d is the name of trust[0] too; expected each trust domain once",
                "trust[2].name: found \"D\"; expected a trust domain: 1 to 255 of a-z 0-9 . - _",
            ],
        );
    }
}
