//! Endpoints that flood us: they lose their connection, the request says why, and nobody else
//! notices.

use outrigger_tests::{
    frames::{Block, Connection, Frame, code, flag, kind, response, server},
    upstream::Upstream,
    wait,
};

use super::bench::{Bench, memory};

/// What an endpoint sends on the stream of a request.
type Flood = fn(u32) -> Vec<Frame>;

const FLOODS: [(&str, Flood); 9] = [
    ("PING", |_| vec![Frame::ping(*b"whatever"); 20_000]),
    ("acknowledged PING", |_| {
        vec![Frame::new(kind::PING, flag::ACK, 0, *b"whatever"); 20_000]
    }),
    ("SETTINGS", |_| vec![Frame::settings(&[]); 20_000]),
    ("WINDOW_UPDATE", |_| {
        vec![Frame::window_update(0, 1); 50_000]
    }),
    ("PRIORITY", |stream| vec![Frame::priority(stream); 20_000]),
    ("unknown types", |_| {
        vec![Frame::new(0xfa, 0, 0, *b"grease"); 20_000]
    }),
    ("empty DATA", |stream| {
        let head = Frame::headers(stream, response(200, &[]));
        let mut frames = vec![head];
        frames.resize(20_000, Frame::data(stream, []));
        frames
    }),
    ("CONTINUATION", |stream| {
        let mut frames = vec![Frame::open_headers(stream, response(200, &[]))];
        frames.resize(20_000, Frame::continuation(stream, []));
        frames
    }),
    ("fields that grow when they are decoded", |stream| {
        let bomb = response(200, &[]).insert("x", "x".repeat(4_000));
        let bomb: Block = bomb.repeated(62, 12_000);
        vec![Frame::headers(stream, bomb).end_stream()]
    }),
];

/// Floods whoever asks for `/flood/N`, and answers everything else.
fn flooding() -> Upstream {
    server(&[], |connection: &mut Connection| {
        while let Some((stream, request)) = connection.request() {
            let path = request.get(":path").unwrap();
            match path.strip_prefix("/flood/") {
                Some(n) => {
                    let (_, flood) = FLOODS[n.parse::<usize>().unwrap()];
                    for some in flood(stream).chunks(1_000) {
                        if connection.try_send(some).is_err() {
                            break;
                        }
                    }
                }
                None => {
                    connection.answer(stream, 200, &[], b"ok");
                }
            }
        }
    })
}

#[test]
fn an_endpoint_that_floods_loses_its_connection_and_is_blamed() {
    // Of neighbours on the same connection nothing can be promised: they are asked for apart.
    let bench = Bench::towards("protocol: http2", flooding());
    assert_eq!(bench.client().get("/warm").status(), 200);
    let before = memory(&bench.proxy);
    for (n, (name, _)) in FLOODS.iter().enumerate() {
        let mut client = bench.client();
        let answer = client.get(&format!("/flood/{n}"));
        match answer.reset {
            // Where a head had gone on.
            Some(reset) => assert_eq!(reset, code::INTERNAL_ERROR, "{name}"),
            None => assert_eq!(answer.status(), 502, "{name}"),
        }
        wait::until(&format!("{name} to be counted"), || {
            (bench.counted("http2_upstream_flood") >= (n + 1) as f64).then_some(())
        });
        // The client's connection goes on, and the endpoint is tried anew.
        assert_eq!(client.get("/").body, b"ok", "{name}");
    }
    let blamed = wait::until("all of it in the log", || {
        let log = bench.proxy.log();
        let blamed = log.iter().filter(|l| l["cause"] == "http2_upstream_flood");
        Some(blamed.count()).filter(|n| *n >= FLOODS.len())
    });
    assert_eq!(blamed, FLOODS.len());
    let grown = memory(&bench.proxy).saturating_sub(before);
    assert!(grown < 10 << 20, "it took {} KiB", grown >> 10);
}
