//! Endpoints by name: one task per cluster with `dns`, which resolves its name again and again
//! and replaces the cluster's endpoints when the answer is another one.
//!
//! An answer holds for its TTL, within the bounds of the settings, give or take a tenth, so that
//! many proxies do not ask at once. When resolution fails, or finds nothing, the endpoints of the
//! last good answer stay, and it is tried again soon and then ever more slowly. When an endpoint
//! cannot be connected to, it is tried at once, at most once a second: perhaps the endpoint moved.
//!
//! Runs beside the workers, never on them; the cluster swaps its endpoints for them.

mod client;
mod endpoints;
mod lookup;
mod system;

#[cfg(test)]
mod tests;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use outrigger_config::model;
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{Instant, sleep, sleep_until},
};

use self::{
    lookup::{Answer, Resolver},
    system::System,
};
use crate::cluster::Cluster;

/// Between two resolutions that failed connects ask for.
const FLOOR: Duration = Duration::from_secs(1);

/// After the first of several failures in a row, and at most.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// Resolves the name of one cluster until it is dropped.
#[derive(Debug)]
pub(crate) struct DnsTask {
    state: watch::Receiver<DnsState>,
    task: Option<AbortHandle>,
}

/// What is known about the resolution of one name.
#[derive(Clone, Debug, Default)]
pub(crate) struct DnsState {
    pub(crate) successes: u64,
    pub(crate) failures: u64,
    pub(crate) last_success: Option<SystemTime>,
    pub(crate) last_failure: Option<SystemTime>,
    /// What went wrong, if the last resolution failed; what was resolved before stays in use.
    pub(crate) error: Option<Arc<str>>,
    /// When the name is resolved next; `None` for an address, which never is.
    pub(crate) next: Option<SystemTime>,
}

/// Begins to resolve the name of a cluster. An address in place of a name is there at once.
///
/// `clock` gives nanoseconds since the process began, as the workers' clocks do. Call it within a
/// tokio runtime.
pub(crate) fn spawn(cluster: Arc<Cluster>, settings: &model::Dns, clock: fn() -> u64) -> DnsTask {
    spawn_with(cluster, settings, clock, System::default())
}

fn spawn_with(
    cluster: Arc<Cluster>,
    settings: &model::Dns,
    clock: fn() -> u64,
    system: System,
) -> DnsTask {
    let (sender, state) = watch::channel(DnsState::default());
    let done = |answer| {
        record(&sender, &cluster, answer, None);
        DnsTask {
            state: state.clone(),
            task: None,
        }
    };
    let Some(dns) = cluster.config.dns.clone() else {
        return done(Err("the cluster has no name to resolve".to_owned()));
    };
    let literal = dns.name.host.trim_matches(['[', ']']).parse::<IpAddr>();
    match (literal, dns.name.port) {
        (Ok(address), Some(port)) => {
            cluster.replace_endpoints(endpoints::at_addresses(&[address], port, 1), clock());
            done(Ok(()))
        }
        (Ok(_), None) => done(Err("an address needs a port".to_owned())),
        (Err(_), None) if !dns.srv => done(Err("the name needs a port".to_owned())),
        (Err(_), _) => {
            let keeper = Keeper {
                resolver: Resolver::new(dns, settings, system),
                settings: settings.clone(),
                state: sender,
                clock,
                cluster,
            };
            DnsTask {
                state,
                task: Some(tokio::spawn(keeper.run()).abort_handle()),
            }
        }
    }
}

impl DnsTask {
    /// How resolution goes, for operators.
    pub(crate) fn state(&self) -> DnsState {
        self.state.borrow().clone()
    }

    /// Waits until the name was resolved once.
    #[cfg(test)]
    pub(crate) async fn resolved_once(&self) {
        self.wait_until(|state| state.successes > 0).await;
    }

    /// Waits until resolution has been tried once, with whatever result.
    pub(crate) async fn tried_once(&self) {
        self.wait_until(|state| state.successes + state.failures > 0)
            .await;
    }

    async fn wait_until(&self, done: impl FnMut(&DnsState) -> bool) {
        if self.state.clone().wait_for(done).await.is_err() {
            // The task is gone and will not get there.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for DnsTask {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Keeps the endpoints of one cluster.
struct Keeper {
    cluster: Arc<Cluster>,
    resolver: Resolver,
    settings: model::Dns,
    state: watch::Sender<DnsState>,
    clock: fn() -> u64,
}

impl Keeper {
    async fn run(mut self) {
        let mut failures = 0u32;
        loop {
            let began = Instant::now();
            let (answer, wait) = match self.resolver.resolve().await {
                Ok(answer) => {
                    failures = 0;
                    let wait = jittered(self.kept_for(&answer), 0.1);
                    let now = (self.clock)();
                    self.cluster.replace_endpoints(answer.endpoints, now);
                    (Ok(()), wait)
                }
                Err(problem) => {
                    failures = failures.saturating_add(1);
                    let wait = jittered(retry_after(failures), 0.2);
                    (Err(problem.to_string()), wait)
                }
            };
            record(&self.state, &self.cluster, answer, Some(wait));
            tokio::select! {
                () = sleep(wait) => {}
                () = self.asked(began) => {}
            }
        }
    }

    fn kept_for(&self, answer: &Answer) -> Duration {
        let least = self.settings.min_ttl;
        answer.ttl.clamp(least, self.settings.max_ttl.max(least))
    }

    /// Waits until a failed connect asks for resolution, and it may be had.
    async fn asked(&self, began: Instant) {
        self.cluster.refresh_wanted().await;
        sleep_until(began + FLOOR).await;
    }
}

/// Counts a result, and says so in the log where it differs in kind from the one before.
fn record(
    state: &watch::Sender<DnsState>,
    cluster: &Cluster,
    answer: Result<(), String>,
    wait: Option<Duration>,
) {
    let now = SystemTime::now();
    let endpoints = cluster.endpoints().all.len();
    state.send_modify(|state| {
        state.next = wait.and_then(|wait| now.checked_add(wait));
        match answer {
            Ok(()) => {
                if state.successes == 0 || state.error.is_some() {
                    tracing::info!(cluster = &*cluster.name, endpoints, "name resolved");
                }
                state.successes += 1;
                state.last_success = Some(now);
                state.error = None;
            }
            Err(error) => {
                if state.error.is_none() {
                    tracing::warn!(
                        cluster = &*cluster.name,
                        error,
                        kept_endpoints = endpoints,
                        "name not resolved"
                    );
                }
                state.failures += 1;
                state.last_failure = Some(now);
                state.error = Some(error.into());
            }
        }
    });
}

/// The time to wait after so many failures in a row.
fn retry_after(failures: u32) -> Duration {
    let doubled = FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(LAST_RETRY)
}

/// Longer or shorter by up to that part, at random.
fn jittered(duration: Duration, part: f64) -> Duration {
    duration.mul_f64(1.0 + part * (2.0 * fastrand::f64() - 1.0))
}
