//! Routes: matches, filters, backends.

use std::collections::HashSet;
use std::time::Duration;

use super::{Checker, Names, grpc};
use crate::engine::Grammar as _;
use crate::model::{
    Backend, DirectResponse, Filter, HeaderEdits, HeaderName, HeaderValue, Match, PathMatch,
    PathRewrite, Pattern, Redirect, Rewrite, Route, Rule, Session, Text, Timeouts, is_host,
    is_token,
};
use crate::problem::Segment;

/// Fields that frame a message or belong to one connection (RFC 9110 section 7.6.1, RFC 9112):
/// we write them ourselves, from what was parsed. `Host` is changed by `rewrite`.
const OURS: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Methods that are registered; others are allowed, but not these in lower case.
const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
];

pub(super) fn check(route: &Route, clusters: &Names<'_>, checker: &mut Checker<'_>) {
    if route.rules.is_empty() {
        checker.problem_at("rules", "found no rules", "at least one rule");
    }
    checker.each("rules", &route.rules, |checker, rule| {
        check_rule(rule, clusters, checker);
    });
}

fn check_rule(rule: &Rule, clusters: &Names<'_>, checker: &mut Checker<'_>) {
    checker.each("matches", &rule.matches, check_match);
    let answers = rule.filters.iter().filter(|filter| answers(filter)).count();
    check_destination(rule, answers, checker);
    check_filters(&rule.filters, &rule.matches, checker);
    let rewrites = rule.filters.iter().any(is_rewrite);
    checker.each("backends", &rule.backends, |checker, backend| {
        check_backend(backend, rewrites, clusters, checker);
        check_filters(&backend.filters, &rule.matches, checker);
    });
    check_timeouts(&rule.timeouts, checker);
    if answers > 0 && rule.timeouts != Timeouts::default() {
        let expected = "no timeouts where a filter answers; nothing is waited for";
        checker.problem_at("timeouts", "found timeouts", expected);
    }
    if let Some(session) = &rule.session {
        checker.field("session", |checker| check_session(session, checker));
        if answers > 0 {
            let expected = "no session where a filter answers";
            checker.problem_at("session", "found a session", expected);
        }
    }
}

/// Whether a filter ends the request's way.
fn answers(filter: &Filter) -> bool {
    matches!(filter, Filter::Redirect(_) | Filter::DirectResponse(_))
}

fn is_rewrite(filter: &Filter) -> bool {
    matches!(filter, Filter::Rewrite(_))
}

/// A rule answers or forwards.
fn check_destination(rule: &Rule, answers: usize, checker: &mut Checker<'_>) {
    match (answers, rule.backends.is_empty()) {
        (0, true) => {
            checker.missing(
                "backends",
                "where requests go, unless a filter answers them",
            );
        }
        (1.., false) => {
            let expected = "no backends where a filter answers";
            checker.problem_at("backends", "found backends", expected);
        }
        _ => {}
    }
    if answers > 1 {
        let expected = "one of redirect, direct_response";
        checker.problem_at("filters", "more than one filter that answers", expected);
    }
    if answers > 0 && rule.filters.iter().any(is_rewrite) {
        let expected = "no rewrite where a filter answers";
        checker.problem_at("filters", "found a rewrite", expected);
    }
    if rule
        .filters
        .iter()
        .filter(|filter| is_rewrite(filter))
        .count()
        > 1
    {
        checker.problem_at("filters", "more than one rewrite", "one rewrite");
    }
}

fn check_backend(
    backend: &Backend,
    rewrites: bool,
    clusters: &Names<'_>,
    checker: &mut Checker<'_>,
) {
    checker.field("cluster", |checker| {
        checker.reference(&backend.cluster, clusters);
    });
    let own = backend
        .filters
        .iter()
        .filter(|filter| is_rewrite(filter))
        .count();
    if own + usize::from(rewrites) > 1 {
        let expected = "one rewrite for a request, of the rule or of the backend";
        checker.problem_at("filters", "more than one rewrite", expected);
    }
    if backend.filters.iter().any(answers) {
        let expected = "redirect and direct_response in the filters of the rule";
        checker.problem_at("filters", "found a filter that answers", expected);
    }
}

