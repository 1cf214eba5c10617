//! Sockets: listening, accepting, connecting, the byte stream of a connection, buffers, and the
//! questions asked of first bytes.

pub(crate) mod accept;
pub(crate) mod address;
pub(crate) mod behind;
pub(crate) mod buffer;
pub(crate) mod client_hello;
pub(crate) mod connect;
pub(crate) mod detect;
pub(crate) mod first_speaker;
pub(crate) mod listen;
pub(crate) mod options;
pub(crate) mod proxy_protocol;
pub(crate) mod stream;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod tls;
