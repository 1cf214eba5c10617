use std::{cell::Cell, process::Command, rc::Rc};

use tokio::{io::AsyncReadExt, net::TcpSocket};

use super::*;
use crate::net::{
    listen::{Bound, ListenOptions},
    testing::{TempPath, run},
};

fn listen(address: &BindAddress) -> (Listener, BindAddress) {
    let bound = Bound::bind(address, &ListenOptions::default(), 1).unwrap();
    let address = bound.address().clone();
    let socket = bound.into_sockets().pop().unwrap();
    (socket.into_listener().unwrap(), address)
}

fn listen_tcp(address: &str) -> (Listener, SocketAddr) {
    match listen(&BindAddress::Tcp(address.parse().unwrap())) {
        (listener, BindAddress::Tcp(address)) => (listener, address),
        (_, BindAddress::Unix(_)) => unreachable!(),
    }
}

#[test]
fn both_ends_are_told() {
    run(async {
        for (bind, connect) in [
            ("127.0.0.1:0", "127.0.0.1"),
            ("127.0.0.1:0", "127.0.0.2"),
            ("0.0.0.0:0", "127.0.0.3"),
            ("[::]:0", "127.0.0.1"),
            ("[::]:0", "::1"),
            ("[::1]:0", "::1"),
        ] {
            let target = bind.replace("127.0.0.1", connect);
            let (listener, address) = listen_tcp(&target);
            if address.is_ipv4() && connect == "::1" {
                continue;
            }
            let client = TcpStream::connect((connect, address.port())).await.unwrap();
            let (stream, peer) = listener.accept(|error| panic!("{error}")).await;
            assert!(stream.tcp().is_some());
            assert_eq!(peer.remote, client.local_addr().ok());
            assert_eq!(peer.local, client.peer_addr().ok());
            assert_eq!(peer.local.unwrap().ip().to_string(), connect);
        }

        let path = TempPath::new("accept");
        let (listener, _) = listen(&BindAddress::Unix(path.0.clone()));
        let _client = UnixStream::connect(&path.0).await.unwrap();
        let (stream, peer) = listener.accept(|error| panic!("{error}")).await;
        assert!(matches!(stream, Stream::Unix(_)));
        assert_eq!(peer, Peer::default());
    });
}

#[test]
fn one_wake_accepts_all_that_are_queued() {
    run(async {
        let (listener, address) = listen_tcp("127.0.0.1:0");
        let mut clients = Vec::new();
        for _ in 0..20 {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        let _first = listener.accept(|error| panic!("{error}")).await;
        // All the others without waiting: within one poll.
        poll_fn(|cx| {
            for _ in 1..20 {
                assert!(listener.poll_accept(cx).is_ready());
            }
            assert!(listener.poll_accept(cx).is_pending());
            Poll::Ready(())
        })
        .await;
    });
}

#[test]
fn the_queue_can_be_emptied_before_closing() {
    run(async {
        let (listener, address) = listen_tcp("127.0.0.1:0");
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        for _ in &clients {
            let (stream, peer) = listener.accept_queued().unwrap().unwrap();
            let mut stream = stream;
            let ours = clients.iter().find(|c| c.local_addr().ok() == peer.remote);
            ours.unwrap().try_write(b"x").unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), b'x');
        }
        assert!(listener.accept_queued().unwrap().is_none());
    });
}

#[test]
fn errors_of_one_connection_do_not_stop_the_others() {
    for (code, one) in [
        (libc::ECONNABORTED, true),
        (libc::EPROTO, true),
        (libc::EMFILE, false),
        (libc::ENFILE, false),
        (libc::ENOBUFS, false),
        (libc::ENOMEM, false),
        (libc::EINVAL, false),
    ] {
        let error = io::Error::from_raw_os_error(code);
        assert_eq!(is_of_one_connection(&error), one, "{error}");
    }
    run(async {
        let (listener, address) = listen_tcp("127.0.0.1:0");
        // A client that is gone before it is accepted.
        let gone = TcpStream::connect(address).await.unwrap();
        gone.set_zero_linger().unwrap();
        drop(gone);
        let client = TcpStream::connect(address).await.unwrap();
        loop {
            let (_, peer) = listener.accept(|error| panic!("{error}")).await;
            if peer.remote == client.local_addr().ok() {
                break;
            }
        }
    });
}

/// Run in a process of its own by the test below, since the limit belongs to the process.
#[test]
fn in_child_runs_out_of_descriptors() {
    if std::env::var_os("OUTRIGGER_TEST_CHILD").is_none() {
        return;
    }
    run(async {
        let (listener, address) = listen_tcp("127.0.0.1:0");
        let listener = Rc::new(listener);
        let failures = Rc::new(Cell::new(0));
        let accept = || {
            let (listener, failures) = (Rc::clone(&listener), Rc::clone(&failures));
            tokio::task::spawn_local(async move {
                listener
                    .accept(|error| {
                        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                        failures.set(failures.get() + 1);
                    })
                    .await
            })
        };
        let failed = async |times: u32| {
            let before = failures.get();
            while failures.get() < before + times {
                tokio::task::yield_now().await;
            }
        };
        let exhaust =
            || -> Vec<File> { std::iter::from_fn(|| File::open("/dev/null").ok()).collect() };

        // A short lack: the client waits in the queue and is served when it is over.
        let client = TcpStream::connect(address).await.unwrap();
        let files = exhaust();
        assert!(files.len() > 10);
        let accepting = accept();
        failed(1).await;
        drop(files);
        let (_stream, peer) = accepting.await.unwrap();
        assert_eq!(peer.remote, client.local_addr().ok());

        // A long one: clients are closed, and the queue does not keep the worker busy.
        let mut clients = Vec::new();
        for _ in 0..5 {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        let late = TcpSocket::new_v4().unwrap();
        let files = exhaust();
        let accepting = accept();
        failed(1).await;
        let before = failures.get();
        for mut client in clients {
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        }
        // Refused with one go of the reserve, not one by one.
        assert_eq!(failures.get() - before, 1);

        // The same listener serves on when descriptors are back.
        drop(files);
        let late = late.connect(address).await.unwrap();
        let (_stream, peer) = accepting.await.unwrap();
        assert_eq!(peer.remote, late.local_addr().ok());
        assert!(listener.spare.borrow().is_some());
    });
}

#[test]
fn a_lack_of_descriptors_is_survived() {
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "net::accept::tests::in_child_runs_out_of_descriptors",
        ])
        .env("OUTRIGGER_TEST_CHILD", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}
