//! From the settings of a route to what serves requests.

use std::{fmt, sync::Arc, time::Duration};

use outrigger_config::model;
use regex::bytes::Regex;

use super::{
    Backends, Host, Route, Rule, Session,
    matcher::{CallMatch, Condition, Conditions, Match, PathMatch, Test},
};
use crate::{
    cluster::Cluster,
    filter::{self, Filters},
    message::path,
    telemetry::metrics::{Cells, RouteCells},
};

/// What in a route could not be compiled. Settings are validated before, so this is not expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CompileError {
    /// Where, below the route: `rules[0].filters[1]`.
    pub(crate) path: String,
    pub(crate) reason: String,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.reason)
    }
}

impl CompileError {
    /// The same error, seen from one level further out.
    fn within(mut self, outer: &str) -> Self {
        if !self.path.is_empty() && !self.path.starts_with('[') {
            self.path.insert(0, '.');
        }
        self.path.insert_str(0, outer);
        self
    }
}

fn fault(path: &str, reason: impl Into<String>) -> CompileError {
    CompileError {
        path: path.into(),
        reason: reason.into(),
    }
}

/// Compiles a route. `clusters` resolves names; what it does not know becomes a backend whose
/// share of the requests gets 500.
pub(crate) fn compile(
    config: &model::Route,
    clusters: &dyn Fn(&str) -> Option<Arc<Cluster>>,
    cells: Cells<RouteCells>,
) -> Result<Arc<Route>, CompileError> {
    let name: Arc<str> = config.name.as_str().into();
    let of = Arc::clone(&name);
    let rules = list("rules", &config.rules, move |index, settings| {
        let _ = index;
        let rule = Rule {
            route: Arc::clone(&of),
            #[cfg(test)]
            index,
            matches: matches(&settings.matches)?,
            filters: filters(&settings.filters)?,
            request_timeout: nonzero(settings.timeouts.request),
            backend_timeout: nonzero(settings.timeouts.backend_request),
            backends: backends(&settings.backends, clusters)?,
            session: settings.session.as_ref().map(session),
            cells: Arc::clone(&cells),
        };
        Ok(Arc::new(rule))
    })?;
    Ok(Arc::new(Route {
        name,
        hosts: config.hosts.iter().map(host).collect(),
        rules,
    }))
}

/// Compiles every item; an error tells which.
fn list<S, T>(
    name: &str,
    items: &[S],
    mut compile: impl FnMut(usize, &S) -> Result<T, CompileError>,
) -> Result<Box<[T]>, CompileError> {
    let items = items.iter().enumerate();
    items
        .map(|(index, item)| {
            compile(index, item).map_err(|error| error.within(&format!("{name}[{index}]")))
        })
        .collect()
}

pub(super) fn host(pattern: &model::HostPattern) -> Host {
    let normal = |name: &str| {
        let name = name.strip_suffix('.').unwrap_or(name);
        name.to_ascii_lowercase().into_bytes().into()
    };
    match pattern {
        model::HostPattern::Exact(name) => Host::Exact(normal(name)),
        model::HostPattern::Suffix(name) => Host::Suffix(normal(name)),
    }
}

/// `0s` means none.
fn nonzero(timeout: Option<Duration>) -> Option<Duration> {
    timeout.filter(|timeout| !timeout.is_zero())
}

fn session(settings: &model::Session) -> Session {
    Session {
        cookie: settings.cookie.as_str().into(),
        path: settings.path.as_str().into(),
        max_age: settings.max_age,
    }
}

fn filters(settings: &[model::Filter]) -> Result<Filters, CompileError> {
    list("filters", settings, |_, settings| {
        filter::compile(settings).map_err(|reason| fault("", reason))
    })
}

fn backends(
    settings: &[model::Backend],
    clusters: &dyn Fn(&str) -> Option<Arc<Cluster>>,
) -> Result<Backends, CompileError> {
    let list = list("backends", settings, |_, backend| {
        let cluster = clusters(backend.cluster.as_str());
        Ok((cluster, filters(&backend.filters)?, backend.weight))
    })?;
    Ok(Backends::new(list.into_iter()))
}

