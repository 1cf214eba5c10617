//! A named group of endpoints: which ones there are, and which one a request goes to.
//!
//! [`Cluster`] holds the current [`EndpointSet`], which is swapped whole when endpoints come and
//! go; [`Endpoint`] outlives the sets. [`balance`] picks. Nothing here opens a socket, asks a name
//! server or reads a clock: `now` is an argument, in nanoseconds since the process began.

pub(crate) mod balance;
pub(crate) mod endpoint;
mod hash;
mod latency;
mod set;

#[cfg(test)]
pub(crate) mod tests;

use std::{
    cell::RefCell,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use outrigger_config::model;
use tokio::sync::Notify;

use self::endpoint::Endpoint;
pub(crate) use self::set::{EndpointSet, EndpointSpec};
use crate::{
    error::{Cause, Failure},
    message::RequestView,
    telemetry::metrics::{Cells, ClusterCells},
    tls::ClientTls,
};

/// A cluster. Lives on over reloads that do not change it; its endpoints may change inside it.
pub(crate) struct Cluster {
    pub(crate) name: Arc<str>,
    /// What it was built from, without the list of endpoints: that one changes, see
    /// [`Self::endpoints`].
    pub(crate) config: model::Cluster,
    pub(crate) cells: Cells<ClusterCells>,
    endpoints: ArcSwap<EndpointSet>,
    /// Held by whoever replaces the endpoints (never by who picks). In it, until the first
    /// replacement: endpoints of the cluster that this one follows, to be taken over by address.
    replacing: Mutex<Option<Arc<EndpointSet>>>,
    refresh: Refresh,
    /// How new connections are encrypted; changes with the files that it was made of.
    tls: ArcSwapOption<ClientTls>,
}

/// The wish that the endpoints' names be resolved anew.
#[derive(Debug, Default)]
struct Refresh {
    wanted: AtomicBool,
    notify: Notify,
}

/// What a pick may depend on besides the endpoints. Everything random or timed comes in here.
pub(crate) struct PickContext<'a> {
    /// From [`Cluster::hash`].
    pub(crate) hash: Option<u64>,
    /// Nanoseconds since the process began.
    pub(crate) now: u64,
    pub(crate) random: &'a RefCell<fastrand::Rng>,
    /// Endpoints that this request has tried, by id.
    pub(crate) tried: &'a [u32],
}

impl PickContext<'_> {
    fn bits(&self) -> u64 {
        self.random.borrow_mut().u64(..)
    }

    /// A number below `bound`; 0 where there is none.
    fn below(&self, bound: usize) -> usize {
        let bits = u64::from(self.random.borrow_mut().u32(..));
        ((bits * bound as u64) >> 32) as usize
    }

    /// A number from 0 to below 1.
    fn unit(&self) -> f32 {
        self.random.borrow_mut().f32()
    }
}

impl Cluster {
    #[cfg(test)]
    /// Builds a cluster from its settings. Static endpoints are there at once, those of DNS come later.
    pub(crate) fn new(config: model::Cluster, cells: Cells<ClusterCells>) -> Self {
        Self::from_previous(config, cells, None, 0)
    }

    /// The same, taking over what is known of endpoints that the cluster of this name had before
    /// and that stay. Names that are resolved keep their addresses where they stay the same names.
    pub(crate) fn from_previous(
        mut config: model::Cluster,
        cells: Cells<ClusterCells>,
        previous: Option<&Self>,
        now: u64,
    ) -> Self {
        let list: Vec<EndpointSpec> = config.endpoints.iter().map(Into::into).collect();
        config.endpoints = Vec::new();
        let previous = previous.filter(|old| old.connects_like(&config));
        let known = previous.map(|old| old.endpoints.load_full());
        if let Some(known) = &known {
            let (decay, initial) = set::latency_settings(&config);
            for endpoint in &known.all {
                endpoint.configure_latency(decay, initial);
            }
        }

        let members = match (previous, &known) {
            (Some(old), Some(known)) if config.dns.is_some() && old.config.dns == config.dns => {
                known
                    .iter()
                    .map(|(it, weight)| (Arc::clone(it), weight))
                    .collect()
            }
            _ => {
                let known: Vec<&EndpointSet> = known.as_deref().into_iter().collect();
                set::adopt(list, &known, &config, now)
            }
        };
        Self {
            name: config.name.as_str().into(),
            cells,
            endpoints: ArcSwap::from_pointee(EndpointSet::new(members, &config)),
            replacing: Mutex::new(known),
            refresh: Refresh::default(),
            tls: ArcSwapOption::empty(),
            config,
        }
    }

