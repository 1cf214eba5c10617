//! The tree of a text, kept as one list of entries: an object is its entry, then key and value by
//! turns; a list is its entry, then its items. One allocation holds it all, so that its memory
//! goes back to the system when reading is done.

use std::borrow::Cow;

use super::MAX_VALUES;
use crate::problem::Segment;

/// A text that was read.
#[derive(Debug)]
pub(crate) struct Document<'t> {
    pub(super) entries: Vec<Entry<'t>>,
    text: &'t str,
    unit: Unit,
}

/// What `Entry::at` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Bytes,
    Characters,
}

/// One value, or a key.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'t> {
    pub(crate) value: Value<'t>,
    /// Where it begins in the text.
    pub(crate) at: u32,
    pub(crate) kind: Kind,
    /// Whether a value from the environment is part of it.
    pub(crate) substituted: bool,
}

/// The shape of an entry. `end` is the place after its last descendant.
#[derive(Clone, Debug)]
pub(crate) enum Value<'t> {
    Scalar(Cow<'t, str>),
    List { len: u32, end: u32 },
    Object { len: u32, end: u32 },
    Alias(u32),
}

/// What a scalar is by the rules of its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool,
    Number,
    Text,
    /// Already known to be wrong.
    Broken,
}

impl<'t> Document<'t> {
    pub(super) fn new(text: &'t str, unit: Unit) -> Self {
        Self {
            entries: Vec::new(),
            text,
            unit,
        }
    }

    /// A document without values, to look up a place in a text that could not be read.
    pub(crate) fn of_text(text: &'t str, format: super::Format) -> Self {
        Self::new(
            text,
            match format {
                super::Format::Json => Unit::Bytes,
                super::Format::Yaml => Unit::Characters,
            },
        )
    }

    /// Adds an entry and returns its place. The caller bounds the number of entries.
    pub(super) fn push(&mut self, at: u32, kind: Kind, value: Value<'t>) -> u32 {
        let place = self.len();
        self.entries.push(Entry {
            value,
            at,
            kind,
            substituted: false,
        });
        place
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= MAX_VALUES
    }

    pub(crate) fn root(&self) -> Node<'_> {
        Node {
            document: self,
            place: 0,
        }
    }

    pub(crate) fn node(&self, place: u32) -> Node<'_> {
        Node {
            document: self,
            place,
        }
    }

    /// The deepest value on `path` that exists, and whether it is the one asked for.
    pub(crate) fn find(&self, path: &[Segment]) -> (Node<'_>, bool) {
        let mut node = self.root();
        for segment in path {
            let next = match segment {
                Segment::Field(name) => node.field(name),
                Segment::Index(index) => node.items().nth(*index as usize),
            };
            match next {
                Some(next) => node = next,
                None => return (node, false),
            }
        }
        (node, true)
    }

    /// Line and column, both from 1, of each of `sorted`, which must rise.
    pub(crate) fn places(&self, sorted: &[u32]) -> Vec<(u32, u32)> {
        let mut places = Vec::with_capacity(sorted.len());
        let mut characters = self.text.char_indices().enumerate().peekable();
        let (mut line, mut column) = (1, 1);
        for &wanted in sorted {
            while let Some(&(count, (byte, character))) = characters.peek() {
                let here = match self.unit {
                    Unit::Bytes => byte,
                    Unit::Characters => count,
                };
                if here >= wanted as usize {
                    break;
                }
                characters.next();
                let crlf =
                    character == '\r' && characters.peek().is_some_and(|&(_, (_, c))| c == '\n');
                if character == '\n' || (character == '\r' && !crlf) {
                    line += 1;
                    column = 1;
                } else if character != '\u{feff}' {
                    column += 1;
                }
            }
            places.push((line, column));
        }
        places
    }
}

/// A value in its document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node<'d> {
    document: &'d Document<'d>,
    place: u32,
}

impl<'d> Node<'d> {
    /// The entry, behind aliases.
    pub(crate) fn entry(self) -> &'d Entry<'d> {
        self.resolve().raw()
    }

    fn raw(self) -> &'d Entry<'d> {
        &self.document.entries[self.place as usize]
    }

