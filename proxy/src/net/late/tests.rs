use std::{
    future::poll_fn,
    net::TcpListener,
    task::Waker,
    time::{Duration, Instant},
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::net::testing::run;

/// A socket that is apart, and its peer.
fn pair() -> (LateTcp, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = StdTcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    ours.set_nonblocking(true).unwrap();
    peer.set_nonblocking(true).unwrap();
    (LateTcp::apart(ours), TcpStream::from_std(peer).unwrap())
}

async fn read(stream: &mut LateTcp) -> io::Result<Vec<u8>> {
    let mut bytes = [0; 64];
    let mut buf = ReadBuf::new(&mut bytes);
    poll_fn(|cx| stream.poll_read(cx, &mut buf)).await?;
    Ok(buf.filled().to_vec())
}

/// Waits until so much has come, without the event loop.
fn arrive(stream: &LateTcp, bytes: usize) {
    let socket = stream.socket().unwrap().try_clone().unwrap();
    let mut room = vec![0; bytes];
    let socket = StdTcpStream::from(socket);
    let end = Instant::now() + Duration::from_secs(10);
    while socket.peek(&mut room).unwrap_or_default() < bytes {
        assert!(Instant::now() < end, "nothing came");
        std::thread::yield_now();
    }
}

#[test]
fn what_is_there_is_read_and_answered_apart() {
    run(async {
        let (mut ours, mut peer) = pair();
        let mut cx = Context::from_waker(Waker::noop());
        peer.write_all(b"request").await.unwrap();
        arrive(&ours, 7);
        assert!(ours.poll_read_ready(&mut cx).is_ready());
        assert_eq!(read(&mut ours).await.unwrap(), b"request");
        assert!(!ours.has_unread(&mut cx));
        let sent = poll_fn(|cx| ours.poll_write(cx, b"head ")).await;
        assert_eq!(sent.unwrap(), 5);
        let sent = poll_fn(|cx| ours.poll_write_more(cx, b"end")).await;
        assert_eq!(sent.unwrap(), 3);
        poll_fn(|cx| ours.poll_shutdown(cx)).await.unwrap();
        assert!(ours.is_apart());
        let mut all = Vec::new();
        peer.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"head end");
    });
}

#[test]
fn who_waits_joins_and_is_told_of_what_came_before() {
    run(async {
        let (mut ours, mut peer) = pair();
        peer.write_all(b"one").await.unwrap();
        arrive(&ours, 3);
        assert_eq!(read(&mut ours).await.unwrap(), b"one");
        peer.write_all(b"two").await.unwrap();
        arrive(&ours, 3);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(ours.has_unread(&mut cx));
        // A read that took all there was is not tried again: what came since is told by the loop.
        poll_fn(|cx| ours.poll_read_ready(cx)).await.unwrap();
        assert!(!ours.is_apart());
        assert_eq!(read(&mut ours).await.unwrap(), b"two");
        peer.shutdown().await.unwrap();
        assert_eq!(read(&mut ours).await.unwrap(), b"");
    });
}

#[test]
fn nothing_there_yet_is_waited_for() {
    run(async {
        let (mut ours, mut peer) = pair();
        let (came, sent) = tokio::join!(read(&mut ours), async {
            tokio::task::yield_now().await;
            peer.write_all(b"late").await
        });
        sent.unwrap();
        assert_eq!(came.unwrap(), b"late");
        assert!(!ours.is_apart());
    });
}

#[test]
fn the_end_is_seen_apart_and_by_who_joins() {
    run(async {
        let (mut ours, peer) = pair();
        drop(peer);
        assert_eq!(read(&mut ours).await.unwrap(), b"");
        let mut cx = Context::from_waker(Waker::noop());
        assert!(!ours.has_unread(&mut cx), "the end is nothing to be lost");
        ours.join().unwrap();
        assert_eq!(read(&mut ours).await.unwrap(), b"");
    });
}

#[test]
fn more_than_the_socket_takes_is_sent_when_it_does() {
    run(async {
        const ALL: usize = 16 << 20;
        let (mut ours, mut peer) = pair();
        let bytes = vec![7; ALL];
        let send = async {
            let mut sent = 0;
            while sent < ALL {
                sent += poll_fn(|cx| ours.poll_write_more(cx, &bytes[sent..])).await?;
            }
            poll_fn(|cx| ours.poll_shutdown(cx)).await
        };
        let mut all = Vec::new();
        let (all_sent, came) = tokio::join!(send, peer.read_to_end(&mut all));
        all_sent.unwrap();
        assert_eq!((came.unwrap(), all == bytes), (ALL, true));
        assert!(!ours.is_apart());
    });
}
