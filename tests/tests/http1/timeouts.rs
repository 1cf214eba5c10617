//! Deadlines: who is too slow is told so, or cut, and nobody else suffers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use outrigger_tests::{
    client::{Client, request},
    proxy::Proxy,
    reader::Broken,
    upstream::Upstream,
};

fn proxy(upstream: &Upstream, http: &str, rule: &str) -> Proxy {
    Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: http, http: {{ {http} }} }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] {rule} }}] }}]
clusters: [{{ name: back, endpoints: ['{}'] }}]",
        upstream.address
    ))
}

/// Reads requests and never answers.
fn silent() -> Upstream {
    Upstream::script(|peer| {
        peer.request();
        peer.wait_end();
    })
}

#[test]
fn a_head_that_does_not_end_is_408() {
    let upstream = Upstream::fixed("ok");
    let proxy = proxy(&upstream, "header_timeout: 200ms", "");
    for begun in [
        "G",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost: a.example\r\nX-A: ",
    ] {
        let mut client = Client::connect(proxy.web());
        client.send(begun);
        assert_eq!(client.response().status(), 408, "{begun:?}");
        client.expect_end();
    }
    assert_eq!(upstream.bytes(), 0);
}

/// Slowloris: one more byte now and then buys no more time.
#[test]
fn dripping_bytes_buys_no_time() {
    let upstream = Upstream::fixed("ok");
    let proxy = proxy(&upstream, "header_timeout: 400ms", "");
    let begun = Instant::now();
    let mut dripping: Vec<_> = (0..20).map(|_| Client::connect(proxy.web())).collect();
    for client in &mut dripping {
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n");
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Others are served all the while.
            let mut client = Client::connect(proxy.web());
            while !over.load(Ordering::Relaxed) {
                assert_eq!(client.get("/").text(), "ok");
            }
        });
        for client in &mut dripping {
            // Each wait is a pause of 20 ms between two bytes, until the answer comes.
            while client.is_silent_for(Duration::from_millis(20)) {
                let _ = client.try_send("x");
                assert!(
                    begun.elapsed() < Duration::from_secs(10),
                    "dripping kept it open"
                );
            }
            assert_eq!(client.response().status(), 408);
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_body_that_pauses_too_long_is_408() {
    let upstream = Upstream::fixed("ok");
    let proxy = proxy(&upstream, "stream_idle_timeout: 200ms", "");
    for fields in [&["Content-Length: 10"][..], &["Transfer-Encoding: chunked"]] {
        let mut client = Client::connect(proxy.web());
        client.send(request("POST", "/", fields, b""));
        client.send("5\r\n");
        assert_eq!(client.response().status(), 408, "{fields:?}");
        client.expect_end();
    }
    assert_eq!(
        upstream.count(),
        0,
        "a cut request reached the upstream whole"
    );
}

#[test]
fn a_silent_upstream_is_504() {
    let upstream = silent();
    for rule in [
        ", timeouts: { request: 200ms }",
        ", timeouts: { backend_request: 200ms }",
        ", timeouts: { request: 60s, backend_request: 200ms }",
    ] {
        let proxy = proxy(&upstream, "", rule);
        let mut client = Client::connect(proxy.web());
        assert_eq!(client.get("/").status(), 504, "{rule}");
    }
}

/// An interim response is a sign of life, but buys no time beyond the route's deadlines.
#[test]
fn a_hint_leaves_the_deadlines_as_they_are() {
    let upstream = Upstream::script(|peer| {
        peer.request();
        peer.send("HTTP/1.1 103 Early Hints\r\n\r\n");
        peer.wait_end();
    });
    for rule in [
        ", timeouts: { request: 300ms }",
        ", timeouts: { backend_request: 300ms }",
    ] {
        let proxy = proxy(&upstream, "", rule);
        let mut client = Client::connect(proxy.web());
        client.send(request("GET", "/", &[], b""));
        assert_eq!(client.head().status(), 103);
        assert_eq!(client.response().status(), 504, "{rule}");
    }
}

#[test]
fn a_deadline_within_a_response_cuts_it() {
    let upstream = Upstream::script(|peer| {
        while let Some(request) = peer.request() {
            if request.target() == "/chunked" {
                peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
            } else {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
            }
            peer.wait_end();
        }
    });
    let proxy = proxy(&upstream, "", ", timeouts: { request: 300ms }");
    for target in ["/chunked", "/length"] {
        let mut client = Client::connect(proxy.web());
        client.send(request("GET", target, &[], b""));
        match client.try_response("GET") {
            Err(Broken::Cut(_)) => {}
            other => panic!("{target}: {other:?}"),
        }
    }
}

#[test]
fn no_deadline_unless_one_is_set() {
    let go_on = Arc::new(outrigger_tests::wait::Gate::default());
    let upstream = {
        let go_on = go_on.clone();
        Upstream::script(move |peer| {
            while peer.request().is_some() {
                go_on.pass();
                peer.answer(200, b"late");
            }
        })
    };
    let proxy = proxy(&upstream, "header_timeout: 100ms, idle_timeout: 100ms", "");
    let mut client = Client::connect(proxy.web());
    client.send(request("GET", "/", &[], b""));
    // Well beyond the deadlines that are for other things.
    assert!(client.is_silent_for(Duration::from_millis(600)));
    go_on.open();
    assert_eq!(client.response().text(), "late");
}

#[test]
fn connecting_in_vain_has_its_own_deadline() {
    // A listener whose queue is full answers no SYN: that is what a dead address looks like.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(
        &"127.0.0.1:0"
            .parse::<std::net::SocketAddr>()
            .unwrap()
            .into(),
    )
    .unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let mut fillers = Vec::new();
    for _ in 0..4 {
        let filler =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        filler.set_nonblocking(true).unwrap();
        let _ = filler.connect(&address.into());
        fillers.push(filler);
    }
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: http }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, endpoints: ['{address}'], connect_timeout: 200ms }}]"
    ));
    assert_eq!(Client::connect(proxy.web()).get("/").status(), 504);
}
