//! The process: what starts, in which order, and what happens until it ends.
//!
//! The main thread runs everything that is not traffic: the source of configuration, building
//! ([`next`]) and swapping tables ([`apply`]), name resolution, admin and probes ([`view`]), signals
//! and the way out ([`leave`]). Workers carry traffic and hear of it by orders.

mod apply;
mod certificates;
mod faces;
mod leave;
mod next;
mod view;

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use outrigger_config::{Loaded, model};
use outrigger_control_api::FileSource;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot},
};

use self::{
    apply::Listening,
    certificates::Lives,
    next::{Asked, Next},
    view::Shown,
};
use crate::{
    admin,
    net::address::Address,
    shared::{Parts, Process},
    snapshot::Snapshot,
    sys,
    telemetry::{access_log::AccessLog, log::LogControl, registry::Metrics},
    tls::Watched,
    worker,
};

/// How the process is run.
pub(crate) struct Options {
    pub(crate) source: Source,
    /// Written, as JSON with the addresses that are listened on, once traffic is served.
    pub(crate) ready_file: Option<PathBuf>,
    pub(crate) log: Option<LogControl>,
    /// Told the addresses once traffic is served.
    pub(crate) on_ready: Option<oneshot::Sender<Addresses>>,
    /// Answers to orders given from inside the process.
    pub(crate) orders: Option<(mpsc::UnboundedSender<Order>, mpsc::UnboundedReceiver<Order>)>,
}

/// Where configurations come from.
pub(crate) enum Source {
    File(PathBuf),
    /// One that never changes.
    Fixed(Box<Loaded>),
}

/// What is listened on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses {
    pub(crate) listeners: Vec<(String, String)>,
    pub(crate) admin: Option<String>,
    pub(crate) probes: Option<String>,
}

/// What admin and tests may ask of the process.
pub(crate) enum Order {
    Drain,
    /// Read the source again; the answer says when it serves or what is wrong.
    Reload(Asked),
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Every request was finished.
    Clean,
    /// The deadline cut connections.
    Cut,
    /// A worker died.
    Broken,
}

/// Everything the main thread owns.
struct App {
    process: Arc<Process>,
    metrics: Arc<Metrics>,
    workers: Vec<worker::Handle>,
    shown: Arc<Shown>,
    listening: HashMap<Arc<str>, Listening>,
    admin: Option<admin::Server>,
    probes: Option<admin::Server>,
    access_log: Option<(model::AccessLog, AccessLog)>,
    /// What serves next, when its names are resolved.
    next: Option<Next>,
    /// What was told of the lives of certificates.
    lives: Lives,
    /// Certificates and keys as they are now, where they are not those that serve.
    changed_files: Option<Watched>,
    /// The same, where they were refused: once is enough.
    refused_files: Option<Watched>,
    /// The newest text of the configuration was refused.
    text_refused: bool,
    /// Earlier tables that connections may still look at.
    retired: Vec<Arc<Snapshot>>,
}

