use std::{net::Ipv6Addr, time::Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener},
};

use super::*;
use crate::net::{
    options::tests::{assert_applied, unusual},
    testing::{TempPath, run},
};

const LIMIT: Duration = Duration::from_secs(20);

async fn connect_to(addresses: &[Address]) -> Result<Stream, ConnectError> {
    connect(addresses, &ConnectOptions { socket: unusual() }, LIMIT).await
}

async fn listener(ip: &str) -> (TcpListener, Address) {
    let listener = TcpListener::bind((ip, 0)).await.unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap());
    (listener, address)
}

/// Addresses at which nobody listens, held so that nobody else gets them meanwhile.
fn closed<const N: usize>() -> ([Address; N], [TcpSocket; N]) {
    let sockets = std::array::from_fn(|_| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        socket
    });
    let addresses = sockets
        .each_ref()
        .map(|socket| Address::Tcp(socket.local_addr().unwrap()));
    (addresses, sockets)
}

/// An address that never answers: a listener whose queue is full and stays so.
struct BlackHole {
    address: Address,
    listener: TcpListener,
    queued: Vec<TcpStream>,
}

impl BlackHole {
    async fn new(ip: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket
            .bind(SocketAddr::new(ip.parse().unwrap(), 0))
            .unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        // Over loopback a connection either is there at once or its SYN was dropped.
        let short = Duration::from_millis(100);
        while let Ok(stream) = timeout(short, TcpStream::connect(address)).await {
            queued.push(stream.unwrap());
            assert!(queued.len() < 100, "the queue does not fill");
        }
        Self {
            address: Address::Tcp(address),
            listener,
            queued,
        }
    }
}

#[test]
fn connects_with_options_over_each_family() {
    run(async {
        let mut ips = vec!["127.0.0.1"];
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.is_ok() {
            ips.push("::1");
        }
        for ip in ips {
            let (listener, address) = listener(ip).await;
            let mut stream = connect_to(&[address]).await.unwrap();
            assert_applied(&unusual(), &SockRef::from(stream.tcp().unwrap()));
            let (mut server, _) = listener.accept().await.unwrap();
            server.write_all(b"hi").await.unwrap();
            assert_eq!(stream.read_u16().await.unwrap(), 0x6869);
        }
        let path = TempPath::new("connect");
        let listener = UnixListener::bind(&path.0).unwrap();
        let mut stream = connect_to(&[Address::Unix(path.0.clone())]).await.unwrap();
        listener
            .accept()
            .await
            .unwrap()
            .0
            .write_u8(7)
            .await
            .unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), 7);
    });
}

#[test]
fn refusals_are_told_from_silence() {
    run(async {
        let (nobody, _held) = closed::<1>();
        let error = connect_to(&nobody).await.unwrap_err();
        assert_eq!(error.cause(), Cause::ConnectionRefused, "{error}");

        let path = TempPath::new("no-server");
        let missing = [Address::Unix(path.0.clone())];
        let error = connect_to(&missing).await.unwrap_err();
        assert_eq!(error.cause(), Cause::ConnectionRefused, "{error}");
        drop(UnixListener::bind(&path.0).unwrap());
        let error = connect_to(&missing).await.unwrap_err();
        assert_eq!(error.cause(), Cause::ConnectionRefused, "{error}");

        let hole = BlackHole::new("127.0.0.1").await;
        let limit = Duration::from_millis(50);
        let options = ConnectOptions::default();
        for addresses in [vec![hole.address.clone()], vec![hole.address.clone(); 2]] {
            let error = connect(&addresses, &options, limit).await.unwrap_err();
            assert_eq!(error.cause(), Cause::ConnectTimeout, "{error}");
        }

        let error = connect_to(&[]).await.unwrap_err();
        assert_eq!(error.cause(), Cause::Unreachable, "{error}");
    });
}

#[test]
fn errors_are_put_down_to_whose_they_are() {
    for (code, cause) in [
        (libc::ECONNREFUSED, Cause::ConnectionRefused),
        (libc::ECONNRESET, Cause::ConnectionRefused),
        (libc::ENOENT, Cause::ConnectionRefused),
        (libc::ETIMEDOUT, Cause::ConnectTimeout),
        (libc::EHOSTUNREACH, Cause::Unreachable),
        (libc::ENETUNREACH, Cause::Unreachable),
        (libc::EACCES, Cause::Unreachable),
        (libc::EINVAL, Cause::Unreachable),
        (libc::EMFILE, Cause::Internal),
        (libc::ENFILE, Cause::Internal),
        (libc::ENOBUFS, Cause::Internal),
        (libc::EADDRNOTAVAIL, Cause::Internal),
    ] {
        let error = ConnectError::from(io::Error::from_raw_os_error(code));
        assert_eq!(error.cause(), cause, "{error}");
    }
}

