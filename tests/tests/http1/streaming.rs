//! Bodies flow as they come, in both directions, and no further ahead than buffers allow.

use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use outrigger_tests::{
    client::{Client, request},
    proxy::Proxy,
    upstream::Upstream,
    wait::{self, Gate},
};

const CHUNKED: &[&str] = &["Transfer-Encoding: chunked"];

/// Bytes in which every position differs from its neighbours.
fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|n| (n % 251) as u8 ^ (n / 251) as u8)
        .collect()
}

#[test]
fn a_request_body_reaches_the_upstream_before_it_is_whole() {
    for fields in [&["Content-Length: 10"][..], CHUNKED] {
        let chunked = fields == CHUNKED;
        let seen = Arc::new(Gate::default());
        let upstream = {
            let seen = seen.clone();
            Upstream::script(move |peer| {
                peer.head().expect("a head");
                let first = if chunked {
                    &b"5\r\nhello\r\n"[..]
                } else {
                    b"hello"
                };
                assert_eq!(peer.exactly(first.len()).unwrap(), first);
                seen.open();
                let rest = if chunked {
                    &b"5\r\nworld\r\n0\r\n\r\n"[..]
                } else {
                    b"world"
                };
                assert_eq!(peer.exactly(rest.len()).unwrap(), rest);
                peer.answer(200, b"done");
            })
        };
        let proxy = Proxy::to(&[&upstream.address]);
        let mut client = Client::connect(proxy.web());
        client.send(request("POST", "/", fields, b""));
        client.send(if chunked {
            &b"5\r\nhello\r\n"[..]
        } else {
            b"hello"
        });
        seen.pass();
        client.send(if chunked {
            &b"5\r\nworld\r\n0\r\n\r\n"[..]
        } else {
            b"world"
        });
        assert_eq!(client.response().text(), "done", "{fields:?}");
    }
}

#[test]
fn a_response_body_reaches_the_client_before_it_is_whole() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\n\r\nhello",
    ] {
        let go_on = Arc::new(Gate::default());
        let upstream = {
            let go_on = go_on.clone();
            Upstream::script(move |peer| {
                peer.request();
                peer.send(head);
                go_on.pass();
                peer.send("world");
            })
        };
        let proxy = Proxy::to(&[&upstream.address]);
        let mut client = Client::connect(proxy.web());
        client.send(request("GET", "/", &[], b""));
        let mut message = client.head();
        assert_eq!(message.status(), 200);
        message.framing = message.response_framing("GET");
        // The first half is here while the upstream still waits.
        wait::until("the first half", || {
            let there = client.reader.pending().windows(5).any(|w| w == b"hello");
            if !there {
                client.reader.fill(&mut client.wire).unwrap();
            }
            there.then_some(())
        });
        go_on.open();
        client.reader.body(&mut client.wire, &mut message).unwrap();
        assert_eq!(message.text(), "helloworld");
    }
}

#[test]
fn both_directions_flow_at_once() {
    let upstream = Upstream::script(|peer| {
        if peer.head().is_none() {
            return;
        }
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        loop {
            let mut data = Vec::new();
            let more = peer.reader.chunk(&mut peer.wire, &mut data).unwrap();
            if !more {
                peer.exactly(2).unwrap();
                peer.send("0\r\n\r\n");
                return;
            }
            peer.send(format!("{:x}\r\n", data.len()))
                .send(data)
                .send("\r\n");
        }
    });
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    client.send(request("POST", "/", CHUNKED, b""));
    let mut talk = Vec::new();
    for n in 0..50 {
        let words = format!("turn {n}");
        client.send(format!("{:x}\r\n{words}\r\n", words.len()));
        if n == 0 {
            assert_eq!(client.head().status(), 200);
        }
        // Each turn waits for the echo of the one before it: nothing may be held back.
        let mut echo = Vec::new();
        while echo.len() < words.len() {
            assert!(client.reader.chunk(&mut client.wire, &mut echo).unwrap());
        }
        talk.extend(echo);
    }
    client.send("0\r\n\r\n");
    let mut rest = Vec::new();
    assert!(!client.reader.chunk(&mut client.wire, &mut rest).unwrap());
    let expected: Vec<_> = (0..50).map(|n| format!("turn {n}")).collect();
    assert_eq!(String::from_utf8(talk).unwrap(), expected.concat());
}

#[test]
fn large_bodies_arrive_whole() {
    let upstream = Upstream::script(|peer| {
        while let Some(request) = peer.request() {
            if request.target() == "/chunked" {
                peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                for part in request.body.chunks(70_001) {
                    peer.send(format!("{:X}\r\n", part.len()))
                        .send(part)
                        .send("\r\n");
                }
                peer.send("0\r\n\r\n");
            } else {
                peer.answer(200, &request.body);
            }
        }
    });
    let proxy = Proxy::to(&[&upstream.address]);
    for len in [1, 16_383, 16_384, 65_536, 1 << 20, (8 << 20) + 7] {
        let body = pattern(len);
        for target in ["/length", "/chunked"] {
            let mut client = Client::connect(proxy.web());
            let sent = {
                let mut wire = client.wire.duplicate();
                let body = body.clone();
                std::thread::spawn(move || {
                    if target == "/length" {
                        wire.write_all(&request("POST", target, &[], &body))
                            .unwrap();
                        return;
                    }
                    wire.write_all(&request("POST", target, CHUNKED, b""))
                        .unwrap();
                    for part in body.chunks(99_991) {
                        wire.write_all(format!("{:x}\r\n", part.len()).as_bytes())
                            .unwrap();
                        wire.write_all(part).unwrap();
                        wire.write_all(b"\r\n").unwrap();
                    }
                    wire.write_all(b"0\r\n\r\n").unwrap();
                })
            };
            let answer = client.response();
            sent.join().unwrap();
            assert_eq!(answer.status(), 200);
            assert!(
                answer.body == body,
                "{len} bytes, {target}: {}",
                answer.body.len()
            );
        }
    }
}

#[test]
fn a_slow_client_slows_the_upstream() {
    const WHOLE: usize = 256 << 20;
    let sent = Arc::new(Mutex::new(0_usize));
    let upstream = {
        let sent = sent.clone();
        Upstream::script(move |peer| {
            if peer.request().is_none() {
                return;
            }
            peer.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {WHOLE}\r\n\r\n"
            ));
            let part = vec![b'x'; 65_536];
            while peer.wire.write_all(&part).is_ok() {
                *sent.lock().unwrap() += part.len();
            }
        })
    };
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    client.wire.small_receive_buffer();
    client.send(request("GET", "/", &[], b""));
    client.head();
    // The client reads no more. What the upstream can send comes to a stand, far below the whole.
    let mut last = (0, 0);
    wait::until("the upstream to be held up", || {
        let now = *sent.lock().unwrap();
        last = if now == last.0 && now > 0 {
            (now, last.1 + 1)
        } else {
            (now, 0)
        };
        (last.1 > 25).then_some(())
    });
    assert!(
        last.0 < 64 << 20,
        "{} bytes were taken from the upstream",
        last.0
    );
    // Others are served meanwhile.
    let mut other = Client::connect(proxy.web());
    other.send(request("HEAD", "/", &[], b""));
    other.wire.read_deadline(Duration::from_secs(10));
    assert_eq!(other.head().status(), 200);
}
