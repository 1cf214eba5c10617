//! Who a workload is, and whom it believes: SPIFFE IDs, certificates, roots, and where they come
//! from.
//!
//! Below everything that carries traffic: nothing here knows a connection. What wants TLS takes
//! from here what it gives to rustls, and asks [`svid::peer`] after every handshake.

mod authority;
mod bundle;
mod constraints;
mod files;
mod life;
mod own;
mod pem;
mod refusal;
mod source;
mod spiffe;
mod svid;
mod verify;

#[cfg(test)]
mod testing;

pub(crate) use self::{
    authority::{Authority, Made},
    files::read_secret,
    spiffe::{SpiffeId, TrustDomain},
};

use std::sync::LazyLock;

use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// The one implementation of cryptography in this process.
static PROVIDER: LazyLock<CryptoProvider> = LazyLock::new(aws_lc_rs::default_provider);
