//! All numbers of the process in one place: cells by name, what the side thread counts, and the
//! `OpenMetrics` text made from both.
//!
//! Touched when a snapshot is built and at a scrape, never by a request: a mutex is fine here.
//! What a name has counted lives as long as the name is configured and ten minutes longer, so
//! that its last counts are scraped and a name that comes back goes on where it stopped.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use super::{
    cells::{Budget, PerWorker},
    families::FAMILIES,
    metrics::{Cells, ClusterCells, ListenerCells, PolicyCells, RouteCells, WorkerCells},
    samples::Group,
};

/// How long counts outlive the last holder of their cells.
const KEEP: Duration = Duration::from_mins(10);

/// The name of the series shared by what exceeds the bound.
const OVERFLOW: &str = "overflow";

/// Every number there is.
#[derive(Debug)]
pub(crate) struct Metrics {
    workers: usize,
    listeners: Named<ListenerCells>,
    routes: Named<RouteCells>,
    clusters: Named<ClusterCells>,
    policies: Named<PolicyCells>,
    worker: Cells<WorkerCells>,
    started: Instant,
    config: Mutex<ConfigState>,
    reloads_applied: AtomicU64,
    reloads_rejected: AtomicU64,
    access_log: Arc<LogCounters>,
}

#[derive(Debug, Default)]
struct ConfigState {
    generation: u64,
    hash: Arc<str>,
    since: Option<Instant>,
    rejected: bool,
}

/// Lines of the access log, over all its outputs since the process began.
#[derive(Debug, Default)]
pub(crate) struct LogCounters {
    pub(crate) lines: AtomicU64,
    pub(crate) dropped: AtomicU64,
}

/// A certificate in use, for those who watch it.
#[derive(Clone, Debug)]
pub(crate) struct CertificateState {
    /// `listener`, `cluster`, `mesh` or `trust`, and its name.
    pub(crate) scope: &'static str,
    pub(crate) name: String,
    pub(crate) file: String,
    /// Seconds since 1970.
    pub(crate) expires: u64,
    /// How much of its life is over: the last of 50, 75, 90 and 100 percent that was reached.
    pub(crate) passed: u64,
}

/// What the kernel knows of the process; read by the caller of [`Metrics::encode`].
#[derive(Clone, Debug, Default)]
pub(crate) struct SystemStats {
    pub(crate) resident_bytes: u64,
    /// User and system time.
    pub(crate) cpu_seconds: f64,
    pub(crate) open_fds: u64,
    /// Resolutions of names that succeeded and failed.
    pub(crate) dns_resolved: u64,
    pub(crate) dns_failed: u64,
    /// Lines of the proxy's own log that could not be written.
    pub(crate) log_lost: u64,
    pub(crate) certificates: Vec<CertificateState>,
}

impl Metrics {
    /// `series` bounds the listeners, routes and clusters, each, that are counted by name.
    pub(crate) fn new(workers: usize, series: usize) -> Self {
        Self {
            workers,
            listeners: Named::new(workers, series),
            routes: Named::new(workers, series),
            clusters: Named::new(workers, series),
            policies: Named::new(workers, series),
            worker: Arc::new(PerWorker::new(workers)),
            started: Instant::now(),
            config: Mutex::default(),
            reloads_applied: AtomicU64::new(0),
            reloads_rejected: AtomicU64::new(0),
            access_log: Arc::default(),
        }
    }

    pub(crate) fn listener(&self, name: &str) -> Cells<ListenerCells> {
        self.listeners.cells(name, Instant::now())
    }

    pub(crate) fn route(&self, name: &str) -> Cells<RouteCells> {
        self.routes.cells(name, Instant::now())
    }

    pub(crate) fn cluster(&self, name: &str) -> Cells<ClusterCells> {
        self.clusters.cells(name, Instant::now())
    }

    pub(crate) fn policy(&self, name: &str) -> Cells<PolicyCells> {
        self.policies.cells(name, Instant::now())
    }

    pub(crate) fn worker(&self) -> Cells<WorkerCells> {
        Arc::clone(&self.worker)
    }

    /// Where access logs count their lines.
    pub(crate) fn access_log(&self) -> Arc<LogCounters> {
        Arc::clone(&self.access_log)
    }

    /// A configuration was put to work. `newest`: no newer one was refused meanwhile.
    pub(crate) fn config_applied(&self, generation: u64, hash: &str, newest: bool) {
        self.reloads_applied.fetch_add(1, Relaxed);
        *lock(&self.config) = ConfigState {
            generation,
            hash: clean(hash).into(),
            since: Some(Instant::now()),
            rejected: !newest,
        };
    }

    /// A configuration was read and refused; the one before still serves.
    pub(crate) fn config_rejected(&self) {
        self.reloads_rejected.fetch_add(1, Relaxed);
        lock(&self.config).rejected = true;
    }

