//! The table against a matcher that compares settings with a request one by one and ranks what
//! matches: random routes, random requests.

use outrigger_config::model::{self, HostPattern, Match, PathMatch};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::testing::*;
use crate::message::testing::TestRequest;

/// Ranks every match that a request meets. Reads the settings, knows no index.
fn naive(routes: &[model::Route], request: &Request) -> Served {
    let mut best = None;
    for route in routes {
        let mut hosts: Vec<_> = route
            .hosts
            .iter()
            .filter_map(|h| host_rank(h, request))
            .collect();
        if route.hosts.is_empty() {
            hosts.push((0, 0));
        }
        for host in hosts {
            for (index, rule) in route.rules.iter().enumerate() {
                let every = [every()];
                let matches = if rule.matches.is_empty() {
                    &every[..]
                } else {
                    &rule.matches
                };
                for m in matches.iter().filter(|m| conditions_hold(m, request)) {
                    let Some(path) = path_rank(m, &request.path) else {
                        continue;
                    };
                    let rank = (
                        host,
                        path,
                        m.method.is_some(),
                        m.headers.len(),
                        m.query.len(),
                    );
                    let prefix = match &m.path {
                        None => Some(0),
                        Some(PathMatch::Prefix(p)) => Some(p.as_str().trim_end_matches('/').len()),
                        Some(_) => None,
                    };
                    if best.as_ref().is_none_or(|(other, _)| rank > *other) {
                        best = Some((rank, (route.name.to_string(), index, prefix)));
                    }
                }
            }
        }
    }
    best.map(|(_, served)| served)
}

fn host_rank(pattern: &HostPattern, request: &Request) -> Option<(u8, usize)> {
    let host = request.host.split(':').next().unwrap().to_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    match pattern {
        HostPattern::Exact(name) => (host == &**name).then_some((2, 0)),
        HostPattern::Suffix(suffix) => {
            let labels = host.strip_suffix(&format!(".{suffix}"))?;
            (!labels.is_empty()).then_some((1, suffix.len()))
        }
    }
}

fn path_rank(m: &Match, path: &str) -> Option<(u8, usize)> {
    match &m.path {
        None => Some((0, 0)),
        Some(PathMatch::Exact(text)) => (text.as_str() == path).then_some((3, 0)),
        Some(PathMatch::Prefix(text)) => {
            let prefix: Vec<_> = text.as_str().trim_end_matches('/').split('/').collect();
            let path: Vec<_> = path.split('/').collect();
            let length = text.as_str().trim_end_matches('/').len();
            let rank = if length == 0 { (0, 0) } else { (2, length) };
            path.starts_with(&prefix).then_some(rank)
        }
        Some(PathMatch::Regex(pattern)) => whole(pattern.as_str(), path).then_some((1, 0)),
    }
}

fn whole(pattern: &str, value: &str) -> bool {
    // The patterns of these tests are greedy and prefix-free, so that the longest match is found.
    let regex = regex::Regex::new(pattern).unwrap();
    regex
        .find(value)
        .is_some_and(|found| found.as_str() == value)
}

fn conditions_hold(m: &Match, request: &Request) -> bool {
    let test = |values: &[String],
                exact: Option<&model::Text>,
                regex: Option<&model::Pattern>,
                present: Option<bool>| {
        exact.is_none_or(|text| values.iter().any(|v| v == text.as_str()))
            && regex.is_none_or(|pattern| values.iter().any(|v| whole(pattern.as_str(), v)))
            && present.is_none_or(|present| present != values.is_empty())
    };
    m.method
        .as_ref()
        .is_none_or(|method| method.as_str() == request.method)
        && m.headers.iter().all(|h| {
            let same = |(name, _): &&(String, String)| name.eq_ignore_ascii_case(h.name.as_str());
            let values: Vec<_> = request
                .headers
                .iter()
                .filter(same)
                .map(|f| f.1.clone())
                .collect();
            test(&values, h.exact.as_ref(), h.regex.as_ref(), h.present)
        })
        && m.query.iter().all(|q| {
            let same = |(name, _): &&(String, String)| name.replace("%71", "q") == q.name.as_str();
            let first = request.query.iter().find(same);
            let values: Vec<_> = first.map(|p| p.1.replace("%31", "1")).into_iter().collect();
            test(&values, q.exact.as_ref(), q.regex.as_ref(), q.present)
        })
}

#[derive(Debug)]
struct Request {
    method: &'static str,
    host: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    query: Vec<(String, String)>,
}

impl Request {
    fn build(&self) -> TestRequest {
        let query: Vec<_> = self.query.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let target = format!("{}?{}", self.path, query.join("&"));
        let headers: Vec<_> = self.headers.iter().map(|(n, v)| (&**n, &**v)).collect();
        TestRequest::new(self.method, self.host, &target, &headers)
    }
}

