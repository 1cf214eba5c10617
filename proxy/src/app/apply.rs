//! Putting a configuration to work: all of it, or nothing.
//!
//! Everything that can fail comes first (binding, opening files; building was in `next`); then the
//! table is swapped and the workers are told. What a failure leaves behind is dropped and the old
//! configuration serves on, untouched.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use outrigger_config::model;

use super::{
    App,
    faces::{Change, bind_face, faces},
    next::Resolving,
};
use crate::{
    net::{
        address::Address,
        listen::{Bound, ListenOptions, Sharing},
        options::SocketOptions,
    },
    snapshot::Snapshot,
    sys,
    telemetry::access_log::AccessLog,
    timer::now,
    worker::Order,
};

/// A connection with data is handed over at once, one without after this long (the kernel rounds up).
const DEFER_ACCEPT: Duration = Duration::from_secs(1);

/// One listener's sockets, by what they depend on.
pub(super) struct Listening {
    key: Key,
    address: model::BindAddress,
}

impl Listening {
    pub(super) fn address(&self) -> String {
        Address::from(&self.address).to_string()
    }
}

/// Whether nobody else could bind `wanted` while `own` is listened on.
fn is_in_the_way(own: &model::BindAddress, wanted: &model::BindAddress) -> bool {
    match (own, wanted) {
        (model::BindAddress::Tcp(own), model::BindAddress::Tcp(wanted)) => {
            // `[::]` takes both families, `0.0.0.0` one.
            let covers =
                |all: IpAddr, one: IpAddr| all.is_unspecified() && (all.is_ipv6() || one.is_ipv4());
            let (ours, theirs) = (own.ip(), wanted.ip());
            own.port() == wanted.port()
                && (ours == theirs || covers(ours, theirs) || covers(theirs, ours))
        }
        (own, wanted) => own == wanted,
    }
}

/// What sockets must be made anew for.
#[derive(Clone, PartialEq)]
struct Key {
    bind: model::BindAddress,
    backlog: u32,
    tcp: model::TcpOptions,
    client_first: bool,
}

/// Everything that was prepared and cannot fail any more.
struct Prepared {
    snapshot: Snapshot,
    names: HashMap<Arc<str>, Arc<Resolving>>,
    sockets: Vec<(Arc<str>, Key, Bound)>,
    access_log: LogChange,
    admin: Change,
    probes: Change,
}

/// What happens to the access log.
enum LogChange {
    Keep,
    Replace(Option<(model::AccessLog, AccessLog)>),
}

impl App {
    /// Puts a table to work. `outdated`: a newer one was refused meanwhile.
    ///
    /// # Errors
    /// Everything that stands against it, a line each; nothing has changed then.
    pub(super) async fn apply(
        &mut self,
        snapshot: Snapshot,
        names: HashMap<Arc<str>, Arc<Resolving>>,
        outdated: bool,
    ) -> Result<(), String> {
        let prepared = self.prepare(snapshot, names)?;
        self.note_what_needs_a_restart(&prepared.snapshot);
        self.carry_out(prepared, outdated).await
    }

    fn prepare(
        &self,
        snapshot: Snapshot,
        names: HashMap<Arc<str>, Arc<Resolving>>,
    ) -> Result<Prepared, String> {
        let config = &snapshot.source.config;
        let mut problems = Vec::new();
        let (admin, probes) = faces(config);
        let leaving = self.leaving(config);
        let sockets = self.bind(config, &leaving, &mut problems);
        let access_log = self.open_access_log(config, &mut problems);
        let shared = |bind: &_| sharing(&leaving, bind);
        let admin = bind_face(self.admin.as_ref(), admin, shared, &mut problems);
        let probes = bind_face(self.probes.as_ref(), probes, shared, &mut problems);
        if !problems.is_empty() {
            return Err(problems.join("\n"));
        }
        Ok(Prepared {
            snapshot,
            names,
            sockets,
            access_log,
            admin,
            probes,
        })
    }

    /// Binds what is new or changed.
    fn bind(
        &self,
        config: &model::Config,
        leaving: &[&model::BindAddress],
        problems: &mut Vec<String>,
    ) -> Vec<(Arc<str>, Key, Bound)> {
        let mut sockets = Vec::new();
        for listener in &config.listeners {
            let key = Key::of(listener);
            let current = self.listening.get(listener.name.as_str());
            if current.is_some_and(|c| c.key == key) {
                continue;
            }
            let options = ListenOptions {
                backlog: listener.backlog,
                socket: SocketOptions::from(&listener.tcp),
                defer_accept: key.client_first.then_some(DEFER_ACCEPT),
                sharing: sharing(leaving, &key.bind),
                ..ListenOptions::default()
            };
            match Bound::bind(&listener.bind, &options, self.process.workers) {
                Ok(bound) => sockets.push((listener.name.as_str().into(), key, bound)),
                Err(error) => problems.push(format!("listener {}: {error}", listener.name)),
            }
        }
        sockets
    }

    /// Addresses that are listened on and that `config` has no more use for as they are.
    fn leaving(&self, config: &model::Config) -> Vec<&model::BindAddress> {
        let stays = |name: &str, current: &Listening| {
            let next = config.listeners.iter().find(|l| l.name.as_str() == name);
            next.is_some_and(|next| Key::of(next) == current.key)
        };
        let listeners = self.listening.iter();
        let listeners = listeners.filter(|(name, current)| !stays(name, current));
        let (admin, probes) = faces(config);
        let faces = [(&self.admin, admin), (&self.probes, probes)];
        let faces = faces.into_iter().filter_map(|(current, next)| {
            let server = current.as_ref()?;
            let stays = next.is_some_and(|next| server.is(&next));
            (!stays).then_some(&server.address)
        });
        listeners
            .map(|(_, current)| &current.address)
            .chain(faces)
            .collect()
    }

