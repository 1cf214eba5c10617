//! Where a request goes and what is changed on the way: routes, filters, balancing, sessions.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod balance;
mod dns;
mod filters;
mod matching;
mod paths;
mod sessions;

use outrigger_tests::upstream::Upstream;

/// Answers every request with its own name.
fn named(name: &'static str) -> Upstream {
    Upstream::fixed(name)
}
