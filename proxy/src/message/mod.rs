//! A request or response head, whatever protocol it came by: how to look at it, and the list of
//! edits that is applied while it is written on. Bodies never come by here.
//!
//! Routing, filters and balancing see only these types. Both engines fill the same ones: an HTTP/2
//! head is written once as text, as if it had come in lines. What both hold of a head (its grammar,
//! its bounds, what goes on to the next hop) stands here, too.

mod edits;
mod fields;
pub(crate) mod grammar;
pub(crate) mod grpc;
mod head;
pub(crate) mod path;
mod rules;
mod section;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use edits::{Edits, HeaderLine};
pub(crate) use fields::{Field, Fields, Known, Span};
pub(crate) use head::{
    Body, Method, RequestHead, RequestView, ResponseHead, ResponseView, Version,
};
pub(crate) use rules::{
    Asked, Kept, Limits, as_response, content_length, expectation, goes_on, may_trail,
};
pub(crate) use section::{TWIN, end_of_line, is_twin, parse_section};
