//! One resolution: from a name to endpoints and the time they may be kept.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use hickory_resolver::proto::rr::rdata::SRV;
use outrigger_config::model;

use super::{
    client::{Client, Host, Problem},
    endpoints::{at_addresses, of_services},
    system::System,
};
use crate::cluster::EndpointSpec;

/// How long an answer is kept at most while a part of it could not be had.
const PARTIAL_TTL: Duration = Duration::from_secs(30);

/// What a name stands for.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) endpoints: Vec<EndpointSpec>,
    pub(super) ttl: Duration,
}

/// Resolves one name, time and again.
#[derive(Debug)]
pub(super) struct Resolver {
    dns: model::DnsEndpoints,
    settings: model::Dns,
    system: System,
    /// The last known addresses of each host asked for. Where one family, or one of many SRV
    /// targets, cannot be had for once, they stand in for it.
    known: BTreeMap<String, Addresses>,
}

/// Addresses of a host by family.
#[derive(Clone, Debug, Default)]
struct Addresses {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
}

impl Resolver {
    pub(super) fn new(dns: model::DnsEndpoints, settings: &model::Dns, system: System) -> Self {
        Self {
            dns,
            settings: settings.clone(),
            system,
            known: BTreeMap::new(),
        }
    }

    /// Asks once. An answer without endpoints is an error: the caller keeps what it has.
    pub(super) async fn resolve(&mut self) -> Result<Answer, Problem> {
        let client = Arc::new(Client::new(
            &mut self.system,
            &self.settings,
            self.dns.family,
        )?);
        let mut answer = if self.dns.srv {
            self.by_service(&client).await?
        } else {
            let name = self.dns.name.host.to_string();
            let port = self.dns.name.port.unwrap_or_default();
            let (addresses, ttl) = self.completed(&name, client.host(&name).await)?;
            Answer {
                endpoints: at_addresses(&addresses, port, 1),
                ttl,
            }
        };
        answer
            .endpoints
            .truncate(self.settings.max_endpoints as usize);
        if answer.endpoints.is_empty() {
            return Err(Problem::Nothing("the name has no usable address"));
        }
        Ok(answer)
    }

    /// Endpoints of the most preferred SRV records that have any: those of higher priority
    /// numbers are there for when the others are gone (RFC 2782).
    async fn by_service(&mut self, client: &Arc<Client>) -> Result<Answer, Problem> {
        let (mut records, ttl) = client.services(&self.dns.name.host).await?;
        let order = |it: &SRV| (it.priority, it.target.clone(), it.port, it.weight);
        records.sort_by_cached_key(order);
        records.dedup();
        records.truncate(self.settings.max_endpoints as usize);

        let mut failure = None;
        for group in records.chunk_by(|a, b| a.priority == b.priority) {
            let mut ttl = ttl;
            let mut hosts = BTreeMap::new();
            for (name, host) in client.hosts_of(group).await {
                match self.completed(&name, host) {
                    Ok((addresses, of_host)) => {
                        ttl = ttl.min(of_host);
                        hosts.insert(name, addresses);
                    }
                    Err(error) => failure = Some(error),
                }
            }
            let of_record = |it: &SRV| hosts.get(&it.target.to_string()).cloned();
            let found: Vec<(&SRV, Vec<IpAddr>)> = group
                .iter()
                .filter_map(|record| Some((record, of_record(record)?)))
                .collect();
            let endpoints = of_services(&found);
            if !endpoints.is_empty() {
                self.known
                    .retain(|name, _| records.iter().any(|it| it.target.to_string() == *name));
                return Ok(Answer { endpoints, ttl });
            }
        }
        Err(failure.unwrap_or(Problem::Nothing("the service has no target")))
    }

    /// The addresses of a host, with those known from before where the answer has a gap.
    fn completed(
        &mut self,
        name: &str,
        host: Result<Host, Problem>,
    ) -> Result<(Vec<IpAddr>, Duration), Problem> {
        let known = self.known.get(name).cloned();
        let host = match host {
            Ok(host) => host,
            // Of many targets one may fail without failing all.
            Err(Problem::Failed(_)) if self.dns.srv && known.is_some() => Host::default(),
            Err(problem) => {
                if self.dns.srv {
                    self.known.remove(name);
                }
                return Err(problem);
            }
        };
        let known = known.unwrap_or_default();
        let is_whole = host.v4.is_some() && host.v6.is_some();
        let addresses = Addresses {
            v4: host.v4.unwrap_or(known.v4),
            v6: host.v6.unwrap_or(known.v6),
        };
        let all: Vec<IpAddr> = addresses.v4.iter().chain(&addresses.v6).copied().collect();
        self.known.insert(name.to_owned(), addresses);
        let ttl = if is_whole {
            host.ttl
        } else {
            host.ttl.min(PARTIAL_TTL)
        };
        Ok((all, ttl))
    }
}
