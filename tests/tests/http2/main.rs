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
mod floods;
mod grpc;
mod grpcio;
mod limits;
mod stalls;
mod storm;
mod streams;

use outrigger_tests::{proxy::Proxy, wire::Address};

/// A proxy whose cluster has one endpoint, spoken to in `protocol`.
fn towards(protocol: &str, endpoint: &Address) -> Proxy {
    Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0' }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, protocol: {protocol}, endpoints: ['{endpoint}'] }}]"
    ))
}
