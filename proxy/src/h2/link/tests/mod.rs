//! A connection driven by hand, with raw frames on its other side. What it says is read as text.
//!
//! A PING of the peer marks that all before it was acted on: no test waits for time to pass.

mod answers;
mod leaving;
mod random;
mod receive;
mod send;
mod windows;

use bytes::Bytes;
use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Poll, Wake, Waker},
};

use super::{
    super::{
        abuse::Rate,
        frame::{HEAD, Head, Kind, PREFACE, flag},
        hpack, usual,
    },
    *,
};
use crate::net::{stream::Stream as Socket, testing::run};

const SETTINGS: Settings = Settings {
    max_streams: 100,
    window: FIRST_WINDOW,
    connection_window: 1 << 20,
    header_list: 16_384,
    tunnels: true,
};

/// Counts how often a task was woken.
#[derive(Default)]
struct Task {
    times: AtomicUsize,
    /// When it was last, among all tasks.
    at: AtomicUsize,
}

static WAKES: AtomicUsize = AtomicUsize::new(0);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.times.fetch_add(1, Ordering::Relaxed);
        let at = WAKES.fetch_add(1, Ordering::Relaxed);
        self.at.store(at, Ordering::Relaxed);
    }
}

impl Task {
    /// How often since this was asked last.
    fn woken(&self) -> usize {
        self.times.swap(0, Ordering::Relaxed)
    }