/// Runs the process to its end.
///
/// # Errors
/// What kept it from serving: problems of the configuration, addresses in use.
pub(crate) fn run(options: Options) -> Result<Exit, String> {
    if let Err(error) = sys::limits::raise_open_files() {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(serve(options))
}

async fn serve(options: Options) -> Result<Exit, String> {
    let mut signals = Signals::new().map_err(|error| format!("cannot handle signals: {error}"))?;
    let (first, mut updates) = match options.source {
        Source::Fixed(loaded) => (*loaded, Updates::Never),
        Source::File(path) => {
            let mut source = FileSource::new(path);
            let text = source
                .read_now()
                .map_err(|error| format!("{}: {error}", source.path().display()))?;
            let first = read(&text, source.path())?;
            (first, Updates::File(Box::new(source)))
        }
    };
    let (sender, mut orders) = options.orders.unwrap_or_else(mpsc::unbounded_channel);
    let mut app = App::start(first, options.log, sender)?;
    let mut starting = Some((options.ready_file, options.on_ready));
    let mut watchdog = tokio::time::interval(std::time::Duration::from_secs(1));
    loop {
        tokio::select! {
            () = next::due(app.next.as_ref()) => match app.finish().await {
                Ok(()) => if let Some((file, told)) = starting.take() {
                    tell_ready(&app, file.as_deref(), told)?;
                },
                // There is none before it that could serve.
                Err(problems) if starting.is_some() => return Err(problems),
                Err(_) => {}
            },
            text = updates.next() => app.take(updates.path(), text, None),
            _ = signals.hangup.recv() => {
                app.reopen_logs();
                app.reload(&mut updates, None);
            }
            order = orders.recv() => match order {
                Some(Order::Drain) => break,
                Some(Order::Reload(answer)) => app.reload(&mut updates, Some(answer)),
                None => {}
            },
            () = Signals::leave(&mut signals.terminate, &mut signals.interrupt) => break,
            _ = watchdog.tick() => {
                app.let_go_of_tables();
                app.give_memory_back();
                app.look_at_files();
                if app.has_lost_a_worker() {
                    tracing::error!("a worker died: the process ends, since it cannot serve its share");
                    return Ok(Exit::Broken);
                }
            }
        }
    }
    // A second signal ends the process at once.
    tokio::select! {
        exit = leave::drain(app) => Ok(exit),
        () = Signals::leave(&mut signals.terminate, &mut signals.interrupt) => {
            tracing::warn!("a second signal: ending at once");
            Ok(Exit::Cut)
        }
    }
}

/// Reads a configuration; every problem is in the error.
pub(crate) fn read(text: &str, path: &Path) -> Result<Loaded, String> {
    outrigger_config::read(text, &path.display().to_string(), &|name| {
        std::env::var(name).ok()
    })
    .map_err(|problems| problems.to_string())
}

impl App {
    /// Shows itself, and has the first table wait for its names; only then it binds what that
    /// names, and serves.
    fn start(
        first: Loaded,
        log: Option<LogControl>,
        orders: mpsc::UnboundedSender<Order>,
    ) -> Result<Self, String> {
        let mesh = &first.config.mesh;
        let workers = match mesh.workers {
            model::Workers::Auto => sys::cgroup::workers(),
            model::Workers::Count(n) => usize::from(n),
        };
        let metrics = Arc::new(Metrics::new(workers, mesh.metric_series as usize));
        let process = Arc::new(Process {
            table: Arc::new(ArcSwap::from_pointee(Snapshot::empty())),
            connections: AtomicU32::new(0),
            max_connections: AtomicU32::new(mesh.limits.connections),
            workers,
            burst_passed: AtomicBool::new(false),
            pseudonym: format!("outrigger-{:08x}", fastrand::u32(..)).into(),
        });
        let shown = Arc::new(Shown::new(
            Arc::clone(&process),
            Arc::clone(&metrics),
            log,
            orders,
        ));
        let mut app = Self {
            process,
            metrics,
            workers: Vec::new(),
            shown,
            listening: HashMap::new(),
            admin: None,
            probes: None,
            access_log: None,
            next: None,
            lives: Lives::default(),
            changed_files: None,
            refused_files: None,
            text_refused: false,
            retired: Vec::new(),
        };
        app.open_faces(&first.config)?;
        app.next = Some(app.plan(Arc::new(first))?);
        Ok(app)
    }

    /// Workers are started with the first table, so that they see its limits.
    fn start_workers(&mut self) -> Result<(), String> {
        for id in self.workers.len()..self.process.workers {
            let log = self.access_log.as_ref().map(|(_, log)| log.handle());
            let parts = Parts {
                id,
                process: Arc::clone(&self.process),
                log,
                cells: self.metrics.worker(),
            };
            self.workers.push(
                worker::Handle::spawn(parts)
                    .map_err(|error| format!("cannot start a worker: {error}"))?,
            );
        }
        Ok(())
    }

    /// Reads the source again, whether it changed or not.
    fn reload(&mut self, updates: &mut Updates, asked: Option<Asked>) {
        match updates {
            Updates::File(source) => {
                let text = source.read_now();
                self.take(source.path(), text, asked);
            }
            Updates::Never => {
                if let Some(asked) = asked {
                    let why = "this configuration does not come from a file";
                    let _ = asked.send(Err(why.to_owned()));
                }
            }
        }
    }

    fn has_lost_a_worker(&self) -> bool {
        self.workers.iter().any(worker::Handle::is_dead)
    }

    /// After a burst has passed.
    fn give_memory_back(&self) {
        if self.process.burst_passed.swap(false, Relaxed) {
            sys::memory::trim();
        }
    }

    fn reopen_logs(&self) {
        if let Some((_, log)) = &self.access_log {
            log.reopen();
        }
    }

    fn addresses(&self) -> Addresses {
        let mut listeners: Vec<_> = self
            .listening
            .iter()
            .map(|(name, l)| (name.to_string(), l.address()))
            .collect();
        listeners.sort();
        let face = |server: &Option<admin::Server>| {
            let address = server.as_ref().map(|server| &server.address);
            address.map(|address| Address::from(address).to_string())
        };
        Addresses {
            listeners,
            admin: face(&self.admin),
            probes: face(&self.probes),
        }
    }
}

/// What may bring another configuration.
enum Updates {
    Never,
    File(Box<FileSource>),
}

impl Updates {
    /// The next text.
    async fn next(&mut self) -> io::Result<String> {
        match self {
            Self::Never => std::future::pending().await,
            Self::File(source) => source.next().await,
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Never => Path::new(""),
            Self::File(source) => source.path(),
        }
    }
}

/// The signals we answer to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn leave(terminate: &mut Signal, interrupt: &mut Signal) {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

/// Says, once, that traffic is served.
fn tell_ready(
    app: &App,
    file: Option<&Path>,
    told: Option<oneshot::Sender<Addresses>>,
) -> Result<(), String> {
    let addresses = app.addresses();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), workers = app.workers.len(), listeners = ?addresses.listeners, "ready");
    if let Some(path) = file {
        write_ready_file(path, &addresses)
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if let Some(told) = told {
        let _ = told.send(addresses);
    }
    Ok(())
}

fn write_ready_file(path: &Path, addresses: &Addresses) -> io::Result<()> {
    let listeners: serde_json::Map<_, _> = addresses
        .listeners
        .iter()
        .map(|(name, at)| (name.clone(), at.clone().into()))
        .collect();
    let content = serde_json::json!({
        "pid": std::process::id(),
        "listeners": listeners,
        "admin": addresses.admin,
        "probes": addresses.probes,
    });
    let temporary = path.with_extension(format!("tmp{}", std::process::id()));
    std::fs::write(&temporary, content.to_string())?;
    std::fs::rename(&temporary, path)
}
