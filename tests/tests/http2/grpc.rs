//! gRPC frame by frame: our own failures in its form, its status in logs and counters, and the
//! deadline that shrinks on its way.

use std::sync::Arc;

use outrigger_tests::{
    frames::{Client, Connection, Frame, Message, code, kind, request, response, server},
    proxy::Proxy,
    upstream::Upstream,
    wait::Gate,
    wire::Address,
};
use serde_json::Value;

use super::towards;

const GRPC: (&str, &str) = ("content-type", "application/grpc+proto");

/// A call and all that came back.
fn call(client: &mut Client, path: &str, fields: &[(&str, &str)]) -> Message {
    let stream = open(client, path, fields);
    client.whole(stream)
}

fn open(client: &mut Client, path: &str, fields: &[(&str, &str)]) -> u32 {
    let fields = [&[GRPC, ("te", "trailers")], fields].concat();
    client.open(request("POST", path, &fields), true)
}

fn trailer<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    let trailers = message.trailers.as_deref().unwrap_or_default();
    let field = trailers.iter().find(|(n, _)| n == name);
    field.map(|(_, value)| value.as_str())
}

/// An answer of ours without a body.
#[track_caller]
fn check_trailers_only(message: &Message, status: &str, words: &str) {
    assert!(message.ended && message.body.is_empty(), "{message:?}");
    assert_eq!(message.trailers, None);
    assert_eq!(message.status(), 200);
    assert_eq!(message.get("content-type"), Some("application/grpc"));
    assert_eq!(message.get("grpc-status"), Some(status), "{message:?}");
    assert_eq!(message.get("grpc-message"), Some(words));
    assert!(message.get("date").is_some() && message.get("content-length").is_none());
}

fn logged(line: &Value) -> (Option<u64>, Option<u64>, Option<&str>) {
    let number = |key: &str| line[key].as_u64();
    (
        number("status"),
        number("grpc_status"),
        line["cause"].as_str(),
    )
}

fn no_endpoint(more: &str) -> Proxy {
    Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', http: {{ max_header_size: 4KiB{more} }} }}]
routes: [{{ name: all, rules: [{{ matches: [{{ path: {{ prefix: /s }} }}], backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, protocol: http2, endpoints: [] }}]"
    ))
}

#[test]
fn failures_of_ours_have_the_form_of_grpc() {
    let proxy = no_endpoint(", proxy_status: true");
    let mut client = Client::connect(proxy.web());
    let answer = call(&mut client, "/s/m", &[]);
    check_trailers_only(&answer, "14", "503 Service Unavailable");
    let cause = "outrigger; error=destination_unavailable";
    assert_eq!(answer.get("proxy-status"), Some(cause));
    let answer = call(&mut client, "/none/m", &[]);
    check_trailers_only(
        &answer,
        "12",
        "404 Not Found: No route matches the request.",
    );
    // A head that is refused before anything of it is believed.
    let answer = call(&mut client, "/s/m", &[("connection", "close")]);
    assert_eq!(answer.get("grpc-status"), Some("13"), "{answer:?}");
    let answer = call(&mut client, "/s/m", &[("x", &"a".repeat(4_096))]);
    assert_eq!(answer.get("grpc-status"), Some("8"), "{answer:?}");
    // What is no call is answered as before.
    for content_type in ["application/grpc-web", "text/plain"] {
        let fields = [("content-type", content_type)];
        let stream = client.open(request("POST", "/s/m", &fields), true);
        let answer = client.whole(stream);
        assert_eq!((answer.status(), answer.get("grpc-status")), (503, None));
    }
    let log = proxy.log_of(5);
    let seen: Vec<_> = log.iter().map(logged).collect();
    assert_eq!(
        seen,
        [
            (Some(503), Some(14), Some("destination_unavailable")),
            (Some(404), Some(12), Some("route_not_found")),
            (Some(400), Some(13), Some("http_request_error")),
            (Some(431), Some(8), Some("request_header_too_large")),
            (Some(503), None, Some("destination_unavailable")),
            (Some(503), None, Some("destination_unavailable")),
        ]
    );
}

/// gRPC has no form on HTTP/1, and whoever speaks it there reads a status.
#[test]
fn http1_is_answered_as_http() {
    let proxy = no_endpoint("");
    let answer = outrigger_tests::client::fetch(
        proxy.web(),
        "POST",
        "/s/m",
        &["Content-Type: application/grpc", "Content-Length: 0"],
    );
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.field("grpc-status"), None);
}

