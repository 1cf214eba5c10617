//! What a handshake came to, in words for logs and in bytes for decisions.

use rustls::{CommonState, HandshakeKind, NamedGroup, ProtocolVersion};

/// What both ends agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// `TLSv1.3`, as OpenSSL says it.
    pub(crate) version: &'static str,
    /// The cipher suite by its registered name.
    pub(crate) cipher: &'static str,
    /// The group of the key exchange by its registered name.
    pub(crate) group: &'static str,
    /// The protocol that was chosen (ALPN).
    pub(crate) alpn: Alpn,
    /// An earlier session was resumed.
    pub(crate) resumed: bool,
}

/// What ALPN chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alpn {
    Http1,
    Http2,
    /// Something else, which is not ours to understand.
    Other,
    /// Nothing: one side has not asked.
    None,
}

impl Facts {
    pub(super) fn of(state: &CommonState) -> Self {
        let suite = state.negotiated_cipher_suite();
        let group = state.negotiated_key_exchange_group();
        Self {
            version: match state.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "TLSv1.3",
            },
            cipher: suite
                .and_then(|suite| suite.suite().as_str())
                .map_or("", registered),
            group: group.map_or("", |group| name_of(group.name())),
            alpn: match state.alpn_protocol() {
                Some(b"h2") => Alpn::Http2,
                Some(b"http/1.1") => Alpn::Http1,
                Some(_) => Alpn::Other,
                None => Alpn::None,
            },
            resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}

/// rustls has names of its own for the suites of TLS 1.3.
fn registered(name: &'static str) -> &'static str {
    match name {
        "TLS13_AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
        "TLS13_AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
        "TLS13_CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
        other => other,
    }
}

fn name_of(group: NamedGroup) -> &'static str {
    match group {
        NamedGroup::X25519MLKEM768 => "X25519MLKEM768",
        NamedGroup::secp256r1MLKEM768 => "SecP256r1MLKEM768",
        NamedGroup::X25519 => "x25519",
        NamedGroup::secp256r1 => "secp256r1",
        NamedGroup::secp384r1 => "secp384r1",
        NamedGroup::secp521r1 => "secp521r1",
        other => other.as_str().unwrap_or(""),
    }
}

impl Alpn {
    /// As it is registered.
    pub(crate) fn word(self) -> Option<&'static str> {
        match self {
            Self::Http1 => Some("http/1.1"),
            Self::Http2 => Some("h2"),
            Self::Other | Self::None => None,
        }
    }
}