pub(super) fn matches(settings: &[model::Match]) -> Result<Box<[Match]>, CompileError> {
    if settings.is_empty() {
        let every_request = Match {
            path: PathMatch::Any,
            conditions: None,
        };
        return Ok([every_request].into());
    }
    list("matches", settings, |_, settings| {
        let method = settings.method.as_ref();
        let conditions = Conditions {
            grpc: settings.grpc.as_ref().map(call_match).transpose()?,
            method: method.map(|method| method.as_str().as_bytes().into()),
            headers: list("headers", &settings.headers, |_, header| {
                Ok(Condition {
                    name: bytes(&header.name.as_str().to_ascii_lowercase()),
                    test: test(header.exact.as_ref(), header.regex.as_ref(), header.present)?,
                })
            })?,
            query: list("query", &settings.query, |_, query| {
                Ok(Condition {
                    name: bytes(query.name.as_str()),
                    test: test(query.exact.as_ref(), query.regex.as_ref(), query.present)?,
                })
            })?,
        };
        Ok(Match {
            path: match &settings.grpc {
                Some(call) => call_path(call),
                None => path_match(settings.path.as_ref())?,
            },
            conditions: (!conditions.is_empty()).then(|| Box::new(conditions)),
        })
    })
}

fn call_match(settings: &model::GrpcMatch) -> Result<CallMatch, CompileError> {
    let name = |place: &str, name: &Option<model::GrpcName>| {
        let test = |n: &model::GrpcName| test(n.exact.as_ref(), n.regex.as_ref(), None);
        let compiled = name.as_ref().map(test).transpose();
        compiled.map_err(|error| error.within(&format!("grpc.{place}")))
    };
    Ok(CallMatch {
        service: name("service", &settings.service)?,
        method: name("method", &settings.method)?,
    })
}

/// How specific the names of a call are, as a path: the service counts before the method.
fn call_path(settings: &model::GrpcMatch) -> PathMatch {
    let exact = |name: &Option<model::GrpcName>| name.as_ref().and_then(|n| n.exact.clone());
    match (exact(&settings.service), exact(&settings.method)) {
        (Some(service), Some(method)) => {
            let path = format!("/{}/{}", service.as_str(), method.as_str());
            PathMatch::Exact(bytes(&path))
        }
        (Some(service), None) => PathMatch::Prefix(bytes(&format!("/{}", service.as_str()))),
        _ if settings.service.is_none() && settings.method.is_none() => PathMatch::Any,
        _ => PathMatch::Names,
    }
}

fn bytes(text: &str) -> Arc<[u8]> {
    text.as_bytes().into()
}

fn test(
    exact: Option<&model::Text>,
    pattern: Option<&model::Pattern>,
    present: Option<bool>,
) -> Result<Test, CompileError> {
    match (exact, pattern, present) {
        (Some(value), None, None) => Ok(Test::Exact(bytes(value.as_str()))),
        (None, Some(pattern), None) => Ok(Test::Regex(regex("regex", pattern)?)),
        (None, None, Some(true)) => Ok(Test::Present),
        (None, None, Some(false)) => Ok(Test::Absent),
        _ => Err(fault(
            "",
            "exactly one of exact, regex and present is needed",
        )),
    }
}

fn regex(path: &str, pattern: &model::Pattern) -> Result<Regex, CompileError> {
    pattern
        .compile()
        .map_err(|error| fault(path, error.to_string()))
}

