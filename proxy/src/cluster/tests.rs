//! The life of a cluster over changes of its configuration and its endpoints.

use super::*;

pub(crate) fn cells() -> Cells<ClusterCells> {
    Arc::new(crate::telemetry::cells::PerWorker::new(1))
}

/// A cluster with nothing but defaults, without endpoints, by round robin.
pub(crate) fn config(name: &str) -> model::Cluster {
    let text = r#"{ "version": 1, "clusters": [
        { "name": "any", "balance": "round_robin", "endpoints": ["127.0.0.1:1"] }
    ] }"#;
    let mut loaded = outrigger_config::read(text, "cluster.json", &|_| None).unwrap();
    model::Cluster {
        name: name.into(),
        endpoints: Vec::new(),
        ..loaded.config.clusters.remove(0)
    }
}

const SECOND: u64 = 1_000_000_000;

fn spec(port: u16, weight: u32) -> EndpointSpec {
    EndpointSpec {
        addresses: vec![crate::net::address::Address::Tcp(
            ([127, 0, 0, 1], port).into(),
        )],
        weight,
    }
}

fn static_config(ports: &[(u16, u32)]) -> model::Cluster {
    let endpoint = |(port, weight): &(u16, u32)| model::Endpoint {
        address: model::EndpointAddress::Tcp(([127, 0, 0, 1], *port).into()),
        alternatives: Vec::new(),
        weight: *weight,
    };
    model::Cluster {
        endpoints: ports.iter().map(endpoint).collect(),
        ..config("c")
    }
}

fn dns_config(host: &str) -> model::Cluster {
    model::Cluster {
        dns: Some(model::DnsEndpoints {
            name: model::DnsName {
                host: host.into(),
                port: Some(80),
            },
            srv: false,
            family: model::DnsFamily::Both,
        }),
        ..config("c")
    }
}

fn cluster(ports: &[(u16, u32)]) -> Cluster {
    Cluster::new(static_config(ports), cells())
}

/// Ports, weights and ids, in the order of the set.
fn members(cluster: &Cluster) -> Vec<(u16, u32, u32)> {
    let port = |it: &Endpoint| match &it.addresses[0] {
        crate::net::address::Address::Tcp(address) => address.port(),
        crate::net::address::Address::Unix(_) => 0,
    };
    cluster
        .endpoints()
        .iter()
        .map(|(it, weight)| (port(it), weight, it.id))
        .collect()
}

fn ids(cluster: &Cluster) -> Vec<u32> {
    members(cluster).iter().map(|it| it.2).collect()
}

fn pick(cluster: &Cluster, now: u64, tried: &[u32]) -> Option<Arc<Endpoint>> {
    let random = RefCell::new(fastrand::Rng::with_seed(3));
    cluster.pick(&PickContext {
        hash: None,
        now,
        random: &random,
        tried,
    })
}

#[test]
fn is_shared_between_workers() {
    fn check<T: Send + Sync>() {}
    check::<Cluster>();
    check::<EndpointSet>();
}

#[test]
fn endpoints_that_stay_keep_their_object() {
    let cluster = cluster(&[(1, 1), (2, 1)]);
    let before = ids(&cluster);
    let request = cluster.endpoints().all[1].start();
    request.observe(SECOND, 0);

    assert!(cluster.replace_endpoints(vec![spec(3, 1), spec(2, 7)], SECOND));
    let after = members(&cluster);
    assert_eq!(
        after.iter().map(|it| (it.0, it.1)).collect::<Vec<_>>(),
        [(3, 1), (2, 7)]
    );
    assert_eq!(after[1].2, before[1]);
    assert!(!before.contains(&after[0].2));
    let set = cluster.endpoints();
    assert_eq!((set.all[1].active(), set.all[1].requests()), (1, 1));
    assert!(set.all[1].latency(SECOND).is_some());
    assert_eq!((set.all[0].first_seen, set.all[1].first_seen), (SECOND, 0));
}

#[test]
fn an_equal_list_swaps_nothing() {
    let cluster = cluster(&[(1, 1), (2, 0), (3, 1)]);
    let before = cluster.endpoints().clone();
    assert!(!cluster.replace_endpoints(vec![spec(1, 1), spec(2, 0), spec(3, 1)], 0));
    assert!(Arc::ptr_eq(&before, &cluster.endpoints()));
    for (list, what) in [
        (vec![spec(1, 1), spec(2, 0), spec(3, 2)], "a weight"),
        (vec![spec(1, 1), spec(2, 0)], "one fewer"),
        (
            vec![spec(2, 0), spec(1, 1)],
            "nothing: weight 0 stands last anyway",
        ),
        (vec![spec(1, 1), spec(2, 1)], "one woken"),
        (vec![spec(2, 1), spec(1, 1)], "the order"),
        (vec![], "all"),
    ] {
        let changed = cluster.replace_endpoints(list, 0);
        assert_eq!(changed, !what.starts_with("nothing"), "{what}");
    }
}

#[test]
fn one_address_twice_is_one_endpoint() {
    let cluster = cluster(&[(1, 2), (2, 1), (1, 3)]);
    let found = members(&cluster);
    assert_eq!(
        found.iter().map(|it| (it.0, it.1)).collect::<Vec<_>>(),
        [(1, 5), (2, 1)]
    );
}