    /// Whether connections to this cluster's endpoints may serve `config` too: pools go by
    /// endpoint, so an endpoint that is connected to in another way is another endpoint.
    fn connects_like(&self, config: &model::Cluster) -> bool {
        self.config.name == config.name
            && self.config.tcp == config.tcp
            && self.config.proxy_protocol == config.proxy_protocol
            && self.config.tls == config.tls
            && self.config.identities == config.identities
    }

    /// New connections are encrypted like this from now on.
    pub(crate) fn set_tls(&self, tls: Option<Arc<ClientTls>>) {
        self.tls.store(tls);
    }

    /// How a new connection is encrypted, if it is.
    ///
    /// # Errors
    /// It must be, and nothing is there to do it with: it is not made then.
    pub(crate) fn tls(&self) -> Result<Option<Arc<ClientTls>>, Failure> {
        match (self.is_secured(), self.tls.load_full()) {
            (false, _) => Ok(None),
            (true, Some(tls)) => Ok(Some(tls)),
            (true, None) => Err(Failure::new(Cause::BadRoute, "no certificates for TLS")),
        }
    }

    /// Whether nothing leaves for it but over TLS.
    pub(crate) fn is_secured(&self) -> bool {
        self.config.tls.is_some() || !self.config.identities.is_empty()
    }

    /// Whether a request, which came by HTTP/2 or not, goes to the endpoints by HTTP/2.
    pub(crate) fn speaks_http2(&self, came_by_http2: bool) -> bool {
        match self.config.protocol {
            model::UpstreamProtocol::Http1 => false,
            model::UpstreamProtocol::Http2 => true,
            model::UpstreamProtocol::Auto => came_by_http2,
        }
    }

    /// Whether there are requests that go to the endpoints by HTTP/1.
    pub(crate) fn speaks_http1(&self) -> bool {
        self.config.protocol != model::UpstreamProtocol::Http2
    }

    /// Whether endpoints choose what is spoken (ALPN).
    pub(crate) fn lets_choose(&self) -> bool {
        self.is_secured() && self.config.protocol == model::UpstreamProtocol::Auto
    }

    /// Whether connections begin with a PROXY header, and so belong to one client each.
    pub(crate) fn is_greeted(&self) -> bool {
        self.config.proxy_protocol != model::SendProxyProtocol::Off
    }

    /// Whether [`Self::apply`] makes this the cluster that `config` describes: nothing but the
    /// list of endpoints and their weights differs.
    pub(crate) fn can_become(&self, config: &model::Cluster) -> bool {
        // Named one by one, so that a new setting cannot be forgotten here.
        let model::Cluster {
            name,
            endpoints: _,
            dns,
            balance,
            slow_start,
            connect_timeout,
            protocol,
            http2,
            http2_keepalive,
            pool,
            max_header_size,
            max_headers,
            safe_resends,
            proxy_protocol,
            tcp,
            speaks_first,
            tls,
            identities,
        } = config;
        let own = &self.config;
        own.name == *name
            && own.dns == *dns
            && own.balance == *balance
            && own.slow_start == *slow_start
            && own.connect_timeout == *connect_timeout
            && own.protocol == *protocol
            && own.http2 == *http2
            && own.http2_keepalive == *http2_keepalive
            && own.pool == *pool
            && own.max_header_size == *max_header_size
            && own.max_headers == *max_headers
            && own.safe_resends == *safe_resends
            && own.proxy_protocol == *proxy_protocol
            && own.tcp == *tcp
            && own.speaks_first == *speaks_first
            && own.tls == *tls
            && own.identities == *identities
    }

