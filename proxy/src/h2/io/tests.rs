//! The link between two ends of the h2 crate, and against peers that misbehave.

use std::{
    future::poll_fn,
    io::{self, ErrorKind},
    sync::LazyLock,
    task::Poll,
};

use bytes::Bytes;
use h2::RecvStream;
use http::{Request, Response};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::spawn_local,
};

use super::{
    super::{
        meter::{Head, PREFACE},
        usual,
    },
    *,
};
use crate::net::{
    behind::Behind,
    testing::{run, tcp_pair, unix_pair},
};

/// Frames and bytes that went through a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// By kind; see [`Kind::ALL`].
    received: [u64; Kind::ALL.len()],
    sent: [u64; Kind::ALL.len()],
    bytes_sent: u64,
    /// System calls that sent something.
    sends: u64,
}

impl Tally {
    pub(super) fn received(&mut self, head: &Head) {
        self.received[head.kind as usize] += 1;
    }

    pub(super) fn sent(&mut self, head: &Head) {
        self.sent[head.kind as usize] += 1;
    }

    pub(super) fn send(&mut self, n: usize) {
        self.sends += 1;
        self.bytes_sent += n as u64;
    }
}

static LIMITS: LazyLock<Limits> = LazyLock::new(|| usual(65_536));
/// As much as is collected.
const LARGE: usize = 64 * 1024;

fn linked(stream: Stream, role: Role, spare: &Spare) -> (Link, Handle) {
    link(Parts {
        stream,
        first: b"",
        role,
        bounds: Bounds::default(),
        limits: &LIMITS,
        spare,
        behind: &Behind::new(1 << 20),
    })
}

fn spare() -> Spare {
    Spare::new(2)
}

/// Polls as the task of a connection does: h2 first, then one send.
async fn in_turns<T>(handle: &Handle, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    poll_fn(|cx| {
        let polled = poll(cx);
        let _ = handle.poll_flush_turn(cx);
        polled
    })
    .await
}

async fn handshake(link: Link, handle: &Handle) -> h2::server::Connection<Link, Bytes> {
    let mut shaking = std::pin::pin!(server().handshake(link));
    in_turns(handle, |cx| shaking.as_mut().poll(cx))
        .await
        .unwrap()
}

/// Answers every request with `body` until the client is done.
async fn answer(link: Link, handle: Handle, body: Bytes) -> Result<(), h2::Error> {
    let mut connection = handshake(link, &handle).await;
    in_turns(&handle, |cx| {
        while let Some(next) = ready!(connection.poll_accept(cx)) {
            let (_, mut respond) = next?;
            let mut stream = respond.send_response(Response::new(()), body.is_empty())?;
            if !body.is_empty() {
                stream.send_data(body.clone(), true)?;
            }
        }
        Poll::Ready(Ok(()))
    })
    .await
}

async fn connect(peer: TcpStream) -> h2::client::SendRequest<Bytes> {
    let (requests, connection) = client()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(64 << 20)
        .handshake(peer)
        .await
        .unwrap();
    spawn_local(async move { drop(connection.await) });
    requests.ready().await.unwrap()
}

async fn whole(mut body: RecvStream) -> usize {
    let mut length = 0;
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        length += data.len();
    }
    length
}

/// A frame as it is on the wire.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A client's preface and SETTINGS.
fn hello() -> Vec<u8> {
    [PREFACE.to_vec(), frame(4, 0, 0, b"")].concat()
}

/// HEADERS of a request, from the static table of HPACK.
fn request(stream: u32, flags: u8) -> Vec<u8> {
    frame(1, 0x4 | flags, stream, &[0x83, 0x86, 0x84, 0x41, 1, b'a'])
}

#[test]
fn a_turn_with_many_answers_sends_once() {
    run(async {
        let (ours, peer) = tcp_pair().await;
        let (link, handle) = linked(ours, Role::Server, &spare());
        let mut requests = connect(peer).await;
        // More than h2 collects for itself, and large enough that it would flush after each.
        let served = spawn_local(answer(link, handle.clone(), Bytes::from(vec![7; 2_000])));
        let warm = requests.send_request(Request::new(()), true).unwrap().0;
        assert_eq!(whole(warm.await.unwrap().into_body()).await, 2_000);
        while handle.held() > 0 {
            tokio::task::yield_now().await;
        }
        handle.take_tally();

        let answers: Vec<_> = (0..20)
            .map(|_| requests.send_request(Request::new(()), true).unwrap().0)
            .collect();
        for answer in answers {
            assert_eq!(whole(answer.await.unwrap().into_body()).await, 2_000);
        }
        let tally = handle.take_tally();
        assert_eq!(tally.received[Kind::Headers as usize], 20);
        assert_eq!(tally.sent[Kind::Data as usize], 20);
        assert!(tally.bytes_sent > 40_000);
        assert_eq!(tally.sends, 1, "{tally:?}");
        drop(requests);
        served.await.unwrap().unwrap();
    });
}

