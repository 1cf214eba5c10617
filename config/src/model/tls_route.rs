//! TLS routes: names and the clusters that TLS connections to them are passed through to, with the
//! semantics of Gateway API's `TLSRoute`. Nothing here ends TLS.

use super::{HostPattern, Name};

crate::engine::model! {
    /// Where TLS connections go that are passed through as they come.
    pub struct TlsRoute {
        /// Unique among TLS routes.
        name: Name;
        /// Names served, as the client asks for them (SNI): exact, or `*.suffix`. An exact one comes before
        /// a wildcard, a longer wildcard before a shorter one. Empty: every name, and none.
        hosts: Vec<HostPattern> = Vec::new();
        /// Where connections go, by weight.
        backends: Vec<TlsBackend>;
    }

    /// A share of the connections of a TLS route.
    pub struct TlsBackend {
        /// Name of a cluster.
        cluster: Name;
        /// Share among the backends of the route. `0`: none.
        /// Why: equal shares, as in Gateway API.
        weight: u32 = 1, in 0..=1_000_000;
    }
}