fn requests() -> impl Strategy<Value = Request> {
    const HOSTS: &[&str] = &[
        "", "a.x", "A.X.:80", "b.x", "c.b.x", "x", ".x", "c.a.x:1", "y",
    ];
    let header = (select(&["h", "H", "i", "j"][..]), "[1-3]");
    let parameter = (
        select(&["q", "%71", "r", "s"][..]),
        select(&["1", "%31", "2", "3"][..]),
    );
    let strings = |pairs: Vec<(&'static str, String)>| {
        pairs.into_iter().map(|(n, v)| (n.to_owned(), v)).collect()
    };
    (
        select(&["GET", "POST", "PUT"][..]),
        select(HOSTS),
        "(/[ab]?){1,4}",
        vec(header, 0..4).prop_map(strings),
        vec(parameter.prop_map(|(n, v)| (n, v.to_owned())), 0..4).prop_map(strings),
    )
        .prop_map(|(method, host, path, headers, query)| Request {
            method,
            host,
            path,
            headers,
            query,
        })
}

fn paths() -> impl Strategy<Value = PathMatch> {
    const PATTERNS: &[&str] = &["/a.*", ".*b", "/[ab]/[ab]", "(/a)+"];
    prop_oneof![
        "(/[ab]){1,3}/?".prop_map(|path| PathMatch::Exact(path.as_str().into())),
        "(/[ab]){1,3}/?".prop_map(|path| PathMatch::Prefix(path.as_str().into())),
        Just(PathMatch::Prefix("/".into())),
        select(PATTERNS).prop_map(|pattern| PathMatch::Regex(pattern.into())),
    ]
}

/// What is asked of a value: exact, regex or present.
fn tests() -> impl Strategy<Value = (Option<&'static str>, Option<&'static str>, Option<bool>)> {
    prop_oneof![
        4 => select(&["1", "2", "3"][..]).prop_map(|value| (Some(value), None, None)),
        1 => select(&["[12]", "3|4"][..]).prop_map(|pattern| (None, Some(pattern), None)),
        1 => proptest::bool::ANY.prop_map(|present| (None, None, Some(present))),
    ]
}

fn matches(paths: BoxedStrategy<Option<PathMatch>>) -> impl Strategy<Value = Match> {
    let fields = || vec(option::weighted(0.4, tests()), 3);
    let method = option::weighted(0.2, select(&["GET", "POST"][..]));
    (paths, method, fields(), fields()).prop_map(|(path, method, headers, parameters)| {
        let headers = ["H", "i", "j"].into_iter().zip(headers);
        let headers = headers.filter_map(|(name, test)| {
            test.map(|(exact, regex, present)| model::HeaderMatch {
                name: name.into(),
                exact: exact.map(Into::into),
                regex: regex.map(Into::into),
                present,
            })
        });
        let parameters = ["q", "r", "s"].into_iter().zip(parameters);
        let query = parameters.filter_map(|(name, test)| {
            test.map(|(exact, regex, present)| model::QueryMatch {
                name: name.into(),
                exact: exact.map(Into::into),
                regex: regex.map(Into::into),
                present,
            })
        });
        Match {
            grpc: None,
            path,
            method: method.map(Into::into),
            headers: headers.collect(),
            query: query.collect(),
        }
    })
}

fn routes(
    matches: impl Strategy<Value = Match>,
    rules: usize,
) -> impl Strategy<Value = Vec<model::Route>> {
    const HOSTS: &[&str] = &["a.x", "b.x", "*.x", "*.b.x", "y"];
    let route = (vec(select(HOSTS), 0..3), vec(vec(matches, 0..4), 1..rules));
    vec(route, 1..8).prop_map(|routes| {
        let numbered = routes.into_iter().enumerate();
        numbered
            .map(|(n, (hosts, rules))| route_of(n, &hosts, rules))
            .collect()
    })
}

fn route_of(number: usize, hosts: &[&str], rules: Vec<Vec<Match>>) -> model::Route {
    route(&format!("r{number}"), hosts, rules)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn agrees_with_the_naive_matcher(
        routes in routes(matches(option::weighted(0.9, paths()).boxed()), 6),
        requests in vec(requests(), 20),
    ) {
        let table = table(&routes);
        for request in requests {
            let built = request.build();
            prop_assert_eq!(found(&table, &built), naive(&routes, &request), "{:?}", request);
        }
    }

    /// All on one path, so that rules are found by their conditions.
    #[test]
    fn agrees_with_the_naive_matcher_on_one_path(
        routes in routes(matches(Just(None).boxed()), 12),
        requests in vec(requests(), 20),
    ) {
        let table = table(&routes);
        for request in requests {
            let built = request.build();
            prop_assert_eq!(found(&table, &built), naive(&routes, &request), "{:?}", request);
        }
    }
}
