//! What holds of a message whatever protocol carries it: its bounds, what single fields may say,
//! what goes on to the next hop, what may stand in a trailer section.

use super::{Known, RequestHead, ResponseHead, Version, grammar};
use crate::error::{Cause, Failure};

/// Bounds of a head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of the whole head.
    pub(crate) head: usize,
    /// Bytes of the first line; responses use the whole head's.
    pub(crate) line: usize,
    /// Fields.
    pub(crate) fields: usize,
}

/// What the request was that a head answers: decides whether a body can follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// HEAD: there is no body, whatever the fields say.
    Head,
    Other,
}

/// A failure found by code shared with requests, in the words of responses.
pub(crate) fn as_response(failure: Failure) -> Failure {
    let cause = match failure.cause {
        Cause::RequestHeadTooLarge | Cause::RequestLineTooLong => Cause::ResponseHeadTooLarge,
        _ => Cause::BadResponse,
    };
    Failure { cause, ..failure }
}

/// Takes down a `Content-Length`, of which there may be one.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn content_length(value: &[u8], into: &mut Option<u64>) -> Result<(), &'static str> {
    let n = grammar::decimal(value).ok_or("Content-Length")?;
    match into.replace(n) {
        None => Ok(()),
        Some(_) => Err("more than one Content-Length"),
    }
}

/// The one expectation there is.
///
/// # Errors
/// [`Cause::ExpectationFailed`].
pub(crate) fn expectation(value: &[u8]) -> Result<(), Failure> {
    if value.eq_ignore_ascii_case(b"100-continue") {
        Ok(())
    } else {
        Err(Failure::new(Cause::ExpectationFailed, "Expect"))
    }
}

/// Which lines that depend on the message go on as they came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) host: bool,
    pub(crate) upgrade: bool,
    /// An expectation that is not this sender's to have stays behind.
    pub(crate) expect: bool,
}

/// Whether a received line goes on as it came. What frames a message, or belongs to the connection
/// it was received on, is written anew for the next hop or left out.
pub(crate) const fn goes_on(known: Known, kept: Kept) -> bool {
    match known {
        Known::Host => kept.host,
        Known::Upgrade => kept.upgrade,
        Known::Expect => kept.expect,
        Known::ContentLength
        | Known::TransferEncoding
        | Known::Connection
        | Known::KeepAlive
        | Known::ProxyConnection
        | Known::ProxyAuthenticate
        | Known::ProxyAuthorization
        | Known::Te
        // Goes with `Upgrade: h2c`, which is not passed on.
        | Known::Http2Settings => false,
        _ => true,
    }
}

impl RequestHead {
    /// The host is always written from what was parsed.
    pub(crate) fn kept(&self, upgrade: bool) -> Kept {
        Kept {
            host: false,
            upgrade,
            // HTTP/1.0 knows no expectations (RFC 9110 section 10.1.1), and we go on as HTTP/1.1 or 2.
            expect: self.version != Version::Http10,
        }
    }
}

impl ResponseHead {
    /// Of a response nothing is read but its framing.
    pub(crate) const fn kept(upgrade: bool) -> Kept {
        Kept {
            host: true,
            upgrade,
            expect: true,
        }
    }

    /// The length to say where the body is not framed by the protocol itself: of HEAD and 304, it
    /// is that of another response (RFC 9110 section 8.6).
    pub(crate) fn said_length(&self) -> Option<u64> {
        self.declared_length
            .filter(|_| self.status >= 200 && self.status != 204)
    }
}

/// Whether a field may be passed on in a trailer section. Those that frame, route, authenticate or
/// identify have no place there (RFC 9110 section 6.5.1).
pub(crate) fn may_trail(known: Known, name: &[u8]) -> bool {
    const FORBIDDEN: [&str; 12] = [
        "cache-control",
        "content-encoding",
        "content-range",
        "content-type",
        "max-forwards",
        "range",
        "set-cookie",
        "www-authenticate",
        "if-match",
        "if-none-match",
        "if-modified-since",
        "if-unmodified-since",
    ];
    known == Known::Other
        && !FORBIDDEN
            .iter()
            .any(|f| name.eq_ignore_ascii_case(f.as_bytes()))
}
