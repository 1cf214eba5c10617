//! What ends an exchange from outside: time, the end of the process, a client that left.

use std::task::{Context, Poll};

use super::{Conn, patience::Patience, sides::Downstream};
use crate::{
    drain::Phase,
    error::{Cause, Failure},
    shared::State,
};

/// Whether patience has run out or the process ends.
pub(super) fn impatience(
    conn: &Conn,
    cx: &mut Context<'_>,
    patience: &mut Patience,
    progressed: &mut bool,
    on_pause: impl FnOnce() -> Cause,
) -> Option<Failure> {
    let expired = patience.poll(cx, &conn.timer, progressed);
    if conn.phase() == Phase::Cut {
        return Some(Failure::from(Cause::Draining));
    }
    match expired {
        Poll::Pending => None,
        Poll::Ready(expired) => Some(expired.failure(on_pause)),
    }
}

/// Whether the client closed its side, while we wait for the endpoint. A client that sends its
/// next request early is read as far as the buffer goes.
pub(super) fn poll_gone(conn: &mut Conn, state: &mut State, cx: &mut Context<'_>) -> bool {
    let stream = match &mut conn.side {
        Downstream::Http1(stream) => stream,
        Downstream::Http2(stream) => return stream.poll_gone(cx).is_ready(),
        Downstream::Driven => return false,
    };
    loop {
        let spare = state.downstream.spare();
        if spare.is_empty() {
            return false;
        }
        match stream.poll_read_into(cx, spare) {
            Poll::Ready(Ok(n)) if n > 0 => state.downstream.received(n),
            Poll::Ready(_) => return true,
            Poll::Pending => return false,
        }
    }
}
