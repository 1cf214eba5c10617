//! What the rooms of one worker share: its view of the table, its pools, buffers, timers and
//! counters. Nothing in here is `Send`; what workers share among each other is in [`Process`].

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
};

use arc_swap::{ArcSwap, Cache};
use outrigger_config::model::Direction;

use tokio::sync::Semaphore;

use crate::{
    drain::Phase,
    h2::link::Spare,
    message::{Edits, RequestHead, ResponseHead, ResponseView, Version},
    net::{
        behind::Behind,
        buffer::{Budget, Buffer},
    },
    snapshot::{Listener, Snapshot},
    tcp::Bulk,
    telemetry::{
        access_log::LogHandle,
        metrics::{Cells, WorkerCells},
    },
    timer::Timers,
    upstream::Pools,
};

/// Size of a buffer of a connection with work. Heads grow it as far as their limit, bulk bodies
/// as far as the budget.
pub(crate) const BUFFER: usize = 16_384;

/// States of streams kept for reuse: one or two KiB each.
const KEPT_SMALL: usize = 1_024;
/// Their buffers kept for reuse: 16 KiB each.
const KEPT_BUFFERS: usize = 64;
/// Buffers of HTTP/2 connections kept for reuse: up to 64 KiB each.
const KEPT_SPARE: usize = 16;

/// What all workers share.
pub(crate) struct Process {
    pub(crate) table: Arc<ArcSwap<Snapshot>>,
    /// Downstream connections over all listeners, and their limit.
    pub(crate) connections: AtomicU32,
    pub(crate) max_connections: AtomicU32,
    pub(crate) workers: usize,
    /// A burst has passed: memory that it took may go back.
    pub(crate) burst_passed: AtomicBool,
    /// Our name in `Via`; unique to this process, so that a loop is recognised.
    pub(crate) pseudonym: Box<str>,
}

/// One worker's share of everything.
pub(crate) struct Worker {
    pub(crate) id: usize,
    pub(crate) process: Arc<Process>,
    table: RefCell<Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>>,
    pub(crate) timers: Timers,
    pub(crate) pools: Pools,
    pub(crate) bulk: Bulk,
    pub(crate) budget: Budget,
    /// What streams may hold for receivers that are behind.
    pub(crate) behind: Behind,
    pub(crate) random: RefCell<fastrand::Rng>,
    log: RefCell<Option<Rc<LogHandle>>>,
    /// Of connections towards or past our workload, and of those that come from it, which may
    /// need its way out until the last of the others is done.
    inward: Cell<Phase>,
    outward: Cell<Phase>,
    pub(crate) cells: Cells<WorkerCells>,
    #[allow(
        clippy::vec_box,
        reason = "a state moves between connections as a pointer"
    )]
    states: RefCell<Vec<Box<State>>>,
    /// Buffers of HTTP/2 connections that have nothing to send now.
    pub(crate) spare: Spare,
    /// States of streams, for reuse.
    #[allow(clippy::vec_box, reason = "a state moves between streams as a pointer")]
    small_states: RefCell<Vec<Box<State>>>,
    /// Streams that are served, and most that were since memory was last given back.
    streams: Cell<usize>,
    most_streams: Cell<usize>,
    /// Buffers of streams, for reuse.
    buffers: RefCell<Vec<Buffer>>,
    kept_states: usize,
    /// Places for TLS handshakes with clients.
    pub(crate) handshakes: Semaphore,
    /// States in use.
    lent_states: Rc<Cell<usize>>,
    /// Most that were in use or kept since memory was last given back.
    most_states: Cell<usize>,
    /// Fewest that were kept since the last sweep: those nobody needed.
    fewest_states: Cell<usize>,
}

