//! Filters: changes to requests and responses, redirects, rewrites, direct answers.

use outrigger_tests::{
    client::{Client, request},
    http::Message,
    proxy::Proxy,
    upstream::Upstream,
};

/// A proxy with these rules before an upstream that has `X-Old` and `Server` in its answers.
fn proxy(upstream: &Upstream, rules: &str) -> Proxy {
    Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: http }}]
routes:
  - name: all
    rules:
{rules}
clusters: [{{ name: back, endpoints: ['{}'] }}]",
        upstream.address
    ))
}

fn upstream() -> Upstream {
    Upstream::canned(
        "HTTP/1.1 200 OK\r\nX-Old: 1\r\nServer: origin\r\nX-Twice: a\r\nContent-Length: 2\r\n\r\nok",
    )
}

fn ask(proxy: &Proxy, target: &str, fields: &[&str]) -> Message {
    let mut client = Client::connect(proxy.web());
    client.send(request("GET", target, fields, b""));
    client.response()
}

#[test]
fn request_fields_are_removed_set_and_added() {
    let upstream = upstream();
    let proxy = proxy(
        &upstream,
        "      - filters: [{ request_headers: { remove: [x-secret], set: { X-Env: canary }, add: { X-Tag: new } } }]
        backends: [{ cluster: back, filters: [{ request_headers: { set: { X-Backend: b1 } } }] }]",
    );
    ask(
        &proxy,
        "/",
        &[
            "X-Secret: 1",
            "x-SECRET: 2",
            "x-env: old",
            "X-ENV: older",
            "X-Tag: old",
            "X-Keep: 1",
        ],
    );
    let request = upstream.requests().remove(0);
    assert!(request.all("x-secret").next().is_none(), "{request}");
    assert_eq!(request.field("x-env"), Some("canary"));
    assert_eq!(request.all("x-tag").collect::<Vec<_>>(), ["old", "new"]);
    assert_eq!(request.field("x-backend"), Some("b1"));
    assert_eq!(request.field("x-keep"), Some("1"));
}

#[test]
fn response_fields_are_removed_set_and_added() {
    let upstream = upstream();
    let proxy = proxy(
        &upstream,
        "      - filters: [{ response_headers: { remove: [Server], set: { x-old: new }, add: { X-Twice: b } } }]
        backends: [{ cluster: back }]",
    );
    let answer = ask(&proxy, "/", &[]);
    assert!(answer.field("server").is_none(), "{answer}");
    assert_eq!(answer.field("x-old"), Some("new"));
    assert_eq!(answer.all("x-twice").collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn filters_run_in_order_and_backwards_for_responses() {
    let upstream = upstream();
    let proxy = proxy(
        &upstream,
        "      - filters:
          - { request_headers: { set: { x-last: first } } }
          - { request_headers: { set: { x-last: second } } }
          - { response_headers: { set: { x-last: first } } }
          - { response_headers: { set: { x-last: second } } }
        backends: [{ cluster: back }]",
    );
    let answer = ask(&proxy, "/", &[]);
    assert_eq!(upstream.requests()[0].field("x-last"), Some("second"));
    assert_eq!(answer.field("x-last"), Some("first"));
}

#[test]
fn host_and_path_are_rewritten() {
    let upstream = upstream();
    let proxy = proxy(
        &upstream,
        "      - matches: [{ path: { prefix: /api } }]
        filters: [{ rewrite: { host: inner.example, path: { replace_prefix: / } } }]
        backends: [{ cluster: back }]
      - matches: [{ path: { prefix: /v1 } }]
        filters: [{ rewrite: { path: { replace_prefix: /v2/x } } }]
        backends: [{ cluster: back }]
      - matches: [{ path: { prefix: /full } }]
        filters: [{ rewrite: { path: { replace_full: /fixed } } }]
        backends: [{ cluster: back }]",
    );
    for (target, forwarded, host) in [
        ("/api", "/", "inner.example"),
        ("/api/", "/", "inner.example"),
        ("/api/items?q=1", "/items?q=1", "inner.example"),
        ("/v1", "/v2/x", "a.example"),
        ("/v1/", "/v2/x/", "a.example"),
        ("/v1/y/z", "/v2/x/y/z", "a.example"),
        ("/full/x?q=1", "/fixed?q=1", "a.example"),
    ] {
        assert_eq!(ask(&proxy, target, &[]).text(), "ok");
        let request = upstream.take().remove(0);
        assert_eq!(
            (request.target(), request.field("host")),
            (forwarded, Some(host)),
            "{target}"
        );
    }
}

#[test]
fn redirects_are_built_from_the_request() {
    let upstream = upstream();
    let proxy = proxy(
        &upstream,
        "      - matches: [{ path: { prefix: /tls } }]
        filters: [{ redirect: { scheme: https, status: 301 } }]
      - matches: [{ path: { prefix: /host } }]
        filters: [{ redirect: { host: other.example, port: 8443, scheme: https } }]
      - matches: [{ path: { prefix: /old } }]
        filters: [{ redirect: { path: { replace_prefix: /new }, status: 308 } }]
      - matches: [{ path: { prefix: /full } }]
        filters: [{ redirect: { path: { replace_full: /fixed }, status: 303 } }]",
    );
    for (target, host, status, location) in [
        (
            "/tls/x?q=1",
            "a.example",
            301,
            "https://a.example/tls/x?q=1",
        ),
        (
            "/host/x",
            "a.example:80",
            302,
            "https://other.example:8443/host/x",
        ),
        (
            "/old/y?q",
            "a.example:8080",
            308,
            "http://a.example:8080/new/y?q",
        ),
        (
            "/full/y",
            "a.example:8080",
            303,
            "http://a.example:8080/fixed",
        ),
    ] {
        let answer = ask(&proxy, target, &[&format!("Host: {host}")]);
        assert_eq!(
            (answer.status(), answer.field("location")),
            (status, Some(location)),
            "{target}"
        );
    }
    assert_eq!(upstream.connections(), 0);
}

/// A client cannot write lines into what we answer.
#[test]
fn a_redirect_carries_nothing_that_ends_a_line() {
    let upstream = upstream();
    let proxy = proxy(
        &upstream,
        "      - filters: [{ redirect: { scheme: https } }]",
    );
    let answer = ask(&proxy, "/x%0d%0aSet-Cookie:%20a=b?y=%0d%0aX:1", &[]);
    assert_eq!(
        answer.field("location"),
        Some("https://a.example/x%0d%0aSet-Cookie:%20a=b?y=%0d%0aX:1")
    );
    assert!(answer.field("set-cookie").is_none());
}

#[test]
fn direct_answers_say_what_they_are_told() {
    let upstream = upstream();
    let proxy = proxy(
        &upstream,
        "      - matches: [{ path: { prefix: /json } }]
        filters:
          - { response_headers: { set: { x-a: b } } }
          - { direct_response: { status: 418, body: '{\"a\":1}', content_type: application/json } }
      - filters: [{ direct_response: { status: 204 } }]",
    );
    let answer = ask(&proxy, "/json", &[]);
    assert_eq!(
        (answer.status(), answer.text().as_str()),
        (418, "{\"a\":1}")
    );
    assert_eq!(answer.field("content-type"), Some("application/json"));
    assert!(answer.field("date").is_some(), "{answer}");
    let answer = ask(&proxy, "/", &[]);
    assert_eq!(answer.status(), 204);
    assert!(answer.field("content-length").is_none(), "{answer}");
    assert_eq!(upstream.connections(), 0);
}
