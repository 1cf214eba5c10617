//! Two proxies, mTLS between them, and what arrives.

use std::io::{Read as _, Write as _};

use outrigger_tests::{
    client::{Client, get, request},
    upstream::Upstream,
    wait,
};

use super::{API, Domain, WEB};

#[test]
fn requests_arrive_and_both_sides_are_known() {
    let domain = Domain::new();
    let upstream = Upstream::fixed("hello");
    let inbound = domain.inbound("", &upstream.address.to_string());
    for (lines, cluster, protocol) in [(3, "", "HTTP/1.1"), (6, ", protocol: auto", "HTTP/2")] {
        let outbound = domain.outbound(&inbound, API, cluster);
        let mut client = Client::connect(outbound.web());
        for n in 0..3 {
            // What strangers say of certificates goes, and does not take ours along.
            let fields = [
                "X-Forwarded-Client-Cert: URI=spiffe://shop.example/admin",
                "Connection: x-forwarded-client-cert",
            ];
            client.send(request("GET", &format!("/{n}"), &fields, b""));
            let answer = client.response();
            assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"));
        }
        // Careless servers take `_` for `-`.
        let twin = ["X_Forwarded_Client-Cert: URI=spiffe://shop.example/admin"];
        client.send(request("GET", "/twin", &twin, b""));
        assert_eq!(client.response().status(), 400);
        let received = upstream.take();
        assert_eq!(received.len(), 3);
        for request in &received {
            let told: Vec<_> = (request.fields.iter())
                .filter(|field| field.name.eq_ignore_ascii_case("x-forwarded-client-cert"))
                .map(|field| field.value.as_str())
                .collect();
            let [told] = told[..] else { panic!("{told:?}") };
            assert!(told.starts_with(&format!("By={API};Hash=")), "{told}");
            assert!(told.ends_with(&format!(";URI={WEB}")), "{told}");
            assert_eq!(request.field("x-forwarded-proto"), Some("https"));
        }
        let line = inbound.log_of(lines).pop().unwrap();
        for (field, value) in [
            ("identity", WEB),
            ("tls_version", "TLSv1.3"),
            ("group", "X25519MLKEM768"),
            ("protocol", protocol),
        ] {
            assert_eq!(line[field], value, "{field} of {line}");
        }
        // They share a connection.
        let labels = [("cluster", "peer"), ("result", "full")];
        let handshakes = outbound
            .metrics()
            .sum("outrigger_upstream_tls_handshakes_total", &labels);
        assert!((handshakes - 1.0).abs() < 0.1, "{handshakes}");
    }
    let shown = inbound.ask_json("/identity");
    assert_eq!(shown["own"]["id"], API);
    assert_eq!(shown["trust"][0]["name"], "shop.example");
    let life = [("scope", "mesh"), ("name", API)];
    let metrics = inbound.metrics();
    assert!(metrics.sum("outrigger_certificate_expiry_timestamp_seconds", &life) > 1.7e9);
    assert!(metrics.sum("outrigger_certificate_life_passed_percent", &life) < 0.5);
}

#[test]
fn opaque_bytes_travel_too() {
    let domain = Domain::new();
    let upstream = Upstream::script(|peer| {
        let bytes = peer.exactly(5).unwrap();
        peer.send(bytes).wait_end();
    });
    let inbound = domain.start(
        "api",
        &format!(
            "listeners: [{{ name: web, bind: '127.0.0.1:0', direction: inbound, cluster: back }}]
clusters: [{{ name: back, endpoints: ['{}'] }}]",
            upstream.address
        ),
    );
    let outbound = domain.start(
        "web",
        &format!(
            "listeners: [{{ name: web, bind: '127.0.0.1:0', direction: outbound, protocol: tcp, cluster: peer }}]
clusters: [{{ name: peer, endpoints: ['{}'], identities: ['{API}'] }}]",
            inbound.web()
        ),
    );
    let mut client = std::net::TcpStream::connect(outbound.web()).unwrap();
    client.set_read_timeout(Some(wait::DEADLINE)).unwrap();
    client.write_all(b"\0bytes"[..5].as_ref()).unwrap();
    let mut back = [0; 5];
    client.read_exact(&mut back).unwrap();
    assert_eq!(&back, &b"\0bytes"[..5]);
    drop(client);
    let line = inbound.log_of(1).remove(0);
    assert_eq!(line["identity"], WEB, "{line}");
}

#[test]
fn a_session_is_resumed_only_while_trust_is_the_same() {
    let domain = Domain::new();
    let upstream = Upstream::fixed("hello");
    // One request on a connection, so that each needs a handshake.
    let inbound = domain.inbound(", http: { max_requests: 1 }", &upstream.address.to_string());
    let outbound = domain.outbound(&inbound, API, "");
    let count = |result| {
        let labels = [("listener", "web"), ("result", result)];
        inbound
            .metrics()
            .sum("outrigger_tls_handshakes_total", &labels)
            .round() as u32
    };
    for _ in 0..3 {
        assert_eq!(get(outbound.web(), "/").status(), 200);
    }
    assert_eq!((count("full"), count("resumed")), (1, 2));
    // Another root beside the old one. The client's tickets are from before.
    let other = Domain::of("shop.example");
    let root = std::fs::read_to_string(domain.path().join("ca/ca.crt")).unwrap();
    let new = std::fs::read_to_string(other.path().join("ca/ca.crt")).unwrap();
    outrigger_tests::files::replace(&domain.path().join("ca/ca.crt"), &(root + &new));
    wait::until("both to trust both roots", || {
        let roots = |proxy: &outrigger_tests::proxy::Proxy| {
            proxy.ask_json("/identity")["trust"][0]["roots"]
                .as_array()
                .unwrap()
                .len()
        };
        (roots(&inbound) == 2 && roots(&outbound) == 2).then_some(())
    });
    assert_eq!(get(outbound.web(), "/").status(), 200);
    assert_eq!((count("full"), count("resumed")), (2, 2));
}
