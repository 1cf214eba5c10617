//! From a request that is on its way to the head of its response.

use std::{
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, ready},
};

use super::{
    Conn, interim,
    patience::Patience,
    reach::Again,
    sides::{ClientStream, Upstream},
    switch,
    upload::Upload,
    watch::{impatience, poll_gone},
};
use crate::{
    cluster::Cluster,
    error::{Cause, Failure},
    h1::{HeadScan, parse_response},
    h2::{self as http2, Code, Gone},
    message::{Asked, Limits, Method, as_response},
    shared::{State, Worker},
    upstream::Connection,
};

/// Interim responses one request may draw; real servers send one or two.
const MAX_INTERIM: u32 = 16;

/// Why no head came.
pub(super) struct Lost {
    pub(super) failure: Failure,
    /// Whether the endpoint said that it did not process the request (RFC 9113 section 8.7).
    pub(super) unprocessed: Again,
}

impl From<Failure> for Lost {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            unprocessed: Again::No,
        }
    }
}

/// Sends, and reads until the head of a final response (or 101) is in `state.response`. Interim
/// responses go on to the client.
pub(super) async fn head(
    conn: &mut Conn,
    state: &mut State,
    cluster: &Cluster,
    upstream: &mut Upstream,
    upload: &mut Upload,
    patience: &mut Patience,
) -> Result<(), Lost> {
    let limits = Limits {
        head: cluster.config.max_header_size.0 as usize,
        line: usize::MAX / 2,
        fields: cluster.config.max_headers as usize,
    };
    let asked = if state.request.method == Method::Head {
        Asked::Head
    } else {
        Asked::Other
    };
    let worker = Rc::clone(&conn.worker);
    for _ in 0..MAX_INTERIM {
        let mut scan = HeadScan::default();
        let len = poll_fn(|cx| {
            upload.poll(cx, conn, state, upstream)?;
            let polled = match upstream {
                Upstream::Http1(connection) => {
                    poll_text(cx, &worker, state, connection, &mut scan, &limits, asked)
                }
                Upstream::Http2(stream) => poll_frames(cx, state, stream, &limits, asked),
            };
            match polled {
                Poll::Ready(head) => Poll::Ready(head),
                Poll::Pending => poll_watch(cx, conn, state, upload, patience).map_err(Lost::from),
            }
        })
        .await?;
        match state.response.status {
            101 if upload.is_complete() => return Ok(switch::check(conn, state)?),
            101 => {
                let detail = "101 before the request was complete";
                return Err(Failure::new(Cause::UpgradeFailed, detail).into());
            }
            100..=199 => interim::pass_on(conn, state, patience).await?,
            // To a client that asked by CONNECT it would say that the tunnel is open.
            200..=299 if state.request.extended_connect => {
                let detail = "success without a switch of protocols";
                return Err(Failure::new(Cause::UpgradeFailed, detail).into());
            }
            _ => {
                upload.answered();
                return Ok(());
            }
        }
        state.upstream.consume(len);
    }
    Err(Failure::new(Cause::BadResponse, "too many interim responses").into())
}

