//! What admin and probes show of the process.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::pki_types::UnixTime;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::{Addresses, Order, next::Resolving};
use crate::{
    admin::{Reload, View},
    cluster::{Cluster, endpoint::Endpoint},
    identity::Root,
    shared::Process,
    sys::process::Usage,
    telemetry::{
        cells::Counter,
        log::LogControl,
        registry::{CertificateState, Metrics, SystemStats},
    },
    timer::now,
    tls::Certificate,
};

/// Shared with the tasks that answer.
pub(super) struct Shown {
    process: Arc<Process>,
    metrics: Arc<Metrics>,
    log: Option<LogControl>,
    orders: mpsc::UnboundedSender<Order>,
    leaving: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    addresses: Addresses,
    applied: Option<SystemTime>,
    /// The last refusal, while the configuration it concerns has not been replaced by a good one.
    rejected: Option<(SystemTime, String)>,
    resolving: HashMap<Arc<str>, Arc<Resolving>>,
    /// Resolutions, successful and failed, of clusters that are gone: counters do not go back.
    resolved_before: (u64, u64),
}

impl Shown {
    pub(super) fn new(
        process: Arc<Process>,
        metrics: Arc<Metrics>,
        log: Option<LogControl>,
        orders: mpsc::UnboundedSender<Order>,
    ) -> Self {
        Self {
            process,
            metrics,
            log,
            orders,
            leaving: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `newest`: no newer configuration was refused meanwhile.
    pub(super) fn applied(&self, addresses: Addresses, newest: bool) {
        let mut state = self.state();
        state.addresses = addresses;
        state.applied = Some(SystemTime::now());
        if newest {
            state.rejected = None;
        }
    }

    pub(super) fn rejected(&self, problems: &str) {
        self.state().rejected = Some((SystemTime::now(), problems.to_owned()));
    }

    pub(super) fn leaving(&self) {
        self.leaving.store(true, Relaxed);
    }

    pub(super) fn resolving(&self) -> HashMap<Arc<str>, Arc<Resolving>> {
        self.state().resolving.clone()
    }

    pub(super) fn resolve(&self, resolving: HashMap<Arc<str>, Arc<Resolving>>) {
        let mut state = self.state();
        let before = std::mem::replace(&mut state.resolving, resolving);
        for (name, old) in &before {
            let kept = state.resolving.get(name);
            if kept.is_none_or(|new| !Arc::ptr_eq(new, old)) {
                let done = old.task.state();
                state.resolved_before.0 += done.successes;
                state.resolved_before.1 += done.failures;
            }
        }
        drop(state);
        drop(before);
    }

    fn certificates(&self) -> Vec<CertificateState> {
        let table = self.process.table.load();
        let all = table.tls.certificates().into_iter();
        let now = UnixTime::now();
        all.map(|it| CertificateState {
            scope: it.scope,
            name: it.name.to_owned(),
            file: it.file.to_owned(),
            expires: it.life.not_after.as_secs(),
            passed: it.life.passed(now).percent(),
        })
        .collect()
    }

    /// Resolutions of names since the start, successful and failed.
    fn resolutions(&self) -> (u64, u64) {
        let state = self.state();
        let tasks = state.resolving.values().map(|r| r.task.state());
        tasks.fold(state.resolved_before, |(good, bad), task| {
            (good + task.successes, bad + task.failures)
        })
    }
}

fn show_cluster(cluster: &Cluster, resolving: Option<&Arc<Resolving>>) -> Value {
    let sum =
        |number: fn(&crate::telemetry::metrics::ClusterCells) -> u64| cluster.cells.total(number);
    let endpoints: Vec<_> = cluster.endpoints().all.iter().map(endpoint).collect();
    let mut shown = json!({
        "name": &*cluster.name,
        "endpoints": endpoints,
        "connections": cluster.cells.iter().map(|c| c.connections.value()).sum::<i64>(),
        "pending": cluster.cells.iter().map(|c| c.pending.value()).sum::<i64>(),
        "requests": sum(|c| c.responses.iter().map(Counter::value).sum()),
        "connect_failures": sum(|c| c.connect_failures.value()),
        "resent": sum(|c| c.resent.value()),
    });
    if let (Ok(Some(tls)), Some(object)) = (cluster.tls(), shown.as_object_mut()) {
        object.insert(
            "certificate".into(),
            tls.certificate().map(certificate).into(),
        );
    }
    if let (Some(resolving), Some(object)) = (resolving, shown.as_object_mut()) {
        let state = resolving.task.state();
        object.insert(
            "dns".into(),
            json!({
                "successes": state.successes,
                "failures": state.failures,
                "last_success": state.last_success.map(seconds),
                "error": state.error.as_deref(),
                "next": state.next.map(seconds),
            }),
        );
    }
    shown
}

fn endpoint(endpoint: &Arc<Endpoint>) -> Value {
    json!({
        "address": &*endpoint.name,
        "usable": endpoint.is_usable(),
        "active": endpoint.active(),
        "requests": endpoint.requests(),
        "failures": endpoint.failures(),
        "latency_ms": endpoint.latency(now()).map(|l| l.as_secs_f64() * 1e3),
    })
}

fn certificate(it: &Certificate) -> Value {
    json!({
        "file": &*it.file,
        "names": it.names.hosts().collect::<Vec<_>>(),
        "expires": it.life.not_after.as_secs(),
    })
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0.0, |d| d.as_secs_f64())
}

impl View for Shown {
    fn live(&self) -> bool {
        true
    }

