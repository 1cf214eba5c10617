//! CONNECT over HTTP/2, and what bounds a tunnel on a stream: idle time, memory, the end of the
//! process.

use std::sync::mpsc::channel;

use outrigger_tests::{
    frames::{Client, Frame, code, connect, response, server, setting},
    process::Signal,
    proxy::{Proxy, Setup},
    upstream::Upstream,
    wait::{self, DEADLINE},
    websocket,
    wire::{Address, End},
};

use super::{
    towards,
    websocket::{OFFER, open},
};

fn config(http: &str, protocol: &str, endpoint: &Address) -> String {
    format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', {http} }}]
routes: [{{ name: db, hosts: [db.example], rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, protocol: {protocol}, endpoints: ['{endpoint}'] }}]"
    )
}

fn connecting(protocol: &str, endpoint: &Address) -> Proxy {
    Proxy::start(&config("http: { connect: true }", protocol, endpoint))
}

/// As over HTTP/1: it leads to the endpoint's socket, whatever is spoken there.
#[test]
fn connect_leads_to_the_endpoint_itself() {
    for protocol in ["http1", "http2", "auto"] {
        let upstream = Upstream::script(|peer| {
            peer.send("hello\n");
            let all = peer.wait_end();
            peer.send(all);
        });
        let proxy = connecting(protocol, &upstream.address);
        let mut client = Client::connect(proxy.web());
        let stream = client.open(connect("db.example:5432", &[]), false);
        let answer = client.head(stream);
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.fields.len(), 1, "{answer:?}");
        assert_eq!(client.exactly(stream, 6), b"hello\n");
        let sent: Vec<u8> = (0..300_000_usize).map(|n| (n % 251) as u8).collect();
        client.send_body(stream, &sent, true);
        let came = client.whole(stream);
        assert!(came.body == sent && came.reset.is_none());
        let line = proxy.log_of(1).remove(0);
        assert_eq!(
            (&line["method"], &line["status"]),
            (&"CONNECT".into(), &200.into())
        );
        assert_eq!(line["tunnel_received"], 300_000);
        assert_eq!(line["tunnel_sent"], 300_006);
    }
}

#[test]
fn connect_obeys_what_it_obeys_over_http1() {
    let upstream = Upstream::fixed("ok");
    let proxy = connecting("http1", &upstream.address);
    let refusing = Proxy::start(&config("protocol: http", "http1", &upstream.address));
    let cases = [
        (&proxy, "other.example:443", 404, "route_not_found"),
        (&refusing, "db.example:5432", 405, "connect_not_allowed"),
    ];
    for (proxy, authority, status, cause) in cases {
        let mut client = Client::connect(proxy.web());
        let stream = client.open(connect(authority, &[]), false);
        assert_eq!(client.whole(stream).status(), status);
        assert_eq!(proxy.log_of(1)[0]["cause"], cause);
    }
    assert_eq!(upstream.connections(), 0);

    let mut gone = Upstream::fixed("never");
    let proxy = connecting("http1", &gone.address);
    gone.stop();
    let mut client = Client::connect(proxy.web());
    let stream = client.open(connect("db.example:1", &[]), false);
    assert_eq!(client.whole(stream).status(), 502);
}

/// RFC 9113 section 8.5: a reset of either is one of the other.
#[test]
fn resets_of_a_connect_go_through() {
    let (tell, ends) = channel();
    let upstream = Upstream::script(move |peer| match &*peer.exactly(1).unwrap() {
        b"r" => peer.reset(),
        _ => tell.send(peer.wire.drain().1).unwrap(),
    });
    let proxy = connecting("http1", &upstream.address);
    let mut client = Client::connect(proxy.web());
    let stream = client.open(connect("db.example:1", &[]), false);
    client.send_body(stream, b"r", false);
    assert_eq!(client.whole(stream).reset, Some(code::CONNECT_ERROR));
    assert_eq!(proxy.log_of(1)[0]["cause"], "connection_terminated");

    let stream = client.open(connect("db.example:1", &[]), false);
    client.send_body(stream, b"w", false);
    client.head(stream);
    client.send(&Frame::reset(stream, code::CANCEL));
    assert_eq!(ends.recv_timeout(DEADLINE).unwrap(), End::Reset);
    assert_eq!(proxy.log_of(2)[1]["cause"], "client_gone");
}

