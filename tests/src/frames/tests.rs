//! The kit against the h2 crate as the other end.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};

use super::*;
use crate::wire::End;

/// A server of the h2 crate that answers each request with its own body, its path in a field and
/// in a trailer. It ends with the test's process.
fn h2_server() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::task::spawn_local(async move {
                    let mut connection = h2::server::Builder::new()
                        .max_concurrent_streams(100)
                        .handshake::<_, Bytes>(stream)
                        .await
                        .unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::task::spawn_local(echo(request, respond));
                    }
                });
            }
        });
    });
    address
}

async fn echo(
    request: Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
) -> Option<()> {
    let path = request.uri().path().to_owned();
    let mut body = request.into_body();
    let early = Response::builder().status(103).body(()).unwrap();
    respond.send_informational(early).ok()?;
    let head = Response::builder()
        .header("x-path", &path)
        .body(())
        .unwrap();
    let mut stream = respond.send_response(head, false).ok()?;
    while let Some(Ok(mut data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).ok()?;
        while !data.is_empty() {
            stream.reserve_capacity(data.len());
            let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await?;
            let room = room.ok()?.min(data.len());
            stream.send_data(data.split_to(room), false).ok()?;
        }
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-after", path.parse().unwrap());
    stream.send_trailers(trailers).ok()
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

#[test]
fn a_client_is_understood_and_understands() {
    let mut client = Client::connect(h2_server());
    let got = client.get("/some/where");
    assert_eq!(
        (got.status(), got.get("x-path")),
        (200, Some("/some/where"))
    );
    assert_eq!(got.interim.len(), 1);
    let after = Some(vec![("x-after".to_owned(), "/some/where".to_owned())]);
    assert_eq!(got.trailers, after);
    // Further than any window reaches, both ways.
    let body: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let got = client.post("/large", &body);
    assert!(got.body == body);
    assert_eq!(client.settings[&setting::MAX_CONCURRENT_STREAMS], 100);
}

#[test]
fn streams_may_be_read_in_any_order() {
    let mut client = Client::connect(h2_server());
    let first = client.open(request("POST", "/1", &[]), false);
    let second = client.open(request("POST", "/2", &[]), false);
    client.send_body(second, b"two", true);
    assert_eq!(client.whole(second).body, b"two");
    assert_eq!(client.head(first).get("x-path"), Some("/1"));
    assert!(!client.message(first).unwrap().is_done());
    client.send_all(&[
        Frame::data(first, *b"on").padded(9),
        Frame::data(first, *b"e").padded(0).end_stream(),
    ]);
    assert_eq!(client.whole(first).body, b"one");
}

#[test]
fn blocks_are_what_they_say() {
    let mut client = Client::connect(h2_server());
    let block = request("GET", "/a", &[]).table_size(0).raw(b"");
    // A change of size behind a field is an error of compression.
    client.open(block, true);
    assert_eq!(client.goaway().0, code::PROTOCOL_ERROR);

    let address = h2_server();
    let mut client = Client::connect(address);
    let long = "x".repeat(5_000);
    let block = Block::default()
        .table_size(200)
        .table_size(4_096)
        .indexed(2)
        .indexed(6)
        .insert(":path", "/dynamic")
        .literal(":authority", "a")
        .literal("x-long", &long);
    let stream = client.open(block, true);
    assert_eq!(client.whole(stream).get("x-path"), Some("/dynamic"));
    // A table of nothing is what the other end has to do with.
    let mut small = Client::connect_with(address, &[(setting::HEADER_TABLE_SIZE, 0)]);
    for _ in 0..3 {
        assert_eq!(small.get("/small").get("x-path"), Some("/small"));
    }
    // What was inserted then is one byte now. A block may come in pieces.
    let block = Vec::from(Block::default().indexed(2).indexed(6).indexed(62));
    let stream = client.stream();
    client.send_all(&[
        Frame::open_headers(stream, &block[..1]).end_stream(),
        Frame::continuation(stream, &block[1..2]),
        Frame::continuation(stream, &block[2..]).end_headers(),
    ]);
    assert_eq!(client.whole(stream).get("x-path"), Some("/dynamic"));
}

#[test]
fn wrong_frames_are_sent_as_they_are() {
    let mut client = Client::connect(h2_server());
    client.send(&Frame::ping(*b"whatever"));
    let pong = client.expect(kind::PING);
    assert!(pong.has(flag::ACK) && pong.payload == b"whatever");
    client.send(&Frame::window_update(0, 0));
    assert_eq!(client.goaway().0, code::PROTOCOL_ERROR);
    assert_eq!(client.end(), End::Closed);

    let mut client = Client::connect(h2_server());
    let stream = client.open(request("POST", "/", &[]), false);
    client.send(&Frame::window_update(stream, 0x7fff_ffff));
    let message = client.whole(stream);
    assert_eq!(message.reset, Some(code::FLOW_CONTROL_ERROR));
    // The stream alone is lost. (Frames of the connection may come between, so silence proves nothing.)
    client.send(&Frame::ping(*b"answered"));
    assert_eq!(client.expect(kind::PING).payload, b"answered");
}

#[test]
fn a_server_serves_a_client_of_the_h2_crate() {
    let server = server(&[(setting::MAX_CONCURRENT_STREAMS, 7)], |connection| {
        while let Some((stream, request)) = connection.request() {
            let path = request.get(":path").unwrap().to_owned();
            connection.send(&Frame::headers(stream, response(103, &[])));
            connection.answer(stream, 200, &[("x-path", &path)], &request.body);
        }
    });
    let body = Bytes::from(vec![7; 500_000]);
    let came = block_on(async {
        let stream = tokio::net::TcpStream::connect(server.address.tcp())
            .await
            .unwrap();
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::task::spawn_local(async move { drop(connection.await) });
        let mut requests = requests.ready().await.unwrap();
        let request = Request::builder().uri("http://a/up").body(()).unwrap();
        let (answer, mut stream) = requests.send_request(request, false).unwrap();
        stream.send_data(body.clone(), true).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.headers()["x-path"], "/up");
        let mut answer = answer.into_body();
        let mut came = Vec::new();
        while let Some(data) = answer.data().await {
            let data = data.unwrap();
            answer.flow_control().release_capacity(data.len()).unwrap();
            came.extend_from_slice(&data);
        }
        came
    });
    assert!(came == body);
    assert_eq!(server.connections(), 1);
}

#[test]
fn frames_are_read_as_they_were_written() {
    let frames = [
        Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]),
        Frame::reset(0x7fff_ffff, code::CANCEL),
        Frame::data(3, *b"abc").padded(4).end_stream(),
        Frame::new(0xfa, 0xff, 1, []),
    ];
    for frame in &frames {
        let mut bytes = frame.encode();
        bytes.extend(b"more");
        assert_eq!(
            Frame::decode(&bytes),
            Some((frame.clone(), bytes.len() - 4))
        );
        assert_eq!(Frame::decode(&bytes[..bytes.len() - 5]), None);
    }
    assert_eq!(Frame::goaway(5, code::ENHANCE_YOUR_CALM).number(4), 0xb);
}
