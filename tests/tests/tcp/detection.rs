//! `protocol: auto`: HTTP is told from anything else by its first bytes.

use outrigger_tests::{client::Client, proxy::Proxy, upstream::Upstream};

use super::echo;

fn proxy(http: &Upstream, tcp: &Upstream, cluster: &str) -> Proxy {
    Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: auto, detect_timeout: 300ms {cluster} }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: http }}] }}] }}]
clusters: [{{ name: http, endpoints: ['{}'] }}, {{ name: tcp, endpoints: ['{}'] }}]",
        http.address, tcp.address
    ))
}

#[test]
fn each_goes_where_it_belongs_however_its_bytes_arrive() {
    let (http, tcp) = (Upstream::fixed("http"), echo());
    let proxy = proxy(&http, &tcp, ", cluster: tcp");
    let request = b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n";
    for cut in 1..request.len() {
        let mut client = Client::connect(proxy.web());
        client.send(&request[..cut]);
        client.send(&request[cut..]);
        assert_eq!(client.response().text(), "http", "cut at {cut}");
    }
    for opaque in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
        b"*1\r\n$4\r\nPING\r\n",
        b"GETTING somewhere\n",
        b"{}\n",
    ] {
        let mut client = Client::connect(proxy.web());
        client.send(opaque);
        assert_eq!(
            client.exactly(opaque.len()),
            opaque,
            "{}",
            opaque.escape_ascii()
        );
    }
}

#[test]
fn silence_is_opaque_after_its_time() {
    let http = Upstream::fixed("http");
    let speaks_first = Upstream::script(|peer| {
        peer.send("220 hello\r\n");
        peer.wait_end();
    });
    let proxy = proxy(&http, &speaks_first, ", cluster: tcp");
    let mut client = Client::connect(proxy.web());
    assert_eq!(client.exactly(11), b"220 hello\r\n");
}

#[test]
fn without_a_cluster_what_is_not_http_is_closed() {
    let (http, tcp) = (Upstream::fixed("http"), echo());
    let proxy = proxy(&http, &tcp, "");
    let mut client = Client::connect(proxy.web());
    client.send("SSH-2.0-OpenSSH_9.2\r\n");
    client.rest();
    let mut silent = Client::connect(proxy.web());
    silent.rest();
    assert_eq!(tcp.connections() + http.connections(), 0);
    let causes: Vec<_> = proxy.log_of(2).iter().map(|l| l["cause"].clone()).collect();
    assert!(causes.contains(&"protocol_unknown".into()), "{causes:?}");
}
