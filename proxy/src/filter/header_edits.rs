//! Changes to fields, compiled: what the filters for requests and for responses share.

use outrigger_config::model;

use crate::message::{Edits, HeaderLine, Known};

/// Fields to remove, to set and to add, applied in this order.
pub(super) struct HeaderEdits {
    /// Names that go: those to remove, and those to set.
    drop: Box<[Box<[u8]>]>,
    /// Lines that come: those to set, then those to add.
    lines: Box<[HeaderLine]>,
}

impl HeaderEdits {
    /// Refuses fields that the proxy writes itself from parsed values: a second line of theirs
    /// would let the two sides of a connection see different messages.
    pub(super) fn compile(settings: &model::HeaderEdits) -> Result<Self, String> {
        let set = settings.set.iter();
        let changed = set.clone().chain(&settings.add).map(|(name, _)| name);
        for name in settings.remove.iter().chain(changed) {
            if is_ours(Known::of(name.as_str().as_bytes())) {
                return Err(format!("field {name} is written by the proxy itself"));
            }
        }
        for (index, (name, _)) in settings.set.iter().enumerate() {
            let is_same = |(other, _): &(model::HeaderName, _)| {
                other.as_str().eq_ignore_ascii_case(name.as_str())
            };
            if settings.set.iter().take(index).any(is_same) {
                return Err(format!("field {name} is set twice"));
            }
        }
        let drop = settings
            .remove
            .iter()
            .chain(set.clone().map(|(name, _)| name));
        let lines = set.chain(&settings.add);
        Ok(Self {
            drop: drop.map(|name| name.as_str().as_bytes().into()).collect(),
            lines: lines
                .map(|(name, value)| HeaderLine::new(name.as_str(), value.as_str()))
                .collect(),
        })
    }

    /// Notes the changes; `drop_fields` marks the fields of a name in the head at hand. Lines that
    /// earlier filters added go too.
    pub(super) fn apply(&self, edits: &mut Edits, drop_fields: impl Fn(&[u8], &mut Edits)) {
        for name in &self.drop {
            drop_fields(name, edits);
            edits.drop_added(name);
        }
        for line in &self.lines {
            edits.add_line(line);
        }
    }
}

/// Framing, connection control and `Host` are written from parsed values.
const fn is_ours(known: Known) -> bool {
    matches!(
        known,
        Known::Host
            | Known::ContentLength
            | Known::TransferEncoding
            | Known::Connection
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::Te
            | Known::Trailer
            | Known::Upgrade
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(model::HeaderName, model::HeaderValue)> {
        let pair = |(name, value): &(&str, &str)| ((*name).into(), (*value).into());
        list.iter().map(pair).collect()
    }

    #[test]
    fn what_the_proxy_writes_itself_is_refused() {
        let edits = |remove: &[&str], set: &[_], add: &[_]| model::HeaderEdits {
            remove: remove.iter().map(|name| (*name).into()).collect(),
            set: pairs(set),
            add: pairs(add),
        };
        for name in [
            "Content-Length",
            "transfer-encoding",
            "CONNECTION",
            "host",
            "te",
        ] {
            for settings in [
                edits(&[name], &[], &[]),
                edits(&[], &[(name, "1")], &[]),
                edits(&[], &[], &[(name, "1")]),
            ] {
                assert!(HeaderEdits::compile(&settings).is_err(), "{name}");
            }
        }
        let twice = edits(&[], &[("a", "1"), ("A", "2")], &[]);
        assert!(HeaderEdits::compile(&twice).is_err());
        let fine = edits(&["c"], &[("a", "1")], &[("a", "2"), ("a", "3")]);
        assert!(HeaderEdits::compile(&fine).is_ok());
    }
}