/// The working state of a connection with something to do. Taken when bytes arrive, given back
/// when the connection has been idle for a sweep.
pub(crate) struct State {
    /// Bytes from the client: the rest of a head, body, pipelined requests.
    pub(crate) downstream: Buffer,
    /// Bytes from the endpoint.
    pub(crate) upstream: Buffer,
    /// The head of the current request; spans of `request` point into it.
    pub(crate) head: Vec<u8>,
    pub(crate) request: RequestHead,
    pub(crate) response: ResponseHead,
    pub(crate) edits: Edits,
    pub(crate) response_edits: Edits,
    /// The head of a response that came by HTTP/2; one by HTTP/1 stays in `upstream`.
    pub(crate) answer: Vec<u8>,
    /// Heads and framing about to be written to the endpoint and to the client.
    pub(crate) to_upstream: Vec<u8>,
    pub(crate) to_downstream: Vec<u8>,
    /// Counts it as in use until it is given back, or dropped by a panic.
    lent: Option<Lent>,
}

/// One of the states in use.
struct Lent(Rc<Cell<usize>>);

impl Lent {
    fn of(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            downstream: Buffer::with_capacity(BUFFER),
            upstream: Buffer::with_capacity(BUFFER),
            ..Self::small()
        }
    }
}

impl State {
    /// For a stream of an HTTP/2 connection: without buffers, until one is needed.
    fn small() -> Self {
        Self {
            downstream: Buffer::default(),
            upstream: Buffer::default(),
            head: Vec::new(),
            request: RequestHead::default(),
            response: ResponseHead::default(),
            edits: Edits::default(),
            response_edits: Edits::default(),
            answer: Vec::new(),
            to_upstream: Vec::new(),
            to_downstream: Vec::new(),
            lent: None,
        }
    }

    /// The response's head with its bytes.
    pub(crate) fn answer(&self) -> ResponseView<'_> {
        let bytes = match self.response.version {
            Version::Http2 => &self.answer,
            Version::Http10 | Version::Http11 => self.upstream.filled(),
        };
        ResponseView {
            bytes,
            head: &self.response,
        }
    }

    /// Whether the heads in here are of the usual size; buffers are let go of.
    fn is_small(&self) -> bool {
        let heads = [
            &self.head,
            &self.answer,
            &self.to_upstream,
            &self.to_downstream,
        ];
        heads.iter().all(|h| h.capacity() <= BUFFER / 4)
    }

    /// Whether nothing in here grew beyond the usual size.
    fn is_usual(&self) -> bool {
        let buffers = self.downstream.capacity() == BUFFER && self.upstream.capacity() == BUFFER;
        buffers
            && self
                .head
                .capacity()
                .max(self.to_upstream.capacity())
                .max(self.to_downstream.capacity())
                <= 2 * BUFFER
    }
}

/// What a worker is made from.
pub(crate) struct Parts {
    pub(crate) id: usize,
    pub(crate) process: Arc<Process>,
    pub(crate) log: Option<LogHandle>,
    pub(crate) cells: Cells<WorkerCells>,
}

impl Worker {
    pub(crate) fn new(parts: Parts) -> Rc<Self> {
        let table = Arc::clone(&parts.process.table);
        let limits = table.load().source.config.mesh.limits.clone();
        let workers = parts.process.workers.max(1);
        Rc::new(Self {
            id: parts.id,
            process: parts.process,
            table: RefCell::new(Cache::new(table)),
            timers: Timers::new(),
            pools: Pools::default(),
            // One half for opaque connections, one for bodies.
            bulk: Bulk::new(limits.bulk_buffers.0 as usize / 2),
            budget: Budget::new(limits.bulk_buffers.0 as usize / 2),
            behind: Behind::new(limits.stream_buffers.0 as usize / workers),
            random: RefCell::new(fastrand::Rng::new()),
            log: RefCell::new(parts.log.map(Rc::new)),
            inward: Cell::new(Phase::Running),
            outward: Cell::new(Phase::Running),
            cells: parts.cells,
            states: RefCell::default(),
            spare: Spare::new(KEPT_SPARE),
            small_states: RefCell::default(),
            streams: Cell::new(0),
            most_streams: Cell::new(0),
            buffers: RefCell::default(),
            kept_states: limits.buffer_pool.0 as usize / (2 * BUFFER),
            handshakes: Semaphore::new((limits.handshakes as usize).div_ceil(workers)),
            lent_states: Rc::default(),
            most_states: Cell::new(0),
            fewest_states: Cell::new(0),
        })
    }

