//! What TLS is done with: certificates and keys from files, who is trusted, and what rustls is told
//! of it. One [`Table`] per version of the configuration; what did not change is kept.
//!
//! How bytes are moved is in `net::tls`. Files are read on the main thread, before a swap: what is
//! missing or wrong there refuses the whole version.

mod certificate;
mod client;
mod files;
mod server;
mod table;
#[cfg(test)]
mod tests;
mod verify;

use std::sync::{Arc, LazyLock};

use rustls::{
    SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    version::{TLS12, TLS13},
};

use outrigger_config::model::TlsVersion;

pub(crate) use self::{
    certificate::Certificate,
    client::{ClientTls, Offer},
    files::Watched,
    server::{Served, ServerTls},
    table::Table,
};

/// The cryptography that is used everywhere: post-quantum key exchange first, then AES-128, whose
/// hash makes a handshake some microseconds cheaper and which nobody breaks either.
fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let mut provider = aws_lc_rs::default_provider();
        let is_aes_128 = |suite: &rustls::SupportedCipherSuite| {
            suite
                .suite()
                .as_str()
                .is_some_and(|name| name.contains("AES_128"))
        };
        provider
            .cipher_suites
            .sort_by_key(|suite| (suite.version().version != TLS13.version, !is_aes_128(suite)));
        Arc::new(provider)
    });
    &PROVIDER
}

/// The versions from this one up.
fn versions(oldest: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static ALL: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match oldest {
        TlsVersion::V1_2 => &ALL,
        TlsVersion::V1_3 => ALL.get(..1).unwrap_or_default(),
    }
}
