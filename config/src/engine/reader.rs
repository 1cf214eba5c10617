//! Reading: where we are in the configuration, and what was found wrong so far.

use std::ops::RangeInclusive;

use super::{Bounded, Model, writer};
use crate::nearest::nearest;
use crate::problem::{Collected, Found, Segment};
use crate::text::{Document, Kind, Node, Value};

/// State of reading one document.
pub(crate) struct Reader<'d> {
    document: &'d Document<'d>,
    path: Vec<Segment>,
    pub(crate) problems: Collected,
    /// Problems before the field that was read last.
    before: usize,
}

/// How one of several variants was chosen.
pub(crate) enum Chosen<'d> {
    /// By the bare word.
    Word,
    /// By a key with this value.
    Value(Node<'d>),
}

impl<'d> Reader<'d> {
    /// No place in a document.
    pub(crate) const ABSENT: u32 = u32::MAX;
    /// The object itself: a bare value that stands for one of its fields.
    const SELF: u32 = u32::MAX - 1;

    pub(crate) fn new(document: &'d Document<'d>, problems: Collected) -> Self {
        Self {
            document,
            path: Vec::new(),
            problems,
            before: 0,
        }
    }

    /// Adds a problem with the value at `node`, which is the one being read.
    pub(crate) fn problem(&mut self, node: Node<'_>, found: impl Into<String>, expected: &str) {
        // One problem for one value.
        if node.entry().kind == Kind::Broken {
            return;
        }
        let problem = Found::new(self.path.clone(), Some(node.at()), found);
        self.problems.add(problem.expected(expected.to_owned()));
    }

    /// Adds a problem: a value of the wrong kind, or one that its grammar refuses.
    pub(crate) fn unexpected(&mut self, node: Node<'_>, expected: &str) {
        let found = found(node);
        self.problem(node, found, expected);
    }

    /// Adds a problem: a word that is none of those known.
    pub(crate) fn unknown(&mut self, node: Node<'_>, word: &str, known: &[&str]) {
        let mut problem = Found::new(self.path.clone(), Some(node.at()), found(node));
        problem = problem.expected(one_of(known));
        if !node.entry().substituted {
            problem = problem.nearest(nearest(word, known.iter().copied()));
        }
        self.problems.add(problem);
    }

    /// Does something with the path one field longer.
    pub(crate) fn at_field<T>(
        &mut self,
        name: &'static str,
        act: impl FnOnce(&mut Self) -> T,
    ) -> T {
        self.at(Segment::Field(name.into()), act)
    }

    /// The same for a key that is not part of the model.
    pub(crate) fn at_key<T>(&mut self, name: &str, act: impl FnOnce(&mut Self) -> T) -> T {
        self.at(Segment::Field(name.to_owned().into()), act)
    }

    fn at<T>(&mut self, segment: Segment, act: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(segment);
        let result = act(self);
        self.path.pop();
        result
    }

