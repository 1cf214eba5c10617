//! Who the client was: believed from trusted proxies, replaced from everyone else.

use outrigger_tests::{
    client::{Client, request},
    http::Message,
    proxy::Proxy,
    upstream::Upstream,
};

const CLAIMS: &[&str] = &[
    "X-Forwarded-For: 203.0.113.7",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: shop.example",
    "X-Real-IP: 203.0.113.7",
    "Forwarded: for=203.0.113.7;proto=https",
];

fn seen(trusted: &str, fields: &[&str]) -> Message {
    let upstream = Upstream::fixed("ok");
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: http, http: {{ trusted_proxies: {trusted} }} }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, endpoints: ['{}'] }}]",
        upstream.address
    ));
    let mut client = Client::connect(proxy.web());
    client.send(request("GET", "/", fields, b""));
    assert_eq!(client.response().text(), "ok");
    upstream.take().remove(0)
}

#[test]
fn a_strangers_claims_are_replaced() {
    let request = seen("[]", CLAIMS);
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.field("x-forwarded-proto"), Some("http"));
    let head = String::from_utf8_lossy(&request.raw_head).into_owned();
    assert!(!head.contains("203.0.113.7"), "{head}");
    assert!(!head.contains("shop.example"), "{head}");
}

#[test]
fn a_trusted_proxys_claims_are_extended() {
    let request = seen("[127.0.0.0/8]", CLAIMS);
    let chain: Vec<_> = request
        .all("x-forwarded-for")
        .flat_map(|v| v.split(", "))
        .collect();
    assert_eq!(chain, ["203.0.113.7", "127.0.0.1"]);
    assert_eq!(request.field("x-forwarded-proto"), Some("https"));
    assert_eq!(request.field("x-forwarded-host"), Some("shop.example"));
    let forwarded: Vec<_> = request.all("forwarded").collect();
    assert!(forwarded.join(",").contains("for=203.0.113.7"), "{request}");
}

#[test]
fn private_is_not_trusted() {
    // S26: only what is listed is believed; that the peer is on loopback says nothing.
    let request = seen("[10.0.0.0/8, '::1/128']", CLAIMS);
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
}

#[test]
fn without_claims_the_client_is_told() {
    for trusted in ["[]", "[127.0.0.1/32]"] {
        let request = seen(trusted, &[]);
        assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(request.field("x-forwarded-proto"), Some("http"));
    }
}
