//! What operators see: numbers, access log lines, and the proxy's own log.

pub(crate) mod access_log;
pub(crate) mod cells;
mod families;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod registry;
mod samples;
