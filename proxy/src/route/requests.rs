//! Conditions on requests for whoever else asks for some, with the semantics of routes: it is a
//! table of one route, so that there are no second ones.

use std::sync::Arc;

use outrigger_config::model;

use super::{
    Backends, CompileError, Route, RouteTable, Rule,
    compile::{host, matches},
};
use crate::{filter::Filters, message::RequestView, telemetry::cells::PerWorker};

/// One of some hosts, and one of some matches; an empty list holds.
pub(crate) struct Requests(RouteTable);

impl Requests {
    /// # Errors
    /// A condition that cannot be compiled, with its place.
    pub(crate) fn compile(
        hosts: &[model::HostPattern],
        requests: &[model::Match],
    ) -> Result<Self, CompileError> {
        let rule = Rule {
            route: "".into(),
            #[cfg(test)]
            index: 0,
            matches: matches(requests)?,
            filters: Filters::default(),
            request_timeout: None,
            backend_timeout: None,
            backends: Backends::new(std::iter::empty()),
            session: None,
            // Nobody counts what is only asked.
            cells: Arc::new(PerWorker::new(0)),
        };
        let route = Route {
            name: "".into(),
            hosts: hosts.iter().map(host).collect(),
            rules: [Arc::new(rule)].into(),
        };
        Ok(Self(RouteTable::build(&[Arc::new(route)])))
    }

    pub(crate) fn hold(&self, request: &RequestView<'_>) -> bool {
        self.0.find(request).is_some()
    }
}
