//! One immutable version of everything a request needs to be decided on, swapped whole.
//!
//! What did not change between two versions keeps its compiled object, and with it pools,
//! counters and the state of its balancer. Building is in [`build()`]; nothing here does io.

mod build;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use ipnet::IpNet;
use outrigger_config::{Loaded, model};

pub(crate) use self::build::build;
use crate::{
    cluster::Cluster,
    h1::Limits,
    net::first_speaker::FirstSpeaker,
    policy::Guard,
    route::{Route, RouteTable, TlsTable},
    telemetry::metrics::{Cells, ListenerCells},
    tls::{self, ServerTls},
};

/// A version of the table.
pub(crate) struct Snapshot {
    /// Counts up by one with each swap.
    pub(crate) version: u64,
    /// What it was built from.
    pub(crate) source: Arc<Loaded>,
    pub(crate) listeners: Vec<Arc<Listener>>,
    /// In the order of the configuration's routes.
    pub(crate) routes: Vec<Arc<Route>>,
    pub(crate) clusters: HashMap<Arc<str>, Arc<Cluster>, foldhash::fast::RandomState>,
    /// Certificates, keys and trust, as they were read for this version.
    pub(crate) tls: tls::Table,
    /// Clusters kept from the version before whose endpoints this one changes.
    pub(crate) to_change: Vec<Arc<Cluster>>,
}

/// A listener, ready for use.
pub(crate) struct Listener {
    pub(crate) name: Arc<str>,
    pub(crate) config: model::Listener,
    pub(crate) table: Arc<RouteTable>,
    /// TLS is ended here.
    pub(crate) ends_tls: Option<Arc<ServerTls>>,
    /// What does not begin with TLS is served as it comes.
    pub(crate) plain_too: bool,
    /// Who may do what here; `None`: everybody everything.
    pub(crate) guard: Option<Arc<Guard>>,
    /// TLS is passed through by the name it asks for; `None`: it is opaque, or not taken.
    pub(crate) tls: Option<Arc<TlsTable>>,
    /// Where opaque connections go.
    pub(crate) cluster: Option<Arc<Cluster>>,
    /// Who was seen to speak first there; lives on over reloads.
    pub(crate) first_speaker: Arc<FirstSpeaker>,
    /// Whether requests may go there, too, so that a connection to it may serve them.
    pub(crate) is_routed_to: bool,
    pub(crate) http: HttpSettings,
    pub(crate) cells: Cells<ListenerCells>,
    /// Connections open over all workers; lives on over reloads.
    pub(crate) open: Arc<AtomicU32>,
}

/// What the HTTP room needs to know of a listener.
pub(crate) struct HttpSettings {
    pub(crate) limits: Limits,
    pub(crate) header_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) stream_idle_timeout: Duration,
    pub(crate) max_body: u64,
    /// 0: no limit.
    pub(crate) max_requests: u32,
    pub(crate) max_lifetime: Duration,
    /// Lower case.
    pub(crate) upgrades: Vec<Box<str>>,
    pub(crate) connect: bool,
    pub(crate) merge_slashes: bool,
    pub(crate) trusted: Vec<IpNet>,
    pub(crate) via: bool,
    pub(crate) proxy_status: bool,
    pub(crate) http2: model::Http2Options,
    pub(crate) http2_resets: model::Rate,
    pub(crate) http2_provoked_resets: model::Rate,
}

impl HttpSettings {
    /// Whether a peer is a proxy in front of us that is believed, and carries many clients.
    pub(crate) fn trusts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.trusted.iter().any(|net| net.contains(&ip))
    }
}

impl Snapshot {
    /// The version before the first: nothing is served.
    pub(crate) fn empty() -> Self {
        Self {
            version: 0,
            source: Arc::new(Loaded::empty()),
            listeners: Vec::new(),
            routes: Vec::new(),
            clusters: HashMap::default(),
            tls: tls::Table::default(),
            to_change: Vec::new(),
        }
    }

    /// Gives kept clusters the endpoints and certificates of this version. Only now, with the swap: a version that
    /// is refused must not have changed anything.
    pub(crate) fn change_endpoints(&self, now: u64) {
        let configs = &self.source.config.clusters;
        let by_name: HashMap<&str, _, foldhash::fast::RandomState> =
            configs.iter().map(|c| (c.name.as_str(), c)).collect();
        for cluster in &self.to_change {
            if let Some(config) = by_name.get(&*cluster.name) {
                cluster.apply(config, now);
                cluster.set_tls(self.tls.cluster(&cluster.name).cloned());
            }
        }
    }

    pub(crate) fn listener(&self, name: &str) -> Option<&Arc<Listener>> {
        self.listeners.iter().find(|l| &*l.name == name)
    }
}
