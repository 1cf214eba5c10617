//! HTTP/2 on the wire, both sides, on the h2 crate.

pub(crate) mod abuse;
pub(crate) mod io;
pub(crate) mod meter;
mod settings;
mod stub;

pub(crate) use settings::{client_builder, server_builder};
pub(crate) use stub::*;
