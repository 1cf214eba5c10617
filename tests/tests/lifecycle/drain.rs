//! Leaving: readiness first, then `Connection: close`, then nothing new, then the end of what was
//! open; with an exit code.

use std::{
    fs,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use outrigger_tests::{
    client::{self, Client, request},
    process::{Process, Signal},
    proxy::{Proxy, Setup, simple},
    tools,
    upstream::Upstream,
    wait::{self, Gate},
    websocket::{self, WebSocket},
    wire::Address,
};

fn draining(endpoint: &Address, drain: &str) -> Proxy {
    Setup::new(&simple(&[endpoint]))
        .mesh(&format!("drain: {{ {drain} }}"))
        .start()
}

fn not_ready(proxy: &Proxy) {
    wait::until("readiness to be gone", || {
        (proxy.ask("/ready").status() == 503).then_some(())
    });
}

#[test]
fn an_idle_process_leaves_at_once_after_its_grace() {
    for signal in [Signal::Term, Signal::Int] {
        let upstream = Upstream::fixed("ok");
        let mut proxy = draining(&upstream.address, "grace: 100ms, deadline: 60s");
        let _idle = Client::connect(proxy.web());
        let mut kept = Client::connect(proxy.web());
        kept.get("/");
        proxy.signal(signal);
        assert_eq!(proxy.process.exit().code(), Some(0), "{signal:?}");
        // Kept connections ended without a word.
        kept.expect_end();
    }
}

#[test]
fn the_order_is_readiness_then_close_then_no_more() {
    let upstream = Upstream::fixed("ok");
    let mut proxy = draining(&upstream.address, "grace: 2s, deadline: 60s");
    let web = proxy.web();
    let mut kept = Client::connect(web);
    assert!(!kept.get("/").has_token("connection", "close"));
    assert_eq!(proxy.ask("/ready").status(), 200);
    proxy.signal(Signal::Term);
    not_ready(&proxy);
    assert_eq!(proxy.ask("/live").status(), 200, "draining is alive");
    // Within the grace: served, and asked to go.
    for client in [&mut kept, &mut Client::connect(web)] {
        let answer = client.get("/");
        assert_eq!(answer.text(), "ok");
        assert!(answer.has_token("connection", "close"), "{answer}");
        client.expect_end();
    }
    wait::until("new connections to be refused", || {
        Client::try_connect(&web.into()).err()
    });
    assert_eq!(proxy.process.exit().code(), Some(0));
}

#[test]
fn what_is_in_flight_ends_well() {
    let go_on = Arc::new(Gate::default());
    let upstream = {
        let go_on = go_on.clone();
        Upstream::script(move |peer| {
            let Some(head) = peer.head() else { return };
            if websocket::is_opening(&head) {
                peer.send(websocket::accepting());
                return websocket::serve_open(peer);
            }
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
            go_on.pass();
            peer.send("world");
        })
    };
    let mut proxy = draining(&upstream.address, "grace: 50ms, deadline: 60s");
    let mut streaming = Client::connect(proxy.web());
    streaming.send(request("GET", "/", &[], b""));
    assert_eq!(streaming.head().status(), 200);
    let mut socket = WebSocket::open(Client::connect(proxy.web()), "/");
    let web = proxy.web();
    proxy.signal(Signal::Term);
    wait::until("new connections to be refused", || {
        Client::try_connect(&web.into()).err()
    });
    assert!(proxy.process.is_running());
    assert_eq!(socket.say("still here"), "<still here>");
    go_on.open();
    assert_eq!(streaming.exactly(10), b"helloworld");
    socket.0.wire.finish();
    assert_eq!(proxy.process.exit().code(), Some(0));
}

/// A worker is held up, by a system call that takes long, while requests and the signal arrive: it
/// learns of all of them at the same time. What the kernel holds for it by then is served.
#[test]
fn what_has_arrived_when_it_closes_is_served() {
    const TEST: &str = "what_has_arrived_when_it_closes_is_served";
    const CLIENTS: usize = 16;
    const QUEUED: usize = 8;
    let Some(strace) = tools::need(TEST, "strace") else {
        return;
    };
    let upstream = Upstream::fixed("ok");
    let mut proxy = draining(&upstream.address, "grace: 0s, deadline: 60s");
    let web = proxy.web();
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| Client::connect(web)).collect();
    let mut holder = Client::connect(web);
    for client in clients.iter_mut().chain([&mut holder]) {
        assert_eq!(client.get("/").text(), "ok");
    }
    // Half of them wait as those who were quiet for long and hold no buffer, the others as those who
    // just spoke.
    assert!(holder.is_silent_for(Duration::from_secs(2)));
    for client in clients.iter_mut().step_by(2) {
        assert_eq!(client.get("/").text(), "ok");
    }
    let before = upstream.count();
    let dir = proxy.dir.path().join("strace");
    fs::create_dir(&dir).unwrap();
    let worker = proxy.process.thread("worker-0").expect("a worker");
    let mut command = Command::new(strace);
    command.args([
        "-e",
        "inject=sendto,sendmsg,writev:delay_exit=1000000:when=1",
    ]);
    command.args(["-p", &worker.to_string()]);
    let mut tracer = Process::start(&mut command, "strace", &dir);
    wait::until("strace to attach", || {
        (tracer.stderr().contains("attached") || !tracer.is_running()).then_some(())
    });
    if !tracer.is_running() {
        return tools::skip(TEST, "strace may not attach here");
    }
    // Its way upstream is the call that takes a second.
    holder.send(request("GET", "/", &[], b""));
    wait::until("the worker to be held up", || {
        (upstream.count() > before).then_some(())
    });
    // And some that the worker has not accepted when it closes its socket.
    clients.extend((0..QUEUED).map(|_| Client::connect(web)));
    for client in &mut clients {
        client.send(request("POST", "/arrived", &[], b"body"));
    }
    proxy.signal(Signal::Term);
    for (n, client) in clients.iter_mut().enumerate() {
        let answer = client.response_to("POST");
        assert_eq!(answer.text(), "ok", "connection {n}");
        // It knew, or this shows nothing.
        assert!(answer.has_token("connection", "close"), "{n}: {answer}");
    }
    assert_eq!(upstream.count(), before + 1 + CLIENTS + QUEUED);
    drop((clients, holder));
    assert_eq!(proxy.process.exit().code(), Some(0));
}

