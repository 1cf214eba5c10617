//! A request or response head, whatever protocol it came by: how to look at it, and the list of
//! edits that is applied while it is written on. Bodies never come by here.
//!
//! Routing, filters and balancing see only these types. The HTTP/1 engine fills them; an HTTP/2
//! engine will fill the same ones.

mod edits;
mod fields;
mod head;
pub(crate) mod path;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use edits::{Edits, HeaderLine};
pub(crate) use fields::{Field, Fields, Known, Span};
pub(crate) use head::{
    Body, Method, RequestHead, RequestView, ResponseHead, ResponseView, Version,
};
