//! HTTP/2 on the wire, both sides, on the h2 crate: its messages in the one form that everything
//! above reads, the io below it, and what a peer may do to us.
//!
//! The crate frames, compresses and counts, and refuses much of what is malformed. What it lets
//! through and RFC 9113 section 8 does not is refused here, and what HTTP/1 would read differently
//! as well: the text made of a message is safe to write to a peer that speaks HTTP/1.

pub(crate) mod abuse;
mod bdp;
pub(crate) mod io;
mod lines;
mod map;
pub(crate) mod meter;
mod queue;
mod request;
mod response;
mod settings;
mod trailers;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod vector_tests;

pub(crate) use self::{
    bdp::Bdp,
    queue::{Piece, Queue},
    request::{read_request, write_request},
    response::{own_response, read_response, read_switch, write_response},
    settings::{
        bdp, client_builder, connection_window, of_client, of_endpoint, server_builder, usual,
    },
    trailers::{grpc_status, keep_allowed, read_trailers, write_trailers},
};
