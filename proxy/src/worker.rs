//! One worker: a thread with its own runtime, sockets, pools and buffers.
//!
//! It learns by [`Order`] what to listen on and how far the process is; everything else it reads
//! from the table. Nothing it does waits for another thread.

use std::{
    cell::RefCell, collections::HashMap, io, rc::Rc, sync::Arc, thread::JoinHandle, time::Duration,
};

use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{mpsc, oneshot},
    task::{AbortHandle, JoinError, JoinSet},
};

use crate::{
    drain::Phase,
    http::Conn,
    net::{
        accept::{self, Peer},
        listen::BoundSocket,
        stream::Stream,
    },
    serve::{refuse, serve},
    shared::{Parts, Worker},
    snapshot::Listener,
    telemetry::access_log::LogHandle,
    timer::now,
};

/// How often pools are looked through.
const SWEEP: Duration = Duration::from_secs(1);
/// How often lines of the access log leave for their writer, at the latest.
const LOG_FLUSH: Duration = Duration::from_millis(100);

/// What a worker is told.
pub(crate) enum Order {
    /// Accept connections for the listener of this name. Replaces its earlier socket.
    Listen { name: Arc<str>, socket: BoundSocket },
    /// Stop accepting for it; what is queued is still served.
    Unlisten { name: Arc<str> },
    /// The table was swapped.
    Swapped,
    /// Access log lines go there from now on.
    Log(Option<LogHandle>),
    /// How far the process is: towards the workload, and away from it.
    Phases(Phase, Phase),
    /// Everything that can be said was said; end.
    Stop,
    /// Answer when all earlier orders were carried out.
    Confirm(oneshot::Sender<()>),
}

/// A running worker.
pub(crate) struct Handle {
    orders: mpsc::UnboundedSender<Order>,
    thread: JoinHandle<()>,
}

impl Handle {
    /// Starts the thread.
    pub(crate) fn spawn(parts: Parts) -> io::Result<Self> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let name = format!("worker-{}", parts.id);
        let (started, start) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            // A runtime that never leaves its thread: its tasks need not be `Send`, and waking one
            // from within costs no system call.
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default());
            match runtime {
                Ok(runtime) => {
                    let _ = started.send(Ok(()));
                    runtime.block_on(run(Worker::new(parts), inbox));
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            }
        })?;
        start.recv().map_err(io::Error::other)??;
        Ok(Self { orders, thread })
    }

    /// Sends an order. A worker that ended is noticed by [`Handle::is_dead`].
    pub(crate) fn send(&self, order: Order) {
        let _ = self.orders.send(order);
    }

    /// Waits until the orders sent so far are carried out.
    pub(crate) async fn confirm(&self) {
        let (done, confirmed) = oneshot::channel();
        self.send(Order::Confirm(done));
        let _ = confirmed.await;
    }

    /// Whether the thread ended although nobody told it to.
    pub(crate) fn is_dead(&self) -> bool {
        self.thread.is_finished()
    }

    pub(crate) fn join(self) {
        self.send(Order::Stop);
        let _ = self.thread.join();
    }
}

/// A listener's name and its current settings, shared with the task that accepts for it.
struct Slot {
    listener: RefCell<(Arc<Listener>, u64)>,
}

/// A task that accepts, and its socket.
struct Accepting {
    slot: Rc<Slot>,
    socket: Rc<accept::Listener>,
    task: AbortHandle,
}

/// What a worker does beside its connections. None of it ends while the worker lives, unless by a
/// defect.
struct Own {
    tasks: JoinSet<()>,
    timers: AbortHandle,
    house: AbortHandle,
    accepting: HashMap<Arc<str>, Accepting>,
}

impl Own {
    fn start(worker: &Rc<Worker>) -> Self {
        let mut tasks = JoinSet::new();
        let timers = worker.timers.clone();
        Self {
            timers: tasks.spawn_local(async move { timers.run().await }),
            house: tasks.spawn_local(keep_house(Rc::clone(worker))),
            tasks,
            accepting: HashMap::new(),
        }
    }

    fn accept(
        &mut self,
        worker: &Rc<Worker>,
        slot: &Rc<Slot>,
        socket: &Rc<accept::Listener>,
    ) -> AbortHandle {
        let (slot, socket) = (Rc::clone(slot), Rc::clone(socket));
        self.tasks
            .spawn_local(accept_all(Rc::clone(worker), slot, socket))
    }

    /// Counts a panic and begins anew what ended by it. `false`: it was the timers, whose wheel may
    /// be half turned. A worker that cannot let anything expire had better end than serve.
    fn mend(&mut self, worker: &Rc<Worker>, ended: &JoinError) -> bool {
        // Aborted with its listener.
        if !ended.is_panic() {
            return true;
        }
        worker.cells.at(worker.id).panics.inc();
        let (id, of) = (ended.id(), worker.id);
        if id == self.timers.id() {
            tracing::error!(worker = of, "the timers ended by a panic: this worker ends");
            return false;
        }
        if id == self.house.id() {
            tracing::error!(worker = of, "housekeeping ended by a panic and begins anew");
            self.house = self.tasks.spawn_local(keep_house(Rc::clone(worker)));
            return true;
        }
        let found = self.accepting.iter().find(|(_, it)| it.task.id() == id);
        if let Some((name, it)) = found.map(|(name, it)| (Arc::clone(name), it)) {
            tracing::error!(worker = of, listener = %name, "accepting ended by a panic and begins anew");
            let (slot, socket) = (Rc::clone(&it.slot), Rc::clone(&it.socket));
            let task = self.accept(worker, &slot, &socket);
            if let Some(it) = self.accepting.get_mut(&name) {
                it.task = task;
            }
        }
        true
    }
}

