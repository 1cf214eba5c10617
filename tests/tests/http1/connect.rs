//! CONNECT, where a listener allows it.

use outrigger_tests::{client::Client, proxy::Proxy, upstream::Upstream, wire::End};

fn proxy(upstream: &Upstream) -> Proxy {
    Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: http, http: {{ connect: true }} }}]
routes: [{{ name: tunnel, hosts: [db.example], rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, endpoints: ['{}'] }}]",
        upstream.address
    ))
}

#[test]
fn a_tunnel_carries_any_bytes_to_the_cluster_of_its_route() {
    let upstream = Upstream::script(|peer| {
        // Speaks first, as databases do, and no HTTP.
        peer.send("hello\n");
        while let Ok(line) = peer.reader.through(&mut peer.wire, b"\n") {
            peer.send(line);
        }
    });
    let proxy = proxy(&upstream);
    let mut client = Client::connect(proxy.web());
    client.send("CONNECT db.example:5432 HTTP/1.1\r\nHost: db.example:5432\r\n\r\n");
    let answer = client.head();
    assert_eq!(answer.status(), 200, "{answer}");
    assert!(answer.field("content-length").is_none(), "{answer}");
    assert!(answer.field("transfer-encoding").is_none(), "{answer}");
    assert_eq!(client.exactly(6), b"hello\n");
    client.send(b"GET / not http \x00\xff\n");
    assert_eq!(client.exactly(18), b"GET / not http \x00\xff\n");
    client.wire.finish();
    assert_eq!(client.expect_end(), End::Closed);
}

#[test]
fn a_target_without_route_is_refused() {
    let upstream = Upstream::fixed("ok");
    let proxy = proxy(&upstream);
    let mut client = Client::connect(proxy.web());
    client.send("CONNECT other.example:443 HTTP/1.1\r\nHost: other.example:443\r\n\r\n");
    assert_eq!(client.response().status(), 404);
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn an_unreachable_cluster_is_said_before_the_tunnel() {
    let mut upstream = Upstream::fixed("ok");
    let proxy = proxy(&upstream);
    upstream.stop();
    let mut client = Client::connect(proxy.web());
    client.send("CONNECT db.example:1 HTTP/1.1\r\nHost: db.example:1\r\n\r\n");
    let status = client.response().status();
    assert!(matches!(status, 502..=504), "{status}");
}

/// Nothing was sent yet: another endpoint may serve the tunnel as well.
#[test]
fn an_endpoint_that_cannot_be_reached_is_passed_over() {
    let upstream = Upstream::script(|peer| {
        peer.send("hello\n");
        peer.wait_end();
    });
    let mut gone = Upstream::fixed("never");
    gone.stop();
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: http, http: {{ connect: true }} }}]
routes: [{{ name: tunnel, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, balance: round_robin, endpoints: ['{}', '{}'] }}]",
        gone.address, upstream.address
    ));
    for _ in 0..4 {
        let mut client = Client::connect(proxy.web());
        client.send("CONNECT db.example:1 HTTP/1.1\r\nHost: db.example:1\r\n\r\n");
        assert_eq!(client.head().status(), 200);
        assert_eq!(client.exactly(6), b"hello\n");
    }
}

/// What a client sent in hope of a tunnel is no request.
#[test]
fn bytes_behind_a_refused_connect_are_dropped() {
    let upstream = Upstream::fixed("ok");
    for allowed in [true, false] {
        let proxy = Proxy::start(&format!(
            "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: http, http: {{ connect: {allowed} }} }}]
routes: [{{ name: web, hosts: [a.example], rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, endpoints: ['{}'] }}]",
            upstream.address
        ));
        let mut client = Client::connect(proxy.web());
        client.send("CONNECT b.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let answer = client.response();
        assert_eq!(answer.status(), if allowed { 404 } else { 405 });
        assert_eq!(answer.field("connection"), Some("close"));
        client.expect_end();
    }
    assert_eq!(upstream.count(), 0);
}
