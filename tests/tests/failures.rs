//! Things break: endpoints die, stall, reset, and descriptors run out. What can be served is, and
//! what cannot fails by itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use outrigger_tests::{
    client::{Client, request},
    proxy::{Proxy, Setup, list, simple},
    reader::Broken,
    upstream::{Peer, Upstream},
    wait,
    wire::{Address, End},
};

fn round_robin(endpoints: &[&Address]) -> String {
    simple(endpoints).replace("endpoints:", "balance: round_robin, endpoints:")
}

/// Connection refused is known before a byte left: another endpoint serves, also a POST.
#[test]
fn an_endpoint_that_is_gone_costs_no_request() {
    let (stays, mut goes) = (Upstream::fixed("stays"), Upstream::fixed("goes"));
    let proxy = Proxy::start(&round_robin(&[&stays.address, &goes.address]));
    let mut client = Client::connect(proxy.web());
    let first: Vec<_> = (0..10).map(|_| client.post("/", b"x").text()).collect();
    assert!(first.contains(&"goes".to_owned()));
    goes.stop();
    // The kept connection to it may still answer; new ones cannot be made.
    for _ in 0..30 {
        let answer = Client::connect(proxy.web()).post("/", b"x");
        assert_eq!(answer.status(), 200);
    }
}

#[test]
fn an_endpoint_that_comes_back_is_used_again() {
    let (stays, mut goes) = (Upstream::fixed("stays"), Upstream::fixed("back"));
    let address = goes.address.tcp();
    let proxy = Proxy::start(&round_robin(&[&stays.address, &goes.address]));
    goes.stop();
    drop(goes);
    for _ in 0..10 {
        assert_eq!(Client::connect(proxy.web()).get("/").text(), "stays");
    }
    let _again = Upstream::at(address, |peer| {
        while peer.request().is_some() {
            peer.answer(200, b"back");
        }
    });
    wait::until("it to serve again", || {
        (Client::connect(proxy.web()).get("/").text() == "back").then_some(())
    });
}

/// A request that may have been executed is not sent again: 502, and the upstream saw it once.
#[test]
fn what_may_have_been_executed_is_not_repeated() {
    let upstream = Upstream::script(|peer| {
        peer.request();
        peer.reset();
    });
    let proxy = Proxy::to(&[&upstream.address]);
    for n in 1..=5 {
        assert_eq!(
            Client::connect(proxy.web()).post("/order", b"x").status(),
            502
        );
        assert_eq!(upstream.count(), n);
    }
}

#[test]
fn an_endpoint_that_dies_within_its_answer_cuts_that_answer_alone() {
    let upstream = Upstream::script(|peer| {
        while let Some(request) = peer.request() {
            match request.target() {
                "/reset" => {
                    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhello");
                    return peer.reset();
                }
                "/half" => {
                    peer.send(
                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
                    );
                    peer.wire.finish();
                    peer.wait_end();
                    return;
                }
                _ => {
                    peer.answer(200, b"ok");
                }
            }
        }
    });
    let proxy = Proxy::to(&[&upstream.address]);
    let mut beside = Client::connect(proxy.web());
    for target in ["/reset", "/half"] {
        let mut client = Client::connect(proxy.web());
        client.send(request("GET", target, &[], b""));
        match client.try_response("GET") {
            Err(Broken::Cut(_)) => {}
            Ok(answer) if answer.status() == 502 => {}
            other => panic!("{target}: {other:?}"),
        }
        assert_eq!(beside.get("/").text(), "ok");
    }
}

#[test]
fn a_client_that_leaves_takes_its_request_along() {
    let upstream = Upstream::script(|peer| {
        peer.request();
        peer.wait_end();
    });
    let proxy = Proxy::to(&[&upstream.address]);
    for n in 1..=3 {
        let mut client = Client::connect(proxy.web());
        client.send(request("GET", "/", &[], b""));
        wait::until("the request to be upstream", || {
            (upstream.count() == n).then_some(())
        });
        client.wire.reset();
        wait::until("the upstream to be released", || {
            (upstream.open() == 0).then_some(())
        });
    }
}

