//! HTTP/1.1 and 1.0 through the proxy, by what both ends see.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod bodiless;
mod connect;
mod early;
mod fields;
mod forwarded;
mod interim;
mod keep_alive;
mod limits;
mod streaming;
mod timeouts;
mod trailers;
mod upgrade;
