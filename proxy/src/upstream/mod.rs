//! Connections to endpoints: one pool per worker and endpoint, last in first out.
//!
//! A pool belongs to one worker and has no lock. It opens, keeps and hands out connections; what
//! is sent on them is not its business, and which endpoint a request goes to is the cluster's.

mod habits;
mod multiplexed;
mod pool;
mod secure;

pub(crate) use multiplexed::Lease;
pub(crate) use pool::{Connection, Origin, Pools, Want};
