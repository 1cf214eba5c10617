//! The Outrigger data plane.

mod cluster;
mod drain;
mod error;
mod h1;
mod filter;
mod message;
mod net;
#[allow(
    unsafe_code,
    reason = "the operating system is called from here and nowhere else"
)]
mod sys;
mod tcp;
mod route;
mod telemetry;
mod timer;
