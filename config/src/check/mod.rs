//! What no field can see by itself: references, contradictions, what needs what. Works on the
//! model alone; the document only tells what was written and where.

mod clusters;
mod grpc;
mod identity;
mod listeners;
mod policies;
mod process;
mod routes;
mod tls;
mod tls_routes;

use std::collections::HashMap;

use crate::model::{Config, Name};
use crate::nearest::nearest;
use crate::problem::{Collected, Found, Segment, display};
use crate::text::Document;

/// Names compared in search of the one that was meant, over all problems.
/// Why: 1,000 wrong references to 10,000 clusters must not take a minute.
const NEAREST_BUDGET: usize = 200_000;

/// Checks a configuration. What reading found is known from `problems`: values that could not be
/// read are not judged again.
pub(crate) fn check(config: &Config, document: Option<&Document<'_>>, problems: &mut Collected) {
    let unread = problems.unread().cloned().collect();
    let mut checker = Checker {
        document,
        problems,
        unread,
        path: Vec::new(),
        nearest_budget: NEAREST_BUDGET,
    };
    let routes = checker.names("routes", config.routes.iter().map(|route| &route.name));
    let tls_routes = checker.names("tls_routes", config.tls_routes.iter().map(|r| &r.name));
    let clusters = checker.names("clusters", config.clusters.iter().map(|c| &c.name));
    let listeners = checker.names("listeners", config.listeners.iter().map(|l| &l.name));
    checker.names(
        "policies",
        config.policies.iter().map(|policy| &policy.name),
    );
    process::check(config, &mut checker);
    let trusted = identity::check(config, &mut checker);
    checker.each("listeners", &config.listeners, |checker, listener| {
        let known = listeners::Known {
            routes: &routes,
            tls_routes: &tls_routes,
            clusters: &clusters,
        };
        listeners::check(listener, &known, checker);
        identity::check_listener(listener, config, &trusted, checker);
    });
    listeners::check_binds(config, &mut checker);
    checker.each("routes", &config.routes, |checker, route| {
        routes::check(route, &clusters, checker);
    });
    checker.each("tls_routes", &config.tls_routes, |checker, route| {
        tls_routes::check(route, &clusters, checker);
    });
    tls_routes::check_hosts(config, &mut checker);
    checker.each("clusters", &config.clusters, |checker, cluster| {
        clusters::check(checker, cluster);
        identity::check_cluster(cluster, config, &trusted, checker);
    });
    checker.each("policies", &config.policies, |checker, policy| {
        policies::check(policy, &listeners, &trusted, checker);
    });
}

struct Checker<'c> {
    document: Option<&'c Document<'c>>,
    problems: &'c mut Collected,
    /// Paths of the problems of reading.
    unread: Vec<Vec<Segment>>,
    path: Vec<Segment>,
    nearest_budget: usize,
}

/// Names of one kind of object.
struct Names<'c> {
    kind: &'static str,
    known: HashMap<&'c str, u32>,
    /// Whether some could not be read, so that a name not found may still be there.
    is_incomplete: bool,
}

