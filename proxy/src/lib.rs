//! The Outrigger data plane.

mod admin;
mod app;
#[cfg(feature = "benching")]
#[doc(hidden)]
pub mod benching;
mod cluster;
mod commands;
mod control;
mod drain;
mod error;
mod filter;
#[doc(hidden)]
pub mod fuzzing;
mod h1;
mod h2;
mod http;
mod identity;
mod message;
mod net;
mod policy;
mod route;
mod serve;
mod shared;
mod snapshot;
#[allow(
    unsafe_code,
    reason = "the operating system is called from here and nowhere else"
)]
mod sys;
mod tcp;
mod telemetry;
mod timer;
mod tls;
mod upstream;
mod worker;

/// Carries out the command line of the `outrigger` binary.
pub fn main() -> std::process::ExitCode {
    commands::main()
}