    fn open_access_log(&self, config: &model::Config, problems: &mut Vec<String>) -> LogChange {
        let wanted = config.mesh.access_log.as_ref();
        if wanted == self.access_log.as_ref().map(|(config, _)| config) {
            return LogChange::Keep;
        }
        let Some(wanted) = wanted else {
            return LogChange::Replace(None);
        };
        match AccessLog::open(wanted, self.metrics.access_log()) {
            Ok(log) => LogChange::Replace(Some((wanted.clone(), log))),
            Err(error) => {
                problems.push(format!("mesh.access_log: {error}"));
                LogChange::Keep
            }
        }
    }

    /// From here on nothing fails.
    async fn carry_out(&mut self, prepared: Prepared, outdated: bool) -> Result<(), String> {
        let Prepared {
            snapshot,
            names,
            sockets,
            access_log,
            admin,
            probes,
        } = prepared;
        let (version, source) = (snapshot.version, Arc::clone(&snapshot.source));
        let limit = source.config.mesh.limits.connections;
        self.process
            .max_connections
            .store(limit, std::sync::atomic::Ordering::Relaxed);
        snapshot.change_endpoints(now());
        let before = self.process.table.swap(Arc::new(snapshot));
        self.shown.resolve(names);
        if let LogChange::Replace(log) = access_log {
            self.change_access_log(log);
        }
        self.start_workers()?;
        self.tell(|| Order::Swapped);
        let gone: Vec<_> = self
            .listening
            .keys()
            .filter(|name| {
                source
                    .config
                    .listeners
                    .iter()
                    .all(|l| l.name.as_str() != &***name)
            })
            .cloned()
            .collect();
        for (name, key, bound) in sockets {
            let address = bound.address().clone();
            for (worker, socket) in self.workers.iter().zip(bound.into_sockets()) {
                worker.send(Order::Listen {
                    name: Arc::clone(&name),
                    socket,
                });
            }
            self.listening.insert(name, Listening { key, address });
        }
        for name in gone {
            self.tell(|| Order::Unlisten {
                name: Arc::clone(&name),
            });
            self.listening.remove(&name);
        }
        for worker in &self.workers {
            worker.confirm().await;
        }
        self.retired.push(before);
        self.let_go_of_tables();
        self.change_faces(admin, probes);
        self.metrics
            .config_applied(version, &source.hash, !outdated);
        self.shown.applied(self.addresses(), !outdated);
        // The table before, and what reading took.
        sys::memory::trim();
        tracing::info!(version, hash = %source.hash, listeners = self.listening.len(), "the configuration serves");
        Ok(())
    }

    fn change_access_log(&mut self, log: Option<(model::AccessLog, AccessLog)>) {
        for worker in &self.workers {
            worker.send(Order::Log(log.as_ref().map(|(_, log)| log.handle())));
        }
        self.access_log = log;
    }

    /// Drops earlier tables that no connection looks at any more. Here and not by the last worker
    /// that turns away from one: freeing 10,000 routes takes milliseconds.
    pub(super) fn let_go_of_tables(&mut self) {
        const MOST: usize = 16;
        let in_use =
            |table: &Arc<Snapshot>| table.listeners.iter().any(|l| Arc::strong_count(l) > 1);
        self.retired.retain(in_use);
        let excess = self.retired.len().saturating_sub(MOST);
        self.retired.drain(..excess);
    }

    pub(super) fn tell(&self, order: impl Fn() -> Order) {
        for worker in &self.workers {
            worker.send(order());
        }
    }

    /// Some settings are read when threads start.
    fn note_what_needs_a_restart(&self, next: &Snapshot) {
        let before = &self.process.table.load().source.config.mesh;
        let after = &next.source.config.mesh;
        let first = self.workers.is_empty();
        let sizes = |m: &model::Mesh| {
            (
                m.workers,
                m.limits.buffer_pool,
                m.limits.bulk_buffers,
                m.limits.stream_buffers,
                m.metric_series,
            )
        };
        if !first && sizes(before) != sizes(after) {
            tracing::warn!(
                "mesh.workers, mesh.limits.buffer_pool, mesh.limits.bulk_buffers, mesh.limits.stream_buffers and mesh.metric_series take effect at the next start"
            );
        }
    }
}

impl Key {
    fn of(listener: &model::Listener) -> Self {
        let declared = matches!(
            listener.protocol,
            model::Protocol::Http | model::Protocol::TlsPassthrough
        );
        let announced = listener.proxy_protocol == model::AcceptProxyProtocol::Required;
        let encrypted = listener.tls.is_some() || listener.mtls == Some(model::Mtls::Strict);
        // On a Unix socket there is nothing of TCP to set.
        let is_tcp = matches!(listener.bind, model::BindAddress::Tcp(_));
        let tcp = if is_tcp {
            listener.tcp.clone()
        } else {
            model::TcpOptions::default()
        };
        Self {
            bind: listener.bind.clone(),
            backlog: listener.backlog,
            tcp,
            client_first: is_tcp && (declared || announced || encrypted),
        }
    }
}

/// Our own socket is in nobody's way but that of others: it goes.
fn sharing(leaving: &[&model::BindAddress], wanted: &model::BindAddress) -> Sharing {
    if leaving.iter().any(|own| is_in_the_way(own, wanted)) {
        Sharing::WithOwn
    } else {
        Sharing::Exclusive
    }
}
