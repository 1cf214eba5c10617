//! All routes of a listener, indexed by host.

use std::sync::Arc;

use super::{
    Host, Route, Rule,
    bucket::Entry,
    host_index::HostIndex,
    strings::{Strings, lower_case, suffixes},
};
use crate::message::RequestView;

/// Routes in the order of their precedence, indexed. Listeners that serve the same routes share one
/// table.
#[derive(Default)]
pub(crate) struct RouteTable {
    exact: Strings<HostIndex>,
    /// Wildcards, without `*.`.
    suffixes: Strings<HostIndex>,
    any: HostIndex,
}

/// The rule that serves a request.
pub(crate) struct Found<'a> {
    pub(crate) rule: &'a Arc<Rule>,
    /// Length of the path's prefix that matched, without a slash at its end; `None` where the rule
    /// did not match by prefix.
    pub(crate) matched_prefix: Option<usize>,
}

/// Longest host that can match (RFC 1035 section 2.3.4).
const LONGEST_HOST: usize = 255;

impl RouteTable {
    /// Indexes routes. Among equally specific matches the one of the earlier route wins.
    pub(crate) fn build(routes: &[Arc<Route>]) -> Self {
        let mut table = Self::default();
        for route in routes {
            for host in &route.hosts {
                let (hosts, name) = match host {
                    Host::Exact(name) => (&mut table.exact, name),
                    Host::Suffix(name) => (&mut table.suffixes, name),
                };
                push(hosts.get_or_insert_with(name, HostIndex::default), route);
            }
            if route.hosts.is_empty() {
                push(&mut table.any, route);
            }
        }
        table.exact.finish(HostIndex::finish);
        table.suffixes.finish(HostIndex::finish);
        table.any.finish();
        table
    }

    /// The most specific rule that a request meets.
    pub(crate) fn find(&self, request: &RequestView<'_>) -> Option<Found<'_>> {
        let path = request.path();
        let entry = self
            .find_by_host(path, request)
            .or_else(|| self.any.find(path, request))?;
        Some(Found {
            rule: &entry.rule,
            matched_prefix: entry.matcher()?.prefix(),
        })
    }

    fn find_by_host(&self, path: &[u8], request: &RequestView<'_>) -> Option<&Entry> {
        if self.exact.is_empty() && self.suffixes.is_empty() {
            return None;
        }
        let host = request.host();
        let host = host.strip_suffix(b".").unwrap_or(host);
        let mut buffer = [0; LONGEST_HOST];
        let host = lower_case(host, &mut buffer)?;
        let exact = self.exact.get(host);
        exact
            .and_then(|index| index.find(path, request))
            .or_else(|| self.find_by_suffix(host, path, request))
    }

    fn find_by_suffix(
        &self,
        host: &[u8],
        path: &[u8],
        request: &RequestView<'_>,
    ) -> Option<&Entry> {
        if self.suffixes.is_empty() {
            return None;
        }
        suffixes(host)
            .filter_map(|suffix| self.suffixes.get(suffix))
            .find_map(|index| index.find(path, request))
    }
}

fn push(index: &mut HostIndex, route: &Route) {
    for rule in &route.rules {
        for number in (0..).take(rule.matches.len()) {
            index.push(Entry {
                rule: Arc::clone(rule),
                index: number,
            });
        }
    }
}
