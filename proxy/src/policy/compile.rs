//! From the settings of policies to what judges.

use std::sync::Arc;

use outrigger_config::model;

use super::{Guard, Policy, Rule};
use crate::{
    route::{CompileError, Requests},
    telemetry::metrics::{Cells, PolicyCells},
};

impl Policy {
    /// # Errors
    /// A condition that cannot be compiled, with its place.
    pub(crate) fn compile(
        config: &model::Policy,
        cells: Cells<PolicyCells>,
    ) -> Result<Arc<Self>, CompileError> {
        let rules: Result<_, _> = config.rules.iter().map(rule).collect();
        Ok(Arc::new(Self {
            name: config.name.as_str().into(),
            cells,
            denies: config.action == model::PolicyAction::Deny,
            audits: config.audit,
            rules: rules?,
        }))
    }
}

impl Guard {
    /// `None`: there is no policy.
    pub(crate) fn of(policies: impl Iterator<Item = Arc<Policy>>) -> Option<Arc<Self>> {
        let policies: Box<[_]> = policies.collect();
        (!policies.is_empty()).then(|| Arc::new(Self { policies }))
    }
}

fn rule(config: &model::PolicyRule) -> Result<Rule, CompileError> {
    let asks = !config.hosts.is_empty() || !config.requests.is_empty();
    let requests = asks.then(|| Requests::compile(&config.hosts, &config.requests));
    Ok(Rule {
        identities: config.identities.as_slice().into(),
        networks: config.networks.iter().map(|cidr| cidr.0).collect(),
        ports: config.ports.as_slice().into(),
        requests: requests.transpose()?,
    })
}
