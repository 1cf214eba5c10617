//! Accepting, and one connection. `hyper` speaks, `tower` bounds.

use std::{collections::VecDeque, convert::Infallible, pin::pin, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use http::{Request, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};
use tower::{
    BoxError, Service, ServiceBuilder, ServiceExt as _, limit::GlobalConcurrencyLimitLayer,
    load_shed::LoadShedLayer, timeout::TimeoutLayer,
};

use super::{
    Limits, View,
    gate::Gate,
    listen::{Acceptor, Caller},
    pages::{self, Answer},
};
use crate::net::{address::Address, stream::Stream};

/// Pause after an error of `accept` that is not the connection's own fault.
const PAUSE: Duration = Duration::from_millis(100);

/// How long requests are still taken from those who are connected when a face ends.
const LAST_REQUESTS: Duration = Duration::from_millis(500);

type Call = (Caller, Request<Incoming>);

/// Serves until `ending` says so by its sender's end. Requests that are there by then are answered:
/// one of them may be the one that moved us elsewhere.
pub(super) async fn run(
    (address, acceptor): (Address, Acceptor),
    gate: Arc<ArcSwap<Gate>>,
    view: Arc<dyn View>,
    limits: Limits,
    mut ending: watch::Receiver<()>,
) {
    let shared = Arc::new((gate, view));
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(limits.request))
        .layer(LoadShedLayer::new())
        .layer(GlobalConcurrencyLimitLayer::new(limits.requests))
        .service_fn(move |(caller, request): Call| {
            let shared = Arc::clone(&shared);
            async move {
                let (gate, view) = &*shared;
                let answer =
                    pages::answer(&gate.load_full(), view, limits.body, caller, request).await;
                Ok::<_, Infallible>(answer)
            }
        });

    let mut connections = JoinSet::new();
    let mut by_age: VecDeque<AbortHandle> = VecDeque::new();
    let of_connections = ending.clone();
    let mut start = |connections: &mut JoinSet<()>, (stream, caller)| {
        by_age.retain(|connection| !connection.is_finished());
        while by_age.len() >= limits.connections {
            let oldest = by_age.pop_front();
            oldest.iter().for_each(AbortHandle::abort);
        }
        let ending = of_connections.clone();
        let serving = connection(stream, caller, service.clone(), limits, ending);
        by_age.push_back(connections.spawn(serving));
    };
    loop {
        tokio::select! {
            accepted = acceptor.accept() => match accepted {
                Ok(accepted) => start(&mut connections, accepted),
                Err(error) => {
                    tracing::warn!(%address, %error, "admin cannot accept");
                    sleep(PAUSE).await;
                }
            },
            Some(ended) = connections.join_next() => {
                if ended.is_err_and(|error| error.is_panic()) {
                    tracing::error!(%address, "an admin connection ended by a panic");
                }
            }
            _ = ending.changed() => break,
        }
    }
    // Closing the socket would reset what is queued.
    while let Ok(accepted) = acceptor.accept_queued() {
        start(&mut connections, accepted);
    }
    drop(acceptor);
    while connections.join_next().await.is_some() {}
}

async fn connection<S>(
    stream: Stream,
    caller: Caller,
    service: S,
    limits: Limits,
    mut ending: watch::Receiver<()>,
) where
    S: Service<Call, Response = Answer, Error = BoxError> + Clone,
{
    let service = service_fn(move |request| {
        let call = service.clone().oneshot((caller, request));
        async { Ok::<_, Infallible>(call.await.unwrap_or_else(|error| unanswered(&error))) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_headers(64)
        .max_buf_size(32 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    // How a connection ends is its client's business: there is nothing to report.
    tokio::select! {
        _ = serving.as_mut() => return,
        () = sleep(limits.age) => {}
        // `hyper` would close at once what it has read nothing of yet.
        () = async {
            let _ = ending.changed().await;
            sleep(LAST_REQUESTS).await;
        } => {}
    }
    serving.as_mut().graceful_shutdown();
    let _ = timeout(limits.request, serving).await;
}

fn unanswered(error: &BoxError) -> Answer {
    let why = if error.is::<tower::timeout::error::Elapsed>() {
        "this took too long"
    } else {
        "too many requests are being answered"
    };
    pages::text(StatusCode::SERVICE_UNAVAILABLE, why)
}
