//! The `h2` crate in memory: given frames of our own, or talking to itself. So tests see what it
//! makes of a message, and what it refuses before we are asked.

use std::future::poll_fn;

use bytes::Bytes;
use h2::{client, server};
use http::{HeaderMap, Method, Request, Response, request, response};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    select,
    task::{spawn_local, yield_now},
};

/// Fields as they stand in a block, names with their colon where they have one.
pub(super) type List = [(Vec<u8>, Vec<u8>)];

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A HEADERS frame whose fields are literals without indexing (RFC 7541 section 6.2.2).
fn headers(list: &List, end: bool) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in list {
        block.push(0);
        for text in [name, value] {
            push_length(&mut block, text.len());
            block.extend(text);
        }
    }
    assert!(block.len() <= 16_384, "more than one frame");
    let flags = END_HEADERS | if end { END_STREAM } else { 0 };
    frame(HEADERS, flags, 1, &block)
}

/// An integer with a prefix of seven bits (RFC 7541 section 5.1).
fn push_length(block: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else {
        return block.push(length as u8);
    };
    block.push(127);
    while rest >= 128 {
        block.push(rest as u8 | 128);
        rest >>= 7;
    }
    block.push(rest as u8);
}

/// Reads frames until one of this kind, and flags, is there.
async fn await_frame(peer: &mut DuplexStream, kind: u8, flags: u8) {
    loop {
        let mut head = [0; 9];
        peer.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        peer.read_exact(&mut payload).await.unwrap();
        if head[3] == kind && head[4] & flags == flags {
            return;
        }
    }
}

/// What a server is handed of a request, with its trailers if it has some; `None` where the crate
/// refuses it.
pub(super) async fn request_from(
    list: &List,
    end: bool,
    trailers: Option<&List>,
) -> Option<(request::Parts, bool, Option<HeaderMap>)> {
    let (mut peer, ours) = duplex(1 << 20);
    let mut frames = PREFACE.to_vec();
    frames.extend(frame(SETTINGS, 0, 0, b""));
    frames.extend(headers(list, end));
    frames.extend(trailers.map_or(Vec::new(), |list| headers(list, true)));
    // Whatever it thinks of them, this it answers.
    frames.extend(frame(PING, 0, 0, &[0; 8]));
    peer.write_all(&frames).await.unwrap();
    let mut connection = server::Builder::new()
        .enable_connect_protocol()
        .handshake::<_, Bytes>(ours)
        .await
        .unwrap();
    let accepted = select! {
        biased;
        accepted = connection.accept() => accepted,
        () = await_frame(&mut peer, PING, 1) => None,
    };
    let (request, _respond) = accepted?.ok()?;
    let (parts, mut body) = request.into_parts();
    let ended = body.is_end_stream();
    if trailers.is_none() {
        return Some((parts, ended, None));
    }
    let trailers = select! {
        biased;
        trailers = body.trailers() => trailers.ok()??,
        _ = connection.accept() => return None,
    };
    Some((parts, ended, Some(trailers)))
}

/// What a client is handed of a response, or of an interim one; `None` where the crate refuses it.
pub(super) async fn response_from(
    asked: Method,
    list: &List,
    end: bool,
) -> Option<(response::Parts, bool)> {
    let (mut peer, ours) = duplex(1 << 20);
    peer.write_all(&frame(SETTINGS, 0, 0, b"")).await.unwrap();
    let (mut client, connection) = client::handshake(ours).await.unwrap();
    spawn_local(connection);
    let mut request = Request::new(());
    *request.method_mut() = asked;
    *request.uri_mut() = "http://a.example/".parse().unwrap();
    let (mut response, _stream) = client.send_request(request, true).unwrap();
    peer.read_exact(&mut PREFACE.clone()).await.unwrap();
    await_frame(&mut peer, HEADERS, 0).await;
    let mut frames = headers(list, end);
    frames.extend(frame(PING, 0, 0, &[0; 8]));
    peer.write_all(&frames).await.unwrap();
    let interim = list.iter().any(|(n, v)| n == b":status" && v[0] == b'1');
    if interim {
        let interim = select! {
            biased;
            interim = poll_fn(|cx| response.poll_informational(cx)) => interim,
            () = await_frame(&mut peer, PING, 1) => None,
        };
        let parts = interim?.ok()?.into_parts().0;
        return Some((parts, end));
    }
    let response = select! {
        biased;
        response = response => response.ok(),
        () = await_frame(&mut peer, PING, 1) => None,
    };
    let (parts, body) = response?.into_parts();
    Some((parts, body.is_end_stream()))
}

/// A client and a server that speak to each other, with the answers of the server to come.
async fn pair() -> (
    client::SendRequest<Bytes>,
    server::Connection<DuplexStream, Bytes>,
) {
    let (near, far) = duplex(1 << 20);
    let mut builder = server::Builder::new();
    builder.enable_connect_protocol();
    let (client, server) = tokio::join!(client::handshake(near), builder.handshake(far));
    let (client, connection) = client.unwrap();
    spawn_local(connection);
    while !client.is_extended_connect_protocol_enabled() {
        yield_now().await;
    }
    (client, server.unwrap())
}

/// A request through the crate, written by its client and read by its server.
pub(super) async fn pass_request(request: Request<()>, end: bool) -> (request::Parts, bool) {
    let (mut client, mut server) = pair().await;
    let _answer = client.send_request(request, end).unwrap();
    let (request, _respond) = server.accept().await.unwrap().unwrap();
    let (parts, body) = request.into_parts();
    (parts, body.is_end_stream())
}

/// A response through the crate, written by its server and read by its client.
pub(super) async fn pass_response(
    asked: Method,
    answer: Response<()>,
    end: bool,
) -> (response::Parts, bool) {
    let (mut client, mut server) = pair().await;
    let mut request = Request::new(());
    *request.method_mut() = asked;
    *request.uri_mut() = "http://a.example/".parse().unwrap();
    let (mut response, _stream) = client.send_request(request, true).unwrap();
    let (_request, mut respond) = server.accept().await.unwrap().unwrap();
    let interim = answer.status().is_informational();
    let _stream = if interim {
        respond.send_informational(answer).unwrap();
        None
    } else {
        Some(respond.send_response(answer, end).unwrap())
    };
    spawn_local(async move { while server.accept().await.is_some() {} });
    if interim {
        let interim = poll_fn(|cx| response.poll_informational(cx)).await;
        return (interim.unwrap().unwrap().into_parts().0, false);
    }
    let (parts, body) = response.await.unwrap().into_parts();
    (parts, body.is_end_stream())
}
