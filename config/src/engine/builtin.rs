//! Types of the standard library in a configuration.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serializer;
use serde_json::json;

use super::catalogue::Scalar;
use super::{Catalogue, Model, Reader, TypeRef, Writing};
use crate::text::{Kind, Node};

/// A value that is written as text with a grammar.
pub(crate) trait Grammar: Sized + PartialEq {
    /// Name, grammar and schema.
    const SCALAR: Scalar;

    /// Reads it; an error may say what was expected in this very case.
    fn parse(text: &str) -> Result<Self, Refused>;

    /// Writes what `parse` takes.
    fn text(&self) -> Cow<'_, str>;

    /// What stands for a value that could not be read.
    fn stand_in() -> Self;
}

/// What was expected, if it is more than the grammar says.
pub(crate) type Refused = Option<Cow<'static, str>>;

impl<T: Grammar> Model for T {
    fn read(node: Node<'_>, cx: &mut Reader<'_>) -> Self {
        let expected = T::SCALAR.expected;
        match node.scalar() {
            Some((text, Kind::Text)) => match T::parse(text) {
                Ok(value) => return value,
                Err(None) => cx.unexpected(node, expected),
                Err(Some(expected)) => cx.unexpected(node, &expected),
            },
            // In YAML, `5` and `true` are text only in quotes.
            Some((text, Kind::Number | Kind::Bool)) if T::parse(text).is_ok() => {
                cx.unexpected(node, &format!("{expected}; put it in quotes"));
            }
            _ => cx.unexpected(node, expected),
        }
        T::stand_in()
    }

    fn stand_in() -> Self {
        <T as Grammar>::stand_in()
    }

    fn write<S: Serializer>(&self, to: S, _: &Writing<'_>) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text())
    }

    fn describe(catalogue: &mut Catalogue) -> TypeRef {
        catalogue.scalar(const { &T::SCALAR })
    }
}

impl<T: Model> Model for Option<T> {
    fn read(node: Node<'_>, cx: &mut Reader<'_>) -> Self {
        Some(T::read(node, cx))
    }

    fn stand_in() -> Self {
        None
    }

    fn write<S: Serializer>(&self, to: S, cx: &Writing<'_>) -> Result<S::Ok, S::Error> {
        match self {
            Some(value) => value.write(to, cx),
            None => to.serialize_none(),
        }
    }

    fn describe(catalogue: &mut Catalogue) -> TypeRef {
        T::describe(catalogue)
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: Model> Model for Vec<T> {
    fn read(node: Node<'_>, cx: &mut Reader<'_>) -> Self {
        T::read_list(node, cx)
    }

    fn stand_in() -> Self {
        Self::new()
    }

    fn write<S: Serializer>(&self, to: S, cx: &Writing<'_>) -> Result<S::Ok, S::Error> {
        T::write_list(self, to, cx)
    }

    fn describe(catalogue: &mut Catalogue) -> TypeRef {
        T::describe_list(catalogue)
    }
}

impl Model for bool {
    fn read(node: Node<'_>, cx: &mut Reader<'_>) -> Self {
        match node.plain(Kind::Bool) {
            Some("true" | "True" | "TRUE") => true,
            Some("false" | "False" | "FALSE") => false,
            _ => {
                cx.unexpected(node, "true or false");
                false
            }
        }
    }

    fn stand_in() -> Self {
        false
    }

    fn write<S: Serializer>(&self, to: S, _: &Writing<'_>) -> Result<S::Ok, S::Error> {
        to.serialize_bool(*self)
    }

    fn describe(catalogue: &mut Catalogue) -> TypeRef {
        catalogue.scalar(&Scalar {
            name: "bool",
            expected: "true or false",
            schema: || json!({ "type": "boolean" }),
        })
    }
}

macro_rules! whole_number {
    ($($type:ident)*) => {$(
        impl Model for $type {
            fn read(node: Node<'_>, cx: &mut Reader<'_>) -> Self {
                let number = node.plain(Kind::Number).and_then(whole);
                let number = number.and_then(|number| $type::try_from(number).ok());
                number.unwrap_or_else(|| {
                    cx.unexpected(node, &format!("a whole number up to {}", $type::MAX));
                    0
                })
            }

            fn stand_in() -> Self {
                0
            }

            fn write<S: Serializer>(&self, to: S, _: &Writing<'_>) -> Result<S::Ok, S::Error> {
                to.serialize_u64(u64::from(*self))
            }

            fn describe(catalogue: &mut Catalogue) -> TypeRef {
                catalogue.scalar(&Scalar {
                    name: "whole number",
                    expected: "a whole number",
                    schema: || json!({ "type": "integer", "minimum": 0, "maximum": $type::MAX }),
                })
            }
        }
    )*};
}
whole_number! { u16 u32 }

/// A whole number in decimal digits, without sign, fraction or leading zeros.
pub(crate) fn whole(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    text.parse().ok().filter(|_| plain && !leading_zero)
}

/// Units of time, in falling order, in microseconds.
const UNITS: [(&str, u64); 5] = [
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// Longest time that can be written: ten years.
/// Why: clocks and timers count further than that without overflow.
const LONGEST: u64 = 87_600 * 3_600_000_000;

impl Grammar for Duration {
    const SCALAR: Scalar = Scalar {
        name: "duration",
        expected: "a duration such as 10s, 250ms, 1h or 1m30s",
        schema: || {
            json!({
                "type": "string",
                "pattern": "^([0-9]+(h|m|s|ms|us))+$",
                "examples": ["10s", "250ms", "1h", "1m30s", "0s"],
            })
        },
    };

    fn parse(text: &str) -> Result<Self, Refused> {
        if text.is_empty() {
            return Err(None);
        }
        let mut total: u64 = 0;
        let mut units = UNITS.as_slice();
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, after) = rest.split_at(digits);
            let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
            let (unit, after) = after.split_at(letters);
            if number.is_empty() {
                return Err(None);
            }
            if unit.is_empty() && after.is_empty() {
                return Err(Some("a duration with its unit: h, m, s, ms or us".into()));
            }
            // Each unit once, from large to small.
            let place = units.iter().position(|(name, _)| *name == unit);
            let place = place.ok_or(None)?;
            let part = number.parse::<u64>().ok();
            let part = part.and_then(|part| part.checked_mul(units[place].1));
            total = part
                .and_then(|part| total.checked_add(part))
                .filter(|total| *total <= LONGEST)
                .ok_or(Some("a duration of at most 87600h".into()))?;
            units = &units[place + 1..];
            rest = after;
        }
        Ok(Self::from_micros(total))
    }

    fn text(&self) -> Cow<'_, str> {
        let mut left = u64::try_from(self.as_micros()).unwrap_or(u64::MAX);
        if left == 0 {
            return "0s".into();
        }
        let mut text = String::new();
        for (unit, length) in UNITS {
            if left >= length {
                text.push_str(&(left / length).to_string());
                text.push_str(unit);
                left %= length;
            }
        }
        text.into()
    }

