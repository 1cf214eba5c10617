//! A connection of HTTP/2: whatever a peer sends, it says the same however that is split, and holds
//! no more than a frame.

use std::sync::LazyLock;

use super::show;
use crate::h2::{
    abuse::{Limits, Role},
    frame::{HEAD, Head, MAX_FRAME},
    hpack,
    link::{End, Rehearsal, Settings},
    usual,
};

static LIMITS: LazyLock<Limits> = LazyLock::new(|| usual(1_024));

const SETTINGS: Settings = Settings {
    max_streams: 10,
    window: 65_535,
    connection_window: 65_535,
    header_list: 2_048,
    tunnels: true,
};

/// A connection's bytes, whole and in pieces. The first byte chooses who sends them, the second
/// the pieces.
pub fn frames(data: &[u8]) {
    let [role, cut, data @ ..] = data else {
        return;
    };
    let role = match role % 2 {
        0 => Role::Server,
        _ => Role::Client,
    };
    let (said, end) = play(role, data, data.len().max(1));
    for size in [1, 1 + usize::from(*cut)] {
        let (again, other) = play(role, data, size);
        // Rates go by a clock.
        if !matches!(
            (end, other),
            (Some(End::Flood(_)), _) | (_, Some(End::Flood(_)))
        ) {
            assert_eq!(end, other, "pieces of {size}: {}", show(data));
            assert_eq!(
                show(&again),
                show(&said),
                "pieces of {size}: {}",
                show(data)
            );
        }
    }
}

/// What we say to it, in whole frames, and why the connection ended.
fn play(role: Role, data: &[u8], size: usize) -> (Vec<u8>, Option<End>) {
    let mut link = Rehearsal::new(role, SETTINGS, &LIMITS);
    let mut block = Vec::new();
    hpack::known_field(&mut block, 2, b"GET", false);
    let ours: Vec<_> = match role {
        Role::Server => Vec::new(),
        Role::Client => (0..3).filter_map(|_| link.open(&block)).collect(),
    };
    let mut end = None;
    for piece in data.chunks(size) {
        end = link.feed(piece);
        if end.is_some() {
            break;
        }
        assert!(link.waits() < HEAD + MAX_FRAME as usize);
    }
    drop(ours);
    while let Some(mut stream) = link.accept() {
        stream.head(|block, _| assert!(block.size() > 0));
        drop(stream);
    }
    let said = link.said().to_vec();
    let mut rest = match role {
        Role::Server => &said[..],
        Role::Client => &said[24..],
    };
    while !rest.is_empty() {
        let head = Head::read(rest).expect("a whole head");
        rest = rest
            .get(HEAD + head.length as usize..)
            .expect("a whole frame");
    }
    (said, end)
}
