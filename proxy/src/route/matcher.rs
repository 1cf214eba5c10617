//! The conditions of one match, compiled, and whether a request meets them.

use std::{cmp::Reverse, iter, sync::Arc};

use regex::bytes::Regex;

use super::query;
use crate::message::{RequestView, grpc};

/// Conditions that must all hold.
pub(super) struct Match {
    pub(super) path: PathMatch,
    /// Most matches have none of these.
    pub(super) conditions: Option<Box<Conditions>>,
}

/// A condition on the normalised path.
pub(super) enum PathMatch {
    /// None; every path, `*` too.
    Any,
    Exact(Arc<[u8]>),
    /// Whole segments, without a slash at the end: `/` is empty.
    Prefix(Arc<[u8]>),
    /// For the whole path.
    Regex(Regex),
    /// Names in it, which the conditions on a gRPC call look at.
    Names,
}

/// Everything but the path.
#[derive(Default)]
pub(super) struct Conditions {
    pub(super) grpc: Option<CallMatch>,
    pub(super) method: Option<Box<[u8]>>,
    pub(super) headers: Box<[Condition]>,
    pub(super) query: Box<[Condition]>,
}

/// A gRPC call, and what is asked of the names in its path.
pub(super) struct CallMatch {
    pub(super) service: Option<Test>,
    pub(super) method: Option<Test>,
}

/// A condition on a field or a query parameter. Names of fields are in lower case.
pub(super) struct Condition {
    pub(super) name: Arc<[u8]>,
    pub(super) test: Test,
}

/// What is asked of the values of one name.
pub(super) enum Test {
    Exact(Arc<[u8]>),
    /// For the whole value.
    Regex(Regex),
    Present,
    Absent,
}

/// Name of the field that tells the host. A request whose target is absolute overrides it, so
/// conditions look at what was made of both.
pub(super) const HOST: &[u8] = b"host";

impl Match {
    /// Smaller ones win among matches whose paths are equally specific.
    pub(super) fn precedence(&self) -> impl Ord + use<> {
        let count = |c: &Conditions| {
            // A call is a POST, so one says no less than the other. Of its names the service counts first.
            let of_method = c.method.is_some() || c.grpc.is_some();
            let names = |call: &CallMatch| (call.service.is_some(), call.method.is_some());
            let names = c.grpc.as_ref().map(names);
            (of_method, names, c.headers.len(), c.query.len())
        };
        Reverse(self.conditions.as_deref().map(count))
    }

    /// Length of the prefix that matches, without a slash at its end. No condition on the path
    /// stands for the prefix `/`.
    pub(super) fn prefix(&self) -> Option<usize> {
        match &self.path {
            PathMatch::Any => Some(0),
            PathMatch::Prefix(prefix) => Some(prefix.len()),
            PathMatch::Exact(_) | PathMatch::Regex(_) | PathMatch::Names => None,
        }
    }

    /// Whether a request meets what the index has not settled: it has compared exact paths and
    /// prefixes already, except for `/`, which `*` has not.
    pub(super) fn holds(&self, path: &[u8], request: &RequestView<'_>) -> bool {
        let rest = self.conditions.as_deref();
        rest.is_none_or(|conditions| conditions.hold(request))
            && match &self.path {
                PathMatch::Any | PathMatch::Exact(_) | PathMatch::Names => true,
                PathMatch::Prefix(prefix) => !prefix.is_empty() || path.starts_with(b"/"),
                PathMatch::Regex(regex) => regex.is_match(path),
            }
    }
}

impl Conditions {
    pub(super) fn is_empty(&self) -> bool {
        self.grpc.is_none()
            && self.method.is_none()
            && self.headers.is_empty()
            && self.query.is_empty()
    }

    fn hold(&self, request: &RequestView<'_>) -> bool {
        let method = self.method.as_deref();
        method.is_none_or(|method| method == request.method())
            && self.grpc.as_ref().is_none_or(|call| call.holds(request))
            && self
                .headers
                .iter()
                .all(|header| header.holds_field(request))
            && self
                .query
                .iter()
                .all(|parameter| parameter.holds_query(request))
    }
}

