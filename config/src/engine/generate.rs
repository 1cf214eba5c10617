//! Configurations by chance, to test that what is written can be read again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::Grammar as _;
use crate::model::{
    BindAddress, ByteSize, Cidr, DnsName, EndpointAddress, HeaderName, HeaderValue, HostPattern,
    IdentityPattern, LogOutput, Name, PathText, Pattern, Percent, SpiffeId, Text, TrustDomain,
    Workers,
};

/// Repeatable chance (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn flip(&mut self) -> bool {
        self.next().is_multiple_of(2)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_of<T: Clone>(&mut self, list: &[T]) -> T {
        let index = self.below(list.len() as u64) as usize;
        list[index].clone()
    }

    fn text<T: for<'t> From<&'t str>>(&mut self, list: &[&str]) -> T {
        T::from(self.one_of(list))
    }
}

/// A value by chance that its own grammar takes.
pub(crate) trait Generate: Sized {
    fn generate(random: &mut Random) -> Self;
}

/// A value by chance within bounds.
pub(crate) trait GenerateIn<T>: Sized {
    fn generate_in(random: &mut Random, range: &RangeInclusive<T>) -> Self;
}

macro_rules! numbers {
    ($($type:ident)*) => {$(
        impl Generate for $type {
            fn generate(random: &mut Random) -> Self {
                random.next() as Self
            }
        }

        impl GenerateIn<$type> for $type {
            fn generate_in(random: &mut Random, range: &RangeInclusive<Self>) -> Self {
                let span = u64::from(range.end() - range.start());
                range.start() + random.below(span + 1) as Self
            }
        }
    )*};
}
numbers! { u16 u32 }

impl Generate for bool {
    fn generate(random: &mut Random) -> Self {
        random.flip()
    }
}

impl Generate for Duration {
    fn generate(random: &mut Random) -> Self {
        let unit = random.one_of(&[1, 1_000, 1_000_000, 60_000_000]);
        Self::from_micros(unit * random.below(5_000_000))
    }
}

impl GenerateIn<Duration> for Duration {
    fn generate_in(random: &mut Random, range: &RangeInclusive<Self>) -> Self {
        let span = (range.end().as_micros() - range.start().as_micros()) as u64;
        *range.start() + Self::from_micros(random.below(span + 1))
    }
}

impl Generate for ByteSize {
    fn generate(random: &mut Random) -> Self {
        let shift = random.one_of(&[0, 10, 20, 30]);
        Self(random.below(5_000) << shift)
    }
}

impl GenerateIn<ByteSize> for ByteSize {
    fn generate_in(random: &mut Random, range: &RangeInclusive<Self>) -> Self {
        Self(range.start().0 + random.below(range.end().0 - range.start().0 + 1))
    }
}

impl<T: Generate> Generate for Option<T> {
    fn generate(random: &mut Random) -> Self {
        random.flip().then(|| T::generate(random))
    }
}

impl<T: GenerateIn<T>> GenerateIn<T> for Option<T> {
    fn generate_in(random: &mut Random, range: &RangeInclusive<T>) -> Self {
        random.flip().then(|| T::generate_in(random, range))
    }
}

impl<T: Generate> Generate for Vec<T> {
    fn generate(random: &mut Random) -> Self {
        (0..random.below(4)).map(|_| T::generate(random)).collect()
    }
}

/// A list of these is an object, whose keys differ.
impl Generate for (HeaderName, HeaderValue) {
    fn generate(random: &mut Random) -> Self {
        let name = format!("x-{}", random.next());
        (
            HeaderName::from(name.as_str()),
            HeaderValue::generate(random),
        )
    }
}

macro_rules! texts {
    ($($type:ident: $($text:literal)*;)*) => {$(
        impl Generate for $type {
            fn generate(random: &mut Random) -> Self {
                random.text(&[$($text),*])
            }
        }
    )*};
}
texts! {
    Name: "web" "api-v1" "a/b.c_d" "true" "5";
    Text: "" "plain" "two\nlines\t" "\"quoted\" \\ back" "null" "5" "ü" "- x: {" "#";
    HeaderName: "X-Env" "x_y" "ETag";
    HeaderValue: "" "1" "a, b;q=0.5" "ü" "\"x\"";
    PathText: "/" "/a" "/a/%20b/";
    Pattern: "a+" ".*" r"\d{2,3}/[^/]+";
}

impl Generate for Workers {
    fn generate(random: &mut Random) -> Self {
        match random.below(1_025) as u16 {
            0 => Self::Auto,
            count => Self::Count(count),
        }
    }
}

impl Generate for Percent {
    fn generate(random: &mut Random) -> Self {
        Self(random.below(1_001) as f64 / 10.0)
    }
}

impl Generate for IpAddr {
    fn generate(random: &mut Random) -> Self {
        let bits = random.next();
        if random.flip() {
            Ipv4Addr::new(10, bits as u8, (bits >> 8) as u8, (bits >> 16) as u8).into()
        } else {
            Ipv6Addr::from((0xfd00_u128 << 112) | u128::from(bits)).into()
        }
    }
}

impl Generate for SocketAddr {
    fn generate(random: &mut Random) -> Self {
        let port = random.next() as u16;
        Self::new(IpAddr::generate(random), port.max(1))
    }
}

impl Generate for Cidr {
    fn generate(random: &mut Random) -> Self {
        let address = IpAddr::generate(random);
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let length = random.below(longest + 1) as u8;
        Self(ipnet::IpNet::new(address, length).unwrap().trunc())
    }
}

impl Generate for BindAddress {
    fn generate(random: &mut Random) -> Self {
        if random.flip() {
            Self::Tcp(SocketAddr::generate(random))
        } else {
            Self::Unix("/run/x y.sock".into())
        }
    }
}

impl Generate for EndpointAddress {
    fn generate(random: &mut Random) -> Self {
        if random.flip() {
            Self::Tcp(SocketAddr::generate(random))
        } else {
            Self::Unix("/run/x.sock".into())
        }
    }
}

impl Generate for DnsName {
    fn generate(random: &mut Random) -> Self {
        Self {
            host: random
                .one_of(&["db", "_http._tcp.db.internal", "db."])
                .into(),
            port: random.flip().then(|| (random.next() as u16).max(1)),
        }
    }
}

impl Generate for HostPattern {
    fn generate(random: &mut Random) -> Self {
        if random.flip() {
            Self::Exact("shop.example".into())
        } else {
            Self::Suffix("shop.example".into())
        }
    }
}

impl Generate for SpiffeId {
    fn generate(random: &mut Random) -> Self {
        let text = random.one_of(&["spiffe://shop.example/web", "spiffe://d/ns/a/sa/B_c.d-1"]);
        text.parse().unwrap()
    }
}

impl Generate for IdentityPattern {
    fn generate(random: &mut Random) -> Self {
        let text = random.one_of(&[
            "spiffe://shop.example/web",
            "spiffe://d/ns/a/*",
            "spiffe://d/*",
        ]);
        Self::parse(text).unwrap()
    }
}

impl Generate for TrustDomain {
    fn generate(random: &mut Random) -> Self {
        random
            .one_of(&["shop.example", "d", "a_b-c.1"])
            .parse()
            .unwrap()
    }
}

impl Generate for LogOutput {
    fn generate(random: &mut Random) -> Self {
        random.one_of(&[Self::Stdout, Self::Stderr, Self::File("/var/log/x".into())])
    }
}
