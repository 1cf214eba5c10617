//! A new path for a request or a redirect, with the semantics of Gateway API's
//! `HTTPPathModifier`.

use outrigger_config::model;

use crate::message::path;

/// How the path changes. The query is not touched.
#[derive(Debug)]
pub(super) enum PathRewrite {
    /// All of it.
    Full(Box<[u8]>),
    /// The prefix that the rule matched. Held without a slash at its end, so that `/` is empty.
    Prefix(Box<[u8]>),
}

/// A path, and how much of it now stands for the prefix that matched.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rewritten {
    pub(super) path: Vec<u8>,
    pub(super) prefix: Option<usize>,
}

impl PathRewrite {
    pub(super) fn compile(settings: &model::PathRewrite) -> Result<Self, String> {
        let (model::PathRewrite::ReplaceFull(text) | model::PathRewrite::ReplacePrefix(text)) =
            settings;
        let given = text.as_str().as_bytes();
        let changed = path::normalise(given, false).map_err(|error| format!("{text}: {error}"))?;
        let bytes = changed.as_deref().map_or(given, str::as_bytes);
        if !bytes.starts_with(b"/") || bytes.starts_with(b"//") {
            return Err(format!("{text} is not a path"));
        }
        Ok(match settings {
            model::PathRewrite::ReplaceFull(_) => Self::Full(bytes.into()),
            model::PathRewrite::ReplacePrefix(_) => {
                Self::Prefix(bytes.strip_suffix(b"/").unwrap_or(bytes).into())
            }
        })
    }

    /// The new path; `None` where it does not change: for `*` and the empty path (of `CONNECT`),
    /// which are not paths, and where no prefix matched.
    ///
    /// Segments are replaced as wholes: `/foo` replaced by `/xyz` makes `/xyz` of `/foo` and
    /// `/xyz/` of `/foo/`; replaced by `/` it makes `/bar` of `/foo/bar` and `/` of `/foo`. The
    /// result never begins with two slashes, which a reference would read as a host.
    pub(super) fn apply(&self, path: &[u8], matched_prefix: Option<usize>) -> Option<Rewritten> {
        if !path.starts_with(b"/") {
            return None;
        }
        match self {
            Self::Full(new) => Some(Rewritten {
                path: new.to_vec(),
                prefix: None,
            }),
            Self::Prefix(new) => {
                let mut rest = path.get(matched_prefix?..)?;
                if !rest.is_empty() && !rest.starts_with(b"/") {
                    return None;
                }
                while new.is_empty() && rest.starts_with(b"//") {
                    rest = rest.get(1..)?;
                }
                let joined = match [new, rest].concat() {
                    empty if empty.is_empty() => b"/".to_vec(),
                    joined => joined,
                };
                Some(Rewritten {
                    path: joined,
                    prefix: Some(new.len()),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `prefix` is written as in a rule; the router counts it without the slash at its end.
    fn check(path: &str, prefix: &str, replacement: &str, expected: &str) {
        let settings = model::PathRewrite::ReplacePrefix(replacement.into());
        let rewrite = PathRewrite::compile(&settings).unwrap();
        let matched = prefix.strip_suffix('/').unwrap_or(prefix).len();
        let actual = rewrite.apply(path.as_bytes(), Some(matched)).unwrap();
        assert_eq!(
            String::from_utf8(actual.path).unwrap(),
            expected,
            "{path}: {prefix} -> {replacement}"
        );
    }

    #[test]
    fn prefixes_are_replaced_as_in_gateway_apis_table() {
        for (path, prefix, replacement, expected) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "/", "/bar"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
        ] {
            check(path, prefix, replacement, expected);
        }
    }

    #[test]
    fn prefixes_beyond_the_table() {
        for (path, prefix, replacement, expected) in [
            ("/", "/", "/xyz", "/xyz/"),
            ("/foo/bar", "/", "/xyz", "/xyz/foo/bar"),
            ("/foo", "/", "/", "/foo"),
            ("/foo//bar", "/foo", "/", "/bar"),
            ("/foo//bar", "/foo", "/xyz", "/xyz//bar"),
            ("/foo///", "/foo", "/", "/"),
            ("/a/b/c", "/a/b", "/x/y/z", "/x/y/z/c"),
        ] {
            check(path, prefix, replacement, expected);
        }
    }

    #[test]
    fn what_is_no_path_stays() {
        let full = PathRewrite::compile(&model::PathRewrite::ReplaceFull("/x".into())).unwrap();
        assert_eq!(full.apply(b"*", None), None);
        assert_eq!(full.apply(b"", None), None);
        assert_eq!(full.apply(b"/a", None).unwrap().path, b"/x");
        let prefix = PathRewrite::compile(&model::PathRewrite::ReplacePrefix("/x".into())).unwrap();
        assert_eq!(prefix.apply(b"*", Some(0)), None);
        assert_eq!(prefix.apply(b"/a", None), None);
        assert_eq!(prefix.apply(b"/ab", Some(2)), None);
        assert_eq!(prefix.apply(b"/ab", Some(9)), None);
    }

    #[test]
    fn replacements_are_normalised() {
        let full = model::PathRewrite::ReplaceFull("/%7Ea".into());
        let rewrite = PathRewrite::compile(&full).unwrap();
        assert_eq!(rewrite.apply(b"/", None).unwrap().path, b"/~a");
    }

    #[test]
    fn odd_replacements_are_refused() {
        for text in ["", "x", "//a", "/../b", "/%zz", "*"] {
            let settings = model::PathRewrite::ReplaceFull(text.into());
            assert!(PathRewrite::compile(&settings).is_err(), "{text}");
        }
    }
}
