//! What we tell an HTTP/2 peer of ourselves, and what we bound it by.

use super::{Bdp, io};
use outrigger_config::model::Http2Options;

/// `tunnels`: whether a client may ask for other protocols by extended CONNECT (RFC 8441).
pub(crate) fn server_builder(
    settings: &Http2Options,
    head: u32,
    tunnels: bool,
) -> h2::server::Builder {
    let mut builder = io::server();
    if tunnels {
        builder.enable_connect_protocol();
    }
    builder
        .initial_window_size(settings.initial_window.0 as u32)
        .initial_connection_window_size(connection_window(settings))
        .max_concurrent_streams(settings.max_streams)
        .max_header_list_size(head.saturating_mul(2));
    builder
}

pub(crate) fn client_builder(settings: &Http2Options, head: u32) -> h2::client::Builder {
    let mut builder = io::client();
    builder
        .initial_window_size(settings.initial_window.0 as u32)
        .initial_connection_window_size(connection_window(settings))
        .max_header_list_size(head.saturating_mul(2));
    builder
}

/// Every stream at its first window at once, so that those whose receivers are behind do not hold
/// up the others; no more than the most.
pub(crate) fn connection_window(settings: &Http2Options) -> u32 {
    let all = settings
        .initial_window
        .0
        .saturating_mul(u64::from(settings.max_streams));
    all.min(settings.max_window.0.max(settings.initial_window.0)) as u32
}

/// The estimate that lets windows grow.
pub(crate) fn bdp(ping: Option<h2::PingPong>, settings: &Http2Options) -> Option<Bdp> {
    let (first, most) = (settings.initial_window.0, settings.max_window.0);
    ping.map(|ping| Bdp::new(ping, first as u32, most.max(first) as u32))
}
