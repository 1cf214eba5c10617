//! Connections that serve more than one request, on both sides.

use std::{sync::Arc, time::Duration};

use outrigger_tests::{
    client::{Client, request},
    process::Signal,
    proxy::{Proxy, Setup},
    upstream::Upstream,
    wait::{self, Gate},
    wire::{Address, End},
};

fn with_http(endpoint: &Address, http: &str) -> Proxy {
    Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: http, http: {{ {http} }} }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, endpoints: ['{endpoint}'] }}]"
    ))
}

/// Answers with the target of the request.
fn target_echo() -> Upstream {
    Upstream::script(|peer| {
        while let Some(request) = peer.request() {
            peer.answer(200, request.target().as_bytes());
        }
    })
}

#[test]
fn one_connection_on_each_side_serves_many_requests() {
    let upstream = target_echo();
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    for n in 0..50 {
        let target = format!("/{n}");
        assert_eq!(client.get(&target).text(), target);
    }
    assert_eq!(upstream.count(), 50);
    // A second one where a pause was longer than any that is known to be safe.
    assert!(upstream.connections() <= 3, "{}", upstream.connections());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = target_echo();
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    let mut all = Vec::new();
    for n in 0..40 {
        let body = if n % 3 == 0 {
            "x".repeat(n)
        } else {
            String::new()
        };
        all.extend(request("POST", &format!("/{n}"), &[], body.as_bytes()));
    }
    client.send(&all);
    for n in 0..40 {
        assert_eq!(client.response().text(), format!("/{n}"));
    }
    let bodies: Vec<_> = upstream.requests().iter().map(|r| r.body.len()).collect();
    let sent: Vec<_> = (0..40).map(|n| if n % 3 == 0 { n } else { 0 }).collect();
    assert_eq!(bodies, sent);
}

#[test]
fn close_is_obeyed_and_said() {
    let upstream = target_echo();
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    client.send(request("GET", "/a", &["Connection: close"], b""));
    let answer = client.response();
    assert!(answer.has_token("connection", "close"), "{answer}");
    client.expect_end();
    // It was the client's wish, not the upstream's: that connection is used again.
    assert_eq!(Client::connect(proxy.web()).get("/b").text(), "/b");
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn an_answer_survives_what_is_sent_behind_close() {
    // Bytes that nobody reads make the kernel end a connection with a reset, which drops what it
    // has not sent. The proxy stands still while they and the response arrive: it has both at once.
    let (gate, answered) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
    let gates = (Arc::clone(&gate), Arc::clone(&answered));
    let upstream = Upstream::script(move |peer| {
        while peer.request().is_some() {
            gates.0.pass();
            peer.answer(200, b"ok");
            gates.1.open();
        }
    });
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    client.send(request("GET", "/a", &["Connection: close"], b""));
    wait::until("the request", || (upstream.count() == 1).then_some(()));
    proxy.signal(Signal::Stop);
    gate.open();
    answered.pass();
    client.send(request("GET", "/b", &[], b""));
    proxy.signal(Signal::Cont);
    assert_eq!(client.response().text(), "ok");
    assert_eq!(client.expect_end(), End::Closed);
    assert_eq!(upstream.count(), 1);
}

#[test]
fn http_1_0_is_closed_unless_it_asks() {
    let upstream = target_echo();
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    client.send("GET /a HTTP/1.0\r\nHost: a.example\r\n\r\n");
    assert_eq!(client.response().text(), "/a");
    client.expect_end();

    let mut client = Client::connect(proxy.web());
    for target in ["/b", "/c"] {
        client.send(format!(
            "GET {target} HTTP/1.0\r\nHost: a.example\r\nConnection: keep-alive\r\n\r\n"
        ));
        let answer = client.response();
        assert!(answer.has_token("connection", "keep-alive"), "{answer}");
        assert_eq!(answer.text(), target);
    }
}

#[test]
fn an_upstream_that_closes_is_not_used_again() {
    let upstream = Upstream::script(|peer| {
        if peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    for _ in 0..10 {
        let answer = client.get("/");
        assert_eq!(answer.text(), "ok");
        assert!(
            !answer.has_token("connection", "close"),
            "of the other hop: {answer}"
        );
    }
    assert_eq!((upstream.count(), upstream.connections()), (10, 10));
}

#[test]
fn a_connection_serves_no_more_than_max_requests() {
    let upstream = target_echo();
    let proxy = with_http(&upstream.address, "max_requests: 3");
    let mut client = Client::connect(proxy.web());
    assert!(!client.get("/1").has_token("connection", "close"));
    assert!(!client.get("/2").has_token("connection", "close"));
    assert!(client.get("/3").has_token("connection", "close"));
    client.expect_end();
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let upstream = target_echo();
    let proxy = with_http(&upstream.address, "idle_timeout: 200ms");
    let mut fresh = Client::connect(proxy.web());
    let mut kept = Client::connect(proxy.web());
    assert_eq!(kept.get("/a").text(), "/a");
    fresh.expect_end();
    kept.expect_end();
}

#[test]
fn requests_beside_each_other_get_connections_beside_each_other() {
    let upstream = Upstream::fixed("ok");
    let proxy = Proxy::to(&[&upstream.address]);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = Client::connect(proxy.web());
                for _ in 0..50 {
                    assert_eq!(client.get("/").text(), "ok");
                }
            });
        }
    });
    assert_eq!(upstream.count(), 400);
    // One for each, and a few more where a pause was longer than any that is known to be safe.
    assert!(upstream.connections() <= 40, "{}", upstream.connections());
}

#[test]
fn a_client_that_leaves_between_requests_is_no_failure() {
    let upstream = Upstream::fixed("ok");
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    client.get("/");
    client.wire.finish();
    client.expect_end();
    let lines = proxy.log_of(1);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(!client.is_silent_for(Duration::from_millis(1)));
}

/// A proxy that keeps working state for two connections at a time.
fn narrow(upstream: &Upstream, protocol: &str) -> Proxy {
    Setup::new(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: {protocol}, http: {{ idle_timeout: 500ms }} }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, endpoints: ['{}'] }}]",
        upstream.address
    ))
    .mesh("limits: { buffer_pool: 64KiB }")
    .start()
}

/// The working state of connections that are refused goes back: the worker is not taken for crowded.
#[test]
fn connections_that_speak_no_http_take_nothing_along() {
    let upstream = target_echo();
    let proxy = narrow(&upstream, "auto");
    for _ in 0..8 {
        let mut stranger = Client::connect(proxy.web());
        stranger.send(b"\x00\x01 no http");
        stranger.rest();
    }
    let mut client = Client::connect(proxy.web());
    assert_eq!(client.get("/").text(), "/");
    client.expect_end();
}

#[test]
fn a_crowd_of_idle_connections_is_closed_in_time() {
    let upstream = target_echo();
    let proxy = narrow(&upstream, "http");
    let mut crowd: Vec<_> = (0..8).map(|_| Client::connect(proxy.web())).collect();
    for client in &mut crowd {
        client.send("GET /begun HTTP/1.1\r\nHost: a.example\r\n");
    }
    // All of them hold their state now.
    wait::until("the crowd to be served", || {
        (proxy.metrics().sum("outrigger_connections_active", &[]) > 7.5).then_some(())
    });
    for client in &mut crowd {
        client.send("\r\n");
        assert_eq!(client.response().text(), "/begun");
    }
    for client in &mut crowd {
        client.expect_end();
    }
}
