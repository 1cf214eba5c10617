//! Every metric family, one row each: its name, labels, meaning, and where its numbers come from.
//!
//! The exposition and `config/docs/metrics.md` are both made from this table, so a family cannot
//! be shown without being documented. To add one, add a row.

use std::fmt;

use prometheus_client::{metrics::MetricType, registry::Unit};

use super::{
    metrics::{EarlyDial, GRPC_STATUS, Handshakes, PolicyCells, Spoke},
    registry::Gathered,
    samples::{Samples, Value},
};

/// One family.
pub(super) struct Family {
    /// The name without the suffixes that follow from unit and type.
    stem: &'static str,
    unit: Option<&'static str>,
    pub(super) kind: MetricType,
    pub(super) labels: &'static [&'static str],
    /// One sentence without its full stop.
    pub(super) help: &'static str,
    write: fn(&Gathered, &mut Samples<'_>) -> fmt::Result,
}

type Write = fn(&Gathered, &mut Samples<'_>) -> fmt::Result;
type Labels = &'static [&'static str];

const fn family(
    kind: MetricType,
    stem: &'static str,
    labels: Labels,
    help: &'static str,
    write: Write,
) -> Family {
    Family {
        stem,
        unit: None,
        kind,
        labels,
        help,
        write,
    }
}

impl Family {
    const fn in_unit(self, unit: &'static str) -> Self {
        Self {
            unit: Some(unit),
            ..self
        }
    }

    #[cfg(test)]
    /// The name under which its samples are queried; a histogram's gets further suffixes.
    pub(super) fn name(&self) -> String {
        let by_kind = match self.kind {
            MetricType::Counter => Some("total"),
            MetricType::Info => Some("info"),
            _ => None,
        };
        let mut name = self.stem.to_owned();
        for suffix in self.unit.into_iter().chain(by_kind) {
            name.push('_');
            name.push_str(suffix);
        }
        name
    }

    pub(super) fn encode(
        &'static self,
        all: &Gathered,
        encoder: &mut prometheus_client::encoding::DescriptorEncoder<'_>,
    ) -> fmt::Result {
        let unit = self.unit.map(|unit| match unit {
            "bytes" => Unit::Bytes,
            "seconds" => Unit::Seconds,
            other => Unit::Other(other.to_owned()),
        });
        let help = format!("{}.", self.help);
        let encoder = encoder.encode_descriptor(self.stem, &help, unit.as_ref(), self.kind)?;
        (self.write)(all, &mut Samples::new(self, encoder))
    }
}

