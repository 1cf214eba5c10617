//! `protocol: auto` with a cluster: whoever speaks first is heard at once. Each test waits for
//! events; `detect_timeout` is longer than any test may take.

use std::time::Duration;

use outrigger_tests::{
    client::{Client, request},
    proxy::{Proxy, Setup},
    upstream::Upstream,
    wait,
    wire::Wire,
};

use super::echo;

const GREETING: &[u8] = b"\x4a\0\0\0\x0a8.0.36\0";
const LOGIN: &[u8] = b"\x01\0\0\x01x";

/// Greets each client, answers what it then says, and lives until it leaves.
fn greets() -> Upstream {
    Upstream::script(|peer| {
        peer.send(GREETING);
        if let Ok(login) = peer.exactly(5) {
            peer.send(login);
        }
        peer.wait_end();
    })
}

fn settings(http: &Upstream, tcp: &str, listener: &str) -> String {
    format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', cluster: tcp, detect_timeout: 10m, {listener} }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: http }}] }}] }}]
clusters: [{{ name: http, endpoints: ['{}'] }}, {{ name: tcp, {tcp} }}]",
        http.address
    )
}

fn at(upstream: &Upstream) -> String {
    format!("endpoints: ['{}']", upstream.address)
}

/// Says nothing before it is greeted.
#[track_caller]
fn logs_in(proxy: &Proxy) -> Client {
    let mut client = Client::connect(proxy.web());
    assert_eq!(client.exactly(GREETING.len()), GREETING);
    client.send(LOGIN);
    assert_eq!(client.exactly(5), LOGIN);
    client
}

/// Says nothing until the cluster was dialed for it.
#[track_caller]
fn is_silent_until_dialed(proxy: &Proxy, tcp: &Upstream) -> Client {
    let before = tcp.connections();
    let client = Client::connect(proxy.web());
    wait::until("the cluster to be dialed", || {
        (tcp.connections() > before).then_some(())
    });
    client
}

#[track_caller]
fn early_dials(proxy: &Proxy, outcome: &str) -> f64 {
    let labels = [("listener", "web"), ("outcome", outcome)];
    proxy.metrics().sum("outrigger_early_dials_total", &labels)
}

fn count(proxy: &Proxy, outcome: &str, expected: f64) {
    let found = early_dials(proxy, outcome);
    assert!((found - expected).abs() < 0.1, "{outcome}: {found}");
}

#[test]
fn a_server_that_speaks_first_is_heard_without_a_word_of_its_client() {
    let (http, tcp) = (Upstream::fixed("http"), greets());
    let mut proxy = Proxy::start(&settings(&http, &at(&tcp), ""));
    drop(logs_in(&proxy));
    count(&proxy, "greeted", 1.0);
    // It is remembered: where nobody would be dialed early for minutes, it is, and at once.
    proxy.reload(&settings(&http, &at(&tcp), "dial_after: 5m"));
    for _ in 0..3 {
        drop(logs_in(&proxy));
    }
    count(&proxy, "greeted", 4.0);
    assert_eq!(tcp.connections(), 4);
    let line = &proxy.log_of(4)[3];
    assert_eq!(line["received"], 5, "{line}");
    assert_eq!(line["sent"], GREETING.len() + 5, "{line}");
    assert_eq!(
        (&line["attempts"], &line["cluster"]),
        (&1.into(), &"tcp".into())
    );
    let labels = [("listener", "web"), ("protocol", "server_first")];
    let detected = proxy
        .metrics()
        .sum("outrigger_connections_detected_total", &labels);
    assert!((detected - 4.0).abs() < 0.1, "{detected}");
    // HTTP on the same port is HTTP all the same.
    assert_eq!(Client::connect(proxy.web()).get("/").text(), "http");
}

#[test]
fn a_client_of_http_is_served_and_what_was_dialed_for_it_is_closed_and_not_dialed_again() {
    let (http, tcp) = (Upstream::fixed("http"), echo());
    let proxy = Proxy::start(&settings(&http, &at(&tcp), "dial_after: 100ms"));
    let mut client = is_silent_until_dialed(&proxy, &tcp);
    assert_eq!(client.get("/").text(), "http");
    wait::until("what was dialed early to be closed", || {
        (tcp.open() == 0).then_some(())
    });
    count(&proxy, "in_vain", 1.0);
    let open = [("cluster", "tcp")];
    let metrics = proxy.metrics();
    let left = metrics.sum("outrigger_upstream_connections_active", &open);
    assert!(left.abs() < 0.1, "{left}");
    // As long a silence is not taken for more again: sixteen times as long would be.
    let mut client = Client::connect(proxy.web());
    assert!(client.is_silent_for(Duration::from_millis(150)));
    assert_eq!(client.get("/").text(), "http");
    assert_eq!((tcp.connections(), tcp.bytes()), (1, 0));
    count(&proxy, "in_vain", 1.0);
}

#[test]
fn what_was_dialed_serves_whatever_the_client_says_that_it_can() {
    // An opaque protocol whose client is slow to speak.
    let (http, tcp) = (Upstream::fixed("http"), echo());
    let proxy = Proxy::start(&settings(&http, &at(&tcp), ""));
    let mut client = is_silent_until_dialed(&proxy, &tcp);
    client.send("*1\r\n$4\r\nPING\r\n");
    assert_eq!(client.exactly(14), b"*1\r\n$4\r\nPING\r\n");
    assert_eq!(tcp.connections(), 1);
    count(&proxy, "used", 1.0);

    // Requests that are routed to the same cluster.
    let both = Upstream::fixed("both");
    let text = settings(&both, &at(&both), "").replace("cluster: tcp,", "cluster: http,");
    let proxy = Proxy::start(&text);
    let mut client = is_silent_until_dialed(&proxy, &both);
    assert_eq!(client.get("/").text(), "both");
    assert_eq!(both.connections(), 1);
}

