//! Back ends that follow a script and remember what they received.

use std::{
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use socket2::SockRef;

use crate::{
    http::Message,
    reader::{Broken, Reader},
    wire::{Address, Wire},
};

/// What an upstream saw. Shared by all its connections.
#[derive(Debug, Default)]
pub struct Record {
    requests: Mutex<Vec<Message>>,
    bytes: AtomicUsize,
    connections: AtomicUsize,
    open: AtomicUsize,
    cut: AtomicUsize,
    panicked: AtomicBool,
}

/// One accepted connection, in the hands of a script.
#[derive(Debug)]
pub struct Peer {
    /// The socket.
    pub wire: Wire,
    /// What came and was not taken yet.
    pub reader: Reader,
    /// Number of this connection at this upstream, from 0.
    pub index: usize,
    counted: usize,
    record: Arc<Record>,
}

impl Peer {
    /// Reads the next request, or `None` when the connection ended before it or within it.
    pub fn request(&mut self) -> Option<Message> {
        let result = self.reader.request(&mut self.wire);
        self.count();
        match result {
            Ok(message) => {
                self.record.requests.lock().unwrap().push(message.clone());
                Some(message)
            }
            Err(Broken::Ended) => None,
            Err(_) => {
                self.record.cut.fetch_add(1, Ordering::SeqCst);
                None
            }
        }
    }

    /// Reads a head and leaves the body.
    pub fn head(&mut self) -> Option<Message> {
        let result = self.reader.head(&mut self.wire);
        self.count();
        let message = result.ok()?;
        self.record.requests.lock().unwrap().push(message.clone());
        Some(message)
    }

    /// Reads exactly `n` bytes.
    pub fn exactly(&mut self, n: usize) -> Result<Vec<u8>, Broken> {
        let mut bytes = Vec::new();
        let result = self.reader.exactly(&mut self.wire, n, &mut bytes);
        self.count();
        result.map(|()| bytes)
    }

    /// Sends bytes; the proxy may be gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.wire.write_all(bytes.as_ref());
        self
    }

    /// Sends a response with a length.
    pub fn answer(&mut self, status: u16, body: &[u8]) -> &mut Self {
        let mut bytes = format!(
            "HTTP/1.1 {status} Scripted\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        bytes.extend_from_slice(body);
        self.send(bytes)
    }

    /// Makes the end of this script a reset.
    pub fn reset(&self) {
        self.wire.reset_on_close();
    }

    /// Waits until the proxy ends its side, and returns what came before that.
    pub fn wait_end(&mut self) -> Vec<u8> {
        while self.reader.fill(&mut self.wire).unwrap_or(false) {}
        self.count();
        self.reader.pending().to_vec()
    }

    fn count(&mut self) {
        let seen = self.reader.seen.len();
        self.record
            .bytes
            .fetch_add(seen - self.counted, Ordering::SeqCst);
        self.counted = seen;
    }
}

/// A listening back end. Stops, and closes its connections' listener, on drop.
#[derive(Debug)]
pub struct Upstream {
    /// Where it listens.
    pub address: Address,
    record: Arc<Record>,
    stopping: Arc<AtomicBool>,
    listener: Listener,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Listener {
    fn accept(&self) -> io::Result<Wire> {
        match self {
            Self::Tcp(l) => Wire::accepted(l.accept()?.0),
            Self::Unix(l, _) => Wire::accepted_unix(l.accept()?.0),
        }
    }

    fn duplicate(&self) -> Self {
        match self {
            Self::Tcp(l) => Self::Tcp(l.try_clone().unwrap()),
            Self::Unix(l, path) => Self::Unix(l.try_clone().unwrap(), path.clone()),
        }
    }

    fn stop(&self) {
        let _ = match self {
            Self::Tcp(l) => SockRef::from(l).shutdown(std::net::Shutdown::Both),
            Self::Unix(l, _) => SockRef::from(l).shutdown(std::net::Shutdown::Both),
        };
    }
}

impl Upstream {
    /// Runs `script` on every connection to a port of 127.0.0.1.
    pub fn script(script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), script)
    }

    /// Runs `script` on every connection to `address`.
    pub fn at(address: SocketAddr, script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap_or_else(|e| panic!("{address}: {e}"));
        // Many may come at once: they are to be queued, and not to be tried again a second later.
        SockRef::from(&listener).listen(4_096).unwrap();
        let address = listener.local_addr().unwrap().into();
        Self::run(Listener::Tcp(listener), address, Arc::new(script))
    }

    /// Runs `script` on every connection to a Unix socket.
    pub fn unix(path: &Path, script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let address = Address::Unix(path.to_owned());
        Self::run(
            Listener::Unix(listener, path.to_owned()),
            address,
            Arc::new(script),
        )
    }

    /// Answers every request with 200 and `body`, on kept connections.
    pub fn fixed(body: &str) -> Self {
        let body = body.as_bytes().to_vec();
        Self::script(move |peer| {
            while peer.request().is_some() {
                peer.answer(200, &body);
            }
        })
    }

    /// Answers every request with its own body.
    pub fn echo() -> Self {
        Self::script(|peer| {
            while let Some(request) = peer.request() {
                peer.answer(200, &request.body);
            }
        })
    }

    /// Sends one canned answer to every request, byte for byte.
    pub fn canned(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::script(move |peer| {
            while peer.request().is_some() {
                peer.send(&answer);
            }
        })
    }

    fn run(
        listener: Listener,
        address: Address,
        script: Arc<dyn Fn(&mut Peer) + Send + Sync>,
    ) -> Self {
        let record = Arc::new(Record::default());
        let stopping = Arc::new(AtomicBool::new(false));
        let acceptor = {
            let (listener, record, stopping) =
                (listener.duplicate(), record.clone(), stopping.clone());
            std::thread::spawn(move || accept_loop(&listener, &record, &stopping, &script))
        };
        Self {
            address,
            record,
            stopping,
            listener,
            acceptor: Some(acceptor),
        }
    }

    /// The whole requests that came, in the order of their ends.
    pub fn requests(&self) -> Vec<Message> {
        self.record.requests.lock().unwrap().clone()
    }

    /// Whole requests that came.
    pub fn count(&self) -> usize {
        self.record.requests.lock().unwrap().len()
    }

    /// Forgets and returns the requests.
    pub fn take(&self) -> Vec<Message> {
        std::mem::take(&mut *self.record.requests.lock().unwrap())
    }

    /// Bytes that came.
    pub fn bytes(&self) -> usize {
        self.record.bytes.load(Ordering::SeqCst)
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.record.connections.load(Ordering::SeqCst)
    }

    /// Connections whose script still runs.
    pub fn open(&self) -> usize {
        self.record.open.load(Ordering::SeqCst)
    }

    /// Requests that broke off, or were none.
    pub fn cut(&self) -> usize {
        self.record.cut.load(Ordering::SeqCst)
    }

    /// Stops listening now: later connections are refused.
    pub fn stop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.listener.stop();
        if let Some(thread) = self.acceptor.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop();
        let panicked = self.record.panicked.load(Ordering::SeqCst);
        assert!(
            !panicked || std::thread::panicking(),
            "the script of an upstream panicked, see above"
        );
        if let Listener::Unix(_, path) = &self.listener {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn accept_loop(
    listener: &Listener,
    record: &Arc<Record>,
    stopping: &AtomicBool,
    script: &Arc<dyn Fn(&mut Peer) + Send + Sync>,
) {
    while !stopping.load(Ordering::SeqCst) {
        let Ok(wire) = listener.accept() else {
            continue;
        };
        let index = record.connections.fetch_add(1, Ordering::SeqCst);
        record.open.fetch_add(1, Ordering::SeqCst);
        let (record, script) = (record.clone(), script.clone());
        let mut peer = Peer {
            wire,
            reader: Reader::default(),
            index,
            counted: 0,
            record: record.clone(),
        };
        std::thread::spawn(move || {
            struct Leave(Arc<Record>);
            impl Drop for Leave {
                fn drop(&mut self) {
                    self.0.open.fetch_sub(1, Ordering::SeqCst);
                }
            }
            let leave = Leave(record);
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| script(&mut peer)));
            leave.0.panicked.fetch_or(done.is_err(), Ordering::SeqCst);
        });
    }
}
