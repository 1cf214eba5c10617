//! Nothing to do must cost nothing: no state that a connection can be in keeps a processor busy.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

use std::{fs, io::Write, time::Duration};

use outrigger_tests::{
    client::{Client, request},
    proxy::{Proxy, Setup},
    upstream::Upstream,
    wait,
    websocket::{self, WebSocket},
};

/// User and system time of the process, in hundredths of a second.
fn ticks(proxy: &Proxy) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", proxy.process.id())).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<_> = after_name.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Lets a second pass and fails if the proxy worked through more than a fifth of it.
#[track_caller]
fn rests(proxy: &Proxy, state: &str) {
    // A connection to somebody else who says nothing: its deadline is the clock.
    let quiet = Upstream::script(|peer| {
        peer.wait_end();
    });
    let mut clock = Client::connect(quiet.address.clone());
    let before = ticks(proxy);
    assert!(clock.is_silent_for(Duration::from_secs(1)));
    let spent = ticks(proxy) - before;
    assert!(spent < 20, "{spent} % of a processor, {state}");
}

fn upstream() -> Upstream {
    Upstream::script(|peer| {
        while let Some(request) = peer.request() {
            match request.target() {
                "/silent" => {
                    peer.wait_end();
                }
                "/pause" => {
                    peer.send(
                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
                    );
                    peer.wait_end();
                }
                "/flood" => {
                    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
                    let part = vec![b'x'; 65_536];
                    while peer.wire.write_all(&part).is_ok() {}
                }
                "/chat" => {
                    peer.send(websocket::accepting());
                    return websocket::serve_open(peer);
                }
                _ => {
                    peer.answer(200, b"ok");
                    continue;
                }
            }
            return;
        }
    })
}

fn proxy(upstream: &Upstream) -> Setup {
    Setup::new(&format!(
        "listeners:
  - {{ name: web, bind: '127.0.0.1:0', protocol: http }}
  - {{ name: raw, bind: '127.0.0.1:0', protocol: tcp, cluster: back }}
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, endpoints: ['{}'] }}]",
        upstream.address
    ))
}

fn asking(proxy: &Proxy, target: &str) -> Client {
    let mut client = Client::connect(proxy.web());
    client.send(request("GET", target, &[], b""));
    client
}

#[test]
fn with_connections_that_wait() {
    let upstream = upstream();
    let proxy = proxy(&upstream).start();
    let _fresh = Client::connect(proxy.web());
    let mut kept = Client::connect(proxy.web());
    kept.get("/");
    rests(&proxy, "with idle connections");
    let mut begun = Client::connect(proxy.web());
    begun.send("GET / HT");
    let mut body = Client::connect(proxy.web());
    body.send(request("POST", "/", &["Content-Length: 10"], b""))
        .send("12345");
    rests(&proxy, "in the middle of requests");
    let _silent = asking(&proxy, "/silent");
    let mut pause = asking(&proxy, "/pause");
    pause.head();
    let mut socket = WebSocket::open(Client::connect(proxy.web()), "/chat");
    socket.say("x");
    rests(&proxy, "in the middle of responses");
}

#[test]
fn with_clients_that_ended_their_half() {
    let upstream = upstream();
    let proxy = proxy(&upstream).start();
    let clients: Vec<_> = ["/silent", "/pause"]
        .map(|target| asking(&proxy, target))
        .into();
    let mut raw = Client::connect(proxy.listener("raw"));
    raw.send(request("GET", "/silent", &[], b""));
    wait::until("all to be upstream", || {
        (upstream.count() == 3).then_some(())
    });
    for client in &clients {
        client.wire.finish();
    }
    raw.wire.finish();
    rests(&proxy, "with half-closed clients");
}

#[test]
fn with_clients_that_do_not_read() {
    let upstream = upstream();
    let proxy = proxy(&upstream).start();
    let mut http = asking(&proxy, "/flood");
    http.wire.small_receive_buffer();
    http.head();
    let mut raw = Client::connect(proxy.listener("raw"));
    raw.wire.small_receive_buffer();
    raw.send(request("GET", "/flood", &[], b""));
    raw.head();
    // Until the buffers between are full it has work to do.
    let mut last = (0, 0);
    wait::until("the flood to stand", || {
        let now = ticks(&proxy);
        last = (now, if now == last.0 { last.1 + 1 } else { 0 });
        (last.1 > 20).then_some(())
    });
    rests(&proxy, "with clients that do not read");
}

/// The trap of level-triggered accepting: a connection that cannot be accepted stays ready.
#[test]
fn with_no_descriptors_left() {
    let upstream = upstream();
    let proxy = proxy(&upstream).descriptors(48).start();
    let crowd: Vec<_> = (0..80)
        .filter_map(|_| Client::try_connect(&proxy.web().into()).ok())
        .collect();
    rests(&proxy, "without descriptors");
    drop(crowd);
    wait::until("it to serve again", || {
        let mut client = Client::try_connect(&proxy.web().into()).ok()?;
        client.try_send(request("GET", "/", &[], b"")).ok()?;
        client.try_response("GET").ok()
    });
}

#[test]
fn while_draining() {
    let upstream = upstream();
    let proxy = proxy(&upstream)
        .mesh("drain: { grace: 0s, deadline: 600s }")
        .start();
    let web = proxy.web();
    let _silent = asking(&proxy, "/silent");
    let mut socket = WebSocket::open(Client::connect(web), "/chat");
    socket.say("x");
    wait::until("all to be upstream", || {
        (upstream.count() == 2).then_some(())
    });
    proxy.signal(outrigger_tests::process::Signal::Term);
    wait::until("new connections to be refused", || {
        Client::try_connect(&web.into()).err()
    });
    rests(&proxy, "while draining");
}