async fn run(worker: Rc<Worker>, mut inbox: mpsc::UnboundedReceiver<Order>) {
    let mut own = Own::start(&worker);
    loop {
        let order = tokio::select! {
            order = inbox.recv() => order,
            Some(ended) = own.tasks.join_next() => match ended {
                Err(ended) if !own.mend(&worker, &ended) => break,
                _ => continue,
            }
        };
        let Some(order) = order else { break };
        match order {
            Order::Listen { name, socket } => match listen(&worker, &mut own, &name, socket) {
                Ok(new) => {
                    if let Some(old) = own.accepting.insert(name, new) {
                        close(&worker, &old);
                    }
                }
                Err(error) => {
                    tracing::error!(listener = %name, %error, "a worker cannot use its socket");
                }
            },
            Order::Unlisten { name } => {
                if let Some(old) = own.accepting.remove(&name) {
                    close(&worker, &old);
                    // Connections that wait for a request see that their listener is gone.
                    worker.timers.wake_all();
                }
            }
            Order::Swapped => {
                // Turns to the new table even if nobody listens.
                worker.snapshot(|_| ());
                for (name, each) in &own.accepting {
                    worker.snapshot(|snapshot| {
                        if let Some(listener) = snapshot.listener(name) {
                            *each.slot.listener.borrow_mut() =
                                (Arc::clone(listener), snapshot.version);
                        }
                    });
                }
            }
            Order::Log(log) => worker.set_log(log),
            Order::Phases(inward, outward) => worker.set_phases(inward, outward),
            Order::Confirm(done) => {
                let _ = done.send(());
            }
            Order::Stop => break,
        }
    }
    worker.set_log(None);
}

fn listen(
    worker: &Rc<Worker>,
    own: &mut Own,
    name: &str,
    socket: BoundSocket,
) -> io::Result<Accepting> {
    let found = worker.snapshot(|snapshot| {
        snapshot
            .listener(name)
            .map(|l| (Arc::clone(l), snapshot.version))
    });
    let listener = found.ok_or_else(|| io::Error::other("the table has no such listener"))?;
    let slot = Rc::new(Slot {
        listener: RefCell::new(listener),
    });
    let socket = Rc::new(socket.into_listener()?);
    Ok(Accepting {
        task: own.accept(worker, &slot, &socket),
        slot,
        socket,
    })
}

/// Stops accepting. Closing one of several sockets of a port resets what the kernel had queued on
/// it, so that is served first.
fn close(worker: &Rc<Worker>, accepting: &Accepting) {
    accepting.task.abort();
    while let Ok(Some((stream, peer))) = accepting.socket.accept_queued() {
        let Some(conn) = admit(worker, &accepting.slot, stream, peer) else {
            continue;
        };
        tokio::task::spawn_local(async move {
            // What has arrived on it is seen once the runtime has looked; before that it would take
            // itself for a connection without a request, and leave.
            tokio::task::yield_now().await;
            serve(conn).await;
        });
    }
}

async fn accept_all(worker: Rc<Worker>, slot: Rc<Slot>, socket: Rc<accept::Listener>) {
    loop {
        let failed = |error: &io::Error| {
            worker.cells.at(worker.id).accept_errors.inc();
            tracing::warn!(%error, "accept failed");
        };
        let (stream, peer) = socket.accept(failed).await;
        if let Some(conn) = admit(&worker, &slot, stream, peer) {
            tokio::task::spawn_local(serve(conn));
        }
    }
}

/// A connection that may be served; one beyond a limit is closed.
fn admit(worker: &Rc<Worker>, slot: &Slot, stream: Stream, peer: Peer) -> Option<Box<Conn>> {
    let (listener, version) = {
        let current = slot.listener.borrow();
        (Arc::clone(&current.0), current.1)
    };
    let Some(admission) = worker.admit(&listener) else {
        refuse(worker, &listener, peer);
        return None;
    };
    Some(Conn::new(
        worker,
        (listener, version),
        (stream, peer),
        admission,
    ))
}

/// What has to be done now and then.
async fn keep_house(worker: Rc<Worker>) {
    let mut swept = now();
    loop {
        let log = worker.log();
        tokio::time::sleep(if log.is_some() { LOG_FLUSH } else { SWEEP }).await;
        if let Some(log) = log {
            log.flush();
        }
        if now() - swept >= SWEEP.as_nanos() as u64 {
            swept = now();
            worker.pools.sweep(swept);
            worker.bulk.sweep();
            worker.shrink();
        }
    }
}

#[cfg(test)]
mod tests;