pub(super) fn check_match(checker: &mut Checker<'_>, condition: &Match) {
    if let Some(method) = &condition.method {
        let text = method.as_str();
        let upper = text.to_ascii_uppercase();
        if !is_token(text) {
            checker.problem_at("method", format!("found {text:?}"), "a method such as GET");
        } else if upper != text && METHODS.contains(&upper.as_str()) {
            let expected = format!("{upper}; methods are case-sensitive");
            checker.problem_at("method", format!("found {text:?}"), expected);
        }
    }
    if let Some(call) = &condition.grpc {
        grpc::check(condition, call, checker);
    }
    let mut known = HashSet::new();
    checker.each("headers", &condition.headers, |checker, header| {
        let name = header.name.as_str();
        if !name.is_empty() && !known.insert(name.to_ascii_lowercase()) {
            let found = format!("a second condition on {name:?}");
            checker.problem_at("name", found, "one condition on each field");
        }
        let not_a_value = |text: &Text| HeaderValue::parse(text.as_str()).is_err();
        if header.exact.as_ref().is_some_and(not_a_value) {
            let expected = HeaderValue::SCALAR.expected;
            checker.problem_at("exact", "found no header value", expected);
        }
        let (exact, regex) = (header.exact.as_ref(), header.regex.as_ref());
        one_condition(exact, regex, header.present, checker);
    });
    let mut known = HashSet::new();
    checker.each("query", &condition.query, |checker, parameter| {
        if !known.insert(parameter.name.as_str()) {
            let found = format!("a second condition on {:?}", parameter.name.as_str());
            checker.problem_at("name", found, "one condition on each parameter");
        }
        let (exact, regex) = (parameter.exact.as_ref(), parameter.regex.as_ref());
        one_condition(exact, regex, parameter.present, checker);
    });
}

fn one_condition(
    exact: Option<&Text>,
    regex: Option<&Pattern>,
    present: Option<bool>,
    checker: &mut Checker<'_>,
) {
    let given = [
        ("exact", exact.is_some()),
        ("regex", regex.is_some()),
        ("present", present.is_some()),
    ];
    let given: Vec<&str> = given.iter().filter(|g| g.1).map(|g| g.0).collect();
    let expected = "exactly one of exact, regex, present";
    match given.as_slice() {
        [_] => {}
        [] if checker.is_unread() => {}
        [] => checker.problem("found no condition", expected),
        several => checker.problem(format!("found {} together", several.join(", ")), expected),
    }
}

fn check_filters(filters: &[Filter], matches: &[Match], checker: &mut Checker<'_>) {
    checker.each("filters", filters, |checker, filter| match filter {
        Filter::RequestHeaders(edits) => {
            checker.field("request_headers", |checker| check_edits(edits, checker));
        }
        Filter::ResponseHeaders(edits) => {
            checker.field("response_headers", |checker| check_edits(edits, checker));
        }
        Filter::Rewrite(rewrite) => {
            checker.field("rewrite", |checker| {
                check_rewrite(rewrite, matches, checker);
            });
        }
        Filter::Redirect(redirect) => {
            checker.field("redirect", |checker| {
                check_redirect(redirect, matches, checker);
            });
        }
        Filter::DirectResponse(response) => {
            checker.field("direct_response", |checker| {
                check_response(response, checker);
            });
        }
    });
}

fn check_edits(edits: &HeaderEdits, checker: &mut Checker<'_>) {
    if edits.remove.is_empty() && edits.set.is_empty() && edits.add.is_empty() {
        if !checker.is_unread() {
            checker.problem("changes nothing", "at least one of remove, set, add");
        }
        return;
    }
    checker.each("remove", &edits.remove, |checker, name| {
        if let Some(expected) = refusal(name) {
            checker.problem(format!("found {:?}", name.as_str()), expected);
        }
    });
    for (list, fields) in [("set", &edits.set), ("add", &edits.add)] {
        checker.field(list, |checker| {
            for (name, _) in fields {
                if let Some(expected) = refusal(name) {
                    let segment = Segment::Field(name.as_str().to_owned().into());
                    checker.path.push(segment);
                    checker.problem("a field that is not yours to change", expected);
                    checker.path.pop();
                }
            }
        });
    }
}

/// What is expected instead of an edit of a field that we write ourselves.
fn refusal(name: &HeaderName) -> Option<&'static str> {
    let lower = name.as_str().to_ascii_lowercase();
    match lower.as_str() {
        "host" => Some("`rewrite: { host: ... }` for the host"),
        lower if OURS.contains(&lower) => {
            Some("no field that frames a message or belongs to one connection")
        }
        _ => None,
    }
}

