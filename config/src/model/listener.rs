//! Listeners: where connections come from and how strict we are with them.

use std::time::Duration;

use super::{BindAddress, ByteSize, Cidr, ListenerTls, Mtls, Name, Text};

crate::engine::model! {
    /// An address the proxy accepts connections on.
    pub struct Listener {
        /// Unique among listeners. Metrics, logs and state over a reload hang on it.
        name: Name;
        /// `ip:port`, `[::]:port` (both families) or `unix:/path`.
        bind: BindAddress;
        /// Whose traffic this is.
        /// Why: the strictest towards strangers.
        direction: Direction = Direction::Gateway;
        /// What is spoken here.
        /// Why: a request line, or TLS, is told from anything else by its first bytes.
        protocol: Protocol = Protocol::Auto;
        /// Routes served here, by name. Absent: every route that no listener names.
        routes: Option<Vec<Name>> = None;
        /// TLS routes served here, by name, with `auto` and `tls_passthrough`. Absent: every TLS route that no listener names.
        tls_routes: Option<Vec<Name>> = None;
        /// Cluster for opaque TCP: required by `tcp`; where `auto` sends what is neither HTTP nor for a TLS
        /// route, and `tls_passthrough` what no TLS route takes; refused by `http`.
        cluster: Option<Name> = None;
        /// Connections at one time; further ones are closed at once and counted.
        /// Why: a quarter of `mesh.limits.connections`: one listener cannot take them all.
        max_connections: u32 = 16_384, in 1..=10_000_000;
        /// Connections the kernel queues for each worker before they are accepted.
        /// Why: Linux' own limit (`net.core.somaxconn`).
        backlog: u32 = 4_096, in 1..=65_535;
        /// Whether connections begin with a PROXY protocol header (v1 or v2).
        /// Why: whoever may send such a header may claim any address.
        proxy_protocol: AcceptProxyProtocol = AcceptProxyProtocol::Off;
        /// How long `auto` waits for the first bytes, of client or server, before a connection counts as opaque (or,
        /// without `cluster`, is closed); how long a `ClientHello` that is read for its name may take.
        /// Why: Linkerd's value.
        detect_timeout: Duration = Listener::DETECT_TIMEOUT, in Duration::from_millis(1)..=Duration::from_mins(10);
        /// `auto` with a `cluster`: how long a client may be silent until the cluster is dialed, in case the
        /// server speaks first there. What was seen makes it nothing, or longer; see `clusters[].speaks_first`.
        /// Why: a client that speaks first has spoken by then, and a greeting is not noticeably later for it.
        dial_after: Duration = Duration::from_millis(1), in Duration::ZERO..=Duration::from_mins(10);
        /// Opaque connections and tunnels: closed after this long without a byte in either direction. `0s`: never.
        /// Why: Envoy's value.
        idle_timeout: Duration = Duration::from_hours(1);
        /// Any connection: asked to leave (HTTP) or closed (TCP) at this age. `0s`: never.
        /// Why: long connections are often meant to be long.
        max_lifetime: Duration = Duration::ZERO;
        /// TLS that is ended here. Absent: none is.
        tls: Option<ListenerTls> = None;
        /// TLS of the mesh: we show `mesh.identity`, and a client must show an identity of a domain in `trust`. TLS 1.3 alone; a
        /// handshake may take `detect_timeout`. Absent: `strict` on inbound listeners where `mesh.identity` is set and `tls` is not; else `off`.
        mtls: Option<Mtls> = None;
        /// Socket options of accepted TCP connections.
        tcp: TcpOptions = TcpOptions::default();
        /// Limits and manners of HTTP.
        http: HttpOptions = HttpOptions::default();
    }

    /// Whose traffic a listener carries.
    pub enum Direction {
        /// Towards our workload.
        Inbound = "inbound";
        /// From our workload.
        Outbound = "outbound";
        /// Neither side is our workload.
        Gateway = "gateway";
    }

    /// What a listener speaks.
    pub enum Protocol {
        /// HTTP/1 or HTTP/2 if the first bytes are a request line or HTTP/2's preface; TLS to be passed through if they are a `ClientHello` and
        /// there are TLS routes; opaque otherwise, and at once if the server speaks first.
        Auto = "auto";
        /// HTTP/1.0, HTTP/1.1 and HTTP/2 by prior knowledge, told apart by the first bytes.
        Http = "http";
        /// Opaque TCP.
        Tcp = "tcp";
        /// TLS, sent on as it comes to where the name that the client asks for (SNI) is routed; anything else is closed.
        TlsPassthrough = "tls_passthrough";
    }

    /// Whether accepted connections begin with a PROXY protocol header.
    pub enum AcceptProxyProtocol {
        /// They do not; such a header is data.
        Off = "off";
        /// They do, in version 1 or 2; a connection without one is closed.
        Required = "required";
    }

    /// Socket options.
    pub struct TcpOptions {
        /// Idle time before the first keepalive probe, in whole seconds. `0s`: no probes.
        /// Why: cloud load balancers and NAT forget flows that are idle for about 350 s.
        keepalive_time: Duration = Duration::from_mins(3), in Duration::ZERO..=Duration::from_hours(9);
        /// Time between probes, in whole seconds.
        /// Why: with three probes a peer that is gone is noticed within 90 s.
        keepalive_interval: Duration = Duration::from_secs(30), in Duration::from_secs(1)..=Duration::from_hours(9);
        /// Unanswered probes that end a connection.
        /// Why: one lost packet is no lost peer.
        keepalive_probes: u32 = 3, in 1..=100;
        /// Longest time sent data may stay unacknowledged (`TCP_USER_TIMEOUT`). `0s`: the kernel's default.
        /// Why: the kernel alone would retry for about 15 minutes.
        user_timeout: Duration = Duration::from_mins(1);
    }

    /// Limits and manners of HTTP on a listener.
    pub struct HttpOptions {
        /// From the first byte of a request until its head is complete; else 408.
        /// Why: slow heads hold connections (slowloris); Envoy and Linkerd leave this open.
        header_timeout: Duration = Duration::from_secs(10), in Duration::from_millis(10)..=Duration::from_hours(1);
        /// How long a kept connection may wait for its next request, and a new one for its first.
        /// Why: as long as common load balancers in front keep theirs (AWS ALB).
        idle_timeout: Duration = Duration::from_mins(1), in Duration::from_millis(10)..=Duration::from_hours(24);
        /// Longest pause within a request body (else 408), in taking a response (else the connection
        /// is cut), or of an endpoint that owes a response or the rest of one (else 504). `0s`: no limit.
        /// Why: Envoy's value.
        stream_idle_timeout: Duration = Duration::from_mins(5);
        /// Size of a head: request line or status line and all fields; else 431.
        /// Why: Envoy's 60 KiB, rounded up.
        max_header_size: ByteSize = ByteSize(65_536), in ByteSize(1_024)..=ByteSize(1 << 20);
        /// Fields in a head or a trailer section; else 431.
        /// Why: above the 100 of Envoy and Apache httpd; each costs time.
        max_headers: u32 = 128, in 8..=4_096;
        /// Length of a request line; else 414 (431 where `max_header_size` is less).
        /// Why: RFC 9112 section 3 asks for at least 8,000 bytes.
        max_request_line: ByteSize = ByteSize(16_384), in ByteSize(256)..=ByteSize(1 << 20);
        /// Size of a request body; else 413. Absent: no limit.
        max_body_size: Option<ByteSize> = None;
        /// Requests on one connection before it is closed. `0`: no limit.
        /// Why: a kept connection is the cheapest one.
        max_requests: u32 = 0;
        /// Protocols that a request may change to, by `Upgrade` or, over HTTP/2, by extended CONNECT (RFC 8441). Another
        /// value of `Upgrade` is removed, another extended CONNECT answered with 501.
        /// Why: an unknown protocol inside a connection would escape routing and policy.
        upgrades: Vec<Text> = vec![Text::from("websocket")];
        /// Whether `CONNECT` is taken, over HTTP/1 and HTTP/2, and tunnelled to the cluster its route names.
        /// Why: a tunnel escapes routing and policy.
        connect: bool = false;
        /// Merge runs of `/` in paths before routing and forwarding.
        /// Why: a back end may give `//` a meaning.
        merge_slashes: bool = false;
        /// Peers whose `X-Forwarded-*`, `Forwarded` and `X-Real-IP` are believed and extended; everyone else's are replaced.
        /// Why: whoever can send a header can lie in it.
        trusted_proxies: Vec<Cidr> = Vec::new();
        /// Add our entry to `Via`.
        /// Why: RFC 9110 section 7.6.3 asks for it, and it shows loops.
        via: bool = true;
        /// Send `Proxy-Status` (RFC 9209) with our own failures. Absent: on for inbound and outbound listeners, off for gateways.
        proxy_status: Option<bool> = None;
        /// Manners of HTTP/2.
        http2: Http2Options = Http2Options::default();
        /// HTTP/2 streams that a client may reset, beside every second one of those it opens. Beyond it the connection ends with
        /// `ENHANCE_YOUR_CALM` and the cause `http2_rapid_reset`. `trusted_proxies`, which carry many clients, may ten times as much.
        /// Why: a client that changes its mind resets some; rapid reset (CVE-2023-44487) is thousands a second.
        http2_resets: Rate = Rate { burst: 500, per_second: 100 };
        /// HTTP/2 streams that a client's mistakes may make us reset, in the same way; cause `http2_provoked_resets`.
        /// Why: a client makes mistakes or it does not; making us reset (CVE-2025-8671) costs what rapid reset does.
        http2_provoked_resets: Rate = Rate { burst: 200, per_second: 20 };
    }

    /// Manners of HTTP/2 (RFC 9113) on one side. What they can make us hold, at most: of a stream 64 KiB that wait for the socket,
    /// one piece of 64 KiB that waits for the window, what its own window to us lets come, two heads of
    /// `max_header_size`, and some 8 KiB beside; of a connection 64 KiB that wait for its socket, 16 KiB that it is read by, 4 KiB of
    /// compression state each way, one header block of twice `max_header_size`, and 1,000 streams that are over. Bodies of all that wait
    /// are bounded together by `mesh.limits.stream_buffers`.
    pub struct Http2Options {
        /// Streams at one time on one connection. A listener tells its clients; towards endpoints it
        /// holds beside the limit that they tell, and a further connection is made beyond it.
        /// Why: enough for a busy client; what one connection can make us hold stays bounded.
        max_streams: u32 = 250, in 1..=65_535;
        /// Bytes of a body that may be under way to us on one stream at first. It grows with what the
        /// connection carries in a round trip, up to `max_window`.
        /// Why: the protocol's own default; a slow reader behind us costs no more than this.
        initial_window: ByteSize = ByteSize(65_535), in ByteSize(65_535)..=ByteSize(1 << 30);
        /// The most that may be under way to us on one connection.
        /// Why: 10 Gbit/s over 13 ms.
        max_window: ByteSize = ByteSize(16 << 20), in ByteSize(65_535)..=ByteSize(1 << 30);
        /// Frames that cost time and carry nothing.
        frames: FrameRates = FrameRates::default();
    }

    /// How many frames a peer may send that cost time and carry nothing, on one connection. A client that sends more is
    /// ended with `ENHANCE_YOUR_CALM`, an endpoint is left (`http2_upstream_flood`). Endpoints and `trusted_proxies`, which carry
    /// many clients, may send ten times as much, except for SETTINGS.
    pub struct FrameRates {
        /// DATA without payload that does not end its stream.
        /// Why: hardly anyone sends one (CVE-2019-9518).
        empty_data: Rate = Rate { burst: 100, per_second: 20 };
        /// SETTINGS, acknowledgements included.
        /// Why: one at the start, and one when windows change (CVE-2019-9515).
        settings: Rate = Rate { burst: 50, per_second: 5 };
        /// PING, beside one for each DATA frame that we sent.
        /// Why: peers measure the link with it; each has to be answered (CVE-2019-9512).
        pings: Rate = Rate { burst: 100, per_second: 20 };
        /// PRIORITY and `PRIORITY_UPDATE`, beside two for each stream.
        /// Why: old browsers send some; we do nothing with them (CVE-2019-9513).
        priorities: Rate = Rate { burst: 200, per_second: 20 };
        /// `WINDOW_UPDATE`, beside four for each stream and one for each 256 bytes of DATA that we sent.
        /// Why: one that opens a window by a byte costs as much as a large one (CVE-2019-9511).
        window_updates: Rate = Rate { burst: 2_000, per_second: 500 };
        /// Frames of types that are not known, and those that have no place, beside one for each stream.
        /// Why: what is not known is to be ignored, and reading it takes time.
        others: Rate = Rate { burst: 100, per_second: 20 };
    }

    /// How often something may happen.
    pub struct Rate {
        /// So many at once, after a quiet time.
        burst: u32, in 10..=1_000_000;
        /// So many in the long run.
        per_second: u32, in 1..=1_000_000;
    }
}

impl Listener {
    /// The default; where nothing is detected another one is an error.
    pub(crate) const DETECT_TIMEOUT: Duration = Duration::from_secs(10);
}
