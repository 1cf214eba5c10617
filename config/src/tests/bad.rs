//! What is wrong, and what is said about it: a table of texts and the exact lines.

use crate::Problems;

fn problems(text: &str, file: &str) -> Problems {
    let environment = |name: &str| (name == "WORD").then(|| "secret".to_owned());
    crate::read(text, file, &environment).expect_err(text)
}

type Table = &'static [(&'static str, &'static [&'static str])];

/// A text and the lines shown, without the name of the file. `text` follows `version: 1`, so
/// that its first line is line 2.
fn check(table: Table) {
    for (text, expected) in table {
        let text = format!("version: 1\n{text}\n");
        let shown = problems(&text, "f").to_string();
        let shown: Vec<&str> = shown.lines().map(|line| &line[2..]).collect();
        assert_eq!(shown, *expected, "\n{text}");
    }
}

#[test]
fn texts_that_cannot_be_read() {
    for (text, file, expected) in [
        (
            "",
            "f",
            "f:1:1: found nothing (null); expected an object (Config)",
        ),
        (
            "[]",
            "f",
            "f:1:1: found a list; expected an object (Config)",
        ),
        (
            "version: 1\n---\nversion: 1",
            "f",
            "f:2:1: a second YAML document; expected one (remove the `---`)",
        ),
        (
            "version: 1\nroutes: [",
            "f",
            "f:2:10: not YAML: while parsing a node, did not find expected node content",
        ),
        (
            "version: 1\n\troutes: []",
            "f",
            "f:1:10: not YAML: while scanning a plain scalar, found a tab",
        ),
        (
            "{",
            "f.json",
            "f.json:1:2: not JSON: found the end; expected a key in double quotes",
        ),
        (
            "{\n  \"version\": 1,\n}",
            "f.json",
            "f.json:3:1: not JSON: found '}'; expected a key in double quotes",
        ),
        (
            "{\"version\": 01}",
            "f.json",
            "f.json:1:13: not JSON: found '0'; expected a number without leading zeros",
        ),
        (
            "{\"version\": 1} x",
            "f.JSON",
            "f.JSON:1:16: not JSON: found 'x'; expected the end",
        ),
        (
            "{\"version\": 1, \"version\": 1}",
            "f.json",
            "f.json:1:16: version: given twice",
        ),
        (
            "{\"ä\": 1,\n\"version\": 2}",
            "f.json",
            "f.json:1:2: [\"ä\"]: unknown field; expected one of version, mesh, admin, probes, listeners, routes, tls_routes, clusters, trust, policies\nf.json:2:12: version: found 2; expected 1",
        ),
    ] {
        assert_eq!(problems(text, file).to_string(), expected, "{text}");
    }
}

