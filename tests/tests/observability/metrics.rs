//! Counters add up: with each other, with what clients sent, and with what upstreams got.

use std::{panic::AssertUnwindSafe, time::Duration};

use outrigger_tests::{
    client::{Client, request},
    proxy::Proxy,
    upstream::Upstream,
    wait,
};

#[track_caller]
fn settles(proxy: &Proxy, name: &str, labels: &[(&str, &str)], expected: usize) {
    let mut last = f64::NAN;
    let expected = expected as f64;
    let result = std::panic::catch_unwind(AssertUnwindSafe(|| {
        wait::until_within(Duration::from_secs(5), name, || {
            last = proxy.metrics().sum(name, labels);
            ((last - expected).abs() < 1e-6).then_some(())
        });
    }));
    assert!(
        result.is_ok(),
        "{name} {labels:?} is {last}, not {expected}"
    );
}

#[test]
fn requests_bytes_and_connections_add_up() {
    let upstream = Upstream::echo();
    let proxy = Proxy::to(&[&upstream.address]);
    let (mut sent, mut received) = (0, 0);
    for _ in 0..3 {
        let mut client = Client::connect(proxy.web());
        for n in 0..10 {
            let bytes = request("POST", "/", &[], &vec![b'x'; n * 100]);
            sent += bytes.len();
            client.send(&bytes);
            client.response();
        }
        received += client.reader.seen.len();
    }
    let web = ("listener", "web");
    let back = ("cluster", "back");
    let settles = |name: &str, labels: &[(&str, &str)], n| settles(&proxy, name, labels, n);
    settles("outrigger_connections_total", &[web], 3);
    settles("outrigger_connections_active", &[web], 0);
    settles(
        "outrigger_bytes_total",
        &[web, ("direction", "received")],
        sent,
    );
    settles(
        "outrigger_bytes_total",
        &[web, ("direction", "sent")],
        received,
    );
    settles(
        "outrigger_requests_total",
        &[("route", "all"), ("class", "2xx")],
        30,
    );
    settles("outrigger_requests_total", &[], 30);
    settles("outrigger_upstream_requests_total", &[back], 30);
    settles("outrigger_upstream_requests_reused_total", &[back], 29);
    settles(
        "outrigger_upstream_bytes_total",
        &[back, ("direction", "sent")],
        upstream.bytes(),
    );
    settles("outrigger_upstream_connections_total", &[back], 1);
    settles(
        "outrigger_upstream_bytes_total",
        &[back, ("direction", "sent")],
        upstream.bytes(),
    );
    settles(
        "outrigger_request_duration_seconds_count",
        &[("route", "all")],
        30,
    );
    settles(
        "outrigger_proxy_overhead_seconds_count",
        &[("route", "all")],
        30,
    );
    settles("outrigger_failures_total", &[], 0);
}

#[test]
fn gauges_follow_what_is_open() {
    let upstream = Upstream::script(|peer| {
        peer.request();
        peer.wait_end();
    });
    let proxy = Proxy::to(&[&upstream.address]);
    let settles = |name: &str, n| settles(&proxy, name, &[], n);
    let mut clients: Vec<_> = (0..3)
        .map(|_| {
            let mut client = Client::connect(proxy.web());
            client.send(request("GET", "/", &[], b""));
            client
        })
        .collect();
    settles("outrigger_requests_active", 3);
    settles("outrigger_upstream_requests_active", 3);
    settles("outrigger_connections_active", 3);
    settles("outrigger_upstream_requests_active", 3);
    clients.pop().unwrap().wire.reset();
    settles("outrigger_requests_active", 2);
    drop(clients);
    settles("outrigger_requests_active", 0);
    settles("outrigger_upstream_requests_active", 0);
    settles("outrigger_connections_active", 0);
    settles("outrigger_upstream_requests_active", 0);
    settles("outrigger_upstream_connections_active", 0);
}

#[test]
fn what_endpoints_send_is_counted_with_its_heads() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nX-Long: 0123456789\r\nContent-Length: 5\r\n\r\nhello";
    let upstream = Upstream::canned(ANSWER);
    let proxy = Proxy::to(&[&upstream.address]);
    for _ in 0..4 {
        assert_eq!(Client::connect(proxy.web()).get("/").text(), "hello");
    }
    settles(
        &proxy,
        "outrigger_upstream_bytes_total",
        &[("cluster", "back"), ("direction", "received")],
        4 * ANSWER.len(),
    );
}

#[test]
fn classes_follow_the_status() {
    let upstream = Upstream::script(|peer| {
        while let Some(request) = peer.request() {
            let status = request.target()[1..].parse().unwrap();
            peer.answer(status, b"x");
        }
    });
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    for status in ["200", "299", "301", "404", "418", "500", "503", "599"] {
        client.get(&format!("/{status}"));
    }
    for (class, n) in [("2xx", 2), ("3xx", 1), ("4xx", 2), ("5xx", 3)] {
        settles(&proxy, "outrigger_requests_total", &[("class", class)], n);
        settles(
            &proxy,
            "outrigger_upstream_requests_total",
            &[("class", class)],
            n,
        );
    }
    // What the upstream says is its answer, not our failure.
    settles(&proxy, "outrigger_failures_total", &[], 0);
}

/// S43: no stranger can make a series: not by host, path, method or status.
#[test]
fn strangers_make_no_series() {
    let upstream = Upstream::fixed("ok");
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    let mut ask = |n: usize| {
        let host = format!("Host: h{n}.example");
        client.send(request(&format!("M{n}"), &format!("/{n}"), &[&host], b""));
        client.response();
    };
    ask(0);
    settles(&proxy, "outrigger_requests_total", &[], 1);
    let before = proxy.metrics().series.len();
    (1..500).for_each(&mut ask);
    assert_eq!(proxy.metrics().series.len(), before);
}
