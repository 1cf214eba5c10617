//! The value that consistent hashing uses for a request.
//!
//! The same in every proxy and over restarts: xxh3 of the bytes as the client sent them.

use std::net::IpAddr;

use outrigger_config::model::HashOn;
use xxhash_rust::xxh3::xxh3_64;

use crate::message::RequestView;

/// The first property that the request has.
pub(super) fn of_request(
    hash_on: &[HashOn],
    request: &RequestView<'_>,
    peer: Option<IpAddr>,
) -> Option<u64> {
    hash_on.iter().find_map(|property| match property {
        HashOn::Header(name) => request.values(name.as_str().as_bytes()).next().map(xxh3_64),
        HashOn::Cookie(name) => request.cookie(name.as_str().as_bytes()).map(xxh3_64),
        HashOn::Query(name) => request
            .query()
            .and_then(|query| parameter(query, name.as_str().as_bytes()))
            .map(xxh3_64),
        HashOn::SourceAddress(wanted) => peer.filter(|_| *wanted).map(address),
    })
}

/// The same for a connection that carries no requests: only the client's address is there.
pub(super) fn of_connection(hash_on: &[HashOn], peer: Option<IpAddr>) -> Option<u64> {
    let wanted = hash_on
        .iter()
        .any(|property| matches!(property, HashOn::SourceAddress(true)));
    peer.filter(|_| wanted).map(address)
}

/// A client is the same one whether it came to an IPv4 or a dual-stack socket.
fn address(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => xxh3_64(&address.octets()),
        IpAddr::V6(address) => xxh3_64(&address.octets()),
    }
}

/// Value of the first query parameter of this name, not decoded; empty where it has no `=`.
fn parameter<'a>(query: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    query
        .split(|byte| *byte == b'&')
        .find_map(|pair| match pair.strip_prefix(name)? {
            [] => Some(&[][..]),
            [b'=', value @ ..] => Some(value),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Field, Known, RequestHead, Span};

    const HEAD: &str =
        "GET /a?tenant=7&flag&x=1 HTTP/1.1\r\nX-User: ann\r\nCookie: a=b; session=s1\r\n\r\n";

    fn head() -> RequestHead {
        let span = |text: &str| {
            let start = HEAD.find(text).unwrap();
            Span::new(start, start + text.len())
        };
        let mut head = RequestHead {
            query: span("?tenant=7&flag&x=1"),
            ..RequestHead::default()
        };
        for (name, value, known) in [
            ("X-User", "ann", Known::Other),
            ("Cookie", "a=b; session=s1", Known::Cookie),
        ] {
            head.fields.push(Field {
                name: span(name),
                value: span(value),
                line: span(name),
                known,
            });
        }
        head
    }

    #[test]
    fn the_first_property_there_counts() {
        let peer: IpAddr = "10.1.2.3".parse().unwrap();
        let head = head();
        let view = RequestView {
            bytes: HEAD.as_bytes(),
            head: &head,
        };
        let check = |hash_on: &[HashOn], expected: Option<&[u8]>| {
            let found = of_request(hash_on, &view, Some(peer));
            assert_eq!(found, expected.map(xxh3_64), "{hash_on:?}");
        };
        let header = |name: &str| HashOn::Header(name.into());
        let query = |name: &str| HashOn::Query(name.into());
        check(&[], None);
        check(&[header("x-user")], Some(b"ann"));
        check(&[header("x-none")], None);
        check(&[header("x-none"), header("x-user")], Some(b"ann"));
        check(&[HashOn::Cookie("session".into())], Some(b"s1"));
        check(&[query("tenant")], Some(b"7"));
        check(&[query("x"), header("x-user")], Some(b"1"));
        check(&[query("ten"), query("flag")], Some(b""));
        check(&[HashOn::SourceAddress(true)], Some(&[10, 1, 2, 3]));
        check(&[HashOn::SourceAddress(false)], None);
    }

    #[test]
    fn a_query_less_request_falls_through() {
        let head = RequestHead::default();
        let view = RequestView {
            bytes: b"",
            head: &head,
        };
        let peer = Some(IpAddr::from([10, 1, 2, 3]));
        let hash_on = [HashOn::Query("a".into()), HashOn::SourceAddress(true)];
        assert!(of_request(&hash_on, &view, peer).is_some());
    }

    #[test]
    fn a_mapped_address_is_the_address() {
        let on = [HashOn::SourceAddress(true)];
        let of = |text: &str| of_connection(&on, Some(text.parse().unwrap()));
        assert_eq!(of("10.1.2.3"), of("::ffff:10.1.2.3"));
        assert_ne!(of("10.1.2.3"), of("10.1.2.4"));
        assert_eq!(
            of_connection(&[HashOn::Header("a".into())], Some([10, 1, 2, 3].into())),
            None
        );
    }
}
