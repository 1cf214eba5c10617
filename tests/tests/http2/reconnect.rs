//! Connections to an endpoint that end, are asked to, or take no more: what was not processed goes
//! elsewhere, what was is answered, and clients see nothing of it where nothing was lost.

use std::collections::BTreeMap;

use outrigger_tests::{
    client,
    frames::{Client, Connection, Frame, code, kind, request, response, server, setting},
    proxy::Proxy,
    upstream::Upstream,
    wait,
    wire::Address,
};

use super::before;

/// Answers one request with its body and the number of its connection.
fn echo(connection: &mut Connection, stream: u32, body: &[u8]) {
    let index = connection.index.to_string();
    connection.answer(stream, 200, &[("x-connection", &index)], body);
}

/// Answers what comes, to the end of the connection.
fn serve(connection: &mut Connection) {
    while let Some((stream, request)) = connection.request() {
        echo(connection, stream, &request.body);
    }
}

fn resent(proxy: &Proxy) -> f64 {
    let metrics = proxy.metrics();
    metrics.sum("outrigger_upstream_requests_resent_total", &[])
}

#[track_caller]
fn assert_resent(proxy: &Proxy, times: f64) {
    let counted = resent(proxy);
    assert!((counted - times).abs() < 0.5, "{counted} were sent again");
}

/// No request of the log failed.
#[track_caller]
fn assert_flawless(proxy: &Proxy, requests: usize) {
    for line in proxy.log_of(requests) {
        assert!(line["cause"].is_null(), "{line}");
    }
}

#[test]
fn streams_above_the_last_of_goaway_are_sent_again() {
    for body in [&b""[..], b"some body"] {
        let up = server(&[], |connection| {
            if connection.index > 0 {
                return serve(connection);
            }
            let first = connection.request().unwrap();
            let (_second, _third) = (connection.request(), connection.request());
            connection.send(&Frame::goaway(first.0, code::NO_ERROR));
            echo(connection, first.0, &first.1.body);
            connection.end();
        });
        let proxy = before(&[&up.address], "");
        let mut client = Client::connect(proxy.web());
        let streams: Vec<_> = (0..3)
            .map(|_| {
                let stream = client.open(request("POST", "/", &[]), body.is_empty());
                if !body.is_empty() {
                    client.send_body(stream, body, true);
                }
                stream
            })
            .collect();
        let mut by_connection = BTreeMap::new();
        for stream in streams {
            let got = client.whole(stream);
            assert_eq!((got.status(), &*got.body), (200, body));
            let connection = got.get("x-connection").unwrap().to_owned();
            *by_connection.entry(connection).or_insert(0) += 1;
        }
        let expected = [("0".to_owned(), 1), ("1".to_owned(), 2)];
        assert_eq!(by_connection, BTreeMap::from(expected));
        assert_resent(&proxy, 2.0);
        assert_flawless(&proxy, 3);
    }
}

#[test]
fn what_goaway_leaves_is_finished() {
    let up = server(&[], |connection| {
        if connection.index > 0 {
            return serve(connection);
        }
        let stream = connection.expect(kind::HEADERS).stream;
        connection.send_all(&[
            Frame::headers(stream, response(200, &[])),
            Frame::data(stream, *b"before "),
            Frame::goaway(stream, code::NO_ERROR),
        ]);
        let request = connection.whole(stream);
        connection.send(&Frame::data(stream, request.body).end_stream());
        connection.end();
    });
    let proxy = before(&[&up.address], "");
    let mut client = Client::connect(proxy.web());
    let first = client.open(request("POST", "/", &[]), false);
    assert_eq!(client.head(first).status(), 200);
    while client.message(first).unwrap().body != b"before " {
        client.frame();
    }
    for _ in 0..3 {
        let other = client.get("/");
        assert_eq!(other.get("x-connection"), Some("1"));
    }
    client.send(&Frame::data(first, *b"after").end_stream());
    let whole = client.whole(first);
    assert_eq!((&*whole.body, whole.ended), (&b"before after"[..], true));
    assert_flawless(&proxy, 4);
    // It ends when its last stream does.
    wait::until("the old connection to end", || {
        (up.open() == 1).then_some(())
    });
}

