//! Tunnels that are not to be: protocols nobody allowed, endpoints that do not offer them, grant
//! them wrongly or refuse, and requests that are none.

use outrigger_tests::{
    client,
    frames::{Client, Frame, Message, accept, code, connect, extended_connect, response, server},
    proxy::Proxy,
    upstream::{Peer, Upstream},
    websocket,
    wire::Wire,
};

use super::{
    towards,
    websocket::{OFFER, VERSION, open},
};

/// An HTTP/2 endpoint that answers every request with 200, and never grants a tunnel.
fn plain(settings: &[(u16, u32)]) -> Upstream {
    server(settings, |connection| {
        let mut last = 0;
        while let Some((stream, asked)) = connection.opening(last) {
            last = stream;
            assert_eq!(asked.get(":protocol"), None);
            connection.answer(stream, 200, &[], b"plain");
        }
    })
}

#[track_caller]
fn ask(client: &mut Client, block: impl Into<Vec<u8>>) -> Message {
    let stream = client.stream();
    client.send(&Frame::headers(stream, block));
    client.whole(stream)
}

fn websocket_block() -> Vec<u8> {
    extended_connect("websocket", "/", &[VERSION]).into()
}

fn cause(proxy: &Proxy, line: usize) -> String {
    let lines = proxy.log_of(line + 1);
    lines[line]["cause"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn an_endpoint_that_does_not_offer_it_is_not_asked() {
    let upstream = plain(&[]);
    let proxy = towards("http2", &upstream.address);
    // Where its settings came just now, and where they are known.
    for line in 0..2 {
        let mut client = client::Client::connect(proxy.web());
        client.send(websocket::opening("/"));
        assert_eq!(client.response().status(), 502);
        assert_eq!(cause(&proxy, line), "extended_connect_not_offered");
    }
    let mut client = Client::connect(proxy.web());
    assert_eq!(ask(&mut client, websocket_block()).status(), 502);
    assert_eq!(cause(&proxy, 2), "extended_connect_not_offered");
    assert_eq!(client.get("/").body, b"plain");
    let metrics = proxy.metrics();
    let failures = metrics.sum(
        "outrigger_failures_total",
        &[("cause", "extended_connect_not_offered")],
    );
    assert!((failures - 3.0).abs() < 0.5, "{failures}");
    assert_eq!(upstream.connections(), 1);
}

/// Another endpoint may: nothing was sent to the first.
#[test]
fn of_several_endpoints_one_that_offers_it_is_found() {
    let (without, with) = (plain(&[]), echoing());
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0' }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, protocol: http2, balance: round_robin, endpoints: ['{}', '{}'] }}]",
        without.address, with.address
    ));
    let mut client = Client::connect(proxy.web());
    for _ in 0..4 {
        open(&mut client, "/");
    }
}

fn echoing() -> Upstream {
    server(&[OFFER], |connection| {
        let mut last = 0;
        while let Some((stream, _)) = connection.opening(last) {
            last = stream;
            connection.send(&Frame::headers(stream, response(200, &[])));
        }
    })
}

/// `protocol: auto`: HTTP/2 for who speaks it, and for an upgrade HTTP/1 where that alone can do it.
#[test]
fn an_endpoint_of_both_kinds_is_asked_in_the_one_that_works() {
    let upstream = Upstream::script(|peer| {
        if !begins_http2(peer) {
            return websocket::serve(peer);
        }
        let mut connection = accept(peer, &[]).unwrap();
        while let Some((stream, _)) = connection.request() {
            connection.answer(stream, 200, &[], b"by HTTP/2");
        }
    });
    let proxy = towards("auto", &upstream.address);
    let mut client = Client::connect(proxy.web());
    assert_eq!(client.get("/").body, b"by HTTP/2");
    let stream = open(&mut client, "/chat");
    client.send_body(stream, &websocket::from_client("hello"), false);
    let answer = websocket::from_server("<hello>");
    assert!(client.exactly(stream, answer.len()) == answer);
    assert_eq!(upstream.requests()[0].target(), "/chat");
}

fn begins_http2(peer: &Peer) -> bool {
    let mut first = [0; 3];
    if let Wire::Tcp(stream) = &peer.wire {
        while stream.peek(&mut first).unwrap() < first.len() {}
    }
    first == *b"PRI"
}

