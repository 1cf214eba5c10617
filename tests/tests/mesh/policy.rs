//! Policies: who comes through, who does not and how it is told, and what changes while a client is
//! there.

use outrigger_tests::{
    client::{Client, fetch, get, request},
    proxy::Proxy,
    upstream::Upstream,
};

use super::{API, Domain, outbound};

fn text(policies: &str, upstream: &Upstream) -> String {
    format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', direction: inbound }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, endpoints: ['{}'] }}]
policies: [{policies}]",
        upstream.address
    )
}

const WEB_READS: &str = "{ name: web-reads, listeners: [web], action: allow, rules: [{ identities: ['spiffe://shop.example/web'], requests: [{ method: GET, path: { prefix: /items } }] }] }";
const NO_SECRETS: &str = "{ name: no-secrets, listeners: [web], action: deny, rules: [{ requests: [{ path: { prefix: /items/secret } }] }] }";

fn refusals(proxy: &Proxy, policy: &str, result: &str) -> u32 {
    let labels = [("policy", policy), ("result", result)];
    proxy
        .metrics()
        .sum("outrigger_policy_refusals_total", &labels)
        .round() as u32
}

#[test]
fn a_policy_decides_who_may_do_what() {
    let domain = Domain::new();
    domain.issue("other", &[]);
    let upstream = Upstream::fixed("hello");
    let policies = format!("{WEB_READS}, {NO_SECRETS}");
    let inbound = domain.start("api", &text(&policies, &upstream));
    // Requests of one connection are judged each by itself, over both versions of HTTP.
    for protocol in ["http1", "http2"] {
        let web = domain.outbound(&inbound, API, &format!(", protocol: {protocol}"));
        let mut client = Client::connect(web.web());
        for (method, target, status) in [
            ("GET", "/items/1", 200),
            ("GET", "/items/secret/1", 403),
            ("GET", "/items/x/../%73ecret", 403),
            ("GET", "/items//secret", 403),
            ("DELETE", "/items/1", 403),
            ("GET", "/", 403),
            ("GET", "/items", 200),
        ] {
            client.send(request(method, target, &[], b""));
            let answer = client.response_to(method);
            assert_eq!(answer.status(), status, "{method} {target}: {answer}");
        }
    }
    let other = domain.start("other", &outbound(&inbound, API, ""));
    assert_eq!(get(other.web(), "/items/1").status(), 403);
    // Nothing of what was refused has arrived.
    let arrived: Vec<_> = upstream.take().into_iter().map(|r| r.line).collect();
    assert_eq!(arrived.len(), 4, "{arrived:?}");

    let lines = inbound.log_of(15);
    assert_eq!(lines[1]["cause"], "http_request_denied", "{}", lines[1]);
    assert_eq!(lines[1]["policy"], "no-secrets", "{}", lines[1]);
    assert_eq!(lines[14]["policy"], "web-reads", "{}", lines[14]);
    assert_eq!(lines[14]["identity"], "spiffe://shop.example/other");
    assert_eq!(refusals(&inbound, "no-secrets", "denied"), 4);
    assert_eq!(refusals(&inbound, "web-reads", "denied"), 7);
}

#[test]
fn a_new_policy_holds_for_the_next_request_of_a_connection_that_is_there() {
    let domain = Domain::new();
    let upstream = Upstream::fixed("hello");
    let mut inbound = domain.start("api", &text("", &upstream));
    let web = domain.outbound(&inbound, API, "");
    let mut client = Client::connect(web.web());
    assert_eq!(client.get("/").status(), 200);
    inbound.reload(&format!("{}{}", domain.trust(), text(WEB_READS, &upstream)));
    assert_eq!(client.get("/").status(), 403);
    assert_eq!(client.get("/items").status(), 200);
}

#[test]
fn an_audit_lets_through_and_tells() {
    let domain = Domain::new();
    let upstream = Upstream::fixed("hello");
    let policies = WEB_READS.replace("action: allow", "action: allow, audit: true");
    let inbound = domain.start("api", &text(&policies, &upstream));
    let web = domain.outbound(&inbound, API, "");
    assert_eq!(get(web.web(), "/items").status(), 200);
    assert_eq!(get(web.web(), "/").status(), 200);
    let lines = inbound.log_of(2);
    assert!(lines[0].get("policy_audit").is_none(), "{}", lines[0]);
    assert_eq!(lines[1]["policy_audit"], "web-reads", "{}", lines[1]);
    assert_eq!(refusals(&inbound, "web-reads", "audited"), 1);
    assert_eq!(refusals(&inbound, "web-reads", "denied"), 0);
}

#[test]
fn opaque_connections_are_judged_before_anything_is_dialed() {
    let domain = Domain::new();
    // It greets: where it is dialed before the client has spoken, that shows.
    let upstream = Upstream::script(|peer| {
        peer.send("220 hello\r\n").wait_end();
    });
    let start = |policies: &str| {
        domain.start(
            "api",
            &format!(
                "listeners: [{{ name: web, bind: '127.0.0.1:0', mtls: 'off', cluster: back }}]
clusters: [{{ name: back, endpoints: ['{}'] }}]
policies: [{policies}]",
                upstream.address
            ),
        )
    };
    let here = start(
        "{ name: here, listeners: [web], action: allow, rules: [{ networks: [127.0.0.0/8] }] }",
    );
    assert_eq!(Client::connect(here.web()).exactly(11), b"220 hello\r\n");
    assert_eq!(upstream.connections(), 1);
    for policies in [
        "{ name: p, listeners: [web], action: allow, rules: [{ networks: [10.0.0.0/8] }] }",
        // What it says of requests cannot be known of an opaque connection.
        "{ name: p, listeners: [web], action: allow, rules: [{ requests: [{ method: GET }] }] }",
        "{ name: p, listeners: [web], action: deny, rules: [{ requests: [{ method: PUT }] }] }",
    ] {
        let proxy = start(policies);
        let mut client = Client::connect(proxy.web());
        client.send(b"\0\0opaque").rest();
        let line = proxy.log_of(1).remove(0);
        assert_eq!(line["cause"], "http_request_denied", "{policies}: {line}");
        assert_eq!(line["policy"], "p", "{line}");
        // HTTP is judged by its requests.
        let status = fetch(proxy.web(), "GET", "/", &[]).status();
        assert_eq!(
            status,
            if policies.contains("10.0") { 403 } else { 404 },
            "{policies}"
        );
    }
    assert_eq!(upstream.connections(), 1);
}
