//! Upgrade and WebSocket: bytes are tunnelled after 101, and not before.

use outrigger_tests::{
    client::{Client, request},
    proxy::Proxy,
    upstream::Upstream,
    websocket::{self, WebSocket},
    wire::End,
};

#[test]
fn a_websocket_holds_a_conversation() {
    let upstream = Upstream::script(websocket::serve);
    let proxy = Proxy::to(&[&upstream.address]);
    let mut socket = WebSocket::open(Client::connect(proxy.web()), "/chat");
    for n in 0..100 {
        assert_eq!(socket.say(&format!("hello {n}")), format!("<hello {n}>"));
    }
    let long = "x".repeat(60_000);
    assert_eq!(socket.say(&long), format!("<{long}>"));
}

#[test]
fn frames_right_behind_the_switch_arrive() {
    let upstream = Upstream::script(|peer| {
        peer.head();
        let mut both = websocket::accepting().into_bytes();
        both.extend(websocket::from_server("early bird"));
        peer.send(both);
        websocket::serve_open(peer);
    });
    let proxy = Proxy::to(&[&upstream.address]);
    let mut socket = WebSocket::open(Client::connect(proxy.web()), "/");
    assert_eq!(socket.hear().unwrap(), "early bird");
    assert_eq!(socket.say("x"), "<x>");
}

#[test]
fn the_end_goes_through_in_both_directions() {
    let upstream = Upstream::script(websocket::serve);
    let proxy = Proxy::to(&[&upstream.address]);
    let mut socket = WebSocket::open(Client::connect(proxy.web()), "/");
    socket.say("x");
    socket.0.wire.finish();
    assert_eq!(socket.0.expect_end(), End::Closed);
    outrigger_tests::wait::until("the upstream to see the end", || {
        (upstream.open() == 0).then_some(())
    });

    let upstream = Upstream::script(|peer| {
        peer.head();
        peer.send(websocket::accepting());
    });
    let proxy = Proxy::to(&[&upstream.address]);
    let mut socket = WebSocket::open(Client::connect(proxy.web()), "/");
    assert_eq!(socket.0.expect_end(), End::Closed);
}

/// S9: an upgrade that was asked for and not granted leaves an HTTP connection. What follows is
/// another request, judged like any other.
#[test]
fn a_refused_upgrade_opens_no_tunnel() {
    let upstream = Upstream::fixed("no");
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    client.send(websocket::opening("/chat"));
    assert_eq!(client.response().text(), "no");
    client.send("GET / HTTP/1.1\r\nHost : a.example\r\n\r\n");
    assert_eq!(client.response().status(), 400);
    assert_eq!(upstream.count(), 1);
}

/// S9: bytes that a client sends behind its opening wait for the 101; when it does not come they
/// are no tunnel.
#[test]
fn bytes_before_the_switch_are_not_tunnelled() {
    let upstream = Upstream::script(|peer| {
        while let Some(request) = peer.request() {
            peer.answer(200, request.target().as_bytes());
        }
    });
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    let mut both = websocket::opening("/chat").into_bytes();
    both.extend(request(
        "GET",
        "/second",
        &["X-Forwarded-For: 6.6.6.6"],
        b"",
    ));
    client.send(both);
    assert_eq!(client.response().text(), "/chat");
    assert_eq!(client.response().text(), "/second");
    let second = &upstream.requests()[1];
    assert_eq!(
        second.field("x-forwarded-for"),
        Some("127.0.0.1"),
        "{second}"
    );
}

#[test]
fn only_listed_protocols_are_passed_on() {
    let upstream = Upstream::script(|peer| {
        while let Some(request) = peer.request() {
            if request.has_token("upgrade", "echo") {
                peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
                let words = peer.exactly(4).unwrap();
                peer.send(words);
                return;
            }
            peer.answer(200, b"plain");
        }
    });
    let proxy = Proxy::start(&format!(
        "listeners:
  - {{ name: web, bind: '127.0.0.1:0', protocol: http, http: {{ upgrades: [echo] }} }}
  - {{ name: strict, bind: '127.0.0.1:0', protocol: http }}
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, endpoints: ['{}'] }}]",
        upstream.address
    ));
    let asking = request("GET", "/", &["Connection: Upgrade", "Upgrade: echo"], b"");
    let mut client = Client::connect(proxy.web());
    client.send(&asking);
    assert_eq!(client.head().status(), 101);
    client.send("ping");
    assert_eq!(client.exactly(4), b"ping");

    let mut client = Client::connect(proxy.listener("strict"));
    client.send(&asking);
    assert_eq!(client.response().text(), "plain");
}

/// What follows an early 101 would be the rest of the body for one side and the new protocol for the other.
#[test]
fn a_switch_before_the_request_is_whole_is_refused() {
    let upstream = Upstream::script(|peer| {
        peer.head();
        peer.send(websocket::accepting());
        peer.wait_end();
    });
    let proxy = Proxy::to(&[&upstream.address]);
    for framing in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let mut client = Client::connect(proxy.web());
        let fields = ["Connection: Upgrade", "Upgrade: websocket", framing];
        client.send(request("GET", "/", &fields, b""));
        assert_eq!(client.response().status(), 502, "{framing}");
        client.expect_end();
    }
}

/// Every line counts: one that names an allowed protocol does not let another one through.
#[test]
fn a_second_upgrade_line_smuggles_no_protocol() {
    let upstream = Upstream::fixed("ok");
    let proxy = Proxy::to(&[&upstream.address]);
    for (first, second) in [("h2c", "websocket"), ("websocket", "h2c")] {
        let mut client = Client::connect(proxy.web());
        let lines = [first, second].map(|token| format!("Upgrade: {token}"));
        let fields = ["Connection: Upgrade", &lines[0], &lines[1]];
        client.send(request("GET", "/", &fields, b""));
        assert_eq!(client.response().status(), 200);
        let sent = upstream.take().remove(0);
        assert_eq!(sent.field("upgrade"), None, "{sent}");
    }
}
