//! The exposition as a scraper reads it, and the life of a series.

use std::collections::BTreeMap;

use prometheus_client::metrics::MetricType;
use proptest::prelude::*;

use super::*;
use crate::{
    error::Cause,
    telemetry::metrics::{EarlyDial, Spoke},
};

fn scrape(metrics: &Metrics) -> String {
    let mut out = String::new();
    let system = SystemStats {
        dns_failed: 1,
        dns_resolved: 0,
        resident_bytes: 4 << 20,
        cpu_seconds: 1.5,
        open_fds: 12,
        log_lost: 0,
        certificates: vec![CertificateState {
            scope: "listener",
            name: "web".into(),
            file: "a.pem".into(),
            expires: 1_800_000_000,
            passed: 75,
        }],
    };
    metrics.encode(system, &mut out);
    out
}

/// Everything used once.
fn busy() -> Metrics {
    let metrics = Metrics::new(2, 16);
    let listener = metrics.listener("web");
    metrics.policy("p").at(0).refused(true);
    for worker in 0..2 {
        let cells = listener.at(worker);
        cells.accepted.add(2);
        cells.active.inc();
        cells.received.add(100);
        cells.sent.add(1_000);
        cells.failures.inc(Cause::NoRoute);
        cells.spoke(Spoke::Silent);
        cells.dialed_early(EarlyDial::InVain);
        cells.shaken(Ok(true));
    }
    let route = metrics.route("shop");
    let cells = route.at(1);
    cells.responses[2].inc();
    cells.responses[0].inc();
    cells.called(Some(0));
    cells.active.inc();
    cells.failures.inc(Cause::ClientGone);
    cells.duration.observe(Duration::from_micros(900));
    cells.duration.observe(Duration::from_mins(2));
    cells.overhead.observe(Duration::from_micros(9));
    let cluster = metrics.cluster("api-v1");
    let cells = cluster.at(0);
    cells.responses[5].inc();
    cells.shaken(Err(Cause::UpstreamTlsAlert));
    cells.latency.observe(Duration::from_micros(800));
    metrics.worker().at(0).panics.inc();
    metrics.config_applied(7, "ab\"c", true);
    metrics.access_log().lines.fetch_add(3, Relaxed);
    metrics
}

#[test]
fn samples_read_as_they_should() {
    let text = scrape(&busy());
    for line in [
        "# HELP outrigger_bytes Bytes received from clients and sent to them.",
        "# TYPE outrigger_bytes counter",
        "# UNIT outrigger_bytes bytes",
        r#"outrigger_connections_total{listener="web"} 4"#,
        r#"outrigger_connections_active{listener="web"} 2"#,
        r#"outrigger_bytes_total{listener="web",direction="received"} 200"#,
        r#"outrigger_connections_detected_total{listener="web",protocol="none"} 2"#,
        r#"outrigger_early_dials_total{listener="web",outcome="in_vain"} 2"#,
        r#"outrigger_requests_total{route="shop",class="none"} 1"#,
        r#"outrigger_requests_total{route="shop",class="2xx"} 1"#,
        r#"outrigger_failures_total{scope="listener",name="web",cause="route_not_found"} 2"#,
        r#"outrigger_failures_total{scope="route",name="shop",cause="client_gone"} 1"#,
        r#"outrigger_request_duration_seconds_count{route="shop"} 2"#,
        r#"outrigger_request_duration_seconds_sum{route="shop"} 120.0009"#,
        r#"outrigger_request_duration_seconds_bucket{le="0.0005",route="shop"} 0"#,
        r#"outrigger_request_duration_seconds_bucket{le="0.001",route="shop"} 1"#,
        r#"outrigger_request_duration_seconds_bucket{le="60.0",route="shop"} 1"#,
        r#"outrigger_request_duration_seconds_bucket{le="+Inf",route="shop"} 2"#,
        r#"outrigger_upstream_requests_total{cluster="api-v1",class="5xx"} 1"#,
        "outrigger_worker_panics_total 1",
        r#"outrigger_metric_series_overflow{kind="route"} 0"#,
        r#"outrigger_config_reloads_total{result="applied"} 1"#,
        "outrigger_config_last_reload_successful 1",
        "outrigger_config_generation 7",
        r#"outrigger_config_info{hash="ab\"c"} 1"#,
        r#"outrigger_dns_resolutions_total{result="error"} 1"#,
        "outrigger_access_log_lines_total 3",
        "process_cpu_seconds_total 1.5",
        "process_resident_memory_bytes 4194304",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\nnot in\n{text}");
    }
    assert!(text.ends_with("\n# EOF\n"));
}

/// Splits a sample into name and labels; a strict reader of what may be between the braces.
fn parse_sample(line: &str) -> (String, Vec<(String, String)>) {
    let Some((name, rest)) = line.split_once('{') else {
        let (name, number) = line.split_once(' ').expect("a value");
        number.parse::<f64>().expect("a number");
        return (name.to_owned(), Vec::new());
    };
    let mut labels = Vec::new();
    let mut rest = rest;
    loop {
        let (key, after) = rest.split_once("=\"").expect("a quoted value");
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next().expect("a closing quote") {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, c @ ('"' | '\\'))) => c,
                    other => panic!("escape {other:?}"),
                }),
                (_, c) => value.push(c),
            }
        };
        labels.push((key.to_owned(), value));
        rest = &after[end + 1..];
        if let Some(number) = rest.strip_prefix("} ") {
            number.parse::<f64>().expect("a number");
            return (name.to_owned(), labels);
        }
        rest = rest.strip_prefix(',').expect("a comma between labels");
    }
}

