//! Who may do what: policies of a listener, compiled, and their verdict on a connection or request.
//!
//! A verdict is made of facts and the head as routes see it; nothing here reads a clock, counts or
//! sends. What cannot be evaluated is not allowed: an opaque connection has no request, and so a
//! condition on one does not hold where it would allow, and holds where it would deny.

mod compile;
#[cfg(test)]
mod tests;

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use outrigger_config::model::{IdentityPattern, SpiffeId};

use crate::{
    message::RequestView,
    route::Requests,
    telemetry::metrics::{Cells, PolicyCells},
};

/// The policies of a listener. There is at least one.
pub(crate) struct Guard {
    policies: Box<[Arc<Policy>]>,
}

/// One policy.
pub(crate) struct Policy {
    pub(crate) name: Arc<str>,
    pub(crate) cells: Cells<PolicyCells>,
    denies: bool,
    /// What it would refuse is only told.
    audits: bool,
    rules: Box<[Rule]>,
}

/// Conditions that must all hold; an empty list holds.
struct Rule {
    identities: Box<[IdentityPattern]>,
    networks: Box<[IpNet]>,
    ports: Box<[u16]>,
    requests: Option<Requests>,
}

/// What is known of a connection.
#[derive(Clone, Copy, Default)]
pub(crate) struct Client<'a> {
    pub(crate) identity: Option<&'a SpiffeId>,
    /// Without the form of IPv6 that stands for IPv4.
    pub(crate) address: Option<IpAddr>,
    /// That it connected to.
    pub(crate) port: Option<u16>,
}

/// What policies say.
#[derive(Default)]
pub(crate) struct Verdict<'a> {
    /// The policy that refuses it.
    pub(crate) denied: Option<&'a Arc<Policy>>,
    /// The policy that would refuse it, were it not for an audit.
    pub(crate) audited: Option<&'a Arc<Policy>>,
}

impl Guard {
    /// Judges a request, or, without one, an opaque connection.
    pub(crate) fn judge(
        &self,
        client: Client<'_>,
        request: Option<&RequestView<'_>>,
    ) -> Verdict<'_> {
        let denied = self.refusal(client, request, |policy| !policy.audits);
        let audited = if denied.is_some() {
            None
        } else {
            self.refusal(client, request, |_| true)
        };
        Verdict { denied, audited }
    }

    /// The policy that refuses, of those that count.
    fn refusal(
        &self,
        client: Client<'_>,
        request: Option<&RequestView<'_>>,
        counts: impl Fn(&Policy) -> bool,
    ) -> Option<&Arc<Policy>> {
        let ambiguous = request.is_some_and(|request| is_ambiguous(request.path()));
        let counted = || self.policies.iter().filter(|policy| counts(policy));
        let denies = |policy: &&Arc<Policy>| {
            // Whether it holds cannot be known, whatever its action.
            (ambiguous && policy.looks_at_requests())
                || (policy.denies && policy.covers(client, request))
        };
        counted().find(denies).or_else(|| {
            let allows = || counted().filter(|policy| !policy.denies);
            let is_allowed = allows().any(|policy| policy.covers(client, request));
            // Of those that do not allow it the first is named.
            if is_allowed { None } else { allows().next() }
        })
    }
}

impl Policy {
    fn covers(&self, client: Client<'_>, request: Option<&RequestView<'_>>) -> bool {
        self.rules
            .iter()
            .any(|rule| rule.holds(client, request, self.denies))
    }

    fn looks_at_requests(&self) -> bool {
        self.rules.iter().any(|rule| rule.requests.is_some())
    }
}

impl Rule {
    fn holds(&self, client: Client<'_>, request: Option<&RequestView<'_>>, denies: bool) -> bool {
        let identity = |pattern: &IdentityPattern| {
            client
                .identity
                .is_some_and(|identity| pattern.matches(identity))
        };
        let network = |net: &IpNet| client.address.is_some_and(|address| net.contains(&address));
        let any_identity = self.identities.is_empty() || self.identities.iter().any(identity);
        let any_network = self.networks.is_empty() || self.networks.iter().any(network);
        let any_port =
            self.ports.is_empty() || client.port.is_some_and(|port| self.ports.contains(&port));
        let of_requests = match (&self.requests, request) {
            (None, _) => true,
            (Some(requests), Some(request)) => requests.hold(request),
            (Some(_), None) => denies,
        };
        any_identity && any_network && any_port && of_requests
    }
}

/// Whether servers may read a path in different ways, though it is in its normal form.
fn is_ambiguous(path: &[u8]) -> bool {
    let escaped = |code: &[u8; 3]| {
        memchr::memchr_iter(b'%', path).any(|at| {
            let found = path.get(at..at + 3);
            found.is_some_and(|found| found.eq_ignore_ascii_case(code))
        })
    };
    memchr::memchr2(b';', b'\\', path).is_some()
        || memchr::memmem::find(path, b"//").is_some()
        || escaped(b"%2f")
        || escaped(b"%5c")
}
