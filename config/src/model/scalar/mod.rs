//! Values with a grammar of their own. Each is checked when it is read, so that code which holds
//! one may rely on it.

mod address;
mod host;
mod number;
mod spiffe;
mod text;

pub use address::{BindAddress, Cidr, EndpointAddress, LogOutput};
pub use host::{DnsName, HostPattern};
pub use number::{ByteSize, Percent, Workers};
pub use spiffe::{IdentityPattern, Invalid as InvalidId, SpiffeId, TrustDomain};
pub use text::{HeaderName, HeaderValue, Name, PathText, Pattern, Text};

pub(crate) use host::is_host;
pub(crate) use text::is_token;

/// Implements `Serialize` as what the model writes.
macro_rules! serialize {
    ($($name:ident)*) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                crate::engine::serialize(self, to)
            }
        }
    )*};
}

serialize! {
    BindAddress ByteSize Cidr DnsName EndpointAddress HeaderName HeaderValue HostPattern IdentityPattern LogOutput
    Name PathText Pattern Percent SpiffeId Text TrustDomain Workers
}

/// A table of texts with what they are read as; `Err` holds what was expected instead.
#[cfg(test)]
fn check<T: crate::engine::Grammar>(table: &[(&str, Result<&str, &str>)]) {
    for (text, expected) in table {
        let read = T::parse(text);
        let shown = match &read {
            Ok(value) => Ok(value.text()),
            Err(hint) => Err(hint.clone().unwrap_or(T::SCALAR.expected.into())),
        };
        let expected = match *expected {
            Err("") => Err(T::SCALAR.expected),
            other => other,
        };
        let shown = shown.as_ref().map(AsRef::as_ref).map_err(AsRef::as_ref);
        assert_eq!(shown, expected, "{text:?}");
        if let Ok(value) = &read {
            assert!(T::parse(&value.text()).as_ref() == Ok(value), "{text:?}");
        }
    }
}
