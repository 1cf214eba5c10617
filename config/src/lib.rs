//! What can be said to Outrigger.
//!
//! The types in [`model`] are the only schema: the YAML or JSON file, the REST face and the wire
//! show the same kinds and field names. Each type is declared once, with its documentation,
//! default and range; reading, validation, JSON Schema and the reference are derived from that
//! one declaration by the engine. No io happens here: callers hand in text and get back a
//! [`model::Config`] or every problem at once.
//!
//! ```
//! let text = "version: 1\nlisteners: [{ name: web, bind: 127.0.0.1:8080, protocl: http }]\n";
//! let problems = outrigger_config::read(text, "proxy.yaml", &|_| None).unwrap_err();
//! assert_eq!(
//!     problems.to_string(),
//!     "proxy.yaml:2:48: listeners[0].protocl: unknown field; did you mean \"protocol\"?"
//! );
//! ```
//!
//! Start reading at [`model::Config`]; `text` turns a file into a tree, `engine` a tree into the
//! model, and `check` looks at what no field can see by itself.

mod check;
mod engine;
pub mod model;
mod nearest;
mod problem;
mod reference;
mod schema;
mod text;

pub use problem::{Problem, Problems};
pub use text::MAX_TEXT;

use engine::{Model as _, Reader, Writing, Written};
use model::Config;
use problem::Collected;
use text::{Document, Format, Redactions};

/// Reads a duration as it is written in a configuration: `10s`, `1h30m`.
///
/// # Errors
/// What was expected.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    use engine::Grammar as _;
    std::time::Duration::parse(text).map_err(|expected| {
        let expected = expected.unwrap_or(std::time::Duration::SCALAR.expected.into());
        format!("expected {expected}")
    })
}

/// A configuration that was read and found right.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// Hash of what it says: 32 hex digits. Equal for every way of writing the same.
    pub hash: String,
    redactions: Redactions,
}

/// Reads and checks a configuration. `file` is named in problems and tells the format: `.json` is
/// JSON, everything else YAML. `environment` is asked for the variables of `${NAME}`.
pub fn read(
    text: &str,
    file: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Problems> {
    let mut problems = Collected::default();
    let mut document = match text::parse(text, Format::of(file)) {
        Ok(document) => document,
        Err(unreadable) => {
            let at = Document::of_text(text, Format::of(file));
            problems.add(unreadable.into_found());
            return Err(problems.finish(file, Some(&at)));
        }
    };
    let redactions = if text.contains("${") {
        text::substitute(&mut document, environment, &mut problems)
    } else {
        Redactions::default()
    };
    let mut reader = Reader::new(&document, problems);
    let config = Config::read(document.root(), &mut reader);
    let mut problems = reader.problems;
    check::check(&config, Some(&document), &mut problems);
    if !problems.is_empty() {
        return Err(problems.finish(file, Some(&document)));
    }
    drop(document);
    Ok(Loaded {
        hash: hash(&config),
        config,
        redactions,
    })
}

/// Checks a configuration that was built in code.
pub fn check(config: &Config) -> Result<(), Problems> {
    let mut problems = Collected::default();
    check::check(config, None, &mut problems);
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems.finish("configuration", None))
    }
}

/// JSON Schema (2020-12) of the configuration.
pub fn schema() -> serde_json::Value {
    schema::schema()
}

/// The reference: every type and field with default, range and reason, in Markdown.
pub fn reference() -> String {
    reference::reference()
}

/// Hash of a configuration: xxh3, 128 bits, over its canonical JSON.
fn hash(config: &Config) -> String {
    // Writing to memory cannot fail.
    let canonical = serde_json::to_vec(config).unwrap_or_default();
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&canonical))
}

impl Loaded {
    /// A configuration that was built in code and checked.
    pub fn from_config(config: Config) -> Result<Self, Problems> {
        check(&config)?;
        Ok(Self {
            hash: hash(&config),
            config,
            redactions: Redactions::default(),
        })
    }

    /// The configuration that says nothing, before any was read.
    pub fn empty() -> Self {
        let config = Config::new();
        Self {
            hash: hash(&config),
            config,
            redactions: Redactions::default(),
        }
    }

    /// Writes the whole configuration with its defaults as JSON. What came from the environment
    /// is shown as it was written, `${NAME}`.
    pub fn write_redacted(&self, to: impl std::io::Write) -> serde_json::Result<()> {
        let writing = Writing::full(&self.redactions);
        serde_json::to_writer_pretty(to, &Written::new(&self.config, &writing))
    }

    /// The same as text.
    pub fn redacted_json(&self) -> String {
        let mut json = Vec::new();
        // Writing to memory cannot fail, and what is written is text.
        let _ = self.write_redacted(&mut json);
        String::from_utf8(json).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
