//! The Outrigger data plane.

mod cluster;
mod drain;
mod error;
mod h1;
mod message;
mod net;
mod telemetry;
mod timer;