    /// Finds the fields of an object. False if it is no object.
    pub(crate) fn fields(
        &mut self,
        node: Node<'_>,
        object: &str,
        names: &'static [&'static str],
        short: Option<&'static str>,
        found: &mut [u32],
    ) -> bool {
        if !matches!(node.entry().value, Value::Object { .. }) {
            let Some(place) = short.and_then(|short| names.iter().position(|n| *n == short)) else {
                self.unexpected(node, &object_phrase(object));
                return false;
            };
            found[place] = Self::SELF;
            return true;
        }
        // Most texts keep the order of the declaration, so the search goes on where it ended.
        let mut next = 0;
        for (key, value) in node.fields() {
            let Some((name, _)) = key.scalar() else {
                continue;
            };
            let (before, after) = names.split_at(next);
            let place = after.iter().position(|known| *known == name);
            let place = place
                .map(|place| place + next)
                .or_else(|| before.iter().position(|known| *known == name));
            match place {
                Some(place) if found[place] == Self::ABSENT => {
                    found[place] = value.place();
                    next = place + 1;
                }
                Some(_) => self.key_twice(key, name),
                None => self.unknown_key(key, name, names),
            }
        }
        true
    }

    /// Adds a problem with a key that does not belong here.
    fn unknown_key(&mut self, key: Node<'_>, name: &str, known: &[&str]) {
        let mut problem = Found::new(self.key_path(name), Some(key.at()), "unknown field");
        if known.is_empty() {
            problem = problem.expected("no fields");
        } else {
            let nearest = nearest(name, known.iter().copied());
            problem = problem.expected(one_of(known)).nearest(nearest);
        }
        self.problems.add(problem);
    }

    /// Adds a problem with a key that its grammar refuses.
    pub(crate) fn wrong_key(&mut self, key: Node<'_>, name: &str, expected: &'static str) {
        let problem = Found::new(
            self.key_path(name),
            Some(key.at()),
            format!("found {}", quoted(name)),
        );
        self.problems.add(problem.expected(expected));
    }

    /// Adds a problem with a key that stands there a second time.
    pub(crate) fn key_twice(&mut self, key: Node<'_>, name: &str) {
        let problem = Found::new(self.key_path(name), Some(key.at()), "given twice");
        self.problems.add(problem);
    }

    fn key_path(&self, name: &str) -> Vec<Segment> {
        let mut path = self.path.clone();
        path.push(Segment::Field(name.to_owned().into()));
        path
    }

    /// Reads a field that was found, or takes its default.
    pub(crate) fn field<T: Model>(
        &mut self,
        object: Node<'_>,
        found: Option<u32>,
        name: &'static str,
        default: Option<fn() -> T>,
    ) -> T {
        self.before = self.problems.count();
        match (found, default) {
            // The path stays as it is written.
            (Some(Self::SELF), _) => T::read(object, self),
            (Some(place), _) if place != Self::ABSENT => {
                let node = self.document.node(place);
                self.path.push(Segment::Field(name.into()));
                // Nested fields count for themselves.
                let before = self.before;
                let value = T::read(node, self);
                self.before = before;
                self.path.pop();
                value
            }
            (_, Some(default)) => default(),
            (_, None) => {
                let expected = super::catalogue::phrase::<T>();
                self.at_field(name, |cx| cx.problem(object, "missing", &expected));
                T::stand_in()
            }
        }
    }

    /// Checks the bounds of the field that was read last, unless it was already found wrong.
    pub(crate) fn within<T, F>(
        &mut self,
        object: Node<'_>,
        value: F,
        name: &'static str,
        range: &RangeInclusive<T>,
    ) -> F
    where
        T: Model + PartialOrd,
        F: Model + Bounded<T>,
    {
        let is_unread = self.problems.count() != self.before;
        if !is_unread && value.lies_within(range) {
            return value;
        }
        let (low, high) = (range.start(), range.end());
        let (low, high) = (writer::display(low), writer::display(high));
        let bounds = if low == high {
            low
        } else {
            format!("{low} to {high}")
        };
        let segment = Segment::Field(name.into());
        if is_unread {
            self.problems.amend(&self.path, &segment, &bounds);
        } else {
            let node = object.field(name).unwrap_or(object);
            self.at(segment, |cx| cx.unexpected(node, &bounds));
        }
        value
    }

    /// Reads the items of a list.
    pub(crate) fn list<T: Model>(&mut self, node: Node<'_>) -> Vec<T> {
        if !matches!(node.entry().value, Value::List { .. }) {
            self.unexpected(node, "a list");
            return Vec::new();
        }
        let items = node.items();
        // Exactly as long as needed: there may be 10,000 of them.
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in (0..).zip(items) {
            self.path.push(Segment::Index(index));
            list.push(T::read(item, self));
            self.path.pop();
        }
        list
    }

    /// Reads one of several words.
    pub(crate) fn word(
        &mut self,
        node: Node<'_>,
        words: &'static [&'static str],
    ) -> Option<&'static str> {
        let Some((text, Kind::Text)) = node.scalar() else {
            self.unexpected(node, &one_of(words));
            return None;
        };
        let word = words.iter().find(|word| **word == text);
        if word.is_none() {
            self.unknown(node, text, words);
        }
        word.copied()
    }

    /// Reads which of several variants an object holds.
    pub(crate) fn choice<'n>(
        &mut self,
        node: Node<'n>,
        object: &str,
        words: &'static [(&'static str, bool)],
    ) -> Option<(&'static str, Chosen<'n>)> {
        let chosen = self.choose(node, object, words);
        if chosen.is_none() {
            // What stands in for it is not to be judged.
            self.problems.add_unread(self.path.clone());
        }
        chosen
    }

    fn choose<'n>(
        &mut self,
        node: Node<'n>,
        object: &str,
        words: &'static [(&'static str, bool)],
    ) -> Option<(&'static str, Chosen<'n>)> {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        if let Some((text, Kind::Text)) = node.scalar() {
            match words.iter().find(|(word, _)| *word == text) {
                Some((word, true)) => return Some((word, Chosen::Word)),
                Some((word, false)) => {
                    self.unexpected(node, &format!("an object: {{ {word}: ... }}"));
                }
                None if words.iter().any(|(_, alone)| *alone) => self.unknown(node, text, &names),
                None => self.unexpected(node, &format!("an object with {}", exactly(&names))),
            }
            return None;
        }
        if !matches!(node.entry().value, Value::Object { .. }) {
            let what = object_phrase(object);
            self.unexpected(node, &format!("{what} with {}", exactly(&names)));
            return None;
        }
        let mut chosen = None;
        let mut known = 0;
        let mut unknown = 0;
        for (key, value) in node.fields() {
            let Some((name, _)) = key.scalar() else {
                continue;
            };
            if let Some((word, _)) = words.iter().find(|(word, _)| *word == name) {
                known += 1;
                chosen = Some((*word, Chosen::Value(value)));
            } else {
                unknown += 1;
                self.unknown_key(key, name, &names);
            }
        }
        match (known, unknown) {
            (1, _) => return chosen,
            // The misspelt one may be the one that was meant.
            (0, 1..) => {}
            (0, 0) => self.problem(node, "found an empty object", &exactly(&names)),
            _ => {
                let keys = node.fields().filter_map(|(key, _)| key.scalar());
                let keys: Vec<&str> = keys.map(|(text, _)| text).collect();
                self.problem(
                    node,
                    format!("found {} together", keys.join(", ")),
                    &exactly(&names),
                );
            }
        }
        None
    }
}

/// `an object (Listener)`.
fn object_phrase(object: &str) -> String {
    format!("an object ({object})")
}

fn exactly(names: &[&str]) -> String {
    format!("exactly {}", one_of(names))
}

/// `one of a, b, c`.
pub(crate) fn one_of(names: &[&str]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [name] => (*name).to_owned(),
        names => format!("one of {}", names.join(", ")),
    }
}

/// `found "text"`, `found the number 5`, `found a list`.
pub(crate) fn found(node: Node<'_>) -> String {
    // Whoever reads the problem may not be allowed to read the environment.
    if node.entry().substituted {
        return "found a value from the environment".to_owned();
    }
    match (node.scalar(), &node.entry().value) {
        (Some((_, Kind::Null)), _) => "found nothing (null)".to_owned(),
        (Some((text, Kind::Bool | Kind::Number)), _) => format!("found {text}"),
        (Some((text, Kind::Text | Kind::Broken)), _) => format!("found {}", quoted(text)),
        (_, Value::List { .. }) => "found a list".to_owned(),
        _ => "found an object".to_owned(),
    }
}

/// A text in quotes, shortened if it is long.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}