#[test]
fn the_deadline_cuts_what_is_left() {
    let upstream = Upstream::script(|peer| {
        peer.request();
        peer.wait_end();
    });
    let mut proxy = draining(&upstream.address, "grace: 50ms, deadline: 300ms");
    let mut client = Client::connect(proxy.web());
    client.send(request("GET", "/", &[], b""));
    wait::until("the request to be upstream", || {
        (upstream.count() == 1).then_some(())
    });
    let begun = Instant::now();
    proxy.signal(Signal::Term);
    let status = proxy.process.exit();
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(status.code().is_some(), "ended by itself: {status}");
    assert_ne!(status.code(), Some(0), "a cut request is no clean exit");
    client.rest();
}

#[test]
fn a_second_signal_ends_at_once() {
    let upstream = Upstream::script(|peer| {
        peer.request();
        peer.wait_end();
    });
    let mut proxy = draining(&upstream.address, "grace: 60s, deadline: 600s");
    let mut client = Client::connect(proxy.web());
    client.send(request("GET", "/", &[], b""));
    wait::until("the request to be upstream", || {
        (upstream.count() == 1).then_some(())
    });
    proxy.signal(Signal::Term);
    not_ready(&proxy);
    assert!(proxy.process.is_running());
    proxy.signal(Signal::Term);
    let status = proxy.process.exit();
    assert_ne!(status.code(), Some(0), "{status}");
}

#[test]
fn tcp_connections_have_until_the_deadline() {
    let upstream = Upstream::script(|peer| {
        while let Ok(byte) = peer.exactly(1) {
            peer.send(byte);
        }
    });
    let mut proxy = Setup::new(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: tcp, cluster: back }}]
clusters: [{{ name: back, endpoints: ['{}'] }}]",
        upstream.address
    ))
    .mesh("drain: { grace: 50ms, deadline: 60s }")
    .start();
    let web = proxy.web();
    let mut client = Client::connect(web);
    client.send("a");
    assert_eq!(client.exactly(1), b"a");
    proxy.signal(Signal::Term);
    wait::until("new connections to be refused", || {
        Client::try_connect(&web.into()).err()
    });
    client.send("b");
    assert_eq!(client.exactly(1), b"b");
    client.wire.finish();
    client.expect_end();
    assert_eq!(proxy.process.exit().code(), Some(0));
}

#[test]
fn drain_by_command_over_the_admin_socket() {
    let upstream = Upstream::fixed("ok");
    let mut proxy = Setup::new(&format!(
        "admin: {{ bind: 'unix:DIR/admin.sock' }}\n{}",
        simple(&[&upstream.address])
    ))
    .mesh("drain: { grace: 50ms, deadline: 5s }")
    .start();
    let socket = proxy.admin();
    let Address::Unix(path) = &socket else {
        panic!("{socket}")
    };
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // Never by a GET.
    let by_get = client::fetch(socket.clone(), "GET", "/drain", &["Host: localhost"]);
    assert!(matches!(by_get.status(), 404 | 405), "{by_get}");
    assert_eq!(
        client::fetch(socket.clone(), "GET", "/ready", &["Host: localhost"]).status(),
        200
    );
    let said = outrigger_tests::proxy::run(&["drain", &socket.to_string()]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(proxy.process.exit().code(), Some(0));
}
