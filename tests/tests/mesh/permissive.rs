//! A port that takes what is of the mesh and what is not, and one that takes nothing else.

use outrigger_tests::{
    client::{Client, get, request},
    upstream::Upstream,
};

use super::{API, Domain, WEB};

#[test]
fn a_permissive_port_takes_both_and_knows_them_apart() {
    let domain = Domain::new();
    let upstream = Upstream::fixed("hello");
    for protocol in ["auto", "http"] {
        let listener = format!(", protocol: {protocol}, mtls: permissive");
        let inbound = domain.inbound(&listener, &upstream.address.to_string());
        let outbound = domain.outbound(&inbound, API, "");
        assert_eq!(get(outbound.web(), "/of-the-mesh").status(), 200);
        let mut plain = Client::connect(inbound.web());
        let fields = ["X-Forwarded-Client-Cert: URI=spiffe://shop.example/web"];
        plain.send(request("GET", "/plain", &fields, b""));
        assert_eq!(plain.response().status(), 200);
        let received = upstream.take();
        let told = |n: usize| received[n].field("x-forwarded-client-cert");
        assert!(told(0).unwrap().ends_with(WEB));
        assert_eq!(told(1), None);
        let lines = inbound.log_of(2);
        assert_eq!(lines[0]["identity"], WEB);
        assert!(lines[1].get("identity").is_none(), "{}", lines[1]);
    }
}

#[test]
fn a_server_that_speaks_first_is_heard_on_a_permissive_port() {
    let domain = Domain::new();
    let upstream = Upstream::script(|peer| {
        peer.send("220 hello\r\n");
        let bytes = peer.exactly(4).unwrap_or_default();
        peer.send(bytes).wait_end();
    });
    let inbound = domain.start(
        "api",
        &format!(
            "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: tcp, mtls: permissive, cluster: back }}]
clusters: [{{ name: back, endpoints: ['{}'] }}]",
            upstream.address
        ),
    );
    let mut client = Client::connect(inbound.web());
    assert_eq!(client.exactly(11), b"220 hello\r\n");
    client.send(b"QUIT");
    assert_eq!(client.exactly(4), b"QUIT");
}

#[test]
fn a_strict_port_is_closed_to_plain_text() {
    let domain = Domain::new();
    let upstream = Upstream::fixed("hello");
    let inbound = domain.inbound("", &upstream.address.to_string());
    let mut plain = Client::connect(inbound.web());
    let _ = plain.try_send(request("GET", "/", &[], b""));
    let (said, _) = plain.rest();
    assert!(!said.starts_with(b"HTTP/"), "{said:?}");
    assert_eq!(inbound.log_of(1)[0]["cause"], "protocol_unknown");
    assert_eq!((upstream.count(), upstream.bytes()), (0, 0));
}
