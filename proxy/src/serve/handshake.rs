//! TLS that a listener ends: from the client's first byte to the end of the handshake.
//!
//! The `ClientHello` is read first, into the connection's usual buffer and no further than it may be
//! long. Only then the connection counts among the handshakes that the worker has at one time, so
//! that whoever just connects and is silent keeps nobody out.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use rustls::pki_types::UnixTime;

use super::{First, Tls, look};
use crate::{
    error::{Cause, Failure},
    http::{Conn, Downstream, Secured},
    net::tls::Handshake,
    timer::now,
    tls::{End, ServerTls},
};

/// How long a client that was told what is wrong may take to read it.
const LINGER: Duration = Duration::from_secs(1);

/// Makes the connection one over TLS. What the client is and asks for is in `first` and `conn` then.
pub(super) async fn shake(
    conn: &mut Conn,
    first: &mut First,
    tls: &Arc<ServerTls>,
) -> Result<(), Failure> {
    conn.timer.set(now(), tls.handshake_timeout);
    let result = steps(conn, first, tls).await;
    let cells = conn.listener.cells.at(conn.worker.id);
    cells.shaken(result.map_err(|failure| failure.cause));
    result.map(drop)
}

/// Whether an earlier session was resumed.
async fn steps(conn: &mut Conn, first: &mut First, tls: &Arc<ServerTls>) -> Result<bool, Failure> {
    let hello = look::hello(conn, first, Cause::TlsHandshakeTimeout).await?;
    let hello = &first.tls.insert(Tls { hello, route: None }).hello;
    let name = hello.server_name().map(Box::<[u8]>::from);
    let worker = Rc::clone(&conn.worker);
    let mut turn = pin!(worker.handshakes.acquire());
    let turn = poll_fn(|cx| match turn.as_mut().poll(cx) {
        Poll::Ready(turn) => Poll::Ready(turn.map_err(|_| Failure::from(Cause::Internal))),
        Poll::Pending => look::poll_end(cx, conn).map(|end| Err(late(end, "waiting for its turn"))),
    })
    .await?;
    tls.check_own()?;
    let Some(served) = tls.choose(name.as_deref()) else {
        return Err(Failure::from(Cause::BadRoute));
    };
    let side = std::mem::replace(&mut conn.side, Downstream::Driven);
    let Downstream::Http1(socket) = side else {
        return Err(Failure::from(Cause::Internal));
    };
    let config = Arc::clone(&served.config);
    let mut handshake = Handshake::accept(socket, config, first.bytes())?;
    if let Some(state) = first.state.take() {
        worker.give_state(state);
    }
    let done = poll_fn(|cx| match handshake.poll(cx) {
        Poll::Ready(done) => Poll::Ready(done),
        Poll::Pending => look::poll_end(cx, conn).map(|end| Err(late(end, "within the handshake"))),
    })
    .await;
    drop(turn);
    let facts = handshake.facts();
    let checked = done.and_then(|()| {
        if facts.resumed {
            tls.recheck(handshake.certificates())
        } else {
            Ok(())
        }
    });
    if let Err(failure) = checked {
        conn.timer.set(now(), LINGER);
        poll_fn(|cx| match handshake.poll_drain(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => look::poll_end(cx, conn).map(drop),
        })
        .await;
        return Err(failure);
    }
    let shown = tls.known(handshake.certificates())?;
    let clock = (now(), UnixTime::now());
    let end = End::of(shown.lives, clock, worker.random.borrow_mut().f64());
    conn.side = Downstream::Http1(handshake.done());
    conn.secured = Some(Rc::new(Secured {
        facts,
        name,
        served: Arc::clone(served),
        check_authority: tls.check_authority,
        peer: shown.peer,
        client_cert: shown.element,
        end,
    }));
    Ok(facts.resumed)
}

fn late(end: Result<(), Cause>, where_: &'static str) -> Failure {
    Failure::new(end.err().unwrap_or(Cause::TlsHandshakeTimeout), where_)
}
