//! WebSocket where one side or both speak HTTP/2: `Upgrade` and extended CONNECT (RFC 8441) in
//! every pairing that is new, how they end, and how little one holds up its neighbours.

use std::sync::mpsc::{Receiver, channel};

use outrigger_tests::{
    client,
    frames::{Client, Connection, Frame, code, extended_connect, response, server, setting},
    proxy::Proxy,
    upstream::Upstream,
    wait::DEADLINE,
    websocket::{self, WebSocket},
    wire::End,
};

use super::towards;

/// What an endpoint sets that takes extended CONNECT.
pub(super) const OFFER: (u16, u32) = (setting::ENABLE_CONNECT_PROTOCOL, 1);
pub(super) const VERSION: (&str, &str) = ("sec-websocket-version", "13");

/// An endpoint that takes tunnels one after the other, and answers other requests with 200.
fn endpoint(
    settings: &[(u16, u32)],
    tunnel: impl Fn(&mut Connection, u32) + Send + Sync + 'static,
) -> Upstream {
    let settings = [&[OFFER], settings].concat();
    server(&settings, move |connection| {
        let mut last = 0;
        while let Some((stream, asked)) = connection.opening(last) {
            last = stream;
            if asked.get(":protocol").is_none() {
                connection.answer(stream, 200, &[], b"plain");
                continue;
            }
            let fields = asked.fields.iter().map(|(n, v)| format!("{n}={v}"));
            let saw = fields.collect::<Vec<_>>().join(" ");
            let head = response(200, &[("x-saw", &saw), ("sec-websocket-accept", "none")]);
            connection.send(&Frame::headers(stream, head));
            tunnel(connection, stream);
        }
    })
}

fn echoing() -> Upstream {
    endpoint(&[], |connection, stream| {
        connection.echo(stream);
    })
}

/// Opens a WebSocket on a stream.
#[track_caller]
pub(super) fn open(client: &mut Client, path: &str) -> u32 {
    let stream = client.open(extended_connect("websocket", path, &[VERSION]), false);
    assert_eq!(client.head(stream).status(), 200);
    stream
}

fn say(client: &mut Client, stream: u32, words: &str) {
    client.send_body(stream, &websocket::from_client(words), false);
    let answer = websocket::from_server(&format!("<{words}>"));
    assert!(client.exactly(stream, answer.len()) == answer, "{words}");
}

fn noise(n: usize) -> Vec<u8> {
    (0..n).map(|n| (n % 251) as u8).collect()
}

/// What a script on another thread had to say.
#[track_caller]
fn told<T>(from: &Receiver<T>) -> T {
    from.recv_timeout(DEADLINE).expect("a word of the endpoint")
}

#[test]
fn a_client_of_http2_talks_to_an_endpoint_of_http1() {
    let upstream = Upstream::script(websocket::serve);
    let proxy = towards("http1", &upstream.address);
    let mut client = Client::connect(proxy.web());
    let fields = [
        VERSION,
        ("sec-websocket-protocol", "chat"),
        ("sec-websocket-key", "my own"),
    ];
    let block = extended_connect("websocket", "/chat?a=b", &fields);
    let stream = client.open(block, false);
    let answer = client.head(stream);
    assert_eq!(answer.status(), 200);
    assert_eq!(client.settings[&setting::ENABLE_CONNECT_PROTOCOL], 1);
    for field in ["connection", "upgrade", "sec-websocket-accept"] {
        assert_eq!(answer.get(field), None, "{field}");
    }
    for n in 0..100 {
        say(&mut client, stream, &format!("hello {n}"));
    }
    say(&mut client, stream, &"x".repeat(60_000));
    let asked = upstream.requests().remove(0);
    assert_eq!((asked.method(), asked.target()), ("GET", "/chat?a=b"));
    assert_eq!(asked.field("host"), Some("a.example"));
    assert_eq!(asked.field("sec-websocket-protocol"), Some("chat"));
    assert_ne!(asked.field("sec-websocket-key"), Some("my own"));

    client.send(&Frame::data(stream, []).end_stream());
    assert_eq!(client.whole(stream).reset, None);
    let line = proxy.log_of(1).remove(0);
    assert_eq!(line["protocol"], "HTTP/2");
    assert_eq!(line["status"], 200);
    assert!(line["cause"].is_null(), "{line}");
    assert!(
        line["tunnel_received"].as_u64() > Some(60_000),
        "what the client sent in the tunnel: {line}"
    );
}

