//! The change to another protocol where the two sides ask for it differently: HTTP/1 by `Upgrade`,
//! HTTP/2 by extended CONNECT (RFC 8441).
//!
//! A WebSocket of HTTP/1 is opened with a key, and a proof that its server has read it. HTTP/2 has
//! neither: towards an HTTP/1 endpoint the key is ours, towards an HTTP/1 client the proof is.

use data_encoding::BASE64;
use sha1_smol::Sha1;

use super::{
    Conn,
    forwarded::{self, Own},
};
use crate::{
    error::{Cause, Failure},
    message::{Edits, Known, RequestHead, RequestView, ResponseView, Version, grammar::list},
    shared::State,
};

/// What the proof is made with (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const KEY: &str = "Sec-WebSocket-Key";
const PROOF: &str = "Sec-WebSocket-Accept";
/// A key: 16 bytes in base64.
const KEY_LENGTH: usize = 24;
/// Its proof: 20 bytes in base64.
const PROOF_LENGTH: usize = 28;

/// Judges an extended CONNECT, and gives one for a WebSocket the key that an HTTP/1 endpoint is to
/// see. What is not allowed must not go on: an answer to the GET that is left of it would be taken
/// for a grant.
///
/// # Errors
/// [`Cause::TunnelRefused`].
pub(super) fn admit(
    conn: &Conn,
    bytes: &mut Vec<u8>,
    head: &mut RequestHead,
) -> Result<(), Failure> {
    if !head.extended_connect {
        return Ok(());
    }
    if !forwarded::upgrade_allowed(bytes, head, &conn.listener.http.upgrades) {
        return Err(Failure::from(Cause::TunnelRefused));
    }
    if is_websocket(bytes, head) {
        let name = KEY.as_bytes();
        head.fields
            .retain(|field| !field.name.of(bytes).eq_ignore_ascii_case(name));
        let mut key = [0; KEY_LENGTH];
        let random = conn.worker.random.borrow_mut().u128(..);
        BASE64.encode_mut(&random.to_ne_bytes(), &mut key);
        let mut own = Own::begin(bytes, head);
        own.line(Known::Other, KEY, &key);
        own.end();
    }
    Ok(())
}

/// Whether a request of HTTP/1 may ask an HTTP/2 endpoint: what it would prove to the client hangs
/// on the key.
///
/// # Errors
/// [`Cause::BadRequest`].
pub(super) fn check_key(view: &RequestView<'_>) -> Result<(), Failure> {
    if !is_websocket(view.bytes, view.head) || key(view).is_some() {
        return Ok(());
    }
    Err(Failure::new(Cause::BadRequest, KEY))
}

/// Checks that a 101 is what the client asked for.
///
/// # Errors
/// [`Cause::UpgradeFailed`].
pub(super) fn check(conn: &Conn, state: &State) -> Result<(), Failure> {
    let failed = |detail| Err(Failure::new(Cause::UpgradeFailed, detail));
    let request = RequestView {
        bytes: &state.head,
        head: &state.request,
    };
    let answer = state.answer();
    let allowed = &conn.listener.http.upgrades;
    let asked = forwarded::upgrade_allowed(request.bytes, request.head, allowed);
    let offered = request.head.upgrade.map(|s| s.of(request.bytes));
    let taken = answer.head.upgrade.map(|s| s.of(answer.bytes));
    let taken = taken.unwrap_or_default();
    let agreed = list(offered.unwrap_or_default()).any(|o| o.eq_ignore_ascii_case(taken));
    if !asked || !agreed || taken.is_empty() {
        return failed("101 that was not asked for");
    }
    let ours = request.head.extended_connect && is_websocket(request.bytes, request.head);
    if ours && answer.head.version != Version::Http2 && !is_proven(&request, &answer) {
        return failed(PROOF);
    }
    Ok(())
}

/// Adds to the 101 of an HTTP/1 client what an HTTP/2 endpoint does not say.
pub(super) fn prove(request: &RequestView<'_>, answer: &ResponseView<'_>, edits: &mut Edits) {
    if is_websocket(request.bytes, request.head)
        && let Some(key) = key(request)
    {
        let name = PROOF.as_bytes();
        answer.head.drop_fields(answer.bytes, name, edits);
        edits.add(PROOF, &proof(key));
    }
}

fn is_websocket(bytes: &[u8], head: &RequestHead) -> bool {
    let offers = head.upgrade.map(|s| s.of(bytes)).unwrap_or_default();
    // The first offer is the one that is asked for by extended CONNECT.
    let first = list(offers).next();
    first.is_some_and(|offer| offer.eq_ignore_ascii_case(b"websocket"))
}

/// The one key, if it is one.
fn key<'a>(request: &RequestView<'a>) -> Option<&'a [u8]> {
    let mut keys = request.values(KEY.as_bytes());
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return None;
    };
    let (digits, padding) = key.split_at_checked(KEY_LENGTH - 2)?;
    let is_digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    (padding == b"==" && digits.iter().all(is_digit)).then_some(key)
}

fn proof(key: &[u8]) -> [u8; PROOF_LENGTH] {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(GUID);
    let mut text = [0; PROOF_LENGTH];
    BASE64.encode_mut(&hash.digest().bytes(), &mut text);
    text
}

fn is_proven(request: &RequestView<'_>, answer: &ResponseView<'_>) -> bool {
    let name = PROOF.as_bytes();
    let fields = answer.head.fields.iter();
    let mut proofs = fields
        .filter(|f| f.name.of(answer.bytes).eq_ignore_ascii_case(name))
        .map(|f| f.value.of(answer.bytes));
    let (Some(said), None) = (proofs.next(), proofs.next()) else {
        return false;
    };
    key(request).is_some_and(|key| proof(key) == *said)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 section 1.3.
    #[test]
    fn the_proof_is_that_of_the_standard() {
        let proof = proof(b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(&proof, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn keys_are_sixteen_bytes_and_one() {
        let is_key = |lines: &str| {
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
            let limits = crate::message::Limits {
                head: 1_024,
                line: 1_024,
                fields: 16,
            };
            let mut head = RequestHead::default();
            crate::h1::parse_request(text.as_bytes(), &limits, &mut head).expect("a request");
            let view = RequestView {
                bytes: text.as_bytes(),
                head: &head,
            };
            key(&view).is_some()
        };
        let line = |value: &str| format!("Sec-WebSocket-Key: {value}\r\n");
        let good = line("dGhlIHNhbXBsZSBub25jZQ==");
        assert!(is_key(&good));
        assert!(!is_key(""));
        assert!(!is_key(&(good.clone() + &good)));
        for bad in [
            "",
            "x",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25j ZQ==",
            "dGhlIHNhbXBsZSBub25jZQ=A",
        ] {
            assert!(!is_key(&line(bad)), "{bad}");
        }
    }
}
