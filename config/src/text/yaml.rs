//! YAML 1.2 with the types of its core schema. Aliases are kept as references, and what they
//! would expand to is counted against the same bound as values that are written out.

use std::borrow::Cow;
use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::document::Unit;
use super::{Document, Kind, MAX_DEPTH, MAX_VALUES, Unreadable, Value};

pub(super) fn parse(text: &str) -> Result<Document<'_>, Unreadable> {
    if let Some((at, character)) = text.chars().enumerate().find(|(_, c)| is_forbidden(*c)) {
        let message = format!("not YAML: found {character:?}; expected printable characters");
        return Err(Unreadable::new(place(at), message));
    }
    let mut builder = Builder {
        document: Document::new(text, Unit::Characters),
        text,
        seen: (0, 0),
        open: Vec::new(),
        anchors: BTreeMap::new(),
        values: 0,
        documents: 0,
    };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            let hint = hint(text, error.marker().line());
            let message = format!("not YAML: {}{hint}", error.info());
            Unreadable::new(at(error.marker()), message)
        })?;
        builder.event(event, at(&span.start))?;
    }
    if builder.document.len() == 0 {
        let nothing = Value::Scalar(Cow::Borrowed(""));
        builder.document.push(0, Kind::Null, nothing);
    }
    Ok(builder.document)
}

/// What is often meant where YAML sees brackets.
fn hint(text: &str, line: usize) -> &'static str {
    let line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    if line.contains("[:") || line.contains("${") {
        "; put values with brackets or braces in quotes"
    } else {
        ""
    }
}

/// Control characters that YAML 1.2 (5.1) keeps out of a text.
fn is_forbidden(character: char) -> bool {
    character.is_ascii_control() && !matches!(character, '\t' | '\n' | '\r')
}

fn at(marker: &Marker) -> u32 {
    place(marker.index())
}

/// Texts are at most `MAX_TEXT` long, so a place always fits.
fn place(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

struct Builder<'t> {
    document: Document<'t>,
    text: &'t str,
    /// Characters and bytes before the last scalar.
    seen: (usize, usize),
    open: Vec<Open>,
    anchors: BTreeMap<usize, Anchor>,
    /// Values so far, with aliases expanded.
    values: u32,
    documents: u32,
}

/// A list or object whose end has not come yet.
struct Open {
    place: u32,
    /// Keys and values count one each.
    children: u32,
    is_object: bool,
    anchor: usize,
    values_before: u32,
}

struct Anchor {
    place: u32,
    /// Values it stands for; none while it is still open.
    values: Option<u32>,
}

