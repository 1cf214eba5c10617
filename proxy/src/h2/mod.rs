//! HTTP/2 on the wire, both sides: frames and connections, and its messages in the one form that
//! everything above reads.
//!
//! From the ground up: [`frame`] and [`hpack`], bytes; [`abuse`], what a peer may do to us; [`link`],
//! connections and their streams; and beside them the translation of messages, which refuses what
//! RFC 9113 section 8 does, and what HTTP/1 would read differently as well: the text made of a message
//! is safe to write to a peer that speaks HTTP/1.

pub(crate) mod abuse;
mod bdp;
mod channel;
mod fields;
pub(crate) mod frame;
pub(crate) mod hpack;
mod lines;
pub(crate) mod link;
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
    channel::Channel,
    frame::Code,
    hpack::Block,
    link::{Gone, Stream},
    request::{Written, read_request, write_request},
    response::{
        is_success, own_response, own_trailers, read_response, read_switch, write_response,
    },
    settings::{bdp, of_client, of_endpoint, settings, usual},
    trailers::{grpc_status, pass_trailers, read_trailers, write_trailers},
};
