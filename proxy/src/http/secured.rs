//! A client's connection that came over TLS: what was agreed on, and for whom it is encrypted.

use std::{rc::Rc, sync::Arc};

use super::Conn;
use crate::{
    identity::Peer,
    net::tls::{Alpn, Facts},
    telemetry::access_log::Record,
    tls::{End, Served},
};

/// Shared by the streams of a connection.
pub(crate) struct Secured {
    pub(crate) facts: Facts,
    /// The name the client asked for, in lower case.
    pub(crate) name: Option<Box<[u8]>>,
    /// The certificate that it was shown.
    pub(crate) served: Arc<Served>,
    pub(crate) check_authority: bool,
    /// Who the client is in the mesh.
    pub(crate) peer: Option<Peer>,
    /// What the application is told of the client's certificate.
    pub(crate) client_cert: Option<Box<str>>,
    pub(crate) end: End,
}

impl Secured {
    /// Whether a request for this host may come here.
    pub(super) fn is_for(&self, authority: &[u8]) -> bool {
        !self.check_authority || self.served.certificate.names.covers(authority)
    }

    /// Adds what a log line says of it.
    pub(crate) fn log<'a>(&'a self, record: &mut Record<'a>) {
        record.sni = self.name.as_deref();
        record.alpn = self.facts.alpn.word().map(str::as_bytes);
        record.tls_version = Some(self.facts.version);
        record.cipher = Some(self.facts.cipher);
        record.identity = self.peer.as_ref().map(|peer| peer.id.as_str());
        record.group = Some(self.facts.group).filter(|group| !group.is_empty());
    }
}

impl Conn {
    /// When its certificates ask it to leave and end it.
    pub(crate) fn end(&self) -> End {
        self.secured.as_ref().map_or(End::NEVER, |it| it.end)
    }

    /// What the client's URLs begin with.
    pub(super) fn scheme(&self) -> &'static str {
        if self.secured.is_some() {
            "https"
        } else {
            "http"
        }
    }

    /// Whether the client agreed to speak something else.
    pub(super) fn agreed_on(&self, other: Alpn) -> bool {
        self.secured
            .as_ref()
            .is_some_and(|secured: &Rc<Secured>| secured.facts.alpn == other)
    }
}
