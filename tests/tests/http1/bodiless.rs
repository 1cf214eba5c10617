//! Responses without a body, whatever their fields say: the connection must stay in step.

use outrigger_tests::{
    client::{Client, request},
    proxy::Proxy,
    upstream::Upstream,
};

fn answering() -> Upstream {
    Upstream::script(|peer| {
        while let Some(request) = peer.request() {
            match (request.method(), request.target()) {
                ("HEAD", "/length") => peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
                ("HEAD", "/chunked") => {
                    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                }
                ("HEAD", _) => peer.send("HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\n"),
                (_, "/204") => peer.send("HTTP/1.1 204 No Content\r\n\r\n"),
                (_, "/304") => peer
                    .send("HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: \"x\"\r\n\r\n"),
                (_, target) => {
                    let target = target.as_bytes().to_vec();
                    peer.answer(200, &target)
                }
            };
        }
    })
}

#[test]
fn the_next_response_on_the_connection_is_the_next_ones() {
    let upstream = answering();
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    for n in 0..5 {
        for (method, target, status) in [
            ("HEAD", "/length", 200),
            ("HEAD", "/chunked", 200),
            ("HEAD", "/none", 200),
            ("GET", "/204", 204),
            ("GET", "/304", 304),
        ] {
            client.send(request(method, target, &[], b""));
            let answer = client.response_to(method);
            assert_eq!(answer.status(), status, "{method} {target}");
            let check = format!("/check/{n}{target}");
            assert_eq!(client.get(&check).text(), check, "after {method} {target}");
        }
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn fields_about_the_missing_body_are_kept() {
    let upstream = answering();
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    client.send(request("HEAD", "/length", &[], b""));
    assert_eq!(
        client.response_to("HEAD").field("content-length"),
        Some("1000")
    );
    let answer = client.get("/304");
    assert_eq!(answer.field("content-length"), Some("99"));
    assert_eq!(answer.field("etag"), Some("\"x\""));
    let answer = client.get("/204");
    assert!(answer.field("content-length").is_none(), "{answer}");
}

/// What the proxy says itself to HEAD has no body either.
#[test]
fn own_replies_to_head_have_no_body() {
    let upstream = answering();
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: http }}]
routes:
  - name: all
    rules:
      - matches: [{{ path: {{ prefix: /direct }} }}]
        filters: [{{ direct_response: {{ status: 200, body: direct }} }}]
      - matches: [{{ path: {{ prefix: /ok }} }}]
        backends: [{{ cluster: back }}]
clusters: [{{ name: back, endpoints: ['{}'] }}]",
        upstream.address
    ));
    let mut client = Client::connect(proxy.web());
    for (target, status) in [("/missing", 404), ("/direct", 200)] {
        client.send(request("HEAD", target, &[], b""));
        assert_eq!(client.response_to("HEAD").status(), status);
        assert_eq!(client.get("/ok").text(), "/ok", "after {target}");
    }
}
