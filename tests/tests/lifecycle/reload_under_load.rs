//! Swaps under load: not one request fails, on kept connections, new ones, streams and `WebSocket`s.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use outrigger_tests::{
    client::{Client, request},
    proxy::{Proxy, Setup, list},
    upstream::{Peer, Upstream},
    wait,
    websocket::{self, WebSocket},
    wire::Address,
};

/// Plain answers, streams in ten parts, and `WebSocket`s.
fn everything(peer: &mut Peer) {
    while let Some(request) = peer.request() {
        if websocket::is_opening(&request) {
            peer.send(websocket::accepting());
            return websocket::serve_open(peer);
        }
        if request.target().starts_with("/stream") {
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            for _ in 0..10 {
                peer.send("5\r\nhello\r\n");
            }
            peer.send("0\r\n\r\n");
        } else {
            peer.answer(200, b"ok");
        }
    }
}

/// Version `n` of the table: it differs in routes, backends, weights and a listener that comes and
/// goes. Answers say which version made them.
fn version(n: usize, one: &Address, two: &Address) -> String {
    let extra = if n.is_multiple_of(2) {
        "\n  - { name: sometimes, bind: '127.0.0.1:0', protocol: http }"
    } else {
        ""
    };
    let both = if n.is_multiple_of(3) {
        list(&[one])
    } else {
        list(&[one, two])
    };
    format!(
        "listeners:
  - {{ name: web, bind: '127.0.0.1:0', protocol: http }}
  - {{ name: raw, bind: '127.0.0.1:0', protocol: tcp, cluster: steady }}{extra}
routes:
  - name: all
    rules:
      - filters: [{{ response_headers: {{ set: {{ x-version: '{n}' }} }} }}]
        backends: [{{ cluster: steady, weight: {} }}, {{ cluster: changing, weight: 5 }}]
  - name: other{n}
    hosts: [h{n}.example]
    rules: [{{ filters: [{{ direct_response: {{ status: 404 }} }}] }}]
clusters:
  - {{ name: steady, endpoints: ['{one}'] }}
  - {{ name: changing, endpoints: {both}, connect_timeout: {}s }}",
        1 + n % 7,
        1 + n % 5,
    )
}

/// Runs load on `proxy` while `swap` works; returns how many requests were served.
fn under_load(proxy: &mut Proxy, swap: impl FnOnce(&mut Proxy)) -> usize {
    let (web, raw) = (proxy.web(), proxy.listener("raw"));
    let over = AtomicBool::new(false);
    let served = AtomicUsize::new(0);
    let go_on = || {
        served.fetch_add(1, Ordering::Relaxed);
        !over.load(Ordering::Relaxed)
    };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut client = Client::connect(web);
                while go_on() {
                    let answer = client.get("/kept");
                    assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
                    if answer.has_token("connection", "close") {
                        client = Client::connect(web);
                    }
                }
            });
        }
        scope.spawn(|| {
            while go_on() {
                assert_eq!(Client::connect(web).post("/new", b"body").text(), "ok");
            }
        });
        scope.spawn(|| {
            let mut client = Client::connect(web);
            while go_on() {
                client.send(request("GET", "/stream", &[], b""));
                let answer = client.response();
                assert_eq!(answer.text(), "hello".repeat(10));
                if answer.has_token("connection", "close") {
                    client = Client::connect(web);
                }
            }
        });
        scope.spawn(|| {
            let mut socket = WebSocket::open(Client::connect(web), "/chat");
            while go_on() {
                assert_eq!(socket.say("x"), "<x>");
            }
        });
        scope.spawn(|| {
            let mut client = Client::connect(raw.clone());
            while go_on() {
                assert_eq!(client.get("/raw").text(), "ok");
            }
        });
        // Whatever happens in the swap, the load must end with it.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| swap(proxy)));
        over.store(true, Ordering::Relaxed);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
    served.load(Ordering::Relaxed)
}

fn serves(proxy: &Proxy, n: usize) -> bool {
    Client::connect(proxy.web()).get("/").field("x-version") == Some(&n.to_string())
}

#[test]
fn no_request_fails_over_many_versions() {
    let (one, two) = (Upstream::script(everything), Upstream::script(everything));
    let first = version(0, &one.address, &two.address);
    let mut proxy = Setup::new(&first).mesh("workers: 2").start();
    let served = under_load(&mut proxy, |proxy| {
        for n in 1..=25 {
            proxy.rewrite(&version(n, &one.address, &two.address));
            wait::until("the new version", || serves(proxy, n).then_some(()));
        }
    });
    assert!(served > 500, "{served}");
    let failures = proxy.metrics().sum("outrigger_failures_total", &[]);
    assert!(failures.abs() < 0.5, "{failures} failures");
}

/// A storm: files replaced as fast as possible, good and bad ones in turn. The last good one serves
/// in the end, nothing fails, and nothing is left behind.
#[test]
fn a_storm_of_reloads_loses_nothing() {
    let (one, two) = (Upstream::script(everything), Upstream::script(everything));
    let first = version(0, &one.address, &two.address);
    let mut proxy = Setup::new(&first).start();
    let descriptors = |proxy: &Proxy| proxy.metrics().sum("process_open_fds", &[]);
    under_load(&mut proxy, |proxy| {
        for n in 1..300 {
            proxy.rewrite(&version(n, &one.address, &two.address));
            if n % 5 == 0 {
                proxy.rewrite("listeners: [{ nonsense: true }]");
            }
        }
        proxy.rewrite(&version(301, &one.address, &two.address));
        wait::until("the last version", || serves(proxy, 301).then_some(()));
    });
    let failures = proxy.metrics().sum("outrigger_failures_total", &[]);
    assert!(failures.abs() < 0.5, "{failures} failures");
    // What is left beside the process's own files are connections to upstreams, which also count them.
    wait::until("sockets of old tables to be closed", || {
        let pooled = one.open() + two.open();
        (descriptors(&proxy) < 40.0 + pooled as f64).then_some(())
    });
}
