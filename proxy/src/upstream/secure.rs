//! TLS to an endpoint that was just connected to, and what the endpoint is seen to speak.

use std::{future::poll_fn, rc::Rc, sync::Arc, time::Duration};

use rustls::pki_types::UnixTime;
use tokio::time::timeout;

use super::{Pools, Want, multiplexed::Connecting, pool::Pool};
use crate::{
    error::{Cause, Failure},
    net::{
        stream::Stream,
        tls::{Alpn, Handshake},
    },
    timer::now,
    tls::{ClientTls, End, Offer},
};

/// A connection over TLS to whom the cluster wants.
pub(super) struct Secured {
    pub(super) stream: Stream,
    /// HTTP/2 was agreed on.
    pub(super) http2: bool,
    pub(super) end: End,
    resumed: bool,
}

/// Makes a connection one over TLS.
pub(super) async fn secure(
    socket: Stream,
    tls: &ClientTls,
    want: &Want<'_>,
    offer: Offer,
    limit: Duration,
) -> Result<Secured, Failure> {
    let result = match timeout(limit, shake(socket, tls, want, offer)).await {
        Ok(result) => result,
        Err(_) => Err(Failure::new(
            Cause::ConnectTimeout,
            "within the TLS handshake",
        )),
    };
    let cells = want.cluster.cells.at(want.worker);
    match &result {
        Ok(secured) => cells.shaken(Ok(secured.resumed)),
        Err(failure) => cells.shaken(Err(failure.cause)),
    }
    result
}

async fn shake(
    socket: Stream,
    tls: &ClientTls,
    want: &Want<'_>,
    offer: Offer,
) -> Result<Secured, Failure> {
    tls.check_own()?;
    let name = tls.name_of(&want.endpoint.addresses)?;
    let config = Arc::clone(&tls.config);
    let mut handshake = Handshake::connect(socket, config, name.clone(), offer.protocols())?;
    poll_fn(|cx| handshake.poll(cx)).await?;
    let facts = handshake.facts();
    if facts.resumed {
        tls.recheck(handshake.certificates(), &name)?;
    }
    if !offer.is_met(&facts) {
        let detail = "the endpoint chose no protocol";
        return Err(Failure::new(Cause::UpstreamAlpn, detail));
    }
    let lives = tls.lives(handshake.certificates());
    Ok(Secured {
        end: End::of(lives, (now(), UnixTime::now()), fastrand::f64()),
        stream: handshake.done(),
        http2: facts.alpn == Alpn::Http2,
        resumed: facts.resumed,
    })
}

impl Pools {
    /// Whether an endpoint that may choose is known to choose HTTP/2.
    pub(crate) fn learned(&self, want: &Want<'_>) -> Option<bool> {
        self.of(want.endpoint).learned.get()
    }

    /// Finds out what an endpoint chooses, by a connection that is kept for whoever comes first.
    ///
    /// # Errors
    /// Causes of connecting, or of waiting for a place.
    pub(crate) async fn learn(&self, want: Want<'_>) -> Result<bool, Failure> {
        let pool = self.of(want.endpoint);
        loop {
            if let Some(known) = pool.learned.get() {
                return Ok(known);
            }
            if !pool.links.is_connecting() {
                break;
            }
            // One finds out for all.
            let waited = pool.wait(&want, || (!pool.links.is_connecting()).then_some(()));
            waited.await?;
        }
        let _connecting = Connecting::begin(&pool);
        let place = pool.place_or_wait(&want).await?;
        let want = Want {
            offer: Offer::Either,
            ..want
        };
        let dialed = pool.dial(&want).await?;
        let http2 = dialed.http2;
        pool.learned.set(Some(http2));
        if http2 {
            drop(pool.share(&want, dialed, place));
        } else {
            let connection = Pool::own(&pool, &want, dialed, place);
            connection.release(now(), None, want.workers);
        }
        Ok(http2)
    }
}

impl Pool {
    /// What is learned was not so.
    pub(super) fn unlearn(self: &Rc<Self>) {
        self.learned.set(None);
    }
}