#[test]
fn between_turns_a_connection_holds_no_buffer() {
    run(async {
        let (ours, peer) = tcp_pair().await;
        let spare = spare();
        let (link, handle) = linked(ours, Role::Server, &spare);
        let mut requests = connect(peer).await;
        spawn_local(answer(link, handle.clone(), Bytes::from_static(b"hello")));
        for _ in 0..3 {
            let answer = requests.send_request(Request::new(()), true).unwrap().0;
            assert_eq!(whole(answer.await.unwrap().into_body()).await, 5);
        }
        let inner = handle.0.borrow();
        assert_eq!(inner.outbound.collected.capacity(), 0);
        assert_eq!(inner.first.capacity(), 0);
        assert_eq!(spare.0.borrow().len(), 1, "one buffer served every turn");
    });
}

#[test]
fn bodies_of_any_size_arrive_whole_past_a_slow_reader() {
    for size in [1, 900, 1_100, 8_000, 20_000, 1_000_000] {
        run(async {
            let (ours, peer) = tcp_pair().await;
            let spare = spare();
            let (link, handle) = linked(ours, Role::Server, &spare);
            let body: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            let served = spawn_local(answer(link, handle.clone(), Bytes::from(body.clone())));
            let mut requests = connect(peer).await;
            for _ in 0..6 {
                let answer = requests.send_request(Request::new(()), true).unwrap().0;
                let mut stream = answer.await.unwrap().into_body();
                let mut came = Vec::new();
                while let Some(data) = stream.data().await {
                    let data = data.unwrap();
                    came.extend_from_slice(&data);
                    stream.flow_control().release_capacity(data.len()).unwrap();
                    tokio::task::yield_now().await;
                    assert!(handle.held() <= Bounds::default().collect);
                }
                assert_eq!(came, body);
            }
            drop(requests);
            served.await.unwrap().unwrap();
        });
    }
}

/// Writes slices of `size` until the socket takes no more; what was taken, and how many slices.
fn fill(link: &mut Link, cx: &mut Context<'_>, size: usize) -> Vec<u8> {
    let mut taken = Vec::new();
    for n in 0_usize.. {
        let slice = vec![n as u8; size];
        match Pin::new(&mut *link).poll_write(cx, &slice) {
            Poll::Ready(n) => taken.extend_from_slice(&slice[..n.unwrap()]),
            Poll::Pending => break,
        }
    }
    taken
}

#[test]
fn a_peer_that_reads_nothing_costs_what_waits_for_it() {
    run(async {
        let (ours, mut peer) = unix_pair();
        let spare = spare();
        let (mut link, handle) = linked(ours, Role::Client, &spare);
        let capacity = |handle: &Handle| handle.0.borrow().outbound.collected.capacity();
        let mut expected = poll_fn(|cx| {
            // Large slices wait where they are; only a small one is kept here, in its own size.
            let mut taken = fill(&mut link, cx, LARGE);
            assert_eq!(handle.held(), 0);
            let small = Pin::new(&mut link).poll_write(cx, &[b'x'; 100]);
            assert!(matches!(small, Poll::Ready(Ok(100))));
            taken.extend([b'x'; 100]);
            assert!(handle.poll_flush_turn(cx).is_pending());
            assert_eq!((handle.held(), capacity(&handle)), (100, 100));
            // More is collected up to the bound.
            taken.extend(fill(&mut link, cx, 3_000));
            assert!(handle.poll_flush_turn(cx).is_pending());
            assert_eq!(handle.held(), Bounds::default().collect);
            Poll::Ready(taken)
        })
        .await;
        let mut came = vec![0; expected.len()];
        let (read, flushed) = tokio::join!(
            peer.read_exact(&mut came),
            poll_fn(|cx| handle.poll_flush_turn(cx)),
        );
        flushed.unwrap();
        read.unwrap();
        assert!(came == expected, "other bytes came");
        assert_eq!(capacity(&handle), 0);
        // Collected bytes go before a large slice, by one call.
        handle.take_tally();
        expected = poll_fn(|cx| {
            let small = Pin::new(&mut link).poll_write(cx, b"head");
            assert!(matches!(small, Poll::Ready(Ok(4))));
            let large = Pin::new(&mut link).poll_write(cx, &vec![7; LARGE]);
            assert!(matches!(large, Poll::Ready(Ok(LARGE))));
            Poll::Ready([b"head".to_vec(), vec![7; LARGE]].concat())
        })
        .await;
        assert_eq!(handle.take_tally().sends, 1);
        let mut came = vec![0; expected.len()];
        peer.read_exact(&mut came).await.unwrap();
        assert!(came == expected, "other bytes came");
    });
}

