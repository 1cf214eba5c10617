//! Policies: who may do what. Who somebody is, is in `trust`.

use super::{Cidr, HostPattern, IdentityPattern, Match, Name};

crate::engine::model! {
    /// Who may do what on some listeners. What a policy with `deny` covers is refused. Of the rest, where policies with `allow` guard a
    /// listener, only what one of them covers comes through; where there are none, everything.
    pub struct Policy {
        /// Unique among policies. Metrics and logs name it.
        name: Name;
        /// Listeners it guards, by name.
        listeners: Vec<Name>;
        /// What becomes of what it covers.
        action: PolicyAction;
        /// Only count and log what it would refuse.
        /// Why: a policy is meant.
        audit: bool = false;
        /// What it covers: one must hold. Empty: nothing, so that `allow` allows nothing.
        rules: Vec<PolicyRule> = Vec::new();
    }

    /// What becomes of what a policy covers.
    pub enum PolicyAction {
        /// It comes through, and what no such policy covers does not.
        Allow = "allow";
        /// It is refused, whatever others allow.
        Deny = "deny";
    }

    /// Conditions that must all hold; of each list one. Absent or empty: it does not matter.
    pub struct PolicyRule {
        /// Who the client is in the mesh. Nobody is, without mTLS.
        identities: Vec<IdentityPattern> = Vec::new();
        /// Address it comes from: of the connection, or of its PROXY header.
        networks: Vec<Cidr> = Vec::new();
        /// Port that it connected to.
        ports: Vec<u16> = Vec::new();
        /// Hosts of requests: exact, or `*.suffix`. An opaque connection has none: with `allow` it is not covered, with `deny` it is.
        hosts: Vec<HostPattern> = Vec::new();
        /// Conditions on requests, as in a route and on the same normalised path. For an opaque connection as with `hosts`. Where a
        /// policy has any, paths that servers read in different ways (`//`, `;`, `\`, `%2f`, `%5c`) are refused.
        requests: Vec<Match> = Vec::new();
    }
}