#[test]
fn a_client_of_http1_talks_to_an_endpoint_of_http2() {
    let upstream = echoing();
    let proxy = towards("http2", &upstream.address);
    let mut client = client::Client::connect(proxy.web());
    client.send(websocket::opening("/chat?a=b"));
    let answer = client.head();
    assert_eq!(answer.status(), 101, "{answer}");
    assert!(answer.has_token("connection", "upgrade"), "{answer}");
    assert!(answer.has_token("upgrade", "websocket"), "{answer}");
    let proofs = answer.fields.iter();
    let proofs: Vec<_> = proofs
        .filter(|f| f.name.eq_ignore_ascii_case("sec-websocket-accept"))
        .collect();
    assert_eq!(proofs.len(), 1, "{answer}");
    assert!(
        websocket::accepting().contains(&proofs[0].value),
        "the proof of our key: {answer}"
    );
    let saw = answer.field("x-saw").unwrap();
    for field in [
        ":method=CONNECT",
        ":protocol=websocket",
        ":scheme=http ",
        ":path=/chat?a=b",
        ":authority=a.example",
        "sec-websocket-version=13",
    ] {
        assert!(saw.contains(field), "{field} in {saw}");
    }
    for field in ["sec-websocket-key", "connection=", "upgrade="] {
        assert!(!saw.contains(field), "{field} in {saw}");
    }
    let mut socket = WebSocket(client);
    for n in 0..100 {
        assert_eq!(socket.say(&format!("hello {n}")), format!("hello {n}"));
    }
    let long = "x".repeat(60_000);
    assert_eq!(socket.say(&long), long);
    socket.0.wire.finish();
    assert_eq!(socket.0.expect_end(), End::Closed);
    assert_eq!(proxy.log_of(1)[0]["status"], 101);
}

#[test]
fn a_tunnel_is_a_stream_on_both_sides() {
    let upstream = echoing();
    let proxy = towards("http2", &upstream.address);
    let mut client = Client::connect(proxy.web());
    let block = extended_connect("websocket", "/chat", &[VERSION]);
    let stream = client.open(block, false);
    let answer = client.head(stream);
    assert_eq!(answer.status(), 200);
    let saw = answer.get("x-saw").unwrap();
    assert!(saw.contains(":protocol=websocket"), "{saw}");
    assert!(!saw.contains("sec-websocket-key"), "{saw}");
    let sent = noise(300_000);
    // The endpoint sends back while it reads, and so does its client.
    client.send_body(stream, &sent, true);
    let came = client.whole(stream);
    assert!(came.body == sent && came.reset.is_none());
}

/// A client need not wait for the grant, and neither does the endpoint for the client.
#[test]
fn what_is_sent_early_arrives() {
    let upstream = Upstream::script(|peer| {
        let asked = peer.head().unwrap();
        let key = asked.field("sec-websocket-key").unwrap();
        let mut both = websocket::accepting_key(key).into_bytes();
        both.extend(websocket::from_server("early bird"));
        peer.send(both);
        websocket::serve_open(peer);
    });
    let proxy = towards("http1", &upstream.address);
    let mut client = Client::connect(proxy.web());
    let stream = client.stream();
    let block = extended_connect("websocket", "/", &[VERSION]);
    let words = websocket::from_client("worm");
    client.send_all(&[Frame::headers(stream, block), Frame::data(stream, words)]);
    let answer = [
        websocket::from_server("early bird"),
        websocket::from_server("<worm>"),
    ];
    let answer = answer.concat();
    assert!(client.exactly(stream, answer.len()) == answer);
}

#[test]
fn each_way_ends_alone() {
    // The client first: what the endpoint says then still arrives.
    let one = Upstream::script(|peer| {
        let asked = peer.head().unwrap();
        peer.send(websocket::accepting_key(
            asked.field("sec-websocket-key").unwrap(),
        ));
        let all = peer.wait_end();
        peer.send(all);
    });
    let two = endpoint(&[], |connection, stream| {
        let all = connection.whole(stream).body;
        connection.send_body(stream, &all, true);
    });
    for (protocol, upstream) in [("http1", &one), ("http2", &two)] {
        let proxy = towards(protocol, &upstream.address);
        let mut client = Client::connect(proxy.web());
        let stream = open(&mut client, "/");
        client.send_body(stream, b"the last words", true);
        let came = client.whole(stream);
        assert_eq!((&*came.body, came.reset), (&b"the last words"[..], None));
        // The log knows of nothing that failed.
        assert!(proxy.log_of(1)[0]["cause"].is_null(), "{protocol}");
    }
    let proxy = towards("http2", &two.address);
    let mut socket = WebSocket::open(client::Client::connect(proxy.web()), "/");
    socket.0.send("the last words").wire.finish();
    assert_eq!(socket.0.rest(), (b"the last words".to_vec(), End::Closed));
}

#[test]
fn an_endpoint_that_ends_goes_on_reading() {
    let (tell, heard) = channel();
    let upstream = endpoint(&[], move |connection, stream| {
        connection.send_body(stream, b"bye", true);
        tell.send(connection.whole(stream)).unwrap();
    });
    let proxy = towards("http2", &upstream.address);
    let mut socket = WebSocket::open(client::Client::connect(proxy.web()), "/");
    assert_eq!(socket.0.rest(), (b"bye".to_vec(), End::Closed));
    socket.0.send("still here").wire.finish();
    let came = told(&heard);
    assert_eq!((&*came.body, came.reset), (&b"still here"[..], None));

    let mut client = Client::connect(proxy.web());
    let stream = open(&mut client, "/");
    assert_eq!(client.whole(stream).body, b"bye");
    client.send_body(stream, b"still here", true);
    let came = told(&heard);
    assert_eq!((&*came.body, came.reset), (&b"still here"[..], None));
}

