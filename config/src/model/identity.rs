//! Who we are to others of a mesh, and whom of it we believe. What they may do is in `policy`.

use super::{Direction, Listener, Mesh, Protocol, Text, TrustDomain};

crate::engine::model! {
    /// What we show to others of the mesh: a certificate that names one workload by its SPIFFE ID (X.509-SVID), with its key. The
    /// files are watched; new connections get what is in them, if it is right.
    pub struct Identity {
        /// File with the certificate and behind it those of its chain (PEM).
        cert: Text;
        /// File with its private key (PEM: PKCS #8, PKCS #1 or SEC 1). It must be readable by its owner alone.
        key: Text;
    }

    /// Whom we believe of a trust domain. Roots of one domain vouch for no identity of another. The files are watched; a change makes
    /// every session void that could be resumed.
    pub struct Trust {
        /// The trust domain, which stands behind `spiffe://`. Unique.
        name: TrustDomain;
        /// Files with its roots (PEM). While a root is replaced, the old and the new one stand side by side.
        roots: Vec<Text>;
        /// Files with lists of certificates that were taken back (PEM). Lists that no root signed are of authorities in between.
        revocation_lists: Vec<Text> = Vec::new();
    }

    /// TLS of the mesh on a listener: both sides show who they are.
    pub enum Mtls {
        /// None is ended here.
        Off = "off";
        /// Connections that begin with TLS are of the mesh; others are served as they come, and nobody is known by them.
        Permissive = "permissive";
        /// A connection without it is closed.
        Strict = "strict";
    }
}

impl Listener {
    /// What holds of mTLS on this listener.
    pub fn mtls_in(&self, mesh: &Mesh) -> Mtls {
        let is_free = self.tls.is_none()
            && self.tls_routes.is_none()
            && self.protocol != Protocol::TlsPassthrough;
        match self.mtls {
            Some(mtls) => mtls,
            None if self.direction == Direction::Inbound && mesh.identity.is_some() && is_free => {
                Mtls::Strict
            }
            None => Mtls::Off,
        }
    }
}
