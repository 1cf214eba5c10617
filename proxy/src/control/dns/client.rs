//! Asking the name servers and the host's files, once: for the addresses of a host, or the hosts
//! of a service.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::rr::{Name, RData, RecordType, rdata::SRV},
};
use outrigger_config::model::{self, DnsFamily};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::system::{System, addresses_in, candidates};

/// How long `/etc/hosts` is believed, within the bounds of the settings.
const HOSTS_TTL: Duration = Duration::from_secs(10);

/// How long one address family may take after the other was answered.
const OTHER_FAMILY: Duration = Duration::from_secs(1);

/// SRV targets resolved at once.
const AT_ONCE: usize = 16;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// The name servers know that there is nothing.
    Nothing(&'static str),
    /// It could not be found out.
    Failed(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing(what) => f.write_str(what),
            Self::Failed(what) => f.write_str(what),
        }
    }
}

/// One resolution's view of the name servers and of the host's files.
pub(super) struct Client {
    resolver: TokioResolver,
    search: Vec<Name>,
    ndots: usize,
    hosts: String,
    family: DnsFamily,
    deadline: Instant,
}

/// The addresses of one host; `None` where a family could not be asked for.
pub(super) struct Host {
    pub(super) v4: Option<Vec<IpAddr>>,
    pub(super) v6: Option<Vec<IpAddr>>,
    pub(super) ttl: Duration,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            v4: None,
            v6: None,
            ttl: Duration::MAX,
        }
    }
}

/// What the name servers know of one name and type.
enum Found {
    Records(Vec<RData>, Duration),
    /// There are none of the type; or, `false`, there is no such name.
    Nothing {
        name_exists: bool,
    },
    Failed(NetError),
}

impl Client {
    /// A client of the name servers as the system names them now. It holds no connection and no
    /// cache, so it lives for one resolution only.
    pub(super) fn new(
        system: &mut System,
        settings: &model::Dns,
        family: DnsFamily,
    ) -> Result<Self, Problem> {
        let (config, mut options) = match system.resolv_conf() {
            Some(conf) => (conf.config, conf.options),
            None => Default::default(),
        };
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.timeout = options.timeout.min(settings.timeout);
        let (ndots, search) = (options.ndots, config.search().to_vec());
        let servers = if settings.servers.is_empty() {
            config.name_servers().to_vec()
        } else {
            settings.servers.iter().map(server).collect()
        };
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        Ok(Self {
            resolver: builder
                .build()
                .map_err(|error| Problem::Failed(error.to_string()))?,
            search,
            ndots,
            hosts: system.hosts(),
            family,
            deadline: Instant::now() + settings.timeout,
        })
    }

    /// The addresses of a host: those `/etc/hosts` has, else those of the first candidate name
    /// that has any.
    pub(super) async fn host(&self, name: &str) -> Result<Host, Problem> {
        let listed = addresses_in(&self.hosts, name);
        let (v4, v6): (Vec<_>, Vec<_>) = listed
            .into_iter()
            .filter(|it| {
                self.wants(if it.is_ipv4() {
                    RecordType::A
                } else {
                    RecordType::AAAA
                })
            })
            .partition(IpAddr::is_ipv4);
        if !v4.is_empty() || !v6.is_empty() {
            return Ok(Host {
                v4: Some(v4),
                v6: Some(v6),
                ttl: HOSTS_TTL,
            });
        }

        let mut search = Search::default();
        for name in candidates(name, &self.search, self.ndots).map_err(Problem::Failed)? {
            let (v4, v6) = self.both_families(&name).await;
            let mut host = Host::default();
            host.v4 = host.take(&v4);
            host.v6 = host.take(&v6);
            if matches!(v4, Found::Records(..)) || matches!(v6, Found::Records(..)) {
                return Ok(host);
            }
            search.without(v4.worse(v6))?;
        }
        Err(search.problem())
    }

    async fn both_families(&self, name: &Name) -> (Found, Found) {
        let mut v4 = std::pin::pin!(self.records(name, RecordType::A, self.deadline));
        let mut v6 = std::pin::pin!(self.records(name, RecordType::AAAA, self.deadline));
        tokio::select! {
            v4 = &mut v4 => {
                let v6 = timeout_at(self.patience(&v4), v6).await;
                (v4, v6.unwrap_or(Found::Failed(NetError::Timeout)))
            }
            v6 = &mut v6 => {
                let v4 = timeout_at(self.patience(&v6), v4).await;
                (v4.unwrap_or(Found::Failed(NetError::Timeout)), v6)
            }
        }
    }

    /// Until when the other family may take: not long where there is something to go on with.
    fn patience(&self, first: &Found) -> Instant {
        match first {
            Found::Records(..) => self.deadline.min(Instant::now() + OTHER_FAMILY),
            _ => self.deadline,
        }
    }

    fn wants(&self, kind: RecordType) -> bool {
        match self.family {
            DnsFamily::Both => true,
            DnsFamily::V4 => kind != RecordType::AAAA,
            DnsFamily::V6 => kind != RecordType::A,
        }
    }

