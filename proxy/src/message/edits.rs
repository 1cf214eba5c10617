//! Changes to a head, collected while decisions are made and applied while the head is written:
//! lines that stay are copied as runs, lines that go are skipped, new ones follow.

/// A field line made when the configuration was compiled, so that adding it is one copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderLine {
    /// `name: value\r\n`.
    line: Box<[u8]>,
}

impl HeaderLine {
    /// Both parts were checked against the grammar of fields when the configuration was read.
    pub(crate) fn new(name: &str, value: &str) -> Self {
        Self {
            line: format!("{name}: {value}\r\n").into_bytes().into(),
        }
    }

    pub(crate) fn line(&self) -> &[u8] {
        &self.line
    }
}

/// The edit list of one head. Kept by the connection and reused.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    /// Bit `i`: field `i` is not written. Two words cover the default limit of 128 fields.
    dropped: [u64; 2],
    /// The same for fields from 128 on.
    dropped_more: Vec<bool>,
    /// Lines to add, each `name: value\r\n`.
    added: Vec<u8>,
    /// New path (without query).
    pub(crate) path: Option<Box<[u8]>>,
    /// New authority.
    pub(crate) host: Option<Box<[u8]>>,
}

impl Edits {
    pub(crate) fn clear(&mut self) {
        self.dropped = [0; 2];
        self.dropped_more.clear();
        self.added.clear();
        self.path = None;
        self.host = None;
    }

    /// Field `index` of the head is not written.
    pub(crate) fn drop_field(&mut self, index: usize) {
        if let Some(word) = self.dropped.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        } else {
            if self.dropped_more.len() <= index - 128 {
                self.dropped_more.resize(index - 127, false);
            }
            if let Some(flag) = self.dropped_more.get_mut(index - 128) {
                *flag = true;
            }
        }
    }

    pub(crate) fn is_dropped(&self, index: usize) -> bool {
        match self.dropped.get(index / 64) {
            Some(word) => word & (1 << (index % 64)) != 0,
            None => self.dropped_more.get(index - 128).copied().unwrap_or(false),
        }
    }

    /// Adds a line made in advance.
    pub(crate) fn add_line(&mut self, line: &HeaderLine) {
        self.added.extend_from_slice(line.line());
    }

    /// Adds a line. The parts must be valid field syntax.
    pub(crate) fn add(&mut self, name: &str, value: &[u8]) {
        self.added.extend_from_slice(name.as_bytes());
        self.added.extend_from_slice(b": ");
        self.added.extend_from_slice(value);
        self.added.extend_from_slice(b"\r\n");
    }

    /// Takes back lines of this name that were added before.
    pub(crate) fn drop_added(&mut self, name: &[u8]) {
        let mut start = 0;
        while let Some(rest) = self.added.get(start..).filter(|r| !r.is_empty()) {
            let end = start + memchr::memchr(b'\n', rest).map_or(rest.len(), |n| n + 1);
            let hit = rest
                .get(..name.len())
                .is_some_and(|n| n.eq_ignore_ascii_case(name))
                && rest.get(name.len()) == Some(&b':');
            if hit {
                self.added.drain(start..end);
            } else {
                start = end;
            }
        }
    }

    /// Whether a line of this name was added.
    pub(crate) fn has_added(&self, name: &[u8]) -> bool {
        self.added.split(|byte| *byte == b'\n').any(|line| {
            let (start, rest) = line.split_at(name.len().min(line.len()));
            start.eq_ignore_ascii_case(name) && rest.first() == Some(&b':')
        })
    }

    /// The added lines, ready to be written.
    pub(crate) fn added(&self) -> &[u8] {
        &self.added
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_remembered_by_index() {
        let mut edits = Edits::default();
        for index in [0, 63, 64, 127, 128, 500] {
            assert!(!edits.is_dropped(index));
            edits.drop_field(index);
            assert!(edits.is_dropped(index));
        }
        assert!(!edits.is_dropped(1) && !edits.is_dropped(499) && !edits.is_dropped(501));
        edits.clear();
        assert!(!edits.is_dropped(500));
    }

    #[test]
    fn added_lines_can_be_taken_back_by_name() {
        let mut edits = Edits::default();
        edits.add("a", b"1");
        edits.add_line(&HeaderLine::new("Ab", "2"));
        edits.add("A", b"3");
        assert!(edits.has_added(b"a") && edits.has_added(b"AB") && !edits.has_added(b"b"));
        edits.drop_added(b"a");
        assert!(!edits.has_added(b"a") && !edits.has_added(b"abc"));
        assert_eq!(edits.added(), b"Ab: 2\r\n");
    }
}
