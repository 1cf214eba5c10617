//! Who a workload is, and whom it believes: what certificates say, roots, lists of what was taken
//! back, and the verifiers that rustls asks.
//!
//! Below everything that carries traffic: nothing here knows a connection or reads a file. How this
//! is put to work is in the room `tls`.

mod authority;
mod bundle;
mod constraints;
mod header;
mod life;
mod own;
mod pem;
mod refusal;
mod svid;
mod verify;

#[cfg(test)]
mod testing;

pub(crate) use self::{
    authority::{Authority, Made},
    bundle::{Bundle, Root, Trust},
    header::element,
    life::{Life, Passed},
    own::{Own, certified},
    pem::KeyBytes,
    refusal::{Refusal, Refused},
    svid::{Peer, life_of, peer},
    verify::{ClientVerifier, ServerVerifier},
};

use std::sync::{Arc, LazyLock};

use rustls::{
    SupportedCipherSuite,
    crypto::{CryptoProvider, aws_lc_rs},
    version::TLS13,
};

/// The one implementation of cryptography in this process: post-quantum key exchange first, then
/// AES-128, whose hash makes a handshake some microseconds cheaper and which nobody breaks either.
pub(crate) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let mut provider = aws_lc_rs::default_provider();
        let is_aes_128 = |suite: &SupportedCipherSuite| {
            let name = suite.suite().as_str();
            name.is_some_and(|name| name.contains("AES_128"))
        };
        provider
            .cipher_suites
            .sort_by_key(|suite| (suite.version().version != TLS13.version, !is_aes_128(suite)));
        Arc::new(provider)
    });
    &PROVIDER
}