/// Leaves its first `times` connections with this code at their first request, processing none.
fn leaving(times: usize, code: u32) -> Upstream {
    server(&[], move |connection| {
        if connection.index >= times {
            return serve(connection);
        }
        if connection.request().is_some() {
            connection.send(&Frame::goaway(0, code));
            connection.end();
        }
    })
}

#[test]
fn a_server_that_leaves_many_connections_in_order_loses_no_request() {
    let attempts = |up: &[&Upstream], cluster: &str| {
        let endpoints: Vec<_> = up.iter().map(|up| &up.address).collect();
        let proxy = before(&endpoints, cluster);
        let status = Client::connect(proxy.web()).post("/", b"a body").status();
        let line = proxy.log_of(1).remove(0);
        (status, line["attempts"].as_u64().unwrap())
    };
    let ten = leaving(10, code::NO_ERROR);
    assert_eq!(attempts(&[&ten], ""), (200, 11));
    // Not for ever, not where it is angry, and not where nothing is to be sent again.
    let all = leaving(usize::MAX, code::NO_ERROR);
    assert_eq!(attempts(&[&all], ""), (502, 11));
    let angry = leaving(usize::MAX, code::ENHANCE_YOUR_CALM);
    assert_eq!(attempts(&[&angry], ""), (502, 3));
    let one = leaving(1, code::NO_ERROR);
    assert_eq!(attempts(&[&one], "safe_resends: 0"), (502, 1));
    // Whoever leaves every connection is about to be gone: another one is asked.
    let (other, rest) = (server(&[], serve), leaving(usize::MAX, code::NO_ERROR));
    for endpoints in [[&rest, &other], [&other, &rest]] {
        let (status, attempts) = attempts(&endpoints, "");
        assert_eq!(status, 200);
        assert!(attempts <= 3, "{attempts}");
    }
}

/// Refuses the first `times` requests of the process.
fn refusing(times: usize) -> Upstream {
    let refused = std::sync::atomic::AtomicUsize::new(0);
    server(&[], move |connection| {
        while let Some((stream, request)) = connection.request() {
            if refused.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < times {
                connection.send(&Frame::reset(stream, code::REFUSED_STREAM));
            } else {
                echo(connection, stream, &request.body);
            }
        }
    })
}

#[test]
fn a_refused_stream_is_sent_again() {
    let (one, other) = (refusing(usize::MAX), server(&[], serve));
    let proxy = before(&[&one.address, &other.address], "");
    let mut client = Client::connect(proxy.web());
    for _ in 0..4 {
        assert_eq!(client.get("/").status(), 200);
        assert_eq!(client.post("/", b"a body").body, b"a body");
    }
    let http1 = client::get(proxy.web(), "/");
    assert_eq!(http1.status(), 200);
    assert!(resent(&proxy) > 0.5);
    assert_flawless(&proxy, 9);

    // There is no other endpoint: the same one, twice.
    let moody = refusing(2);
    let proxy = before(&[&moody.address], "");
    let mut client = client::Client::connect(proxy.web());
    assert_eq!(client.post("/", b"a body").body, b"a body");
    assert_resent(&proxy, 2.0);
    assert_eq!(moody.connections(), 1);
    assert_flawless(&proxy, 1);
}

#[test]
fn a_large_body_is_not_kept_to_be_sent_again() {
    let up = refusing(2);
    let proxy = before(&[&up.address], "");
    let mut client = Client::connect(proxy.web());
    assert_eq!(client.post("/", &vec![b'x'; 16_385]).status(), 502);
    let line = &proxy.log_of(1)[0];
    assert_eq!(
        (line["cause"].as_str(), &line["attempts"]),
        (Some("stream_reset"), &1.into())
    );
    let body = vec![b'x'; 16_384];
    assert_eq!(client.post("/", &body).body, body);
    assert_eq!(proxy.log_of(2)[1]["attempts"], 2);
}

#[test]
fn a_stream_that_everyone_refuses_is_told_of() {
    let up = refusing(usize::MAX);
    let proxy = before(&[&up.address], "");
    let answer = client::get(proxy.web(), "/");
    assert_eq!(answer.status(), 502);
    assert_eq!(Client::connect(proxy.web()).get("/").status(), 502);
    for line in proxy.log_of(2) {
        assert_eq!(line["cause"], "stream_reset", "{line}");
        assert_eq!(line["attempts"], 3, "{line}");
    }
}

