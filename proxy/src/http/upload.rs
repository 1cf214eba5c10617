//! A request on its way to an endpoint: its head, and the body behind it.

use std::task::{Context, Poll};

use outrigger_config::model::SendProxyProtocol;

use super::{
    Conn, forwarded,
    pump::{Broken, Plan, Progress},
    sides::Upstream,
    switch,
    transfer::{Carrier, Transfer, encoding},
};
use crate::{
    cluster::Cluster,
    error::{Cause, Failure},
    h1::write_request,
    h2 as http2,
    message::{Body, RequestView},
    net::{buffer::Buffer, proxy_protocol},
    shared::State,
};

/// The request's way upstream.
pub(super) struct Upload {
    transfer: Transfer,
    /// Writing failed. The endpoint may have answered before it stopped reading.
    refused: bool,
}

/// Writes the request's head for an HTTP/1 connection, and lines up its body behind it.
pub(super) fn start(conn: &Conn, state: &mut State, cluster: &Cluster, greet: bool) -> Upload {
    let mut out = std::mem::take(&mut state.to_upstream);
    out.clear();
    if greet {
        greeting(conn, cluster, &mut out);
    }
    let view = RequestView {
        bytes: &state.head,
        head: &state.request,
    };
    let upgrade = switches(conn, state);
    write_request(&mut out, &view, &state.edits, upgrade, host(&view, cluster));
    let plan = plan(conn, state);
    let from = conn.side.carrier();
    Upload::new(Transfer::new(from, Carrier::Http1, plan, out))
}

/// Whether the request asks for another protocol, and may.
pub(super) fn switches(conn: &Conn, state: &State) -> bool {
    forwarded::upgrade_allowed(&state.head, &state.request, &conn.listener.http.upgrades)
}

/// Appends the request's head as a header block, for a stream of an HTTP/2 connection.
pub(super) fn request(
    conn: &Conn,
    state: &State,
    cluster: &Cluster,
    out: &mut Vec<u8>,
) -> Result<http2::Written, Failure> {
    let view = RequestView {
        bytes: &state.head,
        head: &state.request,
    };
    let upgrade = switches(conn, state);
    if upgrade {
        switch::check_key(&view)?;
    }
    let (host, secure) = (host(&view, cluster), cluster.is_secured());
    http2::write_request(out, &view, &state.edits, upgrade, host, secure)
}

/// Lines up the body behind a head that was sent on a stream.
pub(super) fn start_stream(conn: &Conn, state: &mut State) -> Upload {
    let lent = std::mem::take(&mut state.to_upstream);
    let from = conn.side.carrier();
    let mut plan = plan(conn, state);
    if is_empty(state.request.body) {
        plan.body = Body::None;
    }
    Upload::new(Transfer::new(from, Carrier::Http2, plan, lent))
}

/// Whether the head says that nothing follows: then it ends its stream.
pub(super) fn is_empty(body: Body) -> bool {
    matches!(body, Body::None | Body::Length(0))
}

fn host<'a>(view: &RequestView<'a>, cluster: &'a Cluster) -> &'a [u8] {
    if view.authority().is_empty() {
        cluster.name.as_bytes()
    } else {
        view.authority()
    }
}

fn plan(conn: &Conn, state: &State) -> Plan {
    let settings = &conn.listener.http;
    Plan {
        body: state.request.body,
        encoding: encoding(state.request.body),
        limits: settings.limits,
        most: settings.max_body,
        from_upstream: false,
        last: false,
        budget: conn.worker.budget.clone(),
        behind: conn.worker.behind.clone(),
    }
}

/// The PROXY protocol header of a connection that serves this client alone.
pub(crate) fn greeting(conn: &Conn, cluster: &Cluster, out: &mut Vec<u8>) {
    let version = match cluster.config.proxy_protocol {
        SendProxyProtocol::Off => return,
        SendProxyProtocol::V1 => proxy_protocol::Version::V1,
        SendProxyProtocol::V2 => proxy_protocol::Version::V2,
    };
    proxy_protocol::write(version, conn.peer, conn.local, out);
}

fn no_memory() -> Failure {
    Failure::new(Cause::BuffersFull, "for a request's body")
}

impl Upload {
    pub(super) fn new(transfer: Transfer) -> Self {
        Self {
            transfer,
            refused: false,
        }
    }

    /// Moves the request on. What the endpoint refuses to take is not an error: it may have answered.
    ///
    /// # Errors
    /// The client's side failed.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        conn: &mut Conn,
        state: &mut State,
        upstream: &mut Upstream,
    ) -> Result<(), Failure> {
        if self.refused || self.transfer.is_done() {
            return Ok(());
        }
        let moved = if self.transfer.source_done() {
            Poll::Ready(Ok(Progress::SourceDone))
        } else {
            let source = conn.side.source();
            self.transfer
                .poll(cx, source, &mut state.downstream, upstream.sink())
        };
        match moved {
            Poll::Ready(Ok(Progress::SourceDone)) => {
                let sink = upstream.sink();
                let flushed = self.transfer.poll_flush(cx, &mut state.downstream, sink);
                match flushed {
                    Poll::Ready(Err(Broken::NoMemory)) => return Err(no_memory()),
                    Poll::Ready(Err(_)) => self.refused = true,
                    Poll::Ready(Ok(())) | Poll::Pending => {}
                }
            }
            Poll::Ready(Ok(Progress::Done)) | Poll::Pending => {}
            Poll::Ready(Err(Broken::SinkFailed)) => self.refused = true,
            Poll::Ready(Err(Broken::SourceEnded | Broken::SourceFailed | Broken::Reset(_))) => {
                return Err(Failure::new(Cause::ClientGone, "within the request body"));
            }
            Poll::Ready(Err(Broken::NoMemory)) => {
                return Err(no_memory());
            }
            Poll::Ready(Err(Broken::Framing(failure))) => return Err(failure),
        }
        Ok(())
    }

    /// The whole request was sent.
    pub(super) fn is_complete(&self) -> bool {
        self.transfer.is_done()
    }

    /// The whole request was read.
    pub(super) fn is_read(&self) -> bool {
        self.transfer.source_done()
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.transfer.is_blocked()
    }

    /// Makes it as if nothing had been sent. `false` where that cannot be.
    pub(super) fn rewind(&mut self) -> bool {
        self.transfer.rewind()
    }

    /// The endpoint has begun to answer: nothing is sent again.
    pub(super) fn answered(&mut self) {
        self.transfer.answered();
    }

    pub(super) fn waiting(&self) -> u64 {
        self.transfer.waiting()
    }

    pub(super) fn progressed(&mut self) -> &mut bool {
        self.transfer.progressed()
    }

    /// The payload bytes read, and what is under way.
    pub(super) fn into_transfer(self) -> (u64, Transfer) {
        (self.transfer.moved(), self.transfer)
    }

    /// Ends it. What was read of the request and not sent is dropped from the client's `buffer`.
    /// Returns the payload bytes read, and the buffer that was lent.
    pub(super) fn finish(self, buffer: &mut Buffer) -> (u64, Vec<u8>) {
        (self.transfer.moved(), self.transfer.finish(buffer))
    }
}
