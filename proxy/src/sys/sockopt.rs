//! Socket options that socket2 and tokio lack.

use std::{
    ffi::c_int,
    io,
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

use socket2::SockRef;

/// Lets the kernel hold accepted connections back until the client has sent something, for
/// about this long (`TCP_DEFER_ACCEPT`; the kernel rounds up to its retransmission steps).
///
/// Only for listeners whose client speaks first: a server that greets waits the whole time.
pub(crate) fn set_defer_accept(socket: &impl AsFd, wait: Duration) -> io::Result<()> {
    let seconds = wait.as_secs().clamp(1, 255) as c_int;
    // SAFETY: the descriptor is open while `socket` is borrowed; the kernel reads one `c_int`
    // from a pointer to a live one, whose size is passed.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of::<c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Bytes the kernel would take from a send now, as near as it tells: payload is a little less
/// than the memory it is charged for. `None` where the kernel cannot say.
pub(crate) fn send_room(socket: &impl AsFd) -> Option<usize> {
    // The kernel's `SK_MEMINFO_*`, of which it has nine; room for what later ones add.
    let mut memory = [0_u32; 16];
    let mut length = size_of_val(&memory) as libc::socklen_t;
    // SAFETY: the descriptor is open while `socket` is borrowed; the kernel writes at most
    // `length` bytes to a live array of that size, and any bytes are valid `u32`s.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            memory.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return None;
    }
    let value = |index: c_int| memory.get(index as usize).copied().unwrap_or_default();
    // TCP charges what it queues, Unix sockets what they allocate.
    let used = value(libc::SK_MEMINFO_WMEM_QUEUED).max(value(libc::SK_MEMINFO_WMEM_ALLOC));
    Some(value(libc::SK_MEMINFO_SNDBUF).saturating_sub(used) as usize)
}

/// Sends, and says that more follows at once (`MSG_MORE`): more bytes or the end, which then shares
/// the last segment. The kernel waits for it for 200 ms at most.
pub(crate) fn send_more(socket: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_MORE | libc::MSG_NOSIGNAL;
    SockRef::from(socket).send_with_flags(bytes, flags)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{ErrorKind, Read, Write},
        net::{TcpListener, TcpStream},
        os::unix::net::UnixStream,
    };

    use super::*;

    #[test]
    fn what_is_followed_by_the_end_arrives_whole() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut receiver, _) = listener.accept().unwrap();
        assert_eq!(send_more(&sender, b"all").unwrap(), 3);
        drop(sender);
        let mut came = String::new();
        receiver.read_to_string(&mut came).unwrap();
        assert_eq!(came, "all");
    }

    #[test]
    fn defer_accept_holds_a_silent_connection_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        set_defer_accept(&listener, Duration::from_secs(1)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        // The handshake is complete on the client's side, yet nothing is to be accepted.
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        client.write_all(b"x").unwrap();
        listener.set_nonblocking(false).unwrap();
        listener.accept().unwrap();
    }

    #[test]
    fn an_option_for_the_wrong_socket_is_an_error() {
        let (socket, _peer) = UnixStream::pair().unwrap();
        set_defer_accept(&socket, Duration::from_secs(1)).unwrap_err();
    }

    fn check_room(mut sender: impl Write + AsFd) {
        let empty = send_room(&sender).unwrap();
        assert!(empty >= 4096, "{empty}");
        let chunk = vec![0; 4096];
        let mut sent = 0;
        let error = loop {
            match sender.write(&chunk) {
                Ok(n) => sent += n,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        let full = send_room(&sender).unwrap();
        assert!(full < 16_384 && full < empty, "{empty} {full} {sent}");
    }

    #[test]
    fn room_shrinks_as_nobody_reads() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _receiver = listener.accept().unwrap();
        sender.set_nonblocking(true).unwrap();
        check_room(sender);

        let (sender, _receiver) = UnixStream::pair().unwrap();
        sender.set_nonblocking(true).unwrap();
        check_room(sender);
    }
}
