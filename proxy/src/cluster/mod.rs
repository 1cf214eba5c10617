//! A named group of endpoints: which ones there are, and which one a request goes to.

pub(crate) mod endpoint;

use std::{net::IpAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use outrigger_config::model;

use self::endpoint::Endpoint;
use crate::{
    message::RequestView,
    telemetry::metrics::{Cells, ClusterCells},
};

/// A cluster. Lives on over reloads that do not change it; its endpoints may change inside it.
pub(crate) struct Cluster {
    pub(crate) name: Arc<str>,
    /// What it was built from.
    pub(crate) config: model::Cluster,
    pub(crate) cells: Cells<ClusterCells>,
    endpoints: ArcSwap<EndpointSet>,
}

/// One immutable version of a cluster's endpoints with the structure its balancer picks from.
pub(crate) struct EndpointSet {
    pub(crate) all: Vec<Arc<Endpoint>>,
}

/// What a pick may depend on besides the endpoints. Everything random or timed comes in here.
pub(crate) struct PickContext<'a> {
    /// From [`Cluster::hash`].
    pub(crate) hash: Option<u64>,
    /// Nanoseconds since the process began.
    pub(crate) now: u64,
    pub(crate) random: &'a fastrand::Rng,
    /// Endpoints that this request has tried, by id.
    pub(crate) tried: &'a [u32],
}

impl Cluster {
    /// Builds a cluster from its settings. Static endpoints are there at once, those of DNS come later.
    pub(crate) fn new(config: model::Cluster, cells: Cells<ClusterCells>) -> Self {
        Self {
            name: config.name.as_str().into(),
            config,
            cells,
            endpoints: ArcSwap::from_pointee(EndpointSet { all: Vec::new() }),
        }
    }

    /// The endpoints as they are now.
    pub(crate) fn endpoints(&self) -> arc_swap::Guard<Arc<EndpointSet>> {
        self.endpoints.load()
    }

    /// The value consistent hashing uses for a request; `None` where the balancer does not hash or the request has none of the properties.
    pub(crate) fn hash(&self, _request: &RequestView<'_>, _peer: Option<IpAddr>) -> Option<u64> {
        None
    }

    /// The endpoint for a request; `None` where there is none.
    pub(crate) fn pick(&self, _cx: &PickContext<'_>) -> Option<Arc<Endpoint>> {
        self.endpoints.load().all.first().cloned()
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        self.config.connect_timeout
    }
}
