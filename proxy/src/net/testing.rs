//! What tests of sockets need: a worker's kind of runtime, pairs of connected streams.

use std::{future::Future, path::PathBuf, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream, UnixStream},
    task::LocalSet,
    time::timeout,
};

use super::stream::Stream;

/// Runs a test as a worker runs connections. Fails it after a time in which it cannot but be done.
pub(crate) fn run<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        timeout(Duration::from_secs(30), test)
            .await
            .expect("the test hangs")
    })
}

/// Two ends of one TCP connection: ours, and the peer's.
pub(crate) async fn tcp_pair() -> (Stream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).await;
    let (ours, _) = listener.accept().await.unwrap();
    ours.set_nodelay(true).unwrap();
    (Stream::Tcp(ours.into()), peer.unwrap())
}

/// Two ends of one Unix connection: ours, and the peer's.
pub(crate) fn unix_pair() -> (Stream, UnixStream) {
    let (ours, peer) = UnixStream::pair().unwrap();
    (Stream::Unix(ours), peer)
}

/// A path for a socket, removed with this.
pub(crate) struct TempPath(pub(crate) PathBuf);

impl TempPath {
    pub(crate) fn new(name: &str) -> Self {
        let name = format!("outrigger-{}-{name}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_file(&path);
        Self(path)
    }
}

impl Drop for TempPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