const OBJECTS_AND_FIELDS: Table = &[
    (
        "listeners: [{ name: web, bind: 127.0.0.1:80, protocl: http }]",
        &[r#"2:46: listeners[0].protocl: unknown field; did you mean "protocol"?"#],
    ),
    (
        "listners: []",
        &[r#"2:1: listners: unknown field; did you mean "listeners"?"#],
    ),
    (
        "zzz: 1",
        &[
            "2:1: zzz: unknown field; expected one of version, mesh, admin, probes, listeners, routes, tls_routes, clusters, trust, policies",
        ],
    ),
    (
        "listeners: [{ name: web }]",
        &[
            r#"2:13: listeners[0].bind: missing; expected an address to listen on, such as 127.0.0.1:8080, "[::]:8080" or unix:/run/x.sock"#,
        ],
    ),
    (
        "listeners: [{ bind: 127.0.0.1:80 }]",
        &["2:13: listeners[0].name: missing; expected a name: 1 to 253 of A-Z a-z 0-9 - _ . /"],
    ),
    (
        "listeners: [web]",
        &[r#"2:13: listeners[0]: found "web"; expected an object (Listener)"#],
    ),
    (
        "listeners: { name: web, bind: 127.0.0.1:80 }",
        &["2:12: listeners: found an object; expected a list"],
    ),
    (
        "listeners:",
        &["2:10: listeners: found nothing (null); expected a list"],
    ),
    (
        "listeners: [{ name: web, bind: 127.0.0.1:80, name: db }]",
        &["2:46: listeners[0].name: given twice"],
    ),
    ("version: 1", &["2:1: version: given twice"]),
    (
        "mesh: { drain: { grace: 1s, Deadline: 2s } }",
        &[r#"2:29: mesh.drain.Deadline: unknown field; did you mean "deadline"?"#],
    ),
    (
        "routes: [{}]",
        &[
            "2:10: routes[0].name: missing; expected a name: 1 to 253 of A-Z a-z 0-9 - _ . /",
            "2:10: routes[0].rules: missing; expected a list",
        ],
    ),
    (
        "clusters: [{ name: a, endpoints: [], balance: { random: { x: 1 } } }]",
        &["2:59: clusters[0].balance.random.x: unknown field; expected no fields"],
    ),
    (
        "x-common: &c { a: 1 }\nmesh: { <<: *c }",
        &[
            "2:1: x-common: unknown field; expected one of version, mesh, admin, probes, listeners, routes, tls_routes, clusters, trust, policies",
            r#"3:9: mesh["<<"]: unknown field; expected one of workers, identity, limits, drain, dns, access_log, metric_series"#,
        ],
    ),
    (
        "listeners:\n  - bind: nowhere\n    backlog: 0\n    http:\n      max_headers: many\n      header_timeout: 5\n  - name: a b\n    bind: 127.0.0.1:80",
        &[
            "3:5: listeners[0].name: missing; expected a name: 1 to 253 of A-Z a-z 0-9 - _ . /",
            r#"3:11: listeners[0].bind: found "nowhere"; expected an address to listen on, such as 127.0.0.1:8080, "[::]:8080" or unix:/run/x.sock"#,
            "4:14: listeners[0].backlog: found 0; expected 1 to 65535",
            r#"6:20: listeners[0].http.max_headers: found "many"; expected a whole number from 8 to 4096"#,
            "7:23: listeners[0].http.header_timeout: found 5; expected a duration such as 10s, 250ms, 1h or 1m30s, from 10ms to 1h",
            r#"8:11: listeners[1].name: found "a b"; expected a name: 1 to 253 of A-Z a-z 0-9 - _ . /"#,
        ],
    ),
];

#[test]
fn objects_and_fields() {
    check(OBJECTS_AND_FIELDS);
}

const VALUES: Table = &[
    (
        "listeners: [{ name: a b, bind: 127.0.0.1:80 }]",
        &[
            r#"2:21: listeners[0].name: found "a b"; expected a name: 1 to 253 of A-Z a-z 0-9 - _ . /"#,
        ],
    ),
    (
        "listeners: [{ name: 5, bind: 127.0.0.1:80 }]",
        &[
            "2:21: listeners[0].name: found 5; expected a name: 1 to 253 of A-Z a-z 0-9 - _ . /; put it in quotes",
        ],
    ),
    (
        "listeners: [{ name: true, bind: [::]:80 }]",
        &[
            "2:37: not YAML: while parsing a flow mapping, did not find expected ',' or '}'; put values with brackets or braces in quotes",
        ],
    ),
    (
        r#"listeners: [{ name: a, bind: ":8080" }]"#,
        &[
            r#"2:30: listeners[0].bind: found ":8080"; expected ip:port; "[::]:8080" listens on every address"#,
        ],
    ),
    (
        "listeners: [{ name: a, bind: localhost:80 }]",
        &[
            r#"2:30: listeners[0].bind: found "localhost:80"; expected ip:port; 127.0.0.1:80 is localhost"#,
        ],
    ),
    (
        "listeners: [{ name: a, bind: 8080 }]",
        &[
            r#"2:30: listeners[0].bind: found 8080; expected an address to listen on, such as 127.0.0.1:8080, "[::]:8080" or unix:/run/x.sock"#,
        ],
    ),
    (
        "listeners: [{ name: a, bind: 127.0.0.1:80, backlog: 0 }]",
        &["2:53: listeners[0].backlog: found 0; expected 1 to 65535"],
    ),
    (
        "listeners: [{ name: a, bind: 127.0.0.1:80, backlog: 65536 }]",
        &["2:53: listeners[0].backlog: found 65536; expected 1 to 65535"],
    ),
    (
        r#"listeners: [{ name: a, bind: 127.0.0.1:80, backlog: "128" }]"#,
        &[r#"2:53: listeners[0].backlog: found "128"; expected a whole number from 1 to 65535"#],
    ),
    (
        "listeners: [{ name: a, bind: 127.0.0.1:80, backlog: 1.5 }]",
        &["2:53: listeners[0].backlog: found 1.5; expected a whole number from 1 to 65535"],
    ),
    (
        "listeners: [{ name: a, bind: 127.0.0.1:80, backlog: -1 }]",
        &["2:53: listeners[0].backlog: found -1; expected a whole number from 1 to 65535"],
    ),
    (
        "listeners: [{ name: a, bind: 127.0.0.1:80, backlog: 0x80 }]",
        &["2:53: listeners[0].backlog: found 0x80; expected a whole number from 1 to 65535"],
    ),
    (
        "listeners: [{ name: a, bind: 127.0.0.1:80, protocol: htp }]",
        &[r#"2:54: listeners[0].protocol: found "htp"; did you mean "http"?"#],
    ),
    (
        "listeners: [{ name: a, bind: 127.0.0.1:80, protocol: udp }]",
        &[
            r#"2:54: listeners[0].protocol: found "udp"; expected one of auto, http, tcp, tls_passthrough"#,
        ],
    ),
    (
        "listeners: [{ name: a, bind: 127.0.0.1:80, protocol: true }]",
        &[
            "2:54: listeners[0].protocol: found true; expected one of auto, http, tcp, tls_passthrough",
        ],
    ),
    (
        "listeners: [{ name: a, bind: 127.0.0.1:80, idle_timeout: 10 }]",
        &[
            "2:58: listeners[0].idle_timeout: found 10; expected a duration such as 10s, 250ms, 1h or 1m30s",
        ],
    ),
    (
        "listeners: [{ name: a, bind: 127.0.0.1:80, idle_timeout: 10 s }]",
        &[
            r#"2:58: listeners[0].idle_timeout: found "10 s"; expected a duration such as 10s, 250ms, 1h or 1m30s"#,
        ],
    ),
    (
        "listeners: [{ name: a, bind: 127.0.0.1:80, idle_timeout: 1s1m }]",
        &[
            r#"2:58: listeners[0].idle_timeout: found "1s1m"; expected a duration such as 10s, 250ms, 1h or 1m30s"#,
        ],
    ),
    (
        "listeners: [{ name: a, bind: 127.0.0.1:80, detect_timeout: 0s }]",
        &[r#"2:60: listeners[0].detect_timeout: found "0s"; expected 1ms to 10m"#],
    ),
    (
        "listeners: [{ name: a, bind: 127.0.0.1:80, http: { via: yes } }]",
        &[r#"2:57: listeners[0].http.via: found "yes"; expected true or false"#],
    ),
    (
        "listeners: [{ name: a, bind: 127.0.0.1:80, http: { max_header_size: 1kb } }]",
        &[
            r#"2:69: listeners[0].http.max_header_size: found "1kb"; expected a size such as 65536, 64KiB, 1MiB or 1GiB, from 1KiB to 1MiB"#,
        ],
    ),
    (
        "listeners: [{ name: a, bind: 127.0.0.1:80, http: { max_header_size: 1MiB, max_request_line: 2MiB } }]",
        &[r#"2:93: listeners[0].http.max_request_line: found "2MiB"; expected 256 to 1MiB"#],
    ),
    (
        "listeners: [{ name: a, bind: 127.0.0.1:80, http: { trusted_proxies: [10.0.0.1/8, x] } }]",
        &[
            r#"2:70: listeners[0].http.trusted_proxies[0]: found "10.0.0.1/8"; expected 10.0.0.0/8 or 10.0.0.1"#,
            r#"2:82: listeners[0].http.trusted_proxies[1]: found "x"; expected a network such as 10.0.0.0/8, or one IP address"#,
        ],
    ),
    (
        "mesh: { workers: 0 }",
        &["2:18: mesh.workers: found 0; expected auto, or a number from 1 to 1024"],
    ),
    (
        "mesh: { workers: all }",
        &[r#"2:18: mesh.workers: found "all"; expected auto, or a number from 1 to 1024"#],
    ),
    (
        "mesh: { access_log: { sample: 101%, output: stdou, min_status: 99 } }",
        &[
            r#"2:31: mesh.access_log.sample: found "101%"; expected a percentage from 0 to 100, such as 12.5%"#,
            r#"2:45: mesh.access_log.output: found "stdou"; expected stdout, stderr, or a path with a `/`"#,
            "2:64: mesh.access_log.min_status: found 99; expected 100 to 599",
        ],
    ),
    (
        r#"mesh: { dns: { servers: ["1.1.1.1"] } }"#,
        &[
            r#"2:26: mesh.dns.servers[0]: found "1.1.1.1"; expected an address such as 127.0.0.1:53 or [::1]:53"#,
        ],
    ),
    (
        "clusters: [{ name: a, endpoints: [db:5432] }]",
        &[
            r#"2:35: clusters[0].endpoints[0]: found "db:5432"; expected ip:port; names belong in `dns`"#,
        ],
    ),
    (
        r#"clusters: [{ name: a, endpoints: ["10.0.0.1:0", { address: 10.0.0.1:80, weight: 65536 }] }]"#,
        &[
            r#"2:35: clusters[0].endpoints[0]: found "10.0.0.1:0"; expected a port from 1 to 65535"#,
            "2:81: clusters[0].endpoints[1].weight: found 65536; expected 0 to 65535",
        ],
    ),
    (
        r#"clusters: [{ name: a, dns: "10.0.0.1:80" }]"#,
        &[
            r#"2:28: clusters[0].dns: found "10.0.0.1:80"; expected a host name; addresses belong in `endpoints`"#,
        ],
    ),
    (
        "clusters: [{ name: a, dns: db }]",
        &[
            "2:28: clusters[0].dns.name: found no port; expected host:port (without a port: `srv: true`)",
        ],
    ),
    (
        "routes: [{ name: a, hosts: [\"*\", \"a:80\", bücher.example], rules: [{ backends: [{ cluster: c }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            r#"2:29: routes[0].hosts[0]: found "*"; expected a host; leave `hosts` out to serve every host"#,
            r#"2:34: routes[0].hosts[1]: found "a:80"; expected a host without a port; every port is served"#,
            r#"2:42: routes[0].hosts[2]: found "bücher.example"; expected a host in ASCII; write xn--... for other letters"#,
        ],
    ),
];

#[test]
fn values() {
    check(VALUES);
}

const PROCESS_AND_LISTENERS: Table = &[
    (
        r#"admin: { bind: "0.0.0.0:9901" }"#,
        &[
            "2:8: admin.token_file: missing; expected a file with a token, because admin is bound to more than loopback",
        ],
    ),
    (
        r#"admin: { allowed_hosts: ["a b"], token_file: "" }"#,
        &[
            r#"2:26: admin.allowed_hosts[0]: found "a b"; expected a host without a port"#,
            r#"2:46: admin.token_file: found ""; expected the path of a file"#,
        ],
    ),
    (
        "admin: {}\nprobes: { bind: 127.0.0.1:9901 }",
        &["3:17: probes.bind: the address is taken by admin.bind; expected an address of its own"],
    ),
    (
        "listeners: [{ name: a, bind: 127.0.0.1:80, protocol: tcp, cluster: c, detect_timeout: 1s, http: { max_body_size: 1KiB } }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            "2:87: listeners[0].detect_timeout: found a time; expected no detect_timeout with `protocol: http` or `tcp` and no mtls; nothing is detected",
            "2:97: listeners[0].http: found settings; expected no settings of HTTP with `protocol: tcp`",
        ],
    ),
    (
        "listeners: [{ name: a, bind: 127.0.0.1:80, tcp: { keepalive_time: 1500ms } }]\nclusters: [{ name: c, endpoints: [], tcp: { keepalive_interval: 1001ms } }]",
        &[
            "2:67: listeners[0].tcp.keepalive_time: found 1.5s; expected whole seconds",
            "3:65: clusters[0].tcp.keepalive_interval: found 1.001s; expected whole seconds",
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ timeouts: { request: 1s }, filters: [{ direct_response: { status: 200 } }] }] }]",
        &[
            "2:41: routes[0].rules[0].timeouts: found timeouts; expected no timeouts where a filter answers; nothing is waited for",
        ],
    ),
    (
        "mesh: { dns: { min_ttl: 10m, max_ttl: 1m } }",
        &["2:25: mesh.dns.min_ttl: longer than max_ttl; expected at most max_ttl"],
    ),
    (
        "listeners: [{ name: a, bind: 127.0.0.1:80, protocol: tcp }]",
        &["2:13: listeners[0].cluster: missing; expected the cluster that connections go to"],
    ),
    (
        "listeners: [{ name: a, bind: 127.0.0.1:80, protocol: tcp, cluster: c, routes: [] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            "2:79: listeners[0].routes: found routes; expected no routes with `protocol: tcp`; its connections go to `cluster`",
        ],
    ),
    (
        "listeners: [{ name: a, bind: 127.0.0.1:80, protocol: http, cluster: c }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            "2:69: listeners[0].cluster: found a cluster; expected no cluster with `protocol: http`; requests go where their routes say",
        ],
    ),
    (
        r#"listeners: [{ name: a, bind: "[::]:80" }, { name: a, bind: "0.0.0.0:80" }]"#,
        &[
            r#"2:51: listeners[1].name: "a" is the name of listeners[0] too; expected a name that no other listener has"#,
            "2:60: listeners[1].bind: the address is taken by listeners[0].bind; expected an address of its own",
        ],
    ),
    (
        "listeners: [{ name: a, bind: 127.0.0.1:80, cluster: cluster-2, routes: [shpo, x, x] }]\nroutes: [{ name: shop, rules: [{ backends: [{ cluster: cluster-1 }] }] }]\nclusters: [{ name: cluster-1, endpoints: [] }]",
        &[
            r#"2:53: listeners[0].cluster: no cluster is named "cluster-2"; did you mean "cluster-1"?"#,
            r#"2:73: listeners[0].routes[0]: no route is named "shpo"; did you mean "shop"?"#,
            r#"2:79: listeners[0].routes[1]: no route is named "x"; expected the name of a route"#,
            r#"2:82: listeners[0].routes[2]: no route is named "x"; expected the name of a route"#,
            r#"2:82: listeners[0].routes[2]: "x" is there twice; expected each route once"#,
        ],
    ),
    (
        r#"listeners: [{ name: a, bind: 127.0.0.1:80, http: { upgrades: [h2c, "a b", websocket] } }]"#,
        &[
            r#"2:63: listeners[0].http.upgrades[0]: found "h2c"; expected a protocol other than HTTP, whose requests would escape routing"#,
            r#"2:68: listeners[0].http.upgrades[1]: found "a b"; expected a protocol such as websocket"#,
        ],
    ),
];

#[test]
fn process_and_listeners() {
    check(PROCESS_AND_LISTENERS);
}

const TLS_ROUTES: Table = &[
    (
        "listeners: [{ name: a, bind: 127.0.0.1:80, protocol: tls_passthrough, routes: [] }]",
        &[
            "2:13: listeners[0].tls_routes: missing; expected TLS routes, or a cluster for every connection",
            "2:79: listeners[0].routes: found routes; expected no routes with `protocol: tls_passthrough`; its connections go where `tls_routes` say, or to `cluster`",
        ],
    ),
    (
        "listeners: [{ name: a, bind: 127.0.0.1:80, protocol: http, tls_routes: [shpo, shpo] }]\ntls_routes: [{ name: shop, backends: [] }]",
        &[
            "2:72: listeners[0].tls_routes: found TLS routes; expected no TLS routes but with `protocol: auto` or `tls_passthrough`",
            r#"2:73: listeners[0].tls_routes[0]: no TLS route is named "shpo"; did you mean "shop"?"#,
            r#"2:79: listeners[0].tls_routes[1]: no TLS route is named "shpo"; did you mean "shop"?"#,
            r#"2:79: listeners[0].tls_routes[1]: "shpo" is there twice; expected each route once"#,
            "3:38: tls_routes[0].backends: found no backends; expected at least one backend",
        ],
    ),
    (
        "tls_routes: [{ name: a, hosts: [x.example, \"*.x.example\", X.example], backends: [{ cluster: c }] }, { name: a, hosts: [\"*.x.example\"], backends: [{ cluster: d, weight: 0 }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            "2:59: tls_routes[0].hosts[2]: tls_routes[0] serves this name of the same listener; expected each name once for each listener",
            r#"2:109: tls_routes[1].name: "a" is the name of tls_routes[0] too; expected a name that no other TLS route has"#,
            "2:120: tls_routes[1].hosts[0]: tls_routes[0] serves this name of the same listener; expected each name once for each listener",
            r#"2:158: tls_routes[1].backends[0].cluster: no cluster is named "d"; expected the name of a cluster"#,
        ],
    ),
    (
        "listeners: [{ name: a, bind: 127.0.0.1:80, tls_routes: [one, three] }, { name: b, bind: 127.0.0.1:81, tls_routes: [two] }]\ntls_routes: [{ name: one, backends: [{ cluster: c }] }, { name: two, backends: [{ cluster: c }] }, { name: three, backends: [{ cluster: c }] }, { name: four, backends: [{ cluster: c }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            "3:100: tls_routes[2].hosts: tls_routes[0] serves every name of the same listener; expected one route without hosts for each listener",
        ],
    ),
];

#[test]
fn tls_routes() {
    check(TLS_ROUTES);
}

const CLUSTERS: Table = &[
    (
        "clusters: [{ name: a }]",
        &["2:12: clusters[0].endpoints: missing; expected exactly one of endpoints, dns"],
    ),
    (
        r#"clusters: [{ name: a, endpoints: [127.0.0.1:1], dns: "b:1" }]"#,
        &[
            "2:34: clusters[0].endpoints: found endpoints and dns together; expected exactly one of endpoints, dns",
        ],
    ),
    (
        r#"clusters: [{ name: a, dns: { name: "b:1", srv: true } }]"#,
        &[
            "2:36: clusters[0].dns.name: found a port; expected a name without a port; SRV records bring it",
        ],
    ),
    (
        "clusters: [{ name: a, endpoints: [] }, { name: b, endpoints: [] }, { name: a, endpoints: [] }]",
        &[
            r#"2:76: clusters[2].name: "a" is the name of clusters[0] too; expected a name that no other cluster has"#,
        ],
    ),
    (
        "clusters: [{ name: a, endpoints: [127.0.0.1:1, 127.0.0.1:2, 127.0.0.1:1] }]",
        &[
            "2:61: clusters[0].endpoints[2]: the address is there twice; expected each endpoint once; `weight` gives it a larger share",
        ],
    ),
    (
        "clusters: [{ name: a, endpoints: [], balance: peak_ewm }]",
        &[r#"2:47: clusters[0].balance: found "peak_ewm"; did you mean "peak_ewma"?"#],
    ),
    (
        "clusters: [{ name: a, endpoints: [], balance: maglev }]",
        &[r#"2:47: clusters[0].balance: found "maglev"; expected an object: { maglev: ... }"#],
    ),
    (
        "clusters: [{ name: a, endpoints: [], balance: { maglev: {} } }]",
        &["2:57: clusters[0].balance.maglev.hash_on: missing; expected a list"],
    ),
    (
        "clusters: [{ name: a, endpoints: [], balance: { maglev: { hash_on: [], table_size: 65536 } } }]",
        &[
            "2:68: clusters[0].balance.maglev.hash_on: found an empty list; expected at least one of header, cookie, query, source_address",
            "2:84: clusters[0].balance.maglev.table_size: found 65536; expected a prime number such as 65537",
        ],
    ),
    (
        r#"clusters: [{ name: a, endpoints: [], balance: { ring_hash: { hash_on: [{ source_address: false }, { cookie: "a b" }, { heeder: x }, cookie, source_address] } } }]"#,
        &[
            "2:90: clusters[0].balance.ring_hash.hash_on[0].source_address: found false; expected true, or no source_address at all",
            r#"2:109: clusters[0].balance.ring_hash.hash_on[1].cookie: found "a b"; expected the name of a cookie"#,
            r#"2:120: clusters[0].balance.ring_hash.hash_on[2].heeder: unknown field; did you mean "header"?"#,
            r#"2:133: clusters[0].balance.ring_hash.hash_on[3]: found "cookie"; expected an object: { cookie: ... }"#,
        ],
    ),
    (
        "clusters: [{ name: a, endpoints: [], balance: { random: {}, round_robin: {} } }]",
        &[
            "2:47: clusters[0].balance: found random, round_robin together; expected exactly one of round_robin, random, least_request, peak_ewma, ring_hash, maglev",
        ],
    ),
    (
        "clusters: [{ name: a, endpoints: [], balance: {} }]",
        &[
            "2:47: clusters[0].balance: found an empty object; expected exactly one of round_robin, random, least_request, peak_ewma, ring_hash, maglev",
        ],
    ),
    (
        "clusters: [{ name: a, endpoints: [], balance: [random] }]",
        &[
            "2:47: clusters[0].balance: found a list; expected an object (Balance) with exactly one of round_robin, random, least_request, peak_ewma, ring_hash, maglev",
        ],
    ),
    (
        "clusters: [{ name: a, endpoints: [], http2_keepalive: { interval: 1s } }, { name: b, endpoints: [], protocol: http2, http2_keepalive: { timeout: 1s } }]",
        &[
            "2:55: clusters[0].http2_keepalive: found PINGs of HTTP/2 for connections of HTTP/1.1; expected `protocol: http2` or `auto`",
            "2:135: clusters[1].http2_keepalive.interval: missing; expected a duration such as 10s, 250ms, 1h or 1m30s, from 10ms to 24h",
        ],
    ),
    (
        "clusters: [{ name: a, endpoints: [], balance: { least_request: { choices: 1 } } }]",
        &["2:75: clusters[0].balance.least_request.choices: found 1; expected 2 to 16"],
    ),
];

#[test]
fn clusters() {
    check(CLUSTERS);
}

const ROUTES: Table = &[
    (
        "routes: [{ name: r, rules: [] }]",
        &["2:28: routes[0].rules: found no rules; expected at least one rule"],
    ),
    (
        "routes: [{ name: r, rules: [{  }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            "2:29: routes[0].rules[0].backends: missing; expected where requests go, unless a filter answers them",
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ backends: [{ cluster: d }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            r#"2:53: routes[0].rules[0].backends[0].cluster: no cluster is named "d"; expected the name of a cluster"#,
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ filters: [{ redirect: { scheme: https } }], backends: [{ cluster: c }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            "2:85: routes[0].rules[0].backends: found backends; expected no backends where a filter answers",
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ filters: [{ redirect: { scheme: https } }, { direct_response: { status: 200 } }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            "2:40: routes[0].rules[0].filters: more than one filter that answers; expected one of redirect, direct_response",
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ filters: [{ redirect: { scheme: ftp, host: \"a:80\", port: 0, status: 300 } }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            r#"2:63: routes[0].rules[0].filters[0].redirect.scheme: found "ftp"; expected http or https"#,
            r#"2:74: routes[0].rules[0].filters[0].redirect.host: found "a:80"; expected a host; the port is a field of its own"#,
            "2:88: routes[0].rules[0].filters[0].redirect.port: found 0; expected a port from 1 to 65535",
            "2:99: routes[0].rules[0].filters[0].redirect.status: found 300; expected one of 301, 302, 303, 307, 308",
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ filters: [{ redirect: {} }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            "2:53: routes[0].rules[0].filters[0].redirect: leads back to the same place; expected at least one of scheme, host, path, port",
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ filters: [redirect], backends: [{ cluster: c }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            r#"2:41: routes[0].rules[0].filters[0]: found "redirect"; expected an object: { redirect: ... }"#,
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ filters: [{ direct_response: { status: 204, body: x } }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            "2:81: routes[0].rules[0].filters[0].direct_response.body: found a body with status 204; expected none: this status has no body",
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ filters: [{ direct_response: { status: 100 } }], session: {} }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            "2:70: routes[0].rules[0].filters[0].direct_response.status: found 100; expected 200 to 599",
            "2:89: routes[0].rules[0].session: found a session; expected no session where a filter answers",
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ filters: [{ direct_response: {} }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            "2:60: routes[0].rules[0].filters[0].direct_response.status: missing; expected a whole number from 200 to 599",
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ filters: [{ rewrite: { host: \"a b\" } }, { rewrite: {} }], backends: [{ cluster: c }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            "2:40: routes[0].rules[0].filters: more than one rewrite; expected one rewrite",
            r#"2:60: routes[0].rules[0].filters[0].rewrite.host: found "a b"; expected a host, or host:port"#,
            "2:82: routes[0].rules[0].filters[1].rewrite: changes nothing; expected at least one of host, path",
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ filters: [{ rewrite: { path: { replace_prefix: / } } }], backends: [{ cluster: c }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            "2:78: routes[0].rules[0].filters[0].rewrite.path.replace_prefix: not every match of the rule has a path prefix; expected `path: { prefix: ... }` in each, or replace_full",
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ matches: [{ path: { prefix: /a } }, { path: { exact: /b } }], filters: [{ rewrite: { path: { replace_prefix: / } } }], backends: [{ cluster: c }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            "2:140: routes[0].rules[0].filters[0].rewrite.path.replace_prefix: not every match of the rule has a path prefix; expected `path: { prefix: ... }` in each, or replace_full",
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ matches: [{ path: { prefix: api } }, { path: { regex: \"a(\" } }, { path: { exact: /a, prefix: /b } }, { path: /x }], backends: [{ cluster: c }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            r#"2:59: routes[0].rules[0].matches[0].path.prefix: found "api"; expected a path: `/` and visible ASCII, without query, `//`, `.` or `..`, at most 4 KiB"#,
            r#"2:85: routes[0].rules[0].matches[1].path.regex: found "a("; expected a regular expression (unclosed group)"#,
            "2:103: routes[0].rules[0].matches[2].path: found exact, prefix together; expected exactly one of exact, prefix, regex",
            r#"2:140: routes[0].rules[0].matches[3].path: found "/x"; expected an object with exactly one of exact, prefix, regex"#,
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ matches: [{ method: get }, { method: \"a b\" }], backends: [{ cluster: c }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            r#"2:51: routes[0].rules[0].matches[0].method: found "get"; expected GET; methods are case-sensitive"#,
            r#"2:68: routes[0].rules[0].matches[1].method: found "a b"; expected a method such as GET"#,
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ matches: [{ path: { exact: /a }, method: GET, grpc: { service: a/b, method: { exact: M, regex: M } } }, { grpc: { service: {}, method: 1x } }], backends: [{ cluster: c }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            "2:49: routes[0].rules[0].matches[0].path: found a path; expected nothing beside `grpc`, which says path and method of HTTP",
            "2:72: routes[0].rules[0].matches[0].method: found a method; expected nothing beside `grpc`, which says path and method of HTTP",
            r#"2:94: routes[0].rules[0].matches[0].grpc.service: found "a/b"; expected a service with its package, such as shop.v1.Cart"#,
            "2:107: routes[0].rules[0].matches[0].grpc.method: found exact, regex together; expected exactly one of exact, regex",
            "2:154: routes[0].rules[0].matches[1].grpc.service: found no condition; expected exactly one of exact, regex",
            r#"2:166: routes[0].rules[0].matches[1].grpc.method: found "1x"; expected a method, such as AddItem"#,
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ matches: [{ headers: [{ name: x }] }], backends: [{ cluster: c }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            "2:53: routes[0].rules[0].matches[0].headers[0]: found no condition; expected exactly one of exact, regex, present",
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ matches: [{ headers: [{ name: x, exact: a, present: true }] }], backends: [{ cluster: c }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            "2:53: routes[0].rules[0].matches[0].headers[0]: found exact, present together; expected exactly one of exact, regex, present",
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ matches: [{ headers: [{ name: X-a, exact: a }, { name: x-A, exact: \" b\" }] }], backends: [{ cluster: c }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            r#"2:86: routes[0].rules[0].matches[0].headers[1].name: a second condition on "x-A"; expected one condition on each field"#,
            "2:98: routes[0].rules[0].matches[0].headers[1].exact: found no header value; expected a header value: no control characters, no blanks at the ends, at most 8 KiB",
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ matches: [{ headers: [{ name: x, exact: 1 }] }], backends: [{ cluster: c }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            "2:71: routes[0].rules[0].matches[0].headers[0].exact: found 1; expected text without control characters; put it in quotes",
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ matches: [{ query: [{ name: x, regex: a, present: false }, { name: x, exact: b }] }], backends: [{ cluster: c }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            "2:51: routes[0].rules[0].matches[0].query[0]: found regex, present together; expected exactly one of exact, regex, present",
            r#"2:98: routes[0].rules[0].matches[0].query[1].name: a second condition on "x"; expected one condition on each parameter"#,
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ filters: [{ request_headers: {} }], backends: [{ cluster: c }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            "2:60: routes[0].rules[0].filters[0].request_headers: changes nothing; expected at least one of remove, set, add",
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ filters: [{ request_headers: { set: { Host: a, x: b, X: c, \"a b\": d, transfer-encoding: e }, remove: [Connection] } }], backends: [{ cluster: c }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            "2:75: routes[0].rules[0].filters[0].request_headers.set.Host: a field that is not yours to change; expected `rewrite: { host: ... }` for the host",
            "2:84: routes[0].rules[0].filters[0].request_headers.set.X: given twice",
            r#"2:90: routes[0].rules[0].filters[0].request_headers.set["a b"]: found "a b"; expected a header name: letters, digits, - and the like"#,
            "2:119: routes[0].rules[0].filters[0].request_headers.set.transfer-encoding: a field that is not yours to change; expected no field that frames a message or belongs to one connection",
            r#"2:133: routes[0].rules[0].filters[0].request_headers.remove[0]: found "Connection"; expected no field that frames a message or belongs to one connection"#,
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ filters: [{ response_headers: { set: [x], add: { content-length: \"1\", y: \"a\\nb\" } } }], backends: [{ cluster: c }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            "2:68: routes[0].rules[0].filters[0].response_headers.set: found a list; expected an object of header names and values",
            "2:96: routes[0].rules[0].filters[0].response_headers.add.content-length: a field that is not yours to change; expected no field that frames a message or belongs to one connection",
            r#"2:104: routes[0].rules[0].filters[0].response_headers.add.y: found "a\nb"; expected a header value: no control characters, no blanks at the ends, at most 8 KiB"#,
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ timeouts: { request: 1s, backend_request: 2s }, backends: [{ cluster: c }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            "2:73: routes[0].rules[0].timeouts.backend_request: longer than `request`; expected at most `request`, which covers all tries",
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ session: { cookie: \"a b\", path: \"/;\", max_age: 1ms }, backends: [{ cluster: c }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            r#"2:50: routes[0].rules[0].session.cookie: found "a b"; expected the name of a cookie: letters, digits, - and the like"#,
            "2:63: routes[0].rules[0].session.path: found `;` or `,`; expected a path that a cookie can hold",
            "2:78: routes[0].rules[0].session.max_age: less than a second; expected at least 1s",
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ backends: [{ cluster: c, weight: 1000001, filters: [{ redirect: { scheme: https } }] }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            "2:64: routes[0].rules[0].backends[0].weight: found 1000001; expected 0 to 1000000",
            "2:82: routes[0].rules[0].backends[0].filters: found a filter that answers; expected redirect and direct_response in the filters of the rule",
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ filters: [{ rewrite: { host: a } }], backends: [{ cluster: c, filters: [{ rewrite: { host: b } }] }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            "2:102: routes[0].rules[0].backends[0].filters: more than one rewrite; expected one rewrite for a request, of the rule or of the backend",
        ],
    ),
    (
        "routes: [{ name: r, rules: [{ backend: [{ cluster: c }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[r#"2:31: routes[0].rules[0].backend: unknown field; did you mean "backends"?"#],
    ),
    (
        "routes: [{ name: r, rules: [{ filters: [{ rediret: { scheme: https } }] }] }]\nclusters: [{ name: c, endpoints: [] }]",
        &[
            r#"2:43: routes[0].rules[0].filters[0].rediret: unknown field; did you mean "redirect"?"#,
        ],
    ),
];

#[test]
fn routes() {
    check(ROUTES);
}

const VALUES_FROM_THE_ENVIRONMENT: Table = &[
    (
        r#"admin: { token_file: "${NONE}" }"#,
        &[
            "2:22: admin.token_file: the environment variable NONE is not set; `${NONE:-default}` gives a default",
        ],
    ),
    (
        r#"admin: { token_file: "${" }"#,
        &["2:22: admin.token_file: `${` without `}`; write `$${` for the characters `${`"],
    ),
    (
        r#"mesh: { workers: "${WORD}" }"#,
        &[
            "2:18: mesh.workers: found a value from the environment; expected auto, or a number from 1 to 1024",
        ],
    ),
    (
        r#"listeners: [{ name: "${WORD}", bind: "${WORD}" , protocol: "${WORD}" }]"#,
        &[
            r#"2:38: listeners[0].bind: found a value from the environment; expected an address to listen on, such as 127.0.0.1:8080, "[::]:8080" or unix:/run/x.sock"#,
            "2:60: listeners[0].protocol: found a value from the environment; expected one of auto, http, tcp, tls_passthrough",
        ],
    ),
];

#[test]
fn values_from_the_environment() {
    check(VALUES_FROM_THE_ENVIRONMENT);
}
