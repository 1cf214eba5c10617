//! What the back end answers to which path, the same for HTTP/1 and HTTP/2.

/// What a request is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// So many bytes of a pattern.
    Bytes(usize),
    /// How many bytes came.
    Count,
    /// The body that came.
    Echo,
    /// The request's head as it came.
    Inspect,
    /// The value of this field of the request.
    Field(String),
    Unknown,
}

/// Longest body that is made up or sent back.
pub(super) const MOST: usize = 64 << 20;

pub(super) fn route(path: &str) -> Reply {
    let path = path.split('?').next().unwrap_or_default();
    // Behind what a route may have been found by.
    let path = path.find("/-/").map_or(path, |at| path.split_at(at + 2).1);
    let mut parts = path.trim_start_matches('/').split('/');
    match (parts.next(), parts.next()) {
        (Some("bytes"), Some(count)) => match count.parse() {
            Ok(count) if count <= MOST => Reply::Bytes(count),
            _ => Reply::Unknown,
        },
        (Some(""), None) => Reply::Bytes(1024),
        (Some("sink"), None) => Reply::Count,
        (Some("echo"), None) => Reply::Echo,
        (Some("inspect"), None) => Reply::Inspect,
        (Some("field"), Some(name)) => Reply::Field(name.to_ascii_lowercase()),
        _ => Reply::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_also_behind_a_prefix() {
        for (path, expected) in [
            ("/", Reply::Bytes(1024)),
            ("/bytes/7?x=1", Reply::Bytes(7)),
            ("/p9999/-/bytes/7", Reply::Bytes(7)),
            ("/sink", Reply::Count),
            ("/field/X-Y", Reply::Field("x-y".to_owned())),
            ("/bytes/99999999999", Reply::Unknown),
            ("/bytes", Reply::Unknown),
            ("/nothing", Reply::Unknown),
        ] {
            assert_eq!(route(path), expected, "{path}");
        }
    }
}
