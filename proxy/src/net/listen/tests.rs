use std::{
    net::{TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
};

use super::*;
use crate::net::{
    options::tests::{assert_applied, unusual},
    testing::TempPath,
};

fn bind(
    address: &BindAddress,
    options: &ListenOptions,
    workers: usize,
) -> Result<Bound, BindError> {
    Bound::bind(address, options, workers)
}

fn loopback() -> BindAddress {
    BindAddress::Tcp("127.0.0.1:0".parse().unwrap())
}

fn tcp(bound: &Bound) -> SocketAddr {
    match bound.address() {
        BindAddress::Tcp(address) => *address,
        BindAddress::Unix(path) => panic!("{}", path.display()),
    }
}

fn accept_all(socket: &Socket) -> Vec<Socket> {
    std::iter::from_fn(|| socket.accept().ok())
        .map(|(accepted, _)| accepted)
        .collect()
}

#[test]
fn every_worker_has_a_socket_on_the_port_the_first_one_got() {
    let bound = bind(&loopback(), &ListenOptions::default(), 3).unwrap();
    let address = tcp(&bound);
    assert_ne!(address.port(), 0);
    let clients: Vec<_> = (0..96)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let sockets = bound.into_sockets();
    let accepted: Vec<_> = sockets
        .iter()
        .map(|bound| accept_all(&bound.socket).len())
        .collect();
    assert_eq!(accepted.len(), 3);
    assert_eq!(accepted.iter().sum::<usize>(), clients.len());
    // One third each but for chance: none of 96 with a probability of 1e-17.
    assert!(accepted.iter().all(|n| *n > 0), "{accepted:?}");
}

#[test]
fn a_port_in_use_is_an_error_that_says_which_and_why() {
    let options = ListenOptions::default();
    let workers = [1, 2];
    for count in workers {
        let first = bind(&loopback(), &options, count).unwrap();
        let error = bind(first.address(), &options, count).unwrap_err();
        let port = tcp(&first).port();
        assert_eq!(
            error.to_string(),
            format!("cannot bind 127.0.0.1:{port}: Address in use (os error 98)")
                .replace("Address in use", "Address already in use"),
        );
        let own = ListenOptions {
            sharing: Sharing::WithOwn,
            ..options.clone()
        };
        bind(first.address(), &own, count).unwrap();
    }

    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = BindAddress::Tcp(stranger.local_addr().unwrap());
    for sharing in [Sharing::Exclusive, Sharing::WithOwn] {
        let options = ListenOptions {
            sharing,
            ..options.clone()
        };
        bind(&taken, &options, 2).unwrap_err();
    }
}

#[test]
fn a_port_is_free_again_after_its_connections_ended_here_first() {
    let first = bind(&loopback(), &ListenOptions::default(), 2).unwrap();
    let address = first.address().clone();
    let client = TcpStream::connect(tcp(&first)).unwrap();
    let served: Vec<_> = first
        .into_sockets()
        .iter()
        .flat_map(|bound| accept_all(&bound.socket))
        .collect();
    assert_eq!(served.len(), 1);
    // Our end closes first, so it is the one that stays in TIME_WAIT.
    drop(served);
    drop(client);
    bind(&address, &ListenOptions::default(), 2).unwrap();
}

#[test]
fn both_families_reach_a_dual_stack_listener() {
    let any = BindAddress::Tcp("[::]:0".parse().unwrap());
    let bound = bind(&any, &ListenOptions::default(), 1).unwrap();
    let port = tcp(&bound).port();
    TcpStream::connect(("127.0.0.1", port)).unwrap();
    if tcp(&bound).is_ipv6() {
        TcpStream::connect(("::1", port)).unwrap();
    }
}

#[test]
fn without_ipv6_both_families_means_ipv4() {
    let missing = io::Error::from_raw_os_error(libc::EAFNOSUPPORT);
    let unusable = io::Error::from_raw_os_error(libc::EADDRNOTAVAIL);
    let taken = io::Error::from_raw_os_error(libc::EADDRINUSE);
    for (address, error, instead) in [
        ("[::]:80", &missing, Some("0.0.0.0:80")),
        ("[::]:80", &unusable, Some("0.0.0.0:80")),
        ("[::]:80", &taken, None),
        ("[::1]:80", &missing, None),
        ("0.0.0.0:80", &unusable, None),
        ("192.0.2.1:80", &unusable, None),
    ] {
        let found = without_ipv6(address.parse().unwrap(), error);
        assert_eq!(
            found,
            instead.map(|text| text.parse().unwrap()),
            "{address}"
        );
    }
}

#[test]
fn accepted_connections_inherit_every_option_from_the_listener() {
    let options = ListenOptions {
        socket: unusual(),
        ..ListenOptions::default()
    };
    for address in ["127.0.0.1:0", "[::]:0"] {
        let bound = bind(&BindAddress::Tcp(address.parse().unwrap()), &options, 2).unwrap();
        let port = tcp(&bound).port();
        let clients: Vec<_> = (0..32)
            .map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap())
            .collect();
        let mut seen = 0;
        for bound in bound.into_sockets() {
            for accepted in accept_all(&bound.socket) {
                assert_applied(&options.socket, &SockRef::from(&accepted));
                seen += 1;
            }
        }
        assert_eq!(seen, clients.len());
    }
}

