//! What all types say about themselves, collected for the schema and the reference.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::{Bounded, Model, writer};

/// Definitions of all named types, in the order in which a reader of the configuration meets them.
#[derive(Default)]
pub(crate) struct Catalogue {
    pub(crate) definitions: Vec<Definition>,
    /// Types whose definition is being made.
    open: Vec<&'static str>,
    pub(crate) scalars: Vec<&'static Scalar>,
}

/// A value with a grammar of its own.
#[derive(Debug)]
pub(crate) struct Scalar {
    /// What it is called in the reference.
    pub(crate) name: &'static str,
    /// What is expected, as part of a sentence.
    pub(crate) expected: &'static str,
    /// Its JSON Schema.
    pub(crate) schema: fn() -> Value,
}

/// How a type is referred to.
#[derive(Clone, Debug)]
pub(crate) enum TypeRef {
    Scalar(&'static Scalar),
    Named(&'static str),
    List(Box<TypeRef>),
    /// An object with any keys.
    Map(Box<TypeRef>),
}

/// A named type.
pub(crate) struct Definition {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) shape: Shape,
}

pub(crate) enum Shape {
    Object {
        fields: Vec<Field>,
        /// The field that a bare value stands for.
        short: Option<&'static str>,
    },
    Words(Vec<(&'static str, &'static str)>),
    OneOf(Vec<Variant>),
}

/// A field of an object.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) value: TypeRef,
    pub(crate) default: FieldDefault,
    pub(crate) range: Option<(Value, Value)>,
}

/// What holds where a field is not given.
pub(crate) enum FieldDefault {
    Required,
    Absent,
    Value(Value),
}

/// One of several keys of an object.
pub(crate) struct Variant {
    pub(crate) word: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) value: TypeRef,
    /// Whether the bare word may stand for the object.
    pub(crate) alone: bool,
}

impl Catalogue {
    /// Everything that `T` refers to.
    pub(crate) fn of<T: Model>() -> Self {
        let mut catalogue = Self::default();
        T::describe(&mut catalogue);
        catalogue
    }

    /// Adds a definition once.
    pub(crate) fn named(
        &mut self,
        name: &'static str,
        define: impl FnOnce(&mut Self) -> Definition,
    ) -> TypeRef {
        let known = self.definitions.iter().any(|d| d.name == name) || self.open.contains(&name);
        if !known {
            self.open.push(name);
            // Before the types it refers to.
            let place = self.definitions.len();
            let definition = define(self);
            self.definitions.insert(place, definition);
            self.open.pop();
        }
        TypeRef::Named(name)
    }

    pub(crate) fn scalar(&mut self, scalar: &'static Scalar) -> TypeRef {
        if !self.scalars.iter().any(|known| known.name == scalar.name) {
            self.scalars.push(scalar);
        }
        TypeRef::Scalar(scalar)
    }

    pub(crate) fn field<T: Model>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        default: Option<fn() -> T>,
        range: Option<(Value, Value)>,
    ) -> Field {
        Field {
            name,
            doc,
            value: T::describe(self),
            default: match default.map(|default| default()) {
                None => FieldDefault::Required,
                Some(value) if value.is_absent() => FieldDefault::Absent,
                Some(value) => FieldDefault::Value(writer::to_json(&value)),
            },
            range,
        }
    }

    /// The bounds of a field of type `F`.
    pub(crate) fn range<F: Bounded<T>, T: Model>(range: &RangeInclusive<T>) -> (Value, Value) {
        (writer::to_json(range.start()), writer::to_json(range.end()))
    }
}

/// What is expected where a `T` is missing.
pub(crate) fn phrase<T: Model>() -> String {
    let mut catalogue = Catalogue::default();
    match T::describe(&mut catalogue) {
        TypeRef::Scalar(scalar) => scalar.expected.to_owned(),
        TypeRef::List(_) => "a list".to_owned(),
        TypeRef::Map(_) => "an object".to_owned(),
        TypeRef::Named(name) => match catalogue.definitions.first().map(|d| &d.shape) {
            Some(Shape::Words(words)) => {
                let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                super::reader::one_of(&words)
            }
            _ => format!("an object ({name})"),
        },
    }
}
