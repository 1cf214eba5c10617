//! Tests of the crate as a whole.

mod bad;
mod environment;
mod files;
mod good;
mod load;
mod properties;
mod schema;
