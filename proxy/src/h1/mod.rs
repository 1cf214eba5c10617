//! HTTP/1.1 and 1.0 on the wire, both sides: strict parsing of heads, decoding of bodies, and
//! writing with edits. No sockets, no clocks, no decisions about where a message goes.
//!
//! The rule (RFC 9112 section 2.2 and the history of request smuggling): what two parsers could
//! read differently is refused, not repaired.

mod body;
mod request;
mod response;
mod scan;
mod write;

#[cfg(test)]
mod vector_tests;

pub(crate) use crate::message::{Asked, Limits, as_response};
pub(crate) use body::{Decoder, Step};
pub(crate) use request::parse_request;
pub(crate) use response::parse_response;
pub(crate) use scan::HeadScan;
pub(crate) use write::{Delivery, write_request, write_response, write_trailers};
