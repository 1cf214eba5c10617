//! Name constraints of roots that speak of URIs.
//!
//! The library that validates paths refuses every URI under a constraint on URIs, since it cannot
//! judge them. For a root, which we were given and no peer can choose, the constraint is taken out
//! of what the library sees and judged here. Below a root the library's refusal stands.

use rustls::pki_types::{Der, TrustAnchor};
use x509_parser::{
    asn1_rs::{Any, Class, Tag},
    prelude::FromDer as _,
};

use outrigger_config::model::{SpiffeId, TrustDomain};

/// The tags of `NameConstraints` (RFC 5280 section 4.2.1.10).
const PERMITTED: u8 = 0xa0;
const EXCLUDED: u8 = 0xa1;
const SEQUENCE: u8 = 0x30;
const URI: u32 = 6;

/// Hosts that URIs may name, and may not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hosts {
    /// None: all but the excluded.
    permitted: Option<Vec<Box<str>>>,
    excluded: Vec<Box<str>>,
}

impl Hosts {
    /// Takes the constraints on URIs out of an anchor. None: they cannot be read.
    pub(super) fn take_from(anchor: &mut TrustAnchor<'static>) -> Option<Self> {
        let mut hosts = Self::default();
        let Some(constraints) = &anchor.name_constraints else {
            return Some(hosts);
        };
        let mut left = Vec::new();
        let mut rest = constraints.as_ref();
        while !rest.is_empty() {
            let (subtrees, behind) = next(rest)?;
            rest = behind;
            let (kept, uris) = part(subtrees.data)?;
            let tag = match (subtrees.class(), subtrees.tag().0) {
                (Class::ContextSpecific, 0) => {
                    if !uris.is_empty() {
                        hosts.permitted.get_or_insert_default().extend(uris);
                    }
                    PERMITTED
                }
                (Class::ContextSpecific, 1) => {
                    hosts.excluded.extend(uris);
                    EXCLUDED
                }
                _ => return None,
            };
            if !kept.is_empty() {
                wrap(tag, &kept, &mut left);
            }
        }
        anchor.name_constraints = (!left.is_empty()).then(|| Der::from(left));
        Some(hosts)
    }

    /// Whether certificates below the root may hold this URI. What is no SPIFFE ID cannot be
    /// judged, and is not let through where there is anything to judge.
    pub(super) fn allow(&self, uri: &str) -> bool {
        if *self == Self::default() {
            return true;
        }
        let Ok(id) = uri.parse::<SpiffeId>() else {
            return false;
        };
        let domain = id.trust_domain();
        let within = |hosts: &[Box<str>]| hosts.iter().any(|host| covers(host, domain));
        !within(&self.excluded) && self.permitted.as_deref().is_none_or(within)
    }
}

/// `.example.org` covers every host below it, `example.org` that host alone.
fn covers(host: &str, domain: &TrustDomain) -> bool {
    let domain = domain.as_str();
    if host.starts_with('.') {
        domain.len() > host.len() && domain.ends_with(host)
    } else {
        domain == host
    }
}

/// Subtrees that are not about URIs, as they stand, and the hosts of those that are.
fn part(mut subtrees: &[u8]) -> Option<(Vec<u8>, Vec<Box<str>>)> {
    let (mut kept, mut hosts) = (Vec::new(), Vec::new());
    while !subtrees.is_empty() {
        let (subtree, behind) = next(subtrees)?;
        let whole = &subtrees[..subtrees.len() - behind.len()];
        subtrees = behind;
        if subtree.tag() != Tag::Sequence {
            return None;
        }
        let (base, after) = next(subtree.data)?;
        if base.class() == Class::ContextSpecific && base.tag().0 == URI {
            // Neither a minimum nor a maximum may stand there.
            let host = std::str::from_utf8(base.data).ok();
            let host = host.filter(|host| after.is_empty() && host.is_ascii())?;
            hosts.push(host.to_ascii_lowercase().into());
        } else {
            debug_assert_eq!(whole.first(), Some(&SEQUENCE));
            kept.extend_from_slice(whole);
        }
    }
    Some((kept, hosts))
}

