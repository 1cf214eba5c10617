//! Certificates made for a test, and a client and a server over TLS that show all of it.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::Arc,
    thread::JoinHandle,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme, StreamOwned, SupportedProtocolVersion,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
};

use crate::{http::Message, wait::DEADLINE};

/// Who issues certificates, with its own in `ca.pem` beside them.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

impl Authority {
    /// A new one that nobody trusts yet.
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // Known by its name as well as by its key.
        let name = format!("authority {:08x}", fastrand::u32(..));
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            certificate: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    /// Writes its own certificate to a file.
    pub fn write(&self, path: &Path) {
        fs::write(path, &self.pem).unwrap();
    }

    /// Writes `stem.pem` and `stem.key` for some names, each by a rename. Returns the certificate.
    pub fn issue(&self, dir: &Path, stem: &str, names: &[&str]) -> CertificateDer<'static> {
        self.issue_until(dir, stem, names, 2_100)
    }

    /// The same, valid until the beginning of a year.
    pub fn issue_until(
        &self,
        dir: &Path,
        stem: &str,
        names: &[&str],
        year: i32,
    ) -> CertificateDer<'static> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let with = CertificateParams::new(names).unwrap();
        self.issue_with(dir, stem, |params| {
            params.subject_alt_names = with.subject_alt_names;
            params.not_after = date_time_ymd(year, 1, 1);
        })
    }

    /// The same with whatever a test asks for.
    pub fn issue_with(
        &self,
        dir: &Path,
        stem: &str,
        edit: impl FnOnce(&mut CertificateParams),
    ) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(2_001, 1, 1);
        params.not_after = date_time_ymd(2_100, 1, 1);
        edit(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        put(&dir.join(format!("{stem}.key")), &key.serialize_pem());
        put(&dir.join(format!("{stem}.pem")), &certificate.pem());
        certificate.der().clone()
    }

    /// Writes a list of the certificates that it takes back, by their numbers.
    pub fn revoke(&self, path: &Path, serials: &[u8]) {
        let revoked = |serial: &u8| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[*serial]),
            revocation_time: date_time_ymd(2_001, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2_001, 1, 1),
            next_update: date_time_ymd(2_100, 1, 1),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).unwrap();
        fs::write(path, list.pem().unwrap()).unwrap();
    }

    /// A client that takes whoever it finds, shows the certificate `stem` of a folder and speaks these versions.
    pub fn client_of_mesh(
        own: Option<(&Path, &str)>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let builder = ClientConfig::builder_with_protocol_versions(versions)
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody));
        match own {
            None => builder.with_no_client_auth(),
            Some((dir, stem)) => {
                let (chain, key) = load(dir, stem);
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        }
    }

    /// A client that trusts it and offers these protocols.
    pub fn client(&self, alpn: &[&str]) -> ClientConfig {
        self.client_with(alpn, None)
    }

    /// The same, that shows the certificate `stem` of a folder.
    pub fn client_with(&self, alpn: &[&str], own: Option<(&Path, &str)>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some((dir, stem)) => {
                let (chain, key) = load(dir, stem);
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// Who a server is, is not what these tests ask.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// Puts a file that its owner alone may use into its place.
fn put(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&new, path).unwrap();
}

fn load(dir: &Path, stem: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_file_iter(dir.join(format!("{stem}.pem"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(dir.join(format!("{stem}.key"))).unwrap();
    (chain.map(Result::unwrap).collect(), key)
}

/// A client's connection over TLS.
#[derive(Debug)]
pub struct Secured {
    /// The session and its socket.
    pub stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Secured {
    /// Connects, asks for a name and shakes hands.
    ///
    /// # Errors
    /// The handshake failed.
    pub fn connect(to: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let socket = TcpStream::connect(to)?;
        socket.set_read_timeout(Some(DEADLINE))?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(session, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self { stream })
    }

    /// Sends bytes and reads a response with a length, whole.
    ///
    /// # Errors
    /// There was none.
    pub fn ask(&mut self, bytes: &[u8]) -> io::Result<Message> {
        self.stream.write_all(bytes)?;
        self.response()
    }

    /// Reads a response with a length.
    ///
    /// # Errors
    /// There was none.
    pub fn response(&mut self) -> io::Result<Message> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let mut message = Message::from_head(&head);
        let length = message
            .fields
            .iter()
            .find(|f| f.name.eq_ignore_ascii_case("content-length"));
        message.body = vec![0; length.map_or(0, |field| field.value.parse().unwrap())];
        self.stream.read_exact(&mut message.body)?;
        Ok(message)
    }

    /// The certificate that the server showed.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.stream.conn.peer_certificates().unwrap()[0].clone()
    }
}

/// Serves one connection over TLS by a script, with the certificate `stem` of a folder.
pub fn serve_once(
    dir: &Path,
    stem: &str,
    script: impl FnOnce(&mut StreamOwned<ServerConnection, TcpStream>) + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let (chain, key) = load(dir, stem);
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let session = ServerConnection::new(Arc::new(config)).unwrap();
        script(&mut StreamOwned::new(session, socket));
    });
    (address, thread)
}
