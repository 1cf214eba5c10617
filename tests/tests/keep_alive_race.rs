//! The keep-alive race: a server closes an idle connection while the next request is on its way.
//! Proxies fail such requests or execute some of them twice. Here both must be zero, from the
//! first request of a process on, and POST is no exception.
//!
//! The server closes about 300 ms after each answer, as imprecisely as timers are, and stands 3 ms
//! away; clients ask after pauses around that. The pauses are the load, and nothing else hangs on
//! them: a machine that stalls for less than a tenth of them changes nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

use std::{
    collections::HashSet,
    io::{Read, Write},
    thread,
    time::Duration,
};

use fastrand::Rng;
use outrigger_tests::{
    client::Client,
    proxy::Proxy,
    upstream::Upstream,
    wire::{Address, Wire},
};

const CLIENTS: usize = 16;
const EACH: usize = 12;
const DISTANCE: Duration = Duration::from_millis(3);

/// Answers with the body, or the target where there is none, and closes what is idle for too long.
fn impatient() -> Upstream {
    Upstream::script(|peer| {
        let mut random = Rng::with_seed(peer.index as u64);
        loop {
            let patience = Duration::from_micros(random.u64(300_000..315_000));
            peer.wire.read_deadline(patience);
            let Some(request) = peer.request() else {
                return;
            };
            let body = match request.method() {
                "GET" => request.target().as_bytes(),
                _ => &request.body,
            };
            peer.answer(200, body);
        }
    })
}

/// What leads to `server` and takes its time, either way.
fn far_from(server: Address) -> Upstream {
    Upstream::script(move |peer| {
        let far = Wire::connect(&server).unwrap();
        let near = peer.wire.duplicate();
        let back = (far.duplicate(), near.duplicate());
        thread::scope(|scope| {
            scope.spawn(move || carry(near, far));
            carry(back.0, back.1);
        });
    })
}

#[allow(
    clippy::disallowed_methods,
    reason = "the pause is the distance; nothing is waited for"
)]
fn carry(mut from: Wire, mut to: Wire) {
    let mut buffer = [0; 16_384];
    loop {
        let n = from.read(&mut buffer).unwrap_or(0);
        thread::sleep(DISTANCE);
        if n == 0 || to.write_all(&buffer[..n]).is_err() {
            return to.finish();
        }
    }
}

/// What each of several clients asks; fails with the first answer that is not the server's.
fn ask(proxy: &Proxy, method: &str) {
    let web = proxy.web();
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            scope.spawn(move || {
                let mut random = Rng::with_seed(number as u64);
                let mut client = Client::connect(web);
                for n in 0..EACH {
                    let id = format!("/{method}/{number}/{n}");
                    let answer = match method {
                        "GET" => client.get(&id),
                        _ => client.post("/orders", id.as_bytes()),
                    };
                    assert_eq!((answer.status(), answer.text()), (200, id), "{answer}");
                    let pause = match random.u8(..4) {
                        0 => 3_000,
                        _ => random.u64(225_000..375_000),
                    };
                    assert!(client.is_silent_for(Duration::from_micros(pause)));
                }
            });
        }
    });
}

/// Which requests the server processed, each by itself.
fn processed(server: &Upstream) -> (usize, usize) {
    let requests = server.take();
    let once: HashSet<_> = requests
        .iter()
        .map(|r| format!("{} {}", r.target(), r.text()))
        .collect();
    (once.len(), requests.len())
}

#[test]
fn no_request_fails_and_none_is_processed_twice() {
    const ALL: usize = CLIENTS * EACH;
    let server = impatient();
    let far = far_from(server.address.clone());
    let proxy = Proxy::to(&[&far.address]);
    for method in ["POST", "GET"] {
        let before = server.connections();
        ask(&proxy, method);
        assert_eq!(processed(&server), (ALL, ALL), "{method}");
        // The race was on: connections were closed again and again, and others were reused.
        let made = server.connections() - before;
        assert!(
            (ALL / 10..ALL * 9 / 10).contains(&made),
            "{method}: {made} connections"
        );
    }
}
