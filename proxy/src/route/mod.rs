//! How a request finds its rule: hosts, paths and conditions with the semantics and precedence of
//! Gateway API's `HTTPRoute`. In [`tls`]: how a TLS connection finds its cluster.
//!
//! [`compile()`] makes a [`Route`] of its settings; [`RouteTable`] indexes many of them. A route
//! whose settings did not change keeps its compiled object over reloads, so that a table is built
//! anew from old routes and new ones alike, cheaply. Whoever serves a request holds on to the
//! `Arc<Rule>` it was given and lets the table go.
//!
//! # Precedence
//!
//! Of all rules that match a request the one wins whose match is more specific, by
//! 1. host: an exact one, then the longest wildcard, then none;
//! 2. path: an exact one, then the longest prefix, then a regular expression, then the prefix `/`
//!    or no path at all. (Gateway API leaves the place of expressions open. Below `/` they would
//!    never be reached on a host that has a default rule.)
//!    Of a gRPC call: service and method in full are an exact path, a service in full is a prefix,
//!    other conditions on them are a regular expression;
//! 3. method: one before none, and a gRPC call is one, with a condition on the service before one
//!    on the method;
//! 4. number of conditions on fields;
//! 5. number of conditions on query parameters;
//! 6. order of routes, of rules and of matches as configured. Regular expressions are not weighed
//!    against each other before this: their length says nothing.
//!
//! A host is no room with walls: where no rule of the more specific host matches, those of less
//! specific ones are asked.

mod backends;
mod bucket;
mod compile;
mod host_index;
mod matcher;
#[cfg(test)]
mod properties;
mod query;
mod requests;
mod strings;
mod table;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tls;

use std::{sync::Arc, time::Duration};

use self::matcher::Match;
pub(crate) use self::{
    backends::{Backend, Backends},
    compile::{CompileError, compile},
    requests::Requests,
    table::RouteTable,
    tls::{TlsRoute, TlsTable},
};
use crate::{
    filter::Filters,
    telemetry::metrics::{Cells, RouteCells},
};

/// A route, compiled.
pub(crate) struct Route {
    pub(crate) name: Arc<str>,
    /// Empty: every host.
    hosts: Box<[Host]>,
    rules: Box<[Arc<Rule>]>,
}

/// A host that a route serves, in lower case and without a dot at its end.
enum Host {
    Exact(Arc<[u8]>),
    /// One or more labels before this.
    Suffix(Arc<[u8]>),
}

/// What happens to the requests that match.
pub(crate) struct Rule {
    /// Name of the route.
    pub(crate) route: Arc<str>,
    /// Its place in the route; tests tell rules apart by it.
    #[cfg(test)]
    pub(crate) index: usize,
    /// Never empty: a rule without conditions has one match that every request meets.
    matches: Box<[Match]>,
    pub(crate) filters: Filters,
    /// From the request's head to the end of the response.
    pub(crate) request_timeout: Option<Duration>,
    /// The same for one try.
    pub(crate) backend_timeout: Option<Duration>,
    pub(crate) backends: Backends,
    pub(crate) session: Option<Session>,
    /// Counters of the route.
    pub(crate) cells: Cells<RouteCells>,
}

/// Session persistence by a cookie of our own.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) cookie: Box<str>,
    pub(crate) path: Box<str>,
    /// `None`: until the browser closes.
    pub(crate) max_age: Option<Duration>,
}
