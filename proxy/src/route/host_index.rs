//! The rules of one host, by path: exact paths and prefixes by hash, expressions one by one. The
//! cost of a lookup does not grow with the number of paths.

use super::{
    bucket::{Bucket, Entry},
    matcher::PathMatch,
    strings::Strings,
};
use crate::message::RequestView;

/// Rules of one host.
#[derive(Default)]
pub(super) struct HostIndex {
    /// Rules for the prefix `/` or for any path. Many hosts have no others.
    root: Option<Bucket>,
    paths: Option<Box<Paths>>,
}

#[derive(Default)]
struct Paths {
    exact: Strings<Option<Bucket>>,
    prefixes: Strings<Option<Bucket>>,
    expressions: Option<Bucket>,
}

impl HostIndex {
    /// Adds an entry, after all that were configured before it.
    pub(super) fn push(&mut self, entry: Entry) {
        let path = entry.matcher().map_or(&PathMatch::Any, |m| &m.path);
        let bucket = match path {
            PathMatch::Any => &mut self.root,
            PathMatch::Prefix(prefix) if prefix.is_empty() => &mut self.root,
            PathMatch::Prefix(prefix) => {
                let paths = self.paths.get_or_insert_default();
                paths.prefixes.get_or_insert_with(prefix, || None)
            }
            PathMatch::Exact(path) => {
                let paths = self.paths.get_or_insert_default();
                paths.exact.get_or_insert_with(path, || None)
            }
            PathMatch::Regex(_) | PathMatch::Names => {
                &mut self.paths.get_or_insert_default().expressions
            }
        };
        Bucket::push(bucket, entry);
    }

    /// To be called once all entries are there.
    pub(super) fn finish(&mut self) {
        let finish = |bucket: &mut Option<Bucket>| {
            if let Some(bucket) = bucket {
                bucket.finish();
            }
        };
        finish(&mut self.root);
        if let Some(paths) = &mut self.paths {
            paths.exact.finish(finish);
            paths.prefixes.finish(finish);
            finish(&mut paths.expressions);
        }
    }

    /// The best entry that a request meets.
    pub(super) fn find(&self, path: &[u8], request: &RequestView<'_>) -> Option<&Entry> {
        let by_path = self.paths.as_deref().and_then(|p| p.find(path, request));
        by_path.or_else(|| self.root.as_ref()?.find(path, request))
    }
}

impl Paths {
    fn find(&self, path: &[u8], request: &RequestView<'_>) -> Option<&Entry> {
        let exact = self.exact.get(path).and_then(Option::as_ref);
        exact
            .and_then(|bucket| bucket.find(path, request))
            .or_else(|| self.find_prefix(path, request))
            .or_else(|| self.expressions.as_ref()?.find(path, request))
    }

    /// Tries the path and each of its prefixes that ends before a slash, longest first.
    fn find_prefix(&self, path: &[u8], request: &RequestView<'_>) -> Option<&Entry> {
        if self.prefixes.is_empty() {
            return None;
        }
        let mut end = path.len();
        if end > self.prefixes.longest() {
            end = last_slash(path, self.prefixes.longest() + 1)?;
        }
        while end > 0 {
            let prefix = path.get(..end)?;
            let bucket = self.prefixes.get(prefix).and_then(Option::as_ref);
            if let Some(entry) = bucket.and_then(|bucket| bucket.find(path, request)) {
                return Some(entry);
            }
            end = last_slash(path, end)?;
        }
        None
    }
}

/// Where the last slash before `end` stands.
fn last_slash(path: &[u8], end: usize) -> Option<usize> {
    memchr::memrchr(b'/', path.get(..end)?)
}