#[test]
fn a_full_pool_queues_and_then_refuses() {
    let gate = Arc::new(wait::Gate::default());
    let upstream = {
        let gate = gate.clone();
        Upstream::script(move |peer| {
            while peer.request().is_some() {
                gate.pass();
                peer.answer(200, b"ok");
            }
        })
    };
    let proxy = Proxy::start(&simple(&[&upstream.address]).replace(
        "endpoints:",
        "pool: { max_connections: 1, max_pending: 1, pending_timeout: 60s }, endpoints:",
    ));
    let pending = || {
        proxy
            .metrics()
            .sum("outrigger_upstream_requests_pending", &[])
    };
    let mut first = Client::connect(proxy.web());
    first.send(request("GET", "/1", &[], b""));
    wait::until("the first to be upstream", || {
        (upstream.count() == 1).then_some(())
    });
    let mut second = Client::connect(proxy.web());
    second.send(request("GET", "/2", &[], b""));
    wait::until("the second to wait", || (pending() > 0.5).then_some(()));
    assert_eq!(Client::connect(proxy.web()).get("/3").status(), 503);
    gate.open();
    assert_eq!(
        (first.response().text(), second.response().text()),
        ("ok".into(), "ok".into())
    );
    assert_eq!((upstream.count(), upstream.connections()), (2, 1));
}

/// A connection that becomes free goes to who waits, not to who comes in that moment: here the
/// next request of the client that had it.
#[test]
fn who_waits_for_a_connection_is_not_overtaken() {
    let gate = Arc::new(wait::Gate::default());
    let upstream = {
        let gate = gate.clone();
        Upstream::script(move |peer| {
            while peer.request().is_some() {
                gate.pass();
                peer.answer(200, b"ok");
            }
        })
    };
    let proxy = Proxy::start(&simple(&[&upstream.address]).replace(
        "endpoints:",
        "pool: { max_connections: 1, pending_timeout: 60s }, endpoints:",
    ));
    let mut eager = Client::connect(proxy.web());
    let requests: Vec<u8> = ["/1", "/3", "/4"]
        .iter()
        .flat_map(|target| request("GET", target, &[], b""))
        .collect();
    eager.send(requests);
    wait::until("the first to be upstream", || {
        (upstream.count() == 1).then_some(())
    });
    let mut patient = Client::connect(proxy.web());
    patient.send(request("GET", "/2", &[], b""));
    wait::until("the other to wait", || {
        let metrics = proxy.metrics();
        let pending = metrics.sum("outrigger_upstream_requests_pending", &[]);
        (pending > 0.5).then_some(())
    });
    gate.open();
    for _ in 0..3 {
        assert_eq!(eager.response().text(), "ok");
    }
    assert_eq!(patient.response().text(), "ok");
    let order: Vec<_> = upstream
        .requests()
        .iter()
        .map(|r| r.target().to_owned())
        .collect();
    assert_eq!(order, ["/1", "/2", "/3", "/4"]);
}

/// S40: out of descriptors, nothing that is served suffers, the operators' face answers, and
/// accepting goes on when some are free again.
#[test]
fn running_out_of_descriptors_is_survived() {
    let upstream = Upstream::fixed("ok");
    let proxy = Setup::new(&simple(&[&upstream.address]))
        .descriptors(64)
        .start();
    let mut served = Client::connect(proxy.web());
    assert_eq!(served.get("/").text(), "ok");
    // More than there can be. Some are accepted, others wait in the kernel or are refused.
    let crowd: Vec<_> = (0..100)
        .filter_map(|_| Client::try_connect(&proxy.web().into()).ok())
        .collect();
    for _ in 0..20 {
        assert_eq!(served.get("/").text(), "ok");
    }
    assert_eq!(proxy.ask("/ready").status(), 200);
    drop(crowd);
    wait::until("new connections to be served again", || {
        let mut client = Client::try_connect(&proxy.web().into()).ok()?;
        client.try_send(request("GET", "/", &[], b"")).ok()?;
        client.try_response("GET").ok().filter(|a| a.text() == "ok")
    });
}

/// Answers well, or closes, resets, cuts and talks nonsense in turn.
fn unruly(peer: &mut Peer, calm: &AtomicBool) {
    let mut turn = peer.index;
    while peer.request().is_some() {
        turn += 1;
        match if calm.load(Ordering::Relaxed) {
            0
        } else {
            turn % 7
        } {
            1 => return,
            2 => return peer.reset(),
            3 => {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok");
                return;
            }
            4 => {
                peer.send("nonsense\r\n\r\n");
                return;
            }
            _ => peer.answer(200, b"ok"),
        };
    }
}

