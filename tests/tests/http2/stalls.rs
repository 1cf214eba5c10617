//! Clients that take nothing of what they asked for (S34).

use outrigger_tests::{
    frames::{Frame, request, setting},
    upstream::Upstream,
    wait,
};

use super::bench::Bench;

/// A response that no window holds.
const LARGE: usize = 4 << 20;

fn large() -> Upstream {
    Upstream::script(|peer| {
        while let Some(request) = peer.request() {
            match request.target() {
                "/large" => peer.answer(200, &vec![b'x'; LARGE]),
                _ => peer.answer(200, b"ok"),
            };
        }
    })
}

#[test]
fn a_window_that_stays_shut_ends_its_stream() {
    let bench = Bench::with("stream_idle_timeout: 500ms", large());
    let mut client = bench.client_with(&[(setting::INITIAL_WINDOW_SIZE, 0)]);
    let streams: Vec<_> = (0..10)
        .map(|_| client.open(request("GET", "/large", &[]), true))
        .collect();
    for stream in &streams {
        let message = client.whole(*stream);
        assert!(message.reset.is_some(), "{message:?}");
        assert!(message.body.is_empty());
    }
    bench.blames("client_stalled", streams.len());
    wait::until("the service to be let go", || {
        (bench.up.open() <= 1).then_some(())
    });
    // A stream whose window opens goes on, on the same connection.
    let stream = client.open(request("GET", "/", &[]), true);
    client.head(stream);
    client.send(&Frame::window_update(stream, 100));
    assert_eq!(client.whole(stream).body, b"ok");
}

#[test]
fn a_window_that_opens_by_a_byte_at_a_time_is_no_progress_for_ever() {
    let bench = Bench::new();
    let mut client = bench.client_with(&[(setting::INITIAL_WINDOW_SIZE, 1)]);
    let stream = client.open(request("POST", "/", &[]), false);
    client.send_body(stream, &vec![b'x'; 20_000], true);
    client.refills = false;
    client.head(stream);
    bench.attacked(|bench| {
        let updates = vec![Frame::window_update(stream, 1); 20_000];
        super::bench::flood(&mut client, &updates);
        bench.blames("http2_control_flood", 1);
    });
}

#[test]
fn one_stalled_stream_does_not_hold_its_neighbours() {
    let bench = Bench::with("", large());
    let mut client = bench.client_with(&[(setting::INITIAL_WINDOW_SIZE, 65_535)]);
    client.refills = false;
    // The connection's window is wide; the stream's is used up.
    client.send(&Frame::window_update(0, 1 << 30));
    let stalled = client.open(request("GET", "/large", &[]), true);
    while client
        .message(stalled)
        .is_none_or(|m| m.body.len() < 65_535)
    {
        client.frame();
    }
    for _ in 0..50 {
        assert_eq!(client.get("/").body, b"ok");
    }
    let mut left = LARGE - 65_535;
    while left > 0 {
        let more = left.min(1 << 20);
        client.send(&Frame::window_update(stalled, u32::try_from(more).unwrap()));
        left -= more;
    }
    assert_eq!(client.whole(stalled).body.len(), LARGE);
}
