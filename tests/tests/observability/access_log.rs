//! The access log: one line per request or connection, true to the byte, and never in the way.

use std::{
    fs,
    sync::{Arc, Barrier},
    time::Duration,
};

use outrigger_tests::{
    client::{Client, request},
    proxy::{Proxy, Setup, simple},
    upstream::Upstream,
    wait,
};

#[test]
fn a_line_says_what_happened_to_the_byte() {
    let upstream = Upstream::echo();
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    let fields = ["User-Agent: test/1", "X-Request-Id: id-1"];
    let sent = request("POST", "/a/b?secret=1", &fields, &[b'x'; 1_000]);
    client.send(&sent);
    client.response();
    let received = client.reader.seen.len();
    let line = proxy.log_of(1).remove(0);
    for (field, value) in [
        ("kind", "http"),
        ("listener", "web"),
        ("method", "POST"),
        ("host", "a.example"),
        ("path", "/a/b"),
        ("protocol", "HTTP/1.1"),
        ("route", "all"),
        ("cluster", "back"),
        ("request_id", "id-1"),
        ("user_agent", "test/1"),
    ] {
        assert_eq!(line[field], value, "{field} of {line}");
    }
    assert_eq!(line["endpoint"], upstream.address.to_string(), "{line}");
    assert_eq!(line["client"], client.wire.local().to_string(), "{line}");
    assert_eq!(
        (line["status"].as_u64(), line["attempts"].as_u64()),
        (Some(200), Some(1))
    );
    assert_eq!(line["received"], sent.len(), "{line}");
    assert_eq!(line["sent"], received, "{line}");
    assert!(line["cause"].is_null(), "{line}");
    let time = |name: &str| {
        line[name]
            .as_u64()
            .unwrap_or_else(|| panic!("{name} of {line}"))
    };
    assert!(time("upstream_us") <= time("duration_us"), "{line}");
    assert!(time("overhead_us") <= time("duration_us"), "{line}");
}

#[test]
fn a_line_for_each_request_of_a_connection() {
    let upstream = Upstream::fixed("ok");
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    let targets: Vec<_> = (0..20).map(|n| format!("/{n}")).collect();
    for target in &targets {
        client.get(target);
    }
    let lines = proxy.log_of(20);
    let paths: Vec<_> = lines.iter().map(|l| l["path"].as_str().unwrap()).collect();
    assert_eq!(paths, targets);
}

#[test]
fn an_opaque_connection_has_a_line_too() {
    let upstream = Upstream::script(|peer| {
        peer.exactly(4).unwrap();
        peer.send("answer");
    });
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: db, bind: '127.0.0.1:0', protocol: tcp, cluster: back }}]
clusters: [{{ name: back, endpoints: ['{}'] }}]",
        upstream.address
    ));
    let mut client = Client::connect(proxy.listener("db"));
    client.send("ping");
    client.rest();
    drop(client);
    let line = proxy.log_of(1).remove(0);
    assert_eq!(
        (line["kind"].as_str(), line["listener"].as_str()),
        (Some("tcp"), Some("db"))
    );
    assert_eq!(
        (line["received"].as_u64(), line["sent"].as_u64()),
        (Some(4), Some(6)),
        "{line}"
    );
    assert!(line["cause"].is_null(), "{line}");
}

#[test]
fn strangers_write_no_lines_of_their_own() {
    let upstream = Upstream::fixed("ok");
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    let mut bytes = request(
        "GET",
        "/%0d%0a{%22kind%22:%22forged%22}",
        &["X-Request-Id: a\"b\\c"],
        b"",
    );
    bytes.truncate(bytes.len() - 2);
    bytes.extend_from_slice(b"User-Agent: \"}\t\xe2\x80\xae\xff\"\r\n\r\n");
    client.send(bytes);
    client.response();
    let line = proxy.log_of(1).remove(0);
    let text = fs::read_to_string(proxy.dir.file("access.log")).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(!text.contains('\u{202e}') && !text.contains('\t'), "{text}");
    assert_eq!(line["request_id"], "a\"b\\c");
}

#[test]
fn a_rotated_file_is_opened_anew() {
    let upstream = Upstream::fixed("ok");
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    let (log, old) = (proxy.dir.file("access.log"), proxy.dir.file("access.log.1"));
    client.get("/before");
    proxy.log_of(1);
    fs::rename(&log, &old).unwrap();
    wait::until("a line in the new file", || {
        client.get("/after");
        fs::read_to_string(&log)
            .ok()
            .filter(|t| t.contains("/after"))
    });
    assert!(fs::read_to_string(&old).unwrap().contains("/before"));
}

