//! From one declaration of each type to everything that is needed of it: the Rust type, its
//! `Default`, a reader that collects every problem with its place, canonical JSON, JSON Schema,
//! and the reference.
//!
//! Why not serde's `Deserialize`: it stops at the first error and knows no places.
//!
//! ```text
//! model! {
//!     /// What it is.
//!     pub struct Endpoint from address keep weight {   // a bare value stands for `address`;
//!         /// What the field is.                       // `weight` is written even if it is the default
//!         /// Why: the reason of its default.
//!         address: EndpointAddress;                    // no default: required
//!         /// ...
//!         weight: u32 = 1, in 0..=65_535;              // default and range
//!     }
//!     pub enum Protocol { /** ... */ Http = "http"; }  // one of several words
//!     pub oneof Balance {                              // an object with exactly one of several keys
//!         /// ...
//!         Maglev = "maglev": Maglev;
//!         /// ...                                      // the bare word stands for this value
//!         Random = "random": Random, alone = Random {};
//!     }
//! }
//! ```

mod builtin;
mod catalogue;
mod reader;
mod writer;

#[cfg(test)]
pub(crate) mod generate;

pub(crate) use builtin::{Grammar, Refused, whole};
pub(crate) use catalogue::{
    Catalogue, Definition, Field, FieldDefault, Scalar, Shape, TypeRef, Variant,
};
pub(crate) use reader::{Chosen, Reader};
pub(crate) use writer::{Writing, Written, show};

use serde::{Serialize, Serializer};

use crate::text::Node;

/// A type of the configuration.
pub(crate) trait Model: Sized + PartialEq {
    /// Reads a value. What is wrong is added to the reader's problems; then the result is a
    /// stand-in, so that the rest is read nevertheless and lists keep their indices.
    fn read(node: Node<'_>, cx: &mut Reader<'_>) -> Self;

    /// What stands for a value that could not be read.
    fn stand_in() -> Self;

    /// Writes what `read` takes.
    fn write<S: Serializer>(&self, to: S, cx: &Writing<'_>) -> Result<S::Ok, S::Error>;

    /// What the reference and the schema say.
    fn describe(catalogue: &mut Catalogue) -> TypeRef;

    /// Whether there is nothing to write.
    fn is_absent(&self) -> bool {
        false
    }

    /// `Vec<Self>`; a type may take an object instead of a list.
    fn read_list(node: Node<'_>, cx: &mut Reader<'_>) -> Vec<Self> {
        cx.list(node)
    }

    /// Writes what `read_list` takes.
    fn write_list<S: Serializer>(
        list: &[Self],
        to: S,
        cx: &Writing<'_>,
    ) -> Result<S::Ok, S::Error> {
        cx.list(to, list)
    }

    /// What the reference and the schema say about `Vec<Self>`.
    fn describe_list(catalogue: &mut Catalogue) -> TypeRef {
        TypeRef::List(Box::new(Self::describe(catalogue)))
    }

    /// Whether the value lies between two bounds; an absent one does.
    fn lies_within<T: PartialOrd>(&self, range: &std::ops::RangeInclusive<T>) -> bool
    where
        Self: Bounded<T>,
    {
        self.bounded().is_none_or(|value| range.contains(value))
    }
}

/// A value that a range can hold: `T` itself, or `Option<T>`.
pub(crate) trait Bounded<T> {
    /// The value, if there is one.
    fn bounded(&self) -> Option<&T>;
}

impl<T> Bounded<T> for T {
    fn bounded(&self) -> Option<&T> {
        Some(self)
    }
}

impl<T> Bounded<T> for Option<T> {
    fn bounded(&self) -> Option<&T> {
        self.as_ref()
    }
}

/// Canonical JSON: keys in the order of the declaration, defaults left out, short forms where
/// they say everything.
pub(crate) fn serialize<T: Model, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    Written::new(value, &Writing::canonical()).serialize(to)
}

