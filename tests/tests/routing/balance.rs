//! How requests are spread: weights of backends and endpoints, algorithms, hashing.

use std::collections::BTreeMap;

use outrigger_tests::{
    client::{Client, request},
    proxy::{Proxy, list},
    upstream::Upstream,
    wire::Address,
};

use super::named;

fn addresses(upstreams: &[Upstream]) -> Vec<&Address> {
    upstreams.iter().map(|u| &u.address).collect()
}

fn balanced(upstreams: &[Upstream], balance: &str) -> Proxy {
    Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: http }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, endpoints: {}, balance: {balance} }}]",
        list(&addresses(upstreams))
    ))
}

fn three() -> Vec<Upstream> {
    vec![named("a"), named("b"), named("c")]
}

/// How often each answered.
fn shares(proxy: &Proxy, n: usize) -> BTreeMap<String, usize> {
    let mut client = Client::connect(proxy.web());
    let mut shares = BTreeMap::new();
    for _ in 0..n {
        *shares.entry(client.get("/").text()).or_default() += 1;
    }
    shares
}

#[test]
fn round_robin_is_exact() {
    let upstreams = three();
    let proxy = balanced(&upstreams, "round_robin");
    let shares = shares(&proxy, 300);
    assert!(shares.values().all(|n| *n == 100), "{shares:?}");
}

#[test]
fn no_algorithm_leaves_an_equal_endpoint_out() {
    let upstreams = three();
    for balance in [
        "random",
        "least_request",
        "{ least_request: { choices: 3 } }",
    ] {
        let proxy = balanced(&upstreams, balance);
        let shares = shares(&proxy, 300);
        assert_eq!(shares.len(), 3, "{balance}: {shares:?}");
        assert!(shares.values().all(|n| *n > 20), "{balance}: {shares:?}");
    }
    // One answer that took long weighs for ten seconds here, so that shares say nothing.
    let proxy = balanced(&upstreams, "peak_ewma");
    assert_eq!(shares(&proxy, 300).len(), 3);
}

#[test]
fn endpoints_have_weights() {
    let upstreams = three();
    for balance in ["round_robin", "random"] {
        let proxy = Proxy::start(&format!(
            "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: http }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters:
  - name: back
    balance: {balance}
    endpoints:
      - {{ address: '{}', weight: 6 }}
      - {{ address: '{}', weight: 3 }}
      - {{ address: '{}', weight: 0 }}",
            upstreams[0].address, upstreams[1].address, upstreams[2].address
        ));
        let shares = shares(&proxy, 900);
        assert!(!shares.contains_key("c"), "{balance}: {shares:?}");
        assert!((500..=700).contains(&shares["a"]), "{balance}: {shares:?}");
    }
}

#[test]
fn backends_have_weights() {
    let (a, b) = (named("a"), named("b"));
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: http }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: a, weight: 90 }}, {{ cluster: b, weight: 10 }}] }}] }}]
clusters: [{{ name: a, endpoints: ['{}'] }}, {{ name: b, endpoints: ['{}'] }}]",
        a.address, b.address
    ));
    let shares = shares(&proxy, 1_000);
    assert!((50..=150).contains(&shares["b"]), "{shares:?}");
    assert_eq!(shares["a"] + shares["b"], 1_000);
}

/// One endpoint takes long: who counts what is in flight, or how long it took, sends it less.
#[test]
fn slow_endpoints_get_less() {
    for balance in ["least_request", "peak_ewma"] {
        let fast = Upstream::fixed("fast");
        let slow = Upstream::script(|peer| {
            while peer.request().is_some() {
                // The wire says nothing for a while: that is the pause.
                peer.wire
                    .read_deadline(std::time::Duration::from_millis(30));
                let _ = peer.reader.fill(&mut peer.wire);
                peer.wire.read_deadline(outrigger_tests::wait::DEADLINE);
                peer.answer(200, b"slow");
            }
        });
        let proxy = Proxy::start(&format!(
            "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: http }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, endpoints: ['{}', '{}'], balance: {balance} }}]",
            fast.address, slow.address
        ));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| shares(&proxy, 100));
            }
        });
        let (fast, slow) = (fast.count(), slow.count());
        assert_eq!(fast + slow, 400);
        assert!(slow * 3 < fast, "{balance}: {fast} fast, {slow} slow");
    }
}

#[test]
fn hashing_keeps_a_key_on_its_endpoint() {
    let upstreams: Vec<_> = ["a", "b", "c", "d"].map(named).into();
    for algorithm in ["ring_hash", "maglev"] {
        for (hash_on, with) in [
            ("{ header: x-user }", "header"),
            ("{ cookie: user }", "cookie"),
            ("{ query: user }", "query"),
        ] {
            let proxy = balanced(
                &upstreams,
                &format!("{{ {algorithm}: {{ hash_on: [{hash_on}] }} }}"),
            );
            let mut client = Client::connect(proxy.web());
            let mut ask = |user: usize| {
                let (target, field) = match with {
                    "header" => ("/".to_owned(), format!("X-User: u{user}")),
                    "cookie" => ("/".to_owned(), format!("Cookie: x=y; user=u{user}")),
                    _ => (format!("/?a=b&user=u{user}"), "X-A: 1".to_owned()),
                };
                client.send(request("GET", &target, &[&field], b""));
                client.response().text()
            };
            let first: Vec<_> = (0..100).map(&mut ask).collect();
            let again: Vec<_> = (0..100).map(&mut ask).collect();
            assert_eq!(first, again, "{algorithm} by {with}");
            for name in ["a", "b", "c", "d"] {
                let share = first.iter().filter(|n| *n == name).count();
                assert!(share >= 5, "{algorithm} by {with}: {name} has {share}");
            }
        }
        // Every client here has the same address.
        let proxy = balanced(
            &upstreams,
            &format!("{{ {algorithm}: {{ hash_on: [{{ source_address: true }}] }} }}"),
        );
        assert_eq!(shares(&proxy, 20).len(), 1);
    }
}

/// A consistent hash moves only the keys of the endpoint that went.
#[test]
fn hashing_moves_little_when_an_endpoint_goes() {
    let upstreams: Vec<_> = ["a", "b", "c", "d", "e"].map(named).into();
    for algorithm in ["ring_hash", "maglev"] {
        let text = |endpoints: &[&Address]| {
            format!(
                "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: http }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, endpoints: {}, balance: {{ {algorithm}: {{ hash_on: [{{ header: x-user }}] }} }} }}]",
                list(endpoints)
            )
        };
        let all = addresses(&upstreams);
        let mut proxy = Proxy::start(&text(&all));
        let ask = |proxy: &Proxy| {
            let mut client = Client::connect(proxy.web());
            (0..300)
                .map(|user| {
                    client.send(request("GET", "/", &[&format!("X-User: {user}")], b""));
                    client.response().text()
                })
                .collect::<Vec<_>>()
        };
        let before = ask(&proxy);
        proxy.reload(&text(&all[..4]));
        let after = ask(&proxy);
        let moved = before
            .iter()
            .zip(&after)
            .filter(|(b, a)| *b != "e" && b != a)
            .count();
        assert!(
            moved <= 15,
            "{algorithm}: {moved} of 300 moved without need"
        );
        assert!(!after.contains(&"e".to_owned()));
    }
}