#[test]
fn a_stream_that_breaks_ends_with_a_status() {
    // Half of a message, and then the connection goes.
    let upstream = server(&[], |connection| {
        let (stream, _) = connection.request().unwrap();
        let head = Frame::headers(stream, response(200, &[GRPC]));
        let half = Frame::data(stream, [0, 0, 0, 0, 9, b'x']);
        connection.send_all(&[head, half]);
    });
    let proxy = towards("http2", &upstream.address);
    let mut client = Client::connect(proxy.web());
    let answer = call(&mut client, "/s/m", &[]);
    assert!(answer.ended, "{answer:?}");
    assert_eq!(answer.body.len(), 6);
    assert_eq!(trailer(&answer, "grpc-status"), Some("14"));
    assert_eq!(trailer(&answer, "grpc-message"), Some("502 Bad Gateway"));
    let seen = logged(&proxy.log_of(1)[0]).1;
    assert_eq!(seen, Some(14));
}

#[test]
fn an_endpoints_reset_stays_one() {
    let upstream = server(&[], |connection| {
        let stream = connection.expect(kind::HEADERS).stream;
        while connection
            .message(stream)
            .is_none_or(|m| m.body != b"first")
        {
            connection.frame();
        }
        connection.send(&Frame::headers(stream, response(200, &[GRPC])));
        // The client has the head.
        while connection
            .message(stream)
            .is_none_or(|m| m.body != b"firstsecond")
        {
            connection.frame();
        }
        connection.send(&Frame::reset(stream, code::ENHANCE_YOUR_CALM));
        while connection.read().is_some() {}
    });
    let proxy = towards("http2", &upstream.address);
    let mut client = Client::connect(proxy.web());
    let stream = client.open(request("POST", "/s/m", &[GRPC]), false);
    client.send_body(stream, b"first", false);
    assert_eq!(client.head(stream).status(), 200);
    client.send_body(stream, b"second", false);
    let answer = client.whole(stream);
    assert_eq!(answer.reset, Some(code::ENHANCE_YOUR_CALM), "{answer:?}");
}

/// Statuses, by trailers and in a head without more, are logged, counted and told to the balancer.
#[test]
fn statuses_of_endpoints_are_seen() {
    let upstream = server(&[], |connection| {
        while let Some((stream, message)) = connection.request() {
            let status = message.get("x-status").unwrap_or_default().to_owned();
            let status = [("grpc-status", status.as_str())];
            let alone = message.get(":path") == Some("/s/alone");
            let frames = if alone {
                let fields = [&[GRPC], &status[..]].concat();
                vec![Frame::headers(stream, response(200, &fields)).end_stream()]
            } else {
                let trailers = outrigger_tests::frames::Block::of(&status);
                vec![
                    Frame::headers(stream, response(200, &[GRPC])),
                    Frame::data(stream, [0; 5]),
                    Frame::headers(stream, trailers).end_stream(),
                ]
            };
            let _ = connection.try_send(&frames);
        }
    });
    let proxy = towards("http2", &upstream.address);
    let mut client = Client::connect(proxy.web());
    let mut failures = Vec::new();
    for (path, status) in [
        ("/s/m", "0"),
        ("/s/m", "14"),
        ("/s/alone", "13"),
        ("/s/alone", "5"),
        ("/s/m", "99"),
        ("/s/m", "x"),
    ] {
        let answer = call(&mut client, path, &[("x-status", status)]);
        let seen = answer
            .get("grpc-status")
            .or(trailer(&answer, "grpc-status"));
        assert_eq!(seen, Some(status));
        let lines = proxy.log_of(failures.len() + 1);
        assert_eq!(
            lines[failures.len()]["grpc_status"].as_u64(),
            status.parse().ok()
        );
        let clusters = proxy.ask_json("/clusters").to_string();
        failures.push(
            clusters
                .split("\"failures\":")
                .nth(1)
                .map(|s| s.chars().next()),
        );
    }
    let counted: Vec<_> = failures
        .iter()
        .map(|f| f.flatten().unwrap_or('?'))
        .collect();
    assert_eq!(counted, ['0', '1', '2', '2', '2', '2']);
    let metrics = proxy.metrics();
    for (status, expected) in [
        ("0", 1.0),
        ("5", 1.0),
        ("13", 1.0),
        ("14", 1.0),
        ("other", 1.0),
        ("none", 1.0),
    ] {
        let labels = [("route", "all"), ("grpc_status", status)];
        let count = metrics.sum("outrigger_grpc_calls_total", &labels);
        assert!((count - expected).abs() < 0.5, "{status}: {count}");
    }
}