#[test]
fn protocols_that_are_not_listed_reach_no_endpoint() {
    let upstream = Upstream::fixed("ok");
    let proxy = Proxy::start(&format!(
        "listeners:
  - {{ name: web, bind: '127.0.0.1:0' }}
  - {{ name: other, bind: '127.0.0.1:0', http: {{ upgrades: [echo] }} }}
  - {{ name: none, bind: '127.0.0.1:0', http: {{ upgrades: [] }} }}
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, endpoints: ['{}'] }}]",
        upstream.address
    ));
    let cases = [
        ("web", "echo"),
        ("web", "connect-udp"),
        ("web", "h2c"),
        ("other", "websocket"),
    ];
    for (n, (listener, protocol)) in cases.into_iter().enumerate() {
        let mut client = Client::connect(proxy.listener(listener));
        let refused = ask(&mut client, extended_connect(protocol, "/", &[VERSION]));
        assert_eq!(refused.status(), 501, "{listener} {protocol}");
        assert_eq!(cause(&proxy, 2 * n), "protocol_not_allowed");
        // Its connection goes on.
        assert_eq!(client.get("/").body, b"ok");
        assert_eq!(upstream.take().len(), 1);
    }
    // Who was not told that it may must not ask.
    let mut client = Client::connect(proxy.listener("none"));
    let refused = ask(&mut client, websocket_block());
    assert_eq!(refused.status(), 501, "{refused:?}");
    assert_eq!(client.settings.get(&OFFER.0), None);
    assert_eq!(upstream.count(), 0);
}

#[test]
fn a_grant_without_its_proof_is_none() {
    let right = websocket::accepting();
    let line = right.lines().find(|l| l.starts_with("Sec")).unwrap();
    let line = format!("{line}\r\n");
    let cases = [
        // That of another key.
        right.clone(),
        right.replace(&line, ""),
        right.replace(&line, &format!("{line}{line}")),
        // Of another protocol.
        right.replace("Upgrade: websocket", "Upgrade: echo"),
        // To a client of CONNECT any 2xx would be a grant.
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno".to_owned(),
        "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
    ];
    for (n, answer) in cases.into_iter().enumerate() {
        let upstream = Upstream::canned(answer.clone());
        let proxy = towards("http1", &upstream.address);
        let mut client = Client::connect(proxy.web());
        let refused = ask(&mut client, websocket_block());
        assert_eq!(refused.status(), 502, "{n} {answer}");
        assert_eq!(cause(&proxy, 0), "http_upgrade_failed", "{answer}");
    }
}

#[test]
fn another_answer_is_an_ordinary_one() {
    let one = Upstream::canned(
        "HTTP/1.1 403 Forbidden\r\nX-Why: members\r\nContent-Length: 12\r\n\r\nmembers only",
    );
    let two = server(&[OFFER], |connection| {
        let mut last = 0;
        while let Some((stream, _)) = connection.opening(last) {
            last = stream;
            connection.answer(stream, 403, &[("x-why", "members")], b"members only");
        }
    });
    for (protocol, upstream) in [("http1", &one), ("http2", &two)] {
        let proxy = towards(protocol, &upstream.address);
        let mut client = Client::connect(proxy.web());
        for _ in 0..2 {
            let answer = ask(&mut client, websocket_block());
            assert_eq!(answer.status(), 403);
            assert_eq!(answer.get("x-why"), Some("members"));
            assert_eq!(answer.body, b"members only");
        }
        // And a connection of HTTP/1 serves the next request.
        let mut client = client::Client::connect(proxy.web());
        for _ in 0..2 {
            client.send(websocket::opening("/"));
            let answer = client.response();
            assert_eq!(
                (answer.status(), answer.text()),
                (403, "members only".into())
            );
        }
        assert_eq!(upstream.connections(), 1, "{protocol}");
    }
}

/// What is proved to a client hangs on its key.
#[test]
fn a_key_that_is_none_is_refused() {
    let upstream = plain(&[OFFER]);
    let proxy = towards("http2", &upstream.address);
    let opening = websocket::opening("/");
    let line = opening.lines().find(|l| l.starts_with("Sec-WebSocket-Key"));
    let line = line.unwrap();
    for key in ["", "Sec-WebSocket-Key: short\r\n"] {
        let mut client = client::Client::connect(proxy.web());
        client.send(opening.replace(&format!("{line}\r\n"), key));
        assert_eq!(client.response().status(), 400, "{key:?}");
    }
}

#[test]
fn a_tunnel_has_no_length() {
    let upstream = Upstream::fixed("ok");
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', http: {{ connect: true }} }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, endpoints: ['{}'] }}]",
        upstream.address
    ));
    let mut client = Client::connect(proxy.web());
    for length in ["0", "5"] {
        let fields = [VERSION, ("content-length", length)];
        let extended = Vec::from(extended_connect("websocket", "/", &fields));
        let plain = Vec::from(connect("a.example:80", &fields));
        for block in [extended, plain] {
            let refused = ask(&mut client, block);
            let reset = refused.reset == Some(code::PROTOCOL_ERROR);
            assert!(reset || refused.status() == 400, "{refused:?}");
        }
    }
    assert_eq!(client.get("/").body, b"ok");
    assert_eq!(upstream.count(), 1);
}
