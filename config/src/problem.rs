//! What is wrong with a configuration, and where.

use std::borrow::Cow;
use std::fmt;

use crate::text::Document;

/// Most problems that are kept; further ones are only counted.
const MAX_PROBLEMS: usize = 1_000;

/// One step from an object to what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Segment {
    Field(Cow<'static, str>),
    Index(u32),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The file, as it was named by the caller.
    pub file: String,
    /// Line, from 1; 0 if the configuration did not come from a text.
    pub line: u32,
    /// Column in characters, from 1; 0 if the configuration did not come from a text.
    pub column: u32,
    /// Where in the configuration, such as `listeners[0].http.max_headers`. Empty: the whole.
    pub path: String,
    /// What is there.
    pub found: String,
    /// What should be there; may be empty where that is plain from `found`.
    pub expected: String,
    /// The known name nearest to a misspelt one.
    pub nearest: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        f.write_str(": ")?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.found)?;
        match &self.nearest {
            Some(nearest) => write!(f, "; did you mean \"{nearest}\"?"),
            None if self.expected.is_empty() => Ok(()),
            None => write!(f, "; expected {}", self.expected),
        }
    }
}

/// Everything that is wrong with a configuration, in the order of its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
    left_out: usize,
}

impl Problems {
    /// The problems.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    /// How many problems there are, those left out of the list included.
    pub fn count(&self) -> usize {
        self.list.len() + self.left_out
    }
}

impl<'p> IntoIterator for &'p Problems {
    type Item = &'p Problem;
    type IntoIter = std::slice::Iter<'p, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// One line for each problem.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            let separator = if index > 0 { "\n" } else { "" };
            write!(f, "{separator}{problem}")?;
        }
        if self.left_out > 0 {
            write!(f, "\nand {} more", self.left_out)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A problem whose place is not turned into line and column yet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) path: Vec<Segment>,
    /// None: look for `path` in the document.
    at: Option<u32>,
    what: String,
    expected: Cow<'static, str>,
    nearest: Option<String>,
}

impl Found {
    pub(crate) fn new(path: Vec<Segment>, at: Option<u32>, found: impl Into<String>) -> Self {
        Self {
            path,
            at,
            what: found.into(),
            expected: Cow::Borrowed(""),
            nearest: None,
        }
    }

    pub(crate) fn expected(mut self, expected: impl Into<Cow<'static, str>>) -> Self {
        self.expected = expected.into();
        self
    }

    pub(crate) fn nearest(mut self, nearest: Option<&str>) -> Self {
        self.nearest = nearest.map(str::to_owned);
        self
    }
}

/// Problems while they are collected.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    list: Vec<Found>,
    /// Further paths whose values stand in for what could not be read.
    unread: Vec<Vec<Segment>>,
    left_out: usize,
}

impl Collected {
    pub(crate) fn add(&mut self, problem: Found) {
        if self.list.len() < MAX_PROBLEMS {
            self.list.push(problem);
        } else {
            self.left_out += 1;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Counts problems; a rising count means that there were new ones.
    pub(crate) fn count(&self) -> usize {
        self.list.len() + self.left_out
    }

    pub(crate) fn add_unread(&mut self, path: Vec<Segment>) {
        if self.unread.len() < MAX_PROBLEMS {
            self.unread.push(path);
        }
    }

    /// Adds the bounds to what the last problem expected, if it is one of `object`'s field.
    pub(crate) fn amend(&mut self, object: &[Segment], field: &Segment, bounds: &str) {
        let Some(last) = self.list.last_mut() else {
            return;
        };
        if self.left_out == 0 && last.path.split_last() == Some((field, object)) {
            let expected = last.expected.split(" up to ").next().unwrap_or_default();
            let comma = if expected.contains(',') { "," } else { "" };
            last.expected = format!("{expected}{comma} from {bounds}").into();
        }
    }

    /// Paths of what could not be read.
    pub(crate) fn unread(&self) -> impl Iterator<Item = &Vec<Segment>> {
        self.list.iter().map(|p| &p.path).chain(&self.unread)
    }

    /// Looks up the places. Without a document there are none.
    pub(crate) fn finish(self, file: &str, document: Option<&Document<'_>>) -> Problems {
        let mut list: Vec<(u32, Found)> = self.list.into_iter().map(|p| (0, p)).collect();
        if let Some(document) = document {
            for (at, problem) in &mut list {
                *at = problem
                    .at
                    .unwrap_or_else(|| document.find(&problem.path).0.at());
            }
            list.sort_by_key(|(at, _)| *at);
        }
        let sorted: Vec<u32> = list.iter().map(|(at, _)| *at).collect();
        let places = document.map_or_else(
            || vec![(0, 0); sorted.len()],
            |document| document.places(&sorted),
        );
        let problem = |((_, problem), (line, column)): ((u32, Found), (u32, u32))| Problem {
            file: file.to_owned(),
            line,
            column,
            path: display(&problem.path),
            found: problem.what,
            expected: problem.expected.into_owned(),
            nearest: problem.nearest,
        };
        Problems {
            list: list.into_iter().zip(places).map(problem).collect(),
            left_out: self.left_out,
        }
    }
}

/// `listeners[0].http.max_headers`.
pub(crate) fn display(path: &[Segment]) -> String {
    use fmt::Write as _;
    let mut text = String::new();
    for segment in path {
        // Writing to a string cannot fail.
        let _ = match segment {
            Segment::Index(index) => write!(text, "[{index}]"),
            Segment::Field(name) if is_plain(name) && text.is_empty() => write!(text, "{name}"),
            Segment::Field(name) if is_plain(name) => write!(text, ".{name}"),
            Segment::Field(name) => write!(text, "[{name:?}]"),
        };
    }
    text
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_like_code() {
        let field = |name: &'static str| Segment::Field(name.into());
        for (path, expected) in [
            (vec![], ""),
            (
                vec![field("a"), Segment::Index(3), field("x-y")],
                "a[3].x-y",
            ),
            (
                vec![field("a b"), field("c"), field("")],
                r#"["a b"].c[""]"#,
            ),
        ] {
            assert_eq!(display(&path), expected);
        }
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let mut collected = Collected::default();
        for _ in 0..MAX_PROBLEMS + 5 {
            collected.add(Found::new(Vec::new(), None, "wrong"));
        }
        let problems = collected.finish("f", None);
        assert_eq!(problems.count(), MAX_PROBLEMS + 5);
        let text = problems.to_string();
        assert!(text.starts_with("f: wrong\nf: wrong\n"), "{text}");
        assert!(text.ends_with("f: wrong\nand 5 more"), "{text}");
    }
}
