//! Addresses: to listen on, to connect to, networks, and where the log goes.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde_json::json;

use super::host::parse_port;
use crate::engine::{Grammar, Refused, Scalar};

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BindAddress {
    /// `ip:port`. Port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// `unix:/path`.
    Unix(PathBuf),
}

impl BindAddress {
    /// `127.0.0.1:9901`.
    pub const LOOPBACK_9901: Self = Self::Tcp(SocketAddr::V4(std::net::SocketAddrV4::new(
        std::net::Ipv4Addr::LOCALHOST,
        9901,
    )));
}

/// Longest path of a Unix socket (`sun_path`, with its final zero).
const LONGEST_SOCKET_PATH: usize = 107;

/// The path of `unix:/path`; none if it is something else.
fn unix(text: &str) -> Option<Result<PathBuf, Refused>> {
    let path = text.strip_prefix("unix:")?;
    if !path.starts_with('/') || path.contains('\0') || path.len() > LONGEST_SOCKET_PATH {
        let expected = "an absolute path of at most 107 bytes after `unix:`";
        return Some(Err(Some(expected.into())));
    }
    Some(Ok(path.into()))
}

fn show(tcp: &SocketAddr) -> Cow<'static, str> {
    tcp.to_string().into()
}

/// Paths are read from text, so nothing is lost.
fn show_unix(path: &Path) -> Cow<'static, str> {
    format!("unix:{}", path.display()).into()
}

impl Grammar for BindAddress {
    const SCALAR: Scalar = Scalar {
        name: "bind address",
        expected: "an address to listen on, such as 127.0.0.1:8080, \"[::]:8080\" or unix:/run/x.sock",
        schema: || json!({ "type": "string", "examples": ["127.0.0.1:8080", "[::]:8080", "unix:/run/x.sock"] }),
    };

    fn parse(text: &str) -> Result<Self, Refused> {
        if let Some(path) = unix(text) {
            return path.map(Self::Unix);
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Tcp(address));
        }
        let hint = match text.rsplit_once(':') {
            Some(("" | "*", port)) if parse_port(port).is_some() => {
                format!("ip:port; \"[::]:{port}\" listens on every address")
            }
            Some(("localhost", port)) if parse_port(port).is_some() => {
                format!("ip:port; 127.0.0.1:{port} is localhost")
            }
            _ => return Err(None),
        };
        Err(Some(hint.into()))
    }

    fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Tcp(address) => show(address),
            Self::Unix(path) => show_unix(path),
        }
    }

    fn stand_in() -> Self {
        Self::Unix(PathBuf::new())
    }
}

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndpointAddress {
    /// `ip:port`.
    Tcp(SocketAddr),
    /// `unix:/path`.
    Unix(PathBuf),
}

impl Grammar for EndpointAddress {
    const SCALAR: Scalar = Scalar {
        name: "endpoint address",
        expected: "an address such as 10.0.0.1:8080, \"[fd00::1]:8080\" or unix:/run/x.sock",
        schema: || json!({ "type": "string", "examples": ["10.0.0.1:8080", "[fd00::1]:8080", "unix:/run/x.sock"] }),
    };

    fn parse(text: &str) -> Result<Self, Refused> {
        if let Some(path) = unix(text) {
            return path.map(Self::Unix);
        }
        let Ok(address) = text.parse::<SocketAddr>() else {
            let is_name = <super::DnsName as Grammar>::parse(text).is_ok_and(|n| n.port.is_some());
            let hint = is_name.then_some("ip:port; names belong in `dns`".into());
            return Err(hint);
        };
        if address.port() == 0 {
            return Err(Some("a port from 1 to 65535".into()));
        }
        if address.ip().is_unspecified() || address.ip().is_multicast() {
            return Err(Some("the address of one host".into()));
        }
        Ok(Self::Tcp(address))
    }

    fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Tcp(address) => show(address),
            Self::Unix(path) => show_unix(path),
        }
    }

    fn stand_in() -> Self {
        Self::Unix(PathBuf::new())
    }
}

/// An IP network, written `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr(pub IpNet);

impl Grammar for Cidr {
    const SCALAR: Scalar = Scalar {
        name: "network",
        expected: "a network such as 10.0.0.0/8, or one IP address",
        schema: || json!({ "type": "string", "examples": ["10.0.0.0/8", "fd00::/8", "127.0.0.1"] }),
    };

