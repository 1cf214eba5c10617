//! HTTP/2 on the wire, both sides, on the h2 crate: heads to and from our representation, and the
//! io that makes one send out of what a turn of the event loop brought.

mod stub;
mod turn;
pub(crate) use stub::*;

pub(crate) use turn::{Handle, Io, client_builder, poll_turn, server_builder};