#[test]
fn text_goes_to_standard_output_where_asked_for() {
    let upstream = Upstream::fixed("ok");
    let proxy = Setup::new(&simple(&[&upstream.address]))
        .mesh("access_log: { format: text, output: stdout }")
        .start();
    Client::connect(proxy.web()).get("/here");
    let text = wait::until("a line", || {
        Some(proxy.process.stdout()).filter(|t| t.ends_with('\n'))
    });
    assert!(
        text.contains("path=/here") && text.contains("status=200"),
        "{text}"
    );
}

#[test]
fn failures_are_logged_whatever_the_sample() {
    let upstream = Upstream::fixed("ok");
    let proxy = Setup::new(&simple(&[&upstream.address]))
        .mesh("access_log: { output: DIR/access.log, sample: 0 }")
        .start();
    let mut client = Client::connect(proxy.web());
    for _ in 0..20 {
        client.get("/");
    }
    client.send("GET / HTTP/1.1\r\nHost : x\r\n\r\n");
    client.response();
    let lines = proxy.log_of(1);
    assert_eq!(
        (lines.len(), lines[0]["cause"].as_str()),
        (1, Some("http_request_error"))
    );
}

/// A log that nobody takes holds nothing up: what does not fit is dropped and counted.
#[test]
fn a_full_log_costs_lines_not_requests() {
    let upstream = Upstream::fixed("ok");
    let proxy = Setup::new(&simple(&[&upstream.address]))
        .mesh("access_log: { output: /dev/full }")
        .start();
    let mut client = Client::connect(proxy.web());
    for _ in 0..200 {
        assert_eq!(client.get("/").text(), "ok");
    }
    wait::until("the loss to be counted", || {
        let lost = proxy
            .metrics()
            .sum("outrigger_access_log_dropped_total", &[]);
        (lost >= 1.0).then_some(())
    });
}

/// Waiting for the rest of a response is not our share of it.
#[test]
fn overhead_is_not_what_the_peers_take() {
    const PAUSE: Duration = Duration::from_millis(300);
    let rest = Arc::new(Barrier::new(2));
    let wanted = Arc::clone(&rest);
    let upstream = Upstream::script(move |peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
        wanted.wait();
        peer.send("cd");
    });
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    client.send(request("GET", "/", &[], b""));
    client.head();
    assert_eq!(client.exactly(2), b"ab");
    assert!(client.is_silent_for(PAUSE));
    rest.wait();
    assert_eq!(client.exactly(2), b"cd");
    let line = proxy.log_of(1).remove(0);
    let time = |name: &str| Duration::from_micros(line[name].as_u64().unwrap_or_default());
    assert!(time("duration_us") >= PAUSE, "{line}");
    assert!(time("overhead_us") < PAUSE, "{line}");
    let sum = proxy
        .metrics()
        .sum("outrigger_proxy_overhead_seconds_sum", &[]);
    assert!(sum < PAUSE.as_secs_f64(), "{sum}");
}

#[test]
fn a_connection_too_many_has_a_line() {
    let upstream = Upstream::fixed("ok");
    let text = simple(&[&upstream.address]).replace("name: web,", "name: web, max_connections: 1,");
    let proxy = Proxy::start(&text);
    let mut first = Client::connect(proxy.web());
    first.get("/");
    let refused = Client::connect(proxy.web());
    let address = refused.wire.local().to_string();
    let line = proxy.log_of(2).remove(1);
    assert_eq!(line["cause"], "downstream_connection_limit", "{line}");
    assert_eq!(line["client"], address, "{line}");
}

/// Answers of our own are counted as they went over the wire, heads included.
#[test]
fn own_answers_are_counted_to_the_byte() {
    let proxy = Proxy::start(
        "listeners: [{ name: web, bind: '127.0.0.1:0', protocol: http }]
routes: [{ name: all, rules: [{ matches: [{ path: { exact: /direct } }], filters: [{ direct_response: { status: 200, body: direct } }] }] }]",
    );
    let cases: [(&str, Vec<u8>, u64); 5] = [
        ("GET", request("GET", "/direct", &[], b""), 200),
        ("HEAD", request("HEAD", "/direct", &[], b""), 200),
        ("GET", request("GET", "/missing", &[], b""), 404),
        ("GET", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400),
        (
            "GET",
            b"GET / HTTP/1.1\r\nHost: a\nb: c\r\n\r\n".into(),
            400,
        ),
    ];
    for (index, (method, sent, status)) in cases.iter().enumerate() {
        let mut client = Client::connect(proxy.web());
        client.send(sent);
        client.response_to(method);
        let line = proxy.log_of(index + 1).remove(index);
        assert_eq!(line["status"], *status, "{line}");
        assert_eq!(line["received"], sent.len(), "{line}");
        assert_eq!(line["sent"], client.reader.seen.len(), "{line}");
    }
}
