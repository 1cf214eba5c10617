//! The same frames to a server of the h2 crate, once directly and once through the proxy, which
//! speaks HTTP/2 to it: the results are the same, or what may not be sent is refused in another way
//! that is listed in `mistakes`.

mod allowed;
mod chance;
mod mistakes;

use std::{
    collections::BTreeMap,
    fmt::Write,
    future::{Future, poll_fn},
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::{Request, Response};
use outrigger_tests::{
    frames::{Block, Client, Frame, Message, code, flag, kind, request},
    proxy::Proxy,
};

use self::{
    allowed::sequences,
    chance::by_chance,
    mistakes::{OTHERWISE, Refusal, mistakes},
};
use super::before;

/// A server that answers each request, when it is whole, with what it was. It ends with the process.
fn server() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::task::spawn_local(async move {
                    let mut connection = h2::server::handshake(stream).await.ok()?;
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::task::spawn_local(answer(request, respond));
                    }
                    Some(())
                });
            }
        });
    });
    address
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> Option<()> {
    let (head, mut body) = request.into_parts();
    let mut seen = format!("{} {}", head.method, head.uri.path());
    if let Some(query) = head.uri.query() {
        let _ = write!(seen, "?{query}");
    }
    // Of the fields those that the proxy has no business with.
    for (name, value) in &head.headers {
        if name.as_str().starts_with("a-") || name == "content-length" {
            let _ = write!(seen, " {name}={}", value.to_str().unwrap());
        }
    }
    // Crumbs may be joined (RFC 9113 section 8.2.3).
    let cookies: Vec<_> = head.headers.get_all("cookie").iter().collect();
    let cookies: Vec<_> = cookies.iter().map(|c| c.to_str().unwrap()).collect();
    let _ = write!(seen, " [{}]", cookies.join("; "));
    let mut came = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.ok()?;
        body.flow_control().release_capacity(data.len()).ok()?;
        came.extend_from_slice(&data);
    }
    let _ = write!(seen, " {}", came.escape_ascii());
    for (name, value) in body.trailers().await.ok()?.iter().flatten() {
        let _ = write!(seen, " {name}={}", value.to_str().unwrap());
    }
    let mut stream = respond.send_response(Response::new(()), false).ok()?;
    let mut seen = Bytes::from(seen);
    while !seen.is_empty() {
        stream.reserve_capacity(seen.len());
        let room = poll_fn(|cx| stream.poll_capacity(cx)).await?.ok()?;
        let piece = seen.split_to(room.min(seen.len()));
        stream.send_data(piece, seen.is_empty()).ok()?;
    }
    Some(())
}

/// What became of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Answered(String),
    /// With a status that is not 200.
    Refused(u16),
    Reset(u32),
    /// Nothing came, and nothing was to.
    Silence,
}

/// What became of all.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    streams: BTreeMap<u32, Fate>,
    /// The code with which the connection ended, if it did.
    ended: Option<u32>,
}

/// Sends frames, and waits for what comes of each stream that is to be waited for.
fn send(address: SocketAddr, frames: &[Frame], streams: &[u32]) -> Outcome {
    let mut client = Client::connect(address);
    // By one write: a connection that is to end with its last answer has all of it before. Whatever
    // is refused may be refused before all was sent.
    let _ = client.try_send(&[frames, &[Frame::ping(*b"the end?")]].concat());
    let (mut ponged, mut ended) = (false, None);
    loop {
        let done = |id: &u32| client.message(*id).is_some_and(Message::is_done);
        if ponged && streams.iter().all(done) {
            break;
        }
        match client.read() {
            None => {
                ended = ended.or(Some(u32::MAX));
                break;
            }
            Some(frame) if frame.kind == kind::GOAWAY && frame.number(4) != code::NO_ERROR => {
                ended = Some(frame.number(4));
            }
            Some(frame) if frame.kind == kind::PING && frame.has(flag::ACK) => {
                ponged |= frame.payload == b"the end?";
            }
            Some(_) => {}
        }
    }
    let fate = |id: &u32| match client.message(*id) {
        Some(m) if m.reset.is_some() && !m.ended => Fate::Reset(m.reset.unwrap()),
        Some(m) if m.ended && m.status() == 200 => {
            Fate::Answered(String::from_utf8_lossy(&m.body).into_owned())
        }
        Some(m) if m.ended => Fate::Refused(m.status()),
        _ => Fate::Silence,
    };
    // What was under way when a connection is ended may or may not have been answered before.
    let streams = match ended {
        Some(_) => BTreeMap::new(),
        None => streams.iter().map(|id| (*id, fate(id))).collect(),
    };
    Outcome { streams, ended }
}

struct Both {
    direct: SocketAddr,
    proxy: Proxy,
}

