//! The load generator: what to send ([`Plan`]), what came of it ([`Outcome`]), and the threads
//! that carry it out. How each protocol is spoken stands in the files beside this one.

mod exchange;
mod http1;
mod http2;
mod idle;
pub(crate) mod live;
mod pace;
pub(crate) mod request;
pub(crate) mod response;
mod tally;
mod tcp;
mod window;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{cpus, usage::Watch};
use live::Live;
pub(crate) use request::Request;
pub(crate) use tally::{Errors, Outcome, Tally};
use window::Window;

/// What is sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub(crate) enum Work {
    /// HTTP/1.1, one request at a time on each connection.
    Http1 { request: Request },
    /// HTTP/2, so many streams at a time on each connection.
    Http2 { request: Request, streams: usize },
    /// One stream of bytes per connection, from the back end to us.
    TcpBulk,
    /// Connect, send so many bytes, take so many, close.
    TcpShort { send: usize, receive: usize },
    /// So many connections that did one request each and then say nothing.
    Idle {
        request: Request,
        steps: Vec<usize>,
        #[serde(rename = "settle_ms")]
        settle: u64,
    },
}

/// What a generator is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) target: SocketAddr,
    pub(crate) work: Work,
    pub(crate) connections: usize,
    /// One per CPU at most; connections and rate are shared out.
    pub(crate) threads: usize,
    /// CPUs for the threads; empty to leave that to the kernel.
    pub(crate) cpus: Vec<usize>,
    /// Requests per second in all, each at its own time whatever became of those before it.
    /// Absent: a connection sends its next request when it has the answer to the last.
    pub(crate) rate: Option<f64>,
    /// Load before anything counts.
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
    /// Of one request.
    pub(crate) timeout: Duration,
    pub(crate) watch: Option<Watch>,
}

/// The part of a plan that one thread carries out.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    pub(crate) connections: usize,
    /// Time between two requests, and this thread's place between the others'.
    pub(crate) pace: Option<(Duration, Duration)>,
}

impl Plan {
    fn share(&self, thread: usize) -> Share {
        let extra = usize::from(thread < self.connections % self.threads);
        let pace = self.rate.map(|rate| {
            let between = Duration::from_secs_f64(1.0 / rate);
            (between * self.threads as u32, between * thread as u32)
        });
        Share {
            connections: self.connections / self.threads + extra,
            pace,
        }
    }

    /// Longest time that all of it may take.
    pub(crate) fn limit(&self) -> Duration {
        self.warm_up + self.duration + self.timeout * 2 + Duration::from_secs(10)
    }
}

/// Carries out a plan. Blocks until it is done; `live` is told how it goes.
pub(crate) fn run(plan: &Plan, live: &Arc<Live>) -> io::Result<Outcome> {
    let mut plan = plan.clone();
    plan.threads = plan.threads.clamp(1, plan.connections.max(1));
    if let Work::Idle { .. } = plan.work {
        return idle::run(&plan);
    }
    // Threads begin together, or their windows would differ.
    let start = Arc::new(Barrier::new(plan.threads));
    let plan = Arc::new(plan);
    let spawn = |index: usize| {
        let (plan, start, live) = (Arc::clone(&plan), Arc::clone(&start), Arc::clone(live));
        thread::Builder::new()
            .name(format!("load-{index}"))
            .spawn(move || {
                if let Some(cpu) = plan.cpus.get(index % plan.cpus.len().max(1)) {
                    cpus::pin(&[*cpu])?;
                }
                cpus::sharp_timers();
                let share = plan.share(index);
                let leader = index == 0;
                one(&plan, &share, leader, &start, &live)
            })
    };
    let threads: Vec<_> = (0..plan.threads).map(spawn).collect::<Result<_, _>>()?;
    let mut all = Outcome::default();
    for thread in threads {
        let tally = thread
            .join()
            .map_err(|_| io::Error::other("a thread of the generator panicked"))??;
        all.add(tally);
    }
    all.finish(&plan);
    Ok(all)
}

fn one(
    plan: &Plan,
    share: &Share,
    leader: bool,
    start: &Barrier,
    live: &Live,
) -> io::Result<Tally> {
    let ready = || {
        start.wait();
        let watch = plan.watch.as_ref().filter(|_| leader);
        Window::new(plan.warm_up, plan.duration, watch.cloned())
    };
    match &plan.work {
        Work::Http1 { request } => http1::run(plan, share, request, ready, live),
        Work::Http2 { request, streams } => http2::run(plan, share, request, *streams, ready, live),
        Work::TcpBulk => tcp::bulk(plan, share, ready, live),
        Work::TcpShort { send, receive } => tcp::short(plan, share, (*send, *receive), ready, live),
        Work::Idle { .. } => unreachable!("has no threads"),
    }
}

/// One request over HTTP/2: its status, with gRPC's taken into account, and its body.
pub(crate) fn once(
    target: SocketAddr,
    request: &Request,
    limit: Duration,
) -> io::Result<(u16, Vec<u8>)> {
    http2::once(target, request, limit)
}