#[test]
fn the_proxy_header_goes_ahead_of_the_greeting() {
    let http = Upstream::fixed("http");
    let tcp = Upstream::script(|peer| {
        let mut header = Vec::new();
        while !header.ends_with(b"\r\n") {
            match peer.exactly(1) {
                Ok(byte) => header.extend(byte),
                Err(_) => return,
            }
        }
        peer.send(header);
        peer.wait_end();
    });
    let cluster = format!("{}, proxy_protocol: v1", at(&tcp));
    let proxy = Proxy::start(&settings(&http, &cluster, ""));
    let mut client = Client::connect(proxy.web());
    let local = client.wire.local();
    let expected = format!(
        "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n",
        local.port(),
        proxy.web().port()
    );
    assert_eq!(client.exactly(expected.len()), expected.as_bytes());
    client.send("x");
    client.wire.finish();
    client.expect_end();
    let line = proxy.log_of(1).remove(0);
    assert_eq!(
        (&line["received"], &line["sent"]),
        (&1.into(), &expected.len().into()),
        "{line}"
    );
}

#[test]
fn a_cluster_says_itself_whether_it_speaks_first() {
    let (http, tcp) = (Upstream::fixed("http"), greets());
    let always = format!("{}, speaks_first: always", at(&tcp));
    let mut proxy = Proxy::start(&settings(&http, &always, "dial_after: 5m"));
    for _ in 0..2 {
        let mut client = is_silent_until_dialed(&proxy, &tcp);
        assert_eq!(client.exactly(GREETING.len()), GREETING);
    }
    let never = format!("{}, speaks_first: never", at(&tcp));
    proxy.reload(&settings(&http, &never, "dial_after: 0s"));
    let mut client = Client::connect(proxy.web());
    assert!(client.is_silent_for(Duration::from_millis(50)));
    client.send(LOGIN);
    assert_eq!(
        client.exactly(GREETING.len() + 5),
        [GREETING, LOGIN].concat()
    );
    assert_eq!(tcp.connections(), 3);
    count(&proxy, "greeted", 2.0);
}

#[test]
fn without_a_server_there_the_client_may_still_speak_http() {
    let http = Upstream::fixed("http");
    // One that is not there, and one that ends before it has said a word.
    let (mut gone, ends) = (echo(), Upstream::script(|_| {}));
    let first = settings(&http, &at(&gone), "");
    gone.stop();
    for text in [first, settings(&http, &at(&ends), "")] {
        let proxy = Proxy::start(&text);
        let mut client = Client::connect(proxy.web());
        wait::until("dialing to come to nothing", || {
            (early_dials(&proxy, "in_vain") > 0.0).then_some(())
        });
        assert_eq!(client.get("/").text(), "http");
    }
}

#[test]
fn whoever_leaves_or_stays_silent_takes_what_was_dialed_along() {
    let (http, tcp) = (
        Upstream::fixed("http"),
        Upstream::script(|peer| drop(peer.wait_end())),
    );
    let proxy = Proxy::start(&settings(&http, &at(&tcp), ""));
    drop(is_silent_until_dialed(&proxy, &tcp));
    wait::until("it to be closed", || (tcp.open() == 0).then_some(()));
    assert_eq!(proxy.log_of(1)[0]["cause"], "client_gone");
    assert_eq!(tcp.connections(), 1);

    // Where both are silent until the time is up, the one connection is what they get; and who
    // speaks first after that is remembered.
    let late = Upstream::script(|peer| {
        peer.wire.read_deadline(Duration::from_secs(15));
        let _ = peer.exactly(1);
        peer.send(GREETING);
        peer.wait_end();
    });
    let text = settings(&http, &at(&late), "").replace("10m", "150ms");
    let proxy = Proxy::start(&text);
    let mut client = is_silent_until_dialed(&proxy, &late);
    assert!(client.is_silent_for(Duration::from_millis(200)));
    client.send("x");
    assert_eq!(client.exactly(GREETING.len()), GREETING);
    assert_eq!(late.connections(), 1);
    count(&proxy, "used", 1.0);
}

#[test]
fn a_wait_ends_when_the_process_leaves() {
    let (http, tcp) = (
        Upstream::fixed("http"),
        Upstream::script(|peer| drop(peer.wait_end())),
    );
    let mut proxy = Setup::new(&settings(&http, &at(&tcp), ""))
        .mesh("drain: { grace: 0s, deadline: 1m }")
        .start();
    let client = is_silent_until_dialed(&proxy, &tcp);
    proxy.signal(outrigger_tests::process::Signal::Term);
    assert_eq!(proxy.process.exit().code(), Some(0));
    let mut wire: Wire = client.wire;
    assert!(wire.drain().0.is_empty());
}

#[test]
fn a_beginning_of_http_ends_the_race() {
    // The greeting comes after the first byte of a request: the request is none the less one.
    let http = Upstream::fixed("http");
    let gate = std::sync::Arc::new(wait::Gate::default());
    let tcp = Upstream::script({
        let gate = gate.clone();
        move |peer| {
            gate.pass();
            peer.send(GREETING);
            peer.wait_end();
        }
    });
    let proxy = Proxy::start(&settings(&http, &at(&tcp), ""));
    let mut client = is_silent_until_dialed(&proxy, &tcp);
    let whole = request("GET", "/", &[], b"");
    client.send(&whole[..1]);
    // It is read by the proxy before the gate opens: another connection is served after it.
    assert_eq!(Client::connect(proxy.web()).get("/").text(), "http");
    gate.open();
    client.send(&whole[1..]);
    assert_eq!(client.response().text(), "http");
}