/// A server that holds its peer to `limit` streams, or to the limit that `lower` sets after the
/// first request, as strictly as it may: what is more is no mistake that can be sent again.
fn strict(limit: u32, lower: Option<u32>) -> Upstream {
    server(
        &[(setting::MAX_CONCURRENT_STREAMS, limit)],
        move |connection| {
            let mut limit = limit as usize;
            let mut answered = 0;
            let mut open = Vec::new();
            while let Some(frame) = connection.read() {
                match frame.kind {
                    kind::HEADERS if !open.contains(&frame.stream) => open.push(frame.stream),
                    kind::RST_STREAM => open.retain(|stream| *stream != frame.stream),
                    _ => {}
                }
                if open.len() > limit {
                    let stream = open.pop().unwrap();
                    connection.send(&Frame::reset(stream, code::PROTOCOL_ERROR));
                }
                let done = connection.messages.iter().find(|(_, m)| m.ended);
                if let Some((stream, body)) = done.map(|(stream, m)| (*stream, m.body.clone())) {
                    connection.messages.remove(&stream);
                    open.retain(|s| *s != stream);
                    if let Some(lower) = lower.filter(|_| answered == 0) {
                        limit = lower as usize;
                        connection.send(&Frame::settings(&[(
                            setting::MAX_CONCURRENT_STREAMS,
                            lower,
                        )]));
                    }
                    answered += 1;
                    echo(connection, stream, &body);
                }
            }
        },
    )
}

/// Opens streams at once, waits until the endpoint has so many connections, and ends the streams.
#[track_caller]
fn at_once(proxy: &Proxy, up: &Upstream, streams: usize, connections: usize) {
    let mut client = Client::connect(proxy.web());
    let opened: Vec<_> = (0..streams).map(|_| client.stream()).collect();
    let heads: Vec<_> = opened
        .iter()
        .map(|stream| Frame::headers(*stream, request("POST", "/", &[])))
        .collect();
    client.send_all(&heads);
    wait::until("the connections", || {
        (up.connections() >= connections).then_some(())
    });
    for stream in &opened {
        client.send(&Frame::data(*stream, *b"x").end_stream());
    }
    for stream in opened {
        let got = client.whole(stream);
        assert_eq!((got.status(), &*got.body), (200, &b"x"[..]), "{got:?}");
    }
    assert_eq!(up.connections(), connections);
    assert_flawless(proxy, streams);
}

#[test]
fn streams_beyond_the_limit_of_an_endpoint_get_a_connection_of_their_own() {
    let up = strict(2, None);
    let proxy = before(&[&up.address], "");
    at_once(&proxy, &up, 5, 3);
    // Beyond our own limit as well.
    let up = strict(100, None);
    let proxy = before(&[&up.address], "http2: { max_streams: 3 }");
    at_once(&proxy, &up, 6, 2);
}

#[test]
fn a_limit_that_is_lowered_later_holds() {
    let up = strict(10, Some(1));
    let proxy = before(&[&up.address], "");
    assert_eq!(client::get(proxy.web(), "/").status(), 200);
    // The new one begins with the first limit.
    at_once(&proxy, &up, 3, 2);
}

#[test]
fn a_connection_is_used_no_longer_than_it_may_be() {
    let up = server(&[], serve);
    let proxy = before(&[&up.address], "pool: { max_requests: 2 }");
    let mut client = Client::connect(proxy.web());
    // One under way does not keep others on its connection, nor do they end it.
    let held = client.open(request("POST", "/", &[]), false);
    let connections: Vec<_> = (0..5)
        .map(|_| client.get("/").get("x-connection").unwrap().to_owned())
        .collect();
    assert_eq!(connections, ["0", "1", "1", "2", "2"]);
    client.send(&Frame::data(held, *b"held").end_stream());
    let got = client.whole(held);
    assert_eq!(
        (&*got.body, got.get("x-connection")),
        (&b"held"[..], Some("0"))
    );
    assert_flawless(&proxy, 6);

    let up = server(&[], serve);
    let proxy = before(&[&up.address], "pool: { max_lifetime: 20ms }");
    let mut client = Client::connect(proxy.web());
    wait::until("the connection to be too old", || {
        let got = client.get("/");
        (got.get("x-connection") != Some("0")).then_some(())
    });
    wait::until("old connections to end", || (up.open() <= 1).then_some(()));
}