    fn parse(text: &str) -> Result<Self, Refused> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(address.into()));
        }
        let net: IpNet = text.parse().map_err(|_| None)?;
        // Bits that the mask ignores are a slip: either the address or the length is wrong.
        if net.trunc() != net {
            return Err(Some(format!("{} or {}", net.trunc(), net.addr()).into()));
        }
        Ok(Self(net))
    }

    fn text(&self) -> Cow<'_, str> {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            self.0.addr().to_string().into()
        } else {
            self.0.to_string().into()
        }
    }

    fn stand_in() -> Self {
        Self(IpAddr::from([127, 0, 0, 1]).into())
    }
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOutput {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to.
    File(PathBuf),
}

impl Grammar for LogOutput {
    const SCALAR: Scalar = Scalar {
        name: "log output",
        expected: "stdout, stderr, or a path with a `/`",
        schema: || json!({ "type": "string", "pattern": "^stdout$|^stderr$|/" }),
    };

    fn parse(text: &str) -> Result<Self, Refused> {
        match text {
            "stdout" => Ok(Self::Stdout),
            "stderr" => Ok(Self::Stderr),
            // A misspelt word must not become a file.
            _ if text.contains('/') && !text.ends_with('/') && !text.contains('\0') => {
                Ok(Self::File(text.into()))
            }
            _ => Err(None),
        }
    }

    fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Stdout => "stdout".into(),
            Self::Stderr => "stderr".into(),
            Self::File(path) => path.to_string_lossy(),
        }
    }

    fn stand_in() -> Self {
        Self::Stdout
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    const SOCKET: &str = "an absolute path of at most 107 bytes after `unix:`";

    #[test]
    fn bind_addresses() {
        check::<BindAddress>(&[
            ("127.0.0.1:8080", Ok("127.0.0.1:8080")),
            ("0.0.0.0:0", Ok("0.0.0.0:0")),
            ("[::]:8080", Ok("[::]:8080")),
            ("unix:/run/x.sock", Ok("unix:/run/x.sock")),
            (
                ":8080",
                Err("ip:port; \"[::]:8080\" listens on every address"),
            ),
            ("*:80", Err("ip:port; \"[::]:80\" listens on every address")),
            ("localhost:80", Err("ip:port; 127.0.0.1:80 is localhost")),
            ("unix:x.sock", Err(SOCKET)),
            ("unix:", Err(SOCKET)),
            (&format!("unix:/{}", "x".repeat(107)), Err(SOCKET)),
            ("8080", Err("")),
            ("127.0.0.1", Err("")),
            ("::1:80", Err("")),
            ("127.0.0.1:65536", Err("")),
            ("", Err("")),
        ]);
    }

    #[test]
    fn endpoint_addresses() {
        check::<EndpointAddress>(&[
            ("10.0.0.1:80", Ok("10.0.0.1:80")),
            ("[fd00::1]:80", Ok("[fd00::1]:80")),
            ("unix:/run/x.sock", Ok("unix:/run/x.sock")),
            ("db.internal:5432", Err("ip:port; names belong in `dns`")),
            ("10.0.0.1:0", Err("a port from 1 to 65535")),
            ("0.0.0.0:80", Err("the address of one host")),
            ("224.0.0.1:80", Err("the address of one host")),
            ("10.0.0.1", Err("")),
            ("http://10.0.0.1:80", Err("")),
        ]);
    }

    #[test]
    fn networks() {
        check::<Cidr>(&[
            ("10.0.0.0/8", Ok("10.0.0.0/8")),
            ("0.0.0.0/0", Ok("0.0.0.0/0")),
            ("fd00::/8", Ok("fd00::/8")),
            ("127.0.0.1", Ok("127.0.0.1")),
            ("127.0.0.1/32", Ok("127.0.0.1")),
            ("::1", Ok("::1")),
            ("10.0.0.1/8", Err("10.0.0.0/8 or 10.0.0.1")),
            ("10.0.0.0/33", Err("")),
            ("10/8", Err("")),
            ("", Err("")),
        ]);
    }

    #[test]
    fn log_outputs() {
        check::<LogOutput>(&[
            ("stdout", Ok("stdout")),
            ("stderr", Ok("stderr")),
            ("/var/log/x.log", Ok("/var/log/x.log")),
            ("./x.log", Ok("./x.log")),
            ("stdou", Err("")),
            ("/var/log/", Err("")),
            ("", Err("")),
        ]);
    }
}
