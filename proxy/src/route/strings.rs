//! A map keyed by byte strings for lookups that mostly miss: a string of a length that no key has
//! is not even hashed. This also bounds the work that a long path with many slashes can cause to
//! one hash per length of a configured prefix.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::FixedState;

/// Keys come from the configuration, never from a request, so that a fixed seed gives a stranger
/// nothing to aim at.
pub(super) struct Strings<V> {
    map: HashMap<Arc<[u8]>, V, FixedState>,
    /// Bit `n`: some key's length is `n` modulo 256.
    lengths: [u64; 4],
    longest: usize,
}

impl<V> Default for Strings<V> {
    fn default() -> Self {
        Self {
            map: HashMap::default(),
            lengths: [0; 4],
            longest: 0,
        }
    }
}

impl<V> Strings<V> {
    pub(super) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    /// Length of the longest key.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Whether some key may have this length.
    pub(super) fn may_hold(&self, length: usize) -> bool {
        let word = self.lengths.get(length / 64 % 4).copied();
        length <= self.longest && word.unwrap_or(0) & (1 << (length % 64)) != 0
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&V> {
        self.may_hold(key.len())
            .then(|| self.map.get(key))
            .flatten()
    }

    /// The value of a key, made where there is none.
    pub(super) fn get_or_insert_with(
        &mut self,
        key: &Arc<[u8]>,
        make: impl FnOnce() -> V,
    ) -> &mut V {
        if let Some(word) = self.lengths.get_mut(key.len() / 64 % 4) {
            *word |= 1 << (key.len() % 64);
        }
        self.longest = self.longest.max(key.len());
        self.map.entry(Arc::clone(key)).or_insert_with(make)
    }

    /// Every value once more before the map is used: nothing is inserted after this.
    pub(super) fn finish(&mut self, finish: impl FnMut(&mut V)) {
        self.map.values_mut().for_each(finish);
        self.map.shrink_to_fit();
    }
}

/// What follows each dot of a host, longest first. A dot in front has no label before it.
pub(super) fn suffixes(host: &[u8]) -> impl Iterator<Item = &[u8]> {
    memchr::memchr_iter(b'.', host)
        .filter(|dot| *dot > 0)
        .filter_map(|dot| host.get(dot + 1..))
}

/// A text in lower case; `None` where the buffer is too short for it. (Looking for upper case
/// first, to copy nothing where there is none, measured slower.)
pub(super) fn lower_case<'a>(text: &[u8], buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let lower = buffer.get_mut(..text.len())?;
    lower.copy_from_slice(text);
    lower.make_ascii_lowercase();
    Some(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_is_lowered_within_the_buffer() {
        let mut buffer = [0; 4];
        for (text, expected) in [("", Some("")), ("aB.C", Some("ab.c")), ("abcde", None)] {
            let lower = lower_case(text.as_bytes(), &mut buffer);
            assert_eq!(lower, expected.map(str::as_bytes));
        }
    }

    #[test]
    fn keys_of_any_length_are_found() {
        let mut strings = Strings::default();
        let lengths = [0, 1, 63, 64, 65, 255, 256, 300];
        for length in lengths {
            let key: Arc<[u8]> = vec![b'a'; length].into();
            *strings.get_or_insert_with(&key, || 0) += length;
        }
        for length in 0..1_000 {
            let expected = lengths.contains(&length).then_some(&length);
            assert_eq!(strings.get(&vec![b'a'; length]), expected, "{length}");
            assert_eq!(strings.get(&vec![b'b'; length]).is_some(), length == 0);
        }
        assert_eq!((strings.len(), strings.longest()), (8, 300));
        assert!(!strings.may_hold(2) && !strings.may_hold(258) && !strings.may_hold(512));
    }
}
