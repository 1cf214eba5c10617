//! Two proxies, one behind the other: what many clients of the first cancel comes to the second on
//! one connection, and is no attack of those who share it.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use outrigger_tests::{
    frames::{Client, Frame, code, kind, request},
    proxy::Proxy,
    upstream::Upstream,
};

/// Clients that cancel, and how often. Each is within what a client may at the first proxy; all
/// together are far beyond what a stranger may at the second.
const CLIENTS: usize = 12;
const ROUNDS: usize = 35;
/// All calls of a round are under way at once, on one connection between the proxies.
const CALLS: usize = 20;
/// What a stranger may reset, of streams that are all reset.
const STRANGER: f64 = 1_000.0;

#[test]
fn a_storm_of_cancelled_calls_costs_the_neighbours_nothing() {
    let ok = Upstream::fixed("ok");
    let never = silent();
    let second = Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', http: {{ trusted_proxies: [127.0.0.1] }} }}]
routes: [{{ name: all, rules: [{{ matches: [{{ path: {{ exact: /never }} }}], backends: [{{ cluster: never }}] }}, {{ backends: [{{ cluster: ok }}] }}] }}]
clusters:
  - {{ name: never, endpoints: ['{}'], pool: {{ max_connections: 10000 }} }}
  - {{ name: ok, endpoints: ['{}'] }}",
        never, ok.address
    ));
    let first = Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0' }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: second }}] }}] }}]
clusters: [{{ name: second, protocol: http2, endpoints: ['{}'], pool: {{ max_connections: 1 }} }}]",
        second.listener("web")
    ));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Both who share the connection and who come by another one.
        let neighbours = [first.web(), first.web(), second.web()].map(|address| {
            let over = &over;
            scope.spawn(move || {
                let mut client = Client::connect(address);
                let mut served = 0;
                while !over.load(Ordering::SeqCst) {
                    let answer = client.get("/");
                    assert_eq!((answer.status(), &*answer.body), (200, &b"ok"[..]));
                    served += 1;
                }
                served
            })
        });
        let storm = [(); CLIENTS].map(|()| scope.spawn(|| cancels(&first)));
        let storm = storm.map(thread::ScopedJoinHandle::join);
        over.store(true, Ordering::SeqCst);
        for client in storm {
            client.unwrap();
        }
        for neighbour in neighbours {
            let served: usize = neighbour.join().unwrap();
            assert!(served > 10, "{served}");
        }
    });
    let cancelled = second
        .metrics()
        .sum("outrigger_failures_total", &[("cause", "client_gone")]);
    assert!(
        cancelled > 2.0 * STRANGER,
        "only {cancelled} calls were cancelled at the second"
    );
    let metrics = first.metrics();
    assert!(
        metrics.sum(
            "outrigger_failures_total",
            &[("cause", "http2_rapid_reset")]
        ) < 0.5
    );
    let connections = metrics.sum("outrigger_upstream_connections_total", &[]);
    assert!(connections < 1.5, "{connections} connections");
}

/// A back end that takes connections and answers nothing.
fn silent() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut kept = VecDeque::new();
        while let Ok((stream, _)) = listener.accept() {
            kept.push_back(stream);
            // Older ones were given up long ago.
            if kept.len() > 2 * CLIENTS * CALLS {
                kept.pop_front();
            }
        }
    });
    address
}

/// Opens calls that nobody answers, and gives them up when the proxy has read them.
fn cancels(proxy: &Proxy) {
    let mut client = Client::connect(proxy.web());
    for _ in 0..ROUNDS {
        let calls: Vec<_> = (0..CALLS).map(|_| client.stream()).collect();
        let get =
            |stream: &u32| Frame::headers(*stream, request("GET", "/never", &[])).end_stream();
        client.send_all(&calls.iter().map(get).collect::<Vec<_>>());
        // Calls that were read are on their way when something after them is answered.
        assert_eq!(client.get("/").status(), 200);
        let reset = |stream: &u32| Frame::reset(*stream, code::CANCEL);
        client.send_all(&calls.iter().map(reset).collect::<Vec<_>>());
    }
    assert_eq!(client.get("/").status(), 200);
    assert!(!client.seen.iter().any(|frame| frame.kind == kind::GOAWAY));
}
