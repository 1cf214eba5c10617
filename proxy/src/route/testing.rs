//! Settings of routes made up for tests.

use std::sync::Arc;

use outrigger_config::model::{self, HeaderMatch, HostPattern, Match, PathMatch, QueryMatch};

use super::{Route, RouteTable, compile};
use crate::message::testing::TestRequest;
use crate::telemetry::{
    cells::PerWorker,
    metrics::{Cells, RouteCells},
};

pub(super) fn cells() -> Cells<RouteCells> {
    Arc::new(PerWorker::new(1))
}

/// A rule for requests that meet one of `matches`.
pub(super) fn rule(matches: Vec<Match>) -> model::Rule {
    model::Rule {
        matches,
        filters: Vec::new(),
        timeouts: model::Timeouts {
            request: None,
            backend_request: None,
        },
        backends: Vec::new(),
        session: None,
    }
}

/// A route with one rule per list of matches. Hosts are written as in a file.
pub(super) fn route(name: &str, hosts: &[&str], rules: Vec<Vec<Match>>) -> model::Route {
    model::Route {
        name: name.into(),
        hosts: hosts.iter().map(|host| pattern(host)).collect(),
        rules: rules.into_iter().map(rule).collect(),
    }
}

fn pattern(host: &str) -> HostPattern {
    match host.strip_prefix("*.") {
        Some(suffix) => HostPattern::Suffix(suffix.into()),
        None => HostPattern::Exact(host.into()),
    }
}

pub(super) fn every() -> Match {
    Match {
        path: None,
        method: None,
        grpc: None,
        headers: Vec::new(),
        query: Vec::new(),
    }
}

pub(super) fn exact(path: &str) -> Match {
    with_path(PathMatch::Exact(path.into()))
}

pub(super) fn prefix(path: &str) -> Match {
    with_path(PathMatch::Prefix(path.into()))
}

pub(super) fn regex(pattern: &str) -> Match {
    with_path(PathMatch::Regex(pattern.into()))
}

pub(super) fn with_path(path: PathMatch) -> Match {
    Match {
        path: Some(path),
        ..every()
    }
}

pub(super) fn header(name: &str) -> HeaderMatch {
    HeaderMatch {
        name: name.into(),
        exact: None,
        regex: None,
        present: None,
    }
}

pub(super) fn query(name: &str) -> QueryMatch {
    QueryMatch {
        name: name.into(),
        exact: None,
        regex: None,
        present: None,
    }
}

/// `base`, and a field with this value.
pub(super) fn and_header(mut base: Match, name: &str, value: &str) -> Match {
    base.headers.push(HeaderMatch {
        exact: Some(value.into()),
        ..header(name)
    });
    base
}

/// `base`, and a query parameter with this value.
pub(super) fn and_query(mut base: Match, name: &str, value: &str) -> Match {
    base.query.push(QueryMatch {
        exact: Some(value.into()),
        ..query(name)
    });
    base
}

/// `base`, and this method.
pub(super) fn and_method(mut base: Match, method: &str) -> Match {
    base.method = Some(method.into());
    base
}

pub(super) fn compiled(route: &model::Route) -> Arc<Route> {
    compile(route, &|_| None, cells()).unwrap()
}

pub(super) fn table(routes: &[model::Route]) -> RouteTable {
    let routes: Vec<_> = routes.iter().map(compiled).collect();
    RouteTable::build(&routes)
}

/// What serves a request: route, rule and length of the matched prefix.
pub(super) type Served = Option<(String, usize, Option<usize>)>;

pub(super) fn found(table: &RouteTable, request: &TestRequest) -> Served {
    let found = table.find(&request.view())?;
    let route = found.rule.route.to_string();
    Some((route, found.rule.index, found.matched_prefix))
}
