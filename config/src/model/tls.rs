//! TLS that we end or begin ourselves: certificates of a listener, and how a cluster's endpoints are
//! spoken to and known. TLS that passes through as it comes is in `tls_route`.

use std::time::Duration;

use super::Text;

crate::engine::model! {
    /// TLS that a listener ends. Every connection must begin with it.
    pub struct ListenerTls {
        /// Certificates served, by the name that a client asks for (SNI): one with just that name, else one
        /// with a wildcard for it, else the first. The names are those in the certificate.
        certificates: Vec<Certificate>;
        /// Whether clients show a certificate of their own.
        /// Why: clients of ordinary sites have none.
        client_certificates: ClientCertificates = ClientCertificates::Off;
        /// Files with the authorities (PEM) that client certificates must come from.
        client_ca: Vec<Text> = Vec::new();
        /// The oldest version that is spoken.
        /// Why: every client of the last years speaks 1.3, and 1.2 has choices that went wrong.
        min_version: TlsVersion = TlsVersion::V1_3;
        /// Protocols offered (ALPN), preferred first. Absent: `h2` and `http/1.1`; with `protocol: tcp` none. A client
        /// that asks for none of them is refused; one that asks for nothing is known by its first bytes.
        alpn: Option<Vec<Text>> = None;
        /// From the first byte of a connection until its handshake is complete.
        /// Why: as long as for the head of a request.
        handshake_timeout: Duration = Duration::from_secs(10), in Duration::from_millis(10)..=Duration::from_mins(10);
        /// Answer 421 to requests for a host that is not in the certificate of their connection.
        /// Why: a client may take a connection for other hosts (RFC 9110 section 7.4), and what was asked of it in the handshake held for one.
        check_authority: bool = true;
    }

    /// A certificate with its key. The files are watched; new connections get what is in them, if it is right.
    pub struct Certificate {
        /// File with the certificate and behind it those of its chain (PEM).
        cert: Text;
        /// File with its private key (PEM: PKCS #8, PKCS #1 or SEC 1). It must be readable by its owner alone.
        key: Text;
        /// File with an OCSP response (DER) to staple.
        ocsp: Option<Text> = None;
    }

    /// Whether clients show a certificate of their own.
    pub enum ClientCertificates {
        /// They are not asked for one.
        Off = "off";
        /// They are asked; one that is shown must be right.
        Optional = "optional";
        /// Who shows none is refused.
        Required = "required";
    }

    /// A version of TLS.
    pub enum TlsVersion {
        /// TLS 1.2 (RFC 5246), with forward secrecy and authenticated encryption only.
        V1_2 = "1.2";
        /// TLS 1.3 (RFC 8446).
        V1_3 = "1.3";
    }

    /// TLS towards the endpoints of a cluster. Nothing is ever sent to them without it.
    pub struct ClusterTls {
        /// Name that is asked for (SNI). Absent: that of `verify.hostname`, else that of `dns`, else none, and the
        /// certificate must have the endpoint's address.
        sni: Option<Text> = None;
        /// Whom the endpoints' certificates must come from.
        /// Why: whom everybody trusts is whom ordinary servers have their certificates from.
        ca: Authorities = Authorities::System(SystemAuthorities {});
        /// What must be in the endpoint's certificate. Absent: the name that is asked for.
        verify: Option<Verify> = None;
        /// What we show if we are asked.
        client_certificate: Option<ClientCertificate> = None;
        /// The oldest version that is spoken.
        /// Why: servers of others are as old as they are.
        min_version: TlsVersion = TlsVersion::V1_2;
    }

    /// Who may vouch for endpoints.
    pub oneof Authorities {
        /// Those that the system trusts: `SSL_CERT_FILE` and `SSL_CERT_DIR`, else the usual places.
        System = "system": SystemAuthorities, alone = SystemAuthorities {};
        /// Those in files (PEM).
        Files = "files": Vec<Text>;
    }

    /// No settings.
    pub struct SystemAuthorities {}

    /// What must be in a certificate.
    pub oneof Verify {
        /// This host, by name (wildcards of the certificate count) or by address.
        Hostname = "hostname": Text;
        /// One of these subject alternative names, exactly as they are written: hosts or URIs.
        San = "san": Vec<Text>;
    }

    /// A certificate that we show to endpoints.
    pub struct ClientCertificate {
        /// File with the certificate and behind it those of its chain (PEM).
        cert: Text;
        /// File with its private key (PEM). It must be readable by its owner alone.
        key: Text;
    }
}
