//! What a connection is: its PROXY header, then its first bytes, read no further than needed. Where
//! the listener's cluster is the one destination of what is not HTTP, the server may be the first
//! to speak, and both sides are listened to.
//!
//! A connection of which nothing came yet holds no buffer.

use std::{
    future::{Future, pending, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use outrigger_config::model::{AcceptProxyProtocol, Protocol};
use tokio::{io::AsyncWrite, time::sleep};

use super::{
    First, Spoken, Tls,
    early::{self, Early},
    handshake,
};
use crate::{
    cluster::Cluster,
    drain::Phase,
    error::{Cause, Failure},
    http::Conn,
    net::{
        client_hello::{self, ClientHello},
        detect::{self, Detected},
        proxy_protocol,
        tls::Alpn,
    },
    route::TlsTable,
    shared::{BUFFER, State},
    snapshot::Listener,
    telemetry::metrics::Spoke,
    timer::now,
};

/// Whatever has to be seen before a decision fits the buffer it is read into.
const _: () =
    assert!(proxy_protocol::MOST < BUFFER && detect::MOST < BUFFER && client_hello::MOST <= BUFFER);

/// What is neither HTTP nor has another place to go.
const UNKNOWN: Failure = Failure::new(
    Cause::ProtocolUnknown,
    "not HTTP, and no cluster for anything else",
);

/// How long a PROXY header may take: its sender is a proxy that sends it with the connection.
const PROXY_HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads the PROXY header where one is required, and tells the protocol where that is open. What
/// was read is in `first` then.
pub(super) async fn look(conn: &mut Conn, first: &mut First) -> Result<Spoken, Failure> {
    let listener = Arc::clone(&conn.listener);
    if listener.config.proxy_protocol == AcceptProxyProtocol::Required {
        proxy_header(conn, first).await?;
    }
    // Whether it may be opaque. Nothing is dialed on its account before that is known.
    let mut is_open = conn.verdict(None).denied.is_none();
    let mut found = None;
    if let Some(tls) = &listener.ends_tls {
        if listener.plain_too {
            found = plain(conn, first, is_open).await.transpose();
        }
        if found.is_none() {
            handshake::shake(conn, first, tls).await?;
            is_open = conn.verdict(None).denied.is_none();
        }
    }
    let found = match found {
        Some(found) => found,
        None => spoken(conn, first, &listener, is_open).await,
    };
    match found {
        // Requests are judged each by itself.
        Ok(Spoken::Http) => Ok(Spoken::Http),
        Ok(Spoken::Opaque(_))
        | Err(Failure {
            cause: Cause::ProtocolUnknown,
            ..
        }) => {
            conn.heed(&conn.verdict(None), &mut first.told)?;
            found
        }
        Err(failure) => Err(failure),
    }
}

/// What it speaks. Where it may not be opaque nothing is dialed before that is known.
async fn spoken(
    conn: &mut Conn,
    first: &mut First,
    listener: &Listener,
    is_open: bool,
) -> Result<Spoken, Failure> {
    let agreed = conn.secured.as_ref().map(|secured| secured.facts.alpn);
    let agreed_on_http = matches!(agreed, Some(Alpn::Http1 | Alpn::Http2));
    if agreed_on_http && listener.config.protocol != Protocol::Tcp {
        return Ok(Spoken::Http);
    }
    match (listener.config.protocol, &listener.cluster) {
        (Protocol::Http, _) => Ok(Spoken::Http),
        (Protocol::Tcp, Some(cluster)) => Ok(Spoken::Opaque(Arc::clone(cluster))),
        (Protocol::Tcp, None) => Err(Failure::from(Cause::BadRoute)),
        (Protocol::Auto, cluster) => {
            conn.timer.set(now(), listener.config.detect_timeout);
            let cluster = cluster.as_ref().filter(|_| is_open);
            let (spoke, spoken) = detect_protocol(conn, first, cluster).await?;
            listener.cells.at(conn.worker.id).spoke(spoke);
            first.spoke = Some(spoke);
            match (spoke, &listener.tls) {
                (Spoke::Tls, Some(table)) => by_name(conn, first, table).await,
                _ => spoken.ok_or(UNKNOWN),
            }
        }
        (Protocol::TlsPassthrough, _) => {
            conn.timer.set(now(), listener.config.detect_timeout);
            match &listener.tls {
                Some(table) => by_name(conn, first, table).await,
                None => Err(Failure::from(Cause::BadRoute)),
            }
        }
    }
}

/// What a connection is that does not begin with TLS, where it may or may not; `None`: it does.
async fn plain(
    conn: &mut Conn,
    first: &mut First,
    is_open: bool,
) -> Result<Option<Spoken>, Failure> {
    let listener = Arc::clone(&conn.listener);
    conn.timer.set(now(), listener.config.detect_timeout);
    if listener.config.protocol == Protocol::Http {
        while first.bytes().is_empty() {
            match more(conn, first).await {
                Ok(true) => {}
                // How long it may be silent is for HTTP to say.
                Ok(false) => break,
                Err(cause) => return Err(Failure::new(cause, "before its first byte")),
            }
        }
        let is_tls = first.bytes().first() == Some(&client_hello::HANDSHAKE);
        return Ok((!is_tls).then_some(Spoken::Http));
    }
    let cluster = listener.cluster.as_ref().filter(|_| is_open);
    let (spoke, spoken) = detect_protocol(conn, first, cluster).await?;
    if spoke == Spoke::Tls {
        // What is within may be for somebody else.
        if let Some(early) = first.early.take() {
            early.let_go(conn);
        }
        return Ok(None);
    }
    first.spoke = Some(spoke);
    let spoken = if listener.config.protocol == Protocol::Tcp {
        cluster.cloned().map(Spoken::Opaque)
    } else {
        listener.cells.at(conn.worker.id).spoke(spoke);
        spoken
    };
    spoken.map(Some).ok_or(UNKNOWN)
}

/// Reads more of what the client sends. `false`: the time that is set is over.
async fn more(conn: &mut Conn, first: &mut First) -> Result<bool, Cause> {
    poll_fn(|cx| match poll_client(cx, conn, first) {
        Poll::Ready(read) => Poll::Ready(read.map(|()| true)),
        Poll::Pending => poll_end(cx, conn).map_ok(|()| false),
    })
    .await
}

/// Reads what is there into the state's buffer. A state is taken when something is.
fn poll_client(
    cx: &mut Context<'_>,
    conn: &mut Conn,
    first: &mut First,
) -> Poll<Result<(), Cause>> {
    let Some(stream) = conn.side.stream() else {
        return Poll::Ready(Err(Cause::ClientGone));
    };
    ready!(stream.poll_read_ready(cx)).map_err(|_| Cause::ClientGone)?;
    let worker = &conn.worker;
    let state = first.state.get_or_insert_with(|| worker.take_state());
    match ready!(stream.poll_read_into(cx, state.downstream.spare())) {
        Ok(n) if n > 0 => {
            state.downstream.received(n);
            Poll::Ready(Ok(()))
        }
        _ => Poll::Ready(Err(Cause::ClientGone)),
    }
}

fn taken<'a>(conn: &Conn, state: &'a mut Option<Box<State>>) -> &'a mut State {
    state.get_or_insert_with(|| conn.worker.take_state())
}

