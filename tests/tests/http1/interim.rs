//! 1xx responses and `Expect: 100-continue`.

use outrigger_tests::{
    client::{Client, request},
    http::Message,
    proxy::Proxy,
    upstream::Upstream,
};

const EXPECTING: &[&str] = &["Expect: 100-continue", "Content-Length: 5"];

#[test]
fn the_body_waits_for_the_upstreams_word() {
    let upstream = Upstream::script(|peer| {
        while let Some(head) = peer.head() {
            assert_eq!(head.field("expect"), Some("100-continue"));
            peer.send("HTTP/1.1 100 Continue\r\n\r\n");
            let body = peer.exactly(5).unwrap();
            peer.answer(200, &body);
        }
    });
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    for _ in 0..3 {
        client.send(request("POST", "/", EXPECTING, b""));
        assert_eq!(client.head().status(), 100);
        client.send("hello");
        assert_eq!(client.response().text(), "hello");
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn an_upstream_may_refuse_before_the_body() {
    let upstream = Upstream::script(|peer| {
        while peer.head().is_some() {
            peer.answer(403, b"no");
            if peer.wait_end().is_empty() {
                return;
            }
        }
    });
    let proxy = Proxy::to(&[&upstream.address]);
    for _ in 0..3 {
        let mut client = Client::connect(proxy.web());
        client.send(request("POST", "/", EXPECTING, b""));
        let answer = client.response();
        assert_eq!((answer.status(), answer.text()), (403, "no".to_owned()));
        // The body will not be taken: a client that went on with another request would lose it.
        assert_eq!(answer.field("connection"), Some("close"));
        client.expect_end();
    }
}

#[test]
fn hints_reach_1_1_clients_and_nobody_else() {
    let upstream = Upstream::canned(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    assert_eq!(client.get("/").text(), "ok");
    let seen: Vec<_> = client.interim.iter().map(Message::status).collect();
    assert_eq!(seen, [103]);
    assert!(client.interim[0].has_line("Link: </a.css>; rel=preload"));

    let mut old = Client::connect(proxy.web());
    old.send("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n");
    assert_eq!(old.response().text(), "ok");
    assert!(old.interim.is_empty());
}