#[test]
fn deferred_connections_are_accepted_with_their_first_bytes() {
    use std::io::Write;
    let options = ListenOptions {
        defer_accept: Some(Duration::from_secs(5)),
        ..ListenOptions::default()
    };
    let bound = bind(&loopback(), &options, 1).unwrap();
    let mut client = TcpStream::connect(tcp(&bound)).unwrap();
    let sockets = bound.into_sockets();
    assert_eq!(accept_all(&sockets[0].socket).len(), 0);
    client.write_all(b"GET").unwrap();
    assert_eq!(accept_all(&sockets[0].socket).len(), 1);
}

#[test]
fn a_unix_socket_is_private_shared_by_workers_and_removed_with_the_last() {
    let path = TempPath::new("listen");
    let address = BindAddress::Unix(path.0.clone());
    let bound = bind(&address, &ListenOptions::default(), 2).unwrap();
    let mode = fs::metadata(&path.0).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let mut sockets = bound.into_sockets();
    for bound in &sockets {
        let _client = UnixStream::connect(&path.0).unwrap();
        assert_eq!(accept_all(&bound.socket).len(), 1);
    }
    sockets.pop();
    UnixStream::connect(&path.0).unwrap();
    sockets.pop();
    assert!(!path.0.exists());
}

#[test]
fn a_socket_that_is_served_is_left_alone_and_a_stale_one_replaced() {
    let path = TempPath::new("stale");
    let address = BindAddress::Unix(path.0.clone());
    let options = ListenOptions {
        unix_mode: 0o660,
        ..ListenOptions::default()
    };
    let other = UnixListener::bind(&path.0).unwrap();
    let error = bind(&address, &options, 1).unwrap_err();
    assert!(error.to_string().contains("address in use"), "{error}");
    other.set_nonblocking(true).unwrap();
    other.accept().unwrap();
    assert!(path.0.exists());

    drop(other);
    let bound = bind(&address, &options, 1).unwrap();
    let mode = fs::metadata(&path.0).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    UnixStream::connect(&path.0).unwrap();

    // Somebody else took the path over: it is no longer ours to remove.
    fs::remove_file(&path.0).unwrap();
    let successor = UnixListener::bind(&path.0).unwrap();
    drop(bound);
    UnixStream::connect(&path.0).unwrap();
    drop(successor);
}

#[test]
fn a_file_that_is_no_socket_is_never_removed() {
    let path = TempPath::new("file");
    fs::write(&path.0, "precious").unwrap();
    let error = bind(
        &BindAddress::Unix(path.0.clone()),
        &ListenOptions::default(),
        1,
    )
    .unwrap_err();
    assert!(error.to_string().contains("not a socket"), "{error}");
    assert_eq!(fs::read_to_string(&path.0).unwrap(), "precious");

    let long = BindAddress::Unix(PathBuf::from(format!("/tmp/{}", "x".repeat(200))));
    bind(&long, &ListenOptions::default(), 1).unwrap_err();
    let nowhere = BindAddress::Unix(PathBuf::from("/nonexistent/a.sock"));
    bind(&nowhere, &ListenOptions::default(), 1).unwrap_err();
}