    /// The current version of the table.
    pub(crate) fn snapshot<R>(&self, look: impl FnOnce(&Arc<Snapshot>) -> R) -> R {
        look(self.table.borrow_mut().load())
    }

    /// How far connections of this direction are on their way out.
    pub(crate) fn phase(&self, direction: Direction) -> Phase {
        match direction {
            Direction::Outbound => self.outward.get(),
            Direction::Inbound | Direction::Gateway => self.inward.get(),
        }
    }

    /// Moves on, and lets every waiting connection see it.
    pub(crate) fn set_phases(&self, inward: Phase, outward: Phase) {
        self.inward.set(inward);
        self.outward.set(outward);
        if inward >= Phase::Closing && outward >= Phase::Closing {
            self.pools.close_idle();
        }
        self.timers.wake_all();
    }

    /// Where access log lines go, if anywhere.
    pub(crate) fn log(&self) -> Option<Rc<LogHandle>> {
        self.log.borrow().clone()
    }

    /// From now on lines go there.
    pub(crate) fn set_log(&self, log: Option<LogHandle>) {
        let before = self.log.replace(log.map(Rc::new));
        if let Some(before) = before {
            before.flush();
        }
    }

    /// Working state for a connection.
    pub(crate) fn take_state(&self) -> Box<State> {
        let lent = Lent::of(&self.lent_states);
        self.most_states
            .set(self.most_states.get().max(self.lent_states.get()));
        let mut states = self.states.borrow_mut();
        let state = states.pop();
        self.fewest_states
            .set(self.fewest_states.get().min(states.len()));
        let mut state = state.unwrap_or_default();
        state.lent = Some(lent);
        state
    }

    /// Whether more states are in use than are kept for reuse.
    pub(crate) fn is_crowded(&self) -> bool {
        self.lent_states.get() > self.kept_states
    }

    /// Lets go of half of the states that nobody used since the last call, and asks for freed memory
    /// to be given back when that is worth it. The main thread does it: it takes milliseconds.
    pub(crate) fn shrink(&self) {
        const WORTH_IT: usize = 4;
        const BYTES_WORTH_IT: usize = 4 << 20;
        const STREAMS_WORTH_IT: usize = 256;
        let mut states = self.states.borrow_mut();
        let unused = self.fewest_states.get().min(states.len());
        let kept = states.len() - unused.div_ceil(2);
        states.truncate(kept);
        self.fewest_states.set(kept);
        let gone = self
            .most_states
            .get()
            .saturating_sub(self.lent_states.get() + kept);
        if gone >= WORTH_IT {
            self.most_states.set(self.lent_states.get() + kept);
        }
        let streams_gone = self.most_streams.get() - self.streams.get();
        if streams_gone >= STREAMS_WORTH_IT {
            self.most_streams.set(self.streams.get());
        }
        let worth_it = gone >= WORTH_IT || streams_gone >= STREAMS_WORTH_IT;
        if worth_it || self.behind.has_fallen(BYTES_WORTH_IT) {
            self.process.burst_passed.store(true, Relaxed);
        }
    }

    /// Takes working state back.
    pub(crate) fn give_state(&self, mut state: Box<State>) {
        state.lent = None;
        let mut states = self.states.borrow_mut();
        if states.len() < self.kept_states && state.is_usual() {
            state.downstream.clear();
            state.upstream.clear();
            states.push(state);
        }
    }

    /// Working state for a stream of an HTTP/2 connection.
    pub(crate) fn take_small_state(&self) -> Box<State> {
        self.streams.set(self.streams.get() + 1);
        let most = self.most_streams.get().max(self.streams.get());
        self.most_streams.set(most);
        let state = self.small_states.borrow_mut().pop();
        state.unwrap_or_else(|| Box::new(State::small()))
    }

