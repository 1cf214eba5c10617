//! TLS that is passed through: by the name that its client asks for, untouched, however its first
//! message arrives.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use outrigger_tests::{
    client::Client,
    files::TempDir,
    proxy::Proxy,
    tls::{Server, connect, reached},
    upstream::Upstream,
    wait,
};

use super::echo;

/// Two servers behind one port; `listener` are further settings of it.
struct Two {
    proxy: Proxy,
    _servers: [Server; 2],
    _dir: TempDir,
}

fn two(test: &str, listener: &str) -> Option<Two> {
    let dir = TempDir::new();
    let servers = [
        Server::start(test, dir.path(), "one")?,
        Server::start(test, dir.path(), "two")?,
    ];
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: tls_passthrough {listener} }}]
tls_routes:
  - {{ name: exact, hosts: [one.example, a.wild.example], backends: [{{ cluster: one }}] }}
  - {{ name: wild, hosts: ['*.wild.example'], backends: [{{ cluster: one, weight: 0 }}, {{ cluster: two }}] }}
  - {{ name: empty, hosts: [empty.example], backends: [{{ cluster: one, weight: 0 }}] }}
clusters: [{{ name: one, endpoints: ['{}'] }}, {{ name: two, endpoints: ['{}'] }}]",
        servers[0].address, servers[1].address
    ));
    Some(Two {
        proxy,
        _servers: servers,
        _dir: dir,
    })
}

#[test]
fn the_name_a_client_asks_for_leads_to_its_server() {
    let Some(two) = two("passthrough", ", detect_timeout: 10m") else {
        return;
    };
    let proxy = &two.proxy;
    for (arguments, server) in [
        (
            &["-servername", "one.example", "-alpn", "echo,x"][..],
            "one",
        ),
        (&["-servername", "ONE.Example"], "one"),
        (&["-servername", "b.wild.example", "-tls1_2"], "two"),
        (&["-servername", "c.b.wild.example"], "two"),
        (&["-servername", "a.wild.example"], "one"),
    ] {
        reached(&connect(proxy.web(), arguments), server);
    }
    let line = proxy.log_of(5).remove(0);
    for (field, value) in [
        ("kind", "tcp"),
        ("protocol", "tls"),
        ("sni", "one.example"),
        ("alpn", "echo,x"),
        ("route", "exact"),
        ("cluster", "one"),
    ] {
        assert_eq!(line[field], value, "{field} of {line}");
    }
    assert!(
        line["received"].as_u64() > Some(200) && line["cause"].is_null(),
        "{line}"
    );
    // No route: the client is told in its own words.
    for (arguments, detail) in [
        (
            &["-servername", "wild.example"][..],
            "no TLS route for the name it asks for",
        ),
        (&["-noservername"], "it asks for no name"),
    ] {
        let lines = proxy.log().len();
        let seen = connect(proxy.web(), arguments);
        assert!(seen.stderr.contains("unrecognized name"), "{}", seen.stderr);
        let line = &proxy.log_of(lines + 1)[lines];
        assert_eq!(
            (&line["cause"], &line["detail"]),
            (&"tls_route_not_found".into(), &detail.into())
        );
        assert!(line["cluster"].is_null(), "{line}");
    }
    let seen = connect(proxy.web(), &["-servername", "empty.example"]);
    assert!(
        !seen.stderr.contains("unrecognized name"),
        "{}",
        seen.stderr
    );
    let line = &proxy.log_of(8)[7];
    assert_eq!(
        (&line["cause"], &line["sni"]),
        (&"proxy_configuration_error".into(), &"empty.example".into())
    );
    let metrics = proxy.metrics();
    for (cluster, expected) in [("one", 3.0), ("two", 2.0)] {
        let found = metrics.sum(
            "outrigger_upstream_tls_connections_total",
            &[("cluster", cluster)],
        );
        assert!((found - expected).abs() < 0.1, "{cluster}: {found}");
    }
    let text = proxy.ask("/metrics").text();
    assert!(!text.contains("example"), "a name in the metrics");
}

#[test]
fn what_no_route_takes_goes_to_the_cluster_of_the_listener() {
    let Some(two) = two("passthrough default", ", cluster: two, tls_routes: [exact]") else {
        return;
    };
    reached(
        &connect(two.proxy.web(), &["-servername", "one.example"]),
        "one",
    );
    for arguments in [&["-servername", "b.wild.example"][..], &["-noservername"]] {
        reached(&connect(two.proxy.web(), arguments), "two");
    }
    let line = &two.proxy.log_of(2)[1];
    assert_eq!(
        (&line["sni"], &line["cluster"]),
        (&"b.wild.example".into(), &"two".into())
    );
    assert!(line["route"].is_null(), "{line}");
}

