//! What operators see: numbers, access log lines, and the proxy's own log.

pub(crate) mod cells;
pub(crate) mod metrics;
