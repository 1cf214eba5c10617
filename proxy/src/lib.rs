//! The Outrigger data plane.

mod cluster;
mod error;
mod message;
mod net;
mod telemetry;
