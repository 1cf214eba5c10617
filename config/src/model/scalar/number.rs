//! Numbers with a unit or a word beside them.

use serde::Serializer;
use serde_json::json;

use crate::engine::{Catalogue, Model, Reader, Scalar, TypeRef, Writing, whole};
use crate::text::{Kind, Node};

/// Number of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// By the CPU quota of the cgroup.
    Auto,
    /// That many, 1 to 1024.
    Count(u16),
}

impl Model for Workers {
    fn read(node: Node<'_>, cx: &mut Reader<'_>) -> Self {
        if let Some(("auto", Kind::Text)) = node.scalar() {
            return Self::Auto;
        }
        let count = node.plain(Kind::Number).and_then(whole);
        let count = count.filter(|count| (1..=1_024).contains(count));
        if let Some(count) = count.and_then(|count| u16::try_from(count).ok()) {
            return Self::Count(count);
        }
        cx.unexpected(node, WORKERS.expected);
        Self::Auto
    }

    fn stand_in() -> Self {
        Self::Auto
    }

    fn write<S: Serializer>(&self, to: S, _: &Writing<'_>) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => to.serialize_str("auto"),
            Self::Count(count) => to.serialize_u64((*count).into()),
        }
    }

    fn describe(catalogue: &mut Catalogue) -> TypeRef {
        catalogue.scalar(&WORKERS)
    }
}

static WORKERS: Scalar = Scalar {
    name: "workers",
    expected: "auto, or a number from 1 to 1024",
    schema: || json!({ "anyOf": [{ "const": "auto" }, { "type": "integer", "minimum": 1, "maximum": 1024 }] }),
};

/// A number of bytes, written `65536`, `64KiB`, `1MiB`, `1GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// Units of size, in falling order.
const UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];

impl ByteSize {
    fn parse(text: &str) -> Option<Self> {
        let (number, shift) = UNITS
            .iter()
            .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)))
            .unwrap_or((text, 0));
        whole(number)?.checked_mul(1 << shift).map(Self)
    }
}

impl Model for ByteSize {
    fn read(node: Node<'_>, cx: &mut Reader<'_>) -> Self {
        let size = match node.scalar() {
            Some((text, Kind::Text | Kind::Number)) => Self::parse(text),
            _ => None,
        };
        size.unwrap_or_else(|| {
            cx.unexpected(node, BYTE_SIZE.expected);
            Self(0)
        })
    }

    fn stand_in() -> Self {
        Self(0)
    }

    fn write<S: Serializer>(&self, to: S, _: &Writing<'_>) -> Result<S::Ok, S::Error> {
        let unit = UNITS
            .iter()
            .find(|(_, shift)| self.0 != 0 && self.0.is_multiple_of(1 << shift));
        match unit {
            Some((unit, shift)) => to.collect_str(&format_args!("{}{unit}", self.0 >> shift)),
            None => to.serialize_u64(self.0),
        }
    }

    fn describe(catalogue: &mut Catalogue) -> TypeRef {
        catalogue.scalar(&BYTE_SIZE)
    }
}

static BYTE_SIZE: Scalar = Scalar {
    name: "size",
    expected: "a size such as 65536, 64KiB, 1MiB or 1GiB",
    schema: || {
        json!({ "anyOf": [
            { "type": "integer", "minimum": 0 },
            { "type": "string", "pattern": "^(0|[1-9][0-9]*)(KiB|MiB|GiB)?$" },
        ] })
    },
};

/// 0 to 100, written `12.5` or `12.5%`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Percent(pub f64);

impl Percent {
    fn parse(text: &str) -> Option<Self> {
        let number = text.strip_suffix('%').unwrap_or(text);
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if !digits(whole) || !digits(fraction) || number.len() > 20 {
            return None;
        }
        let number: f64 = number.parse().ok()?;
        (0.0..=100.0).contains(&number).then_some(Self(number))
    }
}

impl Model for Percent {
    fn read(node: Node<'_>, cx: &mut Reader<'_>) -> Self {
        let percent = match node.scalar() {
            Some((text, Kind::Text | Kind::Number)) => Self::parse(text),
            _ => None,
        };
        percent.unwrap_or_else(|| {
            cx.unexpected(node, PERCENT.expected);
            Self(0.0)
        })
    }

    fn stand_in() -> Self {
        Self(0.0)
    }

    fn write<S: Serializer>(&self, to: S, _: &Writing<'_>) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{}%", self.0))
    }

    fn describe(catalogue: &mut Catalogue) -> TypeRef {
        catalogue.scalar(&PERCENT)
    }
}

static PERCENT: Scalar = Scalar {
    name: "percentage",
    expected: "a percentage from 0 to 100, such as 12.5%",
    schema: || {
        json!({ "anyOf": [
            { "type": "number", "minimum": 0, "maximum": 100 },
            { "type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?%?$" },
        ] })
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("0", Some(0)),
            ("65536", Some(65_536)),
            ("64KiB", Some(65_536)),
            ("3MiB", Some(3 << 20)),
            ("4GiB", Some(4 << 30)),
            ("64kB", None),
            ("64 KiB", None),
            ("1.5MiB", None),
            ("-1", None),
            ("KiB", None),
            ("", None),
            ("99999999999999GiB", None),
        ] {
            assert_eq!(ByteSize::parse(text).map(|size| size.0), expected, "{text}");
        }
        for (size, text) in [
            (0, "0"),
            (1_000, "1000"),
            (65_536, "\"64KiB\""),
            (1 << 20, "\"1MiB\""),
            (3 << 30, "\"3GiB\""),
            (1 << 40, "\"1024GiB\""),
        ] {
            assert_eq!(serde_json::to_string(&ByteSize(size)).unwrap(), text);
        }
    }

    #[test]
    fn percentages() {
        for (text, expected) in [
            ("0", Some(0.0)),
            ("12.5", Some(12.5)),
            ("12.5%", Some(12.5)),
            ("100%", Some(100.0)),
            ("100.1", None),
            ("-1", None),
            ("1e1", None),
            ("5 %", None),
            ("%", None),
            (".5", None),
            ("nan", None),
        ] {
            assert_eq!(Percent::parse(text).map(|p| p.0), expected, "{text}");
        }
        assert_eq!(serde_json::to_string(&Percent(0.25)).unwrap(), "\"0.25%\"");
    }
}