#[test]
fn each_family_shows_with_its_labels_and_nothing_else_does() {
    let text = scrape(&busy());
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, labels) = parse_sample(line);
        let keys = labels.into_iter().map(|(key, _)| key);
        seen.insert(name, keys.filter(|key| key != "le").collect());
    }
    for family in FAMILIES {
        let suffixes: &[&str] = match family.kind {
            MetricType::Histogram => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        for suffix in suffixes {
            let name = family.name() + suffix;
            let labels = seen.remove(&name).unwrap_or_else(|| panic!("no {name}"));
            assert_eq!(labels, family.labels, "{name}");
        }
        assert!(!family.help.ends_with('.'), "{}", family.help);
    }
    assert!(seen.is_empty(), "{seen:?}");
}

#[test]
fn what_is_not_used_is_not_shown() {
    let metrics = Metrics::new(1, 16);
    let _held = (metrics.route("quiet"), metrics.cluster("still"));
    let text = scrape(&metrics);
    assert!(!text.contains("quiet") && !text.contains("still"), "{text}");
}

#[test]
fn a_name_keeps_its_counts_while_it_is_held_and_ten_minutes_longer() {
    let named = Named::<RouteCells>::new(1, 16);
    let start = Instant::now();
    let after = |secs| start + Duration::from_secs(secs);
    let first = named.cells("a", start);
    assert!(Arc::ptr_eq(&first, &named.cells("a", start)));
    first.at(0).responses[2].add(3);
    drop(named.cells("unused", start));

    // A held name stays however long.
    assert_eq!(named.gather(after(100_000)).len(), 1);
    assert_eq!(lock(&named.entries).by_name.len(), 1, "unused is forgotten");

    // Removed: its last counts can still be scraped, and it comes back where it was.
    drop(first);
    assert_eq!(named.gather(after(200_000)).len(), 1);
    let again = named.cells("a", after(200_599));
    assert_eq!(again.at(0).responses[2].value(), 3);

    // Removed for good.
    drop(again);
    assert_eq!(named.gather(after(300_000)).len(), 1);
    assert_eq!(named.gather(after(300_599)).len(), 1);
    assert_eq!(named.gather(after(300_600)).len(), 0);
    assert_eq!(lock(&named.entries).by_name.len(), 0);
}

#[test]
fn further_names_share_the_overflow_series() {
    let metrics = Metrics::new(1, 2);
    let held: Vec<_> = ["a", "b", "c", "d"].map(|n| metrics.route(n)).into();
    for cells in &held {
        cells.at(0).responses[2].inc();
    }
    let text = scrape(&metrics);
    for line in [
        r#"outrigger_requests_total{route="b",class="2xx"} 1"#,
        r#"outrigger_requests_total{route="overflow",class="2xx"} 2"#,
        r#"outrigger_metric_series_overflow{kind="route"} 2"#,
    ] {
        assert!(text.contains(line), "{line}\nnot in\n{text}");
    }
    assert!(!text.contains(r#"route="c""#));

    // Names that left make room without waiting their ten minutes.
    let mut held = held;
    drop(held.drain(..2));
    scrape(&metrics);
    let next = metrics.route("e");
    next.at(0).responses[2].inc();
    assert!(scrape(&metrics).contains(r#"outrigger_requests_total{route="e",class="2xx"} 1"#));
}

#[test]
fn an_object_named_overflow_is_the_overflow_series() {
    let metrics = Metrics::new(1, 1);
    let (own, named, beyond) = (
        metrics.route("own"),
        metrics.route("overflow"),
        metrics.route("beyond"),
    );
    for cells in [own, named, beyond] {
        cells.at(0).responses[2].inc();
    }
    let text = scrape(&metrics);
    let line = r#"outrigger_requests_total{route="overflow",class="2xx"} 2"#;
    assert_eq!(text.matches(line).count(), 1, "{text}");
}

#[test]
fn names_nobody_scrapes_are_forgotten_too() {
    let named = Named::<RouteCells>::new(1, 16);
    let now = Instant::now();
    for n in 0..100_000 {
        named.cells(&format!("route-{n}"), now);
    }
    assert!(lock(&named.entries).by_name.len() <= LEAST_SWEEP);
}

#[test]
fn a_rejected_configuration_shows_until_one_is_applied() {
    let metrics = Metrics::new(1, 1);
    let successful = |metrics: &Metrics| {
        let text = scrape(metrics);
        let line = text
            .lines()
            .find_map(|l| l.strip_prefix("outrigger_config_last_reload_successful "));
        line.expect("is always shown").to_owned()
    };
    assert_eq!(successful(&metrics), "0");
    metrics.config_applied(1, "one", true);
    assert_eq!(successful(&metrics), "1");
    metrics.config_rejected();
    assert_eq!(successful(&metrics), "0");
    assert!(scrape(&metrics).contains("outrigger_config_generation 1\n"));
    metrics.config_applied(2, "two", true);
    assert_eq!(successful(&metrics), "1");
}

proptest! {
    #[test]
    fn any_name_makes_well_formed_lines(name in any::<String>()) {
        let metrics = Metrics::new(1, 4);
        metrics.route(&name).at(0).responses[2].inc();
        let text = scrape(&metrics);
        let known: Vec<_> = FAMILIES.iter().map(super::super::families::Family::name).collect();
        for line in text.lines() {
            prop_assert!(!line.contains(char::is_control));
            if !line.starts_with("# ") {
                let (sample, _) = parse_sample(line);
                prop_assert!(known.iter().any(|k| sample.starts_with(k.as_str())), "{sample}");
            }
        }
    }
}

/// The page of every family; `UPDATE=1` writes it anew.
#[test]
fn the_documentation_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/docs/metrics.md");
    let page = super::super::families::document();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &page).expect("the page can be written");
    }
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        stored == page,
        "config/docs/metrics.md is out of date: run the tests with UPDATE=1"
    );
}