/// Nothing but DATA belongs on the stream of a tunnel.
#[test]
fn fields_behind_a_tunnel_break_it() {
    let upstream = Upstream::script(websocket::serve);
    let proxy = towards("http1", &upstream.address);
    let mut client = Client::connect(proxy.web());
    let stream = open(&mut client, "/");
    let trailers = outrigger_tests::frames::Block::of(&[("x-late", "1")]);
    client.send(&Frame::headers(stream, trailers).end_stream());
    assert_eq!(client.whole(stream).reset, Some(code::PROTOCOL_ERROR));
    wait::until("the endpoint to see the end", || {
        (upstream.open() == 0).then_some(())
    });
}

#[test]
fn an_idle_tunnel_ends() {
    let upstream = Upstream::script(websocket::serve);
    let text = config("idle_timeout: 300ms", "http1", &upstream.address);
    let proxy = Proxy::start(&text.replace("hosts: [db.example], ", ""));
    let mut client = Client::connect(proxy.web());
    let stream = open(&mut client, "/");
    assert_eq!(client.whole(stream).reset, Some(code::CANCEL));
    assert_eq!(proxy.log_of(1)[0]["cause"], "idle_timeout");
    assert_eq!(upstream_ends(&upstream), 0);
}

fn upstream_ends(upstream: &Upstream) -> usize {
    wait::until("the endpoint to see the end", || {
        (upstream.open() == 0).then_some(0)
    })
}

/// The process leaves: who is in a tunnel has until the deadline.
#[test]
fn a_tunnel_is_cut_at_the_end_of_the_drain() {
    let upstream = Upstream::script(websocket::serve);
    let text = config("direction: inbound", "http1", &upstream.address);
    let mut proxy = Setup::new(&text.replace("hosts: [db.example], ", ""))
        .mesh("drain: { grace: 0s, deadline: 1s }")
        .start();
    let mut client = Client::connect(proxy.web());
    let stream = open(&mut client, "/");
    proxy.signal(Signal::Term);
    // It is told, and goes on.
    let goaway = client.expect(outrigger_tests::frames::kind::GOAWAY);
    assert_eq!(goaway.number(4), code::NO_ERROR);
    client.send_body(stream, &websocket::from_client("x"), false);
    let answer = websocket::from_server("<x>");
    assert_eq!(client.exactly(stream, answer.len()), answer);
    client.end();
    assert!(!client.message(stream).unwrap().ended, "it was cut");
    assert_eq!(proxy.process.exit().code(), Some(3));
    assert_eq!(proxy.log_of(1)[0]["cause"], "draining");
}

/// `limits.stream_buffers`: what came and waits for receivers that take nothing is bounded over all
/// streams. Those that are beyond it are reset, the others and their connections go on.
#[test]
fn tunnels_that_are_stuck_stay_within_the_memory_for_streams() {
    const TUNNELS: u32 = 40;
    let small = [OFFER, (setting::INITIAL_WINDOW_SIZE, 1)];
    let upstream = server(&small, |connection| {
        connection.refills = false;
        let mut last = 0;
        while let Some((stream, asked)) = connection.opening(last) {
            last = stream;
            if asked.get(":protocol").is_none() {
                connection.answer(stream, 204, &[], b"");
            } else {
                connection.send(&Frame::headers(stream, response(200, &[])));
            }
        }
    });
    let proxy = Setup::new(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0' }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, protocol: http2, endpoints: ['{}'] }}]",
        upstream.address
    ))
    .mesh("limits: { stream_buffers: 1MiB }")
    .start();
    let mut client = Client::connect(proxy.web());
    let streams: Vec<_> = (0..TUNNELS).map(|_| open(&mut client, "/")).collect();
    for stream in &streams {
        let room = usize::try_from(client.window(*stream).min(client.window(0))).unwrap();
        client.send_body(*stream, &vec![7; room.min(65_535)], false);
    }
    // 1 MiB holds sixteen windows.
    let lost = wait::until("tunnels beyond the bound to be reset", || {
        client.get("/");
        let lost = |s: &&u32| client.message(**s).unwrap().reset.is_some();
        let lost = streams.iter().filter(lost).count();
        (lost >= TUNNELS as usize - 16).then_some(lost)
    });
    assert!(lost < TUNNELS as usize - 10, "{lost} of {TUNNELS}");
    wait::until("their lines in the log", || {
        let lines = proxy.log();
        let full = lines.iter().filter(|l| l["cause"] == "stream_buffers_full");
        (full.count() >= lost).then_some(())
    });
}