impl Both {
    fn new() -> Self {
        let direct = server();
        Self {
            direct,
            proxy: before(&[&direct.into()], ""),
        }
    }

    fn send(&self, frames: &[Frame], streams: &[u32]) -> (Outcome, Outcome) {
        (
            send(self.direct, frames, streams),
            send(self.proxy.web(), frames, streams),
        )
    }
}

/// A name, frames, and the streams that come to an end.
type Case = (&'static str, Vec<Frame>, &'static [u32]);

fn get(stream: u32) -> Frame {
    Frame::headers(
        stream,
        request("GET", "/g?a=b", &[("a-field", "some value")]),
    )
    .end_stream()
}

fn post(stream: u32, fields: &[(&str, &str)]) -> Frame {
    Frame::headers(stream, request("POST", "/p", fields))
}

fn block(stream: u32, fields: &[(&str, &str)]) -> Frame {
    Frame::headers(stream, Block::of(fields)).end_stream()
}

fn data(stream: u32, bytes: &str) -> Frame {
    Frame::data(stream, bytes)
}

/// Behind the head of a frame of HEADERS.
fn prioritised(frame: &Frame) -> Frame {
    let payload = [&[0, 0, 0, 0, 15][..], &frame.payload].concat();
    Frame::new(
        kind::HEADERS,
        frame.flags | flag::PRIORITY,
        frame.stream,
        payload,
    )
}

/// A head in pieces of these sizes and a last one.
fn split(frame: &Frame, sizes: &[usize]) -> Vec<Frame> {
    let mut rest = &frame.payload[..];
    let mut pieces = Vec::new();
    for size in sizes {
        let (piece, left) = rest.split_at(*size);
        pieces.push(piece);
        rest = left;
    }
    pieces.push(rest);
    let mut frames: Vec<_> = pieces
        .iter()
        .map(|piece| Frame::continuation(frame.stream, *piece))
        .collect();
    frames[0].kind = kind::HEADERS;
    frames[0].flags = frame.flags & !flag::END_HEADERS;
    frames.last_mut().unwrap().flags |= flag::END_HEADERS;
    frames
}

#[test]
fn what_may_be_sent_has_the_same_result() {
    let both = Both::new();
    for (what, frames, streams) in sequences() {
        let (direct, through) = both.send(&frames, streams);
        assert_eq!(through, direct, "{what}");
        let answered = |fate: &Fate| matches!(fate, Fate::Answered(_));
        assert!(
            direct.ended.is_none() && direct.streams.values().all(answered),
            "{what}: {direct:?}"
        );
    }
}

/// What the h2 crate resets without a word, the proxy may answer with 400 (RFC 9113 section 8.1.1).
fn told(direct: &Outcome) -> Outcome {
    let mut told = direct.clone();
    for fate in told.streams.values_mut() {
        if *fate == Fate::Reset(code::PROTOCOL_ERROR) {
            *fate = Fate::Refused(400);
        }
    }
    told
}

#[test]
fn what_may_not_be_sent_is_refused() {
    let both = Both::new();
    let mut otherwise = 0;
    for (what, frames, streams) in mistakes() {
        let (direct, through) = both.send(&frames, streams);
        if let Some((_, refusal)) = OTHERWISE.iter().find(|(name, _)| *name == what) {
            otherwise += 1;
            assert_ne!(through, direct, "{what}: not otherwise any more");
            let expected = match refusal {
                Refusal::Status(status) => (vec![Fate::Refused(*status)], None),
                Refusal::Reset(code) => (vec![Fate::Reset(*code)], None),
                Refusal::Ended(code) => (vec![], Some(*code)),
            };
            let seen: Vec<_> = through.streams.into_values().collect();
            assert_eq!((seen, through.ended), expected, "{what}");
            continue;
        }
        if through != direct {
            assert_eq!(through, told(&direct), "{what}");
        }
        let answered = |fate: &Fate| matches!(fate, Fate::Answered(_));
        assert!(!direct.streams.values().any(answered), "{what}: {direct:?}");
    }
    assert_eq!(otherwise, OTHERWISE.len());
}

#[test]
fn any_order_that_is_allowed_has_the_same_result() {
    let both = Both::new();
    for seed in 0..150 {
        let (frames, streams) = by_chance(&mut fastrand::Rng::with_seed(seed));
        let (direct, through) = both.send(&frames, &streams);
        assert_eq!(through, direct, "seed {seed}: {frames:#?}");
        assert!(direct.ended.is_none(), "seed {seed}: {direct:?}");
        let answered = |fate: &Fate| matches!(fate, Fate::Answered(_));
        assert!(
            direct.streams.values().all(answered),
            "seed {seed}: {direct:?}"
        );
    }
}