/// Chaos in small: endpoints that stop and start, answer, cut and stall at random, clients that
/// leave. The process stays, loses no descriptor, and serves well again in the end.
#[test]
fn after_chaos_all_is_as_before() {
    let calm = Arc::new(AtomicBool::new(false));
    let upstreams: Vec<_> = (0..3)
        .map(|_| {
            let calm = calm.clone();
            Upstream::script(move |peer| unruly(peer, &calm))
        })
        .collect();
    let addresses: Vec<_> = upstreams.iter().map(|u| &u.address).collect();
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: http }}]
routes: [{{ name: all, rules: [{{ timeouts: {{ request: 5s }}, backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, endpoints: {} }}]",
        list(&addresses)
    ));
    let descriptors = || proxy.metrics().sum("process_open_fds", &[]);
    let before = descriptors();
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for number in 0..6 {
            let (answered, proxy) = (&answered, &proxy);
            scope.spawn(move || {
                for n in 0..150 {
                    let mut client = Client::connect(proxy.web());
                    client.send(request("POST", "/", &[], b"body"));
                    if (n + number) % 5 == 0 {
                        client.wire.reset();
                        continue;
                    }
                    match client.try_response("POST") {
                        Ok(answer) => {
                            assert!(matches!(answer.status(), 200 | 502 | 503), "{answer}");
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(Broken::Cut(_) | Broken::Ended) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                }
            });
        }
    });
    assert!(answered.load(Ordering::Relaxed) > 100);
    calm.store(true, Ordering::Relaxed);
    let mut client = Client::connect(proxy.web());
    wait::until("a hundred good answers in a row", || {
        (0..100)
            .all(|_| client.get("/").status() == 200)
            .then_some(())
    });
    drop(client);
    wait::until("all descriptors to be given back", || {
        (descriptors() <= before + 10.0).then_some(())
    });
    let metrics = proxy.metrics();
    assert!(metrics.sum("outrigger_worker_panics_total", &[]).abs() < 0.5);
    for gauge in [
        "outrigger_requests_active",
        "outrigger_upstream_requests_active",
        "outrigger_connections_active",
    ] {
        wait::until(gauge, || {
            (proxy.metrics().sum(gauge, &[]).abs() < 0.5).then_some(())
        });
    }
}

/// Of a body that was sent in part nothing may go to another connection: its middle would be taken
/// for a request there.
#[test]
fn the_rest_of_a_body_is_no_request_for_the_next_endpoint() {
    let gate = Arc::new(wait::Gate::default());
    let upstream = {
        let gate = gate.clone();
        Upstream::script(move |peer| {
            if peer.index == 0 {
                peer.wire.small_receive_buffer();
                peer.head();
                gate.pass();
                return peer.reset();
            }
            peer.wait_end();
        })
    };
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    client.send(request("POST", "/", &["Content-Length: 100000000"], b""));
    client.wire.write_deadline(Duration::from_millis(300));
    let inner = request("GET", "/smuggled", &[], b"").repeat(1_000);
    // Until nobody takes any more of it.
    while client.try_send(&inner).is_ok() {}
    gate.open();
    assert_eq!(client.response().status(), 502);
    drop(client);
    assert_eq!(upstream.connections(), 1, "sent again from its middle");
}

/// Once part of an answer was passed on, no other answer may follow on that connection.
#[test]
fn an_answer_that_breaks_off_is_not_followed_by_another() {
    let gate = Arc::new(wait::Gate::default());
    let upstream = {
        let gate = gate.clone();
        Upstream::script(move |peer| {
            if peer.request().is_some() {
                peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
                gate.pass();
                peer.send("5\r\nworld\r\nbroken\r\n");
                peer.wait_end();
            }
        })
    };
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    client.send(request("GET", "/", &[], b""));
    assert_eq!(client.head().status(), 200);
    assert_eq!(client.exactly(10), b"5\r\nhello\r\n");
    gate.open();
    let (rest, _) = client.rest();
    let rest = String::from_utf8_lossy(&rest);
    assert!(!rest.contains("HTTP/1.1"), "{rest}");
}

/// A client to which only the end of the connection says where the body ends must not take a part for it.
#[test]
fn a_broken_answer_does_not_look_whole_to_an_old_client() {
    let upstream = Upstream::script(|peer| {
        if peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
        }
    });
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    client.send("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n");
    let (bytes, end) = client.rest();
    assert!(
        bytes.is_empty() || bytes.ends_with(b"hello"),
        "{}",
        bytes.escape_ascii()
    );
    assert_eq!(end, End::Reset);
}