    /// Aliases point backwards to what is not an alias, so one step is enough.
    fn resolve(self) -> Self {
        match self.raw().value {
            Value::Alias(place) => Self { place, ..self },
            _ => self,
        }
    }

    /// Where the value is written; for an alias, where the alias is.
    pub(crate) fn at(self) -> u32 {
        self.raw().at
    }

    /// Where the value stands in the list, behind aliases.
    pub(super) fn resolved_place(self) -> u32 {
        self.resolve().place
    }

    /// Where the value stands in the list, to come back to with [`Document::node`].
    pub(crate) fn place(self) -> u32 {
        self.place
    }

    /// The text of a scalar.
    pub(crate) fn scalar(self) -> Option<(&'d str, Kind)> {
        let entry = self.entry();
        match &entry.value {
            Value::Scalar(text) => Some((text, entry.kind)),
            _ => None,
        }
    }

    /// The text of a scalar of this kind. One that came from the environment counts as if it had
    /// been written without quotes.
    pub(crate) fn plain(self, kind: Kind) -> Option<&'d str> {
        let (text, actual) = self.scalar()?;
        let from_environment = actual == Kind::Text && self.entry().substituted;
        (actual == kind || from_environment).then_some(text)
    }

    /// The items of a list; none of what is no list.
    pub(crate) fn items(self) -> Items<'d> {
        let node = self.resolve();
        let left = match node.raw().value {
            Value::List { len, .. } => len,
            _ => 0,
        };
        node.children(left)
    }

    /// Keys and values of an object; none of what is no object.
    pub(crate) fn fields(self) -> Fields<'d> {
        let node = self.resolve();
        let left = match node.raw().value {
            Value::Object { len, .. } => len,
            _ => 0,
        };
        Fields(node.children(left.saturating_mul(2)))
    }

    /// The value of a key.
    pub(crate) fn field(self, name: &str) -> Option<Self> {
        self.fields()
            .find(|(key, _)| key.scalar().is_some_and(|(text, _)| text == name))
            .map(|(_, value)| value)
    }

    fn children(self, left: u32) -> Items<'d> {
        Items {
            next: Self {
                place: self.place + 1,
                ..self
            },
            left,
        }
    }

    /// The value after this one and all it holds.
    fn after(self) -> Self {
        let place = match self.raw().value {
            Value::Scalar(_) | Value::Alias(_) => self.place + 1,
            Value::List { end, .. } | Value::Object { end, .. } => end,
        };
        Self { place, ..self }
    }
}

/// Values that follow one another.
#[derive(Clone, Debug)]
pub(crate) struct Items<'d> {
    next: Node<'d>,
    left: u32,
}

impl<'d> Iterator for Items<'d> {
    type Item = Node<'d>;

    fn next(&mut self) -> Option<Node<'d>> {
        self.left = self.left.checked_sub(1)?;
        let node = self.next;
        if self.left > 0 {
            self.next = node.after();
        }
        Some(node)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Items<'_> {}

/// Keys with their values.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'d>(Items<'d>);

impl<'d> Iterator for Fields<'d> {
    type Item = (Node<'d>, Node<'d>);

    fn next(&mut self) -> Option<(Node<'d>, Node<'d>)> {
        Some((self.0.next()?, self.0.next()?))
    }
}

impl Fields<'_> {
    pub(crate) fn len(&self) -> usize {
        self.0.len() / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_stays_small() {
        assert_eq!(size_of::<Entry<'_>>(), 32);
    }

    #[test]
    fn places_count_lines_and_characters() {
        let text = "a\r\nbö\nc\rd";
        for (unit, expected) in [
            (Unit::Characters, [(1, 1), (2, 1), (2, 3), (3, 1), (4, 1)]),
            (Unit::Bytes, [(1, 1), (2, 1), (2, 3), (3, 1), (4, 1)]),
        ] {
            let places = match unit {
                Unit::Characters => [0, 3, 5, 6, 8],
                Unit::Bytes => [0, 3, 6, 7, 9],
            };
            let document = Document::new(text, unit);
            assert_eq!(document.places(&places), expected, "{unit:?}");
        }
    }
}
