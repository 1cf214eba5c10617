//! Entry points for benchmarks: the steps of a request that are worth measuring apart, on bytes
//! and configurations of the benchmark's choice. Used by `benches`; the proxy itself calls
//! nothing in here. Only with the feature `benching`.

#![allow(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has to end; none of this runs in the proxy"
)]

use std::{cell::RefCell, sync::Arc};

use arc_swap::{ArcSwap, Cache};
use outrigger_config::Loaded;

use crate::{
    cluster::{Cluster, PickContext},
    h1::{
        Asked, Delivery, HeadScan, Limits, parse_request, parse_response, write_request,
        write_response,
    },
    message::{Edits, RequestHead, RequestView, ResponseHead, ResponseView, Version},
    snapshot::{self, Snapshot},
    telemetry::registry::Metrics,
};

const LIMITS: Limits = Limits {
    head: 64 << 10,
    line: 16 << 10,
    fields: 128,
};

/// A request's head: its bytes, and what was read of them.
pub struct Request {
    bytes: Vec<u8>,
    head: RequestHead,
    edits: Edits,
    out: Vec<u8>,
}

impl Request {
    /// Takes a whole head.
    pub fn new(bytes: &[u8]) -> Self {
        let mut request = Self {
            bytes: bytes.to_vec(),
            head: RequestHead::default(),
            edits: Edits::default(),
            out: Vec::new(),
        };
        request.parse();
        request
    }

    /// Finds the end of the head and reads it.
    pub fn parse(&mut self) {
        let found = HeadScan::default().advance(&self.bytes, &LIMITS);
        assert!(matches!(found, Ok(Some(_))), "a whole head");
        parse_request(&self.bytes, &LIMITS, &mut self.head).expect("a good head");
    }

    /// Writes the head as the next hop gets it, with the fields a hop adds; bytes written.
    pub fn write(&mut self) -> usize {
        self.out.clear();
        self.edits.clear();
        self.edits.add("x-forwarded-for", b"192.0.2.1");
        self.edits.add("x-forwarded-proto", b"http");
        self.edits
            .add("x-request-id", b"00000000-0000-4000-8000-000000000000");
        self.edits.add("via", b"1.1 outrigger");
        let view = RequestView {
            bytes: &self.bytes,
            head: &self.head,
        };
        let host = view.authority();
        write_request(&mut self.out, &view, &self.edits, false, host);
        self.out.len()
    }
}

/// A response's head, likewise.
pub struct Response {
    bytes: Vec<u8>,
    head: ResponseHead,
    edits: Edits,
    out: Vec<u8>,
}

impl Response {
    /// Takes a whole head.
    pub fn new(bytes: &[u8]) -> Self {
        let mut response = Self {
            bytes: bytes.to_vec(),
            head: ResponseHead::default(),
            edits: Edits::default(),
            out: Vec::new(),
        };
        response.parse();
        response
    }

    /// Finds the end of the head and reads it.
    pub fn parse(&mut self) {
        let found = HeadScan::default().advance(&self.bytes, &LIMITS);
        assert!(matches!(found, Ok(Some(_))), "a whole head");
        parse_response(&self.bytes, &LIMITS, Asked::Other, &mut self.head).expect("a good head");
    }

    /// Writes the head as the client gets it; bytes written.
    pub fn write(&mut self) -> usize {
        self.out.clear();
        let view = ResponseView {
            bytes: &self.bytes,
            head: &self.head,
        };
        let delivery = Delivery {
            body: self.head.body,
            close: false,
            version: Version::Http11,
            upgrade: false,
        };
        write_response(&mut self.out, &view, &self.edits, delivery);
        self.out.len()
    }
}

/// A configuration, read and checked.
#[derive(Clone)]
pub struct Config(Arc<Loaded>);

impl Config {
    /// Reads JSON.
    pub fn read(text: &str) -> Self {
        let read = outrigger_config::read(text, "bench.json", &|_| None);
        let read = read.map_err(|problems| problems.to_string());
        Self(Arc::new(read.expect("a configuration without problems")))
    }
}

/// A table that could serve, and what builds the next one.
pub struct Table {
    now: Arc<Snapshot>,
    metrics: Metrics,
    served: Arc<ArcSwap<Snapshot>>,
    cache: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    random: RefCell<fastrand::Rng>,
    clock: u64,
}

impl Table {
    /// Builds the first table.
    pub fn new(config: &Config) -> Self {
        let metrics = Metrics::new(1, 20_000);
        let built = snapshot::build(
            Arc::clone(&config.0),
            crate::tls::Table::default(),
            &Snapshot::empty(),
            &metrics,
            0,
        );
        let now = Arc::new(built.expect("it was checked"));
        let served = Arc::new(ArcSwap::new(Arc::clone(&now)));
        Self {
            now,
            metrics,
            cache: Cache::new(Arc::clone(&served)),
            served,
            random: RefCell::new(fastrand::Rng::with_seed(7)),
            clock: 0,
        }
    }

    /// Builds the table that follows this one; what did not change is kept. Number of its routes.
    pub fn rebuild(&self, config: &Config) -> usize {
        let built = snapshot::build(
            Arc::clone(&config.0),
            crate::tls::Table::default(),
            &self.now,
            &self.metrics,
            0,
        );
        built.expect("it was checked").routes.len()
    }

    /// Swaps the table, and takes the new one as a worker does; its version.
    pub fn swap(&mut self) -> u64 {
        self.served.store(Arc::clone(&self.now));
        self.cache.load().version
    }

    /// Looks at the table as a worker does with each request; its version.
    pub fn load(&mut self) -> u64 {
        self.cache.load().version
    }

    /// Whether the first listener has a rule for the request.
    pub fn finds(&self, request: &Request) -> bool {
        let view = RequestView {
            bytes: &request.bytes,
            head: &request.head,
        };
        let listener = self.now.listeners.first();
        listener.is_some_and(|listener| listener.table.find(&view).is_some())
    }

    /// Picks an endpoint of a cluster for the request; its number.
    pub fn pick(&mut self, cluster: &str, request: &Request) -> Option<u32> {
        self.clock += 1_000;
        let cluster: &Arc<Cluster> = self.now.clusters.get(cluster)?;
        let view = RequestView {
            bytes: &request.bytes,
            head: &request.head,
        };
        let context = PickContext {
            hash: cluster.hash(&view, None),
            now: self.clock,
            random: &self.random,
            tried: &[],
        };
        cluster.pick(&context).map(|endpoint| endpoint.id)
    }
}
