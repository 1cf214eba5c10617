//! A table of 10,000 routes and 1,000 clusters is replaced again and again under load: every cluster
//! keeps serving, no request fails, no connection is lost, and workers have next to no part in it.

use std::{
    fs,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use outrigger_tests::{
    client::{Client, request},
    large::{self, CLUSTERS, ROUTES},
    process,
    proxy::{Proxy, Setup, is_optimised},
    tools,
    upstream::Upstream,
    wait,
    websocket::{self, WebSocket},
};

/// Servers, each behind every so many clusters, and a twin of each.
const SERVERS: usize = 8;
const CLIENTS: usize = 2;

/// Answers with its number, and opens `WebSocket`s.
fn server(number: usize) -> Upstream {
    Upstream::script(move |peer| {
        while let Some(request) = peer.request() {
            if websocket::is_opening(&request) {
                peer.send(websocket::accepting());
                return websocket::serve_open(peer);
            }
            peer.answer(200, number.to_string().as_bytes());
        }
    })
}

/// Asks one route and returns which version answered.
fn ask(client: &mut Client, route: usize) -> usize {
    let host = format!("Host: h{route}.example");
    client.send(request("GET", "/", &[&host], b""));
    let answer = client.response();
    let server = (route % CLUSTERS % SERVERS).to_string();
    assert_eq!((answer.status(), answer.text()), (200, server), "{answer}");
    assert!(!answer.has_token("connection", "close"), "{answer}");
    let version = answer.field("x-version").map(str::parse);
    version.expect("a version").expect("a number")
}

/// Goes round the routes on one connection until it is over and every cluster had its turn.
/// Versions may only rise; returns the last.
fn load(web: SocketAddr, first: usize, over: &AtomicBool) -> usize {
    let mut client = Client::connect(web);
    let mut version = 0;
    for step in 0.. {
        // 7 has no divisor in common with the number of routes.
        let now = ask(&mut client, (first + step * 7) % ROUTES);
        assert!(now >= version, "{now} after {version}");
        version = now;
        if over.load(Ordering::Relaxed) && step >= CLUSTERS {
            break;
        }
    }
    version
}

/// Ends the load, also where the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_large_table_is_replaced_under_load() {
    const TEST: &str = "a_large_table_is_replaced_under_load";
    // Both ends of the servers' connections, with a duplicate here and there.
    if let Err(reason) = process::raise_descriptors(4 * CLUSTERS) {
        return tools::skip(TEST, &reason);
    }
    // A debug build takes a second for each.
    let reloads = if is_optimised() { 20 } else { 3 };
    let servers: Vec<_> = (0..2 * SERVERS).map(|n| server(n % SERVERS)).collect();
    let table = |version| {
        large::table(version, |cluster| {
            let first = cluster % SERVERS;
            // In each version one cluster of ten has a second endpoint, which it has in no other.
            let twin = (cluster + version)
                .is_multiple_of(10)
                .then_some(SERVERS + first);
            let all = std::iter::once(first).chain(twin);
            all.map(|n| servers[n].address.to_string()).collect()
        })
    };
    let mut proxy = Setup::file(&table(0)).json().start();
    let web = proxy.web();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| {
                scope.spawn({
                    let over = &over;
                    move || load(web, n * 1_111, over)
                })
            })
            .collect();
        let end = End(&over);
        let mut socket = WebSocket::open(Client::connect(web), "/");
        let mut watch = Client::connect(web);
        for version in 1..=reloads {
            proxy.rewrite(&table(version));
            wait::until("the new table to serve", || {
                (ask(&mut watch, version) == version).then_some(())
            });
            assert_eq!(socket.say("still"), "<still>");
        }
        drop(end);
        for client in clients {
            assert_eq!(client.join().unwrap(), reloads);
        }
    });
    // Every cluster, by the last table.
    let mut client = Client::connect(web);
    for cluster in 0..CLUSTERS {
        assert_eq!(ask(&mut client, ROUTES - CLUSTERS + cluster), reloads);
    }
    let metrics = proxy.metrics();
    let failures = metrics.sum("outrigger_failures_total", &[]);
    assert!(failures.abs() < 0.5, "{failures} failures");
}

/// Processor time of a thread so far, in microseconds, if the kernel counts it.
fn spent(proxy: &Proxy, thread: &str) -> Option<u64> {
    let id = proxy.process.thread(thread).expect("the thread");
    let path = format!("/proc/{}/task/{id}/schedstat", proxy.process.id());
    let text = fs::read_to_string(path).ok()?;
    let nanoseconds: u64 = text.split(' ').next()?.parse().ok()?;
    Some(nanoseconds / 1_000)
}

/// Reading, building and freeing tables is the main thread's work. What a worker spends on a reload
/// is next to nothing beside that; where it frees the table, it is several hundredths.
#[test]
fn a_worker_does_not_free_earlier_tables() {
    const TEST: &str = "a_worker_does_not_free_earlier_tables";
    let server = server(0);
    let table = |version| large::table(version, |_| vec![server.address.to_string()]);
    let mut proxy = Setup::file(&table(0)).json().start();
    let both = |proxy: &Proxy| Some((spent(proxy, "worker-0")?, spent(proxy, "outrigger")?));
    let Some(before) = both(&proxy) else {
        return tools::skip(TEST, "the kernel does not count the time of threads");
    };
    // Looks at every table, and is open through all of them.
    let mut kept = Client::connect(proxy.web());
    for version in 1..=4 {
        assert_eq!(ask(&mut kept, 0), version - 1);
        proxy.rewrite(&table(version));
        // Asking a thread would let it work.
        wait::until("the new table to serve", || {
            let log = proxy.process.stderr();
            (log.matches("the configuration serves").count() > version).then_some(())
        });
    }
    assert_eq!(ask(&mut kept, 0), 4);
    let after = both(&proxy).expect("as before");
    let (worker, main) = (after.0 - before.0, after.1 - before.1);
    assert!(
        worker * 60 < main,
        "{worker} us of a worker, {main} of main"
    );
}
