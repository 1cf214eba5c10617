//! Which rule wins (the precedence of Gateway API), and what wins nothing.

use outrigger_tests::{
    client::{Client, request},
    proxy::Proxy,
};

use super::named;

/// A proxy whose rules answer with their own names.
fn answering(routes: &str) -> Proxy {
    Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', protocol: http }}]\nroutes:\n{routes}"
    ))
}

fn rule(name: &str, matches: &str) -> String {
    format!(
        "      - {{ matches: [{matches}], filters: [{{ direct_response: {{ status: 200, body: {name} }} }}] }}\n"
    )
}

fn route(name: &str, hosts: &str, rules: &[(&str, &str)]) -> String {
    let rules: String = rules.iter().map(|(n, m)| rule(n, m)).collect();
    format!("  - name: {name}\n    hosts: [{hosts}]\n    rules:\n{rules}")
}

#[track_caller]
fn check(proxy: &Proxy, method: &str, host: &str, target: &str, fields: &[&str], expected: &str) {
    let host = format!("Host: {host}");
    let mut all = vec![host.as_str()];
    all.extend(fields);
    let mut client = Client::connect(proxy.web());
    client.send(request(method, target, &all, b""));
    let answer = client.response();
    let got = if answer.status() == 200 {
        answer.text()
    } else {
        answer.status().to_string()
    };
    assert_eq!(got, expected, "{method} {host} {target} {fields:?}");
}

#[test]
fn hosts_exact_before_suffix_before_all() {
    let proxy = answering(
        &[
            route("any", "", &[("any", "")]),
            route("suffix", "'*.example.com'", &[("suffix", "")]),
            route("longer", "'*.b.example.com'", &[("longer", "")]),
            route("exact", "a.example.com", &[("exact", "")]),
        ]
        .concat(),
    );
    for (host, expected) in [
        ("a.example.com", "exact"),
        ("A.Example.COM", "exact"),
        ("a.example.com:8080", "exact"),
        ("x.example.com", "suffix"),
        ("x.y.example.com", "suffix"),
        ("x.b.example.com", "longer"),
        ("b.example.com", "suffix"),
        ("example.com", "any"),
        ("xexample.com", "any"),
        ("[::1]:80", "any"),
    ] {
        check(&proxy, "GET", host, "/", &[], expected);
    }
}

#[test]
fn paths_exact_before_longest_prefix_before_regex() {
    let proxy = answering(&route(
        "paths",
        "",
        &[
            ("regex", "{ path: { regex: '/r.*' } }"),
            ("root", "{ path: { prefix: / } }"),
            ("foo", "{ path: { prefix: /foo } }"),
            ("foobar", "{ path: { prefix: /foo/bar } }"),
            ("exact", "{ path: { exact: /foo/bar } }"),
        ],
    ));
    for (target, expected) in [
        ("/", "root"),
        ("/fo", "root"),
        ("/foo", "foo"),
        ("/foo/", "foo"),
        ("/foo/x", "foo"),
        ("/foobar", "root"),
        ("/foo/bar", "exact"),
        ("/foo/bar/", "foobar"),
        ("/foo/bar/x?y=/foo/bar", "foobar"),
        ("/Foo", "root"),
        ("/foo?x", "foo"),
    ] {
        check(&proxy, "GET", "a", target, &[], expected);
    }
}

#[test]
fn method_headers_and_query_break_ties() {
    let proxy = answering(&route(
        "ties",
        "",
        &[
            ("plain", "{ path: { prefix: /a } }"),
            (
                "query",
                "{ path: { prefix: /a }, query: [{ name: q, exact: '1' }] }",
            ),
            (
                "header",
                "{ path: { prefix: /a }, headers: [{ name: x-a, exact: '1' }] }",
            ),
            (
                "headers",
                "{ path: { prefix: /a }, headers: [{ name: x-a, exact: '1' }, { name: x-b, present: true }] }",
            ),
            ("method", "{ path: { prefix: /a }, method: PUT }"),
            (
                "absent",
                "{ path: { prefix: /b }, headers: [{ name: x-a, present: false }] }",
            ),
            (
                "pattern",
                "{ path: { prefix: /b }, headers: [{ name: x-a, regex: 'v[0-9]+' }] }",
            ),
        ],
    ));
    check(&proxy, "GET", "a", "/a", &[], "plain");
    check(&proxy, "GET", "a", "/a?q=1", &[], "query");
    check(&proxy, "GET", "a", "/a?q=%31", &[], "query");
    check(&proxy, "GET", "a", "/a?q=2&q=1", &[], "plain");
    check(&proxy, "GET", "a", "/a?q=1", &["X-A: 1"], "header");
    check(&proxy, "GET", "a", "/a", &["X-A: 1", "X-B:"], "headers");
    check(&proxy, "GET", "a", "/a", &["X-A: 2", "x-a: 1"], "header");
    check(&proxy, "GET", "a", "/a", &["X-A: 1, 2"], "plain");
    check(&proxy, "PUT", "a", "/a", &["X-A: 1", "X-B: 1"], "method");
    check(&proxy, "GET", "a", "/b", &[], "absent");
    check(&proxy, "GET", "a", "/b", &["X-A: v12"], "pattern");
    check(&proxy, "GET", "a", "/b", &["X-A: v12x"], "404");
}