/// Breaks connections off within the request `/break`, after `frames`.
fn breaking(frames: impl Fn(u32) -> Vec<Frame> + Send + Sync + 'static) -> Upstream {
    server(&[], move |connection| {
        while let Some((stream, request)) = connection.request() {
            if request.get(":path") == Some("/break") {
                connection.send_all(&frames(stream));
                return;
            }
            echo(connection, stream, &request.body);
        }
    })
}

#[test]
fn a_connection_that_breaks_is_told_of_and_made_anew() {
    let up = breaking(|_| Vec::new());
    let proxy = before(&[&up.address], "");
    let mut http2 = Client::connect(proxy.web());
    // Twice, since a fresh connection that breaks is another matter than a kept one; the first POST
    // may have been processed, and neither it nor what cannot be sent again is.
    for (n, method) in ["POST", "GET", "POST"].into_iter().enumerate() {
        let stream = http2.open(request(method, "/break", &[]), true);
        assert_eq!(http2.whole(stream).status(), 502);
        let mut http1 = client::Client::connect(proxy.web());
        http1.send(client::request(method, "/break", &[], b""));
        assert_eq!(http1.response().status(), 502);
        assert_eq!(http2.get("/").status(), 200);
        let log = proxy.log_of(3 * (n + 1));
        let failed = log
            .iter()
            .filter(|line| line["cause"] == "connection_terminated");
        assert_eq!(failed.count(), 2 * (n + 1), "{log:?}");
    }
}

#[test]
fn an_answer_that_breaks_off_is_never_taken_for_whole() {
    let up = breaking(|stream| {
        vec![
            Frame::headers(stream, response(200, &[])),
            Frame::data(stream, *b"half"),
        ]
    });
    let proxy = before(&[&up.address], "");
    let mut http2 = Client::connect(proxy.web());
    // That it breaks off may come before the head has left, and takes its place then.
    let got = http2.get("/break");
    assert_eq!((got.ended, got.reset), (false, Some(code::INTERNAL_ERROR)));
    let mut http1 = client::Client::connect(proxy.web());
    let close = ["Connection: close"];
    http1.send(client::request("GET", "/break", &close, b""));
    let (answer, _) = http1.rest();
    let (whole, answer) = (answer.ends_with(b"0\r\n\r\n"), answer.escape_ascii());
    assert!(!whole, "{answer}");
    for line in proxy.log_of(2) {
        assert_eq!(line["cause"], "http_response_incomplete", "{line}");
    }
    assert_eq!(http2.get("/").status(), 200);
}

#[test]
fn dead_endpoints_are_passed_over() {
    let mut dead = Upstream::echo();
    dead.stop();
    let up = server(&[], serve);
    let proxy = before(&[&dead.address, &up.address], "");
    let mut client = Client::connect(proxy.web());
    for _ in 0..4 {
        assert_eq!(client.post("/", b"body").body, b"body");
    }
    assert_flawless(&proxy, 4);
    let proxy = before(&[&dead.address], "");
    assert_eq!(client::get(proxy.web(), "/").status(), 502);
    assert_eq!(proxy.log_of(1)[0]["cause"], "connection_refused");
}

/// A proxy whose tries take no longer than this.
fn impatient(endpoint: &Address) -> Proxy {
    Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0' }}]
routes: [{{ name: all, rules: [{{ timeouts: {{ backend_request: 200ms }}, backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, protocol: http2, endpoints: ['{endpoint}'] }}]"
    ))
}

#[test]
fn endpoints_that_do_not_speak_http2_are_told_of() {
    let http1 = Upstream::script(|peer| {
        peer.answer(400, b"what is that?");
    });
    let proxy = before(&[&http1.address], "");
    assert_eq!(client::get(proxy.web(), "/").status(), 502);
    assert_eq!(proxy.log_of(1)[0]["cause"], "http_protocol_error");
    // One that says nothing at all, to one request or several.
    let silent = Upstream::script(|peer| {
        peer.wait_end();
    });
    let proxy = impatient(&silent.address);
    let mut client = Client::connect(proxy.web());
    let streams = [(); 3].map(|()| client.open(request("GET", "/", &[]), true));
    for stream in streams {
        assert_eq!(client.whole(stream).status(), 504);
    }
    for line in proxy.log_of(3) {
        assert_eq!(line["cause"], "backend_request_timeout", "{line}");
    }
}