#[test]
fn a_client_that_resets_is_a_reset_to_the_endpoint() {
    let (tell, ends) = channel();
    let one = Upstream::script(move |peer| {
        let asked = peer.head().unwrap();
        peer.send(websocket::accepting_key(
            asked.field("sec-websocket-key").unwrap(),
        ));
        tell.send(peer.wire.drain().1).unwrap();
    });
    let (tell, codes) = channel();
    let two = endpoint(&[], move |connection, stream| {
        tell.send(connection.whole(stream).reset).unwrap();
    });
    let proxy = towards("http1", &one.address);
    let mut client = Client::connect(proxy.web());
    let stream = open(&mut client, "/");
    client.send(&Frame::reset(stream, code::CANCEL));
    assert_eq!(told(&ends), End::Reset);
    assert_eq!(proxy.log_of(1)[0]["cause"], "client_gone");

    let proxy = towards("http2", &two.address);
    let mut client = Client::connect(proxy.web());
    let stream = open(&mut client, "/");
    client.send(&Frame::reset(stream, code::INTERNAL_ERROR));
    assert_eq!(told(&codes), Some(code::CANCEL));
    assert_eq!(client.get("/").body, b"plain", "the connection goes on");

    let socket = WebSocket::open(client::Client::connect(proxy.web()), "/");
    socket.0.wire.reset();
    assert_eq!(told(&codes), Some(code::CANCEL));
    assert_eq!(upstream_connections(&proxy), 1);
}

#[test]
fn an_endpoint_that_resets_is_a_reset_to_the_client() {
    let one = Upstream::script(|peer| {
        let asked = peer.head().unwrap();
        peer.send(websocket::accepting_key(
            asked.field("sec-websocket-key").unwrap(),
        ));
        peer.exactly(1).unwrap();
        peer.reset();
    });
    let two = endpoint(&[], |connection, stream| {
        connection.exactly(stream, 1);
        connection.send(&Frame::reset(stream, code::INTERNAL_ERROR));
    });
    for (protocol, upstream) in [("http1", &one), ("http2", &two)] {
        let proxy = towards(protocol, &upstream.address);
        let mut client = Client::connect(proxy.web());
        let stream = open(&mut client, "/");
        client.send_body(stream, b"x", false);
        assert_eq!(client.whole(stream).reset, Some(code::CANCEL), "{protocol}");
        assert_eq!(proxy.log_of(1)[0]["cause"], "connection_terminated");
    }
    let proxy = towards("http2", &two.address);
    let mut socket = WebSocket::open(client::Client::connect(proxy.web()), "/");
    socket.0.send("x");
    assert_eq!(socket.0.expect_end(), End::Reset);
}

fn upstream_connections(proxy: &Proxy) -> usize {
    let metrics = proxy.metrics();
    metrics.sum("outrigger_upstream_connections_total", &[]) as usize
}

/// The tunnel's receiver takes a thousand bytes and then none for a while, its sender has sent all
/// that it may: on the same two connections a request goes through.
#[test]
fn a_tunnel_that_is_stuck_holds_up_no_neighbour() {
    let sent = noise(400_000);
    let expected = sent.clone();
    let small = [(setting::INITIAL_WINDOW_SIZE, 1_000)];
    let upstream = endpoint(&small, move |connection, stream| {
        connection.refills = false;
        let (neighbour, _) = connection.opening(stream).unwrap();
        assert!(connection.messages[&stream].body.len() <= 1_000);
        connection.answer(neighbour, 200, &[], b"passed by");
        connection.refills = true;
        let came = connection.exactly(stream, 1_000);
        connection.refill(stream, 1_000);
        let rest = connection.exactly(stream, expected.len() - came.len());
        assert!([came, rest].concat() == expected);
        assert!(connection.send_body(stream, &expected, true));
    });
    let proxy = towards("http2", &upstream.address);
    let mut client = Client::connect_with(proxy.web(), &small);
    let stream = open(&mut client, "/");
    let room = usize::try_from(client.window(stream)).unwrap();
    assert!(room < sent.len());
    client.send_body(stream, &sent[..room], false);
    assert_eq!(client.get("/").body, b"passed by");
    // All the same the other way, by windows of a thousand bytes.
    client.send_body(stream, &sent[room..], true);
    let came = client.whole(stream);
    assert!(came.body == sent && came.reset.is_none());
    assert_eq!(upstream_connections(&proxy), 1);
}
