//! Sockets: listening, connecting, the byte stream of a connection, buffers.

pub(crate) mod address;
pub(crate) mod buffer;
pub(crate) mod stream;
