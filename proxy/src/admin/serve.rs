//! Accepting, and one connection. `hyper` speaks, `tower` bounds.

use std::{collections::VecDeque, convert::Infallible, pin::pin, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use http::{Request, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
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
    listen::{Caller, Listening},
    pages::{self, Answer},
};
use crate::net::stream::Stream;

/// Pause after an error of `accept` that is not the connection's own fault.
const PAUSE: Duration = Duration::from_millis(100);

type Call = (Caller, Request<Incoming>);

/// Serves until dropped; with it go its connections.
pub(super) async fn run(
    listening: Listening,
    gate: Arc<ArcSwap<Gate>>,
    view: Arc<dyn View>,
    limits: Limits,
) {
    let address = listening.address.clone();
    let acceptor = match listening.accept() {
        Ok(acceptor) => acceptor,
        Err(error) => {
            tracing::error!(%address, %error, "admin cannot be served");
            return;
        }
    };
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
    loop {
        tokio::select! {
            accepted = acceptor.accept() => match accepted {
                Ok((stream, caller)) => {
                    by_age.retain(|connection| !connection.is_finished());
                    while by_age.len() >= limits.connections {
                        let oldest = by_age.pop_front();
                        oldest.iter().for_each(AbortHandle::abort);
                    }
                    let serving = connection(stream, caller, service.clone(), limits);
                    by_age.push_back(connections.spawn(serving));
                }
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
        }
    }
}

async fn connection<S>(stream: Stream, caller: Caller, service: S, limits: Limits)
where
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
    if timeout(limits.age, serving.as_mut()).await.is_err() {
        serving.as_mut().graceful_shutdown();
        let _ = timeout(limits.request, serving).await;
    }
}

fn unanswered(error: &BoxError) -> Answer {
    let why = if error.is::<tower::timeout::error::Elapsed>() {
        "this took too long"
    } else {
        "too many requests are being answered"
    };
    pages::text(StatusCode::SERVICE_UNAVAILABLE, why)
}
