//! How many connections there may be, and that heads up to the settable limits pass. (What a limit
//! answers stands in the vectors.)

use outrigger_tests::{
    client::{Client, request},
    proxy::{Proxy, Setup},
    upstream::Upstream,
    wait,
};

fn text(upstream: &Upstream, listener: &str) -> String {
    format!(
        "listeners:
  - {{ name: web, bind: '127.0.0.1:0', protocol: http, {listener} }}
  - {{ name: other, bind: '127.0.0.1:0', protocol: http }}
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, endpoints: ['{}'], max_header_size: 1MiB }}]",
        upstream.address
    )
}

/// A connection that was served: it holds its place.
fn held(proxy: &Proxy, listener: &str) -> Client {
    let mut client = Client::connect(proxy.listener(listener));
    assert_eq!(client.get("/").text(), "ok");
    client
}

fn refused(proxy: &Proxy, listener: &str) {
    let mut client = Client::connect(proxy.listener(listener));
    let _ = client.try_send(request("GET", "/", &[], b""));
    match client.try_response("GET") {
        Ok(answer) => assert_eq!(answer.status(), 503, "{answer}"),
        Err(outrigger_tests::reader::Broken::Ended) => {}
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_listener_takes_no_more_than_its_limit() {
    let upstream = Upstream::fixed("ok");
    let proxy = Proxy::start(&text(&upstream, "max_connections: 2"));
    let first = held(&proxy, "web");
    let second = held(&proxy, "web");
    refused(&proxy, "web");
    let _other = held(&proxy, "other");
    drop((first, second));
    wait::until("a place to be free", || {
        let mut client = Client::connect(proxy.web());
        client.try_send(request("GET", "/", &[], b"")).ok()?;
        client
            .try_response("GET")
            .ok()
            .filter(|a| a.status() == 200)
    });
    assert!(
        proxy.metrics().series.iter().any(|s| s
            .labels
            .values()
            .any(|v| v == "downstream_connection_limit")
            && s.value >= 1.0),
        "the refusal is not counted"
    );
}

#[test]
fn the_process_takes_no_more_than_its_limit() {
    let upstream = Upstream::fixed("ok");
    let proxy = Setup::new(&text(&upstream, ""))
        .mesh("limits: { connections: 2 }")
        .start();
    let _first = held(&proxy, "web");
    let _second = held(&proxy, "other");
    refused(&proxy, "web");
    refused(&proxy, "other");
    // The operators' face has a limit of its own.
    assert_eq!(proxy.ask("/ready").status(), 200);
}

#[test]
fn heads_of_up_to_a_mebibyte_can_be_allowed() {
    let upstream = Upstream::script(|peer| {
        while let Some(request) = peer.request() {
            let big = request.field("x-big").unwrap_or_default().len();
            let line = "b".repeat(big);
            peer.send(format!(
                "HTTP/1.1 200 OK\r\nX-Big: {line}\r\nContent-Length: 0\r\n\r\n"
            ));
        }
    });
    let proxy = Proxy::start(&text(
        &upstream,
        "http: { max_header_size: 1MiB, max_request_line: 1MiB, max_headers: 4096 }",
    ));
    let mut client = Client::connect(proxy.web());
    for len in [100, 4_000, 16_000, 64_000, 200_000, 900_000] {
        client.send(request(
            "GET",
            "/",
            &[&format!("X-Big: {}", "a".repeat(len))],
            b"",
        ));
        let answer = client.response();
        assert_eq!(answer.status(), 200, "{len}");
        assert_eq!(answer.field("x-big").map(str::len), Some(len));
    }
    let target = format!("/{}", "p".repeat(500_000));
    assert_eq!(client.get(&target).status(), 200);
    let last = upstream.requests().pop().unwrap();
    assert_eq!(last.target().len(), target.len());
}
