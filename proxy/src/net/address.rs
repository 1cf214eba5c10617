//! Where a peer is.

use std::{fmt, net::SocketAddr, path::PathBuf};

use outrigger_config::model::{BindAddress, EndpointAddress};

/// An address one can connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl From<&BindAddress> for Address {
    fn from(address: &BindAddress) -> Self {
        match address {
            BindAddress::Tcp(address) => Self::Tcp(*address),
            BindAddress::Unix(path) => Self::Unix(path.clone()),
        }
    }
}

impl From<&EndpointAddress> for Address {
    fn from(address: &EndpointAddress) -> Self {
        match address {
            EndpointAddress::Tcp(address) => Self::Tcp(*address),
            EndpointAddress::Unix(path) => Self::Unix(path.clone()),
        }
    }
}