#[test]
fn what_matches_nothing_is_404() {
    let proxy = answering(
        &[
            route(
                "one",
                "one.example",
                &[("one", "{ path: { prefix: /api } }")],
            ),
            route("two", "two.example", &[("two", "")]),
        ]
        .concat(),
    );
    check(&proxy, "GET", "one.example", "/api/x", &[], "one");
    check(&proxy, "GET", "one.example", "/", &[], "404");
    check(&proxy, "GET", "three.example", "/", &[], "404");
    // A host's own routes are the only ones it has: no falling through to a wider host.
    let proxy = answering(
        &[
            route(
                "narrow",
                "a.example",
                &[("narrow", "{ path: { exact: /x } }")],
            ),
            route("wide", "'*.example'", &[("wide", "")]),
        ]
        .concat(),
    );
    check(&proxy, "GET", "a.example", "/x", &[], "narrow");
    check(&proxy, "GET", "b.example", "/y", &[], "wide");
}

#[test]
fn a_listener_serves_the_routes_it_names() {
    let (one, two) = (named("one"), named("two"));
    let proxy = Proxy::start(&format!(
        "listeners:
  - {{ name: web, bind: '127.0.0.1:0', protocol: http, routes: [one] }}
  - {{ name: rest, bind: '127.0.0.1:0', protocol: http }}
routes:
  - {{ name: one, rules: [{{ backends: [{{ cluster: one }}] }}] }}
  - {{ name: two, rules: [{{ backends: [{{ cluster: two }}] }}] }}
clusters:
  - {{ name: one, endpoints: ['{}'] }}
  - {{ name: two, endpoints: ['{}'] }}",
        one.address, two.address
    ));
    assert_eq!(Client::connect(proxy.web()).get("/").text(), "one");
    assert_eq!(
        Client::connect(proxy.listener("rest")).get("/").text(),
        "two"
    );
}

#[test]
fn ten_thousand_routes_find_the_last_as_well_as_the_first() {
    let mut routes = String::new();
    for n in 0..10_000 {
        routes.push_str(&route(
            &format!("r{n}"),
            &format!("h{}.example", n % 100),
            &[(
                &format!("b{n}"),
                &format!("{{ path: {{ prefix: /p{n} }} }}"),
            )],
        ));
    }
    let proxy = answering(&routes);
    for n in [0, 1, 99, 100, 5_000, 9_999] {
        let host = format!("h{}.example", n % 100);
        check(
            &proxy,
            "GET",
            &host,
            &format!("/p{n}/x"),
            &[],
            &format!("b{n}"),
        );
        check(&proxy, "GET", &host, &format!("/p{}/x", n + 1), &[], "404");
    }
}

/// S13, S26: rules see the fields that the upstream will, not what a stranger wrote into them.
#[test]
fn rules_see_forwarded_fields_as_the_upstream_does() {
    let proxy = answering(&route(
        "all",
        "",
        &[
            (
                "https",
                "{ headers: [{ name: x-forwarded-proto, exact: https }] }",
            ),
            (
                "claimed",
                "{ headers: [{ name: x-real-ip, present: true }] }",
            ),
            ("listed", "{ headers: [{ name: x-listed, present: true }] }"),
            (
                "far",
                "{ headers: [{ name: x-forwarded-for, regex: '203[.].*' }] }",
            ),
            (
                "near",
                "{ headers: [{ name: x-forwarded-for, exact: 127.0.0.1 }] }",
            ),
        ],
    ));
    for fields in [
        &[][..],
        &["X-Forwarded-Proto: https"],
        &["X-Real-IP: 203.0.113.7"],
        &["X-Forwarded-For: 203.0.113.7"],
        &["X-Listed: 1", "Connection: x-listed"],
        &[
            "X-Forwarded-For: 203.0.113.7",
            "X-Listed: 1",
            "Connection: close, x-listed",
        ],
    ] {
        check(&proxy, "GET", "a.example", "/", fields, "near");
    }
    check(&proxy, "GET", "a.example", "/", &["X-Listed: 1"], "listed");

    let plain = "{ headers: [{ name: x-forwarded-proto, exact: http }] }";
    let proxy = answering(&route("all", "", &[("plain", plain)]));
    check(&proxy, "GET", "a.example", "/", &[], "plain");
}
