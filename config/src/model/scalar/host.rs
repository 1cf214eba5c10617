//! Host names: of endpoints to resolve, and of requests to serve.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::json;

use crate::engine::{Grammar, Refused, Scalar};

/// A host name to resolve and a port (absent for SRV).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DnsName {
    /// The name, without a trailing dot unless it was written with one.
    pub host: Box<str>,
    /// The port.
    pub port: Option<u16>,
}

impl Grammar for DnsName {
    const SCALAR: Scalar = Scalar {
        name: "DNS name",
        expected: "a host name with a port, such as db.internal:5432",
        schema: || json!({ "type": "string", "pattern": "^[A-Za-z0-9._-]{1,254}(:[0-9]{1,5})?$" }),
    };

    fn parse(text: &str) -> Result<Self, Refused> {
        if text.contains('/') {
            return Err(Some("host:port, without a scheme or path".into()));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if bare.parse::<IpAddr>().is_ok() || text.parse::<IpAddr>().is_ok() {
            return Err(Some("a host name; addresses belong in `endpoints`".into()));
        }
        let port = match port {
            Some(port) => Some(parse_port(port).ok_or(Some("a port from 1 to 65535".into()))?),
            None => None,
        };
        if !is_domain(host.strip_suffix('.').unwrap_or(host)) {
            return Err(None);
        }
        let host = host.into();
        Ok(Self { host, port })
    }

    fn text(&self) -> Cow<'_, str> {
        match self.port {
            Some(port) => format!("{}:{port}", self.host).into(),
            None => self.host.as_ref().into(),
        }
    }

    fn stand_in() -> Self {
        Self {
            host: "".into(),
            port: None,
        }
    }
}

/// A port in decimal digits, not 0.
pub(super) fn parse_port(text: &str) -> Option<u16> {
    let port = crate::engine::whole(text)?;
    u16::try_from(port).ok().filter(|port| *port != 0)
}

/// Labels of letters, digits, `-` and `_`, 63 long at most, 253 together.
fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        let edge = |b: Option<u8>| b == Some(b'-');
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !edge(label.bytes().next())
            && !edge(label.bytes().last())
    };
    // A last label of digits would be read as part of an IPv4 address (WHATWG URL, RFC 3986).
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253 && text.split('.').all(is_label) && !last.bytes().all(|b| b.is_ascii_digit())
}

/// Whether a text may stand in `Host` without a port: a name, an IPv4 or a bracketed IPv6 address.
pub(crate) fn is_host(text: &str) -> bool {
    let bracketed = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    is_domain(text)
        || text.parse::<Ipv4Addr>().is_ok()
        || bracketed.is_some_and(|t| t.parse::<Ipv6Addr>().is_ok())
}

/// A host a route serves; lower case, no port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// The host itself.
    Exact(Box<str>),
    /// `*.suffix`: one or more labels before it. Holds `suffix`.
    Suffix(Box<str>),
}

impl Grammar for HostPattern {
    const SCALAR: Scalar = Scalar {
        name: "host",
        expected: "a host such as shop.example, or *.shop.example for all below it",
        schema: || json!({ "type": "string", "examples": ["shop.example", "*.shop.example"] }),
    };

    fn parse(text: &str) -> Result<Self, Refused> {
        let lower = text.to_ascii_lowercase();
        if text == "*" {
            return Err(Some("a host; leave `hosts` out to serve every host".into()));
        }
        if !text.is_ascii() {
            return Err(Some(
                "a host in ASCII; write xn--... for other letters".into(),
            ));
        }
        if let Some(suffix) = lower.strip_prefix("*.") {
            return if is_domain(suffix) {
                Ok(Self::Suffix(suffix.into()))
            } else {
                Err(None)
            };
        }
        if is_host(&lower) {
            return Ok(Self::Exact(lower.into()));
        }
        match lower.rsplit_once(':') {
            Some((host, port)) if is_host(host) && parse_port(port).is_some() => {
                Err(Some("a host without a port; every port is served".into()))
            }
            _ => Err(None),
        }
    }

    fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Exact(host) => host.as_ref().into(),
            Self::Suffix(suffix) => format!("*.{suffix}").into(),
        }
    }

    fn stand_in() -> Self {
        Self::Exact("".into())
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn dns_names() {
        let address = "a host name; addresses belong in `endpoints`";
        let port = "a port from 1 to 65535";
        check::<DnsName>(&[
            ("db.internal:5432", Ok("db.internal:5432")),
            ("_http._tcp.web.internal", Ok("_http._tcp.web.internal")),
            ("db.internal.:1", Ok("db.internal.:1")),
            ("localhost:80", Ok("localhost:80")),
            ("DB", Ok("DB")),
            ("", Err("")),
            (":80", Err("")),
            (".:80", Err("")),
            ("a..b:80", Err("")),
            ("-a:80", Err("")),
            ("a b:80", Err("")),
            (&format!("{}:80", "x".repeat(64)), Err("")),
            ("db:0", Err(port)),
            ("db:65536", Err(port)),
            ("db:http", Err(port)),
            ("127.0.0.1:80", Err(address)),
            ("127.0.0.1", Err(address)),
            ("[::1]:80", Err(address)),
            ("::1", Err(address)),
            ("http://db:80", Err("host:port, without a scheme or path")),
        ]);
    }

    #[test]
    fn host_patterns() {
        check::<HostPattern>(&[
            ("shop.example", Ok("shop.example")),
            ("Shop.Example", Ok("shop.example")),
            ("*.Shop.example", Ok("*.shop.example")),
            ("*.com", Ok("*.com")),
            ("localhost", Ok("localhost")),
            ("127.0.0.1", Ok("127.0.0.1")),
            ("[::1]", Ok("[::1]")),
            ("*", Err("a host; leave `hosts` out to serve every host")),
            (
                "shop.example:80",
                Err("a host without a port; every port is served"),
            ),
            (
                "[::1]:80",
                Err("a host without a port; every port is served"),
            ),
            (
                "bücher.example",
                Err("a host in ASCII; write xn--... for other letters"),
            ),
            ("", Err("")),
            ("a.*.b", Err("")),
            ("*shop", Err("")),
            ("*.", Err("")),
            ("::1", Err("")),
            ("1.2.3", Err("")),
            ("shop.example.", Err("")),
            ("a/b", Err("")),
        ]);
    }
}
