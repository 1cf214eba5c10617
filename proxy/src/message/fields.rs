//! The fields of a head as positions in the buffer that holds it. Nothing is copied.

/// A range of bytes in the head's buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    pub(crate) const fn new(start: usize, end: usize) -> Self {
        Self {
            start: start as u32,
            end: end as u32,
        }
    }

    /// The bytes, or nothing where the span lies outside (which a parser never produces).
    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes
            .get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }

    pub(crate) const fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// Field names that the proxy itself acts upon, recognised once, when a head is parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Other,
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    KeepAlive,
    ProxyConnection,
    ProxyAuthenticate,
    ProxyAuthorization,
    Te,
    Trailer,
    Upgrade,
    Expect,
    Date,
    Via,
    Forwarded,
    XForwardedFor,
    XForwardedProto,
    XForwardedHost,
    XForwardedPort,
    XForwardedPrefix,
    XForwardedClientCert,
    XRealIp,
    XRequestId,
    Cookie,
    Authorization,
    ProxyStatus,
    Http2Settings,
}

impl Known {
    /// Recognises a name; case does not matter.
    pub(crate) fn of(name: &[u8]) -> Self {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        match name.len() {
            2 if is("te") => Self::Te,
            3 if is("via") => Self::Via,
            4 if is("host") => Self::Host,
            4 if is("date") => Self::Date,
            6 if is("expect") => Self::Expect,
            6 if is("cookie") => Self::Cookie,
            7 if is("upgrade") => Self::Upgrade,
            7 if is("trailer") => Self::Trailer,
            9 if is("forwarded") => Self::Forwarded,
            9 if is("x-real-ip") => Self::XRealIp,
            10 if is("connection") => Self::Connection,
            10 if is("keep-alive") => Self::KeepAlive,
            12 if is("x-request-id") => Self::XRequestId,
            12 if is("proxy-status") => Self::ProxyStatus,
            13 if is("authorization") => Self::Authorization,
            14 if is("content-length") => Self::ContentLength,
            14 if is("http2-settings") => Self::Http2Settings,
            15 if is("x-forwarded-for") => Self::XForwardedFor,
            16 if is("proxy-connection") => Self::ProxyConnection,
            16 if is("x-forwarded-host") => Self::XForwardedHost,
            16 if is("x-forwarded-port") => Self::XForwardedPort,
            17 if is("transfer-encoding") => Self::TransferEncoding,
            17 if is("x-forwarded-proto") => Self::XForwardedProto,
            18 if is("proxy-authenticate") => Self::ProxyAuthenticate,
            18 if is("x-forwarded-prefix") => Self::XForwardedPrefix,
            19 if is("proxy-authorization") => Self::ProxyAuthorization,
            23 if is("x-forwarded-client-cert") => Self::XForwardedClientCert,
            _ => Self::Other,
        }
    }
}

/// One field: where its name and its value (without surrounding blanks) stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) name: Span,
    pub(crate) value: Span,
    /// The whole line with its CRLF, for copying.
    pub(crate) line: Span,
    pub(crate) known: Known,
}

/// The fields of a head, in order.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    list: Vec<Field>,
}

impl Fields {
    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }

    pub(crate) fn push(&mut self, field: Field) {
        self.list.push(field);
    }

    pub(crate) fn last_mut(&mut self) -> Option<&mut Field> {
        self.list.last_mut()
    }

    /// Forgets the fields for which this says `false`.
    pub(crate) fn retain(&mut self, stays: impl FnMut(&Field) -> bool) {
        self.list.retain(stays);
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Field> {
        self.list.iter()
    }
}
