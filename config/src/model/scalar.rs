//! Values with a grammar of their own. Each is checked when it is read, so that code which holds
//! one may rely on it.

use std::{fmt, net::SocketAddr, path::PathBuf};

/// A string newtype whose inside is public to read and whose checks happen in reading.
macro_rules! string {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Box<str>);
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str { &self.0 }
        }
        impl From<&str> for $name { fn from(text: &str) -> Self { Self(text.into()) } }
        impl fmt::Display for $name { fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) } }
    )*};
}

string! {
    /// Name of an object: 1 to 253 of `A-Z a-z 0-9 - _ . /`.
    Name
    /// Any text without control characters.
    Text
    /// A field name (RFC 9110 token), as written; framing fields are refused.
    HeaderName
    /// A field value (RFC 9110 section 5.5): no control characters but tab, no blanks at the ends.
    HeaderValue
    /// A path: begins with `/`, visible ASCII, no `?`, `#`, `//`, or dot segments.
    PathText
    /// A regular expression in the `regex` crate's syntax (linear time), at most 1 KiB, matched against the whole value.
    Pattern
}

impl PathText {
    /// `/`.
    pub fn root() -> Self {
        Self::from("/")
    }
}

/// Number of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// By the CPU quota of the cgroup.
    Auto,
    /// That many, 1 to 1024.
    Count(u16),
}

/// A number of bytes, written `65536`, `64KiB`, `1MiB`, `1GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// 0 to 100, written `12.5` or `12.5%`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Percent(pub f64);

/// An IP network, written `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr(pub ipnet::IpNet);

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

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndpointAddress {
    /// `ip:port`.
    Tcp(SocketAddr),
    /// `unix:/path`.
    Unix(PathBuf),
}

/// A host name to resolve and a port (absent for SRV).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DnsName {
    /// The name, without a trailing dot unless it was written with one.
    pub host: Box<str>,
    /// The port.
    pub port: Option<u16>,
}

/// A host a route serves; lower case, no port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// The host itself.
    Exact(Box<str>),
    /// `*.suffix`: one or more labels before it. Holds `suffix`.
    Suffix(Box<str>),
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