#[test]
fn bytes_that_were_read_before_come_first() {
    run(async {
        let (ours, mut peer) = tcp_pair().await;
        let bytes = [hello(), request(1, 1)].concat();
        let (first, rest) = bytes.split_at(20);
        let (link, handle) = link(Parts {
            stream: ours,
            first,
            role: Role::Server,
            bounds: Bounds::default(),
            limits: &LIMITS,
            spare: &spare(),
            behind: &Behind::new(1 << 20),
        });
        peer.write_all(rest).await.unwrap();
        peer.shutdown().await.unwrap();
        answer(link, handle.clone(), Bytes::new()).await.unwrap();
        assert_eq!(handle.take_tally().received[Kind::Headers as usize], 1);
    });
}

#[test]
fn a_busy_peer_gives_way_to_others() {
    run(async {
        let (ours, mut peer) = tcp_pair().await;
        let (mut link, handle) = linked(ours, Role::Server, &spare());
        let (done, mut told) = oneshot::channel();
        spawn_local(async move {
            peer.write_all(&hello()).await.unwrap();
            for _ in 0..100 {
                peer.write_all(&frame(0, 0, 1, &[1; 16_384])).await.unwrap();
            }
            peer.shutdown().await.unwrap();
            done.send(()).unwrap();
        });
        let (mut total, mut most, mut turn) = (0, 0, 0);
        let mut buffer = vec![0; 16_384];
        poll_fn(|cx| {
            loop {
                let mut buf = ReadBuf::new(&mut buffer);
                match Pin::new(&mut link).poll_read(cx, &mut buf) {
                    Poll::Ready(read) => {
                        read.unwrap();
                        if buf.filled().is_empty() {
                            return Poll::Ready(());
                        }
                        turn += buf.filled().len();
                        total += buf.filled().len();
                    }
                    Poll::Pending => {
                        most = most.max(turn);
                        turn = 0;
                        let _ = handle.poll_flush_turn(cx);
                        return Poll::Pending;
                    }
                }
            }
        })
        .await;
        told.try_recv().unwrap();
        assert_eq!(total, hello().len() + 100 * (16_384 + 9));
        assert!(most < Bounds::default().turn + buffer.len(), "{most}");
    });
}

