//! Sockets: listening, accepting, connecting, the byte stream of a connection, buffers, and the
//! two questions asked of first bytes.

pub(crate) mod accept;
pub(crate) mod address;
pub(crate) mod buffer;
pub(crate) mod connect;
pub(crate) mod detect;
pub(crate) mod listen;
pub(crate) mod options;
pub(crate) mod proxy_protocol;
pub(crate) mod stream;
#[cfg(test)]
pub(crate) mod testing;