/// Whether waiting is over: the process is leaving, or (without an error) the time is up.
pub(super) fn poll_end(cx: &mut Context<'_>, conn: &Conn) -> Poll<Result<(), Cause>> {
    if conn.phase() >= Phase::Closing {
        return Poll::Ready(Err(Cause::Draining));
    }
    conn.timer.poll_expired(cx).map(Ok)
}

async fn proxy_header(conn: &mut Conn, first: &mut First) -> Result<(), Failure> {
    use proxy_protocol::Parsed;
    conn.timer.set(now(), PROXY_HEADER_TIMEOUT);
    loop {
        match proxy_protocol::parse(first.bytes()) {
            Parsed::Done {
                length,
                source,
                destination,
            } => {
                let buffer = &mut taken(conn, &mut first.state).downstream;
                buffer.consume(length);
                // What comes now may need all of the room.
                buffer.compact();
                conn.peer = source.or(conn.peer);
                conn.local = destination.or(conn.local);
                return Ok(());
            }
            Parsed::Invalid(detail) => return Err(Failure::new(Cause::ProxyHeaderInvalid, detail)),
            Parsed::Incomplete => {}
        }
        match more(conn, first).await {
            Ok(true) => {}
            Ok(false) => {
                let detail = "no PROXY header in time";
                return Err(Failure::new(Cause::ProxyHeaderInvalid, detail));
            }
            Err(cause) => return Err(Failure::new(cause, "before the PROXY header")),
        }
    }
}

/// HTTP, or TLS, by the first bytes; what is anything else, or silent, goes to the listener's
/// cluster, if it names one.
async fn detect_protocol(
    conn: &mut Conn,
    first: &mut First,
    cluster: Option<&Arc<Cluster>>,
) -> Result<(Spoke, Option<Spoken>), Failure> {
    let opaque = || cluster.map(|cluster| Spoken::Opaque(Arc::clone(cluster)));
    let mut heard = match cluster {
        Some(cluster) if first.bytes().is_empty() => race(conn, first, cluster).await,
        _ => Ok(Heard::Client),
    };
    loop {
        match heard {
            Ok(Heard::Client) => {}
            Ok(Heard::Server) => return Ok((Spoke::ServerFirst, opaque())),
            // A client that began to speak and stopped spoke something else.
            Ok(Heard::Nobody) if first.bytes().is_empty() => return Ok((Spoke::Silent, opaque())),
            Ok(Heard::Nobody) => return Ok((Spoke::Opaque, opaque())),
            Err(cause) => return Err(Failure::new(cause, "before its protocol was known")),
        }
        match detect::detect(first.bytes()) {
            Detected::Http1 => return Ok((Spoke::Http1, Some(Spoken::Http))),
            Detected::Http2Preface => return Ok((Spoke::Http2, Some(Spoken::Http))),
            Detected::Tls => return Ok((Spoke::Tls, opaque())),
            Detected::Opaque => return Ok((Spoke::Opaque, opaque())),
            Detected::NeedMore => {}
        }
        heard = more(conn, first)
            .await
            .map(|came| if came { Heard::Client } else { Heard::Nobody });
    }
}

