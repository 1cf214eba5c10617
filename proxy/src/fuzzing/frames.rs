//! HTTP/2 frames: the same however they are split, and judged alike.

use std::sync::LazyLock;

use super::show;
use crate::h2::{
    self,
    abuse::{Flood, Judge, Limits, Role},
    meter::{Fate, Head, Kind, Meter, PREFACE},
};

static LIMITS: LazyLock<Limits> = LazyLock::new(|| h2::usual(1_024));

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
    let whole = judge(role, data, data.len().max(1));
    let all = heads(role == Role::Server, data);
    assert!(
        all.starts_with(&whole.seen),
        "seen {:?} in {}",
        whole.seen,
        show(data)
    );
    if whole.flood.is_none() {
        assert_eq!(whole.seen, all, "{}", show(data));
    }
    // What goes on is what was seen, less what was taken out or stopped at.
    let left: Vec<_> = whole
        .seen
        .iter()
        .zip(&whole.fates)
        .filter(|(_, fate)| **fate == Fate::Pass)
        .map(|(head, _)| *head)
        .collect();
    assert_eq!(
        heads(role == Role::Server, &whole.on),
        left,
        "{}",
        show(data)
    );
    for size in [1, 1 + usize::from(*cut)] {
        let pieces = judge(role, data, size);
        assert_eq!(pieces.seen, whole.seen, "pieces of {size}: {}", show(data));
        assert_eq!(pieces.fates, whole.fates);
        assert_eq!(pieces.flood, whole.flood);
        assert!(pieces.on.len() >= whole.on.len());
        // Heads that lie in one piece are all taken out; single bytes hold none.
        if size == 1 && whole.flood.is_none() {
            assert_eq!(pieces.on, data);
        }
    }
}

struct Judged {
    seen: Vec<Head>,
    fates: Vec<Fate>,
    flood: Option<Flood>,
    on: Vec<u8>,
}

fn judge(role: Role, data: &[u8], size: usize) -> Judged {
    let mut meter = Meter::new(role == Role::Server);
    let mut judge = Judge::new(role, &LIMITS, 0);
    let (mut seen, mut fates, mut flood, mut on) = (Vec::new(), Vec::new(), None, Vec::new());
    for piece in data.chunks(size) {
        let mut piece = piece.to_vec();
        let n = meter.feed(&mut piece, |head| {
            seen.push(*head);
            // A clock that goes by what was seen, and not by pieces.
            let now = seen.len() as u64 * 1_000_000;
            let fate = judge.received(head, || now).unwrap_or_else(|found| {
                flood = Some(found);
                Fate::Stop
            });
            fates.push(fate);
            // Whatever comes back to the peer: it must not panic either.
            let _ = judge.sent(head, || now);
            fate
        });
        on.extend_from_slice(&piece[..n]);
        if flood.is_some() {
            break;
        }
    }
    Judged {
        seen,
        fates,
        flood,
        on,
    }
}

/// The plain reading of RFC 9113 section 4.1.
fn heads(preface: bool, data: &[u8]) -> Vec<Head> {
    let mut rest = data;
    if preface {
        rest = rest.get(PREFACE.len()..).unwrap_or_default();
    }
    let mut heads = Vec::new();
    while let Some((head, behind)) = rest.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let payload = behind.get(..length as usize).unwrap_or(behind);
        let kind = match head[3] {
            0x10 => Kind::Priority,
            number @ 0..10 => Kind::ALL[usize::from(number)],
            _ => Kind::Unknown,
        };
        let code = match (kind, length, payload.first_chunk()) {
            (Kind::Reset, 4.., Some(code)) => u32::from_be_bytes(*code),
            // Its head is not known to be whole yet.
            (Kind::Reset, 4.., None) => break,
            _ => 0,
        };
        heads.push(Head {
            length,
            kind,
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff,
            code,
        });
        rest = &behind[payload.len()..];
    }
    heads
}
