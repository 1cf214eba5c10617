//! HTTP/2: what its messages mean, in the one form that everything above reads.
//!
//! The `h2` crate frames, compresses and counts, and refuses much of what is malformed. What it
//! lets through and RFC 9113 section 8 does not is refused here, and what HTTP/1 would read
//! differently as well: the text made of a message is safe to write to a peer that speaks HTTP/1.

mod lines;
mod map;
mod request;
mod response;
mod trailers;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod vector_tests;

pub(crate) use self::{
    request::{read_request, write_request},
    response::{read_response, read_switch, write_response},
    trailers::{read_trailers, write_trailers},
};