    async fn records(&self, name: &Name, kind: RecordType, deadline: Instant) -> Found {
        if !self.wants(kind) {
            return Found::Nothing { name_exists: true };
        }
        let lookup = self.resolver.lookup(name.clone(), kind);
        let lookup = match timeout_at(deadline, lookup).await {
            Ok(Ok(lookup)) => lookup,
            Ok(Err(error)) if error.is_no_records_found() => {
                return Found::Nothing {
                    name_exists: !error.is_nx_domain(),
                };
            }
            Ok(Err(error)) => return Found::Failed(error),
            Err(_) => return Found::Failed(NetError::Timeout),
        };
        // Aliases on the way count too: the answer holds no longer than each of its parts.
        let ttl = lookup.answers().iter().map(|it| it.ttl).min();
        let records: Vec<RData> = lookup
            .answers()
            .iter()
            .filter(|it| it.record_type() == kind)
            .map(|it| it.data.clone())
            .collect();
        match ttl {
            Some(ttl) if !records.is_empty() => {
                Found::Records(records, Duration::from_secs(ttl.into()))
            }
            _ => Found::Nothing { name_exists: true },
        }
    }

    pub(super) async fn services(&self, name: &str) -> Result<(Vec<SRV>, Duration), Problem> {
        let mut search = Search::default();
        for name in candidates(name, &self.search, self.ndots).map_err(Problem::Failed)? {
            match self.records(&name, RecordType::SRV, self.deadline).await {
                Found::Records(records, ttl) => {
                    let service = |record| match record {
                        // The root as target says that there is no such service (RFC 2782).
                        RData::SRV(it) if !it.target.is_root() => Some(it),
                        _ => None,
                    };
                    return Ok((records.into_iter().filter_map(service).collect(), ttl));
                }
                nothing => search.without(nothing)?,
            }
        }
        Err(search.problem())
    }

    /// The addresses of the targets, by name.
    pub(super) async fn hosts_of(
        self: &Arc<Self>,
        records: &[SRV],
    ) -> BTreeMap<String, Result<Host, Problem>> {
        let mut hosts = BTreeMap::new();
        let mut asking = JoinSet::new();
        let mut names: Vec<String> = records.iter().map(|it| it.target.to_string()).collect();
        names.dedup();
        for name in names {
            let client = Arc::clone(self);
            asking.spawn(async move {
                let host = client.host(&name).await;
                (name, host)
            });
            while asking.len() >= AT_ONCE
                && let Some(Ok((name, host))) = asking.join_next().await
            {
                hosts.insert(name, host);
            }
        }
        while let Some(result) = asking.join_next().await {
            if let Ok((name, host)) = result {
                hosts.insert(name, host);
            }
        }
        hosts
    }
}

impl Host {
    /// The addresses of a family, whose time to live counts from now on.
    fn take(&mut self, found: &Found) -> Option<Vec<IpAddr>> {
        match found {
            Found::Records(records, ttl) => {
                self.ttl = self.ttl.min(*ttl);
                Some(records.iter().filter_map(RData::ip_addr).collect())
            }
            Found::Nothing { .. } => Some(Vec::new()),
            Found::Failed(_) => None,
        }
    }
}

impl Found {
    /// Of two without records, the one that says more about what to do: a name that does not
    /// exist has no records of the other type either; else a failure leaves that open.
    fn worse(self, other: Self) -> Self {
        match (&self, &other) {
            (Self::Nothing { name_exists: false }, _)
            | (Self::Failed(_), Self::Nothing { name_exists: true }) => self,
            _ => other,
        }
    }
}

/// The way through the candidates of a name.
#[derive(Debug, Default)]
struct Search {
    name_exists: bool,
    failure: Option<String>,
}

impl Search {
    /// One candidate has no records. Goes on, except where the next one could be another host by
    /// mistake: if it could not be found out whether this one exists. (An error that a server
    /// answers with does not end the search, as in the C library: servers outside know nothing
    /// of a search list's domains.)
    fn without(&mut self, found: Found) -> Result<(), Problem> {
        let failed = |text: &str| Err(Problem::Failed(text.to_owned()));
        match found {
            Found::Failed(NetError::Dns(DnsError::ResponseCode(code))) => {
                self.failure = Some(format!("the name server answered `{code}`"));
                Ok(())
            }
            Found::Failed(NetError::Timeout) => failed("no answer in time"),
            Found::Failed(NetError::NoConnections) => {
                failed("no name server is known or reachable")
            }
            Found::Failed(error) => failed(&error.to_string()),
            Found::Nothing { name_exists } => {
                self.name_exists |= name_exists;
                Ok(())
            }
            Found::Records(..) => Ok(()),
        }
    }

    fn problem(self) -> Problem {
        match self.failure {
            Some(failure) => Problem::Failed(failure),
            None if self.name_exists => Problem::Nothing("the name has no such records"),
            None => Problem::Nothing("no such name"),
        }
    }
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let at_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    NameServerConfig::new(address.ip(), true, connections.map(at_port).into())
}
