use std::{
    cell::{Cell, RefCell},
    io::ErrorKind,
    rc::Rc,
    task::Waker,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    task::{JoinHandle, spawn_local, yield_now},
};

use super::*;
use crate::net::testing::{run, tcp_pair, unix_pair};

/// What a test sees of a connection, and how it ends one.
#[derive(Default)]
struct Seen {
    up: Cell<usize>,
    down: Cell<usize>,
    /// The most moved in one turn of one direction.
    turn: Cell<usize>,
    expire: Cell<Option<Cause>>,
    waker: RefCell<Option<Waker>>,
}

impl Seen {
    fn expire(&self, cause: Cause) {
        self.expire.set(Some(cause));
        self.waker.borrow_mut().take().unwrap().wake();
    }
}

impl Watch for Rc<Seen> {
    fn moved(&mut self, way: Way, bytes: usize) {
        let total = match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        };
        total.set(total.get() + bytes);
        self.turn.set(self.turn.get().max(bytes));
    }

    fn may_hold(&mut self, _: &mut Context<'_>, bytes: usize, _: bool) -> bool {
        // What waits in sockets is the kernel's.
        bytes == 0
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<Cause> {
        if let Some(cause) = self.expire.get() {
            return Poll::Ready(cause);
        }
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// A connection under way, and the peers at its two ends.
struct Running {
    client: TcpStream,
    server: TcpStream,
    seen: Rc<Seen>,
    ended: JoinHandle<Summary>,
}

async fn start_with(bulk: &Bulk, up: &'static [u8], down: &'static [u8]) -> Running {
    let (mut downstream, client) = tcp_pair().await;
    let (mut upstream, server) = tcp_pair().await;
    let seen = Rc::new(Seen::default());
    let (bulk, mut watch) = (bulk.clone(), Rc::clone(&seen));
    let ended = spawn_local(async move {
        forward(
            (&mut downstream).into(),
            (&mut upstream).into(),
            &bulk,
            (up, down),
            &mut watch,
        )
        .await
    });
    Running {
        client,
        server,
        seen,
        ended,
    }
}

async fn start() -> Running {
    start_with(&Bulk::new(16 << 20), b"", b"").await
}

/// Bytes of which no part looks like another.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..))
        .take(length)
        .collect()
}

async fn read_all(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    from.read_to_end(&mut all).await.map(|_| all)
}

async fn send_and_end(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    to.write_all(bytes).await.unwrap();
    to.shutdown().await.unwrap();
}

/// What is written until nobody takes any more.
async fn flood(to: &mut TcpStream) -> usize {
    let chunk = vec![7; 65_536];
    let (mut written, mut refused) = (0, 0);
    let pause = Duration::from_millis(40);
    while refused < 3 {
        match tokio::time::timeout(pause, to.write(&chunk)).await {
            Ok(n) => (written, refused) = (written + n.unwrap(), 0),
            Err(_) => refused += 1,
        }
    }
    written
}

#[test]
fn both_ways_arrive_whole() {
    run(async {
        let (up, down) = (noise(9_000_001, 1), noise(5_000_003, 2));
        let Running {
            mut client,
            mut server,
            seen,
            ended,
        } = start().await;
        let (mut client_in, mut client_out) = client.split();
        let (mut server_in, mut server_out) = server.split();
        let ((), (), at_client, at_server) = tokio::join!(
            send_and_end(&mut client_out, &up),
            send_and_end(&mut server_out, &down),
            read_all(&mut client_in),
            read_all(&mut server_in),
        );
        assert!(at_server.unwrap() == up, "what went up is not what came");
        assert!(
            at_client.unwrap() == down,
            "what went down is not what came"
        );
        let summary = ended.await.unwrap();
        let want = Summary {
            up_bytes: up.len() as u64,
            down_bytes: down.len() as u64,
            end: Ended::Closed,
        };
        assert_eq!(summary, want);
        assert_eq!((seen.up.get(), seen.down.get()), (up.len(), down.len()));
    });
}

#[test]
fn a_busy_connection_lets_others_have_their_turn() {
    use std::{
        io::{Read, Write},
        thread,
    };
    const TOTAL: usize = 256 << 20;
    let seen = run(async {
        let Running {
            client,
            server,
            seen,
            ended,
        } = start().await;
        // On threads of their own, so that there always is something to read and room to write.
        let mut client = client.into_std().unwrap();
        let mut server = server.into_std().unwrap();
        client.set_nonblocking(false).unwrap();
        server.set_nonblocking(false).unwrap();
        let sending = thread::spawn(move || {
            let chunk = vec![0; 1 << 20];
            for _ in 0..TOTAL >> 20 {
                client.write_all(&chunk).unwrap();
            }
        });
        let receiving = thread::spawn(move || {
            let mut chunk = vec![0; 4 << 20];
            while server.read(&mut chunk).unwrap() > 0 {}
        });
        ended.await.unwrap();
        sending.join().unwrap();
        receiving.join().unwrap();
        seen
    });
    assert_eq!(seen.up.get(), TOTAL);
    assert!(seen.turn.get() < 4 << 20, "{}", seen.turn.get());
    // Large reads, too: or the turn would be nothing to be bounded.
    assert!(seen.turn.get() > 64 << 10, "{}", seen.turn.get());
}

#[test]
fn unix_sockets_are_forwarded_alike() {
    run(async {
        let (mut downstream, mut client) = unix_pair();
        let (mut upstream, mut server) = unix_pair();
        let bulk = Bulk::new(1 << 20);
        let bytes = noise(3_000_000, 3);
        let mut seen = Rc::new(Seen::default());
        let running = forward(
            (&mut downstream).into(),
            (&mut upstream).into(),
            &bulk,
            (b"", b""),
            &mut seen,
        );
        let client_side = async {
            send_and_end(&mut client, &bytes).await;
            assert_eq!(read_all(&mut client).await.unwrap(), b"done");
        };
        let server_side = async {
            assert!(read_all(&mut server).await.unwrap() == bytes);
            send_and_end(&mut server, b"done").await;
        };
        let (summary, (), ()) = tokio::join!(running, client_side, server_side);
        assert_eq!((summary.end, summary.down_bytes), (Ended::Closed, 4));
    });
}

#[test]
fn bytes_read_before_go_first() {
    run(async {
        let mut running = start_with(&Bulk::new(0), b"hello ", b"220 ").await;
        running.client.write_all(b"world").await.unwrap();
        running.server.write_all(b"ready").await.unwrap();
        running.client.shutdown().await.unwrap();
        assert_eq!(read_all(&mut running.server).await.unwrap(), b"hello world");
        running.server.shutdown().await.unwrap();
        assert_eq!(read_all(&mut running.client).await.unwrap(), b"220 ready");
        let summary = running.ended.await.unwrap();
        assert_eq!((summary.up_bytes, summary.down_bytes), (11, 9));
    });
}

#[test]
fn an_end_one_way_leaves_the_other_open() {
    run(async {
        for client_first in [true, false] {
            let running = start().await;
            let (mut first, mut second) = (running.client, running.server);
            if !client_first {
                std::mem::swap(&mut first, &mut second);
            }
            send_and_end(&mut first, b"question").await;
            assert_eq!(read_all(&mut second).await.unwrap(), b"question");
            for _ in 0..3 {
                second.write_all(b"answer").await.unwrap();
                let mut answer = [0; 6];
                first.read_exact(&mut answer).await.unwrap();
                assert_eq!(&answer, b"answer");
            }
            assert!(!running.ended.is_finished());
            second.shutdown().await.unwrap();
            assert_eq!(read_all(&mut first).await.unwrap(), b"");
            assert_eq!(running.ended.await.unwrap().end, Ended::Closed);
        }
    });
}

#[test]
fn an_end_comes_after_what_a_slow_receiver_still_has_to_take() {
    run(async {
        let mut running = start().await;
        let bytes = noise(30_000_000, 4);
        let sending = {
            let bytes = bytes.clone();
            let mut client = running.client;
            spawn_local(async move {
                send_and_end(&mut client, &bytes).await;
                client
            })
        };
        let mut got = Vec::new();
        let mut chunk = vec![0; 200_000];
        loop {
            match running.server.read(&mut chunk).await.unwrap() {
                0 => break,
                n => got.extend_from_slice(&chunk[..n]),
            }
            yield_now().await;
        }
        assert!(got == bytes, "{} of {} bytes", got.len(), bytes.len());
        drop(running.server);
        let mut client = sending.await.unwrap();
        assert_eq!(read_all(&mut client).await.unwrap(), b"");
        assert_eq!(running.ended.await.unwrap().end, Ended::Closed);
    });
}

#[test]
fn a_reset_becomes_a_reset() {
    run(async {
        for (client_first, end) in [
            (true, Ended::DownstreamReset),
            (false, Ended::UpstreamReset),
        ] {
            let running = start().await;
            let (mut first, mut second) = (running.client, running.server);
            if !client_first {
                std::mem::swap(&mut first, &mut second);
            }
            first.write_all(b"part").await.unwrap();
            let mut part = [0; 4];
            second.read_exact(&mut part).await.unwrap();
            first.set_zero_linger().unwrap();
            drop(first);
            let error = second.read(&mut part).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            assert_eq!(running.ended.await.unwrap().end, end);
        }
    });
}

#[test]
fn a_reset_after_an_end_one_way_is_passed_on() {
    run(async {
        let mut running = start().await;
        send_and_end(&mut running.client, b"question").await;
        assert_eq!(read_all(&mut running.server).await.unwrap(), b"question");
        running.client.set_zero_linger().unwrap();
        drop(running.client);
        // The server works on an answer that nobody will read, and sends nothing meanwhile.
        let summary = running.ended.await.unwrap();
        assert_eq!(summary.end, Ended::DownstreamReset);
        let error = running.server.write_all(b"answer").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_reset_behind_a_receiver_that_takes_nothing_is_passed_on() {
    run(async {
        let bulk = Bulk::new(1 << 20);
        let mut running = start_with(&bulk, b"", b"").await;
        flood(&mut running.client).await;
        assert!(bulk.held() > 0);
        running.client.set_zero_linger().unwrap();
        drop(running.client);
        assert_eq!(running.ended.await.unwrap().end, Ended::DownstreamReset);
        assert_eq!(bulk.held(), 0);
        let mut sink = vec![0; 1 << 20];
        let error = loop {
            match running.server.read(&mut sink).await {
                Ok(0) => panic!("a broken transfer ended like a whole one"),
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn an_answer_before_a_reset_is_delivered() {
    run(async {
        let mut running = start().await;
        // More than fits on the way, so that writing is what finds the reset.
        let sending = flood(&mut running.client);
        let answering = async {
            running.server.read_u8().await.unwrap();
            running.server.write_all(b"too much").await.unwrap();
            // Closed with bytes unread: the kernel resets the connection.
            drop(running.server);
        };
        let receiving = async {
            tokio::join!(answering, async {
                while running.seen.down.get() < 8 && !running.ended.is_finished() {
                    yield_now().await;
                }
            })
        };
        tokio::select! {
            biased;
            _ = receiving => {}
            _ = sending => panic!("all was taken"),
        }
        let mut answer = [0; 8];
        running.client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"too much");
        assert_eq!(running.ended.await.unwrap().end, Ended::UpstreamReset);
        let error = running.client.read(&mut answer).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn slow_receivers_cost_little_and_lose_nothing() {
    run(async {
        let bulk = Bulk::new(64 << 20);
        let mut all = Vec::new();
        for _ in 0..8 {
            let mut running = start_with(&bulk, b"", b"").await;
            let sent = flood(&mut running.client).await;
            assert!(sent > 1 << 20, "{sent}");
            all.push((running, sent));
        }
        // The sum of all, though each has moved megabytes and could use the large window.
        assert!(
            bulk.held() > 0 && bulk.held() <= 8 * (64 << 10),
            "{}",
            bulk.held()
        );
        for (mut running, sent) in all {
            running.client.shutdown().await.unwrap();
            let got = read_all(&mut running.server).await.unwrap();
            assert_eq!(got.len(), sent);
        }
        assert_eq!(bulk.held(), 0);
    });
}

#[test]
fn memory_for_slow_receivers_has_a_bound() {
    run(async {
        let bulk = Bulk::new(100_000);
        let mut all = Vec::new();
        for _ in 0..8 {
            let mut running = start_with(&bulk, b"", b"").await;
            flood(&mut running.client).await;
            all.push(running);
        }
        let most = 100_000 + 8 * (16 << 10);
        assert!(bulk.held() > 0 && bulk.held() <= most, "{}", bulk.held());
        // Ended from outside, they give everything back.
        for running in all {
            running.seen.expire(Cause::Draining);
            let summary = running.ended.await.unwrap();
            assert_eq!(summary.end, Ended::Expired(Cause::Draining));
        }
        assert_eq!(bulk.held(), 0);
    });
}

#[test]
fn an_observer_sees_bytes_move_and_may_end_it() {
    run(async {
        let mut running = start().await;
        running.client.write_all(b"12345").await.unwrap();
        let mut five = [0; 5];
        running.server.read_exact(&mut five).await.unwrap();
        while running.seen.up.get() < 5 {
            yield_now().await;
        }
        assert_eq!((running.seen.up.get(), running.seen.down.get()), (5, 0));
        running.seen.expire(Cause::IdleTimeout);
        let summary = running.ended.await.unwrap();
        assert_eq!(summary.end, Ended::Expired(Cause::IdleTimeout));
        assert_eq!(summary.end.cause(), Some(Cause::IdleTimeout));
        assert_eq!(read_all(&mut running.server).await.unwrap(), b"");
        assert_eq!(read_all(&mut running.client).await.unwrap(), b"");
    });
}

#[test]
fn an_idle_connection_is_small_and_holds_nothing() {
    run(async {
        let (mut downstream, mut client) = tcp_pair().await;
        let (mut upstream, mut server) = tcp_pair().await;
        let bulk = Bulk::new(1 << 20);
        let mut seen = Rc::new(Seen::default());
        let mut running = forward(
            (&mut downstream).into(),
            (&mut upstream).into(),
            &bulk,
            (b"a", b"b"),
            &mut seen,
        );
        assert!(size_of_val(&running) <= 112, "{}", size_of_val(&running));
        let work = async {
            for _ in 0..3 {
                client.write_all(&vec![1; 300_000]).await.unwrap();
                server.read_exact(&mut vec![0; 300_000]).await.unwrap();
                server.write_u8(2).await.unwrap();
                client.read_u8().await.unwrap();
            }
            // A stall leaves a check behind; it goes when it has nothing to look for.
            sleep(CHECK_INTERVAL * 2).await;
        };
        tokio::select! {
            summary = &mut running => panic!("{summary:?}"),
            () = work => {}
        }
        assert!(running.check.is_none());
        assert!(!running.up.is_stalled() && !running.down.is_stalled());
        assert_eq!(bulk.held(), 0);
    });
}