#[test]
fn families_take_turns() {
    for (given, ordered) in [
        ("", ""),
        ("4a", "4a"),
        ("6a 6b 4a 4b", "6a 4a 6b 4b"),
        ("4a 6a 6b 6c 4b", "4a 6a 4b 6b 6c"),
        ("4a 4b 4c 6a", "4a 6a 4b 4c"),
        ("6a ua 4a", "6a ua 4a"),
    ] {
        let parse = |text: &str| -> Vec<Address> {
            text.split_whitespace()
                .map(|word| match word.split_at(1) {
                    ("4", host) => format!("10.0.0.{}:1", host.as_bytes()[0]),
                    ("6", host) => format!("[::{host}]:1"),
                    (_, host) => format!("unix:{host}"),
                })
                .map(|text| match text.strip_prefix("unix:") {
                    Some(path) => Address::Unix(path.into()),
                    None => Address::Tcp(text.parse().unwrap()),
                })
                .collect()
        };
        let (given, ordered) = (parse(given), parse(ordered));
        assert_eq!(by_turns(&given), ordered.iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_silent_address_costs_one_attempt_delay() {
    run(async {
        let hole = BlackHole::new("127.0.0.1").await;
        let (listener, good) = listener("127.0.0.1").await;
        let begun = Instant::now();
        let addresses = [hole.address.clone(), good.clone()];
        let stream = connect_to(&addresses).await.unwrap();
        assert!(begun.elapsed() >= ATTEMPT_DELAY);
        assert!(begun.elapsed() < ATTEMPT_DELAY * 4);
        let peer = stream.tcp().unwrap().peer_addr().unwrap();
        assert_eq!(Address::Tcp(peer), good);
        // The other order waits for nothing.
        let begun = Instant::now();
        connect_to(&[good, hole.address.clone()]).await.unwrap();
        assert!(begun.elapsed() < ATTEMPT_DELAY);
        drop(listener);
    });
}

#[test]
fn a_refusal_costs_no_delay() {
    run(async {
        let (_listener, good) = listener("127.0.0.1").await;
        let begun = Instant::now();
        let (nobody, _held) = closed::<2>();
        let [first, second] = nobody.clone();
        connect_to(&[first, second, good]).await.unwrap();
        assert!(begun.elapsed() < ATTEMPT_DELAY);
        let error = connect_to(&nobody).await;
        assert_eq!(error.unwrap_err().cause(), Cause::ConnectionRefused);
    });
}

#[test]
fn a_first_attempt_may_still_win_after_the_second_began() {
    run(async {
        let mut slow = BlackHole::new("127.0.0.1").await;
        let hole = BlackHole::new("127.0.0.1").await;
        let addresses = [slow.address.clone(), hole.address.clone()];
        let connecting = connect_to(&addresses);
        let unblock = async {
            sleep(ATTEMPT_DELAY * 2).await;
            // Room in the queue: the next retransmission of the SYN gets through.
            slow.queued.clear();
            loop {
                if slow.listener.accept().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let stream = tokio::select! {
            stream = connecting => stream.unwrap(),
            () = unblock => unreachable!(),
        };
        let peer = stream.tcp().unwrap().peer_addr().unwrap();
        assert_eq!(Address::Tcp(peer), slow.address);
    });
}

#[test]
fn a_full_unix_queue_is_waited_for() {
    run(async {
        let path = TempPath::new("full-queue");
        let address = socket2::SockAddr::unix(&path.0).unwrap();
        let socket =
            socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        socket.bind(&address).unwrap();
        socket.listen(0).unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = UnixStream::connect(&path.0).await {
            queued.push(stream);
        }
        let addresses = [Address::Unix(path.0.clone())];
        let options = ConnectOptions::default();
        let limit = Duration::from_millis(30);
        let error = connect(&addresses, &options, limit).await.unwrap_err();
        assert_eq!(error.cause(), Cause::ConnectTimeout);

        let connecting = tokio::task::spawn_local(async move { connect_to(&addresses).await });
        tokio::task::yield_now().await;
        socket.accept().unwrap();
        connecting.await.unwrap().unwrap();
    });
}

#[test]
fn a_connection_to_itself_is_seen() {
    run(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        let stream = socket.connect(address).await.unwrap();
        assert!(is_to_itself(&stream, address).unwrap());

        let (_listener, good) = listener("127.0.0.1").await;
        let Address::Tcp(good) = good else {
            unreachable!()
        };
        let stream = TcpStream::connect(good).await.unwrap();
        assert!(!is_to_itself(&stream, good).unwrap());
    });
}

#[test]
fn the_usual_connect_is_small() {
    let addresses = [Address::Unix("x".into())];
    let options = ConnectOptions::default();
    let future = connect(&addresses, &options, LIMIT);
    assert!(size_of_val(&future) <= 512, "{}", size_of_val(&future));
}