    /// Takes on the endpoints of a configuration that this cluster [`Self::can_become`]. Returns
    /// whether anything changed. Endpoints that come from DNS are left alone.
    pub(crate) fn apply(&self, config: &model::Cluster, now: u64) -> bool {
        debug_assert!(self.can_become(config));
        if self.config.dns.is_some() {
            return false;
        }
        self.replace_endpoints(config.endpoints.iter().map(Into::into).collect(), now)
    }

    /// Swaps the set of endpoints. Those whose addresses stay keep their objects, with counters
    /// and latency, whatever their weight. Returns whether anything changed. For threads that
    /// carry no traffic: it builds the balancer's tables.
    pub(crate) fn replace_endpoints(&self, list: Vec<EndpointSpec>, now: u64) -> bool {
        let mut replacing = self
            .replacing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let taken_over = replacing.take();
        let current = self.endpoints.load_full();
        // The current set last: of two objects for the same addresses, its one stays.
        let known: Vec<&EndpointSet> = taken_over
            .as_deref()
            .into_iter()
            .chain([&*current])
            .collect();
        let members = set::adopt(list, &known, &self.config, now);
        if current.is_of(&members) {
            return false;
        }
        let next = EndpointSet::new(members, &self.config);
        self.endpoints.store(Arc::new(next));
        true
    }

    /// The endpoints as they are now.
    pub(crate) fn endpoints(&self) -> arc_swap::Guard<Arc<EndpointSet>> {
        self.endpoints.load()
    }

    /// The value consistent hashing uses for a request; `None` where the balancer does not hash or the request has none of the properties.
    pub(crate) fn hash(&self, request: &RequestView<'_>, peer: Option<IpAddr>) -> Option<u64> {
        hash::of_request(balance::hash_on(&self.config.balance), request, peer)
    }

    /// The same for an opaque connection.
    pub(crate) fn hash_connection(&self, peer: Option<IpAddr>) -> Option<u64> {
        hash::of_connection(balance::hash_on(&self.config.balance), peer)
    }

    /// Why [`Self::pick`] finds none.
    pub(crate) fn absence(&self) -> Cause {
        if self.config.dns.is_some() && self.endpoints.load().all.is_empty() {
            Cause::DnsError
        } else {
            Cause::NoEndpoint
        }
    }

    /// The endpoint for a request; `None` where there is none.
    pub(crate) fn pick(&self, cx: &PickContext<'_>) -> Option<Arc<Endpoint>> {
        self.endpoints.load().pick(cx)
    }

    /// The endpoint a session was bound to ([`Endpoint::token`]), if it is still there and
    /// usable. One of weight 0 is found too: weight 0 keeps new sessions away, not old ones.
    pub(crate) fn endpoint_by_token(&self, token: &[u8]) -> Option<Arc<Endpoint>> {
        let set = self.endpoints.load();
        set.by_token(token).filter(|it| it.is_usable()).cloned()
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        self.config.connect_timeout
    }

    /// An endpoint could not be connected to: where names are resolved, perhaps it moved. Cheap
    /// enough for every failure; how often names are resolved is for the resolver to bound.
    pub(crate) fn connect_failed(&self) {
        if self.config.dns.is_some() && !self.refresh.wanted.swap(true, Relaxed) {
            self.refresh.notify.notify_one();
        }
    }

    /// Waits until [`Self::connect_failed`] was called. One waiter.
    pub(crate) async fn refresh_wanted(&self) {
        while !self.refresh.wanted.swap(false, Relaxed) {
            self.refresh.notify.notified().await;
        }
    }
}