/// Serves a client that sends `bytes`; what was too much, and all that it received.
fn flooded(bytes: Vec<u8>) -> (Option<Flood>, Vec<u8>) {
    run(async move {
        let (ours, peer) = tcp_pair().await;
        let (link, handle) = linked(ours, Role::Server, &spare());
        let (mut read, mut write) = peer.into_split();
        let sender = spawn_local(async move {
            let _ = write.write_all(&[hello(), bytes].concat()).await;
            let _ = write.shutdown().await;
        });
        let receiver = spawn_local(async move {
            let mut all = Vec::new();
            let _ = read.read_to_end(&mut all).await;
            all
        });
        let mut connection = handshake(link, &handle).await;
        let mut told = false;
        in_turns(&handle, |cx| {
            loop {
                match connection.poll_accept(cx) {
                    Poll::Ready(None | Some(Err(_))) => return Poll::Ready(()),
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Pending if handle.flood().is_some() && !told => {
                        told = true;
                        connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
        drop(connection);
        let flood = handle.flood();
        // So that unread bytes do not reset what the client is to read.
        let mut rest = handle.into_stream().unwrap();
        let mut sink = [0; 4_096];
        while poll_fn(|cx| rest.poll_read_into(cx, &mut sink))
            .await
            .is_ok_and(|n| n > 0)
        {}
        drop(rest);
        sender.await.unwrap();
        (flood, receiver.await.unwrap())
    })
}

/// Whether bytes end with GOAWAY and this code.
fn ends_with_goaway(bytes: &[u8], code: u32) -> bool {
    let mut meter = Meter::new(false);
    let mut last = None;
    meter.watch(bytes, |head| last = Some(*head));
    last.is_some_and(|head| head.kind == Kind::GoAway) && bytes.ends_with(&code.to_be_bytes())
}

#[test]
fn a_client_that_floods_is_told_to_calm_down() {
    let resets: Vec<_> = (0..2_000)
        .map(|n| [request(2 * n + 1, 0), frame(3, 0, 2 * n + 1, &[0, 0, 0, 8])].concat())
        .collect();
    for (bytes, expected) in [
        (resets.concat(), Flood::Resets),
        (frame(6, 0, 0, &[0; 8]).repeat(300), Flood::Pings),
        (frame(4, 0, 0, b"").repeat(300), Flood::Settings),
        (frame(2, 0, 1, &[0; 5]).repeat(500), Flood::Priorities),
        (frame(0x99, 0, 1, &[0; 5]).repeat(300), Flood::Others),
        (
            frame(8, 0, 0, &[0, 0, 0, 1]).repeat(6_000),
            Flood::WindowUpdates,
        ),
        (
            [request(1, 0), frame(0, 0, 1, b"").repeat(300)].concat(),
            Flood::EmptyData,
        ),
        (
            [frame(1, 0, 1, &[0x83]), frame(9, 0, 1, b"").repeat(30)].concat(),
            Flood::Continuations,
        ),
        (
            [
                frame(1, 0, 1, &[0x83]),
                frame(9, 0, 1, &[0; 16_384]).repeat(15),
            ]
            .concat(),
            Flood::HeaderBlock,
        ),
    ] {
        let (flood, answer) = flooded(bytes);
        assert_eq!(flood, Some(expected));
        assert!(ends_with_goaway(&answer, 0xb), "{expected:?}: {answer:?}");
    }
}

#[test]
fn resets_that_a_client_provokes_are_its_own() {
    // Each request is followed by a WINDOW_UPDATE that overflows its stream's window.
    let tricks: Vec<_> = (0..600)
        .map(|n| {
            let id = 2 * n + 1;
            let update = frame(8, 0, id, &0x7fff_ffff_u32.to_be_bytes());
            [request(id, 0), update].concat()
        })
        .collect();
    let (flood, answer) = flooded(tricks.concat());
    assert_eq!(flood, Some(Flood::ProvokedResets));
    assert!(ends_with_goaway(&answer, 0xb));
}

#[test]
fn a_server_that_floods_loses_the_connection() {
    run(async {
        let (ours, mut peer) = tcp_pair().await;
        let (link, handle) = linked(ours, Role::Client, &spare());
        let (_requests, mut connection) = client().handshake::<_, Bytes>(link).await.unwrap();
        let pings = [frame(4, 0, 0, b""), frame(6, 0, 0, &[0; 8]).repeat(300)].concat();
        peer.write_all(&pings).await.unwrap();
        let ended = in_turns(&handle, |cx| Pin::new(&mut connection).poll(cx)).await;
        let error = ended.unwrap_err();
        assert_eq!(error.get_io().unwrap().kind(), ErrorKind::ConnectionAborted);
        assert_eq!(handle.flood(), Some(Flood::Pings));
    });
}

#[test]
fn a_link_outlives_the_totals_of_h2() {
    // h2 ends a connection with its 101st empty DATA frame, however slowly they came.
    run(async {
        let (ours, mut peer) = tcp_pair().await;
        let limits = usual(65_536).of_many();
        let (link, handle) = link(Parts {
            stream: ours,
            first: b"",
            role: Role::Server,
            bounds: Bounds::default(),
            limits: &limits,
            spare: &spare(),
            behind: &Behind::new(1 << 20),
        });
        let bytes = [
            hello(),
            request(1, 0),
            frame(0, 0, 1, b"").repeat(900),
            frame(0, 1, 1, b""),
        ];
        peer.write_all(&bytes.concat()).await.unwrap();
        peer.shutdown().await.unwrap();
        answer(link, handle.clone(), Bytes::new()).await.unwrap();
        assert_eq!(handle.flood(), None);
        assert_eq!(handle.take_tally().received[Kind::Data as usize], 901);
    });
}

#[test]
fn sending_that_failed_goes_on_failing() {
    run(async {
        let (ours, peer) = unix_pair();
        let (mut link, handle) = linked(ours, Role::Client, &spare());
        drop(peer);
        let error = poll_fn(|cx| {
            let _ = Pin::new(&mut link).poll_write(cx, b"hello");
            Poll::Ready(handle.poll_flush_turn(cx))
        })
        .await;
        let broken = |polled| match polled {
            Poll::Ready(Err(error)) => io::Error::kind(&error) == ErrorKind::BrokenPipe,
            _ => false,
        };
        assert!(broken(error));
        assert_eq!(handle.held(), 0);
        poll_fn(|cx| {
            let written = Pin::new(&mut link).poll_write(cx, b"more").map_ok(drop);
            assert!(broken(written));
            assert!(broken(handle.poll_flush_turn(cx)));
            Poll::Ready(())
        })
        .await;
    });
}
