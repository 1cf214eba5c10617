//! Every way a request or connection can fail, one row each.
//!
//! A failure has exactly one cause word, the same in the access log, the metric label and the
//! `Proxy-Status` header. Words registered for RFC 9209 `error` are used where one fits; the
//! others are ours. This module decides nothing: code that detects a failure names its cause.

use std::fmt;

macro_rules! causes {
    ($($(#[doc = $doc:literal])* $variant:ident $status:literal $word:literal $side:ident;)*) => {
        /// Why a request or connection failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Cause { $($(#[doc = $doc])* $variant,)* }

        impl Cause {
            /// Every cause, in order of declaration; its index is `cause as usize`.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The status sent to the client, or logged where nothing can be sent.
            pub(crate) const fn status(self) -> u16 { match self { $(Self::$variant => $status,)* } }

            /// The word in logs, metrics and `Proxy-Status`.
            pub(crate) const fn word(self) -> &'static str { match self { $(Self::$variant => $word,)* } }

            /// Whose fault it is.
            pub(crate) const fn side(self) -> Side { match self { $(Self::$variant => Side::$side,)* } }

            /// Whether no connection came about, so that nothing was sent.
            pub(crate) const fn is_connect_failure(self) -> bool {
                matches!(
                    self,
                    Self::ConnectionRefused | Self::ConnectTimeout | Self::Unreachable
                ) || self.is_tls_failure()
            }

            /// Whether it is one of a TLS handshake with an endpoint.
            pub(crate) const fn is_tls_failure(self) -> bool {
                matches!(
                    self,
                    Self::UpstreamTlsFailed
                        | Self::IdentityExpired
                        | Self::UpstreamTlsAlert
                        | Self::UpstreamCertificateInvalid
                        | Self::UpstreamCertificateExpired
                        | Self::UpstreamCertificateNotYetValid
                        | Self::UpstreamCertificateUnknownCa
                        | Self::UpstreamCertificateName
                        | Self::UpstreamCertificateWrongTrustDomain
                        | Self::UpstreamCertificateRevoked
                        | Self::UpstreamCertificateWeakKey
                        | Self::UpstreamAlpn
                )
            }

            /// One sentence for people.
            pub(crate) const fn explain(self) -> &'static str { match self { $(Self::$variant => concat!($($doc,)*),)* } }
        }
    };
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Whoever connected to us.
    Downstream,
    /// Whom we connect to.
    Upstream,
    /// Us or our configuration.
    Local,
}

causes! {
    /// The request is not valid HTTP, or ambiguous.
    BadRequest 400 "http_request_error" Downstream;
    /// The request line is longer than allowed.
    RequestLineTooLong 414 "request_line_too_long" Downstream;
    /// The head or trailers of the request are larger than allowed.
    RequestHeadTooLarge 431 "request_header_too_large" Downstream;
    /// The request body is larger than allowed.
    RequestBodyTooLarge 413 "request_body_too_large" Downstream;
    /// The request's head did not arrive in time.
    RequestHeadTimeout 408 "request_header_timeout" Downstream;
    /// The request's body paused for too long.
    RequestBodyTimeout 408 "request_body_timeout" Downstream;
    /// The request's HTTP version is not spoken here.
    VersionNotSupported 505 "http_version_not_supported" Downstream;
    /// The request uses a transfer coding that is not known.
    NotImplemented 501 "transfer_coding_not_implemented" Downstream;
    /// An expectation other than 100-continue.
    ExpectationFailed 417 "expectation_failed" Downstream;
    /// CONNECT is not allowed here.
    ConnectRefused 405 "connect_not_allowed" Downstream;
    /// The protocol asked for by extended CONNECT is not allowed here.
    TunnelRefused 501 "protocol_not_allowed" Downstream;
    /// The client left before the response was complete.
    ClientGone 499 "client_gone" Downstream;
    /// The client did not take the response in time.
    ClientStalled 499 "client_stalled" Downstream;
    /// The connection did not begin with a PROXY protocol header.
    ProxyHeaderInvalid 400 "proxy_protocol_error" Downstream;
    /// The connection sent nothing that tells its protocol, or another one than is taken here.
    ProtocolUnknown 400 "protocol_unknown" Downstream;
    /// The client broke the rules of HTTP/2.
    Http2ProtocolError 400 "http2_protocol_error" Downstream;
    /// The client reset its HTTP/2 streams as fast as it opened them.
    Http2RapidReset 400 "http2_rapid_reset" Downstream;
    /// The client's mistakes made us reset its HTTP/2 streams as fast as it opened them.
    Http2ProvokedResets 400 "http2_provoked_resets" Downstream;
    /// The client sent a header block in too many CONTINUATION frames.
    Http2ContinuationFlood 400 "http2_continuation_flood" Downstream;
    /// The client sent headers far larger than allowed, or made to grow when they are decoded.
    Http2HeaderBomb 431 "http2_header_bomb" Downstream;
    /// The client sent too many DATA frames with little or nothing in them.
    Http2EmptyDataFlood 400 "http2_empty_data_flood" Downstream;
    /// The client sent too many HTTP/2 frames that carry no message, such as SETTINGS or PING.
    Http2ControlFlood 400 "http2_control_flood" Downstream;
    /// The first message of a TLS connection is malformed, too large, or not complete in time.
    TlsHelloInvalid 400 "tls_client_hello_invalid" Downstream;
    /// The TLS handshake of the client failed: nothing in common, or it broke the rules.
    TlsHandshakeFailed 400 "tls_handshake_failed" Downstream;
    /// The TLS handshake of the client was not complete in time.
    TlsHandshakeTimeout 408 "tls_handshake_timeout" Downstream;
    /// The client showed no certificate where one is required.
    ClientCertificateMissing 400 "client_certificate_missing" Downstream;
    /// The client's certificate cannot be read, is for another use, or its chain breaks a rule.
    ClientCertificateInvalid 400 "client_certificate_invalid" Downstream;
    /// The client's certificate has expired, or one above it.
    ClientCertificateExpired 400 "client_certificate_expired" Downstream;
    /// The client's certificate is not valid yet, or one above it.
    ClientCertificateNotYetValid 400 "client_certificate_not_yet_valid" Downstream;
    /// The client's certificate comes from nobody who is trusted here.
    ClientCertificateUnknownCa 400 "client_certificate_unknown_ca" Downstream;
    /// The client's certificate names no identity, or several.
    ClientCertificateWrongIdentity 400 "client_certificate_wrong_identity" Downstream;
    /// The client belongs to a trust domain that is not trusted here.
    ClientCertificateWrongTrustDomain 400 "client_certificate_wrong_trust_domain" Downstream;
    /// The client's certificate was taken back, or one above it.
    ClientCertificateRevoked 400 "client_certificate_revoked" Downstream;
    /// The key of the client's certificate, or of one above it, is too weak.
    ClientCertificateWeakKey 400 "client_certificate_weak_key" Downstream;
    /// The connection is encrypted for another host than the one that is asked for.
    Misdirected 421 "misdirected_request" Downstream;
    /// The client speaks another protocol than was agreed on in its handshake (ALPN).
    AlpnBroken 400 "tls_alpn_broken" Downstream;
    /// The connection was idle for too long.
    IdleTimeout 408 "idle_timeout" Downstream;
    /// The connection reached its greatest age.
    LifetimeReached 408 "lifetime_reached" Local;
    /// Streams whose receivers are behind hold as much memory as they may.
    BuffersFull 503 "stream_buffers_full" Local;
    /// The request has been through this proxy too often.
    Loop 508 "proxy_loop_detected" Downstream;
    /// A policy does not allow it.
    PolicyDenied 403 "http_request_denied" Local;
    /// No route matches the request.
    NoRoute 404 "route_not_found" Local;
    /// No TLS route takes the name that the connection asks for.
    NoTlsRoute 404 "tls_route_not_found" Local;
    /// The route points at nothing that exists.
    BadRoute 500 "proxy_configuration_error" Local;
    /// The cluster has no endpoint that may be used.
    NoEndpoint 503 "destination_unavailable" Upstream;
    /// The name of the cluster could not be resolved.
    DnsError 503 "dns_error" Upstream;
    /// Too many connections to the endpoint, and too many requests waiting for one.
    PoolFull 503 "connection_limit_reached" Upstream;
    /// The request waited too long for a connection to the endpoint.
    PoolTimeout 503 "connection_pool_timeout" Upstream;
    /// Too many downstream connections.
    TooManyConnections 503 "downstream_connection_limit" Local;
    /// The endpoint refused the connection.
    ConnectionRefused 502 "connection_refused" Upstream;
    /// Connecting to the endpoint took too long.
    ConnectTimeout 504 "connection_timeout" Upstream;
    /// The endpoint cannot be reached.
    Unreachable 502 "destination_ip_unroutable" Upstream;
    /// The TLS handshake with the endpoint failed: nothing in common, it broke the rules, or left.
    UpstreamTlsFailed 502 "tls_protocol_error" Upstream;
    /// The endpoint ended the TLS handshake with an alert.
    UpstreamTlsAlert 502 "tls_alert_received" Upstream;
    /// The endpoint's certificate cannot be read, is for another use, or its chain breaks a rule.
    UpstreamCertificateInvalid 502 "tls_certificate_error" Upstream;
    /// The endpoint's certificate has expired, or one above it.
    UpstreamCertificateExpired 502 "tls_certificate_expired" Upstream;
    /// The endpoint's certificate is not valid yet, or one above it.
    UpstreamCertificateNotYetValid 502 "tls_certificate_not_yet_valid" Upstream;
    /// The endpoint's certificate comes from nobody who is trusted here.
    UpstreamCertificateUnknownCa 502 "tls_certificate_unknown_ca" Upstream;
    /// The endpoint's certificate is for another name, or another identity.
    UpstreamCertificateName 502 "tls_certificate_name_mismatch" Upstream;
    /// The endpoint belongs to a trust domain that is not trusted here.
    UpstreamCertificateWrongTrustDomain 502 "tls_certificate_wrong_trust_domain" Upstream;
    /// The endpoint's certificate was taken back, or one above it.
    UpstreamCertificateRevoked 502 "tls_certificate_revoked" Upstream;
    /// The key of the endpoint's certificate, or of one above it, is too weak.
    UpstreamCertificateWeakKey 502 "tls_certificate_weak_key" Upstream;
    /// The endpoint does not speak the protocol that it must (ALPN).
    UpstreamAlpn 502 "tls_alpn_mismatch" Upstream;
    /// The endpoint closed or reset the connection before it answered.
    UpstreamClosed 502 "connection_terminated" Upstream;
    /// The endpoint reset the request's stream before it answered.
    UpstreamReset 502 "stream_reset" Upstream;
    /// The endpoint's answer is not valid HTTP, or ambiguous.
    BadResponse 502 "http_protocol_error" Upstream;
    /// The head of the endpoint's answer is larger than allowed.
    ResponseHeadTooLarge 502 "http_response_header_section_size" Upstream;
    /// The endpoint sent too many HTTP/2 frames that carry no message.
    Http2UpstreamFlood 502 "http2_upstream_flood" Upstream;
    /// The endpoint said nothing on an HTTP/2 connection, not even to a PING.
    Http2KeepaliveTimeout 502 "http2_keepalive_timeout" Upstream;
    /// The endpoint's answer ended before it was complete.
    ResponseIncomplete 502 "http_response_incomplete" Upstream;
    /// The endpoint switched protocols without being asked, to another one, or not in the agreed way.
    UpgradeFailed 502 "http_upgrade_failed" Upstream;
    /// The endpoint does not take the extended CONNECT that an upgrade needs over HTTP/2.
    TunnelNotOffered 502 "extended_connect_not_offered" Upstream;
    /// The endpoint paused for too long within its answer.
    UpstreamStalled 504 "connection_read_timeout" Upstream;
    /// The endpoint's answer took longer than the route allows one try.
    BackendTimeout 504 "backend_request_timeout" Upstream;
    /// The deadline that the client gave with its request has passed.
    DeadlineExceeded 504 "client_deadline_exceeded" Upstream;
    /// The request took longer than the route allows.
    RequestTimeout 504 "http_response_timeout" Upstream;
    /// The process is shutting down.
    Draining 503 "draining" Local;
    /// Our own certificate in the mesh has expired, and nobody can be shown who we are.
    IdentityExpired 503 "identity_expired" Local;
    /// Something inside the proxy failed.
    Internal 500 "proxy_internal_error" Local;
}

/// A failure and, for people, what exactly was wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    pub(crate) cause: Cause,
    /// A few fixed words for the log, such as `bare LF in head`; never data of a peer.
    pub(crate) detail: &'static str,
}

impl Failure {
    pub(crate) const fn new(cause: Cause, detail: &'static str) -> Self {
        Self { cause, detail }
    }
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Self {
        Self { cause, detail: "" }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cause.word())?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn words_are_unique_tokens() {
        let words: HashSet<_> = Cause::ALL.iter().map(|c| c.word()).collect();
        assert_eq!(words.len(), Cause::ALL.len());
        assert!(words.iter().all(|w| {
            w.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        }));
    }
}
