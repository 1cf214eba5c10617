//! What a worker survives, and what it does not.

use std::{
    io::Read as _,
    net::{SocketAddr, TcpStream},
    task::{Context, Wake, Waker},
};

use outrigger_config::model::BindAddress;

use super::*;
use crate::{
    net::listen::{Bound, ListenOptions},
    shared::tests::{hold_states, parts},
    snapshot::{self, Snapshot},
    telemetry::registry::Metrics,
};

const LIMIT: Duration = Duration::from_secs(15);

/// Runs a worker on this thread until `test` is done, and then to its end.
fn with_worker<F: Future<Output = ()>>(
    parts: Parts,
    test: impl FnOnce(Rc<Worker>, mpsc::UnboundedSender<Order>) -> F,
) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .unwrap();
    runtime.block_on(async {
        let (orders, inbox) = mpsc::unbounded_channel();
        let worker = Worker::new(parts);
        let running = tokio::task::spawn_local(run(Rc::clone(&worker), inbox));
        test(worker, orders).await;
        let ended = tokio::time::timeout(LIMIT, running).await;
        ended.expect("the worker ends").unwrap();
    });
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(LIMIT, waiting).await;
    assert!(waited.is_ok(), "waited in vain for {what}");
}

struct Bomb;

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        panic!("asked to");
    }
}

#[test]
fn a_worker_whose_timers_panic_ends() {
    with_worker(parts(), |worker, orders| async move {
        let timer = worker.timers.timer();
        timer.set(now(), Duration::from_millis(1));
        let waker = Waker::from(Arc::new(Bomb));
        assert!(
            timer
                .poll_expired(&mut Context::from_waker(&waker))
                .is_pending()
        );
        // The worker ends although its orders do not.
        let ended = tokio::time::timeout(LIMIT, orders.closed()).await;
        assert!(ended.is_ok(), "the worker goes on");
        assert_eq!(worker.cells.at(worker.id).panics.value(), 1);
    });
}

#[test]
#[expect(
    clippy::await_holding_refcell_ref,
    reason = "that is what makes housekeeping panic"
)]
fn housekeeping_goes_on_after_a_panic() {
    with_worker(parts(), |worker, orders| async move {
        let panics = || worker.cells.at(worker.id).panics.value();
        let held = hold_states(&worker);
        until("housekeeping to panic", || panics() == 1).await;
        drop(held);
        // Leaves memory that housekeeping finds out about.
        drop((0..8).map(|_| worker.take_state()).collect::<Vec<_>>());
        let seen = || {
            worker
                .process
                .burst_passed
                .load(std::sync::atomic::Ordering::Relaxed)
        };
        until("housekeeping", seen).await;
        assert_eq!(panics(), 1);
        orders.send(Order::Stop).ok().unwrap();
    });
}

#[test]
fn accepting_goes_on_after_a_panic() {
    let parts = Parts { id: 1, ..parts() };
    let text = "version: 1
listeners: [{ name: web, bind: '127.0.0.1:0', protocol: tcp, cluster: c }]
clusters: [{ name: c, endpoints: ['127.0.0.1:1'] }]";
    let loaded = outrigger_config::read(text, "test.yaml", &|_| None).unwrap();
    // Counters for one worker: the second, which this one is, panics when it counts.
    let metrics = Metrics::new(1, 16);
    let built = snapshot::build(
        Arc::new(loaded),
        crate::tls::Table::default(),
        &Snapshot::empty(),
        &metrics,
        now(),
    );
    parts.process.table.store(Arc::new(built.unwrap()));
    with_worker(parts, |worker, orders| async move {
        let bind = BindAddress::Tcp(([127, 0, 0, 1], 0).into());
        let bound = Bound::bind(&bind, &ListenOptions::default(), 1).unwrap();
        let BindAddress::Tcp(address) = *bound.address() else {
            panic!("TCP")
        };
        for socket in bound.into_sockets() {
            let name = "web".into();
            orders.send(Order::Listen { name, socket }).ok().unwrap();
        }
        for n in 1..=2 {
            let client = connect(address);
            let panics = || worker.cells.at(worker.id).panics.value();
            until("accepting to panic", || panics() == n).await;
            assert!(matches!((&client).read(&mut [0]), Ok(0) | Err(_)));
        }
        orders.send(Order::Stop).ok().unwrap();
    });
}

fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client
}