/// Answers no request, and lets each be seen by `seen`.
fn silent(seen: impl Fn(&mut Connection, u32, &Message) + Send + Sync + 'static) -> Upstream {
    server(&[], move |connection| {
        while let Some((stream, message)) = connection.request() {
            seen(connection, stream, &message);
        }
    })
}

/// A timeout of these forms in nanoseconds.
fn nanos(text: &str) -> u128 {
    let (digits, unit) = text.split_at(text.len() - 1);
    assert!(digits.len() <= 8, "{text}");
    let unit = match unit {
        "n" => 1,
        "u" => 1_000,
        "m" => 1_000_000,
        "S" => 1_000_000_000,
        _ => panic!("{text}"),
    };
    digits.parse::<u128>().unwrap() * unit
}

fn limited(endpoint: &Address, timeout: &str, filter: &str) -> Proxy {
    Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0' }}]
routes: [{{ name: all, rules: [{{ filters: [{filter}], timeouts: {{ request: {timeout} }}, backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, protocol: http2, endpoints: ['{endpoint}'] }}]"
    ))
}

#[test]
fn a_deadline_shrinks_on_its_way() {
    let upstream = server(&[], |connection| {
        while let Some((stream, message)) = connection.request() {
            let told = message.fields.iter().filter(|(n, _)| n == "grpc-timeout");
            let told: Vec<_> = told.map(|(_, value)| value.as_str()).collect();
            connection.answer(stream, 200, &[GRPC, ("x-told", &told.join(","))], b"");
        }
    });
    let told = |proxy: &Proxy, fields: &[(&str, &str)]| {
        let answer = call(&mut Client::connect(proxy.web()), "/s/m", fields);
        answer.get("x-told").unwrap_or("?").to_owned()
    };
    let own = limited(&upstream.address, "0s", "");
    let left = told(&own, &[("grpc-timeout", "20S")]);
    assert!(
        (5_000_000_000..20_000_000_000).contains(&nanos(&left)),
        "{left}"
    );
    assert_eq!(told(&own, &[]), "");
    // The smaller of the client's and the route's.
    let route = limited(&upstream.address, "30s", "");
    for fields in [&[("grpc-timeout", "1H")][..], &[]] {
        let left = told(&route, fields);
        assert!(
            (5_000_000_000..30_000_000_000).contains(&nanos(&left)),
            "{left}"
        );
    }
    let left = told(&route, &[("grpc-timeout", "20000m")]);
    assert!(nanos(&left) < 20_000_000_000, "{left}");
    // Who sets the field by a filter, or removes it, has seen to it.
    let set = "{ request_headers: { set: { grpc-timeout: 7S } } }";
    assert_eq!(
        told(
            &limited(&upstream.address, "30s", set),
            &[("grpc-timeout", "1H")]
        ),
        "7S"
    );
    let removed = "{ request_headers: { remove: [grpc-timeout] } }";
    assert_eq!(
        told(
            &limited(&upstream.address, "30s", removed),
            &[("grpc-timeout", "1H")]
        ),
        ""
    );
    // What is no call keeps the field as it is.
    let stream_of =
        |client: &mut Client| client.open(request("GET", "/", &[("grpc-timeout", "x")]), true);
    let mut client = Client::connect(route.web());
    let stream = stream_of(&mut client);
    assert_eq!(client.whole(stream).get("x-told"), Some("x"));
}

#[test]
fn a_deadline_that_passes_ends_both_sides() {
    let reset = Arc::new(Gate::default());
    let cancelled = Arc::clone(&reset);
    let upstream = silent(move |connection, stream, message| {
        if message.get(":path") == Some("/s/begun") {
            let head = Frame::headers(stream, response(200, &[GRPC]));
            let _ = connection.try_send(&[head, Frame::data(stream, [0; 5])]);
        }
        let frame = connection.expect(kind::RST_STREAM);
        assert_eq!((frame.stream, frame.number(0)), (stream, code::CANCEL));
        cancelled.open();
    });
    let proxy = towards("http2", &upstream.address);
    let mut client = Client::connect(proxy.web());
    let answer = call(&mut client, "/s/m", &[("grpc-timeout", "100m")]);
    check_trailers_only(&answer, "4", "504 Gateway Timeout");
    reset.pass();
    let answer = call(&mut client, "/s/begun", &[("grpc-timeout", "100m")]);
    assert!(answer.ended && answer.body.len() == 5, "{answer:?}");
    assert_eq!(trailer(&answer, "grpc-status"), Some("4"));
    let log = proxy.log_of(2);
    let cause = Some("client_deadline_exceeded");
    assert_eq!(logged(&log[0]), (Some(504), Some(4), cause));
    assert_eq!(logged(&log[1]), (Some(200), Some(4), cause));
    // One that has passed when it comes leads to no try.
    let answer = call(&mut client, "/s/m", &[("grpc-timeout", "0n")]);
    check_trailers_only(&answer, "4", "504 Gateway Timeout");
    assert_eq!(proxy.log_of(3)[2]["attempts"], 0);
}

#[test]
fn a_deadline_that_cannot_be_read_is_refused() {
    let upstream = silent(|_, _, message| panic!("came through: {message:?}"));
    let proxy = towards("http2", &upstream.address);
    let mut client = Client::connect(proxy.web());
    for fields in [
        &[("grpc-timeout", "5s")][..],
        &[("grpc-timeout", "123456789m")],
        &[("grpc-timeout", "1S"), ("grpc-timeout", "2S")],
    ] {
        let words = "400 Bad Request: The request is not valid HTTP, or ambiguous.";
        check_trailers_only(&call(&mut client, "/s/m", fields), "13", words);
    }
    let connections = proxy
        .metrics()
        .sum("outrigger_upstream_connections_total", &[]);
    assert!(connections < 0.5, "{connections}");
}

#[test]
fn calls_are_routed_by_service_and_method() {
    let upstream = server(&[], |connection| {
        while let Some((stream, message)) = connection.request() {
            let rule = message.get("x-rule").unwrap_or("none");
            connection.answer(stream, 200, &[GRPC, ("x-rule", rule)], b"");
        }
    });
    let rule = |number: u8, condition: &str| {
        let set = format!("{{ request_headers: {{ set: {{ x-rule: '{number}' }} }} }}");
        format!(
            "{{ matches: [{{ {condition} }}], filters: [{set}], backends: [{{ cluster: back }}] }}"
        )
    };
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0' }}]
routes: [{{ name: all, rules: [{}, {}, {}] }}]
clusters: [{{ name: back, protocol: http2, endpoints: ['{}'] }}]",
        rule(1, "grpc: { service: a.B }"),
        rule(2, "grpc: { service: a.B, method: C }"),
        rule(
            3,
            "grpc: { method: { regex: 'Get.*' } }, headers: [{ name: x, exact: y }]"
        ),
        upstream.address
    ));
    let mut client = Client::connect(proxy.web());
    let mut rule_of = |path, fields: &[(&str, &str)]| {
        let answer = call(&mut client, path, fields);
        let said = answer.get("x-rule").or(answer.get("grpc-status"));
        said.unwrap_or_default().to_owned()
    };
    assert_eq!(rule_of("/a.B/C", &[]), "2");
    assert_eq!(rule_of("/a.B/D", &[]), "1");
    assert_eq!(rule_of("/a.X/GetIt", &[("x", "y")]), "3");
    assert_eq!(rule_of("/a.X/GetIt", &[]), "12");
    assert_eq!(rule_of("/a.B/C/D", &[]), "12");
}
