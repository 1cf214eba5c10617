//! Process-wide settings: workers, limits, drain, DNS, logs, and the two operators' faces.

use std::time::Duration;

use super::{BindAddress, ByteSize, Identity, LogOutput, Percent, Text, Workers};

crate::engine::model! {
    /// Settings of the process.
    pub struct Mesh {
        /// Threads that carry traffic; each has its own sockets, pools and buffers. `auto` follows
        /// the CPU quota of the cgroup, one below one CPU; without a quota one for each CPU.
        /// A change takes effect at the next start.
        /// Why: a sidecar that takes no more than it was given is not throttled.
        workers: Workers = Workers::Auto;
        /// Who we are to others of the mesh. Absent: nobody.
        identity: Option<Identity> = None;
        /// Bounds over all listeners together.
        limits: Limits = Limits::default();
        /// How the process leaves.
        drain: Drain = Drain::default();
        /// How names are resolved.
        dns: Dns = Dns::default();
        /// One line per request or connection. Absent: no access log.
        /// Why: Linkerd and Istio leave it off too; a line costs about a microsecond.
        access_log: Option<AccessLog> = None;
        /// Listeners, routes and clusters, of each kind, that are counted by name; what comes after is
        /// counted in one series named `overflow`.
        /// A change takes effect at the next start.
        /// Why: unbounded labels are how meshes run out of memory (CVE-2025-43915).
        metric_series: u32 = 2_000, in 16..=1_000_000;
    }

    /// Bounds of the whole process.
    pub struct Limits {
        /// Downstream connections over all listeners; further ones are closed at once and counted.
        /// Why: idle ones take 1.1 KiB each, so that all of them fit into 80 MiB.
        connections: u32 = 65_536, in 1..=10_000_000;
        /// TLS handshakes with clients at one time, over all listeners; each worker has its share. Further ones wait, as long as their
        /// `handshake_timeout` lets them. A connection counts from the end of its first message (`ClientHello`).
        /// A change takes effect at the next start.
        /// Why: each takes about 30 KiB and 0.2 ms; who is served late had better not begin.
        handshakes: u32 = 1_024, in 1..=1_000_000;
        /// Idle buffers each worker keeps for the next connection.
        /// A change takes effect at the next start.
        /// Why: a burst of connections finds its buffers ready, and an idle process stays small.
        buffer_pool: ByteSize = ByteSize(4 << 20), in ByteSize(65_536)..=ByteSize(1 << 30);
        /// Memory for large reads and for data that slow receivers have not taken, per worker: one
        /// half for opaque connections, one for bodies. Beyond it reads stay small.
        /// A change takes effect at the next start.
        /// Why: a slow receiver must not hold the memory of all others.
        bulk_buffers: ByteSize = ByteSize(16 << 20), in ByteSize(1 << 20)..=ByteSize(4 << 30);
        /// Memory for pieces of bodies, and of tunnels, on HTTP/2 streams whose receivers are behind, over all connections;
        /// each worker has its share. From a quarter of it on reads are small; beyond it the stream that has waited
        /// longest, or the client that reads nothing from its socket, is ended with the cause `stream_buffers_full`.
        /// A change takes effect at the next start.
        /// Why: a thousand streams, each with all that its first window lets come.
        stream_buffers: ByteSize = ByteSize(64 << 20), in ByteSize(1 << 20)..=ByteSize(4 << 30);
    }

    /// What happens after SIGTERM, SIGINT or `outrigger drain`.
    pub struct Drain {
        /// How long listeners go on accepting, answering with `Connection: close`, after readiness
        /// turned false.
        /// Why: load balancers need a moment to see that readiness is gone.
        grace: Duration = Duration::from_secs(2), in Duration::ZERO..=Duration::from_mins(10);
        /// How long open requests and connections may go on after that, before they are cut.
        /// Why: Kubernetes kills 30 s after SIGTERM; grace and deadline fit into it.
        deadline: Duration = Duration::from_secs(25), in Duration::ZERO..=Duration::from_hours(1);
    }

    /// Name resolution for clusters with `dns`.
    pub struct Dns {
        /// Shortest time an answer is kept, whatever its TTL.
        /// Why: a record with TTL 0 would be asked for all the time.
        min_ttl: Duration = Duration::from_secs(1), in Duration::from_millis(100)..=Duration::from_hours(1);
        /// Longest time an answer is kept, whatever its TTL.
        /// Why: an endpoint that moved is found again, whatever its record promised.
        max_ttl: Duration = Duration::from_mins(5), in Duration::from_secs(1)..=Duration::from_hours(24);
        /// How long one resolution may take, and how long a new table waits at most for the first answers to its names.
        /// Why: the resolver's own default (resolv.conf, `timeout:5`).
        timeout: Duration = Duration::from_secs(5), in Duration::from_millis(100)..=Duration::from_mins(1);
        /// Endpoints one name may yield; further answers are left out.
        /// Why: one answer must not fill the memory.
        max_endpoints: u32 = 256, in 1..=10_000;
        /// Name servers to ask (`ip:port`) instead of those in `/etc/resolv.conf`.
        servers: Vec<std::net::SocketAddr> = Vec::new();
    }

    /// Lines about finished requests and connections.
    pub struct AccessLog {
        /// How a line is written.
        /// Why: logs are read by programs first.
        format: LogFormat = LogFormat::Json;
        /// `stdout`, `stderr` or the path of a file. A file that was renamed or removed is opened
        /// anew, so that rotation loses nothing.
        /// Why: what containers collect.
        output: LogOutput = LogOutput::Stdout;
        /// Share of successful requests that are logged. Failures and status 500 and above always are.
        /// Why: a line that is missing raises questions; sampling is a choice.
        sample: Percent = Percent(100.0);
        /// Log only statuses from this one up, and failures. An opaque connection has no status.
        min_status: Option<u16> = None, in 100..=599;
        /// Log only what took at least this long, and failures.
        min_duration: Option<Duration> = None;
        /// Lines that wait for a slow disk; further ones are dropped and counted.
        /// Why: about 3,000 lines, which a disk that pauses for a moment leaves behind.
        buffer: ByteSize = ByteSize(1 << 20), in ByteSize(65_536)..=ByteSize(1 << 30);
    }

    /// How an access log line is written.
    pub enum LogFormat {
        /// One JSON object per line.
        Json = "json";
        /// One line of `key=value` pairs.
        Text = "text";
    }

    /// The administrative interface: HTTP on loopback or a Unix socket.
    pub struct Admin {
        /// Address or Unix socket (`unix:/path`, mode 0600). Anything but loopback or a Unix socket needs `token_file`.
        /// Why: reachable from the same host or pod alone; the port is the one that Envoy's users know.
        bind: BindAddress = BindAddress::LOOPBACK_9901;
        /// File with a token that every changing request over TCP must carry as `Authorization: Bearer`.
        /// Without it, changing requests are taken on a Unix socket alone, from the same user or root.
        token_file: Option<Text> = None;
        /// Values of `Host` that are answered besides loopback addresses and `localhost`.
        /// Why: a page in a browser must not reach this by DNS rebinding.
        allowed_hosts: Vec<Text> = Vec::new();
    }

    /// Read-only `/live`, `/ready` and `/metrics`; may be bound to the pod's address.
    pub struct Probes {
        /// Address to serve them on.
        bind: BindAddress;
    }
}
