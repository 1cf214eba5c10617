//! HTTP/2 and gRPC: many requests at a time on each connection, on the h2 crate.
//!
//! Each of `connections` x `streams` slots has one request under way. In a closed loop a slot asks
//! again when it was answered; in an open loop it takes the next place in the queue of intended
//! times, and where all slots are busy those times pass, and count.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::{
    net::TcpStream,
    runtime::Builder,
    select,
    sync::{Mutex, Notify, oneshot},
    task::LocalSet,
    time::timeout,
};

use super::{
    Plan, Request, Share,
    live::Live,
    pace::Pace,
    tally::{Fault, Tally},
    window::{Phase, Window},
};
use crate::{gather::Gather, timer::Timer};

/// How long a slot rests after an error.
const REST: Duration = Duration::from_millis(5);
/// Longest pause between two looks at the time.
const LOOK: Duration = Duration::from_millis(100);

pub(super) fn run(
    plan: &Plan,
    share: &Share,
    request: &Request,
    streams: usize,
    ready: impl FnOnce() -> Window,
    live: &Live,
) -> io::Result<Tally> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let mut links = Vec::with_capacity(share.connections);
        for _ in 0..share.connections {
            links.push(Rc::new(Link::open(plan.target).await?));
        }
        let window = ready();
        let pace = share
            .pace
            .map(|(between, offset)| Pace::new(window.begun(), between, offset));
        let job = Rc::new(Job {
            head: head(plan.target, request)?,
            body: Bytes::from(request.body_bytes()),
            grpc: request.grpc,
            expect: request.expect,
            timeout: plan.timeout,
            open_loop: pace.is_some(),
            tally: RefCell::new(Tally::new(pace.is_some(), live)),
            window: RefCell::new(window),
            queue: RefCell::new(VecDeque::new()),
            queued: Notify::new(),
            pace: RefCell::new(pace),
            busy: RefCell::new(VecDeque::new()),
            under_way: Cell::new(0),
        });
        for link in &links {
            for _ in 0..streams.max(1) {
                let (job, link) = (Rc::clone(&job), Rc::clone(link));
                tokio::task::spawn_local(async move { job.slot(&link).await });
            }
        }
        job.conduct(live).await?;
        // Slots hold the job as well; they end with the runtime.
        let tally = job.tally.replace(Tally::new(false, &Live::off()));
        Ok(tally.close(&job.window.borrow()))
    })
}

fn head(target: SocketAddr, request: &Request) -> io::Result<http::Request<()>> {
    let authority = match request.host.as_str() {
        "" => target.to_string(),
        host => host.to_owned(),
    };
    let mut head = http::Request::builder()
        .method(request.method.as_str())
        .uri(format!("http://{authority}{}", request.path))
        .version(http::Version::HTTP_2);
    for (name, value) in &request.headers {
        head = head.header(name.as_str(), value.as_str());
    }
    if request.grpc {
        head = head
            .header("content-type", "application/grpc")
            .header("te", "trailers");
    }
    head.body(())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

/// A connection that is opened anew when it fails.
struct Link {
    target: SocketAddr,
    /// How often it was opened, and its present state.
    now: Mutex<(u64, SendRequest<Bytes>)>,
}

impl Link {
    async fn open(target: SocketAddr) -> io::Result<Self> {
        let now = Mutex::new((0, connect(target).await?));
        Ok(Self { target, now })
    }

    async fn current(&self) -> (u64, SendRequest<Bytes>) {
        self.now.lock().await.clone()
    }

    /// Opens it anew, unless another slot has done so since `seen`.
    async fn renew(&self, seen: u64) -> io::Result<()> {
        let mut now = self.now.lock().await;
        if now.0 == seen {
            *now = (seen + 1, connect(self.target).await?);
        }
        Ok(())
    }
}

async fn connect(target: SocketAddr) -> io::Result<SendRequest<Bytes>> {
    let socket = TcpStream::connect(target)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("{target}: {error}")))?;
    socket.set_nodelay(true)?;
    let socket = Gather::new(socket);
    let mut builder = h2::client::Builder::new();
    builder
        .initial_window_size(1 << 20)
        .initial_connection_window_size(16 << 20)
        .max_concurrent_reset_streams(10_000);
    let handshake = builder.handshake(socket.clone());
    tokio::pin!(handshake);
    let (sender, mut connection) = socket
        .drive(|context| handshake.as_mut().poll(context))
        .await
        .map_err(io::Error::other)?;
    tokio::task::spawn_local(async move {
        // How it ended is told to the requests on it.
        let _ = socket
            .drive(|context| Pin::new(&mut connection).poll(context))
            .await;
    });
    Ok(sender)
}

/// What all slots of a thread share.
struct Job {
    head: http::Request<()>,
    body: Bytes,
    grpc: bool,
    expect: Option<u64>,
    timeout: Duration,
    open_loop: bool,
    tally: RefCell<Tally>,
    window: RefCell<Window>,
    pace: RefCell<Option<Pace>>,
    /// Slots that wait for their time, in order.
    queue: RefCell<VecDeque<(Instant, oneshot::Sender<()>)>>,
    /// Told when the queue is no longer empty.
    queued: Notify,
    /// Intended times of requests under way, for those that never end; only in an open loop.
    busy: RefCell<VecDeque<Instant>>,
    under_way: Cell<usize>,
}

