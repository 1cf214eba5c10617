//! Responses that come before the request is whole.

use outrigger_tests::{
    client::{Client, request},
    proxy::Proxy,
    reader::Broken,
    upstream::Upstream,
};

#[test]
fn an_early_answer_reaches_a_client_that_still_sends() {
    let upstream = Upstream::script(|peer| {
        if peer.head().is_some() {
            peer.send("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 5\r\n\r\nlarge");
            peer.wait_end();
        }
    });
    let proxy = Proxy::to(&[&upstream.address]);
    for _ in 0..20 {
        let mut client = Client::connect(proxy.web());
        client.send(request("POST", "/", &["Content-Length: 1000000"], b""));
        let _ = client.try_send(vec![b'x'; 10_000]);
        let answer = client.response();
        assert_eq!((answer.status(), answer.text()), (413, "large".to_owned()));
    }
}

/// An answer that comes before the request was read to its end, from an upstream that then does
/// read it: the connection goes on, or the client was told that it does not.
#[test]
fn after_an_early_answer_the_client_knows_whether_it_may_go_on() {
    let upstream = Upstream::script(|peer| {
        while let Some(mut head) = peer.head() {
            peer.answer(404, b"early");
            head.framing = head.request_framing();
            if peer.reader.body(&mut peer.wire, &mut head).is_err() {
                return;
            }
        }
    });
    let proxy = Proxy::to(&[&upstream.address]);
    for pause in [false, true] {
        let mut client = Client::connect(proxy.web());
        for n in 0..20 {
            let head = request("POST", "/", &["Transfer-Encoding: chunked"], b"");
            let body = b"3e8\r\n"
                .iter()
                .copied()
                .chain([b'x'; 1_000])
                .chain(*b"\r\n0\r\n\r\n");
            let body: Vec<_> = body.collect();
            let answer = if pause {
                client.send(head);
                let answer = client.response();
                client.try_send(body).map(|()| answer)
            } else {
                client.send(head);
                client.try_send(body).map(|()| client.response())
            };
            let Ok(answer) = answer else {
                panic!("turn {n}: cut while sending, unannounced")
            };
            assert_eq!(answer.text(), "early");
            if answer.has_token("connection", "close") {
                client = Client::connect(proxy.web());
            }
        }
    }
}

/// S8: what is left of an unread body must never be taken for a request.
#[test]
fn the_rest_of_an_unread_body_is_no_request() {
    let upstream = Upstream::fixed("ok");
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: http }}]
routes:
  - name: all
    rules:
      - matches: [{{ path: {{ exact: /direct }} }}]
        filters: [{{ direct_response: {{ status: 200, body: direct }} }}]
      - matches: [{{ path: {{ exact: /moved }} }}]
        filters: [{{ redirect: {{ path: {{ replace_full: /there }} }} }}]
      - matches: [{{ path: {{ exact: /ok }} }}, {{ path: {{ exact: /smuggled }} }}]
        backends: [{{ cluster: back }}]
clusters: [{{ name: back, endpoints: ['{}'] }}]",
        upstream.address
    ));
    let inner = request("GET", "/smuggled", &[], b"");
    for (target, status) in [("/direct", 200), ("/moved", 302), ("/missing", 404)] {
        for pause in [false, true] {
            let mut client = Client::connect(proxy.web());
            let whole = request("POST", target, &[], &inner);
            let head = whole.len() - inner.len();
            if pause {
                client.send(&whole[..head]);
                assert_eq!(client.response().status(), status, "{target}");
                let _ = client.try_send(&inner);
            } else {
                client.send(&whole);
                assert_eq!(client.response().status(), status, "{target}");
            }
            // Either the body was skipped and the connection goes on, or it ended.
            let _ = client.try_send(request("GET", "/ok", &[], b""));
            match client.try_response("GET") {
                Ok(answer) => assert_eq!(answer.text(), "ok", "{target}"),
                Err(Broken::Ended) => {}
                Err(other) => panic!("{target}: {other:?}"),
            }
        }
    }
    let targets: Vec<_> = upstream
        .requests()
        .iter()
        .map(|r| r.target().to_owned())
        .collect();
    assert!(!targets.contains(&"/smuggled".to_owned()), "{targets:?}");
}

/// The same towards the upstream: a connection on which a body was left unsent is not used again.
#[test]
fn an_upstream_connection_with_an_unfinished_request_is_not_used_again() {
    let upstream = Upstream::script(|peer| {
        let Some(head) = peer.head() else { return };
        if head.target() == "/early" {
            peer.answer(200, b"early");
            // Kept open on purpose: it is for the proxy to give it up.
            peer.wait_end();
        } else {
            peer.answer(200, b"ok");
            peer.wait_end();
        }
    });
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    client.send(request("POST", "/early", &["Content-Length: 100000"], b""));
    assert_eq!(client.response().text(), "early");
    drop(client);
    let mut other = Client::connect(proxy.web());
    assert_eq!(other.get("/next").text(), "ok");
    assert_eq!(upstream.connections(), 2);
}
