//! What we tell an HTTP/2 peer of ourselves, and what we bound it by.

use super::{
    Bdp,
    abuse::{self, Limits},
    link,
};
use outrigger_config::model::{FrameRates, Http2Options, Rate};

/// `head`: bytes of a head. `tunnels`: whether a client may ask for other protocols by extended
/// CONNECT (RFC 8441).
pub(crate) fn settings(settings: &Http2Options, head: u32, tunnels: bool) -> link::Settings {
    link::Settings {
        max_streams: settings.max_streams,
        window: settings.initial_window.0 as u32,
        connection_window: connection_window(settings),
        header_list: head.saturating_mul(2),
        tunnels,
    }
}

/// Every stream at its first window at once, so that those whose receivers are behind do not hold
/// up the others; no more than the most.
fn connection_window(settings: &Http2Options) -> u32 {
    let all = settings
        .initial_window
        .0
        .saturating_mul(u64::from(settings.max_streams));
    all.min(settings.max_window.0.max(settings.initial_window.0)) as u32
}

/// The estimate that lets windows grow.
pub(crate) fn bdp(settings: &Http2Options) -> Bdp {
    let (first, most) = (settings.initial_window.0, settings.max_window.0);
    let connection = connection_window(settings);
    Bdp::new(first as u32, most.max(first) as u32, connection)
}

/// What a client may send. `many`: it carries many clients.
pub(crate) fn of_client(
    settings: &Http2Options,
    [resets, provoked_resets]: [&Rate; 2],
    head: u32,
    many: bool,
) -> Limits {
    let limits = limits(&settings.frames, [resets, provoked_resets], head);
    if many { limits.of_many() } else { limits }
}

/// What an endpoint may send. It is ours to choose whom we connect to. Its resets harm nobody, and
/// are not limited.
pub(crate) fn of_endpoint(settings: &Http2Options, head: u32) -> Limits {
    const UNUSED: Rate = Rate {
        burst: u32::MAX,
        per_second: u32::MAX,
    };
    limits(&settings.frames, [&UNUSED; 2], head).of_many()
}

fn limits(frames: &FrameRates, [resets, provoked_resets]: [&Rate; 2], head: u32) -> Limits {
    let rate = |rate: &Rate| abuse::Rate {
        burst: rate.burst,
        per_second: rate.per_second,
    };
    let limits = Limits {
        resets: rate(resets),
        provoked_resets: rate(provoked_resets),
        empty_data: rate(&frames.empty_data),
        settings: rate(&frames.settings),
        pings: rate(&frames.pings),
        priorities: rate(&frames.priorities),
        window_updates: rate(&frames.window_updates),
        others: rate(&frames.others),
        continuations: 0,
        header_block: 0,
    };
    limits.of_blocks(head)
}

/// The limits of a listener without settings.
pub(crate) fn usual(head: u32) -> Limits {
    let http = outrigger_config::model::HttpOptions::default();
    let resets = [&http.http2_resets, &http.http2_provoked_resets];
    of_client(&http.http2, resets, head, false)
}
