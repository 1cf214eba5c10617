//! HTTP/2 from clients and towards endpoints, and every translation between it and HTTP/1.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod bench;
mod bombs;
mod directions;
mod endpoints;
mod envoy;
mod floods;
mod grpc;
mod grpcio;
mod keepalive;
mod limits;
mod malformed;
mod node;
mod order;
mod peers;
mod reconnect;
mod refused_tunnels;
mod stalls;
mod storm;
mod streams;
mod tunnels;
mod upstream;
mod websocket;
mod windows;

use outrigger_tests::{
    proxy::{Proxy, list},
    wire::Address,
};

/// A proxy whose cluster has one endpoint, spoken to in `protocol`.
fn towards(protocol: &str, endpoint: &Address) -> Proxy {
    Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0' }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, protocol: {protocol}, endpoints: ['{endpoint}'] }}]"
    ))
}

/// A proxy before endpoints that are spoken to by HTTP/2 and taken in turn, with these settings of
/// the cluster.
fn before(endpoints: &[&Address], cluster: &str) -> Proxy {
    Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0' }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, protocol: http2, balance: round_robin, endpoints: {}, {cluster} }}]",
        list(endpoints)
    ))
}
