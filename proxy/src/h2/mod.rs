//! HTTP/2 on the wire, both sides, on the h2 crate.

pub(crate) mod abuse;
pub(crate) mod io;
pub(crate) mod meter;