impl Job {
    /// Keeps the time: edges of the window, and whose turn it is.
    async fn conduct(&self, live: &Live) -> io::Result<()> {
        let timer = Timer::new()?;
        let mut last = None;
        loop {
            let now = Instant::now();
            let phase = self.window.borrow_mut().at(now);
            self.tally.borrow_mut().pulse(now, live);
            let mut until = now + LOOK;
            if phase == Phase::Over {
                let end = *last.get_or_insert(now + self.timeout);
                if !self.open_loop || self.under_way.get() == 0 || now >= end {
                    self.give_up(now);
                    return Ok(());
                }
                until = now + Duration::from_millis(1);
            } else {
                until = until.min(self.window.borrow().edge());
            }
            if let Some(due) = self.let_go(now) {
                until = until.min(due);
            }
            select! {
                done = timer.until(until) => done?,
                () = self.queued.notified() => {}
            }
        }
    }

    /// Lets slots go whose time has come; when the next one's will.
    fn let_go(&self, now: Instant) -> Option<Instant> {
        let mut queue = self.queue.borrow_mut();
        while queue.front().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, turn)) = queue.pop_front() {
                let _ = turn.send(());
            }
        }
        queue.front().map(|(due, _)| *due)
    }

    /// A place in the queue.
    fn stand(&self, intended: Instant) -> oneshot::Receiver<()> {
        let (turn, wait) = oneshot::channel();
        let mut queue = self.queue.borrow_mut();
        if queue.is_empty() {
            self.queued.notify_one();
        }
        queue.push_back((intended, turn));
        wait
    }

    fn give_up(&self, now: Instant) {
        let window = self.window.borrow();
        let mut tally = self.tally.borrow_mut();
        let Some(pace) = &mut *self.pace.borrow_mut() else {
            return;
        };
        for intended in self.busy.borrow().iter() {
            tally.unfinished(&window, *intended, now);
        }
        pace.overdue(window.edge(), |intended| {
            tally.unfinished(&window, intended, now);
        });
    }

    /// One request after another, until the load is over.
    async fn slot(&self, link: &Link) {
        loop {
            let Some(intended) = self.turn().await else {
                return;
            };
            self.under_way.set(self.under_way.get() + 1);
            if self.open_loop {
                self.busy.borrow_mut().push_back(intended);
            }
            let (opened, sender) = link.current().await;
            let result = timeout(self.timeout, self.exchange(sender)).await;
            self.under_way.set(self.under_way.get() - 1);
            if self.open_loop {
                let mut busy = self.busy.borrow_mut();
                let at = busy.iter().position(|time| *time == intended);
                at.map(|at| busy.swap_remove_front(at));
            }
            let fault = match result {
                Ok(Ok(bytes)) => {
                    let mut window = self.window.borrow_mut();
                    let now = Instant::now();
                    self.tally
                        .borrow_mut()
                        .done(&mut window, intended, now, bytes);
                    continue;
                }
                Ok(Err(fault)) => fault,
                Err(_) => Fault::Timeout,
            };
            self.tally.borrow_mut().fault(fault);
            tokio::time::sleep(REST).await;
            if fault == Fault::Broken && link.renew(opened).await.is_err() {
                self.tally.borrow_mut().fault(Fault::Connect);
            }
        }
    }

    /// Waits for the time of the next request; none when the load is over.
    async fn turn(&self) -> Option<Instant> {
        let intended = match &mut *self.pace.borrow_mut() {
            Some(pace) if self.window.borrow().at_rest(pace.next()) => None,
            Some(pace) => Some(pace.reserve()),
            None => {
                let now = Instant::now();
                let over = self.window.borrow_mut().at(now) == Phase::Over;
                return (!over).then_some(now);
            }
        }?;
        if intended > Instant::now() {
            self.stand(intended).await.ok()?;
            if self.window.borrow().at_rest(intended) {
                return None;
            }
        }
        Some(intended)
    }

    /// One request and its answer: bytes of its body.
    async fn exchange(&self, sender: SendRequest<Bytes>) -> Result<u64, Fault> {
        let mut length = 0;
        let status = exchange(sender, &self.head, &self.body, self.grpc, |piece| {
            length += piece.len() as u64;
        })
        .await
        .map_err(|_| Fault::Broken)?;
        if !(200..300).contains(&status) {
            return Err(Fault::Status);
        }
        if self.expect.is_some_and(|expected| expected != length) {
            return Err(Fault::Malformed);
        }
        Ok(length)
    }
}

/// One request and its answer: the status, 502 where gRPC's is not 0.
async fn exchange(
    sender: SendRequest<Bytes>,
    head: &http::Request<()>,
    body: &Bytes,
    grpc: bool,
    mut payload: impl FnMut(&[u8]),
) -> Result<u16, h2::Error> {
    let mut sender = sender.ready().await?;
    let (answer, mut stream) = sender.send_request(head.clone(), body.is_empty())?;
    if !body.is_empty() {
        stream.send_data(body.clone(), true)?;
    }
    let (head, mut body) = answer.await?.into_parts();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        payload(&piece);
        body.flow_control().release_capacity(piece.len())?;
    }
    if grpc && head.status.is_success() {
        let trailers = body.trailers().await?;
        // Without a body they come as the head itself.
        let fields = trailers.as_ref().unwrap_or(&head.headers);
        if fields.get("grpc-status").is_none_or(|status| status != "0") {
            return Ok(502);
        }
    }
    Ok(head.status.as_u16())
}

/// One request on a connection of its own.
pub(super) fn once(
    target: SocketAddr,
    request: &Request,
    limit: Duration,
) -> io::Result<(u16, Vec<u8>)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let head = head(target, request)?;
    let bytes = Bytes::from(request.body_bytes());
    LocalSet::new().block_on(&runtime, async {
        let work = async {
            let sender = connect(target).await?;
            let mut body = Vec::new();
            let take = |piece: &[u8]| body.extend_from_slice(piece);
            let status = exchange(sender, &head, &bytes, request.grpc, take).await;
            Ok((status.map_err(io::Error::other)?, body))
        };
        timeout(limit, work).await?
    })
}