    fn stand_in() -> Self {
        Self::ZERO
    }
}

impl Grammar for SocketAddr {
    const SCALAR: Scalar = Scalar {
        name: "address",
        expected: "an address such as 127.0.0.1:53 or [::1]:53",
        schema: || json!({ "type": "string", "examples": ["127.0.0.1:53", "[::1]:53"] }),
    };

    fn parse(text: &str) -> Result<Self, Refused> {
        let address: Self = text.parse().map_err(|_| None)?;
        if address.port() == 0 {
            return Err(Some("an address with a port from 1 to 65535".into()));
        }
        Ok(address)
    }

    fn text(&self) -> Cow<'_, str> {
        self.to_string().into()
    }

    fn stand_in() -> Self {
        Self::from(([0, 0, 0, 0], 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("0s", Some((0, "0s"))),
            ("10s", Some((10_000_000, "10s"))),
            ("250ms", Some((250_000, "250ms"))),
            ("1500ms", Some((1_500_000, "1s500ms"))),
            ("1h", Some((3_600_000_000, "1h"))),
            ("90s", Some((90_000_000, "1m30s"))),
            ("1m30s", Some((90_000_000, "1m30s"))),
            ("1h0m0s1us", Some((3_600_000_001, "1h1us"))),
            ("87600h", Some((LONGEST, "87600h"))),
            ("87601h", None),
            ("99999999999999999999h", None),
            ("9999999999999999h", None),
            ("", None),
            ("10", None),
            ("s", None),
            ("10 s", None),
            ("1.5s", None),
            ("-1s", None),
            ("1s1m", None),
            ("1s1s", None),
            ("1d", None),
            ("1S", None),
            ("1s ", None),
            ("1sx", None),
        ] {
            let duration = <Duration as Grammar>::parse(text).ok();
            let expected = expected.map(|(micros, text)| (Duration::from_micros(micros), text));
            assert_eq!(duration, expected.map(|(duration, _)| duration), "{text}");
            if let Some((duration, text)) = expected {
                assert_eq!(duration.text(), text);
            }
        }
    }

    #[test]
    fn whole_numbers() {
        for (text, expected) in [
            ("0", Some(0)),
            ("10", Some(10)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("007", None),
            ("+1", None),
            ("-1", None),
            ("1.0", None),
            ("1e3", None),
            ("0x10", None),
            ("", None),
        ] {
            assert_eq!(whole(text), expected, "{text}");
        }
    }
}
