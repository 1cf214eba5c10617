//! The link between two ends of the h2 crate, and against peers that misbehave.

mod floods;

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

#[test]
fn sending_that_failed_goes_on_failing() {
    run(async {
        let (ours, peer) = unix_pair();
        let (mut link, handle) = linked(ours, Role::Server, &spare());
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

#[test]
fn what_an_endpoint_said_before_it_was_gone_is_read() {
    // Its end is met by a write first: nothing lets the event loop look at the socket in between.
    run(async {
        let (ours, mut peer) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let ours = Stream::Unix(tokio::net::UnixStream::from_std(ours).unwrap());
        let (link, handle) = linked(ours, Role::Client, &spare());
        let (requests, mut connection) = client().handshake::<_, Bytes>(link).await.unwrap();
        let mut requests = requests.ready().await.unwrap();
        let mut turn = |cx: &mut Context<'_>| {
            let polled = Pin::new(&mut connection).poll(cx);
            let _ = handle.poll_flush_turn(cx);
            polled.map(drop)
        };
        // The event loop knows that the socket takes bytes, and has none.
        poll_fn(|cx| {
            assert!(turn(cx).is_pending());
            cx.waker().wake_by_ref();
            if handle.held() == 0 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        let goodbye = [frame(4, 0, 0, b""), frame(7, 0, 0, &[0; 8])].concat();
        io::Write::write_all(&mut peer, &goodbye).unwrap();
        drop(peer);
        let mut answers = Vec::new();
        for _ in 0..3 {
            let (answer, _) = requests.send_request(Request::new(()), true).unwrap();
            answers.push(answer);
            let polled = poll_fn(|cx| Poll::Ready(turn(cx))).await;
            assert!(polled.is_pending());
        }
        poll_fn(turn).await;
        for answer in answers {
            let error = answer.await.unwrap_err();
            assert!(error.is_go_away() && error.is_remote(), "{error}");
        }
    });
}