    fn ready(&self) -> Result<(), String> {
        if self.leaving.load(Relaxed) {
            return Err("leaving".into());
        }
        self.state()
            .applied
            .map(|_| ())
            .ok_or_else(|| "no configuration serves yet".into())
    }

    fn config(&self) -> Value {
        let table = self.process.table.load_full();
        let state = self.state();
        json!({
            "version": table.version,
            "hash": table.source.hash,
            "applied": state.applied.map(seconds),
            "age_seconds": state.applied.and_then(|t| t.elapsed().ok()).map(|d| d.as_secs()),
            "rejected": state.rejected.as_ref().map(|(at, problems)| json!({ "at": seconds(*at), "problems": problems.lines().collect::<Vec<_>>() })),
            "config": serde_json::from_str::<Value>(&table.source.redacted_json()).unwrap_or(Value::Null),
        })
    }

    fn clusters(&self) -> Value {
        let table = self.process.table.load_full();
        let resolving = self.resolving();
        let mut clusters: Vec<_> = table.clusters.values().collect();
        clusters.sort_by(|a, b| a.name.cmp(&b.name));
        clusters
            .into_iter()
            .map(|c| show_cluster(c, resolving.get(&c.name)))
            .collect()
    }

    fn listeners(&self) -> Value {
        let table = self.process.table.load_full();
        let state = self.state();
        let address = |name: &str| {
            state
                .addresses
                .listeners
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, at)| at.clone())
        };
        table
            .listeners
            .iter()
            .map(|l| {
                let mut shown = json!({ "name": &*l.name, "address": address(&l.name), "connections": l.open.load(Relaxed), "limit": l.config.max_connections });
                if let (Some(tls), Some(object)) = (&l.ends_tls, shown.as_object_mut()) {
                    object.insert("certificates".into(), tls.certificates().map(certificate).collect());
                }
                shown
            })
            .collect()
    }

    fn identity(&self) -> Value {
        let table = self.process.table.load();
        let mesh = table.tls.mesh();
        let own = mesh.own.as_ref().map(|own| {
            let facts = &own.own.facts;
            json!({
                "id": facts.id.as_str(),
                "serial": &*facts.serial,
                "fingerprint": facts.fingerprint.to_string(),
                "not_before": facts.life.not_before.as_secs(),
                "not_after": facts.life.not_after.as_secs(),
                "file": &*own.certificate.file,
            })
        });
        let now = UnixTime::now();
        let trust: Vec<_> = (mesh.trust.domains())
            .map(|(domain, bundle)| {
                let root = |root: &Root| json!({ "fingerprint": &*root.fingerprint, "not_after": root.life.not_after.as_secs() });
                json!({
                    "name": domain.as_str(),
                    "roots": bundle.roots.iter().map(root).collect::<Vec<_>>(),
                    "revocation_lists": bundle.count_lists(),
                    "stale_revocation_lists": bundle.stale_lists(now),
                })
            })
            .collect();
        json!({ "own": own, "trust": trust })
    }

    fn metrics(&self, out: &mut String) {
        let usage = Usage::read();
        let (dns_resolved, dns_failed) = self.resolutions();
        let system = SystemStats {
            resident_bytes: usage.resident.unwrap_or(0),
            cpu_seconds: usage.cpu.map_or(0.0, |cpu| cpu.as_secs_f64()),
            open_fds: usage.open_files.unwrap_or(0),
            dns_resolved,
            dns_failed,
            log_lost: self.log.as_ref().map_or(0, LogControl::lost),
            certificates: self.certificates(),
        };
        self.metrics.encode(system, out);
    }

    fn set_log_level(&self, level: &str) -> Result<(), String> {
        self.log
            .as_ref()
            .ok_or("this process has no log of its own")?
            .set_level(level)
    }

    fn drain(&self) {
        let _ = self.orders.send(Order::Drain);
    }

    fn reload(&self) -> Reload {
        let (answer, answered) = oneshot::channel();
        let sent = self.orders.send(Order::Reload(answer));
        Box::pin(async move {
            sent.map_err(|_| "the process is leaving".to_owned())?;
            answered
                .await
                .unwrap_or_else(|_| Err("the process is leaving".to_owned()))
        })
    }
}
