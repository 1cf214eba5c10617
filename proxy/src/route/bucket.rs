//! Rules whose hosts and paths are the same, best first. Where there are many, those that ask for
//! a field or a query parameter are found by its value instead of one after the other.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::FixedState;

use super::{
    Rule,
    matcher::{Condition, HOST, Match, Test},
    query,
    strings::{Strings, lower_case},
};
use crate::message::RequestView;

/// One match of one rule.
pub(super) struct Entry {
    pub(super) rule: Arc<Rule>,
    pub(super) index: u32,
}

/// Entries that the path does not tell apart.
pub(super) enum Bucket {
    One(Entry),
    Many(Vec<Entry>),
    Indexed(Box<Indexed>),
}

/// From this many entries on an index pays.
const WORTH_AN_INDEX: usize = 8;
/// Longest name of a field that is indexed. Others are compared one by one.
const LONGEST_NAME: usize = 64;
/// Names per index, so that a word has a bit for each.
const MOST_NAMES: usize = 64;

impl Entry {
    pub(super) fn matcher(&self) -> Option<&Match> {
        self.rule.matches.get(self.index as usize)
    }

    fn holds(&self, path: &[u8], request: &RequestView<'_>) -> bool {
        self.matcher().is_some_and(|m| m.holds(path, request))
    }
}

impl Bucket {
    /// Adds an entry, after all that were configured before it.
    pub(super) fn push(bucket: &mut Option<Self>, entry: Entry) {
        *bucket = Some(match bucket.take() {
            None => Self::One(entry),
            Some(Self::One(first)) => Self::Many(vec![first, entry]),
            Some(Self::Many(mut entries)) => {
                entries.push(entry);
                Self::Many(entries)
            }
            Some(Self::Indexed(mut indexed)) => {
                indexed.entries.push(entry);
                Self::Many(indexed.entries)
            }
        });
    }

    /// Orders the entries and indexes them. To be called once all are there.
    pub(super) fn finish(&mut self) {
        let Self::Many(entries) = self else { return };
        // The sort is stable: equals stay in the order they were configured in.
        entries.sort_by_cached_key(|entry| entry.matcher().map(Match::precedence));
        entries.shrink_to_fit();
        if entries.len() >= WORTH_AN_INDEX {
            *self = Self::Indexed(Box::new(Indexed::new(std::mem::take(entries))));
        }
    }

    /// The best entry that a request meets.
    pub(super) fn find(&self, path: &[u8], request: &RequestView<'_>) -> Option<&Entry> {
        match self {
            Self::One(entry) => entry.holds(path, request).then_some(entry),
            Self::Many(entries) => entries.iter().find(|entry| entry.holds(path, request)),
            Self::Indexed(indexed) => indexed.find(path, request),
        }
    }
}

/// Entries with an index. Each entry is listed once: under one of its conditions, or in the rest.
pub(super) struct Indexed {
    entries: Vec<Entry>,
    fields: Strings<Name>,
    parameters: Strings<Name>,
    /// Entries that are compared one by one.
    rest: Vec<u32>,
}

/// Entries that ask for something of this name, by position, best first.
#[derive(Default)]
struct Name {
    /// Number of the name, below [`MOST_NAMES`].
    number: usize,
    /// By exact value.
    exact: Strings<Vec<u32>>,
    /// Those that do not ask for an exact value.
    other: Vec<u32>,
}

/// A condition an entry can be listed under: no request without such a field or parameter meets it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key<'a> {
    is_field: bool,
    name: &'a Arc<[u8]>,
    exact: Option<&'a Arc<[u8]>>,
}

fn keys(entry: &Entry) -> impl Iterator<Item = Key<'_>> {
    let conditions = entry.matcher().and_then(|m| m.conditions.as_deref());
    let key = |is_field| move |condition| Key::of(is_field, condition);
    conditions.into_iter().flat_map(move |conditions| {
        let fields = conditions.headers.iter().filter_map(key(true));
        fields.chain(conditions.query.iter().filter_map(key(false)))
    })
}

impl<'a> Key<'a> {
    fn of(is_field: bool, condition: &'a Condition) -> Option<Self> {
        let Condition { name, test } = condition;
        let exact = match test {
            Test::Exact(value) => Some(value),
            Test::Regex(_) | Test::Present => None,
            Test::Absent => return None,
        };
        let usable = !is_field || (name.len() <= LONGEST_NAME && **name != *HOST);
        usable.then_some(Self {
            is_field,
            name,
            exact,
        })
    }
}

