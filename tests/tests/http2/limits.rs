//! Every limit of floods is what the configuration says: a small one is reached by what the usual
//! one lets pass, and a large one lets pass what the usual one does not.

use outrigger_tests::{
    frames::{Client, Frame, Message, code, kind, request, server},
    upstream::Upstream,
    wait,
};

use super::bench::Bench;

/// Within the burst of every usual limit, and beyond that of the smallest one that can be set.
const FEW: usize = 40;
/// Beyond every usual one.
const MANY: usize = 5_000;

fn open(stream: u32) -> Frame {
    Frame::headers(stream, request("POST", "/", &[]))
}

/// The setting, and what counts against it, so many times.
fn cases(times: usize) -> Vec<(&'static str, Vec<Frame>)> {
    let stream = |n: usize| 2 * u32::try_from(n).unwrap() + 1;
    let repeated = |frame: Frame| vec![frame; times];
    let opened = |frame: Frame| [vec![open(1)], vec![frame; times]].concat();
    let resets = (0..2 * times).flat_map(|n| {
        let stream = stream(n);
        [open(stream), Frame::reset(stream, code::CANCEL)]
    });
    let provoked = (0..2 * times).flat_map(|n| {
        let stream = stream(n);
        [open(stream), Frame::window_update(stream, 0)]
    });
    vec![
        ("http2_resets: RATE", resets.collect()),
        ("http2_provoked_resets: RATE", provoked.collect()),
        (
            "http2: { frames: { empty_data: RATE } }",
            opened(Frame::data(1, [])),
        ),
        (
            "http2: { frames: { settings: RATE } }",
            repeated(Frame::settings(&[])),
        ),
        (
            "http2: { frames: { pings: RATE } }",
            repeated(Frame::ping(*b"whatever")),
        ),
        (
            "http2: { frames: { priorities: RATE } }",
            repeated(Frame::priority(1)),
        ),
        (
            "http2: { frames: { window_updates: RATE } }",
            repeated(Frame::window_update(0, 1)),
        ),
        (
            "http2: { frames: { others: RATE } }",
            repeated(Frame::new(0xfa, 0, 0, *b"grease")),
        ),
    ]
}

/// Whether the proxy takes all of these, and then serves a request.
fn passes(client: &mut Client, frames: &[Frame]) -> bool {
    const LAST: u32 = 1_000_001;
    let get = Frame::headers(LAST, request("GET", "/", &[])).end_stream();
    // It has been read to here when the answer comes, and what it did wrong was dealt with before.
    let sent = frames.chunks(500).try_for_each(|some| {
        client.try_send(&[some, &[Frame::ping(*b"read it!")]].concat())?;
        while let Some(frame) = client.read() {
            if frame.kind == kind::PING && frame.payload == *b"read it!" {
                break;
            }
        }
        Ok::<_, std::io::Error>(())
    });
    if sent.and_then(|()| client.try_send(&[get])).is_err() {
        return false;
    }
    while !client.message(LAST).is_some_and(Message::is_done) {
        if client.read().is_none() {
            return false;
        }
    }
    client
        .message(LAST)
        .is_some_and(|m| m.get(":status") == Some("200"))
}

#[test]
fn every_limit_of_a_listener_is_the_one_that_is_set() {
    let usual = Bench::new();
    for ((setting, few), (_, many)) in cases(FEW).into_iter().zip(cases(MANY)) {
        assert!(passes(&mut usual.client(), &few), "{setting}: usual, few");
        assert!(
            !passes(&mut usual.client(), &many),
            "{setting}: usual, many"
        );
        let set = |rate: &str| Bench::with(&setting.replace("RATE", rate), Upstream::echo());
        let small = set("{ burst: 10, per_second: 1 }");
        assert!(!passes(&mut small.client(), &few), "{setting}: small");
        let large = set("{ burst: 1000000, per_second: 1000000 }");
        assert!(passes(&mut large.client(), &many), "{setting}: large");
    }
}

#[test]
fn trusted_proxies_may_send_ten_times_as_much() {
    let rate = "http2: { frames: { pings: { burst: 10, per_second: 1 } } }";
    let trusted = format!("trusted_proxies: [127.0.0.1], {rate}");
    let bench = Bench::with(&trusted, Upstream::echo());
    let pings = |times| vec![Frame::ping(*b"whatever"); times];
    assert!(passes(&mut bench.client(), &pings(80)));
    assert!(!passes(&mut bench.client(), &pings(1_000)));
}

#[test]
fn an_endpoint_is_held_to_ten_times_what_its_cluster_says() {
    let up = server(&[], |connection| {
        while let Some((stream, request)) = connection.request() {
            let pings = request.get("x-pings").unwrap().parse().unwrap();
            let _ = connection.try_send(&vec![Frame::ping(*b"whatever"); pings]);
            connection.answer(stream, 200, &[], b"ok");
        }
    });
    let rate = "http2: { frames: { pings: { burst: 20, per_second: 1 } } }";
    let bench = Bench::towards(&format!("protocol: http2, {rate}"), up);
    let mut client = bench.client();
    let mut ask = |pings: &str| {
        let stream = client.open(request("GET", "/", &[("x-pings", pings)]), true);
        client.whole(stream).status()
    };
    assert_eq!(ask("100"), 200);
    assert_eq!(ask("2000"), 502);
    wait::until("the cause to be counted", || {
        (bench.counted("http2_upstream_flood") >= 1.0).then_some(())
    });
    // The next one has a new connection.
    assert_eq!(ask("0"), 200);
}
