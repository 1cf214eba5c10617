//! Clusters whose endpoints are names: a tiny name server answers, changes its mind, and fails.

use std::net::Ipv4Addr;

use outrigger_tests::{
    client::Client,
    names::NameServer,
    proxy::{Proxy, Setup},
    upstream::Upstream,
    wait,
};

/// The same port on two loopback addresses, each with its own answer.
fn pair() -> (Upstream, Upstream, u16) {
    let first = Upstream::fixed("first");
    let port = first.address.tcp().port();
    let second = Upstream::at((Ipv4Addr::new(127, 0, 0, 2), port).into(), |peer| {
        while peer.request().is_some() {
            peer.answer(200, b"second");
        }
    });
    (first, second, port)
}

fn proxy(server: &NameServer, port: u16) -> Proxy {
    Setup::new(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: http }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, dns: 'shop.test.:{port}' }}]"
    ))
    .mesh(&format!(
        "dns: {{ servers: ['{}'], min_ttl: 100ms, timeout: 1s }}",
        server.address
    ))
    .start()
}

#[test]
fn names_are_resolved_again_when_their_time_is_over() {
    let (first, second, port) = pair();
    let server = NameServer::start(Some(Ipv4Addr::LOCALHOST));
    let proxy = proxy(&server, port);
    let mut client = Client::connect(proxy.web());
    wait::until("the first answer to be used", || {
        (client.get("/").text() == "first").then_some(())
    });
    server.say(Some(Ipv4Addr::new(127, 0, 0, 2)));
    wait::until("the second answer to be used", || {
        (client.get("/").text() == "second").then_some(())
    });
    assert!(first.count() > 0 && second.count() > 0);
}

#[test]
fn the_last_good_answer_is_kept() {
    let (_first, _second, port) = pair();
    let server = NameServer::start(Some(Ipv4Addr::LOCALHOST));
    let proxy = proxy(&server, port);
    let mut client = Client::connect(proxy.web());
    wait::until("the answer to be used", || {
        (client.get("/").text() == "first").then_some(())
    });
    server.say(None);
    let asked = server.asked();
    wait::until("two questions in vain", || {
        assert_eq!(client.get("/").text(), "first");
        (server.asked() >= asked + 2).then_some(())
    });
    assert_eq!(client.get("/").text(), "first");
}

#[test]
fn a_name_that_is_none_is_an_error_of_its_own() {
    let server = NameServer::start(None);
    let proxy = proxy(&server, 80);
    let answer = Client::connect(proxy.web()).get("/");
    assert!(matches!(answer.status(), 502 | 503), "{answer}");
    let line = proxy.log_of(1).remove(0);
    assert!(
        ["dns_error", "destination_unavailable"].contains(&line["cause"].as_str().unwrap()),
        "{line}"
    );
}
