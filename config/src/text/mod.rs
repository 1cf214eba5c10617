//! From text to a tree with places. YAML and JSON end in the same [`Document`]; what the values
//! mean is not known here.

mod document;
mod environment;
mod json;
mod yaml;

pub(crate) use document::{Document, Kind, Node, Value};
pub(crate) use environment::{Redactions, substitute};

use crate::problem::{Found, Segment};

/// Longest text taken, in bytes. Places are kept in 32 bits; 10,000 routes are about 3 MiB.
pub const MAX_TEXT: usize = 64 << 20;
/// Values in one document, keys and expanded aliases included.
/// Why: each takes 32 bytes here, and aliases could multiply them without end.
pub(crate) const MAX_VALUES: u32 = 4_000_000;
/// Nesting of lists and objects. The deepest setting lies ten levels down.
pub(crate) const MAX_DEPTH: usize = 64;

/// The format of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Yaml,
}

impl Format {
    /// `.json` is JSON, everything else YAML.
    pub(crate) fn of(file: &str) -> Self {
        let extension = file.rsplit_once('.').map(|(_, extension)| extension);
        match extension {
            Some(extension) if extension.eq_ignore_ascii_case("json") => Self::Json,
            _ => Self::Yaml,
        }
    }
}

/// What makes a text unreadable, and where.
#[derive(Debug, PartialEq)]
pub(crate) struct Unreadable {
    pub(crate) at: u32,
    pub(crate) path: Vec<Segment>,
    pub(crate) message: String,
}

impl Unreadable {
    fn new(at: u32, message: impl Into<String>) -> Self {
        Self {
            at,
            path: Vec::new(),
            message: message.into(),
        }
    }

    pub(crate) fn into_found(self) -> Found {
        Found::new(self.path, Some(self.at), self.message)
    }
}

/// Reads a text into a tree.
pub(crate) fn parse(text: &str, format: Format) -> Result<Document<'_>, Unreadable> {
    if text.len() > MAX_TEXT {
        let message = format!("{} bytes; expected at most {MAX_TEXT}", text.len());
        return Err(Unreadable::new(0, message));
    }
    match format {
        Format::Json => json::parse(text),
        Format::Yaml => yaml::parse(text),
    }
}