    fn poll<T>(self: &Arc<Self>, poll: impl FnOnce(&Context<'_>) -> Poll<T>) -> Poll<T> {
        let waker = Waker::from(Arc::clone(self));
        poll(&Context::from_waker(&waker))
    }
}

/// Polls for a task that nobody wakes.
fn once<T>(poll: impl FnOnce(&Context<'_>) -> Poll<T>) -> Poll<T> {
    poll(&Context::from_waker(Waker::noop()))
}

/// A connection of ours, and the peer's end.
struct Wire {
    link: Connection,
    sender: Option<Sender>,
    task: Arc<Task>,
    end: Option<End>,
    /// Streams of a client that came and stay.
    streams: Vec<Stream>,
    peer: UnixStream,
    /// What the peer has to say, and what it heard.
    saying: Vec<u8>,
    heard: Vec<u8>,
    pings: u64,
}

impl Wire {
    /// Past the settings of both sides.
    async fn open(role: Role, settings: Settings) -> Self {
        let mut wire = Self::silent(role, settings);
        let mut hello = Vec::new();
        if role == Role::Server {
            hello.extend_from_slice(PREFACE);
        }
        frame::settings(&mut hello, &[]);
        frame::settings_ack(&mut hello);
        wire.put(hello);
        wire.settle().await;
        wire
    }

    async fn server() -> Self {
        Self::open(Role::Server, SETTINGS).await
    }

    async fn client() -> Self {
        Self::open(Role::Client, SETTINGS).await
    }

    /// Whose peer has said nothing yet.
    fn silent(role: Role, settings: Settings) -> Self {
        let much = Rate {
            burst: 1_000_000,
            per_second: 1_000_000,
        };
        let limits = Limits {
            resets: much,
            provoked_resets: much,
            empty_data: much,
            settings: much,
            pings: much,
            priorities: much,
            window_updates: much,
            others: much,
            ..usual(16_384)
        };
        let (ours, peer) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        peer.set_nonblocking(true).unwrap();
        let link = Connection::new(Parts {
            stream: Socket::Unix(tokio::net::UnixStream::from_std(ours).unwrap()),
            first: b"",
            role,
            settings,
            limits: &limits,
            spare: &Spare::new(2),
            behind: &Behind::new(1 << 20),
        });
        Self {
            sender: (role == Role::Client).then(|| link.sender()),
            link,
            task: Arc::default(),
            end: None,
            streams: Vec::new(),
            peer,
            saying: Vec::new(),
            heard: Vec::new(),
            pings: 0,
        }
    }

    /// Lets the peer say something.
    fn put(&mut self, bytes: impl AsRef<[u8]>) {
        self.saying.extend_from_slice(bytes.as_ref());
    }

    /// Sends what the peer has to say, as far as it is taken.
    fn pump(&mut self) {
        if let Ok(n) = self.peer.write(&self.saying) {
            self.saying.drain(..n);
        }
    }

    /// A turn of the connection's task.
    fn turn(&mut self) {
        self.pump();
        if self.end.is_some() {
            return;
        }
        let waker = Waker::from(Arc::clone(&self.task));
        let mut cx = Context::from_waker(&waker);
        let polled = self.link.poll_turn(&mut cx);
        while let Some(stream) = self.link.accept() {
            self.streams.push(stream);
        }
        if let Poll::Ready(end) = polled {
            self.link.say_last(&mut cx);
            self.end = Some(end);
        } else {
            let _ = self.link.poll_flush(&mut cx);
        }
    }

    /// What the peer hears now.
    fn hear(&mut self) -> Vec<Frame> {
        let mut buffer = vec![0; 65_536];
        loop {
            match self.peer.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => self.heard.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        if self.heard.starts_with(PREFACE) {
            self.heard.drain(..PREFACE.len());
        }
        let mut frames = Vec::new();
        while let Some(head) = Head::read(&self.heard) {
            let size = HEAD + head.length as usize;
            if self.heard.len() < size {
                break;
            }
            let payload = self.heard.drain(..size).skip(HEAD).collect();
            frames.push(Frame { head, payload });
        }
        frames
    }

    /// All that is said until what the peer said was acted on, or the connection ended.
    async fn frames(&mut self) -> Vec<Frame> {
        self.pings += 1;
        let mark = self.pings.to_be_bytes();
        frame::ping(&mut self.saying, false, mark);
        let mut said = Vec::new();
        loop {
            self.turn();
            let ended = self.end.is_some();
            for frame in self.hear() {
                if frame.head.kind == Kind::Ping && frame.payload == mark {
                    return said;
                }
                said.push(frame);
            }
            if ended {
                return said;
            }
            tokio::task::yield_now().await;
        }
    }

    /// The same as text.
    async fn settle(&mut self) -> Vec<String> {
        self.frames().await.iter().map(Frame::text).collect()
    }

    /// What the peer said, and what it is told.
    async fn says(&mut self, bytes: impl AsRef<[u8]>) -> Vec<String> {
        self.put(bytes);
        self.settle().await
    }

    fn core(&self) -> std::cell::RefMut<'_, Core> {
        self.link.core.borrow_mut()
    }

    /// Opens a stream of ours.
    fn ask(&self, end: bool) -> Stream {
        let asks = Asks::Body;
        let sender = self.sender.as_ref().unwrap();
        sender.open(&block(REQUEST), end, asks).unwrap()
    }
}

fn blamed(end: Option<End>) -> Option<Code> {
    match end {
        Some(End::Blamed(code, _)) => Some(code),
        _ => None,
    }
}

struct Frame {
    head: Head,
    payload: Vec<u8>,
}

impl Frame {
    fn text(&self) -> String {
        let (head, stream) = (&self.head, self.head.stream);
        let end = if head.ends_stream() { " end" } else { "" };
        let ack = if head.has(flag::ACK) { " ack" } else { "" };
        let number = |at: usize| {
            let bytes = self.payload.get(at..at + 4).unwrap_or_default();
            frame::number(bytes).unwrap_or_default()
        };
        match head.kind {
            Kind::Data => format!("DATA {stream} {}{end}", head.length),
            Kind::Headers => format!("HEADERS {stream}{end}"),
            Kind::Reset => format!("RESET {stream} {:#x}", number(0)),
            Kind::WindowUpdate => format!("UPDATE {stream} {}", number(0)),
            Kind::GoAway => format!("GOAWAY {} {:#x}", number(0), number(4)),
            Kind::Settings => format!("SETTINGS{ack}"),
            Kind::Ping => format!("PING{ack}"),
            kind => format!("{kind:?} {stream}"),
        }
    }
}

type List<'a> = &'a [(&'a str, &'a str)];

const REQUEST: List<'_> = &[
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/"),
    (":authority", "a"),
];
const OK: List<'_> = &[(":status", "200")];

fn block(list: List<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in list {
        hpack::field(&mut out, name.as_bytes(), value.as_bytes(), false);
    }
    out
}

fn raw(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let head = Head {
        length: payload.len() as u32,
        kind,
        flags,
        stream,
    };
    let mut out = Vec::new();
    head.write(&mut out);
    out.extend_from_slice(payload);
    out
}

const fn end_of(end: bool) -> u8 {
    if end { flag::END_STREAM } else { 0 }
}

fn headers(stream: u32, list: List<'_>, end: bool) -> Vec<u8> {
    let flags = flag::END_HEADERS | end_of(end);
    raw(Kind::Headers, flags, stream, &block(list))
}

fn request(stream: u32, end: bool) -> Vec<u8> {
    headers(stream, REQUEST, end)
}

fn data(stream: u32, n: usize, end: bool) -> Vec<u8> {
    raw(Kind::Data, end_of(end), stream, &vec![b'd'; n])
}

/// With `padding` bytes behind one that says so.
fn padded(stream: u32, n: usize, padding: u8, end: bool) -> Vec<u8> {
    let mut payload = vec![padding];
    payload.extend(vec![b'd'; n]);
    payload.extend(vec![0; usize::from(padding)]);
    raw(Kind::Data, flag::PADDED | end_of(end), stream, &payload)
}

fn reset(stream: u32, code: Code) -> Vec<u8> {
    let mut out = Vec::new();
    frame::reset(&mut out, stream, code);
    out
}

fn update(stream: u32, by: u32) -> Vec<u8> {
    let mut out = Vec::new();
    frame::window_update(&mut out, stream, by);
    out
}

fn told(settings: &[(u16, u32)]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::settings(&mut out, settings);
    out
}

fn go_away(last: u32, code: Code) -> Vec<u8> {
    let mut out = Vec::new();
    frame::go_away(&mut out, last, code, "");
    out
}

/// Takes all payload that is there, and releases it. How it ended, if it did.
fn take(stream: &mut Stream) -> (usize, Option<Result<(), Gone>>) {
    let mut sum = 0;
    loop {
        match once(|cx| stream.poll_data(cx)) {
            Poll::Ready(Ok(Some(piece))) => {
                sum += piece.len();
                stream.release(piece.len());
            }
            Poll::Ready(end) => return (sum, Some(end.map(drop))),
            Poll::Pending => return (sum, None),
        }
    }
}

impl Stream {
    fn id(&self) -> u32 {
        let mut core = self.core.borrow_mut();
        core.store.get(self.key).map_or(0, |slot| slot.id)
    }
}
