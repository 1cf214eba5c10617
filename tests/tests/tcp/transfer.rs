//! Bytes: all of them, in order, in both directions, and no further ahead than they should be.

use std::{
    io::{Read, Write},
    sync::{Arc, Mutex},
};

use outrigger_tests::{client::Client, upstream::Upstream, wait, wire::End};

use super::{echo, forwarding};

fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|n| (n % 251) as u8 ^ (n / 251) as u8)
        .collect()
}

#[test]
fn bulk_arrives_whole_in_both_directions_at_once() {
    let upstream = echo();
    let proxy = forwarding(&upstream.address, "");
    for len in [1, 4_095, 65_536, 1 << 20, (16 << 20) + 3] {
        let sent = pattern(len);
        let mut client = Client::connect(proxy.web());
        let mut wire = client.wire.duplicate();
        let (got, end) = std::thread::scope(|scope| {
            scope.spawn(|| {
                wire.write_all(&sent).unwrap();
                wire.finish();
            });
            client.rest()
        });
        assert_eq!(end, End::Closed);
        assert!(got == sent, "{len} bytes sent, {} came back", got.len());
    }
}

#[test]
fn many_connections_do_not_mix() {
    let upstream = echo();
    let proxy = forwarding(&upstream.address, "");
    std::thread::scope(|scope| {
        for n in 0..16_u8 {
            let proxy = &proxy;
            scope.spawn(move || {
                let mut client = Client::connect(proxy.web());
                for turn in 0..50 {
                    let words = vec![n; 1 + turn * 97];
                    client.send(&words);
                    assert_eq!(client.exactly(words.len()), words);
                }
            });
        }
    });
    assert_eq!(upstream.connections(), 16);
}

#[test]
fn single_bytes_are_not_held_back() {
    let upstream = echo();
    let proxy = forwarding(&upstream.address, "");
    let mut client = Client::connect(proxy.web());
    for byte in 0..=255 {
        client.send([byte]);
        assert_eq!(client.exactly(1), [byte]);
    }
}

#[test]
fn a_slow_reader_slows_the_sender() {
    let sent = Arc::new(Mutex::new(0_usize));
    let upstream = {
        let sent = sent.clone();
        Upstream::script(move |peer| {
            let part = vec![b'x'; 65_536];
            while peer.wire.write_all(&part).is_ok() {
                *sent.lock().unwrap() += part.len();
            }
        })
    };
    let proxy = forwarding(&upstream.address, "");
    let mut client = Client::connect(proxy.web());
    client.wire.small_receive_buffer();
    client.exactly(1);
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
    assert!(last.0 < 64 << 20, "{} bytes were taken", last.0);
    // Reading on gets it going again.
    let mut rest = vec![0; last.0 + (4 << 20)];
    client.wire.read_exact(&mut rest).unwrap();
}
