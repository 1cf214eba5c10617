//! Clusters: endpoints, how one is picked, and how we connect to it.

use std::time::Duration;

use super::{
    ByteSize, ClusterTls, DnsName, EndpointAddress, HeaderName, Http2Options, Name, SpiffeId,
    TcpOptions, Text,
};

crate::engine::model! {
    /// A named group of endpoints that serve the same thing.
    pub struct Cluster keep endpoints {
        /// Unique among clusters.
        name: Name;
        /// Endpoints by address: `ip:port`, `unix:/path`, or an object with a weight. Exactly one of `endpoints` and `dns`.
        endpoints: Vec<Endpoint> = Vec::new();
        /// Endpoints by name: `host:port` (A and AAAA), or an object.
        dns: Option<DnsEndpoints> = None;
        /// How an endpoint is picked: a name, or an object with settings.
        /// Why: it avoids a slow endpoint before it fails, and needs no setting.
        balance: Balance = Balance::PeakEwma(PeakEwma::default());
        /// Time in which an endpoint that joins others grows from a tenth of its weight to all of
        /// it; with hashing, in which its keys come to it one by one. `0s`: full weight at once.
        /// Why: most endpoints are as fast as the others when they say that they are ready.
        slow_start: Duration = Duration::ZERO;
        /// How long connecting to one endpoint may take, over all its addresses, with the handshake of TLS.
        /// Why: Linkerd's value; within a data centre connecting takes milliseconds.
        connect_timeout: Duration = Duration::from_secs(1), in Duration::from_millis(1)..=Duration::from_mins(10);
        /// What is spoken to the endpoints.
        /// Why: every HTTP server speaks it.
        protocol: UpstreamProtocol = UpstreamProtocol::Http1;
        /// Manners of HTTP/2 towards the endpoints.
        http2: Http2Options = Http2Options::default();
        /// Ask endpoints that say nothing on an HTTP/2 connection whether they are alive, whether requests are under way or not.
        /// Absent: never; a connection whose other end is gone is found out by the limits of requests and by TCP.
        /// Why: servers of gRPC end connections on which more PINGs come than they allow (often one in five minutes).
        http2_keepalive: Option<Http2Keepalive> = None;
        /// Connections kept and allowed.
        pool: Pool = Pool::default();
        /// Largest head of a response; else 502.
        /// Why: the same as for requests.
        max_header_size: ByteSize = ByteSize(65_536), in ByteSize(1_024)..=ByteSize(1 << 20);
        /// Fields in the head of a response; else 502.
        /// Why: the same as for requests.
        max_headers: u32 = 128, in 8..=4_096;
        /// How often a request (or an opaque connection) is offered to a further endpoint when it is
        /// provable that the one before did not process it: connecting failed, or nothing was sent, or it
        /// said so by HTTP/2. Unless this is 0, up to ten connections that an endpoint leaves in order
        /// (`GOAWAY` without an error) do not count.
        /// Why: three endpoints that fail at once are no accident of one of them.
        safe_resends: u32 = 2, in 0..=10;
        /// Send a PROXY protocol header first. HTTP connections are then not shared between clients.
        /// Why: an endpoint that does not expect it takes it for data.
        proxy_protocol: SendProxyProtocol = SendProxyProtocol::Off;
        /// Whether its endpoints speak before their clients do, as servers of databases, SMTP and FTP do. Counts where a
        /// listener with `protocol: auto` names this cluster.
        /// Why: no setting should be needed for a database to greet at once.
        speaks_first: SpeaksFirst = SpeaksFirst::Learn;
        /// TLS to the endpoints. Absent: none.
        tls: Option<ClusterTls> = None;
        /// Who the endpoints are in the mesh: each must show one of these identities, and is shown `mesh.identity`. TLS 1.3 alone. Empty:
        /// they are not of the mesh. With `protocol: auto` endpoints that are proxies like this one are spoken to by HTTP/2.
        identities: Vec<SpiffeId> = Vec::new();
        /// Socket options of TCP connections to the endpoints.
        tcp: TcpOptions = TcpOptions::default();
    }

    /// PINGs to endpoints.
    pub struct Http2Keepalive {
        /// After so long without a byte from the endpoint it is sent a PING.
        interval: Duration, in Duration::from_millis(10)..=Duration::from_hours(24);
        /// Nothing came for so long after that: the connection is closed, and its requests fail (`http2_keepalive_timeout`).
        /// Why: gRPC's value.
        timeout: Duration = Duration::from_secs(20), in Duration::from_millis(10)..=Duration::from_mins(10);
    }

    /// What is spoken to the endpoints of a cluster.
    pub enum UpstreamProtocol {
        /// HTTP/1.1: one request at a time on a connection. With `tls` it is asked for (ALPN), and an endpoint that chooses nothing is taken to speak it.
        Http1 = "http1";
        /// HTTP/2 by prior knowledge, and with `tls` by ALPN: many requests at a time on one connection. gRPC needs it.
        Http2 = "http2";
        /// With `tls`: what the endpoint chooses (ALPN). Without: requests that come by HTTP/2 go on by HTTP/2, others by HTTP/1.1.
        Auto = "auto";
    }

    /// One endpoint.
    pub struct Endpoint from address {
        /// `ip:port` or `unix:/path`.
        address: EndpointAddress;
        /// Further addresses of the same endpoint, tried by happy eyeballs (RFC 8305).
        alternatives: Vec<EndpointAddress> = Vec::new();
        /// Share of the traffic relative to the others. `0`: none.
        /// Why: equal shares.
        weight: u32 = 1, in 0..=65_535;
    }

    /// Endpoints found by DNS.
    pub struct DnsEndpoints from name {
        /// `host:port`; with `srv`, the name of the record.
        name: DnsName;
        /// Ask for SRV records: they bring port, priority and weight.
        srv: bool = false;
        /// Address families used.
        family: DnsFamily = DnsFamily::Both;
    }

    /// Address families of a DNS cluster.
    pub enum DnsFamily {
        /// A and AAAA.
        Both = "both";
        /// A only.
        V4 = "v4";
        /// AAAA only.
        V6 = "v6";
    }

    /// How an endpoint is picked.
    pub oneof Balance {
        /// In turn, by weight.
        RoundRobin = "round_robin": RoundRobin, alone = RoundRobin {};
        /// By chance, by weight.
        Random = "random": Random, alone = Random {};
        /// The one of two random choices with fewer active requests.
        LeastRequest = "least_request": LeastRequest, alone = LeastRequest::default();
        /// The one of two random choices with the lower latency times active requests.
        PeakEwma = "peak_ewma": PeakEwma, alone = PeakEwma::default();
        /// Consistent hashing on a ring (Ketama).
        RingHash = "ring_hash": RingHash;
        /// Consistent hashing by Maglev's table (Eisenbud et al., NSDI 2016).
        Maglev = "maglev": Maglev;
    }

    /// No settings.
    pub struct RoundRobin {}

    /// No settings.
    pub struct Random {}

    /// Power of two choices by active requests.
    pub struct LeastRequest {
        /// Endpoints compared per pick.
        /// Why: the second choice brings nearly all of the gain (Mitzenmacher 2001).
        choices: u32 = 2, in 2..=16;
    }

    /// Power of two choices by peak-sensitive moving average of latency.
    pub struct PeakEwma {
        /// Time after which an observation weighs 1/e.
        /// Why: Linkerd's value.
        decay: Duration = Duration::from_secs(10), in Duration::from_millis(10)..=Duration::from_hours(1);
        /// Latency assumed of an endpoint that has not answered yet.
        /// Why: Linkerd's value.
        initial_latency: Duration = Duration::from_millis(30), in Duration::from_micros(1)..=Duration::from_mins(1);
    }

    /// Ring hash.
    pub struct RingHash {
        /// What is hashed; the first that a request has counts. None there: a random endpoint.
        hash_on: Vec<HashOn>;
        /// Least number of points on the ring.
        /// Why: Envoy's value.
        min_size: u32 = 1_024, in 1..=4_194_304;
    }

    /// Maglev.
    pub struct Maglev {
        /// What is hashed; the first that a request has counts. None there: a random endpoint.
        hash_on: Vec<HashOn>;
        /// Slots of the table; a prime.
        /// Why: Envoy's value, and that of the paper.
        table_size: u32 = 65_537, in 3..=5_000_011;
    }

    /// A property of a request that is hashed.
    pub oneof HashOn {
        /// Value of a field.
        Header = "header": HeaderName;
        /// Value of a cookie.
        Cookie = "cookie": Text;
        /// Value of a query parameter.
        Query = "query": Text;
        /// Address of the client; may be written as the bare word.
        SourceAddress = "source_address": bool, alone = true;
    }

    /// Connections to the endpoints of a cluster.
    pub struct Pool {
        /// Open connections per endpoint, over all workers.
        /// Why: Envoy's value.
        max_connections: u32 = 1_024, in 1..=1_000_000;
        /// Idle connections kept per endpoint, over all workers, of whom each has its share.
        /// Why: what a burst opened need not stay open.
        max_idle: u32 = 256, in 0..=1_000_000;
        /// Requests per endpoint that wait for a connection, over all workers, of whom each has its
        /// share; further ones get 503.
        /// Why: Envoy's value.
        max_pending: u32 = 1_024, in 0..=1_000_000;
        /// How long a request may wait for a connection; else 503.
        /// Why: Linkerd's value; who waits longer has often left.
        pending_timeout: Duration = Duration::from_secs(3), in Duration::from_millis(1)..=Duration::from_mins(10);
        /// Idle connections are closed after this long, or earlier where the peer is seen to close earlier.
        /// Why: shorter than most servers wait (nginx: 75 s).
        idle_timeout: Duration = Duration::from_mins(1), in Duration::from_millis(10)..=Duration::from_hours(24);
        /// Connections are not reused beyond this age. `0s`: no limit.
        /// Why: a new connection costs more than an old one.
        max_lifetime: Duration = Duration::ZERO;
        /// Requests on one connection. `0`: no limit.
        /// Why: a new connection costs more than an old one.
        max_requests: u32 = 0;
    }

    /// Whether a PROXY protocol header is sent first.
    pub enum SendProxyProtocol {
        /// None.
        Off = "off";
        /// Version 1 (text).
        V1 = "v1";
        /// Version 2 (binary).
        V2 = "v2";
    }

    /// Whether the endpoints of a cluster speak before their clients do.
    pub enum SpeaksFirst {
        /// The cluster is dialed while a client is silent, and what came of it is remembered.
        Learn = "learn";
        /// Always: the cluster is dialed as soon as a client has nothing to say.
        Always = "always";
        /// Never: the cluster is not dialed before a client has spoken.
        Never = "never";
    }
}
