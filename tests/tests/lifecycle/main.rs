//! The life of the process: start, reload, drain, and its operators' face.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod admin;
mod ca;
mod commands;
mod drain;
mod examples;
mod large_reloads;
mod names;
mod reload;
mod reload_under_load;
