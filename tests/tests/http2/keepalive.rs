//! Endpoints that say nothing: asked by PING whether they are alive where a cluster wants that.

use outrigger_tests::{
    client,
    frames::{Client, Connection, flag, kind, request, server},
    wait,
};

use super::before;

/// Reads until the proxy asked for a sign of life so many times. What measures windows comes only
/// with bodies.
fn asked(connection: &mut Connection, times: usize) {
    for _ in 0..times {
        while connection.expect(kind::PING).has(flag::ACK) {}
    }
}

#[test]
fn an_endpoint_that_answers_pings_may_be_silent_for_as_long_as_it_likes() {
    let up = server(&[], |connection| {
        let (stream, _) = connection.request().unwrap();
        // Silence, but for what is answered by itself.
        asked(connection, 10);
        connection.answer(stream, 200, &[], b"at last");
        connection.end();
    });
    let keepalive = "http2_keepalive: { interval: 50ms, timeout: 2s }";
    let proxy = before(&[&up.address], keepalive);
    assert_eq!(client::get(proxy.web(), "/").body, b"at last");
    assert!(proxy.log_of(1)[0]["cause"].is_null());
    assert_eq!(up.connections(), 1);
}

#[test]
fn one_that_does_not_is_left() {
    let up = server(&[], |connection| {
        if connection.index > 0 {
            while let Some((stream, _)) = connection.request() {
                connection.answer(stream, 200, &[], b"anew");
            }
            return;
        }
        connection.pongs = false;
        connection.end();
        let pings = connection.seen.iter().filter(|f| f.kind == kind::PING);
        assert_eq!(pings.count(), 1, "{:?}", connection.seen);
    });
    let keepalive = "http2_keepalive: { interval: 50ms, timeout: 1s }";
    let proxy = before(&[&up.address], keepalive);
    let mut client = Client::connect(proxy.web());
    let streams = [(); 3].map(|()| client.open(request("GET", "/", &[]), true));
    for stream in streams {
        assert_eq!(client.whole(stream).status(), 502);
    }
    for line in proxy.log_of(3) {
        assert_eq!(line["cause"], "http2_keepalive_timeout", "{line}");
        assert_eq!(line["attempts"], 1, "it may have been processed: {line}");
    }
    assert_eq!(client.get("/").body, b"anew");
}

#[test]
fn one_that_dies_while_nobody_asks_it_for_anything_is_found_out() {
    let up = server(&[], |connection| {
        let (stream, _) = connection.request().unwrap();
        connection.answer(stream, 200, &[], b"last words");
        connection.pongs = connection.index > 0;
        connection.end();
    });
    let keepalive = "http2_keepalive: { interval: 50ms, timeout: 1s }";
    let proxy = before(&[&up.address], keepalive);
    let mut client = Client::connect(proxy.web());
    assert_eq!(client.get("/").status(), 200);
    wait::until("the dead connection to be closed", || {
        (up.open() == 0).then_some(())
    });
    assert_eq!(client.get("/").status(), 200);
    assert_eq!(up.connections(), 2);
}
