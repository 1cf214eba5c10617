//! What the end-to-end tests need: the proxy as a process, back ends that follow a script, raw
//! clients, and deadlines. The suites stand in `tests/tests`, their data in `tests/vectors`.
//!
//! Everything here blocks and has a deadline: a test either sees what it waits for or fails with
//! the proxy's own log beside it. Nothing sleeps to let something happen; [`wait::until`] asks
//! again when the process under test offers no event to wait for.
//!
//! Start reading at [`proxy::Proxy`], then [`upstream::Upstream`] and [`client::Client`].

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a panic with its place is how a test fails, and the runner shows stderr"
)]

pub mod client;
pub mod files;
pub mod frames;
pub mod http;
pub mod large;
pub mod metrics;
pub mod mutations;
pub mod names;
pub mod process;
pub mod proxy;
pub mod reader;
pub mod secure;
pub mod tls;
pub mod tools;
pub mod upstream;
pub mod vectors;
pub mod wait;
pub mod websocket;
pub mod wire;
