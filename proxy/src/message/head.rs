//! What a parsed head says, and read-only views of a head together with the bytes it points into.

use super::{Edits, Fields, Known, Span};

/// Request methods that the proxy treats differently; all others are `Other` and keep their text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Trace,
    Connect,
    Patch,
    Other,
}

impl Method {
    /// Methods are case-sensitive (RFC 9110 section 9.1).
    pub(crate) fn of(text: &[u8]) -> Self {
        match text {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"CONNECT" => Self::Connect,
            b"PATCH" => Self::Patch,
            _ => Self::Other,
        }
    }

    /// RFC 9110 section 9.2.2.
    pub(crate) const fn is_idempotent(self) -> bool {
        matches!(
            self,
            Self::Get | Self::Head | Self::Put | Self::Delete | Self::Options | Self::Trace
        )
    }
}

/// The version a message came by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    Http10,
    #[default]
    Http11,
    Http2,
}

/// How a body is delimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Body {
    /// There is none.
    #[default]
    None,
    /// Exactly that many bytes.
    Length(u64),
    /// By the chunked coding, or by the end of a stream of HTTP/2: of a length not known before.
    Chunked,
    /// By the end of the connection; responses only.
    UntilClose,
}

/// A request head. Spans point into the buffer it was parsed from.
#[derive(Debug, Default)]
pub(crate) struct RequestHead {
    pub(crate) method: Method,
    pub(crate) method_text: Span,
    pub(crate) version: Version,
    /// Path of the request target: begins with `/`, or is `*`, or empty for CONNECT.
    pub(crate) path: Span,
    /// The query with its `?`, or empty.
    pub(crate) query: Span,
    /// Host and optional port: from the target in absolute or authority form, else from `Host`.
    pub(crate) authority: Span,
    /// The path after normalisation, where that changed it.
    pub(crate) normal_path: Option<Box<str>>,
    pub(crate) fields: Fields,
    pub(crate) body: Body,
    /// The client will send another request on this connection.
    pub(crate) keep_alive: bool,
    /// `Expect: 100-continue`.
    pub(crate) expect_continue: bool,
    /// `Upgrade` named in `Connection`, on HTTP/1.1: its value. On HTTP/2 the protocol of an extended
    /// CONNECT.
    pub(crate) upgrade: Option<Span>,
    /// It came as an extended CONNECT (RFC 8441), and is here a GET with an upgrade. Unlike that it
    /// cannot be answered as a plain GET, and what follows its head is the tunnel.
    pub(crate) extended_connect: bool,
    /// `TE: trailers`, on HTTP/1 named in `Connection`.
    pub(crate) te_trailers: bool,
    /// Bytes of the head including its last empty line.
    pub(crate) len: usize,
}

/// A response head. Spans point into the buffer it was parsed from.
#[derive(Debug, Default)]
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    pub(crate) reason: Span,
    pub(crate) version: Version,
    pub(crate) fields: Fields,
    pub(crate) body: Body,
    /// `Content-Length`, also where no body follows (HEAD, 304).
    pub(crate) declared_length: Option<u64>,
    /// The peer keeps the connection open.
    pub(crate) keep_alive: bool,
    /// `Keep-Alive: timeout=N`, in seconds.
    pub(crate) keep_alive_timeout: Option<u32>,
    /// `Upgrade`, in a 101: its value.
    pub(crate) upgrade: Option<Span>,
    /// Bytes of the head including its last empty line.
    pub(crate) len: usize,
}

/// A request head with its bytes, for those who decide.
#[derive(Clone, Copy)]
pub(crate) struct RequestView<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) head: &'a RequestHead,
}

impl<'a> RequestView<'a> {
    pub(crate) fn method(&self) -> &'a [u8] {
        self.head.method_text.of(self.bytes)
    }

    /// The normalised path; what is routed on and forwarded.
    pub(crate) fn path(&self) -> &'a [u8] {
        match &self.head.normal_path {
            Some(path) => path.as_bytes(),
            None => self.head.path.of(self.bytes),
        }
    }

    /// The query without its `?`; `None` where there is no `?`.
    pub(crate) fn query(&self) -> Option<&'a [u8]> {
        self.head.query.of(self.bytes).strip_prefix(b"?")
    }

    /// Host and optional port as the client wrote them.
    pub(crate) fn authority(&self) -> &'a [u8] {
        self.head.authority.of(self.bytes)
    }

    /// Host without port, in the case the client wrote it; IPv6 literals keep their brackets.
    pub(crate) fn host(&self) -> &'a [u8] {
        let authority = self.authority();
        let end = match memchr::memrchr(b':', authority) {
            Some(colon)
                if memchr::memchr(b']', authority.get(colon..).unwrap_or_default()).is_none() =>
            {
                colon
            }
            _ => authority.len(),
        };
        authority.get(..end).unwrap_or_default()
    }

    /// Values of the fields of this name, in order; case does not matter.
    pub(crate) fn values<'n>(
        &self,
        name: &'n [u8],
    ) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        values(self.bytes, &self.head.fields, name)
    }

    /// Value of the first field of a known name.
    pub(crate) fn known(&self, known: Known) -> Option<&'a [u8]> {
        self.head
            .fields
            .iter()
            .find(|f| f.known == known)
            .map(|f| f.value.of(self.bytes))
    }

    /// Value of a cookie (RFC 6265 section 4.2), the first of its name.
    pub(crate) fn cookie(&self, name: &[u8]) -> Option<&'a [u8]> {
        let cookies = self.head.fields.iter().filter(|f| f.known == Known::Cookie);
        cookies
            .flat_map(|f| f.value.of(self.bytes).split(|b| *b == b';'))
            .find_map(|pair| {
                let pair = pair.trim_ascii();
                let eq = memchr::memchr(b'=', pair)?;
                (pair.get(..eq)? == name)
                    .then(|| pair.get(eq + 1..))
                    .flatten()
            })
    }
}

/// A response head with its bytes.
#[derive(Clone, Copy)]
pub(crate) struct ResponseView<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) head: &'a ResponseHead,
}

fn values<'a, 'n>(
    bytes: &'a [u8],
    fields: &'a Fields,
    name: &'n [u8],
) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
    fields
        .iter()
        .filter(move |f| f.name.len() == name.len() && f.name.of(bytes).eq_ignore_ascii_case(name))
        .map(move |f| f.value.of(bytes))
}

impl RequestHead {
    /// Takes a target of path and query apart.
    pub(crate) fn set_target(&mut self, bytes: &[u8], target: Span) {
        let (start, end) = (target.start as usize, target.end as usize);
        let mark = memchr::memchr(b'?', target.of(bytes)).map_or(end, |at| start + at);
        self.path = Span::new(start, mark);
        self.query = Span::new(mark, end);
    }

    /// Marks fields of this name as not to be written.
    pub(crate) fn drop_fields(&self, bytes: &[u8], name: &[u8], edits: &mut Edits) {
        drop_fields(&self.fields, bytes, name, edits);
    }
}

impl ResponseHead {
    /// Marks fields of this name as not to be written.
    pub(crate) fn drop_fields(&self, bytes: &[u8], name: &[u8], edits: &mut Edits) {
        drop_fields(&self.fields, bytes, name, edits);
    }
}

fn drop_fields(fields: &Fields, bytes: &[u8], name: &[u8], edits: &mut Edits) {
    for (index, field) in fields.iter().enumerate() {
        if field.name.len() == name.len() && field.name.of(bytes).eq_ignore_ascii_case(name) {
            edits.drop_field(index);
        }
    }
}