impl Checker<'_> {
    /// Does something with the path one field longer.
    fn field<T>(&mut self, name: &'static str, act: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(Segment::Field(name.into()));
        let result = act(self);
        self.path.pop();
        result
    }

    /// Does something with each item of a list.
    fn each<'l, T>(
        &mut self,
        name: &'static str,
        list: &'l [T],
        mut act: impl FnMut(&mut Self, &'l T),
    ) {
        self.field(name, |checker| {
            for (index, item) in (0..).zip(list) {
                checker.path.push(Segment::Index(index));
                act(checker, item);
                checker.path.pop();
            }
        });
    }

    /// Adds a problem with the value at the current path.
    fn problem(&mut self, found: impl Into<String>, expected: impl Into<String>) {
        self.add(Found::new(self.path.clone(), None, found).expected(expected.into()));
    }

    /// Adds a problem with a field of the object at the current path.
    fn problem_at(
        &mut self,
        name: &'static str,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) {
        self.field(name, |checker| checker.problem(found, expected));
    }

    /// Adds a problem with a field that is missing; not if a field of the same object could not
    /// be read, which may be the one that was meant.
    fn missing(&mut self, name: &'static str, expected: impl Into<String>) {
        if !self.is_unread() {
            self.problem_at(name, "missing", expected);
        }
    }

    fn add(&mut self, problem: Found) {
        let unread =
            |path: &Vec<Segment>| problem.path.starts_with(path) || path.starts_with(&problem.path);
        if !self.unread.iter().any(unread) {
            self.problems.add(problem);
        }
    }

    /// Whether something at or below the current path could not be read.
    fn is_unread(&self) -> bool {
        self.unread.iter().any(|path| path.starts_with(&self.path))
    }

    /// Whether the field was written. Without a document it was.
    fn is_written(&self, name: &'static str) -> bool {
        let Some(document) = self.document else {
            return true;
        };
        let mut path = self.path.clone();
        path.push(Segment::Field(name.into()));
        document.find(&path).1
    }

    /// Collects the names of one kind of object, which must differ.
    fn names<'n>(
        &mut self,
        list: &'static str,
        names: impl ExactSizeIterator<Item = &'n Name>,
    ) -> Names<'n> {
        let kind = match list {
            "tls_routes" => "TLS route",
            "policies" => "policy",
            _ => list.trim_end_matches('s'),
        };
        let mut known = HashMap::with_capacity(names.len());
        // A misspelt `clusters` leaves no cluster at all.
        let mut is_incomplete = self.unread.iter().any(|path| path.len() <= 1);
        for (index, name) in (0..).zip(names) {
            if name.as_str().is_empty() {
                is_incomplete = true;
                continue;
            }
            if let Some(first) = known.get(name.as_str()) {
                let found = format!(
                    "{name:?} is the name of {list}[{first}] too",
                    name = name.as_str()
                );
                let path = vec![
                    Segment::Field(list.into()),
                    Segment::Index(index),
                    Segment::Field("name".into()),
                ];
                let problem = Found::new(path, None, found);
                self.add(problem.expected(format!("a name that no other {kind} has")));
            } else {
                known.insert(name.as_str(), index);
            }
        }
        Names {
            kind,
            known,
            is_incomplete,
        }
    }

    /// Checks that the name at the current path is one of those known.
    fn reference(&mut self, name: &Name, names: &Names<'_>) {
        let text = name.as_str();
        if text.is_empty() || names.is_incomplete || names.known.contains_key(text) {
            return;
        }
        let mut close = None;
        if let Some(left) = self.nearest_budget.checked_sub(names.known.len()) {
            self.nearest_budget = left;
            // Sorted, so that of two equally near names it is always the same.
            let mut known: Vec<&str> = names.known.keys().copied().collect();
            known.sort_unstable();
            close = nearest(text, known);
        }
        let found = format!("no {} is named {text:?}", names.kind);
        let problem = Found::new(self.path.clone(), None, found).nearest(close);
        self.add(problem.expected(format!("the name of a {}", names.kind)));
    }

    /// The current path, to refer to it in another problem.
    fn here(&self) -> String {
        display(&self.path)
    }
}

#[cfg(test)]
mod tests {
    /// The problems of a configuration without places in the text.
    #[track_caller]
    pub(super) fn check(text: &str, expected: &[&str]) {
        let text = format!("version: 1\n{text}");
        let problems = match crate::read(&text, "x", &|_| None) {
            Ok(_) => String::new(),
            Err(problems) => problems.to_string(),
        };
        let lines = problems.lines().map(|line| {
            let at = line.find(|c: char| c.is_ascii_lowercase() && c != 'x');
            line.get(at.unwrap_or(0)..).unwrap_or_default()
        });
        assert_eq!(lines.collect::<Vec<_>>(), expected, "{text}");
    }
}
