//! One accepted connection, from the first byte to its protocol: [`look`] finds out what it is,
//! and then it is HTTP or an [`opaque`] connection. What happens within HTTP is not here.

mod early;
mod handshake;
mod look;
mod opaque;

use std::{sync::Arc, time::SystemTime};

use outrigger_config::model::{AcceptProxyProtocol, Protocol};

use self::early::Early;
use crate::{
    cluster::Cluster,
    error::{Cause, Failure},
    http::{self, Conn, Told},
    net::{accept::Peer, client_hello::ClientHello},
    route::TlsRoute,
    shared::{State, Worker},
    snapshot::Listener,
    telemetry::access_log::{Kind, Record},
    telemetry::metrics::Spoke,
    timer::now,
};

/// Serves an accepted connection to its end.
pub(crate) async fn serve(mut conn: Box<Conn>) {
    let mut state = None;
    if needs_look(&conn.listener) {
        // Boxed, as all that an idle HTTP connection does not need.
        match Box::pin(begin(conn)).await {
            Some(http) => (conn, state) = http,
            None => return,
        }
    }
    http::serve(conn, state).await;
}

/// Finds out what a connection is, and serves it if it is not HTTP; else returns what there is.
async fn begin(mut conn: Box<Conn>) -> Option<(Box<Conn>, Option<Box<State>>)> {
    let mut first = First::default();
    match Box::pin(look::look(&mut conn, &mut first)).await {
        Ok(Spoken::Http) => {}
        Ok(Spoken::Opaque(cluster)) => {
            Box::pin(opaque::serve(conn, cluster, first)).await;
            return None;
        }
        Err(failure) => {
            end_early(&mut conn, first, &failure);
            return None;
        }
    }
    first.goes_elsewhere(&conn);
    Some((conn, first.state))
}

/// Whether a connection's first bytes decide what it is.
fn needs_look(listener: &Listener) -> bool {
    listener.config.proxy_protocol != AcceptProxyProtocol::Off
        || listener.config.protocol != Protocol::Http
        || listener.ends_tls.is_some()
}

/// What a connection turned out to speak.
enum Spoken {
    /// Either version: its first line tells the HTTP room which.
    Http,
    /// Anything else, and where it goes.
    Opaque(Arc<Cluster>),
}

/// What there is of a connection when its protocol is known.
#[derive(Default)]
struct First {
    /// What was read: from the client, and from a server that spoke first.
    state: Option<Box<State>>,
    /// The listener's cluster, dialed before the client had spoken.
    early: Option<Box<Early>>,
    /// What a TLS connection that is passed through asked for.
    tls: Option<Tls>,
    /// What a policy said against it.
    told: Option<Told>,
    /// On what grounds it is what it is, where that had to be found out.
    spoke: Option<Spoke>,
}

/// What is known of a TLS connection from its first message.
struct Tls {
    hello: Box<ClientHello>,
    route: Option<Arc<TlsRoute>>,
}

impl First {
    /// The client does not go to the listener's cluster.
    fn goes_elsewhere(&mut self, conn: &Conn) {
        if self.spoke.is_some() {
            conn.listener.first_speaker.went_elsewhere(now());
        }
        if let Some(early) = self.early.take() {
            early.let_go(conn);
        }
    }

    /// What the client has said so far.
    fn bytes(&self) -> &[u8] {
        let state = self.state.as_deref();
        state.map_or(&[], |state| state.downstream.filled())
    }
}

/// Every state that was taken is given back, also where a connection ends early: the worker counts
/// how many are in use.
fn give_back(worker: &Worker, state: Option<Box<State>>) {
    if let Some(state) = state {
        worker.give_state(state);
    }
}

/// Counts and logs a connection that is closed at once because a limit is reached.
pub(crate) fn refuse(worker: &Worker, listener: &Listener, peer: Peer) {
    let cause = Cause::TooManyConnections;
    listener.cells.at(worker.id).failures.inc(cause);
    if let Some(log) = worker.log() {
        let mut record = Record::new(SystemTime::now(), Kind::Tcp, &listener.name);
        record.client = peer.remote;
        record.cause = Some(cause);
        log.log(&record);
    }
}

/// Counts and logs a connection that ended before anything served it.
fn end_early(conn: &mut Conn, first: First, failure: &Failure) {
    if first.early.is_some() {
        early::gone(conn);
    }
    give_back(&conn.worker, first.state);
    let told = first.told;
    let cells = conn.listener.cells.at(conn.worker.id);
    cells.failures.inc(failure.cause);
    if failure.cause == Cause::NoTlsRoute {
        look::say_unrecognised(conn);
    }
    log(conn, first.tls.as_ref(), Some(failure), |record| {
        if let Some(told) = &told {
            told.log(record);
        }
    });
}

/// Writes the line of a connection that is not HTTP. `more` says what is known of it besides.
fn log<'a>(
    conn: &'a Conn,
    tls: Option<&'a Tls>,
    failure: Option<&'a Failure>,
    more: impl FnOnce(&mut Record<'a>),
) {
    let Some(log) = conn.worker.log() else { return };
    let mut record = Record::new(SystemTime::now(), Kind::Tcp, &conn.listener.name);
    record.client = conn.peer;
    record.cause = failure.map(|f| f.cause);
    record.detail = failure.map_or("", |f| f.detail);
    if let Some(secured) = &conn.secured {
        secured.log(&mut record);
    } else if let Some(tls) = tls {
        record.protocol = Some("tls");
        record.sni = tls.hello.server_name();
        record.alpn = tls.hello.protocols();
        record.route = tls.route.as_ref().map(|route| &*route.name);
    }
    more(&mut record);
    record.time -= record.duration;
    log.log(&record);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<F: Future>(_: fn(Box<Conn>) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_that_waits_is_small() {
        assert!(size(serve) <= 128, "{}", size(serve));
    }
}
