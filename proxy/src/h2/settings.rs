//! What we tell an HTTP/2 peer of ourselves, and what we bound it by.

use super::io;
use outrigger_config::model::Http2Options;

pub(crate) fn server_builder(settings: &Http2Options, head: u32) -> h2::server::Builder {
    let mut builder = io::server();
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

/// Several streams at their window at once, to begin with.
fn connection_window(settings: &Http2Options) -> u32 {
    (settings.initial_window.0 * 16).min(settings.max_window.0) as u32
}
