//! What is counted. Handles are resolved when a snapshot is built; the request path only
//! increments cells.

use std::sync::{Arc, OnceLock};

use super::cells::{Counter, Gauge, Histogram, PerWorker};
use crate::error::Cause;

/// One counter per cause of failure, made with the first failure.
#[derive(Debug, Default)]
pub(crate) struct CauseCounters(OnceLock<Box<[Counter]>>);

impl CauseCounters {
    pub(crate) fn inc(&self, cause: Cause) {
        let counters = self
            .0
            .get_or_init(|| Cause::ALL.iter().map(|_| Counter::default()).collect());
        if let Some(counter) = counters.get(cause as usize) {
            counter.inc();
        }
    }

    pub(crate) fn value(&self, cause: Cause) -> u64 {
        let counter = self.0.get().and_then(|all| all.get(cause as usize));
        counter.map_or(0, Counter::value)
    }
}

/// What a connection turned out to speak; a place in [`ListenerCells::detected`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoke {
    Http1,
    Http2,
    Tls,
    /// The client sent something else.
    Opaque,
    /// The server spoke first.
    ServerFirst,
    /// Nobody spoke in time.
    Silent,
}

impl Spoke {
    pub(crate) const WORDS: [&str; 6] = ["http1", "http2", "tls", "opaque", "server_first", "none"];
}

/// What became of a connection that was opened before the client had spoken; a place in
/// [`ListenerCells::early_dials`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EarlyDial {
    /// The server spoke first.
    Greeted,
    /// It serves what the client said.
    Used,
    /// What the client said has another destination.
    InVain,
}

impl EarlyDial {
    pub(crate) const WORDS: [&str; 3] = ["greeted", "used", "in_vain"];
}

/// How a TLS handshake may fail, as it is counted; anything else is `other`.
const CLIENT_FAULTS: [Cause; 14] = [
    Cause::TlsHelloInvalid,
    Cause::TlsHandshakeFailed,
    Cause::TlsHandshakeTimeout,
    Cause::ClientCertificateMissing,
    Cause::ClientCertificateInvalid,
    Cause::ClientCertificateExpired,
    Cause::ClientCertificateNotYetValid,
    Cause::ClientCertificateUnknownCa,
    Cause::ClientCertificateWrongIdentity,
    Cause::ClientCertificateWrongTrustDomain,
    Cause::ClientCertificateRevoked,
    Cause::ClientCertificateWeakKey,
    Cause::ClientGone,
    Cause::IdentityExpired,
];
const ENDPOINT_FAULTS: [Cause; 14] = [
    Cause::UpstreamTlsFailed,
    Cause::UpstreamTlsAlert,
    Cause::UpstreamCertificateInvalid,
    Cause::UpstreamCertificateExpired,
    Cause::UpstreamCertificateNotYetValid,
    Cause::UpstreamCertificateUnknownCa,
    Cause::UpstreamCertificateName,
    Cause::UpstreamCertificateWrongTrustDomain,
    Cause::UpstreamCertificateRevoked,
    Cause::UpstreamCertificateWeakKey,
    Cause::UpstreamAlpn,
    Cause::ConnectTimeout,
    Cause::BadRoute,
    Cause::IdentityExpired,
];

/// TLS handshakes by how they ended: whole, resumed, with one of the faults, or otherwise.
#[derive(Debug, Default)]
pub(crate) struct Handshakes([Counter; 17]);

impl Handshakes {
    /// With clients.
    pub(crate) const WITH_CLIENTS: [&str; 17] = words(CLIENT_FAULTS);
    /// With endpoints.
    pub(crate) const WITH_ENDPOINTS: [&str; 17] = words(ENDPOINT_FAULTS);

    /// Whether a session was resumed, or why there is none.
    fn ended(&self, faults: [Cause; 14], how: Result<bool, Cause>) {
        let place = match how {
            Ok(resumed) => usize::from(resumed),
            Err(cause) => {
                2 + faults
                    .iter()
                    .position(|f| *f == cause)
                    .unwrap_or(faults.len())
            }
        };
        if let Some(counter) = self.0.get(place) {
            counter.inc();
        }
    }

    pub(crate) fn counters(&self) -> &[Counter; 17] {
        &self.0
    }
}

const fn words(faults: [Cause; 14]) -> [&'static str; 17] {
    let mut words = ["other"; 17];
    (words[0], words[1]) = ("full", "resumed");
    let mut at = 0;
    // No iterator is const.
    while at < faults.len() {
        words[2 + at] = faults[at].word();
        at += 1;
    }
    words
}

impl ClusterCells {
    /// A TLS handshake with an endpoint ended; see [`Handshakes`].
    pub(crate) fn shaken(&self, how: Result<bool, Cause>) {
        self.handshakes.ended(ENDPOINT_FAULTS, how);
    }
}

/// The codes of gRPC; beside them: a number that is none of them, and no status at all.
pub(crate) const GRPC_STATUS: [&str; 19] = [
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16",
    "other", "none",
];

