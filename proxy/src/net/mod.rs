//! Sockets: listening, connecting, the byte stream of a connection, buffers, and the two
//! questions asked of first bytes.

pub(crate) mod address;
pub(crate) mod buffer;
pub(crate) mod detect;
pub(crate) mod proxy_protocol;
pub(crate) mod stream;
