//! How connections end: half-close, FIN, RST, timeouts, endpoints that are not there.

use std::{
    io::{Read, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use outrigger_tests::{client::Client, proxy::Proxy, upstream::Upstream, wait, wire::End};

use super::{echo, forwarding};

#[test]
fn a_half_close_leaves_the_other_direction_open() {
    // Answers only when the question has ended.
    let upstream = Upstream::script(|peer| {
        let question = peer.wait_end();
        peer.send(format!("{} bytes", question.len()));
    });
    let proxy = forwarding(&upstream.address, "");
    let mut client = Client::connect(proxy.web());
    client.send([b'x'; 1000]);
    client.wire.finish();
    let (answer, end) = client.rest();
    assert_eq!((answer.as_slice(), end), (&b"1000 bytes"[..], End::Closed));

    // And the other way round: the server ends first, the client goes on.
    let got = Arc::new(Mutex::new(Vec::new()));
    let upstream = {
        let got = got.clone();
        Upstream::script(move |peer| {
            peer.send("bye");
            peer.wire.finish();
            got.lock().unwrap().extend(peer.wait_end());
        })
    };
    let proxy = forwarding(&upstream.address, "");
    let mut client = Client::connect(proxy.web());
    assert_eq!(client.rest(), (b"bye".to_vec(), End::Closed));
    for _ in 0..10 {
        client.send("more ");
    }
    client.wire.finish();
    wait::until("the upstream to have all", || {
        (*got.lock().unwrap() == b"more ".repeat(10)).then_some(())
    });
}

#[test]
fn a_reset_is_passed_on_in_both_directions() {
    let upstream = Upstream::script(|peer| {
        let _ = peer.exactly(4);
        peer.reset();
    });
    let proxy = forwarding(&upstream.address, "");
    let mut client = Client::connect(proxy.web());
    client.send("ping");
    assert_eq!(client.rest().1, End::Reset);

    let seen = Arc::new(Mutex::new(None));
    let upstream = {
        let seen = seen.clone();
        Upstream::script(move |peer| {
            peer.send("hello");
            let (_, end) = peer.wire.drain();
            *seen.lock().unwrap() = Some(end);
        })
    };
    let proxy = forwarding(&upstream.address, "");
    let mut client = Client::connect(proxy.web());
    assert_eq!(client.exactly(5), b"hello");
    client.wire.reset();
    wait::until("the upstream to see the end", || *seen.lock().unwrap());
    assert_eq!(*seen.lock().unwrap(), Some(End::Reset));
}

#[test]
fn an_idle_connection_is_closed() {
    let upstream = echo();
    let proxy = forwarding(&upstream.address, ", idle_timeout: 300ms");
    let mut client = Client::connect(proxy.web());
    // What moves is not idle, however long it takes in all.
    for _ in 0..8 {
        client.send("x");
        assert_eq!(client.exactly(1), b"x");
        assert!(client.is_silent_for(Duration::from_millis(80)));
    }
    client.expect_end();
    wait::until("the upstream to be released", || {
        (upstream.open() == 0).then_some(())
    });
}

#[test]
fn a_connection_ends_at_its_age() {
    let upstream = echo();
    let proxy = forwarding(&upstream.address, ", max_lifetime: 300ms");
    let mut client = Client::connect(proxy.web());
    let mut turns = 0;
    while client.try_send("x").is_ok() && client.reader.fill(&mut client.wire).unwrap_or(false) {
        turns += 1;
    }
    assert!(turns > 0);
    let line = proxy.log_of(1).remove(0);
    assert_eq!(line["cause"], "lifetime_reached", "{line}");
}

#[test]
fn another_endpoint_is_tried_when_one_is_not_there() {
    let mut gone = echo();
    let there = echo();
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: tcp, cluster: back }}]
clusters: [{{ name: back, endpoints: ['{}', '{}'], balance: round_robin }}]",
        gone.address, there.address
    ));
    gone.stop();
    for _ in 0..6 {
        let mut client = Client::connect(proxy.web());
        client.send("ping");
        assert_eq!(client.exactly(4), b"ping");
    }
}

#[test]
fn with_no_endpoint_there_the_client_is_cut_and_the_log_says_why() {
    let mut gone = echo();
    let proxy = forwarding(&gone.address, "");
    gone.stop();
    // The reset may come so soon that connecting already fails by it.
    if let Ok(mut client) = Client::try_connect(&proxy.web().into()) {
        let mut rest = Vec::new();
        let _ = client.wire.write_all(b"ping");
        let _ = client.wire.read_to_end(&mut rest);
        assert!(rest.is_empty());
    }
    let line = proxy.log_of(1).remove(0);
    assert_eq!(
        (line["kind"].as_str(), line["cause"].as_str()),
        (Some("tcp"), Some("connection_refused"))
    );
}
