//! Every kind of object a configuration holds. One file per kind.
//!
//! A field reads `name: Type = default, in range;`. A field without a default is required.
//! The first paragraph of a field's documentation says what it is; a line that begins with
//! `Why:` gives the reason of its default. Nothing here knows how a setting is carried out.

mod cluster;
mod identity;
mod listener;
mod mesh;
mod policy;
mod route;
mod scalar;
mod tls;
mod tls_route;

pub use cluster::*;
pub use identity::*;
pub use listener::*;
pub use mesh::*;
pub use policy::*;
pub use route::*;
pub use scalar::{
    BindAddress, ByteSize, Cidr, DnsName, EndpointAddress, HeaderName, HeaderValue, HostPattern,
    IdentityPattern, InvalidId, LogOutput, Name, PathText, Pattern, Percent, SpiffeId, Text,
    TrustDomain, Workers,
};
pub(crate) use scalar::{is_host, is_token};
pub use tls::*;
pub use tls_route::*;

crate::engine::model! {
    /// The whole configuration of one proxy: what the file holds.
    pub struct Config {
        /// Version of this schema. Only `1` exists.
        version: u32, in 1..=1;
        /// Settings of the process and defaults of everything in it.
        mesh: Mesh = Mesh::default();
        /// The administrative interface. Absent: none is served.
        admin: Option<Admin> = None;
        /// Liveness, readiness and metrics for an orchestrator. Absent: served by `admin` alone.
        probes: Option<Probes> = None;
        /// The addresses the proxy accepts connections on.
        listeners: Vec<Listener> = Vec::new();
        /// How HTTP requests find a cluster.
        routes: Vec<Route> = Vec::new();
        /// How TLS connections that are passed through find a cluster.
        tls_routes: Vec<TlsRoute> = Vec::new();
        /// Named groups of endpoints.
        clusters: Vec<Cluster> = Vec::new();
        /// Whom we believe, by trust domain.
        trust: Vec<Trust> = Vec::new();
        /// Who may do what.
        policies: Vec<Policy> = Vec::new();
    }
}

impl Config {
    /// A configuration that says nothing but its version.
    pub fn new() -> Self {
        Self {
            version: 1,
            mesh: Mesh::default(),
            admin: None,
            probes: None,
            listeners: Vec::new(),
            routes: Vec::new(),
            tls_routes: Vec::new(),
            clusters: Vec::new(),
            trust: Vec::new(),
            policies: Vec::new(),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}