impl RouteCells {
    /// A gRPC call ended.
    pub(crate) fn called(&self, status: Option<u32>) {
        let (other, none) = (GRPC_STATUS.len() - 2, GRPC_STATUS.len() - 1);
        let place = status.map_or(none, |status| other.min(status as usize));
        if let Some(counter) = self.grpc.get(place) {
            counter.inc();
        }
    }
}

impl ListenerCells {
    pub(crate) fn spoke(&self, what: Spoke) {
        if let Some(counter) = self.detected.get(what as usize) {
            counter.inc();
        }
    }

    /// A TLS handshake with a client ended; see [`Handshakes`].
    pub(crate) fn shaken(&self, how: Result<bool, Cause>) {
        self.handshakes.ended(CLIENT_FAULTS, how);
    }

    pub(crate) fn dialed_early(&self, outcome: EarlyDial) {
        if let Some(counter) = self.early_dials.get(outcome as usize) {
            counter.inc();
        }
    }
}

/// Of one listener.
#[derive(Debug, Default)]
pub(crate) struct ListenerCells {
    /// Connections accepted.
    pub(crate) accepted: Counter,
    /// Connections open now.
    pub(crate) active: Gauge,
    /// Bytes received from and sent to clients.
    pub(crate) received: Counter,
    pub(crate) sent: Counter,
    /// Connections by what they turned out to speak, where that had to be found out.
    pub(crate) detected: [Counter; Spoke::WORDS.len()],
    /// Connections to the cluster that were opened before the client had spoken, by their use.
    pub(crate) early_dials: [Counter; EarlyDial::WORDS.len()],
    pub(crate) handshakes: Handshakes,
    /// Failures before a route was found, and of opaque connections.
    pub(crate) failures: CauseCounters,
}

/// Of one route (HTTP).
#[derive(Debug, Default)]
pub(crate) struct RouteCells {
    /// Responses by class of status: index 1 to 5; 0 counts requests that ended without one.
    pub(crate) responses: [Counter; 6],
    /// gRPC calls by status; a place in [`GRPC_STATUS`].
    pub(crate) grpc: [Counter; GRPC_STATUS.len()],
    /// Requests in flight.
    pub(crate) active: Gauge,
    pub(crate) failures: CauseCounters,
    /// From the complete head of the request to the last byte of the response.
    pub(crate) duration: Histogram,
    /// The part of it spent in this proxy: not waiting for a peer.
    pub(crate) overhead: Histogram,
}

/// Of one policy.
#[derive(Debug, Default)]
pub(crate) struct PolicyCells {
    /// Requests and connections refused, and those that would have been.
    pub(crate) refusals: [Counter; 2],
}

impl PolicyCells {
    pub(crate) const WORDS: [&str; 2] = ["denied", "audited"];

    pub(crate) fn refused(&self, denied: bool) {
        let [refused, audited] = &self.refusals;
        if denied { refused } else { audited }.inc();
    }
}

/// Of one cluster.
#[derive(Debug, Default)]
pub(crate) struct ClusterCells {
    /// Requests sent, by class of the response's status; 0 counts those without one.
    pub(crate) responses: [Counter; 6],
    /// Requests in flight, those included that wait for a connection.
    pub(crate) active: Gauge,
    /// Connections opened, and open now.
    pub(crate) connects: Counter,
    pub(crate) connect_failures: Counter,
    pub(crate) connections: Gauge,
    pub(crate) handshakes: Handshakes,
    /// TLS connections passed through by a name.
    pub(crate) tls_connections: Counter,
    /// Requests sent on a connection that had served another before.
    pub(crate) reused: Counter,
    /// Requests sent a second time because the first was provably not processed.
    pub(crate) resent: Counter,
    /// Requests waiting for a connection now.
    pub(crate) pending: Gauge,
    pub(crate) sent: Counter,
    pub(crate) received: Counter,
    /// From sending a request to the head of its response.
    pub(crate) latency: Histogram,
}

/// Of one worker.
#[derive(Debug, Default)]
pub(crate) struct WorkerCells {
    /// Connections, and tasks of the worker's own, ended by a panic.
    pub(crate) panics: Counter,
    /// `accept` calls that failed, by lack of descriptors or otherwise.
    pub(crate) accept_errors: Counter,
}

/// Cells of every worker for one object.
pub(crate) type Cells<T> = Arc<PerWorker<T>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_grpc_status_has_its_place() {
        let cells = RouteCells::default();
        for status in [Some(0), Some(16), Some(17), Some(u32::MAX), None] {
            cells.called(status);
        }
        let of = |word| {
            let place = GRPC_STATUS.iter().position(|w| *w == word).unwrap();
            cells.grpc[place].value()
        };
        assert_eq!(["0", "1", "16", "other", "none"].map(of), [1, 0, 1, 2, 1]);
    }
}
