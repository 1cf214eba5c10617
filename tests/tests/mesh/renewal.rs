//! Certificates that are renewed while requests are under way, and connections that end with them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use outrigger_tests::{
    client::{Client, get},
    proxy::Proxy,
    upstream::Upstream,
    wait,
};

use super::{API, Domain};

fn serial(proxy: &Proxy) -> String {
    let shown = proxy.ask_json("/identity");
    shown["own"]["serial"].as_str().unwrap().to_owned()
}

#[test]
fn both_sides_are_renewed_under_load_and_nothing_is_lost() {
    let domain = Domain::new();
    let upstream = Upstream::fixed("hello");
    let inbound = domain.inbound("", &upstream.address.to_string());
    let outbound = domain.outbound(
        &inbound,
        API,
        ", protocol: auto, pool: { max_requests: 20 }",
    );
    let (over, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let web = outbound.web();
    let load: Vec<_> = (0..2)
        .map(|_| {
            let (over, done) = (Arc::clone(&over), Arc::clone(&done));
            thread::spawn(move || {
                let mut client = Client::connect(web);
                while !over.load(SeqCst) {
                    assert_eq!(client.get("/").status(), 200);
                    done.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    for (workload, proxy) in [("web", &outbound), ("api", &inbound), ("web", &outbound)] {
        let (before, served) = (serial(proxy), done.load(SeqCst));
        domain.issue(workload, &[]);
        wait::until("the renewed certificate", || {
            (serial(proxy) != before).then_some(())
        });
        // More than one connection takes, so that it is shown.
        wait::until("more load", || {
            (done.load(SeqCst) > served + 60).then_some(())
        });
    }
    over.store(true, SeqCst);
    for each in load {
        each.join().unwrap();
    }
    for proxy in [&inbound, &outbound] {
        let failed = proxy.metrics().sum("outrigger_failures_total", &[]);
        assert!(failed < 0.5, "{failed} failures");
    }
}

#[test]
fn no_connection_outlives_its_certificate() {
    let domain = Domain::new();
    let upstream = Upstream::fixed("hello");
    let inbound = domain.inbound("", &upstream.address.to_string());
    domain.issue("web", &["--ttl", "8s"]);
    let outbound = ["http1", "http2"]
        .map(|protocol| domain.outbound(&inbound, API, &format!(", protocol: {protocol}")));
    let mut clients = outbound
        .each_ref()
        .map(|proxy| Client::connect(proxy.web()));
    for client in &mut clients {
        assert_eq!(client.get("/").status(), 200);
    }
    // Nobody renews it. The connections that were made with it serve no further request, and others
    // are not made.
    for (client, proxy) in clients.iter_mut().zip(&outbound) {
        wait::until("the certificate to end", || {
            (client.get("/").status() == 503).then_some(())
        });
        wait::until("its line", || {
            let lines = proxy.log();
            let told = |line: &serde_json::Value| line["cause"] == "identity_expired";
            lines.iter().any(told).then_some(())
        });
    }
    assert_eq!(
        get(domain.outbound_renewed(&inbound).web(), "/").status(),
        200
    );
}

impl Domain {
    fn outbound_renewed(&self, to: &Proxy) -> Proxy {
        self.issue("web", &[]);
        self.outbound(to, API, "")
    }
}