fn next(bytes: &[u8]) -> Option<(Any<'_>, &[u8])> {
    let (behind, value) = Any::from_der(bytes).ok()?;
    Some((value, behind))
}

/// Writes a tag, a length and what it is the length of.
fn wrap(tag: u8, content: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    let length = content.len().to_be_bytes();
    let digits = &length[length.iter().take_while(|b| **b == 0).count()..];
    match digits {
        [] => out.push(0),
        [short] if *short < 0x80 => out.push(*short),
        long => {
            out.push(0x80 | long.len() as u8);
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(content);
}

/// The content of the extension for hosts, beside one for DNS names: for tests elsewhere, too.
#[cfg(test)]
pub(super) fn extension(permitted: &[(u8, &str)], excluded: &[(u8, &str)]) -> Vec<u8> {
    let mut content = Vec::new();
    for (tag, subtrees) in [(PERMITTED, permitted), (EXCLUDED, excluded)] {
        let mut list = Vec::new();
        for (kind, name) in subtrees {
            let mut base = Vec::new();
            wrap(0x80 | kind, name.as_bytes(), &mut base);
            wrap(SEQUENCE, &base, &mut list);
        }
        if !list.is_empty() {
            wrap(tag, &list, &mut content);
        }
    }
    let mut whole = Vec::new();
    wrap(SEQUENCE, &content, &mut whole);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An anchor whose constraints are the inside of the extension.
    fn anchor(extension: &[u8]) -> TrustAnchor<'static> {
        let (inside, _) = next(extension).unwrap();
        TrustAnchor {
            subject: Der::from(Vec::new()),
            subject_public_key_info: Der::from(Vec::new()),
            name_constraints: Some(Der::from(inside.data.to_vec())),
        }
    }

    #[test]
    fn hosts_are_taken_out_and_the_rest_stays() {
        let long = "x".repeat(200);
        let permitted = [(6, "Example.org"), (2, long.as_str()), (6, ".sub.net")];
        let excluded = [(6, "bad.sub.net")];
        let mut anchor = anchor(&extension(&permitted, &excluded));
        let hosts = Hosts::take_from(&mut anchor).unwrap();
        let left = anchor.name_constraints.unwrap();
        let expected = extension(&[(2, &long)], &[]);
        assert_eq!(left.as_ref(), next(&expected).unwrap().0.data);
        for (uri, allowed) in [
            ("spiffe://example.org/a", true),
            ("spiffe://a.sub.net/a", true),
            ("spiffe://sub.net/a", false),
            ("spiffe://bad.sub.net/a", false),
            ("spiffe://notexample.org/a", false),
            ("spiffe://a.example.org/a", false),
            ("https://example.org/a", false),
        ] {
            assert_eq!(hosts.allow(uri), allowed, "{uri}");
        }
    }

    #[test]
    fn without_hosts_nothing_is_kept_from_anyone() {
        let mut anchor = anchor(&extension(&[(2, "a")], &[(2, "b")]));
        let before = anchor.name_constraints.clone();
        let hosts = Hosts::take_from(&mut anchor).unwrap();
        assert_eq!(anchor.name_constraints, before);
        assert!(hosts.allow("spiffe://a/b") && hosts.allow("https://x"));
        let mut all = self::anchor(&extension(&[(6, "a")], &[]));
        Hosts::take_from(&mut all).unwrap();
        assert_eq!(all.name_constraints, None);
    }

    #[test]
    fn what_cannot_be_read_is_no_constraint_to_pass() {
        for broken in [
            &[0xa0, 5, 0x30][..],
            &[0xa2, 0],
            &[0xa0, 2, 0x04, 0],
            &[0xff],
        ] {
            let mut anchor = anchor(&extension(&[(6, "a")], &[]));
            anchor.name_constraints = Some(Der::from(broken.to_vec()));
            assert_eq!(Hosts::take_from(&mut anchor), None, "{broken:?}");
        }
    }
}
