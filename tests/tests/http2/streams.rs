//! Streams that are over, streams that should not be, and thousands of them (S37, S38).

use outrigger_tests::frames::{Block, Frame, code, kind, request, setting};

use super::bench::{Bench, flood};

#[test]
fn frames_of_a_stream_that_was_reset_do_nothing() {
    let bench = Bench::new();
    let mut client = bench.client();
    let stream = client.open(request("POST", "/zombie", &[]), false);
    client.send(&Frame::data(stream, *b"alive "));
    assert_eq!(client.get("/").status(), 200);
    let bytes = bench.up.bytes();
    client.send_all(&[
        Frame::reset(stream, code::CANCEL),
        Frame::data(stream, *b"a voice from beyond"),
        Frame::window_update(stream, 1_000),
        Frame::priority(stream),
        Frame::headers(stream, Block::of(&[("x-trailer", "t")])).end_stream(),
        Frame::reset(stream, code::CANCEL),
    ]);
    // Where the connection does not end for it, it goes on as if nothing had come.
    let ended = client.try_send(&[Frame::ping(*b"still on")]).is_err() || {
        loop {
            match client.read() {
                None => break true,
                Some(frame) if frame.kind == kind::GOAWAY => break true,
                Some(frame) if frame.kind == kind::PING => break false,
                Some(_) => {}
            }
        }
    };
    if !ended {
        assert_eq!(client.get("/").status(), 200);
    }
    assert_eq!(bench.client().get("/").status(), 200);
    let zombies = bench.up.requests();
    assert!(zombies.iter().all(|r| r.target() != "/zombie"));
    // Nothing of the body that came too late: two more requests and no more.
    let sent = bench.up.bytes() - bytes;
    assert!(sent < 1_000, "{sent} bytes reached the service");
}

#[test]
fn trailers_that_do_not_end_their_stream_are_a_mistake() {
    let bench = Bench::new();
    let mut client = bench.client();
    let stream = client.open(request("POST", "/", &[]), false);
    client.send_all(&[
        Frame::data(stream, *b"body"),
        Frame::headers(stream, Block::of(&[("x-trailer", "t")])),
        Frame::data(stream, *b"more").end_stream(),
    ]);
    let refused = loop {
        match client.read() {
            None => break true,
            Some(frame) if frame.kind == kind::GOAWAY => break true,
            Some(frame) if frame.kind == kind::RST_STREAM => break true,
            Some(_) if client.message(stream).is_some_and(|m| m.ended) => {
                break client.whole(stream).status() == 400;
            }
            Some(_) => {}
        }
    };
    assert!(refused);
    assert_eq!(bench.client().get("/").status(), 200);
    assert!(bench.up.requests().iter().all(|r| r.body != b"bodymore"));
}

#[test]
fn more_streams_than_allowed_are_refused_and_no_others() {
    let bench = Bench::new();
    let mut client = bench.client();
    client.get("/");
    let most = client.settings[&setting::MAX_CONCURRENT_STREAMS];
    assert!((16..=1_000).contains(&most), "{most}");
    let opened: Vec<_> = (0..most + 20)
        .map(|_| client.open(request("POST", "/", &[]), false))
        .collect();
    let (kept, refused) = opened.split_at(most as usize);
    for stream in refused {
        assert_eq!(client.whole(*stream).reset, Some(code::REFUSED_STREAM));
    }
    for stream in kept {
        client.send(&Frame::data(*stream, *b"ok").end_stream());
    }
    for stream in kept {
        assert_eq!(client.whole(*stream).body, b"ok");
    }
}

#[test]
fn the_last_of_many_streams_costs_what_the_first_did() {
    const BATCH: usize = 1_000;
    const BATCHES: usize = 10;
    let bench = Bench::new();
    let mut client = bench.client();
    let mut spent = Vec::new();
    for _ in 0..BATCHES {
        let before = bench.ticks();
        for _ in 0..BATCH / 50 {
            // Half of them are cancelled, so that both ways to end are in it.
            let streams: Vec<_> = (0..50)
                .map(|_| client.open(request("POST", "/", &[]), false))
                .collect();
            for (n, stream) in streams.iter().enumerate() {
                let last = match n % 2 {
                    0 => Frame::data(*stream, *b"x").end_stream(),
                    _ => Frame::reset(*stream, code::CANCEL),
                };
                client.send(&last);
            }
            for stream in streams.iter().step_by(2) {
                assert_eq!(client.whole(*stream).status(), 200);
            }
        }
        spent.push(bench.ticks() - before);
    }
    let (early, late) = spent.split_at(BATCHES / 2);
    let (early, late): (u64, u64) = (early.iter().sum(), late.iter().sum());
    // In hundredths of a second; a quadratic path would make it three times as much.
    assert!(late <= 2 * early + 10, "{spent:?}");
}

#[test]
fn ids_that_go_back_or_belong_to_servers_end_the_connection() {
    let bench = Bench::new();
    let get = |stream| Frame::headers(stream, request("GET", "/", &[])).end_stream();
    for frames in [[get(2), get(4)], [get(5), get(4)]] {
        let (code, _) = flood(&mut bench.client(), &frames);
        assert_eq!(code, code::PROTOCOL_ERROR);
    }
    assert_eq!(bench.client().get("/").status(), 200);
}
