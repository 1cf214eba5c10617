//! A request on its way to an endpoint: its head, and the body behind it.

use std::task::{Context, Poll};

use outrigger_config::model::SendProxyProtocol;

use super::{
    Conn, forwarded,
    pump::{Broken, Encoding, Plan, Progress, Pump},
};
use crate::{
    cluster::Cluster,
    error::{Cause, Failure},
    h1::write_request,
    message::{Body, RequestView},
    net::{buffer::Buffer, proxy_protocol},
    shared::State,
    upstream::Connection,
};

/// The request's way upstream.
pub(super) struct Upload {
    pub(super) pump: Pump,
    /// Writing failed. The endpoint may have answered before it stopped reading.
    refused: bool,
}

/// Writes the request's head, and lines up its body behind it.
pub(super) fn start(conn: &Conn, state: &mut State, cluster: &Cluster, greet: bool) -> Pump {
    let mut out = std::mem::take(&mut state.to_upstream);
    out.clear();
    if greet {
        greeting(conn, cluster, &mut out);
    }
    let view = RequestView {
        bytes: &state.head,
        head: &state.request,
    };
    let settings = &conn.listener.http;
    let upgrade = forwarded::upgrade_allowed(&state.head, &state.request, &settings.upgrades);
    let host = if view.authority().is_empty() {
        cluster.name.as_bytes()
    } else {
        view.authority()
    };
    write_request(&mut out, &view, &state.edits, upgrade, host);
    let body = state.request.body;
    let encoding = if body == Body::Chunked {
        Encoding::Chunked
    } else {
        Encoding::Plain
    };
    let plan = Plan {
        body,
        encoding,
        limits: settings.limits,
        most: settings.max_body,
        from_upstream: false,
        budget: conn.worker.budget.clone(),
    };
    Pump::new(plan, out)
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

impl Upload {
    pub(super) fn new(pump: Pump) -> Self {
        Self {
            pump,
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
        connection: &mut Connection,
    ) -> Result<(), Failure> {
        if self.refused || self.pump.is_done() {
            return Ok(());
        }
        let moved = if self.pump.source_done() {
            Poll::Ready(Ok(Progress::SourceDone))
        } else {
            self.pump.poll(
                cx,
                &mut conn.stream,
                &mut state.downstream,
                &mut connection.stream,
            )
        };
        match moved {
            Poll::Ready(Ok(Progress::SourceDone)) => {
                if let Poll::Ready(Err(_)) =
                    self.pump
                        .poll_flush(cx, &mut state.downstream, &mut connection.stream)
                {
                    self.refused = true;
                }
            }
            Poll::Ready(Ok(Progress::Done)) | Poll::Pending => {}
            Poll::Ready(Err(Broken::SinkFailed)) => self.refused = true,
            Poll::Ready(Err(Broken::SourceEnded | Broken::SourceFailed)) => {
                return Err(Failure::new(Cause::ClientGone, "within the request body"));
            }
            Poll::Ready(Err(Broken::Framing(failure))) => return Err(failure),
        }
        Ok(())
    }

    /// The whole request was sent.
    pub(super) fn is_complete(&self) -> bool {
        self.pump.is_done()
    }

    /// The whole request was read.
    pub(super) fn is_read(&self) -> bool {
        self.pump.source_done()
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.pump.is_blocked()
    }

    pub(super) fn progressed(&mut self) -> &mut bool {
        &mut self.pump.progressed
    }

    /// Ends it. What was read of the request and not sent is dropped from the client's `buffer`.
    /// Returns the payload bytes read, and the buffer that was lent.
    pub(super) fn finish(self, buffer: &mut Buffer) -> (u64, Vec<u8>) {
        (self.pump.moved, self.pump.finish(buffer))
    }
}
