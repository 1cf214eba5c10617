//! Tests of the crate as a whole.

mod bad;
mod load;
mod properties;
