//! Connection limits of listeners and clusters, for opaque connections.

use outrigger_tests::{client::Client, proxy::Proxy, wait};

use super::{echo, forwarding};

#[track_caller]
fn held(proxy: &Proxy) -> Client {
    let mut client = Client::connect(proxy.web());
    client.send("ping");
    assert_eq!(client.exactly(4), b"ping");
    client
}

#[test]
fn a_listener_takes_no_more_than_its_limit() {
    let upstream = echo();
    let proxy = forwarding(&upstream.address, ", max_connections: 2");
    let first = held(&proxy);
    let _second = held(&proxy);
    let (bytes, _) = Client::connect(proxy.web()).rest();
    assert!(bytes.is_empty());
    assert_eq!(upstream.connections(), 2);
    drop(first);
    wait::until("a place to be free", || {
        let mut client = Client::connect(proxy.web());
        client.try_send("ping").ok()?;
        client.reader.fill(&mut client.wire).ok()?.then_some(())
    });
}

#[test]
fn an_endpoint_takes_no_more_than_its_cluster_allows() {
    let upstream = echo();
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: tcp, cluster: back }}]
clusters: [{{ name: back, endpoints: ['{}'], pool: {{ max_connections: 1, max_pending: 0, pending_timeout: 100ms }} }}]",
        upstream.address
    ));
    let _first = held(&proxy);
    // The reset may come so soon that connecting already fails by it.
    if let Ok(mut client) = Client::try_connect(&proxy.web().into()) {
        let (bytes, _) = client.rest();
        assert!(bytes.is_empty());
    }
    assert_eq!(upstream.connections(), 1);
}