/// Declares types of the configuration; see the module's documentation.
macro_rules! model {
    () => {};
    // A struct whose fields all have defaults.
    ($(#[doc = $doc:literal])* pub struct $name:ident $(from $short:ident)? $(keep $keep:ident)? {
        $($(#[doc = $fdoc:literal])* $f:ident : $t:ty = $d:expr $(, in $r:expr)? ;)*
    } $($rest:tt)*) => {
        $crate::engine::model! { @struct [$($doc)*] $name [$($short)?] [$($keep)?]
            $([$($fdoc)*] $f [$t] [$d] [$($r)?];)* }
        impl Default for $name {
            fn default() -> Self {
                Self { $($f: $d,)* }
            }
        }
        $crate::engine::model! { $($rest)* }
    };
    // A struct with required fields.
    ($(#[doc = $doc:literal])* pub struct $name:ident $(from $short:ident)? $(keep $keep:ident)? {
        $($(#[doc = $fdoc:literal])* $f:ident : $t:ty $(= $d:expr)? $(, in $r:expr)? ;)*
    } $($rest:tt)*) => {
        $crate::engine::model! { @struct [$($doc)*] $name [$($short)?] [$($keep)?]
            $([$($fdoc)*] $f [$t] [$($d)?] [$($r)?];)* }
        $crate::engine::model! { $($rest)* }
    };
    (@struct [$($doc:literal)*] $name:ident [$($short:ident)?] [$($keep:ident)?]
        $([$($fdoc:literal)*] $f:ident [$t:ty] [$($d:expr)?] [$($r:expr)?];)*) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name { $($(#[doc = $fdoc])* pub $f: $t,)* }
        impl $crate::engine::Model for $name {
            #[allow(unused_assignments, unused_mut, unused_variables,
                reason = "a struct may be without fields, and the last count is not read")]
            fn read(node: $crate::text::Node<'_>, cx: &mut $crate::engine::Reader<'_>) -> Self {
                const NAMES: &[&str] = &[$(stringify!($f)),*];
                const SHORT: &[&str] = &[$(stringify!($short))?];
                let mut found = [$crate::engine::Reader::ABSENT; NAMES.len()];
                if !cx.fields(node, stringify!($name), NAMES, SHORT.first().copied(), &mut found) {
                    return Self::stand_in();
                }
                // Fields are read in the order of the declaration, which is that of NAMES.
                let mut found = found.into_iter();
                Self { $($f: {
                    let value = cx.field::<$t>(node, found.next(), stringify!($f),
                        $crate::engine::model!(@default [$t] $($d)?));
                    $(let value = cx.within(node, value, stringify!($f), &$r);)?
                    value
                },)* }
            }
            fn stand_in() -> Self {
                Self { $($f: $crate::engine::model!(@stand_in [$t] $($d)?),)* }
            }
            #[allow(unused_variables, unused_mut, reason = "a struct may be without fields")]
            fn write<S: serde::Serializer>(
                &self,
                to: S,
                cx: &$crate::engine::Writing<'_>,
            ) -> Result<S::Ok, S::Error> {
                const NAMES: &[&str] = &[$(stringify!($f)),*];
                let short: &[&str] = &[$(stringify!($short))?];
                let keep: &[&str] = &[$(stringify!($keep))?];
                let kept: [bool; NAMES.len()] = [$(
                    cx.keeps(&self.$f, $crate::engine::model!(@default [$t] $($d)?))
                        || keep.contains(&stringify!($f))
                ),*];
                let count = kept.iter().filter(|kept| **kept).count();
                let mut kept_names = NAMES.iter().zip(kept);
                $(if cx.is_short(short, &kept, NAMES, stringify!($f)) {
                    return $crate::engine::Model::write(&self.$f, to, cx);
                })*
                let mut object = serde::Serializer::serialize_map(to, Some(count))?;
                $(if kept_names.next().is_some_and(|(_, kept)| kept) {
                    cx.field(&mut object, stringify!($f), &self.$f)?;
                })*
                serde::ser::SerializeMap::end(object)
            }
            #[allow(unused_variables, reason = "a struct may be without fields")]
            fn describe(catalogue: &mut $crate::engine::Catalogue) -> $crate::engine::TypeRef {
                catalogue.named(stringify!($name), |catalogue| $crate::engine::Definition {
                    name: stringify!($name),
                    doc: concat!($($doc, "\n"),*),
                    shape: $crate::engine::Shape::Object {
                        fields: vec![$(catalogue.field::<$t>(
                            stringify!($f),
                            concat!($($fdoc, "\n"),*),
                            $crate::engine::model!(@default [$t] $($d)?),
                            $crate::engine::model!(@range [$t] $($r)?),
                        )),*],
                        short: [$(stringify!($short))?].first().copied(),
                    },
                })
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                $crate::engine::serialize(self, to)
            }
        }
        #[cfg(test)]
        impl $crate::engine::generate::Generate for $name {
            #[allow(unused_variables, reason = "a struct may be without fields")]
            fn generate(random: &mut $crate::engine::generate::Random) -> Self {
                Self { $($f: $crate::engine::model!(@generate random [$t] [$($d)?] [$($r)?]),)* }
            }
        }
    };
    // One of several words.
    ($(#[doc = $doc:literal])* pub enum $name:ident {
        $($(#[doc = $vdoc:literal])* $v:ident = $s:literal ;)*
    } $($rest:tt)*) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[doc = $vdoc])* $v,)* }
        impl $name {
            /// The word it is written as.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$v => $s,)* }
            }
        }
        impl $crate::engine::Model for $name {
            fn read(node: $crate::text::Node<'_>, cx: &mut $crate::engine::Reader<'_>) -> Self {
                match cx.word(node, &[$($s),*]) {
                    $(Some($s) => Self::$v,)*
                    _ => Self::stand_in(),
                }
            }
            fn stand_in() -> Self {
                const FIRST: &[$name] = &[$($name::$v),*];
                FIRST[0]
            }
            fn write<S: serde::Serializer>(
                &self,
                to: S,
                _: &$crate::engine::Writing<'_>,
            ) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
            fn describe(catalogue: &mut $crate::engine::Catalogue) -> $crate::engine::TypeRef {
                catalogue.named(stringify!($name), |_| $crate::engine::Definition {
                    name: stringify!($name),
                    doc: concat!($($doc, "\n"),*),
                    shape: $crate::engine::Shape::Words(vec![$(($s, concat!($($vdoc, "\n"),*))),*]),
                })
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }
        #[cfg(test)]
        impl $crate::engine::generate::Generate for $name {
            fn generate(random: &mut $crate::engine::generate::Random) -> Self {
                random.one_of(&[$(Self::$v),*])
            }
        }
        $crate::engine::model! { $($rest)* }
    };
    // An object with exactly one of several keys.
    ($(#[doc = $doc:literal])* pub oneof $name:ident {
        $($(#[doc = $vdoc:literal])* $v:ident = $s:literal : $t:ty $(, alone = $alone:expr)? ;)*
    } $($rest:tt)*) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $name { $($(#[doc = $vdoc])* $v($t),)* }
        impl $crate::engine::Model for $name {
            fn read(node: $crate::text::Node<'_>, cx: &mut $crate::engine::Reader<'_>) -> Self {
                const WORDS: &[(&str, bool)] =
                    &[$(($s, $crate::engine::model!(@given $($alone)?))),*];
                match cx.choice(node, stringify!($name), WORDS) {
                    $($(Some(($s, $crate::engine::Chosen::Word)) => Self::$v($alone),)?)*
                    $(Some(($s, $crate::engine::Chosen::Value(value))) => {
                        Self::$v(cx.at_field($s, |cx| $crate::engine::Model::read(value, cx)))
                    })*
                    _ => Self::stand_in(),
                }
            }
            #[allow(unreachable_code, reason = "the first of several returns")]
            fn stand_in() -> Self {
                $(return Self::$v(<$t as $crate::engine::Model>::stand_in());)*
            }
            fn write<S: serde::Serializer>(
                &self,
                to: S,
                cx: &$crate::engine::Writing<'_>,
            ) -> Result<S::Ok, S::Error> {
                match self {
                    $($(Self::$v(value) if cx.is_canonical() && *value == $alone => {
                        to.serialize_str($s)
                    })?
                    Self::$v(value) => cx.single(to, $s, value),)*
                }
            }
            fn describe(catalogue: &mut $crate::engine::Catalogue) -> $crate::engine::TypeRef {
                catalogue.named(stringify!($name), |catalogue| $crate::engine::Definition {
                    name: stringify!($name),
                    doc: concat!($($doc, "\n"),*),
                    shape: $crate::engine::Shape::OneOf(vec![$($crate::engine::Variant {
                        word: $s,
                        doc: concat!($($vdoc, "\n"),*),
                        value: <$t as $crate::engine::Model>::describe(catalogue),
                        alone: $crate::engine::model!(@given $($alone)?),
                    }),*]),
                })
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                $crate::engine::serialize(self, to)
            }
        }
        #[cfg(test)]
        impl $crate::engine::generate::Generate for $name {
            fn generate(random: &mut $crate::engine::generate::Random) -> Self {
                let variants: &[fn(&mut $crate::engine::generate::Random) -> Self] = &[$(
                    |random| Self::$v($crate::engine::generate::Generate::generate(random))
                ),*];
                let variant = random.one_of(variants);
                variant(random)
            }
        }
        $crate::engine::model! { $($rest)* }
    };
    (@default [$t:ty]) => { None::<fn() -> $t> };
    (@default [$t:ty] $d:expr) => { Some((|| $d) as fn() -> $t) };
    (@stand_in [$t:ty]) => { <$t as $crate::engine::Model>::stand_in() };
    (@stand_in [$t:ty] $d:expr) => { $d };
    (@range [$t:ty]) => { None };
    (@range [$t:ty] $r:expr) => { Some($crate::engine::Catalogue::range::<$t, _>(&$r)) };
    (@given) => { false };
    (@given $given:expr) => { true };
    (@generate $random:ident [$t:ty] [] []) => {
        $crate::engine::generate::Generate::generate($random)
    };
    (@generate $random:ident [$t:ty] [$d:expr] []) => {
        if $random.flip() { $d } else { $crate::engine::generate::Generate::generate($random) }
    };
    (@generate $random:ident [$t:ty] [$($d:expr)?] [$r:expr]) => {
        $crate::engine::generate::GenerateIn::generate_in($random, &$r)
    };
}
pub(crate) use model;