impl<'t> Builder<'t> {
    fn event(&mut self, event: Event<'t>, at: u32) -> Result<(), Unreadable> {
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    let message = "a second YAML document; expected one (remove the `---`)";
                    return Err(Unreadable::new(at, message));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let kind = kind(&text, style, tag.as_deref(), at)?;
                self.child(at, 1)?;
                let text = self.borrow(text, at as usize, style);
                let place = self.document.push(at, kind, Value::Scalar(text));
                if anchor != 0 {
                    let values = Some(1);
                    self.anchors.insert(anchor, Anchor { place, values });
                }
            }
            Event::SequenceStart(anchor, tag) => self.start(at, anchor, tag.as_deref(), false)?,
            Event::MappingStart(anchor, tag) => self.start(at, anchor, tag.as_deref(), true)?,
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(id) => self.alias(at, id)?,
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    /// The parser copies every scalar; most stand in the text as they are.
    fn borrow(&mut self, scalar: Cow<'t, str>, at: usize, style: ScalarStyle) -> Cow<'t, str> {
        let (characters, bytes) = self.seen;
        let Some(ahead) = at.checked_sub(characters) else {
            return scalar;
        };
        let mut rest = self.text[bytes..].chars();
        if ahead > 0 {
            rest.nth(ahead - 1);
        }
        let rest = rest.as_str();
        self.seen = (at, self.text.len() - rest.len());
        let start = match style {
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => rest.get(1..),
            _ => Some(rest),
        };
        match start.and_then(|start| start.get(..scalar.len())) {
            Some(written) if written == scalar => Cow::Borrowed(written),
            _ => scalar,
        }
    }

    /// Counts what is about to be added.
    fn child(&mut self, at: u32, values: u32) -> Result<(), Unreadable> {
        self.values = self.values.saturating_add(values);
        if self.values > MAX_VALUES || self.document.is_full() {
            let message = format!("more than {MAX_VALUES} values, counting what aliases stand for");
            return Err(Unreadable::new(at, message));
        }
        if let Some(parent) = self.open.last_mut() {
            parent.children += 1;
        }
        Ok(())
    }

    /// Whether the next child of the innermost object is a key.
    fn expects_key(&self) -> bool {
        self.open
            .last()
            .is_some_and(|parent| parent.is_object && parent.children.is_multiple_of(2))
    }

    fn start(
        &mut self,
        at: u32,
        anchor: usize,
        tag: Option<&Tag>,
        is_object: bool,
    ) -> Result<(), Unreadable> {
        if let Some(tag) = tag {
            return Err(unknown_tag(tag, at));
        }
        if self.expects_key() {
            let message = "a list or object as a key; expected text (put it in quotes)";
            return Err(Unreadable::new(at, message));
        }
        if self.open.len() >= MAX_DEPTH {
            let message = format!("nested deeper than {MAX_DEPTH} levels");
            return Err(Unreadable::new(at, message));
        }
        let values_before = self.values;
        self.child(at, 1)?;
        let value = Value::List { len: 0, end: 0 };
        let place = self.document.push(at, Kind::Null, value);
        if anchor != 0 {
            let values = None;
            self.anchors.insert(anchor, Anchor { place, values });
        }
        self.open.push(Open {
            place,
            children: 0,
            is_object,
            anchor,
            values_before,
        });
        Ok(())
    }

    fn end(&mut self) {
        let Some(open) = self.open.pop() else { return };
        let (end, len) = (self.document.len(), open.children);
        let entry = &mut self.document.entries[open.place as usize];
        entry.value = if open.is_object {
            Value::Object { len: len / 2, end }
        } else {
            Value::List { len, end }
        };
        if let Some(anchor) = self.anchors.get_mut(&open.anchor) {
            anchor.values = Some(self.values - open.values_before);
        }
    }

    fn alias(&mut self, at: u32, id: usize) -> Result<(), Unreadable> {
        if self.expects_key() {
            let message = "an alias as a key; expected the key itself";
            return Err(Unreadable::new(at, message));
        }
        let anchor = self.anchors.get(&id).map(|a| (a.place, a.values));
        match anchor {
            Some((place, Some(values))) => {
                self.child(at, values)?;
                self.document.push(at, Kind::Null, Value::Alias(place));
                Ok(())
            }
            Some((_, None)) => Err(Unreadable::new(at, "an alias inside its own anchor")),
            None => Err(Unreadable::new(at, "an alias without an anchor")),
        }
    }
}

fn unknown_tag(tag: &Tag, at: u32) -> Unreadable {
    Unreadable::new(at, format!("the tag `{tag}`; expected no tags but `!!str`"))
}

/// What a scalar is by the core schema (YAML 1.2.2, 10.3.2).
fn kind(text: &str, style: ScalarStyle, tag: Option<&Tag>, at: u32) -> Result<Kind, Unreadable> {
    match tag {
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => return Ok(Kind::Text),
        Some(tag) => return Err(unknown_tag(tag, at)),
        None if style != ScalarStyle::Plain => return Ok(Kind::Text),
        None => {}
    }
    Ok(plain_kind(text))
}

/// What a scalar without quotes is.
pub(super) fn plain_kind(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Kind::Bool,
        _ if is_number(text) => Kind::Number,
        _ => Kind::Text,
    }
}