impl Indexed {
    fn new(entries: Vec<Entry>) -> Self {
        // Of an entry's conditions the one that fewest others share tells most.
        let mut shared: HashMap<Key<'_>, usize, FixedState> = HashMap::default();
        shared.reserve(entries.len());
        for key in entries.iter().flat_map(keys) {
            *shared.entry(key).or_default() += 1;
        }
        let mut fields = Strings::default();
        let mut parameters = Strings::default();
        let mut rest = Vec::new();
        for (position, entry) in (0..).zip(&entries) {
            let rarest = keys(entry).min_by_key(|key| (key.exact.is_none(), shared.get(key)));
            let list = rarest.and_then(|key| {
                let names = if key.is_field {
                    &mut fields
                } else {
                    &mut parameters
                };
                list_of(names, key)
            });
            list.unwrap_or(&mut rest).push(position);
        }
        drop(shared);
        for names in [&mut fields, &mut parameters] {
            names.finish(|name: &mut Name| name.exact.finish(Vec::shrink_to_fit));
        }
        Self {
            entries,
            fields,
            parameters,
            rest,
        }
    }

    fn find(&self, path: &[u8], request: &RequestView<'_>) -> Option<&Entry> {
        let mut search = Search {
            entries: &self.entries,
            path,
            request,
            best: self.entries.len(),
        };
        self.search_fields(&mut search);
        self.search_parameters(&mut search);
        search.among(&self.rest);
        self.entries.get(search.best)
    }

    fn search_fields(&self, search: &mut Search<'_>) {
        if self.fields.is_empty() {
            return;
        }
        let bytes = search.request.bytes;
        let mut seen = 0_u64;
        // Lists looked through for fields of a name seen before. A client that repeats a field
        // must not make us look through the same list as often.
        let mut searched = Vec::new();
        for field in search.request.head.fields.iter() {
            if !self.fields.may_hold(field.name.len()) {
                continue;
            }
            let mut buffer = [0; LONGEST_NAME];
            let name = lower_case(field.name.of(bytes), &mut buffer);
            let Some(name) = name.and_then(|name| self.fields.get(name)) else {
                continue;
            };
            let repeated = seen & (1 << name.number) != 0;
            seen |= 1 << name.number;
            if !repeated {
                search.among(&name.other);
            }
            if let Some(list) = name.exact.get(field.value.of(bytes)) {
                if repeated && searched.contains(&list.as_ptr()) {
                    continue;
                }
                search.among(list);
                if repeated {
                    searched.push(list.as_ptr());
                }
            }
        }
    }

    fn search_parameters(&self, search: &mut Search<'_>) {
        let Some(query) = search
            .request
            .query()
            .filter(|_| !self.parameters.is_empty())
        else {
            return;
        };
        let mut seen = 0_u64;
        for (name, value) in query::parameters(query) {
            let Some(name) = self.parameters.get(&query::decode(name)) else {
                continue;
            };
            // Only the first of a name counts.
            if seen & (1 << name.number) != 0 {
                continue;
            }
            seen |= 1 << name.number;
            search.among(&name.other);
            if let Some(list) = name.exact.get(&query::decode(value)) {
                search.among(list);
            }
        }
    }
}

/// The list for a key; `None` where there are too many names.
fn list_of<'a>(names: &'a mut Strings<Name>, key: Key<'_>) -> Option<&'a mut Vec<u32>> {
    let number = names.len();
    if number >= MOST_NAMES && names.get(key.name).is_none() {
        return None;
    }
    let name = names.get_or_insert_with(key.name, || Name {
        number,
        ..Name::default()
    });
    Some(match key.exact {
        Some(value) => name.exact.get_or_insert_with(value, Vec::new),
        None => &mut name.other,
    })
}

/// Looks for the best entry over several lists.
struct Search<'a> {
    entries: &'a [Entry],
    path: &'a [u8],
    request: &'a RequestView<'a>,
    /// Position of the best entry found; beyond all entries if there is none.
    best: usize,
}

impl Search<'_> {
    fn among(&mut self, positions: &[u32]) {
        let better = positions.iter().map(|position| *position as usize);
        for position in better.take_while(|position| *position < self.best) {
            let entry = self.entries.get(position);
            if entry.is_some_and(|entry| entry.holds(self.path, self.request)) {
                self.best = position;
                return;
            }
        }
    }
}
