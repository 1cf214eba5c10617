//! Clients that take nothing of what they asked for (S34), and as many of them as come at once
//! (decision 18).

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use socket2::SockRef;

use outrigger_tests::{
    client,
    frames::{Client, Frame, request, setting},
    proxy::Setup,
    upstream::Upstream,
    wait,
    wire::Address,
};

use super::bench::{Bench, memory, most_memory};

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
    let bench = Bench::with("stream_idle_timeout: 2s", large());
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

/// Streams that are open wide on a socket from which nothing is read: what is lined up for it
/// counts as memory of streams.
#[test]
fn a_socket_that_nobody_reads_holds_no_more_than_the_budget() {
    const STREAMS: u32 = 100;
    let bench = Bench::with_mesh("limits: { stream_buffers: 4MiB }", "", large());
    bench.attacked(|bench| {
        let clients: Vec<_> = (0..2)
            .map(|_| {
                let mut client = bench.client_with(&[(setting::INITIAL_WINDOW_SIZE, 0x7fff_ffff)]);
                client.wire.small_receive_buffer();
                client.send(&Frame::window_update(0, 0x7fff_0000));
                let get = |n| Frame::headers(2 * n + 1, request("GET", "/large", &[])).end_stream();
                client.send_all(&(0..STREAMS).map(get).collect::<Vec<_>>());
                client
            })
            .collect();
        // Its streams are what has to go, first those that have waited longest.
        wait::until("streams to be sent away", || {
            (bench.counted("stream_buffers_full") >= 10.0).then_some(())
        });
        drop(clients);
    });
}

/// What all stalled streams together may take.
const BUDGET: usize = 64 << 20;
/// What they and their endpoints' connections take beside payload at the worst moment, in a build
/// that is not optimised, and what the allocator holds free. Without a budget it would be six times as much.
const OTHERS: usize = 80 << 20;
const CONNECTIONS: usize = 50;
const STREAMS: usize = 100;
/// Of each stream.
const WINDOW: u32 = 16_384;

/// A back end that answers every connection with the beginning of a large response, as much as is
/// taken, and keeps it open: a few threads for thousands.
fn pouring() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    // Many connections come at once: they are to be queued and not to be tried again.
    SockRef::from(&listener).listen(4_096).unwrap();
    let address = listener.local_addr().unwrap();
    for _ in 0..8 {
        let listener = listener.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            let body = vec![b'x'; 8 * WINDOW as usize];
            while let Ok((stream, _)) = listener.accept() {
                kept.extend(pour(stream, &body));
            }
        });
    }
    address
}

fn pour(mut stream: TcpStream, body: &[u8]) -> Option<TcpStream> {
    let mut head = [0; 4_096];
    let mut length = 0;
    while !head[..length].ends_with(b"\r\n\r\n") {
        length += Some(stream.read(&mut head[length..]).ok()?).filter(|n| *n > 0)?;
    }
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n";
    stream.write_all(answer.as_bytes()).ok()?;
    stream.set_nonblocking(true).ok()?;
    let _ = stream.write(body);
    Some(stream)
}

#[test]
fn stalled_streams_of_many_connections_share_a_budget() {
    let ok = Upstream::fixed("ok");
    let descriptors = 2 * u32::try_from(CONNECTIONS * STREAMS).unwrap();
    let proxy = Setup::new(&format!(
        "listeners:\n  - {{ name: web, bind: '127.0.0.1:0', protocol: auto }}\n\
         routes:\n  - {{ name: all, rules: [{{ matches: [{{ path: {{ exact: /large }} }}], backends: [{{ cluster: large }}] }}, {{ backends: [{{ cluster: ok }}] }}] }}\n\
         clusters:\n  - {{ name: large, endpoints: ['{}'], pool: {{ max_connections: 10000, max_pending: 10000, pending_timeout: 1m }} }}\n\
         \x20 - {{ name: ok, endpoints: ['{}'] }}\n",
        pouring(),
        ok.address,
    ))
    .descriptors(descriptors)
    .start();
    let address = Address::from(proxy.web());
    assert_eq!(client::get(proxy.web(), "/").status(), 200);
    let before = memory(&proxy);
    let mut clients: Vec<_> = (0..CONNECTIONS / 10)
        .flat_map(|_| Stalled::ten(&address))
        .collect();
    let stalled: usize = clients.iter().map(|client| client.stalled).sum();
    assert!(stalled >= CONNECTIONS * STREAMS / 2, "{stalled}");
    // Other connections, and a live stream of each, go on.
    assert_eq!(Client::connect(address).get("/").body, b"ok");
    for Stalled { client, .. } in &mut clients {
        assert_eq!(client.get("/").body, b"ok");
    }
    assert_eq!(client::get(proxy.web(), "/").status(), 200);
    let most = most_memory(&proxy).saturating_sub(before);
    assert!(most < BUDGET + OTHERS, "{} MiB", most >> 20);
    // Once the burst has passed, all of it is inside, but for what the allocator holds in between.
    wait::until("the budget to hold with all that is beside payload", || {
        (memory(&proxy) < before + BUDGET + (16 << 20)).then_some(())
    });
    // What they took is given back.
    drop(clients);
    wait::until_within(Duration::from_secs(30), "its memory", || {
        (memory(&proxy) < before + BUDGET / 4).then_some(())
    });
}

/// A client that reads its socket, and none of whose streams may go on but one.
struct Stalled {
    client: Client,
    /// Streams that were not ended meanwhile.
    stalled: usize,
}

impl Stalled {
    /// So many at a time as a listening socket can queue the streams of.
    fn ten(address: &Address) -> Vec<Self> {
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..10)
                .map(|_| scope.spawn(|| Self::open(address)))
                .collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        })
    }

    /// Opens all streams but the one that is to live, and reads until each has its head and as much
    /// of its body as its window holds, or was reset.
    fn open(address: &Address) -> Self {
        let window = [(setting::INITIAL_WINDOW_SIZE, WINDOW)];
        let mut client = Client::connect_with(address.clone(), &window);
        client.refills = false;
        client.send(&Frame::window_update(0, 1 << 30));
        let streams: Vec<_> = (1..STREAMS).map(|_| client.stream()).collect();
        let get =
            |stream: &u32| Frame::headers(*stream, request("GET", "/large", &[])).end_stream();
        client.send_all(&streams.iter().map(get).collect::<Vec<_>>());
        let mut stalled = 0;
        for stream in streams {
            while client
                .message(stream)
                .is_none_or(|m| !m.is_done() && m.body.len() < WINDOW as usize)
            {
                client.frame();
            }
            stalled += usize::from(client.message(stream).is_some_and(|m| !m.is_done()));
        }
        Self { client, stalled }
    }
}