/// Who spoke.
enum Heard {
    Client,
    Server,
    /// Not before the time was up.
    Nobody,
}

/// Waits for the first bytes of either side. The cluster is dialed when the client has been silent
/// for a while. The client's first byte ends the race: from then on its bytes decide alone.
async fn race(conn: &mut Conn, first: &mut First, cluster: &Arc<Cluster>) -> Result<Heard, Cause> {
    let worker = Rc::clone(&conn.worker);
    let wait = early::wait(&conn.listener, cluster);
    let mut silence = pin!(async {
        match wait {
            None => pending().await,
            // What the client has sent may not have been looked for yet.
            Some(Duration::ZERO) => tokio::task::yield_now().await,
            Some(wait) => sleep(wait).await,
        }
    });
    let mut dialed = false;
    poll_fn(|cx| {
        if let Poll::Ready(read) = poll_client(cx, conn, first) {
            return Poll::Ready(read.map(|()| Heard::Client));
        }
        if !dialed && silence.as_mut().poll(cx).is_ready() {
            dialed = true;
            first.early = Some(Early::dial(conn, cluster));
        }
        if let Some(early) = &mut first.early {
            let buffer = || worker.take_state();
            match early.poll_spoken(cx, &mut first.state, buffer) {
                Poll::Ready(true) => {
                    early::greeted(conn);
                    return Poll::Ready(Ok(Heard::Server));
                }
                // It may yet turn out to be HTTP.
                Poll::Ready(false) => {
                    early::gone(conn);
                    first.early = None;
                }
                Poll::Pending => {}
            }
        }
        poll_end(cx, conn).map_ok(|()| Heard::Nobody)
    })
    .await
}

/// Reads the first message of TLS. `late` is what it is called if that takes too long.
pub(super) async fn hello(
    conn: &mut Conn,
    first: &mut First,
    late: Cause,
) -> Result<Box<ClientHello>, Failure> {
    use client_hello::Parsed;
    let mut scan = client_hello::Scan::default();
    loop {
        if first
            .bytes()
            .first()
            .is_some_and(|byte| *byte != client_hello::HANDSHAKE)
        {
            return Err(Failure::new(Cause::ProtocolUnknown, "not TLS"));
        }
        match scan.advance(first.bytes()) {
            Parsed::Done(hello) => return Ok(hello),
            Parsed::Invalid(detail) => return Err(Failure::new(Cause::TlsHelloInvalid, detail)),
            Parsed::Incomplete => {}
        }
        match more(conn, first).await {
            Ok(true) => {}
            Ok(false) => {
                let detail = "the ClientHello was not complete in time";
                return Err(Failure::new(late, detail));
            }
            Err(cause) => return Err(Failure::new(cause, "before its ClientHello was complete")),
        }
    }
}

/// Reads the first message of TLS, and finds the cluster for the name in it.
async fn by_name(conn: &mut Conn, first: &mut First, table: &TlsTable) -> Result<Spoken, Failure> {
    let hello = hello(conn, first, Cause::TlsHelloInvalid).await?;
    let route = table.find(hello.server_name()).cloned();
    let asks = hello.server_name().is_some();
    let tls = first.tls.insert(Tls { hello, route });
    let Some(route) = &tls.route else {
        let default = conn.listener.cluster.clone().map(Spoken::Opaque);
        return default.ok_or(Failure::new(
            Cause::NoTlsRoute,
            if asks {
                "no TLS route for the name it asks for"
            } else {
                "it asks for no name"
            },
        ));
    };
    let backend = route.backends.pick(&mut conn.worker.random.borrow_mut());
    let cluster = backend.and_then(|backend| backend.cluster.clone());
    cluster.map(Spoken::Opaque).ok_or(Failure::new(
        Cause::BadRoute,
        "the TLS route has no backend with a weight",
    ))
}

/// Tells a client of TLS that nobody has the name it asks for (RFC 6066 section 3), which says more
/// than a connection that just ends. If it does not take seven bytes now, it is not told.
pub(super) fn say_unrecognised(conn: &mut Conn) {
    /// A fatal alert, `unrecognized_name`.
    const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 112];
    let mut cx = Context::from_waker(std::task::Waker::noop());
    if let Some(stream) = conn.side.stream() {
        let _ = Pin::new(stream).poll_write(&mut cx, ALERT);
    }
}
