//! What means the same in several ways of writing, and what a hash is of.

use std::time::Duration;

use crate::Loaded;
use crate::model::{Balance, Config, HashOn, LeastRequest, PeakEwma};

fn read(text: &str) -> Loaded {
    crate::read(text, "x.yaml", &|_| None).unwrap_or_else(|problems| panic!("{problems}"))
}

fn cluster(text: &str) -> Loaded {
    read(&format!("version: 1\nclusters: [{{ name: a, {text} }}]\n"))
}

#[test]
fn short_forms_mean_the_same() {
    for (short, long) in [
        (
            "endpoints: [10.0.0.1:80]",
            "endpoints: [{ address: 10.0.0.1:80 }]",
        ),
        (
            "endpoints: [10.0.0.1:80]",
            "endpoints: [{ address: 10.0.0.1:80, weight: 1, alternatives: [] }]",
        ),
        ("dns: a.b:80", "dns: { name: \"a.b:80\" }"),
        (
            "dns: a.b:80",
            "dns: { name: \"a.b:80\", srv: false, family: both }, endpoints: []",
        ),
        ("endpoints: []", "endpoints: [], balance: peak_ewma"),
        ("endpoints: []", "endpoints: [], balance: { peak_ewma: {} }"),
        (
            "endpoints: [], balance: random",
            "endpoints: [], balance: { random: {} }",
        ),
        (
            "endpoints: [], pool: { idle_timeout: 90s }",
            "endpoints: [], pool: { idle_timeout: 1m30s }",
        ),
        ("endpoints: [], max_header_size: 64KiB", "endpoints: []"),
        (
            "endpoints: [], max_header_size: 32768",
            "endpoints: [], max_header_size: 32KiB",
        ),
    ] {
        let (short, long) = (cluster(short), cluster(long));
        assert_eq!(short, long);
        assert_eq!(short.hash, long.hash);
    }
}

#[test]
fn the_hash_tells_what_differs() {
    let one = cluster("endpoints: [10.0.0.1:80]");
    let other = cluster("endpoints: [10.0.0.2:80]");
    assert_eq!(one.hash.len(), 32);
    assert_ne!(one.hash, other.hash);
    // It is kept in saved states and compared between processes.
    assert_eq!(read("version: 1").hash, crate::hash(&Config::new()));
}

#[test]
fn canonical_json_is_short() {
    let loaded = cluster(
        "endpoints: [10.0.0.1:80, { address: 10.0.0.2:80, weight: 2 }], balance: least_request",
    );
    assert_eq!(
        serde_json::to_string(&loaded.config).unwrap(),
        "{\"version\":1,\"clusters\":[{\"name\":\"a\",\"endpoints\":[\"10.0.0.1:80\",\
         {\"address\":\"10.0.0.2:80\",\"weight\":2}],\"balance\":\"least_request\"}]}"
    );
}

#[test]
fn balances() {
    for (text, expected) in [
        (
            "least_request",
            Balance::LeastRequest(LeastRequest { choices: 2 }),
        ),
        (
            "{ peak_ewma: { decay: 5s } }",
            Balance::PeakEwma(PeakEwma {
                decay: Duration::from_secs(5),
                ..PeakEwma::default()
            }),
        ),
    ] {
        let loaded = cluster(&format!("endpoints: [], balance: {text}"));
        assert_eq!(loaded.config.clusters[0].balance, expected);
    }
    let loaded =
        cluster("endpoints: [], balance: { maglev: { hash_on: [{ cookie: a }, source_address] } }");
    let Balance::Maglev(maglev) = &loaded.config.clusters[0].balance else {
        panic!("{:?}", loaded.config);
    };
    assert_eq!(maglev.table_size, 65_537);
    assert_eq!(
        maglev.hash_on,
        [HashOn::Cookie("a".into()), HashOn::SourceAddress(true)]
    );
}

#[test]
fn what_is_odd_but_right() {
    for text in [
        "version: 1",
        "{ \"version\": 1 }",
        "\u{feff}version: 1\r\nlisteners: []\r\n",
        // Port 0 is another one for each.
        "version: 1\nlisteners: [{ name: a, bind: 127.0.0.1:0 }, { name: b, bind: 127.0.0.1:0 }]",
        // One port at two addresses.
        "version: 1\nlisteners: [{ name: a, bind: 127.0.0.1:80 }, { name: b, bind: 127.0.0.2:80 }]",
        "version: 1\nadmin: { bind: \"[::1]:9901\" }",
        "version: 1\nadmin: { bind: 0.0.0.0:9901, token_file: /run/token }",
        // The same name for objects of different kinds.
        "version: 1\nroutes: [{ name: a, rules: [{ backends: [{ cluster: a, weight: 0 }] }] }]\nclusters: [{ name: a, endpoints: [] }]",
        // No deadline beside none.
        "version: 1\nroutes: [{ name: a, rules: [{ timeouts: { request: 0s, backend_request: 5s }, backends: [{ cluster: a }] }] }]\nclusters: [{ name: a, endpoints: [] }]",
        "version: 1\nroutes: [{ name: a, rules: [{ matches: [{ path: { prefix: /a } }], filters: [{ redirect: { path: { replace_prefix: /b } } }] }] }]",
        "version: 1\nroutes: [{ name: a, rules: [{ matches: [{ grpc: {} }, { grpc: { service: a.v1._B, method: { regex: \"Get.*\" } } }], backends: [{ cluster: a }] }] }]\nclusters: [{ name: a, endpoints: [] }]",
        "version: 1\nmesh: &m { workers: 2 }\nprobes: { bind: 127.0.0.1:1 }",
    ] {
        read(text);
    }
}

#[test]
fn what_is_built_in_code_is_checked_too() {
    let mut config = Config::new();
    config.listeners = read("version: 1\nlisteners: [{ name: a, bind: 127.0.0.1:80 }]")
        .config
        .listeners;
    let loaded = Loaded::from_config(config.clone()).unwrap();
    assert_eq!(loaded.config, config);
    config.listeners[0].cluster = Some("none".into());
    let problems = crate::check(&config).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "configuration: listeners[0].cluster: no cluster is named \"none\"; expected the name of a cluster"
    );
}