impl CallMatch {
    fn holds(&self, request: &RequestView<'_>) -> bool {
        let holds = |test: &Option<Test>, name: &[u8]| {
            test.as_ref()
                .is_none_or(|test| test.holds(iter::once(name)))
        };
        grpc::names(request.path()).is_some_and(|(service, method)| {
            holds(&self.method, method) && holds(&self.service, service)
        }) && grpc::is_call(request)
    }
}

impl Condition {
    /// Each field line of the name is looked at by itself; one must pass.
    fn holds_field(&self, request: &RequestView<'_>) -> bool {
        if &*self.name == HOST {
            let authority = request.authority();
            return self
                .test
                .holds(iter::once(authority).filter(|host| !host.is_empty()));
        }
        self.test.holds(request.values(&self.name))
    }

    /// The first parameter of the name counts.
    fn holds_query(&self, request: &RequestView<'_>) -> bool {
        let query = request.query().unwrap_or_default();
        let value = query::first(query, &self.name);
        self.test.holds(value.as_deref().into_iter())
    }
}

impl Test {
    fn holds<'a>(&self, mut values: impl Iterator<Item = &'a [u8]>) -> bool {
        match self {
            Self::Exact(expected) => values.any(|value| value == &**expected),
            Self::Regex(regex) => values.any(|value| regex.is_match(value)),
            Self::Present => values.next().is_some(),
            Self::Absent => values.next().is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use outrigger_config::model::Pattern;

    use super::*;
    use crate::message::testing::TestRequest;

    fn regex(pattern: &str) -> Regex {
        Pattern::from(pattern).compile().unwrap()
    }

    /// Matching relies on expressions being anchored, and on none failing on odd bytes.
    #[test]
    fn expressions_match_whole_values() {
        for (pattern, value, expected) in [
            ("a|ab", "ab", true),
            ("a|ab", "abc", false),
            ("a", "a\n", false),
            ("(?m)a$", "a\nb", false),
            (r"\d+\w", "12x", true),
            (r"\w", "\u{e9}", false),
            ("é", "é", true),
            (".*", "a\u{e9}b", true),
            ("(?i)ABC", "abc", true),
            ("", "", true),
            ("", "a", false),
        ] {
            let regex = regex(pattern);
            assert_eq!(regex.is_match(value.as_bytes()), expected, "{pattern}");
        }
        assert!(regex(".").is_match(b"\xff"));
    }

    fn check(test: Test, name: &str, headers: &[(&str, &str)], expected: bool) {
        let request = TestRequest::new("GET", "a.example:8", "/", headers);
        let condition = Condition {
            name: name.as_bytes().into(),
            test,
        };
        assert_eq!(condition.holds_field(&request.view()), expected, "{name}");
    }

    #[test]
    fn each_value_of_a_field_is_tried_by_itself() {
        let exact = |value: &str| Test::Exact(value.as_bytes().into());
        let two = [("X-A", "1"), ("x-b", "2"), ("x-a", "3")];
        check(exact("1"), "x-a", &two, true);
        check(exact("3"), "x-a", &two, true);
        check(exact("2"), "x-a", &two, false);
        check(exact("1, 3"), "x-a", &two, false);
        check(exact("1"), "x-a", &[("x-a", "1, 3")], false);
        check(Test::Regex(regex("[3-9]")), "x-a", &two, true);
        check(Test::Regex(regex("2")), "x-a", &two, false);
        check(Test::Present, "x-a", &two, true);
        check(Test::Present, "x-c", &two, false);
        check(Test::Present, "x-a", &[("x-a", "")], true);
        check(Test::Absent, "x-a", &two, false);
        check(Test::Absent, "x-c", &two, true);
        check(exact("a.example:8"), "host", &[("host", "other")], true);
        check(exact("other"), "host", &[("host", "other")], false);
    }
}
