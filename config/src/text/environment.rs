//! `${NAME}` in text values: replaced by what the environment holds, and remembered, so that a
//! dump of the configuration shows `${NAME}` and not the secret.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::MAX_DEPTH;
use super::document::{Document, Kind, Node, Value};
use crate::problem::{Collected, Found, Segment};

/// All values from the environment together.
/// Why: a text of `${A}${A}...` must not fill the memory.
const MAX_SUBSTITUTED: usize = 16 << 20;

/// Where values of the environment stand, and what was written there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Redactions(BTreeMap<Vec<Segment>, Box<str>>);

impl Redactions {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was written at `path`, if it held a value of the environment.
    pub(crate) fn at(&self, path: &[Segment]) -> Option<&str> {
        self.0.get(path).map(AsRef::as_ref)
    }
}

/// Where the values of the environment come from.
pub(crate) type Environment<'e> = dyn Fn(&str) -> Option<String> + 'e;

/// Replaces every `${NAME}` in text values of `document`.
pub(crate) fn substitute(
    document: &mut Document<'_>,
    environment: &Environment<'_>,
    problems: &mut Collected,
) -> Redactions {
    let mut written = Vec::new();
    collect(document.root(), &mut Vec::new(), &mut written);
    let mut redactions = Redactions::default();
    let mut broken = BTreeSet::new();
    let mut left = MAX_SUBSTITUTED;
    // An aliased value stands at several paths; its text is replaced once.
    let mut originals: BTreeMap<u32, Box<str>> = BTreeMap::new();
    for (place, path) in written {
        if let Some(original) = originals.get(&place) {
            redactions.0.insert(path, original.clone());
            continue;
        }
        let entry = &mut document.entries[place as usize];
        let Value::Scalar(text) = &mut entry.value else {
            continue;
        };
        match expand(text, environment, &mut left) {
            Ok((value, from_environment)) => {
                if from_environment {
                    redactions.0.insert(path, text.as_ref().into());
                    originals.insert(place, text.as_ref().into());
                }
                entry.substituted = from_environment;
                *text = Cow::Owned(value);
            }
            Err(problem) => {
                entry.kind = Kind::Broken;
                if broken.insert(place) {
                    problems.add(Found::new(path, Some(entry.at), problem));
                }
            }
        }
    }
    redactions
}

/// Text values that hold `${`. What lies deeper than any setting is never read.
fn collect(node: Node<'_>, path: &mut Vec<Segment>, written: &mut Vec<(u32, Vec<Segment>)>) {
    if path.len() > MAX_DEPTH {
        return;
    }
    if let Some((text, Kind::Text)) = node.scalar() {
        if text.contains("${") {
            written.push((node.resolved_place(), path.clone()));
        }
        return;
    }
    for (index, item) in (0..).zip(node.items()) {
        path.push(Segment::Index(index));
        collect(item, path, written);
        path.pop();
    }
    for (key, value) in node.fields() {
        let Some((name, _)) = key.scalar() else {
            continue;
        };
        path.push(Segment::Field(Cow::Owned(name.to_owned())));
        collect(value, path, written);
        path.pop();
    }
}

/// The value of a text, and whether it holds anything but what was written.
fn expand(
    text: &str,
    environment: &Environment<'_>,
    left: &mut usize,
) -> Result<(String, bool), String> {
    let mut value = String::with_capacity(text.len());
    let mut from_environment = false;
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, reference) = rest.split_at(start);
        if let Some(before) = before.strip_suffix('$') {
            value.push_str(before);
            value.push_str("${");
            rest = &reference[2..];
            continue;
        }
        value.push_str(before);
        let end = reference
            .find('}')
            .ok_or("`${` without `}`; write `$${` for the characters `${`")?;
        value.push_str(&lookup(&reference[2..end], environment)?);
        from_environment = true;
        rest = &reference[end + 1..];
        *left = left
            .checked_sub(value.len())
            .ok_or("too much text from the environment")?;
    }
    value.push_str(rest);
    Ok((value, from_environment))
}

/// The value of `NAME` or `NAME:-default`.
fn lookup(reference: &str, environment: &Environment<'_>) -> Result<String, String> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    if !is_name(name) {
        return Err(format!(
            "`${{{reference}}}` names no variable; expected `${{NAME}}`, `${{NAME:-default}}`, or `$${{` for the characters `${{`"
        ));
    }
    match (environment(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!(
            "the environment variable {name} is not set; `${{{name}:-default}}` gives a default"
        )),
    }
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("db.internal".to_owned()),
            "PORT_1" => Some("5432".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICK" => Some("${HOST}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn replaces_what_is_written() {
        let mut left = 1_000;
        for (text, expected) in [
            ("${HOST}:${PORT_1}", Ok(("db.internal:5432", true))),
            ("a${EMPTY}b", Ok(("ab", true))),
            (
                "${EMPTY:-x}${NONE:-y}${HOST:-z}",
                Ok(("xydb.internal", true)),
            ),
            ("${NONE:-}", Ok(("", true))),
            (
                "$${HOST} $HOST $ $$ costs $5",
                Ok(("${HOST} $HOST $ $$ costs $5", false)),
            ),
            ("$$${HOST}", Ok(("$${HOST}", false))),
            ("${TRICK}", Ok(("${HOST}", true))),
            (
                "${NONE}",
                Err("the environment variable NONE is not set; `${NONE:-default}` gives a default"),
            ),
            (
                "${HOST",
                Err("`${` without `}`; write `$${` for the characters `${`"),
            ),
            (
                "${}",
                Err(
                    "`${}` names no variable; expected `${NAME}`, `${NAME:-default}`, or `$${` for the characters `${`",
                ),
            ),
            (
                "${1A}",
                Err(
                    "`${1A}` names no variable; expected `${NAME}`, `${NAME:-default}`, or `$${` for the characters `${`",
                ),
            ),
            (
                "${A-B}",
                Err(
                    "`${A-B}` names no variable; expected `${NAME}`, `${NAME:-default}`, or `$${` for the characters `${`",
                ),
            ),
        ] {
            let result = expand(text, &environment, &mut left);
            let expected = expected
                .map(|(value, from)| (value.to_owned(), from))
                .map_err(str::to_owned);
            assert_eq!(result, expected, "{text}");
        }
    }

    #[test]
    fn the_sum_is_bounded() {
        let long = "x".repeat(MAX_SUBSTITUTED / 2);
        let environment = |_: &str| Some(long.clone());
        let text = "${A}".repeat(3);
        let result = expand(&text, &environment, &mut MAX_SUBSTITUTED.clone());
        assert_eq!(result, Err("too much text from the environment".to_owned()));
    }
}
