//! Listening sockets that the event loop watches, for who accepts by himself.

use std::io;

use socket2::Socket;
use tokio::io::{Interest, unix::AsyncFd};

/// Lets the event loop of this thread tell when a connection is queued.
pub(crate) fn watch(listener: Socket) -> io::Result<AsyncFd<Socket>> {
    listener.set_nonblocking(true)?;
    // SAFETY: a `Socket` owns its descriptor, which is the same from here to its drop, and is open
    // until then: nobody but the `AsyncFd` has it.
    let watched = unsafe { AsyncFd::register_with_interest(listener, Interest::READABLE) };
    watched.map_err(|error| error.into_parts().1)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use socket2::{Domain, Type};

    use super::*;

    #[test]
    fn a_connection_is_told_of() {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let local = std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        listener.bind(&local.into()).unwrap();
        listener.listen(1).unwrap();
        crate::net::testing::run(async {
            let watched = watch(listener).unwrap();
            let local = watched.get_ref().local_addr().unwrap();
            let peer = TcpStream::connect(local.as_socket().unwrap()).unwrap();
            let mut ready = watched.readable().await.unwrap();
            let (_, remote) = ready
                .try_io(|listener| listener.get_ref().accept())
                .unwrap()
                .unwrap();
            assert_eq!(remote.as_socket(), Some(peer.local_addr().unwrap()));
            let again = ready.try_io(|listener| listener.get_ref().accept());
            assert!(again.is_err(), "there is no second one");
        });
    }
}
