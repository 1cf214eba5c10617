//! TLS on a connection: records between a socket and whoever reads and writes bytes. rustls does
//! the protocol; here is when bytes move, and what memory they take meanwhile.
//!
//! Which certificates there are, and who is trusted, is in the room `tls`.

mod facts;
mod fault;
mod session;
mod stream;
#[cfg(test)]
mod tests;

pub(crate) use facts::{Alpn, Facts};
pub(crate) use fault::{Role, failure};
pub(crate) use stream::{Handshake, TlsStream};
