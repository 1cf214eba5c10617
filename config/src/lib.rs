//! What can be said to Outrigger.
//!
//! The types in [`model`] are the only schema: the YAML or JSON file, the REST face and the wire
//! show the same kinds and field names. Each type is declared once, with its documentation,
//! default and range; reading, validation, JSON Schema and the reference are derived from that
//! one declaration by [`engine`]. No io happens here: callers hand in text and get back a
//! [`model::Config`] or every problem at once.
//!
//! Start reading at [`model::Config`].

pub mod engine;
pub mod model;