    /// Appends everything as `OpenMetrics` 1.0 text.
    pub(crate) fn encode(&self, system: SystemStats, out: &mut String) {
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(self.gather(system, Instant::now())));
        prometheus_client::encoding::text::encode(out, &registry)
            .expect("writing to a string does not fail");
    }

    fn gather(&self, system: SystemStats, now: Instant) -> Gathered {
        let process = {
            let config = lock(&self.config);
            Process {
                reloads_applied: self.reloads_applied.load(Relaxed),
                reloads_rejected: self.reloads_rejected.load(Relaxed),
                last_reload_successful: config.since.is_some() && !config.rejected,
                generation: config.generation,
                hash: Arc::clone(&config.hash),
                config_age: config
                    .since
                    .map_or(Duration::ZERO, |since| now.duration_since(since)),
                dns_ok: system.dns_resolved,
                dns_errors: system.dns_failed,
                log_lines: self.access_log.lines.load(Relaxed),
                log_dropped: self.access_log.dropped.load(Relaxed),
                uptime: now.duration_since(self.started),
            }
        };
        Gathered {
            workers: self.workers,
            listeners: self.listeners.gather(now),
            routes: self.routes.gather(now),
            clusters: self.clusters.gather(now),
            policies: self.policies.gather(now),
            worker: self.worker(),
            overflowing: [
                ("listener", self.listeners.budget.refused()),
                ("route", self.routes.budget.refused()),
                ("cluster", self.clusters.budget.refused()),
                ("policy", self.policies.budget.refused()),
            ],
            process,
            system,
        }
    }
}

/// What one scrape shows.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) workers: usize,
    pub(super) listeners: Group<ListenerCells>,
    pub(super) routes: Group<RouteCells>,
    pub(super) clusters: Group<ClusterCells>,
    pub(super) policies: Group<PolicyCells>,
    pub(super) worker: Cells<WorkerCells>,
    pub(super) overflowing: [(&'static str, usize); 4],
    pub(super) process: Process,
    pub(super) system: SystemStats,
}

/// What the side thread counts.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) reloads_applied: u64,
    pub(super) reloads_rejected: u64,
    pub(super) last_reload_successful: bool,
    pub(super) generation: u64,
    pub(super) hash: Arc<str>,
    pub(super) config_age: Duration,
    pub(super) dns_ok: u64,
    pub(super) dns_errors: u64,
    pub(super) log_lines: u64,
    pub(super) log_dropped: u64,
    pub(super) uptime: Duration,
}

impl Collector for Gathered {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        FAMILIES
            .iter()
            .try_for_each(|family| family.encode(self, &mut encoder))
    }
}

/// Cells of one kind, by name.
#[derive(Debug)]
struct Named<T> {
    /// Names in use that are series of their own are bounded by it.
    budget: Arc<Budget<T>>,
    entries: Mutex<Entries<T>>,
}

#[derive(Debug)]
struct Entries<T> {
    by_name: BTreeMap<Arc<str>, Entry<T>>,
    /// Size at which a new name sweeps first, so that a process nobody scrapes forgets too.
    sweep_at: usize,
}

#[derive(Debug)]
struct Entry<T> {
    cells: Cells<T>,
    /// When it was first seen that nobody else holds the cells.
    left: Option<Instant>,
}

const LEAST_SWEEP: usize = 256;

impl<T: Default> Named<T> {
    fn new(workers: usize, series: usize) -> Self {
        Self {
            budget: Arc::new(Budget::new(workers, series)),
            entries: Mutex::new(Entries {
                by_name: BTreeMap::new(),
                sweep_at: LEAST_SWEEP,
            }),
        }
    }

    fn cells(&self, name: &str, now: Instant) -> Cells<T> {
        let name = clean(name);
        let mut entries = lock(&self.entries);
        if let Some(entry) = entries.by_name.get_mut(&*name) {
            entry.left = None;
            return Arc::clone(&entry.cells);
        }
        if entries.by_name.len() >= entries.sweep_at {
            self.sweep(&mut entries.by_name, now);
            entries.sweep_at = (entries.by_name.len() * 2).max(LEAST_SWEEP);
        }
        let cells = Arc::new(if name == OVERFLOW {
            PerWorker::overflowing(&self.budget)
        } else {
            PerWorker::within(&self.budget)
        });
        let entry = Entry {
            cells: Arc::clone(&cells),
            left: None,
        };
        entries.by_name.insert(name.into(), entry);
        cells
    }

    /// Forgets what nobody holds: at once if it counted nothing or its series are needed.
    fn sweep(&self, by_name: &mut BTreeMap<Arc<str>, Entry<T>>, now: Instant) {
        let needed = self.budget.is_spent() && self.budget.refused() > 0;
        by_name.retain(|_, entry| {
            // Only this map could hand out further holders, and it is locked.
            if Arc::strong_count(&entry.cells) > 1 {
                entry.left = None;
                return true;
            }
            let left = *entry.left.get_or_insert(now);
            entry.cells.is_series() && !needed && now.duration_since(left) < KEEP
        });
    }

    /// What was used, by name.
    fn gather(&self, now: Instant) -> Group<T> {
        let mut entries = lock(&self.entries);
        self.sweep(&mut entries.by_name, now);
        let mut group: Group<T> = entries
            .by_name
            .iter()
            .filter(|(_, entry)| entry.cells.is_series())
            .map(|(name, entry)| (Arc::clone(name), Arc::clone(&entry.cells)))
            .collect();
        if self.budget.overflow.is_series() {
            group.push((OVERFLOW.into(), Arc::clone(&self.budget.overflow)));
        }
        group
    }
}

/// Names were checked where they were read; whatever else comes is made harmless for a text
/// format of lines.
fn clean(name: &str) -> Cow<'_, str> {
    if name.contains(char::is_control) {
        name.replace(char::is_control, "\u{fffd}").into()
    } else {
        name.into()
    }
}

/// Nothing here is left half done by a panic, so a poisoned lock is a lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
