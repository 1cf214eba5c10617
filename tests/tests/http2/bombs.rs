//! Headers that grow when they are decoded, and tables that grow with them (S33, S36).

use outrigger_tests::frames::{Block, Frame, code, flag, request, setting};

use super::bench::{Bench, calmed};

/// `cookie` with an empty value in the static table.
const COOKIE: usize = 32;

#[test]
fn many_fields_are_refused_and_the_connection_goes_on() {
    let bench = Bench::new();
    let seen = bench.up.count();
    let mut client = bench.client();
    for (name, block) in [
        ("crumbs", request("GET", "/", &[]).repeated(COOKIE, 200)),
        (
            "names",
            (0..200).fold(request("GET", "/", &[]), |block, n| {
                block.literal(format!("x-{n}"), "")
            }),
        ),
        (
            "a large value",
            request("GET", "/", &[]).literal("x-large", "x".repeat(70_000)),
        ),
    ] {
        let stream = client.stream();
        let block = Vec::from(block);
        let (first, rest) = block.split_at(block.len().min(16_384));
        let mut frames = vec![Frame::open_headers(stream, first).end_stream()];
        frames.extend(
            rest.chunks(16_384)
                .map(|part| Frame::continuation(stream, part)),
        );
        let last = frames.pop().unwrap().end_headers();
        frames.push(last);
        client.send_all(&frames);
        assert_eq!(client.whole(stream).status(), 431, "{name}");
    }
    assert_eq!(bench.up.count(), seen, "none of it reached the service");
    assert_eq!(client.get("/").status(), 200);
}

#[test]
fn as_many_fields_as_allowed_are_passed_on() {
    let bench = Bench::new();
    let mut client = bench.client();
    let block = request("GET", "/", &[]).literal("cookie", "a=1");
    let block = (0..100).fold(block, |block, n| block.literal("cookie", format!("c{n}=1")));
    let stream = client.open(block, true);
    assert_eq!(client.whole(stream).status(), 200);
    let requests = bench.up.requests();
    let cookie = requests.last().unwrap().field("cookie").unwrap();
    assert!(cookie.starts_with("a=1; c0=1; ") && cookie.ends_with("; c99=1"));
}

#[test]
fn a_byte_that_stands_for_kilobytes_ends_the_connection() {
    let bench = Bench::new();
    // 4 KiB in the table, 16,000 times.
    let value = "x".repeat(4_000);
    let bomb = request("GET", "/", &[])
        .insert("x", value)
        .repeated(62, 12_000);
    let bomb = [Frame::headers(1, bomb).end_stream()];
    // Crumbs: a byte each, which count 38.
    let crumbs = Vec::from(request("GET", "/", &[]).repeated(COOKIE, 60_000));
    let mut many = vec![Frame::open_headers(1, &crumbs[..16_384])];
    many.extend(
        crumbs[16_384..]
            .chunks(16_384)
            .map(|part| Frame::continuation(1, part)),
    );
    many.last_mut().unwrap().flags |= flag::END_HEADERS;
    for _ in 0..5 {
        bench.attacked(|bench| {
            calmed(bench, "http2_header_bomb", &bomb);
            calmed(bench, "http2_header_bomb", &many);
        });
    }
}

#[test]
fn trailers_are_held_to_the_same() {
    let bench = Bench::new();
    let trailers: [(&str, Block); 2] = [
        ("crumbs", Block::default().repeated(COOKIE, 200)),
        (
            "names",
            (0..200).fold(Block::default(), |block, n| {
                block.literal(format!("x-{n}"), "")
            }),
        ),
    ];
    for (name, block) in trailers {
        let mut client = bench.client();
        let stream = client.open(request("POST", "/", &[]), false);
        client.send_all(&[
            Frame::data(stream, *b"body"),
            Frame::headers(stream, block).end_stream(),
        ]);
        let message = client.whole(stream);
        let refused = message.reset.is_some() || message.status() == 431;
        assert!(refused, "{name}: {message:?}");
        assert_eq!(client.get("/").status(), 200);
    }
}

#[test]
fn our_table_stays_small_and_theirs_may_be_nothing() {
    let bench = Bench::new();
    let mut client = bench.client();
    client.get("/");
    let ours = client.settings.get(&setting::HEADER_TABLE_SIZE);
    assert!(ours.is_none_or(|size| *size <= 4_096), "{ours:?}");
    // A table that is made larger than we allow.
    let stream = client.stream();
    let block = Block::default().table_size(1 << 20);
    client.send(&Frame::headers(stream, block).end_stream());
    let (code, _) = client.goaway();
    assert!([code::COMPRESSION_ERROR, code::PROTOCOL_ERROR].contains(&code));

    // The kit's decoder holds the proxy to a table of nothing.
    let mut client = bench.client_with(&[(setting::HEADER_TABLE_SIZE, 0)]);
    for _ in 0..5 {
        let stream = client.open(request("GET", "/", &[]), true);
        assert_eq!(client.whole(stream).status(), 200);
    }
    // And a large one is not filled.
    let mut client = bench.client_with(&[(setting::HEADER_TABLE_SIZE, 64 << 20)]);
    bench.attacked(|_| {
        for n in 0..3_000 {
            assert_eq!(client.get(&format!("/{n}")).status(), 200);
        }
    });
}

#[test]
fn a_table_that_is_emptied_and_filled_again_costs_no_memory() {
    let bench = Bench::new();
    bench.attacked(|bench| {
        let mut client = bench.client();
        for n in 0..2_000 {
            // Both sizes are allowed, and so is to change them before every block.
            let block = Vec::from(Block::default().table_size(0).table_size(4_096));
            let fields = request("GET", "/", &[]).insert(format!("x-{n}"), "x".repeat(3_000));
            let block = [block, Vec::from(fields)].concat();
            let stream = client.stream();
            client.send(&Frame::headers(stream, block).end_stream());
            assert_eq!(client.whole(stream).status(), 200);
        }
    });
    // Sizes without a field between them, thousands in one block.
    let churn = (0..10_000).fold(Block::default(), |block, n| block.table_size(n % 2 * 16));
    bench.attacked(|bench| {
        for _ in 0..100 {
            let mut client = bench.client();
            client.open(churn.clone(), true);
            assert_eq!(client.goaway().0, code::COMPRESSION_ERROR);
        }
    });
}
