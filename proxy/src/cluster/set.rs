//! One immutable version of a cluster's endpoints, and how the next one is made from it.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use outrigger_config::model;

use super::{
    PickContext,
    balance::{self, Balancer, Candidates},
    endpoint::{Birth, Endpoint},
};
use crate::net::address::Address;

/// An endpoint as a source of endpoints names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndpointSpec {
    /// Addresses of the same endpoint, preferred first. Together they are its identity.
    pub(crate) addresses: Vec<Address>,
    pub(crate) weight: u32,
}

impl From<&model::Endpoint> for EndpointSpec {
    fn from(endpoint: &model::Endpoint) -> Self {
        let all = std::iter::once(&endpoint.address).chain(&endpoint.alternatives);
        Self {
            addresses: all.map(address).collect(),
            weight: endpoint.weight,
        }
    }
}

fn address(address: &model::EndpointAddress) -> Address {
    match address {
        model::EndpointAddress::Tcp(address) => Address::Tcp(*address),
        model::EndpointAddress::Unix(path) => Address::Unix(path.clone()),
    }
}

/// An endpoint and its weight.
pub(super) type Member = (Arc<Endpoint>, u32);

/// One immutable version of a cluster's endpoints with the structure its balancer picks from.
pub(crate) struct EndpointSet {
    /// Those that get traffic first, then those of weight 0; else in the order they were given.
    pub(crate) all: Vec<Arc<Endpoint>>,
    /// Weight of each.
    weights: Vec<u32>,
    /// How many get traffic.
    weighted: usize,
    balancer: Box<dyn Balancer>,
    /// Nanoseconds that slow start takes, and when the last of them will have ended it.
    slow_start: u64,
    warm_at: u64,
    /// Index by token; made when a session first asks.
    by_token: OnceLock<HashMap<[u8; 16], u32, foldhash::fast::RandomState>>,
}

impl EndpointSet {
    pub(super) fn new(mut members: Vec<Member>, config: &model::Cluster) -> Self {
        // Stable, so nothing moves where all have a weight.
        members.sort_by_key(|(_, weight)| *weight == 0);
        let (all, weights): (Vec<_>, Vec<_>) = members.into_iter().unzip();
        let weighted = weights.partition_point(|weight| *weight > 0);
        let slow_start = nanos(config.slow_start);
        let candidates = Candidates::new(
            all.get(..weighted).unwrap_or_default(),
            weights.get(..weighted).unwrap_or_default(),
            slow_start,
        );
        Self {
            balancer: balance::build(&config.balance, &candidates),
            warm_at: candidates.warm_at(),
            slow_start,
            by_token: OnceLock::new(),
            all,
            weights,
            weighted,
        }
    }

    /// The endpoints with their weights.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<Endpoint>, u32)> {
        self.all.iter().zip(self.weights.iter().copied())
    }

    /// Whether a set of these would be this one.
    pub(super) fn is_of(&self, members: &[Member]) -> bool {
        let (with_weight, without): (Vec<_>, Vec<_>) =
            members.iter().partition(|(_, weight)| *weight > 0);
        let same =
            |((a, x), (b, y)): (&Member, (&Arc<Endpoint>, u32))| Arc::ptr_eq(a, b) && *x == y;
        members.len() == self.all.len()
            && with_weight
                .into_iter()
                .chain(without)
                .zip(self.iter())
                .all(same)
    }

    pub(super) fn pick(&self, cx: &PickContext<'_>) -> Option<Arc<Endpoint>> {
        let slow_start = if cx.now < self.warm_at {
            self.slow_start
        } else {
            0
        };
        let endpoints = self.all.get(..self.weighted)?;
        let candidates = Candidates::new(endpoints, self.weights.get(..self.weighted)?, slow_start);
        let index = self.balancer.pick(&candidates, cx)?;
        endpoints.get(index).map(Arc::clone)
    }

    pub(super) fn by_token(&self, token: &[u8]) -> Option<&Arc<Endpoint>> {
        let token: [u8; 16] = token.try_into().ok()?;
        let index = self.by_token.get_or_init(|| {
            let tokens = self.all.iter().zip(0..);
            tokens
                .map(|(it, index)| (*it.token_bytes(), index))
                .collect()
        });
        self.all.get(*index.get(&token)? as usize)
    }
}

/// Turns a list into endpoints: those whose addresses are known stay the objects they are. An
/// address that is listed twice is one endpoint with the sum of the weights.
pub(super) fn adopt(
    list: Vec<EndpointSpec>,
    known: &[&EndpointSet],
    config: &model::Cluster,
    now: u64,
) -> Vec<Member> {
    let known: HashMap<&[Address], &Arc<Endpoint>, foldhash::fast::RandomState> = known
        .iter()
        .flat_map(|set| &set.all)
        .map(|it| (&*it.addresses, it))
        .collect();
    let mut merged: Vec<EndpointSpec> = Vec::with_capacity(list.len());
    let mut places: HashMap<Vec<Address>, usize, foldhash::fast::RandomState> = HashMap::default();
    for spec in list {
        let place = *places.entry(spec.addresses.clone()).or_insert(merged.len());
        match merged.get_mut(place) {
            Some(first) => first.weight = first.weight.saturating_add(spec.weight),
            None => merged.push(spec),
        }
    }

    let (decay, initial) = latency_settings(config);
    let birth = Birth {
        cluster: config.name.as_str(),
        decay,
        initial,
        joins_others: merged.iter().any(|it| known.contains_key(&*it.addresses)),
        now,
    };
    merged
        .into_iter()
        .map(|spec| {
            let endpoint = match known.get(&*spec.addresses) {
                Some(endpoint) => Arc::clone(endpoint),
                None => Arc::new(Endpoint::new(spec.addresses, birth)),
            };
            (endpoint, spec.weight)
        })
        .collect()
}

/// Decay time and assumed latency. They are kept for every balancer: operators look at latency
/// whatever picks.
pub(super) fn latency_settings(config: &model::Cluster) -> (u64, u64) {
    match &config.balance {
        model::Balance::PeakEwma(it) => (nanos(it.decay), nanos(it.initial_latency)),
        _ => (10_000_000_000, 30_000_000),
    }
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
