//! IPv4, IPv6, both at once, Unix sockets, and endpoints with several addresses.

use std::net::{Ipv6Addr, SocketAddr};

use outrigger_tests::{
    client::Client, files::TempDir, proxy::Proxy, tools, upstream::Upstream, wire::Address,
};

use super::{echo, echo_script};

fn has_ipv6(test: &str) -> bool {
    let there = std::net::TcpListener::bind("[::1]:0").is_ok();
    if !there {
        tools::skip(test, "this machine has no IPv6");
    }
    there
}

#[track_caller]
fn check(address: Address) {
    let mut client = Client::connect(address);
    client.send("ping");
    assert_eq!(client.exactly(4), b"ping");
}

fn proxy(bind: &str, endpoint: &str) -> Proxy {
    Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '{bind}', protocol: tcp, cluster: back }}]
clusters: [{{ name: back, endpoints: [{endpoint}] }}]"
    ))
}

#[test]
fn ipv6_on_both_sides() {
    if !has_ipv6("ipv6_on_both_sides") {
        return;
    }
    let upstream = Upstream::at("[::1]:0".parse().unwrap(), echo_script);
    let proxy = proxy("[::1]:0", &format!("'{}'", upstream.address));
    check(proxy.listener("web"));
}

#[test]
fn the_ipv6_wildcard_takes_both_families() {
    if !has_ipv6("the_ipv6_wildcard_takes_both_families") {
        return;
    }
    let upstream = echo();
    let proxy = proxy("[::]:0", &format!("'{}'", upstream.address));
    let port = proxy.web().port();
    check(SocketAddr::from((Ipv6Addr::LOCALHOST, port)).into());
    check(SocketAddr::from(([127, 0, 0, 1], port)).into());
}

#[test]
fn unix_sockets_on_both_sides() {
    let dir = TempDir::new();
    let path = dir.file("back.sock");
    let upstream = Upstream::unix(&path, echo_script);
    let proxy = proxy("unix:DIR/front.sock", &format!("'{}'", upstream.address));
    let front = proxy.listener("web");
    assert_eq!(front, Address::Unix(proxy.dir.file("front.sock")));
    check(front);
}

#[test]
fn http_over_unix_sockets() {
    let dir = TempDir::new();
    let path = dir.file("back.sock");
    let upstream = Upstream::unix(&path, |peer| {
        while peer.request().is_some() {
            peer.answer(200, b"ok");
        }
    });
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, bind: 'unix:DIR/front.sock', protocol: http }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, endpoints: ['{}'] }}]",
        upstream.address
    ));
    let mut client = Client::connect(proxy.listener("web"));
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "ok");
    }
    assert_eq!(upstream.connections(), 1);
}

/// A socket file that a dead process left is no reason not to start; one that is in use is.
#[test]
fn a_stale_socket_file_is_replaced() {
    let upstream = echo();
    let dir = TempDir::new();
    let path = dir.file("front.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let proxy = proxy(
        &format!("unix:{}", path.display()),
        &format!("'{}'", upstream.address),
    );
    check(proxy.listener("web"));
}

#[test]
fn the_first_address_that_answers_is_used() {
    let upstream = echo();
    let mut gone = echo();
    gone.stop();
    for (address, alternative) in [
        (&gone.address, &upstream.address),
        (&upstream.address, &gone.address),
    ] {
        let proxy = proxy(
            "127.0.0.1:0",
            &format!("{{ address: '{address}', alternatives: ['{alternative}'] }}"),
        );
        check(proxy.listener("web"));
        check(proxy.listener("web"));
    }
}