fn is_number(text: &str) -> bool {
    if let Some(digits) = text.strip_prefix("0x") {
        return !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return !digits.is_empty() && digits.bytes().all(|b| (b'0'..=b'7').contains(&b));
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.map(|e| e.strip_prefix(['-', '+']).unwrap_or(e));
    !(whole.is_empty() && fraction.is_empty())
        && digits(whole)
        && digits(fraction)
        && exponent.is_none_or(|e| !e.is_empty() && digits(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(text).unwrap_err().message
    }

    #[test]
    fn kinds_follow_the_core_schema() {
        for (kind, texts) in [
            (Kind::Null, &["", "~", "null", "Null"][..]),
            (Kind::Bool, &["true", "False", "TRUE"]),
            (
                Kind::Number,
                &[
                    "0", "-1", "+12", "007", "0x1F", "0o17", "1.5", ".5", "5.", "1e3", "-.inf",
                    ".nan", "1.5E-7",
                ],
            ),
            (
                Kind::Text,
                &[
                    "yes", "off", "on", "no", "1_000", "10s", "1.2.3", "0x", "e5", ".", "-", "1e",
                    "1:30", "nan", "+.nan",
                ],
            ),
        ] {
            for text in texts {
                assert_eq!(plain_kind(text), kind, "{text:?}");
            }
        }
    }

    #[test]
    fn scalars_keep_their_text_and_place() {
        let text = "# Ä\na: 'x'\nb:\n  - \"y\\n\"\n  - |\n    z\n  - ünï\n  - !!str 1\n";
        let document = parse(text).unwrap();
        let root = document.root();
        assert_eq!(root.field("a").unwrap().scalar(), Some(("x", Kind::Text)));
        let items: Vec<_> = root.field("b").unwrap().items().collect();
        let texts: Vec<_> = items.iter().map(|node| node.scalar().unwrap()).collect();
        let expected = ["y\n", "z\n", "ünï", "1"].map(|text| (text, Kind::Text));
        assert_eq!(texts, expected);
        let places: Vec<_> = items.iter().map(|node| node.at()).collect();
        assert_eq!(document.places(&places), [(4, 5), (6, 5), (7, 5), (8, 5)]);
    }

    /// Otherwise 10,000 routes leave the heap full of small holes.
    #[test]
    fn what_stands_in_the_text_is_borrowed() {
        let text = "ä: hello\nb: [x y, 'z', \"w\", ü]\nc:\n  d: 5\n";
        let document = parse(text).unwrap();
        for entry in &document.entries {
            if let Value::Scalar(text) = &entry.value {
                assert!(matches!(text, Cow::Borrowed(_)), "{text}");
            }
        }
    }

    #[test]
    fn an_alias_stands_for_its_anchor() {
        let document = parse("a: &x {b: [1, 2]}\nc: *x\nd: [*x, *x]\n").unwrap();
        let c = document.root().field("c").unwrap();
        assert_eq!(c.field("b").unwrap().items().len(), 2);
        assert_eq!(document.places(&[c.at()]), [(2, 4)]);
        let last = document.root().field("d").unwrap().items().nth(1).unwrap();
        assert_eq!(last.fields().len(), 1);
    }

    #[test]
    fn refuses_what_could_grow_without_end() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let last = level - 1;
            let aliases = vec![format!("*a{last}"); 9].join(", ");
            bomb = format!("{bomb}a{level}: &a{level} [{aliases}]\n");
        }
        assert_eq!(
            error(&bomb),
            "more than 4000000 values, counting what aliases stand for"
        );
        assert_eq!(error("a: &a [*a]"), "an alias inside its own anchor");
        assert!(error("a: *b").starts_with("not YAML: "));
        assert_eq!(error(&"- ".repeat(80)), "nested deeper than 64 levels");
        assert_eq!(error(&"[".repeat(80)), "nested deeper than 64 levels");
        let deep = error(&"{a: ".repeat(100_000));
        assert_eq!(deep, "not YAML: recursion limit exceeded");
    }

    #[test]
    fn refuses_what_has_two_meanings() {
        for (text, message) in [
            (
                "a: 1\n---\nb: 2\n",
                "a second YAML document; expected one (remove the `---`)",
            ),
            ("a: !x 1", "the tag `!x`; expected no tags but `!!str`"),
            (
                "a: !!int \"1\"",
                "the tag `tag:yaml.org,2002:!int`; expected no tags but `!!str`",
            ),
            (
                "{[a]: 1}",
                "a list or object as a key; expected text (put it in quotes)",
            ),
            (
                "a: &x 1\n? *x\n: 2",
                "an alias as a key; expected the key itself",
            ),
            (
                "a: \u{0}",
                "not YAML: found '\\0'; expected printable characters",
            ),
        ] {
            assert_eq!(error(text), message, "{text}");
        }
    }

    #[test]
    fn nothing_is_null() {
        for text in ["", "# only a comment\n", "---\n", "\u{feff}"] {
            let document = parse(text).unwrap();
            assert_eq!(
                document.root().scalar().map(|(_, kind)| kind),
                Some(Kind::Null),
                "{text:?}"
            );
        }
    }
}
