//! A name server that is silent: a table waits for its names, and nothing else does.

use std::{fs, net::Ipv4Addr, process::Command, thread};

use outrigger_tests::{
    client::{self, Client, request},
    files::TempDir,
    names::NameServer,
    process::{Process, Signal},
    proxy::{Proxy, Setup, binary},
    upstream::Upstream,
    wait,
    wire::Address,
};

fn answering(word: &str) -> String {
    format!(
        "admin: {{ bind: 'unix:DIR/admin.sock' }}
listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: http }}]
routes: [{{ name: all, rules: [{{ filters: [{{ direct_response: {{ status: 200, body: {word} }} }}] }}] }}]"
    )
}

/// With a name more.
fn named(word: &str) -> String {
    format!(
        "{}\nclusters: [{{ name: back, dns: 'shop.test.:80' }}]",
        answering(word)
    )
}

fn dns(server: &NameServer) -> String {
    format!("dns: {{ servers: ['{}'], timeout: 60s }}", server.address)
}

fn proxy(server: &NameServer, rest: &str) -> Proxy {
    Setup::new(rest)
        .mesh(&dns(server))
        .mesh("drain: { grace: 60s, deadline: 600s }")
        .start()
}

fn asked(server: &NameServer) {
    wait::until("the name to be asked for", || {
        (server.asked() > 0).then_some(())
    });
}

/// Whether what was done was done while it still waited.
fn waited(process: &Process) -> bool {
    let log = process.stderr();
    !log.contains("not resolved") && !log.contains("name resolved")
}

fn word(proxy: &Proxy) -> String {
    Client::connect(proxy.web()).get("/").text()
}

fn says(proxy: &Proxy, expected: &str) {
    wait::until(expected, || (word(proxy) == expected).then_some(()));
}

#[test]
fn a_start_that_waits_is_seen_and_ends_at_once() {
    for signal in [Signal::Term, Signal::Int] {
        let server = NameServer::start(None);
        let dir = TempDir::new();
        let admin = dir.file("admin.sock");
        let text = format!("version: 1\nmesh: {{ {} }}\n{}", dns(&server), named("one"));
        let text = text.replace("DIR", &dir.path().display().to_string());
        fs::write(dir.file("proxy.yaml"), text).unwrap();
        let mut command = Command::new(binary());
        command.args(["run", "--config"]);
        command.arg(dir.file("proxy.yaml"));
        let mut process = Process::start(&mut command, "outrigger", dir.path());
        asked(&server);
        let ask = |target| {
            let admin = Address::Unix(admin.clone());
            client::fetch(admin, "GET", target, &["Host: localhost"]).status()
        };
        assert_eq!((ask("/live"), ask("/ready")), (200, 503));
        process.signal(signal);
        assert_eq!(process.exit().code(), Some(0), "{}", process.stderr());
        assert!(waited(&process));
    }
}

#[test]
fn a_newer_file_supersedes_a_reload_that_waits() {
    let server = NameServer::start(None);
    let mut proxy = proxy(&server, &answering("one"));
    proxy.rewrite(&named("two"));
    asked(&server);
    // Who asked for the one that waits hears of the one that serves.
    let admin = proxy.admin();
    let reload =
        thread::spawn(move || client::fetch(admin, "POST", "/reload", &["Host: localhost"]));
    assert_eq!(word(&proxy), "one");
    proxy.rewrite(&answering("three"));
    says(&proxy, "three");
    let answer = reload.join().unwrap();
    assert_eq!(answer.status(), 200, "{answer}");
    assert!(waited(&proxy.process));
}

#[test]
fn a_bad_file_leaves_a_reload_that_waits() {
    let server = NameServer::start(None);
    let mut proxy = proxy(&server, &answering("one"));
    proxy.rewrite(&named("two"));
    asked(&server);
    proxy.rewrite("lisners: []");
    let rejected = [("result", "rejected")];
    wait::until("the refusal", || {
        let n = proxy
            .metrics()
            .sum("outrigger_config_reloads_total", &rejected);
        (n >= 1.0).then_some(())
    });
    assert_eq!(word(&proxy), "one");
    server.say(Some(Ipv4Addr::LOCALHOST));
    says(&proxy, "two");
    // It is not what the file says by now.
    wait::until("the table to be counted", || {
        let applied = [("result", "applied")];
        let n = proxy
            .metrics()
            .sum("outrigger_config_reloads_total", &applied);
        (n >= 2.0).then_some(())
    });
    let shown = proxy.ask_json("/config")["rejected"].to_string();
    assert!(shown.contains("lisners"), "{shown}");
    let gauge = proxy
        .metrics()
        .sum("outrigger_config_last_reload_successful", &[]);
    assert!(gauge.abs() < 0.5, "{gauge}");
}

#[test]
fn a_process_whose_reload_waits_leaves_at_once() {
    let upstream = Upstream::script(|peer| {
        peer.request();
        peer.wait_end();
    });
    let server = NameServer::start(None);
    let text = |more: &str| {
        format!(
            "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: http }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: slow }}] }}] }}]
clusters: [{{ name: slow, endpoints: ['{}'] }}{more}]",
            upstream.address
        )
    };
    let mut proxy = proxy(&server, &text(""));
    let mut client = Client::connect(proxy.web());
    client.send(request("GET", "/", &[], b""));
    wait::until("the request to be upstream", || {
        (upstream.count() == 1).then_some(())
    });
    proxy.rewrite(&text(", { name: back, dns: 'shop.test.:80' }"));
    asked(&server);
    proxy.signal(Signal::Term);
    wait::until("readiness to go", || {
        (proxy.ask("/ready").status() == 503).then_some(())
    });
    proxy.signal(Signal::Int);
    assert_eq!(proxy.process.exit().code(), Some(3));
    assert!(waited(&proxy.process));
}