    /// A buffer for one that needs it now.
    pub(crate) fn lend_buffer(&self) -> Buffer {
        let buffer = self.buffers.borrow_mut().pop();
        buffer.unwrap_or_else(|| Buffer::with_capacity(BUFFER))
    }

    fn keep_buffer(&self, mut buffer: Buffer) {
        let mut buffers = self.buffers.borrow_mut();
        if buffers.len() < KEPT_BUFFERS && buffer.capacity() == BUFFER {
            buffer.clear();
            buffers.push(buffer);
        }
    }

    /// Takes it back.
    pub(crate) fn give_small_state(&self, mut state: Box<State>) {
        self.streams.set(self.streams.get().saturating_sub(1));
        let mut states = self.small_states.borrow_mut();
        if states.len() < KEPT_SMALL && state.is_small() {
            state.downstream.clear();
            state.upstream.clear();
            let buffer = std::mem::take(&mut state.upstream);
            states.push(state);
            self.keep_buffer(buffer);
        }
    }

    /// Counts a connection of a listener in, unless a limit is reached.
    pub(crate) fn admit(&self, listener: &Arc<Listener>) -> Option<Admission> {
        let process = &self.process;
        if !count_in(&process.connections, process.max_connections.load(Relaxed)) {
            return None;
        }
        if !count_in(&listener.open, listener.config.max_connections) {
            process.connections.fetch_sub(1, Relaxed);
            return None;
        }
        let cells = listener.cells.at(self.id);
        cells.accepted.inc();
        cells.active.inc();
        Some(Admission {
            process: Arc::clone(process),
            listener: Arc::clone(listener),
            worker: self.id,
        })
    }
}

/// One more, if that stays within the limit.
fn count_in(counter: &AtomicU32, limit: u32) -> bool {
    let admitted = counter.fetch_add(1, Relaxed) < limit;
    if !admitted {
        counter.fetch_sub(1, Relaxed);
    }
    admitted
}

/// A connection that is counted until this is dropped.
pub(crate) struct Admission {
    process: Arc<Process>,
    listener: Arc<Listener>,
    worker: usize,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.process.connections.fetch_sub(1, Relaxed);
        self.listener.open.fetch_sub(1, Relaxed);
        self.listener.cells.at(self.worker).active.dec();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::RefMut;

    use super::*;
    use crate::telemetry::cells::PerWorker;

    /// What the only worker of a process without a table is made from.
    pub(crate) fn parts() -> Parts {
        Parts {
            id: 0,
            process: Arc::new(Process {
                table: Arc::new(ArcSwap::from_pointee(Snapshot::empty())),
                connections: AtomicU32::new(0),
                max_connections: AtomicU32::new(100),
                workers: 1,
                burst_passed: AtomicBool::new(false),
                pseudonym: "test".into(),
            }),
            log: None,
            cells: Arc::new(PerWorker::new(2)),
        }
    }

    /// While this is held, housekeeping panics.
    #[allow(clippy::vec_box, reason = "the field is one")]
    pub(crate) fn hold_states(worker: &Worker) -> RefMut<'_, Vec<Box<State>>> {
        worker.states.borrow_mut()
    }

    /// A panic in a connection drops its state without giving it back.
    #[test]
    fn a_state_that_is_dropped_is_not_in_use_any_more() {
        let worker = Worker::new(parts());
        let states: Vec<_> = (0..3).map(|_| worker.take_state()).collect();
        assert_eq!(worker.lent_states.get(), 3);
        for (state, left) in states.into_iter().zip([2, 1, 0]) {
            if left == 1 {
                worker.give_state(state);
            } else {
                drop(state);
            }
            assert_eq!(worker.lent_states.get(), left);
        }
        // The one that was given back is lent, and counted, again.
        assert_eq!(hold_states(&worker).len(), 1);
        let state = worker.take_state();
        assert_eq!(
            (worker.lent_states.get(), hold_states(&worker).len()),
            (1, 0)
        );
        drop(state);
        assert_eq!(worker.lent_states.get(), 0);
    }
}
