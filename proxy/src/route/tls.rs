//! How a TLS connection that is passed through finds its cluster: by the name that its client asks
//! for, with the semantics of Gateway API's `TLSRoute`.
//!
//! An exact name comes before a wildcard, a longer wildcard before a shorter one, any of them
//! before a route for every name. Unlike with HTTP there is nothing else to match, so the first
//! that fits is the one.

use std::sync::Arc;

use outrigger_config::model;

use super::{
    Backends, Host,
    compile::host,
    strings::{Strings, suffixes},
};
use crate::{cluster::Cluster, filter::Filters};

/// A TLS route, compiled.
pub(crate) struct TlsRoute {
    pub(crate) name: Arc<str>,
    hosts: Box<[Host]>,
    pub(crate) backends: Backends,
}

impl TlsRoute {
    /// Compiles a route. A cluster that `clusters` does not know becomes a backend without one.
    pub(crate) fn compile(
        config: &model::TlsRoute,
        clusters: &dyn Fn(&str) -> Option<Arc<Cluster>>,
    ) -> Arc<Self> {
        let backends = config.backends.iter().map(|backend| {
            let cluster = clusters(backend.cluster.as_str());
            (cluster, Filters::default(), backend.weight)
        });
        Arc::new(Self {
            name: config.name.as_str().into(),
            hosts: config.hosts.iter().map(host).collect(),
            backends: Backends::new(backends),
        })
    }
}

/// The TLS routes of a listener, by name.
#[derive(Default)]
pub(crate) struct TlsTable {
    exact: Strings<Arc<TlsRoute>>,
    /// Wildcards, without `*.`.
    suffixes: Strings<Arc<TlsRoute>>,
    any: Option<Arc<TlsRoute>>,
}

impl TlsTable {
    /// Indexes routes; of two with the same name the earlier one counts.
    pub(crate) fn build<'a>(routes: impl Iterator<Item = &'a Arc<TlsRoute>>) -> Self {
        let mut table = Self::default();
        for route in routes {
            for host in &route.hosts {
                let (map, name) = match host {
                    Host::Exact(name) => (&mut table.exact, name),
                    Host::Suffix(name) => (&mut table.suffixes, name),
                };
                map.get_or_insert_with(name, || Arc::clone(route));
            }
            if route.hosts.is_empty() {
                table.any.get_or_insert_with(|| Arc::clone(route));
            }
        }
        table.exact.finish(|_| ());
        table.suffixes.finish(|_| ());
        table
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.suffixes.is_empty() && self.any.is_none()
    }

    /// The route for a name in lower case and without a dot at its end; or for a client that
    /// names none.
    pub(crate) fn find(&self, name: Option<&[u8]>) -> Option<&Arc<TlsRoute>> {
        let by_name = name.and_then(|name| {
            let exact = self.exact.get(name);
            exact.or_else(|| suffixes(name).find_map(|suffix| self.suffixes.get(suffix)))
        });
        by_name.or(self.any.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(routes: &str) -> TlsTable {
        let text = format!("version: 1\nclusters: [{{ name: c, endpoints: [] }}]\n{routes}");
        let loaded = outrigger_config::read(&text, "x.yaml", &|_| None).unwrap();
        let routes: Vec<_> = loaded
            .config
            .tls_routes
            .iter()
            .map(|route| TlsRoute::compile(route, &|_| None))
            .collect();
        TlsTable::build(routes.iter())
    }

    #[test]
    fn the_most_specific_name_wins_whatever_the_order() {
        let text = "tls_routes:
  - { name: every, backends: [{ cluster: c }] }
  - { name: com, hosts: ['*.com'], backends: [{ cluster: c }] }
  - { name: shops, hosts: ['*.shop.com', shop.com], backends: [{ cluster: c }] }
  - { name: exact, hosts: [a.shop.com, Other.example], backends: [{ cluster: c }] }
";
        let table = table(text);
        for (name, expected) in [
            ("a.shop.com", "exact"),
            ("other.example", "exact"),
            ("b.shop.com", "shops"),
            ("x.a.shop.com", "shops"),
            ("shop.com", "shops"),
            ("myshop.com", "com"),
            ("com", "every"),
            (".com", "every"),
            ("unknown.example", "every"),
        ] {
            let found = table.find(Some(name.as_bytes())).unwrap();
            assert_eq!(&*found.name, expected, "{name}");
        }
        assert_eq!(&*table.find(None).unwrap().name, "every");
    }

    #[test]
    fn without_a_route_for_every_name_others_find_none() {
        let only = table("tls_routes: [{ name: a, hosts: [a.b], backends: [{ cluster: c }] }]");
        assert!(only.find(Some(b"a.b")).is_some());
        assert!(only.find(Some(b"x.a.b")).is_none() && only.find(None).is_none());
        assert!(table("").is_empty() && !only.is_empty());
    }
}