#[test]
fn other_alternatives_are_another_endpoint() {
    let cluster = cluster(&[(1, 1)]);
    let mut two = spec(1, 1);
    two.addresses.push(spec(9, 1).addresses[0].clone());
    let before = ids(&cluster);
    assert!(cluster.replace_endpoints(vec![two.clone()], 0));
    let with_alternative = ids(&cluster);
    assert_ne!(before, with_alternative);
    assert!(!cluster.replace_endpoints(vec![two], 0));
    assert_eq!(with_alternative, ids(&cluster));
}

#[test]
fn weight_zero_gets_nothing_new() {
    let cluster = cluster(&[(1, 0), (2, 1)]);
    let idle = members(&cluster)[1];
    assert_eq!((idle.0, idle.1), (1, 0));
    for _ in 0..100 {
        assert_ne!(pick(&cluster, 0, &[]).unwrap().id, idle.2);
    }
    // Not even a retry, nor when the other one is thought bad.
    let other = pick(&cluster, 0, &[]).unwrap();
    other.set_usable(false);
    assert_eq!(pick(&cluster, 0, &[other.id]).unwrap().id, other.id);

    cluster.replace_endpoints(vec![spec(1, 0)], 0);
    assert!(pick(&cluster, 0, &[]).is_none());
}

#[test]
fn retries_go_elsewhere() {
    let cluster = cluster(&[(1, 1), (2, 1), (3, 1)]);
    let mut tried = Vec::new();
    for _ in 0..3 {
        let endpoint = pick(&cluster, 0, &tried).unwrap();
        assert!(!tried.contains(&endpoint.id));
        tried.push(endpoint.id);
    }
    assert!(pick(&cluster, 0, &tried).is_some());
}

#[test]
fn a_session_finds_its_endpoint() {
    let cluster = cluster(&[(1, 1), (2, 0)]);
    let set = cluster.endpoints().clone();
    for endpoint in &set.all {
        let found = cluster
            .endpoint_by_token(endpoint.token().as_bytes())
            .unwrap();
        assert_eq!(found.id, endpoint.id);
    }
    for token in [
        &b""[..],
        b"0123456789abcdef",
        b"0123456789abcde",
        &[0xff; 16],
    ] {
        assert!(cluster.endpoint_by_token(token).is_none());
    }
    let token = set.all[0].token();
    set.all[0].set_usable(false);
    assert!(cluster.endpoint_by_token(token.as_bytes()).is_none());
    set.all[0].set_usable(true);
    cluster.replace_endpoints(vec![spec(2, 1)], 0);
    assert!(cluster.endpoint_by_token(token.as_bytes()).is_none());
}

#[test]
fn only_endpoints_may_differ_to_become() {
    let cluster = cluster(&[(1, 1)]);
    let becomes = |change: fn(&mut model::Cluster)| {
        let mut config = static_config(&[(1, 1)]);
        change(&mut config);
        cluster.can_become(&config)
    };
    assert!(becomes(|_| ()));
    assert!(becomes(|it| it.endpoints.clear()));
    assert!(becomes(|it| it.endpoints[0].weight = 9));
    let others: [fn(&mut model::Cluster); 12] = [
        |it| it.name = "d".into(),
        |it| it.dns = dns_config("a.example").dns,
        |it| it.balance = model::Balance::Random(model::Random {}),
        |it| it.slow_start = Duration::from_secs(1),
        |it| it.connect_timeout = Duration::from_secs(2),
        |it| it.pool.max_idle = 1,
        |it| it.max_header_size = model::ByteSize(2_048),
        |it| it.max_headers = 9,
        |it| it.safe_resends = 9,
        |it| it.proxy_protocol = model::SendProxyProtocol::V2,
        |it| it.tcp.keepalive_probes = 1,
        |it| it.pool.max_requests = 1,
    ];
    for (place, change) in others.into_iter().enumerate() {
        assert!(!becomes(change), "{place}");
    }
}

#[test]
fn a_reload_of_endpoints_keeps_the_cluster() {
    let cluster = cluster(&[(1, 1), (2, 1)]);
    let before = ids(&cluster);
    let next = static_config(&[(1, 4), (2, 1), (3, 1)]);
    assert!(cluster.can_become(&next));
    assert!(cluster.apply(&next, 0));
    assert_eq!(ids(&cluster)[..2], before[..]);
    assert!(!cluster.apply(&next, 0));
}

#[test]
fn a_changed_cluster_takes_its_endpoints_over() {
    let old = cluster(&[(1, 1), (2, 1)]);
    let from = |change: fn(&mut model::Cluster)| {
        let mut config = static_config(&[(2, 3), (3, 1)]);
        change(&mut config);
        Cluster::from_previous(config, cells(), Some(&old), SECOND)
    };
    let kept = |new: &Cluster| ids(new)[0] == ids(&old)[1];
    assert!(kept(&from(
        |it| it.balance = model::Balance::Random(model::Random {})
    )));
    assert!(kept(&from(|it| it.pool.max_idle = 1)));
    // Their pools hold connections made in another way.
    assert!(!kept(&from(
        |it| it.proxy_protocol = model::SendProxyProtocol::V1
    )));
    assert!(!kept(&from(|it| it.tcp.keepalive_probes = 1)));
    assert!(!kept(&from(|it| it.name = "d".into())));
    // The old one goes on with its own weights.
    assert_eq!(
        members(&old).iter().map(|it| it.1).collect::<Vec<_>>(),
        [1, 1]
    );
}

