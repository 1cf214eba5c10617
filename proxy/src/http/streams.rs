//! Tasks that serve the streams of HTTP/2 connections. One that has ended its exchange waits for the
//! next stream of its worker, whichever connection that comes on: to make a task takes longer than many
//! an exchange does.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

use super::Conn;

/// Tasks that wait, at most. Each takes some 5 KiB.
const IDLE: usize = 256;

thread_local! {
    /// Those of this thread, which is one worker.
    static WAITING: RefCell<Vec<Rc<Seat>>> = const { RefCell::new(Vec::new()) };
}

/// A stream to be served, as one of those that its connection counts.
pub(super) struct Job {
    pub(super) conn: Conn,
    pub(super) active: Active,
}

/// Where a task waits.
#[derive(Default)]
struct Seat {
    job: RefCell<Option<Job>>,
    waker: Cell<Option<Waker>>,
}

/// Has a stream served by `serve`, which is the same for all.
pub(super) fn start<F>(job: Job, serve: impl Fn(Conn) -> F + 'static)
where
    F: Future<Output = ()> + 'static,
{
    let Some(seat) = WAITING.with_borrow_mut(Vec::pop) else {
        tokio::task::spawn_local(run(job, serve));
        return;
    };
    seat.job.replace(Some(job));
    if let Some(waker) = seat.waker.take() {
        waker.wake();
    }
}

async fn run<F: Future<Output = ()>>(first: Job, serve: impl Fn(Conn) -> F) {
    let seat = Rc::new(Seat::default());
    let mut next = Some(first);
    while let Some(Job { conn, active }) = next.take() {
        serve(conn).await;
        drop(active);
        let waits = WAITING.with_borrow_mut(|waiting| {
            let room = waiting.len() < IDLE;
            if room {
                waiting.push(Rc::clone(&seat));
            }
            room
        });
        if waits {
            next = Some(seat.wait().await);
        }
    }
}

impl Seat {
    async fn wait(&self) -> Job {
        poll_fn(|cx| {
            if let Some(job) = self.job.take() {
                return Poll::Ready(job);
            }
            self.waker.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await
    }
}

/// A stream that is served.
pub(super) struct Active(Rc<Cell<u32>>);

impl Active {
    pub(super) fn new(count: &Rc<Cell<u32>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
