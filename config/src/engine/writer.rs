//! Writing: canonical JSON for hashes and the wire, and the full form for a dump.

use std::cell::RefCell;

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::Model;
use crate::problem::Segment;
use crate::text::Redactions;

/// How values are written.
pub(crate) struct Writing<'r> {
    form: Form<'r>,
    /// Where we are; kept only where something is to be hidden.
    path: RefCell<Vec<Segment>>,
}

enum Form<'r> {
    /// Defaults left out, short forms where they say everything.
    Canonical,
    /// Everything, with defaults; what came from the environment as it was written.
    Full(&'r Redactions),
}

impl<'r> Writing<'r> {
    pub(crate) fn canonical() -> Self {
        Self {
            form: Form::Canonical,
            path: RefCell::default(),
        }
    }

    pub(crate) fn full(redactions: &'r Redactions) -> Self {
        Self {
            form: Form::Full(redactions),
            path: RefCell::default(),
        }
    }

    pub(crate) fn is_canonical(&self) -> bool {
        matches!(self.form, Form::Canonical)
    }

    /// Whether a field is written.
    pub(crate) fn keeps<T: Model>(&self, value: &T, default: Option<fn() -> T>) -> bool {
        if value.is_absent() {
            return false;
        }
        match (&self.form, default) {
            (Form::Full(_), _) | (_, None) => true,
            (Form::Canonical, Some(default)) => default() != *value,
        }
    }

    /// Whether the field `name` alone says everything and may stand for the object.
    pub(crate) fn is_short(
        &self,
        short: &[&str],
        kept: &[bool],
        names: &[&str],
        name: &str,
    ) -> bool {
        self.is_canonical()
            && short == [name]
            && names
                .iter()
                .zip(kept)
                .all(|(other, kept)| *kept == (*other == name))
    }

    pub(crate) fn field<T: Model, M: SerializeMap>(
        &self,
        object: &mut M,
        name: &'static str,
        value: &T,
    ) -> Result<(), M::Error> {
        let segment = || Segment::Field(name.into());
        object.serialize_entry(name, &Written::at(value, self, &segment))
    }

    pub(crate) fn entry<T: Model, M: SerializeMap>(
        &self,
        object: &mut M,
        name: &str,
        value: &T,
    ) -> Result<(), M::Error> {
        let segment = || Segment::Field(name.to_owned().into());
        object.serialize_entry(name, &Written::at(value, self, &segment))
    }

    pub(crate) fn list<T: Model, S: Serializer>(
        &self,
        to: S,
        list: &[T],
    ) -> Result<S::Ok, S::Error> {
        let mut items = to.serialize_seq(Some(list.len()))?;
        for (index, item) in (0..).zip(list) {
            let segment = || Segment::Index(index);
            items.serialize_element(&Written::at(item, self, &segment))?;
        }
        items.end()
    }

    /// An object with one key.
    pub(crate) fn single<T: Model, S: Serializer>(
        &self,
        to: S,
        word: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let mut object = to.serialize_map(Some(1))?;
        self.field(&mut object, word, value)?;
        object.end()
    }
}

/// A value on its way out.
pub(crate) struct Written<'w, 'r, T> {
    value: &'w T,
    cx: &'w Writing<'r>,
    segment: Option<&'w dyn Fn() -> Segment>,
}

impl<'w, 'r, T> Written<'w, 'r, T> {
    pub(crate) fn new(value: &'w T, cx: &'w Writing<'r>) -> Self {
        Self {
            value,
            cx,
            segment: None,
        }
    }

    fn at(value: &'w T, cx: &'w Writing<'r>, segment: &'w dyn Fn() -> Segment) -> Self {
        Self {
            value,
            cx,
            segment: Some(segment),
        }
    }
}

impl<T: Model> Serialize for Written<'_, '_, T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let redactions = match self.cx.form {
            Form::Full(redactions) if !redactions.is_empty() => redactions,
            _ => return self.value.write(to, self.cx),
        };
        let Some(segment) = self.segment else {
            return self.value.write(to, self.cx);
        };
        self.cx.path.borrow_mut().push(segment());
        let written = redactions.at(&self.cx.path.borrow());
        let result = match written {
            Some(written) => to.serialize_str(written),
            None => self.value.write(to, self.cx),
        };
        self.cx.path.borrow_mut().pop();
        result
    }
}

/// A value as JSON.
pub(crate) fn to_json<T: Model>(value: &T) -> serde_json::Value {
    // Every value is written from text, numbers and maps with text keys, which cannot fail.
    serde_json::to_value(Written::new(value, &Writing::canonical())).unwrap_or_default()
}

/// A value for the eyes: text without quotes.
pub(crate) fn display<T: Model>(value: &T) -> String {
    show(&to_json(value))
}

/// JSON for the eyes: text without quotes.
pub(crate) fn show(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
