//! Fields as the other side sees them.

use std::collections::HashSet;

use outrigger_tests::{
    client::{Client, request},
    http::Field,
    proxy::Proxy,
    upstream::Upstream,
};

/// The fields of `sent` in the order in which they are in `got`.
fn kept<'a>(got: &'a [Field], sent: &[&str]) -> Vec<String> {
    let known = |f: &&'a Field| {
        sent.iter().any(|line| {
            let name = line.split(':').next().unwrap_or_default();
            name.eq_ignore_ascii_case(&f.name)
        })
    };
    got.iter()
        .filter(known)
        .map(|f| format!("{}: {}", f.name, f.value))
        .collect()
}

#[test]
fn names_values_and_order_are_kept_in_both_directions() {
    let sent = [
        "X-Upper: A",
        "x-lower: b",
        "hOst: a.example",
        "X-MiXeD: c",
        "Accept: */*",
        "X-Upper: second",
        "Cookie: a=1; b=2",
        "x-UPPER: third",
        "authorization: Bearer x",
    ];
    let answer = [
        "Server: origin",
        "date: Sun, 06 Nov 1994 08:49:37 GMT",
        "X-Upper: A",
        "Set-Cookie: a=1",
        "x-lower: b",
        "set-cookie: b=2",
        "ETag: \"x\"",
        "content-length: 0",
    ];
    let upstream = Upstream::canned(format!(
        "HTTP/1.1 200 OK\r\n{}\r\n\r\n",
        answer.join("\r\n")
    ));
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    client.send(request("GET", "/", &sent, b""));
    let response = client.response();
    assert_eq!(kept(&upstream.requests()[0].fields, &sent), sent);
    assert_eq!(kept(&response.fields, &answer), answer);
    assert_eq!(response.line, "HTTP/1.1 200 OK");
}

#[test]
fn every_request_has_an_id_of_its_own() {
    let upstream = Upstream::fixed("ok");
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    for _ in 0..100 {
        client.get("/");
    }
    let ids: HashSet<_> = upstream
        .requests()
        .iter()
        .map(|r| r.field("x-request-id").expect("an id").to_owned())
        .collect();
    assert_eq!(ids.len(), 100);
    let logged: HashSet<_> = proxy
        .log_of(100)
        .iter()
        .map(|line| line["request_id"].as_str().expect("an id").to_owned())
        .collect();
    assert_eq!(logged, ids);
}

#[test]
fn via_names_us_unless_told_otherwise() {
    let upstream = Upstream::fixed("ok");
    let proxy = Proxy::start(&format!(
        "listeners:
  - {{ name: web, bind: '127.0.0.1:0', protocol: http }}
  - {{ name: trusting, bind: '127.0.0.1:0', protocol: http, http: {{ trusted_proxies: [127.0.0.1] }} }}
  - {{ name: silent, bind: '127.0.0.1:0', protocol: http, http: {{ via: false }} }}
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, endpoints: ['{}'] }}]",
        upstream.address
    ));
    for listener in ["web", "trusting", "silent"] {
        let mut client = Client::connect(proxy.listener(listener));
        client.send(request("GET", "/", &["Via: 1.0 first"], b""));
        client.response();
    }
    let via: Vec<_> = upstream
        .requests()
        .iter()
        .map(|r| r.all("via").collect::<Vec<_>>().join(", "))
        .collect();
    assert!(
        via[0].starts_with("1.1 "),
        "a stranger's Via is replaced: {via:?}"
    );
    assert!(
        via[1].starts_with("1.0 first, 1.1 "),
        "a trusted one is extended: {via:?}"
    );
    assert_eq!(via[2], "", "{via:?}");
}

/// A field that names itself in `Connection` ends here, on the way back too.
#[test]
fn hop_by_hop_fields_end_here_in_both_directions() {
    let upstream = Upstream::canned(
        "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=60\r\nX-End: 1\r\n\
         Proxy-Connection: keep-alive\r\nContent-Length: 0\r\n\r\n",
    );
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    client.send(request(
        "GET",
        "/",
        &[
            "Connection: x-hop, X-Other",
            "X-Hop: 1",
            "x-other: 2",
            "TE: gzip",
            "X-End: 1",
        ],
        b"",
    ));
    let response = client.response();
    let request = &upstream.requests()[0];
    for message in [&response, request] {
        for name in ["x-hop", "x-other", "keep-alive", "proxy-connection", "te"] {
            assert!(message.field(name).is_none(), "{name} in {message}");
        }
        assert_eq!(message.field("x-end"), Some("1"));
    }
}
