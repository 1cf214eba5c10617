//! What is said about traffic must be true: access log, metrics, cause words.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod access_log;
mod causes;
mod faults;
mod metrics;
mod own_log;
