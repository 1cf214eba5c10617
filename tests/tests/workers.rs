//! Several workers are one proxy: limits and counters are the process's, and all of them serve.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

use outrigger_tests::{
    client::{Client, request},
    proxy::{Setup, simple},
    reader::Broken,
    upstream::Upstream,
    wait,
};

#[test]
fn connections_are_limited_over_all_workers() {
    let upstream = Upstream::fixed("ok");
    let text = simple(&[&upstream.address])
        .replace("protocol: http", "protocol: http, max_connections: 3");
    let proxy = Setup::new(&text).mesh("workers: 4").start();
    let mut held = Vec::new();
    let mut refused = 0;
    for _ in 0..30 {
        let mut client = Client::connect(proxy.web());
        let _ = client.try_send(request("GET", "/", &[], b""));
        match client.try_response("GET") {
            Ok(answer) if answer.status() == 200 => held.push(client),
            Ok(_) | Err(Broken::Ended) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!((held.len(), refused), (3, 27));
}

#[test]
fn upstream_connections_are_limited_over_all_workers() {
    let gate = std::sync::Arc::new(wait::Gate::default());
    let upstream = {
        let gate = gate.clone();
        Upstream::script(move |peer| {
            while peer.request().is_some() {
                gate.pass();
                peer.answer(200, b"ok");
            }
        })
    };
    let text = simple(&[&upstream.address]).replace(
        "endpoints:",
        "pool: { max_connections: 2, pending_timeout: 60s }, endpoints:",
    );
    let proxy = Setup::new(&text).mesh("workers: 4").start();
    let mut clients: Vec<_> = (0..24)
        .map(|_| {
            let mut client = Client::connect(proxy.web());
            client.send(request("GET", "/", &[], b""));
            client
        })
        .collect();
    wait::until("all requests to be taken", || {
        let active = proxy.metrics().sum("outrigger_requests_active", &[]);
        (active > 23.5).then_some(())
    });
    let connections = upstream.connections();
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response().text(), "ok");
    }
    assert!(
        connections <= 2,
        "{connections} connections to an endpoint that allows 2"
    );
}

#[test]
fn every_worker_serves_and_counts() {
    let upstream = Upstream::fixed("ok");
    let proxy = Setup::new(&simple(&[&upstream.address]))
        .mesh("workers: 4")
        .start();
    for _ in 0..100 {
        assert_eq!(Client::connect(proxy.web()).get("/").text(), "ok");
    }
    let metrics = proxy.metrics();
    assert!((metrics.sum("outrigger_workers", &[]) - 4.0).abs() < 0.5);
    wait::until("all to be counted", || {
        let n = proxy.metrics().sum("outrigger_requests_total", &[]);
        ((n - 100.0).abs() < 0.5).then_some(())
    });
    // Each worker has connections of its own, so more than one worker shows.
    assert!(
        (2..=30).contains(&upstream.connections()),
        "{}",
        upstream.connections()
    );
    assert_eq!(proxy.log_of(100).len(), 100);
}

#[test]
fn reload_and_drain_reach_every_worker() {
    let answering = |word: &str| {
        format!(
            "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: http }}]
routes: [{{ name: all, rules: [{{ filters: [{{ direct_response: {{ status: 200, body: {word} }} }}] }}] }}]"
        )
    };
    let mut proxy = Setup::new(&answering("old"))
        .mesh("workers: 4")
        .mesh("drain: { grace: 100ms, deadline: 5s }")
        .start();
    let mut kept: Vec<_> = (0..16).map(|_| Client::connect(proxy.web())).collect();
    for client in &mut kept {
        assert_eq!(client.get("/").text(), "old");
    }
    proxy.reload(&answering("new"));
    for client in &mut kept {
        assert_eq!(client.get("/").text(), "new");
    }
    proxy.signal(outrigger_tests::process::Signal::Term);
    for client in &mut kept {
        client.expect_end();
    }
    assert_eq!(proxy.process.exit().code(), Some(0));
}