#[test]
fn resolved_endpoints_survive_a_reload() {
    let old = Cluster::new(dns_config("a.example"), cells());
    assert!(pick(&old, 0, &[]).is_none());
    old.replace_endpoints(vec![spec(1, 1), spec(2, 5)], 0);
    assert!(!old.apply(&dns_config("a.example"), 0));

    let mut config = dns_config("a.example");
    config.max_headers = 9;
    let same_name = Cluster::from_previous(config, cells(), Some(&old), SECOND);
    assert_eq!(members(&same_name), members(&old));

    // Another name may mean other machines: none of the old ones gets a request, but what turns
    // out to be the same is the same.
    let other_name = Cluster::from_previous(dns_config("b.example"), cells(), Some(&old), SECOND);
    assert!(pick(&other_name, 0, &[]).is_none());
    other_name.replace_endpoints(vec![spec(2, 1), spec(3, 1)], SECOND);
    assert_eq!(ids(&other_name)[0], ids(&old)[1]);
}

#[test]
fn slow_start_is_over_in_time() {
    let mut config = static_config(&[(1, 1)]);
    config.slow_start = Duration::from_secs(10);
    let cluster = Cluster::new(config, cells());
    cluster.replace_endpoints(vec![spec(1, 1), spec(2, 1)], 100 * SECOND);
    let late = ids(&cluster)[1];
    let random = RefCell::new(fastrand::Rng::with_seed(3));
    let share = |now| {
        let cx = PickContext {
            hash: None,
            now,
            random: &random,
            tried: &[],
        };
        let hits = (0..10_000).filter(|_| cluster.pick(&cx).unwrap().id == late);
        hits.count() as f64 / 10_000.0
    };
    assert!(share(100 * SECOND) < 0.12);
    let half = share(105 * SECOND);
    assert!((0.25..0.4).contains(&half), "{half}");
    assert!((share(110 * SECOND) - 0.5).abs() < f64::EPSILON);
}

#[test]
fn the_first_endpoints_do_not_start_slowly() {
    let mut config = static_config(&[(1, 1), (2, 1)]);
    config.slow_start = Duration::from_secs(10);
    let cluster = Cluster::new(config, cells());
    for endpoint in &cluster.endpoints().all {
        assert!((endpoint.warmth(10 * SECOND, 0) - 1.0).abs() < f32::EPSILON);
    }
    // Nor do those that replace all others.
    cluster.replace_endpoints(vec![spec(3, 1), spec(4, 1)], SECOND);
    for endpoint in &cluster.endpoints().all {
        assert!((endpoint.warmth(10 * SECOND, SECOND) - 1.0).abs() < f32::EPSILON);
    }
}

#[test]
fn picks_go_on_while_endpoints_change() {
    let cluster = cluster(&[(1, 1), (2, 1), (3, 1)]);
    std::thread::scope(|scope| {
        let pickers: Vec<_> = (0..3u64)
            .map(|seed| {
                let cluster = &cluster;
                scope.spawn(move || {
                    let random = RefCell::new(fastrand::Rng::with_seed(seed));
                    for now in 0..20_000 {
                        let cx = PickContext {
                            hash: None,
                            now,
                            random: &random,
                            tried: &[],
                        };
                        let request = cluster.pick(&cx).unwrap().start();
                        request.observe(1_000, now);
                    }
                })
            })
            .collect();
        let mut round = 0;
        while pickers.iter().any(|it| !it.is_finished()) {
            round += 1;
            let extra = 10 + (round % 7) as u16;
            cluster.replace_endpoints(vec![spec(1, 1 + round % 3), spec(2, 1), spec(extra, 2)], 0);
        }
        assert!(round > 0);
    });
    assert!(cluster.endpoints().all.iter().all(|it| it.active() == 0));
    assert_eq!(members(&cluster)[0].0, 1);
}

#[tokio::test]
async fn failed_connects_ask_for_resolution_once() {
    let cluster = Cluster::new(dns_config("a.example"), cells());
    cluster.connect_failed();
    cluster.connect_failed();
    cluster.refresh_wanted().await;
    let mut second = std::pin::pin!(cluster.refresh_wanted());
    tokio::select! {
        biased;
        () = &mut second => panic!("asked for once"),
        () = tokio::task::yield_now() => {}
    }
    cluster.connect_failed();
    second.await;
}

#[test]
fn a_thousand_clusters_are_small() {
    assert!(size_of::<Cluster>() <= 700, "{}", size_of::<Cluster>());
    assert!(
        size_of::<EndpointSet>() <= 150,
        "{}",
        size_of::<EndpointSet>()
    );
}