fn check_rewrite(rewrite: &Rewrite, matches: &[Match], checker: &mut Checker<'_>) {
    if rewrite.host.is_none() && rewrite.path.is_none() && !checker.is_unread() {
        checker.problem("changes nothing", "at least one of host, path");
    }
    if let Some(host) = &rewrite.host {
        let text = host.as_str();
        let port = text.rsplit_once(':').and_then(|(host, port)| {
            let port: u16 = port.parse().ok()?;
            (port > 0 && is_host(host)).then_some(port)
        });
        if port.is_none() && !is_host(text) {
            checker.problem_at("host", format!("found {text:?}"), "a host, or host:port");
        }
    }
    check_path_rewrite(rewrite.path.as_ref(), matches, checker);
}

fn check_path_rewrite(path: Option<&PathRewrite>, matches: &[Match], checker: &mut Checker<'_>) {
    let Some(PathRewrite::ReplacePrefix(_)) = path else {
        return;
    };
    let has_prefix = |condition: &Match| matches!(condition.path, Some(PathMatch::Prefix(_)));
    if matches.is_empty() || !matches.iter().all(has_prefix) {
        checker.field("path", |checker| {
            checker.problem_at(
                "replace_prefix",
                "not every match of the rule has a path prefix",
                "`path: { prefix: ... }` in each, or replace_full",
            );
        });
    }
}

fn check_redirect(redirect: &Redirect, matches: &[Match], checker: &mut Checker<'_>) {
    let Redirect {
        scheme,
        host,
        path,
        port,
        status,
    } = redirect;
    let changes = scheme.is_some() || host.is_some() || path.is_some() || port.is_some();
    if !changes && !checker.is_unread() {
        checker.problem(
            "leads back to the same place",
            "at least one of scheme, host, path, port",
        );
    }
    if let Some(scheme) = scheme
        && !matches!(scheme.as_str(), "http" | "https")
    {
        checker.problem_at(
            "scheme",
            format!("found {:?}", scheme.as_str()),
            "http or https",
        );
    }
    if let Some(host) = host
        && !is_host(host.as_str())
    {
        let expected = "a host; the port is a field of its own";
        checker.problem_at("host", format!("found {:?}", host.as_str()), expected);
    }
    if *port == Some(0) {
        checker.problem_at("port", "found 0", "a port from 1 to 65535");
    }
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        let expected = "one of 301, 302, 303, 307, 308";
        checker.problem_at("status", format!("found {status}"), expected);
    }
    check_path_rewrite(path.as_ref(), matches, checker);
}

/// Longest body of a fixed answer.
/// Why: it is kept in memory, and a file server is another program.
const LONGEST_BODY: usize = 64 << 10;

fn check_response(response: &DirectResponse, checker: &mut Checker<'_>) {
    let length = response.body.as_str().len();
    if length > LONGEST_BODY {
        checker.problem_at("body", format!("found {length} bytes"), "at most 64 KiB");
    }
    // RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5.
    if matches!(response.status, 204 | 205 | 304) && length > 0 {
        let found = format!("found a body with status {}", response.status);
        checker.problem_at("body", found, "none: this status has no body");
    }
}

fn check_timeouts(timeouts: &Timeouts, checker: &mut Checker<'_>) {
    let limit = timeouts.request.filter(|request| *request > Duration::ZERO);
    if let (Some(limit), Some(backend)) = (limit, timeouts.backend_request)
        && backend > limit
    {
        checker.field("timeouts", |checker| {
            let expected = "at most `request`, which covers all tries";
            checker.problem_at("backend_request", "longer than `request`", expected);
        });
    }
}

fn check_session(session: &Session, checker: &mut Checker<'_>) {
    if !is_token(session.cookie.as_str()) {
        let found = format!("found {:?}", session.cookie.as_str());
        checker.problem_at(
            "cookie",
            found,
            "the name of a cookie: letters, digits, - and the like",
        );
    }
    if session.path.as_str().contains([';', ',']) {
        checker.problem_at("path", "found `;` or `,`", "a path that a cookie can hold");
    }
    if session
        .max_age
        .is_some_and(|age| age < Duration::from_secs(1))
    {
        checker.problem_at("max_age", "less than a second", "at least 1s");
    }
}