/// Every family, in the order of the exposition.
pub(super) static FAMILIES: &[Family] = &[
    // What clients do, by listener.
    family(
        MetricType::Counter,
        "outrigger_connections",
        &["listener"],
        "Connections accepted",
        |all, out| out.sums(&all.listeners, |c| c.accepted.value()),
    ),
    family(
        MetricType::Gauge,
        "outrigger_connections_active",
        &["listener"],
        "Connections open now",
        |all, out| out.sums(&all.listeners, |c| c.active.value().cast_unsigned()),
    ),
    family(
        MetricType::Counter,
        "outrigger",
        &["listener", "direction"],
        "Bytes received from clients and sent to them",
        |all, out| {
            for (name, cells) in &all.listeners {
                let received = cells.total(|c| c.received.value());
                out.value(&[name, "received"], Value::Whole(received))?;
                out.value(
                    &[name, "sent"],
                    Value::Whole(cells.total(|c| c.sent.value())),
                )?;
            }
            Ok(())
        },
    )
    .in_unit("bytes"),
    family(
        MetricType::Counter,
        "outrigger_connections_detected",
        &["listener", "protocol"],
        "Connections of `auto` listeners by what they turned out to speak; `server_first`: the \
         server spoke before the client; `none`: nobody did within `detect_timeout`",
        |all, out| out.words(&all.listeners, Spoke::WORDS, |c| &c.detected),
    ),
    family(
        MetricType::Counter,
        "outrigger_early_dials",
        &["listener", "outcome"],
        "Times the cluster of an `auto` listener was dialed before the client had spoken; \
         `greeted`: the server spoke first; `used`: it serves the client all the same; `in_vain`: \
         it does not",
        |all, out| out.words(&all.listeners, EarlyDial::WORDS, |c| &c.early_dials),
    ),
    family(
        MetricType::Counter,
        "outrigger_tls_handshakes",
        &["listener", "result"],
        "TLS handshakes with clients; `full`, `resumed`, or the cause of the failure",
        |all, out| {
            out.words(&all.listeners, Handshakes::WITH_CLIENTS, |c| {
                c.handshakes.counters()
            })
        },
    ),
    family(
        MetricType::Counter,
        "outrigger_policy_refusals",
        &["policy", "result"],
        "Requests and opaque connections that a policy refused (`denied`), or would have if it were \
         more than an audit (`audited`)",
        |all, out| out.words(&all.policies, PolicyCells::WORDS, |c| &c.refusals),
    ),
    // Requests, by route.
    family(
        MetricType::Counter,
        "outrigger_requests",
        &["route", "class"],
        "Requests that ended, by class of the status sent; `none` where no response began",
        |all, out| out.classes(&all.routes, |c| &c.responses),
    ),
    family(
        MetricType::Counter,
        "outrigger_grpc_calls",
        &["route", "grpc_status"],
        "gRPC calls that ended, by the number of their status; `other`: one that gRPC does not \
         know; `none`: the call ended without one, or was carried by HTTP/1 on both sides",
        |all, out| out.words(&all.routes, GRPC_STATUS, |c| &c.grpc),
    ),
    family(
        MetricType::Gauge,
        "outrigger_requests_active",
        &["route"],
        "Requests in flight",
        |all, out| out.sums(&all.routes, |c| c.active.value().cast_unsigned()),
    ),
    family(
        MetricType::Histogram,
        "outrigger_request_duration",
        &["route"],
        "Time from the complete head of a request to the last byte of its response",
        |all, out| out.histograms(&all.routes, |c| &c.duration),
    )
    .in_unit("seconds"),
    family(
        MetricType::Histogram,
        "outrigger_proxy_overhead",
        &["route"],
        "The part of a request's duration that was spent in this proxy, not waiting for a peer",
        |all, out| out.histograms(&all.routes, |c| &c.overhead),
    )
    .in_unit("seconds"),
    family(
        MetricType::Counter,
        "outrigger_failures",
        &["scope", "name", "cause"],
        "Failed requests of a route, and of a listener: failed connections and requests that \
         found no route; the cause is the word of the access log and of `Proxy-Status`",
        |all, out| {
            for (name, cells) in &all.listeners {
                out.causes(["listener", name], cells, |c| &c.failures)?;
            }
            for (name, cells) in &all.routes {
                out.causes(["route", name], cells, |c| &c.failures)?;
            }
            Ok(())
        },
    ),
    // What endpoints do, by cluster.
    family(
        MetricType::Counter,
        "outrigger_upstream_requests",
        &["cluster", "class"],
        "Requests sent to endpoints, by class of the response's status; `none` where none came",
        |all, out| out.classes(&all.clusters, |c| &c.responses),
    ),
    family(
        MetricType::Gauge,
        "outrigger_upstream_requests_active",
        &["cluster"],
        "Requests in flight to endpoints, those included that wait for a connection",
        |all, out| out.sums(&all.clusters, |c| c.active.value().cast_unsigned()),
    ),
    family(
        MetricType::Gauge,
        "outrigger_upstream_requests_pending",
        &["cluster"],
        "Requests that wait for a connection",
        |all, out| out.sums(&all.clusters, |c| c.pending.value().cast_unsigned()),
    ),
    family(
        MetricType::Counter,
        "outrigger_upstream_requests_reused",
        &["cluster"],
        "Requests sent on a connection that had served another before",
        |all, out| out.sums(&all.clusters, |c| c.reused.value()),
    ),
    family(
        MetricType::Counter,
        "outrigger_upstream_requests_resent",
        &["cluster"],
        "Requests sent a second time because the first was provably not processed",
        |all, out| out.sums(&all.clusters, |c| c.resent.value()),
    ),
    family(
        MetricType::Counter,
        "outrigger_upstream_connections",
        &["cluster"],
        "Connections opened to endpoints",
        |all, out| out.sums(&all.clusters, |c| c.connects.value()),
    ),
    family(
        MetricType::Counter,
        "outrigger_upstream_connect_failures",
        &["cluster"],
        "Connections to endpoints that could not be opened",
        |all, out| out.sums(&all.clusters, |c| c.connect_failures.value()),
    ),
    family(
        MetricType::Gauge,
        "outrigger_upstream_connections_active",
        &["cluster"],
        "Connections to endpoints open now, in use or idle",
        |all, out| out.sums(&all.clusters, |c| c.connections.value().cast_unsigned()),
    ),
    family(
        MetricType::Counter,
        "outrigger_upstream_tls_handshakes",
        &["cluster", "result"],
        "TLS handshakes with endpoints; `full`, `resumed`, or the cause of the failure",
        |all, out| {
            out.words(&all.clusters, Handshakes::WITH_ENDPOINTS, |c| {
                c.handshakes.counters()
            })
        },
    ),
    family(
        MetricType::Counter,
        "outrigger_upstream_tls_connections",
        &["cluster"],
        "TLS connections passed through by the name they ask for",
        |all, out| out.sums(&all.clusters, |c| c.tls_connections.value()),
    ),
    family(
        MetricType::Counter,
        "outrigger_upstream",
        &["cluster", "direction"],
        "Bytes received from endpoints and sent to them",
        |all, out| {
            for (name, cells) in &all.clusters {
                let received = cells.total(|c| c.received.value());
                out.value(&[name, "received"], Value::Whole(received))?;
                out.value(
                    &[name, "sent"],
                    Value::Whole(cells.total(|c| c.sent.value())),
                )?;
            }
            Ok(())
        },
    )
    .in_unit("bytes"),
    family(
        MetricType::Histogram,
        "outrigger_upstream_latency",
        &["cluster"],
        "Time from sending a request to the head of its response",
        |all, out| out.histograms(&all.clusters, |c| &c.latency),
    )
    .in_unit("seconds"),
    family(
        MetricType::Gauge,
        "outrigger_certificate_expiry_timestamp",
        &["scope", "name", "file"],
        "When a certificate in use expires, in seconds since 1970. Scope and name: `listener` or `cluster` with its name, \
         `mesh` with our identity, `trust` with the domain of a root, whose fingerprint stands for its file",
        |all, out| {
            for it in &all.system.certificates {
                let expires = Value::Whole(it.expires);
                out.value(&[it.scope, &it.name, &it.file], expires)?;
            }
            Ok(())
        },
    )
    .in_unit("seconds"),
    family(
        MetricType::Gauge,
        "outrigger_certificate_life_passed",
        &["scope", "name", "file"],
        "How much of a certificate's life is over: the last of 50, 75, 90 and 100 percent that was reached, or 0",
        |all, out| {
            for it in &all.system.certificates {
                let passed = Value::Whole(it.passed);
                out.value(&[it.scope, &it.name, &it.file], passed)?;
            }
            Ok(())
        },
    )
    .in_unit("percent"),
    // The process.
    family(
        MetricType::Gauge,
        "outrigger_workers",
        &[],
        "Threads that carry traffic",
        |all, out| out.value(&[], Value::Whole(all.workers as u64)),
    ),
    family(
        MetricType::Counter,
        "outrigger_worker_panics",
        &[],
        "Panics on workers, each of which ended one connection or an own task of the worker; any is \
         a bug worth reporting",
        |all, out| {
            let panics = all.worker.total(|c| c.panics.value());
            out.value(&[], Value::Whole(panics))
        },
    ),
    family(
        MetricType::Counter,
        "outrigger_accept_errors",
        &[],
        "Connections that could not be accepted, for lack of file descriptors or otherwise",
        |all, out| {
            let errors = all.worker.total(|c| c.accept_errors.value());
            out.value(&[], Value::Whole(errors))
        },
    ),
    family(
        MetricType::Gauge,
        "outrigger_metric_series_overflow",
        &["kind"],
        "Listeners, routes and clusters counted in the series named `overflow` because \
         `mesh.metric_series` others were in use before them",
        |all, out| {
            for (kind, names) in all.overflowing {
                out.value(&[kind], Value::Whole(names as u64))?;
            }
            Ok(())
        },
    ),
    family(
        MetricType::Counter,
        "outrigger_config_reloads",
        &["result"],
        "Configurations read, at start and since: `applied`, or `rejected` and without effect",
        |all, out| {
            out.value(&["applied"], Value::Whole(all.process.reloads_applied))?;
            out.value(&["rejected"], Value::Whole(all.process.reloads_rejected))
        },
    ),
    family(
        MetricType::Gauge,
        "outrigger_config_last_reload_successful",
        &[],
        "1 where the newest configuration that was read is the one that serves, otherwise 0",
        |all, out| {
            let successful = u64::from(all.process.last_reload_successful);
            out.value(&[], Value::Whole(successful))
        },
    ),
    family(
        MetricType::Gauge,
        "outrigger_config_generation",
        &[],
        "Number of the configuration that serves: 1 for the first of this process",
        |all, out| out.value(&[], Value::Whole(all.process.generation)),
    ),
    family(
        MetricType::Gauge,
        "outrigger_config_age",
        &[],
        "Time since the configuration that serves was put to work",
        |all, out| out.value(&[], Value::Real(all.process.config_age.as_secs_f64())),
    )
    .in_unit("seconds"),
    family(
        MetricType::Info,
        "outrigger_config",
        &["hash"],
        "The configuration that serves, by the hash that `/config` shows",
        |all, out| out.info(&[&all.process.hash]),
    ),
    family(
        MetricType::Counter,
        "outrigger_dns_resolutions",
        &["result"],
        "Names resolved for clusters: `ok`, or `error` while the last good answer stays in use",
        |all, out| {
            out.value(&["ok"], Value::Whole(all.process.dns_ok))?;
            out.value(&["error"], Value::Whole(all.process.dns_errors))
        },
    ),
    family(
        MetricType::Counter,
        "outrigger_access_log_lines",
        &[],
        "Access log lines written",
        |all, out| out.value(&[], Value::Whole(all.process.log_lines)),
    ),
    family(
        MetricType::Counter,
        "outrigger_access_log_dropped",
        &[],
        "Access log lines lost because the output was too slow, full or gone",
        |all, out| out.value(&[], Value::Whole(all.process.log_dropped)),
    ),
    family(
        MetricType::Counter,
        "outrigger_log_dropped",
        &[],
        "Lines of the proxy's own log lost because standard error was full or gone",
        |all, out| out.value(&[], Value::Whole(all.system.log_lost)),
    ),
    family(
        MetricType::Info,
        "outrigger_build",
        &["version"],
        "The running version",
        |_, out| out.info(&[env!("CARGO_PKG_VERSION")]),
    ),
    family(
        MetricType::Gauge,
        "outrigger_uptime",
        &[],
        "Time since the process started",
        |all, out| out.value(&[], Value::Real(all.process.uptime.as_secs_f64())),
    )
    .in_unit("seconds"),
    family(
        MetricType::Counter,
        "process_cpu",
        &[],
        "User and system CPU time of the process",
        |all, out| out.value(&[], Value::Real(all.system.cpu_seconds)),
    )
    .in_unit("seconds"),
    family(
        MetricType::Gauge,
        "process_resident_memory",
        &[],
        "Resident memory of the process",
        |all, out| out.value(&[], Value::Whole(all.system.resident_bytes)),
    )
    .in_unit("bytes"),
    family(
        MetricType::Gauge,
        "process_open_fds",
        &[],
        "File descriptors the process holds",
        |all, out| out.value(&[], Value::Whole(all.system.open_fds)),
    ),
];

/// The page `config/docs/metrics.md`.
#[cfg(test)]
pub(super) fn document() -> String {
    use std::fmt::Write as _;

    let mut page = String::from(include_str!("metrics_head.md"));
    for family in FAMILIES {
        let labels: Vec<_> = family.labels.iter().map(|l| format!("`{l}`")).collect();
        let labels = if labels.is_empty() {
            "none".into()
        } else {
            labels.join(", ")
        };
        let (name, kind, help) = (family.name(), family.kind.as_str(), family.help);
        writeln!(page, "| `{name}` | {kind} | {labels} | {help}. |").expect("a string grows");
    }
    page.push_str(
        "\n## Causes\n\nEvery failure has exactly one cause, the same word here, in the access \
         log and in `Proxy-Status`.\n\n| `cause` | status | side | meaning |\n|---|---|---|---|\n",
    );
    for cause in crate::error::Cause::ALL {
        let side = format!("{:?}", cause.side()).to_lowercase();
        let (word, status, meaning) = (cause.word(), cause.status(), cause.explain().trim());
        writeln!(page, "| `{word}` | {status} | {side} | {meaning} |").expect("a string grows");
    }
    page
}