/// Paths are normalised as those of requests are, so that the two can meet. The slash at the end
/// of a prefix does not count.
fn path_match(settings: Option<&model::PathMatch>) -> Result<PathMatch, CompileError> {
    let normal = |text: &model::PathText| match path::normalise(text.as_str().as_bytes(), false) {
        Ok(changed) if text.as_str().starts_with('/') => {
            Ok(changed.unwrap_or_else(|| text.as_str().into()))
        }
        Ok(_) => Err(fault("path", path::PathError::NotAbsolute.detail())),
        Err(error) => Err(fault("path", error.detail())),
    };
    Ok(match settings {
        None => PathMatch::Any,
        Some(model::PathMatch::Exact(text)) => PathMatch::Exact(bytes(&normal(text)?)),
        Some(model::PathMatch::Prefix(text)) => {
            let text = normal(text)?;
            PathMatch::Prefix(bytes(text.strip_suffix('/').unwrap_or(&text)))
        }
        Some(model::PathMatch::Regex(pattern)) => PathMatch::Regex(regex("path.regex", pattern)?),
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{cells, every, exact, header, regex, route, rule},
        *,
    };

    fn reject(rule: model::Rule, path: &str) {
        let mut config = route("r", &[], vec![Vec::new()]);
        config.rules.push(rule);
        let error = compile(&config, &|_| None, cells()).err().unwrap();
        assert_eq!(error.path, path, "{error}");
    }

    #[test]
    fn errors_tell_where() {
        reject(
            rule(vec![every(), regex("(")]),
            "rules[1].matches[1].path.regex",
        );
        reject(rule(vec![exact("a")]), "rules[1].matches[0].path");
        reject(rule(vec![exact("/%zz")]), "rules[1].matches[0].path");
        let mut undecided = every();
        undecided.headers.push(header("a"));
        reject(rule(vec![undecided]), "rules[1].matches[0].headers[0]");
        let mut broken = every();
        broken.headers.push(model::HeaderMatch {
            regex: Some("[".into()),
            ..header("a")
        });
        reject(rule(vec![broken]), "rules[1].matches[0].headers[0].regex");
        let teapot = model::Filter::Redirect(model::Redirect {
            scheme: None,
            host: None,
            path: None,
            port: None,
            status: 418,
        });
        let mut filtered = rule(Vec::new());
        filtered.filters.push(teapot.clone());
        reject(filtered, "rules[1].filters[0]");
        let mut filtered = rule(Vec::new());
        filtered.backends.push(backend("a", 1));
        filtered.backends[0].filters.push(teapot);
        reject(filtered, "rules[1].backends[0].filters[0]");
    }

    fn backend(cluster: &str, weight: u32) -> model::Backend {
        model::Backend {
            cluster: cluster.into(),
            weight,
            filters: Vec::new(),
        }
    }

    #[test]
    fn settings_become_what_serves() {
        let mut config = route("shop", &["A.example.", "*.B.example"], vec![Vec::new()]);
        let settings = &mut config.rules[0];
        settings.timeouts = model::Timeouts {
            request: Some(Duration::ZERO),
            backend_request: Some(Duration::from_secs(3)),
        };
        settings.backends = vec![backend("a", 0), backend("missing", 1)];
        settings.session = Some(model::Session {
            cookie: "c".into(),
            path: model::PathText::root(),
            max_age: None,
        });
        let asked = std::cell::RefCell::new(Vec::new());
        let clusters = |name: &str| {
            asked.borrow_mut().push(name.to_owned());
            None
        };
        let route = compile(&config, &clusters, cells()).unwrap();
        assert_eq!(*asked.borrow(), ["a", "missing"]);
        assert!(matches!(&*route.hosts, [Host::Exact(a), Host::Suffix(b)]
            if &**a == b"a.example" && &**b == b"b.example"));
        let rule = &route.rules[0];
        assert_eq!(&*rule.route, "shop");
        assert_eq!(rule.request_timeout, None);
        assert_eq!(rule.backend_timeout, Some(Duration::from_secs(3)));
        let picked = rule
            .backends
            .pick(&mut fastrand::Rng::with_seed(1))
            .unwrap();
        assert!(picked.cluster.is_none());
        assert!(std::ptr::eq(picked, &raw const rule.backends.all()[1]));
        assert_eq!(rule.session.as_ref().map(|s| &*s.cookie), Some("c"));
    }
}
