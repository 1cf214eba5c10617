//! What TLS is done with: certificates and keys from files, who is trusted, and what rustls is told
//! of it. One [`Table`] per version of the configuration; what did not change is kept.
//!
//! How bytes are moved is in `net::tls`. Files are read on the main thread, before a swap: what is
//! missing or wrong there refuses the whole version.

mod certificate;
mod client;
mod end;
mod files;
mod mesh;
mod server;
mod table;
#[cfg(test)]
mod tests;
mod verify;

use rustls::{
    SupportedProtocolVersion,
    pki_types::UnixTime,
    version::{TLS12, TLS13},
};

use outrigger_config::model::TlsVersion;

use crate::error::{Cause, Failure};

pub(crate) use self::{
    certificate::Certificate,
    client::{ClientTls, Offer},
    end::End,
    files::{Watched, read_secret},
    mesh::Mesh,
    server::{Served, ServerTls},
    table::{InUse, Table},
};

/// Whether a certificate of ours in the mesh can still be shown.
///
/// # Errors
/// [`Cause::IdentityExpired`].
fn showable(own: &Certificate) -> Result<(), Failure> {
    if UnixTime::now() > own.life.not_after {
        return Err(Failure::from(Cause::IdentityExpired));
    }
    Ok(())
}

/// The versions from this one up.
fn versions(oldest: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static ALL: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match oldest {
        TlsVersion::V1_2 => &ALL,
        TlsVersion::V1_3 => ALL.get(..1).unwrap_or_default(),
    }
}