/// Reads a head from an HTTP/1 connection. Ready with its length in the buffer.
fn poll_text(
    cx: &mut Context<'_>,
    worker: &Worker,
    state: &mut State,
    connection: &mut Connection,
    scan: &mut HeadScan,
    limits: &Limits,
    asked: Asked,
) -> Poll<Result<usize, Lost>> {
    if state.upstream.capacity() == 0 {
        // A stream of an HTTP/2 connection begins without a buffer, and needs none while it waits.
        if connection.stream.poll_read_ready(cx).is_pending() {
            return Poll::Pending;
        }
        state.upstream = worker.lend_buffer();
    }
    loop {
        if !state.upstream.is_empty()
            && let Some(len) = scan
                .advance(state.upstream.filled(), limits)
                .map_err(as_response)?
        {
            let bytes = state.upstream.filled().get(..len).unwrap_or_default();
            parse_response(bytes, limits, asked, &mut state.response)?;
            return Poll::Ready(Ok(len));
        }
        if state.upstream.spare().is_empty() {
            state.upstream.compact();
            if state.upstream.spare().is_empty() {
                state.upstream.grow(state.upstream.capacity() * 2);
            }
        }
        let failure = match connection.stream.poll_read_into(cx, state.upstream.spare()) {
            Poll::Ready(Ok(n)) if n > 0 => {
                state.upstream.received(n);
                continue;
            }
            Poll::Ready(_) if state.upstream.is_empty() => {
                Failure::new(Cause::UpstreamClosed, "before any answer")
            }
            Poll::Ready(_) => Failure::new(Cause::ResponseIncomplete, "within the head"),
            Poll::Pending => return Poll::Pending,
        };
        return Poll::Ready(Err(failure.into()));
    }
}

/// Takes a head from a stream of an HTTP/2 connection, which leaves nothing in the buffer.
fn poll_frames(
    cx: &mut Context<'_>,
    state: &mut State,
    stream: &mut ClientStream,
    limits: &Limits,
    asked: Asked,
) -> Poll<Result<usize, Lost>> {
    let (text, head) = (&mut state.answer, &mut state.response);
    let protocol = stream.protocol.as_deref();
    let read = stream.stream.poll_head(cx, |block, end| match protocol {
        Some(protocol) if http2::is_success(block) => {
            http2::read_switch(block, protocol, limits, text, head)
        }
        _ => http2::read_response(block, end, asked, limits, text, head),
    });
    match ready!(read) {
        Ok(read) => Poll::Ready(Ok(read.map(|()| 0)?)),
        Err(gone) => Poll::Ready(Err(lost(gone, stream))),
    }
}

/// What became of a request whose stream ended without an answer.
fn lost(gone: Gone, stream: &ClientStream) -> Lost {
    if let Some(failure) = stream.lease.why() {
        return failure.into();
    }
    let (failure, unprocessed) = match gone {
        Gone::Broke => {
            let detail = "HTTP/2 protocol error";
            (Failure::new(Cause::BadResponse, detail), Again::No)
        }
        Gone::Reset(code) => {
            let refused = Again::safe_if(code == Code::REFUSED_STREAM);
            (Failure::new(Cause::UpstreamReset, BEFORE), refused)
        }
        // Streams up to the last one that GOAWAY names go on; it is the end of those above only.
        Gone::Left(Code::NO_ERROR) => (Failure::new(Cause::UpstreamClosed, BEFORE), Again::Left),
        Gone::Left(_) => (Failure::new(Cause::UpstreamClosed, BEFORE), Again::Safe),
        Gone::Closed | Gone::Given => (Failure::new(Cause::UpstreamClosed, BEFORE), Again::No),
    };
    Lost {
        failure,
        unprocessed,
    }
}

const BEFORE: &str = "before any answer";

/// What else may end the wait.
fn poll_watch(
    cx: &mut Context<'_>,
    conn: &mut Conn,
    state: &mut State,
    upload: &mut Upload,
    patience: &mut Patience,
) -> Poll<Result<usize, Failure>> {
    let waiting_for_client = !upload.is_complete() && !upload.is_blocked();
    let on_pause = || {
        if waiting_for_client {
            Cause::RequestBodyTimeout
        } else {
            Cause::UpstreamStalled
        }
    };
    if let Some(failure) = impatience(conn, cx, patience, upload.progressed(), on_pause) {
        return Poll::Ready(Err(failure));
    }
    // While the request is read, its end is seen there.
    if (upload.is_complete() || conn.is_stream()) && poll_gone(conn, state, cx) {
        return Poll::Ready(Err(Failure::new(Cause::ClientGone, "before the response")));
    }
    Poll::Pending
}
