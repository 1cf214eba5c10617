//! PROXY protocol: the header that carries the client's address, in and out, in both versions.

use std::net::SocketAddr;

use outrigger_tests::{
    client::{Client, request},
    proxy::Proxy,
    upstream::Upstream,
};

use super::echo;

/// Version 2 for TCP over IPv4.
fn v2(source: [u8; 4], port: u16) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend(source);
    header.extend([10, 0, 0, 1]);
    header.extend(port.to_be_bytes());
    header.extend(443_u16.to_be_bytes());
    header
}

fn accepting(upstream: &Upstream) -> Proxy {
    Proxy::start(&format!(
        "listeners:
  - {{ name: web, bind: '127.0.0.1:0', protocol: http, proxy_protocol: required }}
  - {{ name: raw, bind: '127.0.0.1:0', protocol: tcp, cluster: back, proxy_protocol: required }}
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, endpoints: ['{}'] }}]",
        upstream.address
    ))
}

#[test]
fn the_address_in_the_header_is_the_clients() {
    let upstream = Upstream::fixed("ok");
    let proxy = accepting(&upstream);
    let mut long = v2([203, 0, 113, 8], 5555);
    // With a TLV that nobody knows (PP2_TYPE_NOOP), counted in the length.
    long[15] = 16;
    long.extend([4, 0, 1, 0]);
    for (header, address) in [
        (
            b"PROXY TCP4 203.0.113.7 10.0.0.1 4444 443\r\n".to_vec(),
            "203.0.113.7",
        ),
        (
            b"PROXY TCP6 2001:db8::7 2001:db8::1 4444 443\r\n".to_vec(),
            "2001:db8::7",
        ),
        (v2([203, 0, 113, 8], 5555), "203.0.113.8"),
        (long, "203.0.113.8"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec(), "127.0.0.1"),
    ] {
        let all = [header.clone(), request("GET", "/", &[], b"")].concat();
        for cut in 1..all.len() {
            let mut client = Client::connect(proxy.web());
            client.send(&all[..cut]);
            client.send(&all[cut..]);
            assert_eq!(
                client.response().text(),
                "ok",
                "{} cut at {cut}",
                header.escape_ascii()
            );
            let got = upstream.take().remove(0);
            assert_eq!(got.field("x-forwarded-for"), Some(address));
        }
    }
}

#[test]
fn without_a_proper_header_nothing_is_served() {
    let upstream = Upstream::fixed("ok");
    let proxy = accepting(&upstream);
    for bad in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"PROXY TCP4 1.2.3.4 10.0.0.1 4444\r\n",
        b"PROXY TCP4 1.2.3.4.5 10.0.0.1 4444 443\r\n",
        b"PROXY TCP4 1.2.3.4 10.0.0.1 4444 65536\r\n",
        b"PROXY TCP4 1.2.3.4 10.0.0.1 04444 443\n",
        b"PROXY TCP5 1.2.3.4 10.0.0.1 4444 443\r\n",
        b"proxy TCP4 1.2.3.4 10.0.0.1 4444 443\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c............",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x04....",
    ] {
        for listener in ["web", "raw"] {
            let mut client = Client::connect(proxy.listener(listener));
            client.send(bad);
            let _ = client.try_send(request("GET", "/", &[], b""));
            let (bytes, _) = client.rest();
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains("200"), "{}: {text}", bad.escape_ascii());
        }
    }
    assert_eq!(upstream.connections(), 0);
    // Endless, without an end of line.
    let mut client = Client::connect(proxy.web());
    let _ = client.try_send(vec![b'P'; 300]);
    client.rest();
}

#[test]
fn where_it_is_off_a_header_is_data() {
    let upstream = echo();
    let proxy = super::forwarding(&upstream.address, "");
    let mut client = Client::connect(proxy.web());
    let header = b"PROXY TCP4 1.2.3.4 10.0.0.1 4444 443\r\n";
    client.send(header);
    assert_eq!(client.exactly(header.len()), header);
}

fn sending(upstream: &Upstream, version: &str) -> Proxy {
    Proxy::start(&format!(
        "listeners:
  - {{ name: raw, bind: '127.0.0.1:0', protocol: tcp, cluster: back }}
  - {{ name: web, bind: '127.0.0.1:0', protocol: http }}
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, endpoints: ['{}'], proxy_protocol: {version} }}]",
        upstream.address
    ))
}

#[test]
fn version_1_is_sent_before_all_else() {
    let upstream = Upstream::script(|peer| {
        let line = peer.reader.through(&mut peer.wire, b"\r\n").unwrap();
        peer.send(line);
    });
    let proxy = sending(&upstream, "v1");
    let to = proxy.listener("raw").tcp();
    let mut client = Client::connect(to);
    let from = client.wire.local();
    let (line, _) = client.rest();
    assert_eq!(
        String::from_utf8(line).unwrap(),
        format!(
            "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n",
            from.port(),
            to.port()
        )
    );
}

#[test]
fn version_2_is_sent_before_all_else() {
    let upstream = Upstream::script(|peer| {
        let header = peer.exactly(28).unwrap();
        peer.send(header);
    });
    let proxy = sending(&upstream, "v2");
    let to = proxy.listener("raw").tcp();
    let mut client = Client::connect(to);
    let SocketAddr::V4(from) = client.wire.local() else {
        panic!("IPv4")
    };
    let (header, _) = client.rest();
    let mut expected = v2([127, 0, 0, 1], from.port());
    expected[20..24].copy_from_slice(&[127, 0, 0, 1]);
    expected[26..28].copy_from_slice(&to.port().to_be_bytes());
    assert_eq!(header, expected);
}

/// A connection that was announced as one client's never carries another's requests.
#[test]
fn http_connections_are_not_shared_between_clients() {
    let upstream = Upstream::script(|peer| {
        let line = peer.reader.through(&mut peer.wire, b"\r\n").unwrap();
        while peer.request().is_some() {
            peer.answer(200, &line);
        }
    });
    let proxy = sending(&upstream, "v1");
    for _ in 0..4 {
        let mut client = Client::connect(proxy.web());
        let port = format!(" {} ", client.wire.local().port());
        for _ in 0..3 {
            let answer = client.get("/").text();
            assert!(answer.contains(&port), "{answer} has not {port}");
        }
    }
}

/// What is counted as received is what the client sent, not what we wrote before it.
#[test]
fn our_header_is_not_counted_as_the_clients_bytes() {
    let upstream = Upstream::script(|peer| {
        // A version 2 header for IPv4 has 28 bytes.
        if peer.exactly(28 + 3).is_ok() {
            peer.send("four");
        }
    });
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: tcp, cluster: back }}]
clusters: [{{ name: back, proxy_protocol: v2, endpoints: ['{}'] }}]",
        upstream.address
    ));
    let mut client = Client::connect(proxy.web());
    client.send("abc");
    assert_eq!(client.exactly(4), b"four");
    drop(client);
    let line = proxy.log_of(1).remove(0);
    assert_eq!((&line["received"], &line["sent"]), (&3.into(), &4.into()));
}
