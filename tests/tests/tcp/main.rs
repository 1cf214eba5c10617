//! Opaque connections: what one end sends and how it ends is what the other end sees.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod addresses;
mod detection;
mod ends;
mod first_speaker;
mod limits;
mod passthrough;
mod proxy_protocol;
mod transfer;

use outrigger_tests::{proxy::Proxy, upstream::Upstream, wire::Address};

/// A TCP listener `web` before this endpoint; `more` are further settings of the listener.
fn forwarding(endpoint: &Address, more: &str) -> Proxy {
    Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: tcp, cluster: back {more} }}]
clusters: [{{ name: back, endpoints: ['{endpoint}'] }}]"
    ))
}

/// Sends back what comes, and ends when the other side ends.
fn echo() -> Upstream {
    Upstream::script(echo_script)
}

fn echo_script(peer: &mut outrigger_tests::upstream::Peer) {
    use std::io::{Read, Write};
    let mut buffer = [0; 16_384];
    while let Ok(n) = peer.wire.read(&mut buffer) {
        if n == 0 || peer.wire.write_all(&buffer[..n]).is_err() {
            return;
        }
    }
}