/// Passes one connection on, what the client sends byte by byte.
fn byte_by_byte(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let proxy = TcpStream::connect(to).unwrap();
        proxy.set_nodelay(true).unwrap();
        let (mut down, mut up) = (client.try_clone().unwrap(), proxy.try_clone().unwrap());
        thread::spawn(move || {
            let _ = std::io::copy(&mut up, &mut down);
            let _ = down.shutdown(Shutdown::Write);
        });
        let (mut client, mut proxy) = (client, proxy);
        let mut byte = [0];
        while matches!(client.read(&mut byte), Ok(1)) && proxy.write_all(&byte).is_ok() {}
        let _ = proxy.shutdown(Shutdown::Write);
    });
    address
}

#[test]
fn a_first_message_may_come_byte_by_byte() {
    let Some(two) = two("passthrough byte by byte", "") else {
        return;
    };
    let slow = byte_by_byte(two.proxy.web());
    reached(&connect(slow, &["-servername", "b.wild.example"]), "two");
}

#[test]
fn auto_tells_tls_from_http_and_from_what_speaks_first() {
    let dir = TempDir::new();
    let Some(server) = Server::start("passthrough auto", dir.path(), "one") else {
        return;
    };
    let (http, database) = (
        Upstream::fixed("http"),
        Upstream::script(|peer| {
            peer.send("hello");
            peer.wait_end();
        }),
    );
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', cluster: database, detect_timeout: 10m, dial_after: 1s }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: http }}] }}] }}]
tls_routes: [{{ name: all, hosts: [one.example], backends: [{{ cluster: tls }}] }}]
clusters: [{{ name: http, endpoints: ['{}'] }}, {{ name: tls, endpoints: ['{}'] }}, {{ name: database, endpoints: ['{}'] }}]",
        http.address, server.address, database.address
    ));
    // OpenSSL takes its time between connecting and speaking: no more than a second.
    for _ in 0..2 {
        reached(
            &connect(proxy.web(), &["-servername", "one.example"]),
            "one",
        );
        assert_eq!(Client::connect(proxy.web()).get("/").text(), "http");
    }
    assert_eq!(Client::connect(proxy.web()).exactly(5), b"hello");
    assert_eq!(http.count(), 2);
    // The whole of a malformed message is refused here, and not handed to the database.
    let mut client = Client::connect(proxy.web());
    client.send(b"\x16\x03\x01\0\x06\x01\0\0\x02\x02\0");
    client.expect_end();
    wait::until("its line", || {
        let lines = proxy.log();
        let causes = lines.iter().map(|line| &line["cause"]);
        causes
            .into_iter()
            .any(|cause| cause == "tls_client_hello_invalid")
            .then_some(())
    });
}

/// A `ClientHello` of so many bytes, with its length true, as one record after the other.
fn hello_of(size: usize) -> Vec<u8> {
    let body = size - 4;
    let mut message = vec![1, (body >> 16) as u8, (body >> 8) as u8, body as u8];
    message.resize(size, 0);
    let records = message.chunks(4_096).map(|part| {
        let [high, low] = (part.len() as u16).to_be_bytes();
        [&[22, 3, 1, high, low], part].concat()
    });
    records.collect::<Vec<_>>().concat()
}

#[test]
fn what_is_no_hello_is_closed_and_goes_nowhere() {
    let back = echo();
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: tls_passthrough, cluster: back, detect_timeout: 300ms }}]
clusters: [{{ name: back, endpoints: ['{}'] }}]",
        back.address
    ));
    let refused = |bytes: &[u8], cause: &str, detail: &str| {
        let lines = proxy.log().len();
        let mut client = Client::connect(proxy.web());
        // What is not taken may be answered by a reset.
        let _ = client.try_send(bytes);
        let (rest, _) = client.rest();
        assert!(rest.is_empty(), "{}", rest.escape_ascii());
        let line = &proxy.log_of(lines + 1)[lines];
        assert_eq!(
            (&line["cause"], &line["detail"]),
            (&cause.into(), &detail.into()),
            "{line}"
        );
    };
    refused(
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "protocol_unknown",
        "not TLS",
    );
    refused(b"\x80\x2e\x01\x03\x01", "protocol_unknown", "not TLS");
    let invalid = "tls_client_hello_invalid";
    let large = "a ClientHello larger than allowed";
    refused(&hello_of(16_385), invalid, large);
    // Its records make it too large, and its end never comes.
    let message = hello_of(4_000).split_off(5).into_iter();
    let small: Vec<u8> = message.flat_map(|byte| [22, 3, 1, 0, 1, byte]).collect();
    refused(&small, invalid, large);
    refused(
        &hello_of(300)[..200],
        invalid,
        "the ClientHello was not complete in time",
    );
    refused(
        &hello_of(300),
        invalid,
        "a ClientHello of no version of TLS",
    );
    assert_eq!(back.connections(), 0);
}

#[test]
fn a_silent_client_of_a_tls_listener_holds_it_for_its_time_only() {
    let back = echo();
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, bind: 'unix:DIR/tls.sock', protocol: tls_passthrough, cluster: back, detect_timeout: 50ms }}]
clusters: [{{ name: back, endpoints: ['{}'] }}]",
        back.address
    ));
    let mut client = Client::connect(proxy.listener("web"));
    client.wire.read_deadline(Duration::from_secs(15));
    client.expect_end();
    assert_eq!(back.connections(), 0);
}
