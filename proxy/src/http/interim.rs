//! What comes before a final response: interim responses, passed on as they come.

use super::{Conn, forwarded, patience::Patience, reply, sides::Downstream};
use crate::{
    error::Failure,
    h1::{Delivery, write_response},
    h2 as http2,
    message::{Body, Edits, Version},
    shared::State,
};

/// Passes an interim response on to a client that knows them (RFC 9110 section 15.2).
pub(super) async fn pass_on(
    conn: &mut Conn,
    state: &mut State,
    patience: &mut Patience,
) -> Result<(), Failure> {
    if state.request.version == Version::Http10 {
        return Ok(());
    }
    let mut out = std::mem::take(&mut state.to_downstream);
    out.clear();
    let view = state.answer();
    let mut edits = Edits::default();
    forwarded::drop_listed(view.bytes, &view.head.fields, &mut edits);
    if let Downstream::Http2(stream) = &mut conn.side {
        http2::write_response(&mut out, &view, &edits);
        // Fails only where the stream is gone, which is seen where it is watched.
        let _ = stream.stream.send_head(&out, false);
        out.clear();
        state.to_downstream = out;
        return Ok(());
    }
    write_response(
        &mut out,
        &view,
        &edits,
        Delivery {
            body: Body::None,
            close: false,
            version: Version::Http11,
            upgrade: false,
        },
    );
    let sent = reply::write_within(conn, &out, patience).await;
    out.clear();
    state.to_downstream = out;
    sent
}
