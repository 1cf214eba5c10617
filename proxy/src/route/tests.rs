//! The table against the text of Gateway API, by example.

use outrigger_config::model::{self, Match};

use super::testing::*;
use crate::message::testing::TestRequest;

fn served(routes: &[model::Route], request: &TestRequest) -> Served {
    found(&table(routes), request)
}

/// Asserts which route (`""`: none) serves a `GET`.
fn check(routes: &[model::Route], host: &str, target: &str, expected: &str) {
    let served = served(routes, &TestRequest::get(host, target));
    let name = served.map_or(String::new(), |(name, ..)| name);
    assert_eq!(name, expected, "{host}{target}");
}

fn check_rule(rules: &[Match], request: &TestRequest, expected: Option<usize>) {
    let rules = rules.iter().map(|m| vec![m.clone()]).collect();
    let served = served(&[route("r", &[], rules)], request);
    assert_eq!(served.map(|(_, rule, _)| rule), expected);
}

#[test]
fn hosts_are_exact_before_wildcard_before_none() {
    let all = vec![vec![]];
    let routes = [
        route("none", &[], all.clone()),
        route("short", &["*.example"], all.clone()),
        route("long", &["*.shop.example"], all.clone()),
        route("exact", &["a.shop.example", "shop.example"], all),
    ];
    for (host, expected) in [
        ("a.shop.example", "exact"),
        ("A.Shop.EXAMPLE.:8080", "exact"),
        ("a.shop.example..", "none"),
        ("shop.example", "exact"),
        ("b.shop.example", "long"),
        ("c.b.shop.example:80", "long"),
        ("other.example", "short"),
        ("example", "none"),
        (".example", "none"),
        ("", "none"),
        ("[::1]:80", "none"),
        ("xshop.example", "short"),
    ] {
        check(&routes, host, "/", expected);
    }
    let long = format!("{}.example", "a.".repeat(130));
    check(&routes, &long, "/", "none");
    check(&routes[1..], &long, "/", "");
}

#[test]
fn less_specific_hosts_are_asked_where_the_specific_one_has_no_rule() {
    let routes = [
        route("none", &[], vec![vec![exact("/none")]]),
        route("wild", &["*.example"], vec![vec![prefix("/wild")]]),
        route("exact", &["a.example"], vec![vec![prefix("/exact")]]),
    ];
    check(&routes, "a.example", "/exact/x", "exact");
    check(&routes, "a.example", "/wild/x", "wild");
    check(&routes, "a.example", "/none", "none");
    check(&routes, "a.example", "/none/x", "");
}

#[test]
fn paths_are_exact_before_longest_prefix_before_regex_before_root() {
    let routes = [
        route("any", &[], vec![vec![every()]]),
        route("root", &[], vec![vec![prefix("/")]]),
        route("regex", &[], vec![vec![regex("/(a|regex)/.*")]]),
        route("a", &[], vec![vec![prefix("/a")]]),
        route("ab", &[], vec![vec![prefix("/a/b/")]]),
        route("exact", &[], vec![vec![exact("/a/b")]]),
        route("regex2", &[], vec![vec![regex("/regex/longer/pattern")]]),
    ];
    for (target, expected) in [
        ("/a/b", "exact"),
        ("/a/b/", "ab"),
        ("/a/b/c?x=/", "ab"),
        ("/a/bc", "a"),
        ("/a//b", "a"),
        ("/a", "a"),
        ("/ab", "any"),
        ("/regex/x", "regex"),
        ("/regex/longer/pattern", "regex"),
        ("/x/../a/./b", "exact"),
        ("/%61/b", "exact"),
        ("/A/b", "any"),
        ("*", "any"),
        ("", "any"),
    ] {
        check(&routes, "h", target, expected);
    }
    check(&routes[1..2], "h", "*", "");
    check(&routes[1..2], "h", "/", "root");
    check(
        &[route("c", &[], vec![vec![exact("/%63%2f")]])],
        "h",
        "/c%2f",
        "c",
    );
}

#[test]
fn the_matched_prefix_is_told() {
    for (path, target, expected) in [
        (prefix("/a/b/"), "/a/b/c", Some(4)),
        (prefix("/"), "/a", Some(0)),
        (every(), "/a", Some(0)),
        (exact("/a"), "/a", None),
        (regex("/a"), "/a", None),
    ] {
        let routes = [route("r", &[], vec![vec![path]])];
        let served = served(&routes, &TestRequest::get("h", target)).unwrap();
        assert_eq!(served.2, expected, "{target}");
    }
}

#[test]
fn then_method_fields_parameters_and_order_decide() {
    let rules = [
        prefix("/a"),
        and_query(prefix("/a"), "q", "1"),
        and_query(and_query(prefix("/a"), "q", "1"), "r", "2"),
        and_header(prefix("/a"), "x", "1"),
        and_header(and_header(prefix("/a"), "x", "1"), "y", "2"),
        and_method(prefix("/a"), "POST"),
        prefix("/a"),
    ];
    let both = [("x", "1"), ("y", "2")];
    for (method, target, headers, expected) in [
        ("GET", "/a", &[][..], Some(0)),
        ("GET", "/a?q=1", &[], Some(1)),
        ("GET", "/a?q=1&r=2", &[], Some(2)),
        ("GET", "/a?q=1&r=2", &both[..1], Some(3)),
        ("GET", "/a?q=1&r=2", &both, Some(4)),
        ("POST", "/a?q=1&r=2", &both, Some(5)),
        ("post", "/a", &[], Some(0)),
        ("GET", "/b", &both, None),
    ] {
        let request = TestRequest::new(method, "h", target, headers);
        check_rule(&rules, &request, expected);
    }
}

#[test]
fn alternatives_of_a_rule_compete_one_by_one() {
    let routes = [route(
        "r",
        &[],
        vec![vec![prefix("/a")], vec![prefix("/b"), prefix("/a/b")]],
    )];
    for (target, expected) in [
        ("/a", Some(0)),
        ("/b", Some(1)),
        ("/a/b", Some(1)),
        ("/", None),
    ] {
        let rule = served(&routes, &TestRequest::get("h", target)).map(|served| served.1);
        assert_eq!(rule, expected, "{target}");
    }
}

#[test]
fn many_rules_that_differ_in_a_value_are_told_apart() {
    let tenant = |n: usize| {
        and_header(
            and_header(every(), "env", "prod"),
            "x-tenant",
            &format!("t{n}"),
        )
    };
    let user = |n: usize| {
        and_query(
            and_header(every(), "env", "prod"),
            "user",
            &format!("u {n}"),
        )
    };
    let rules: Vec<_> = (0..200)
        .map(|n| if n % 2 == 0 { tenant(n) } else { user(n) })
        .chain([every()])
        .collect();
    for n in 0..200 {
        let value = format!("t{n}");
        let target = format!("/?user=u%20{n}&user=u%200");
        let headers = [
            ("X-Tenant", &*value),
            ("Env", "prod"),
            ("x-tenant", "other"),
        ];
        let request = TestRequest::new("GET", "h", &target, &headers);
        check_rule(&rules, &request, Some(n));
        let request = TestRequest::new("GET", "h", &target, &headers[..1]);
        check_rule(&rules, &request, Some(200));
    }
    let repeated = vec![("x-tenant", "t6"); 100];
    let repeated: Vec<_> = repeated
        .into_iter()
        .chain([("env", "prod"), ("x-tenant", "t4")])
        .collect();
    let request = TestRequest::new("GET", "h", "/", &repeated);
    check_rule(&rules, &request, Some(4));
}

fn name(text: &str) -> model::GrpcName {
    match text.strip_prefix('~') {
        Some(pattern) => model::GrpcName {
            exact: None,
            regex: Some(pattern.into()),
        },
        None => model::GrpcName {
            exact: Some(text.into()),
            regex: None,
        },
    }
}

/// A gRPC call of these names; empty: any, with `~` before it: a regular expression.
fn grpc(service: &str, method: &str) -> Match {
    let of = |text: &str| (!text.is_empty()).then(|| name(text));
    Match {
        grpc: Some(model::GrpcMatch {
            service: of(service),
            method: of(method),
        }),
        ..every()
    }
}

fn call(path: &str) -> TestRequest {
    let fields = [("content-type", "application/grpc+proto")];
    TestRequest::new("POST", "", path, &fields)
}

/// As `GRPCRoute`: the service counts before the method, and both before the number of headers.
#[test]
fn calls_are_found_by_service_and_method() {
    let rules = [
        every(),
        grpc("", ""),
        grpc("", "Get"),
        grpc("~shop\\..*", "~Put|Get"),
        and_header(grpc("shop.Cart", ""), "x", "1"),
        grpc("shop.Cart", "~G.*"),
        grpc("shop.Cart", "Get"),
    ];
    for (path, expected) in [
        ("/shop.Cart/Get", 6),
        ("/shop.Cart/Got", 5),
        ("/shop.Cart/Put", 3),
        ("/shop.Cart/Other", 1),
        ("/shop.X/Get", 3),
        ("/shop.cart/Get", 3),
        ("/other.Cart/Get", 2),
        ("/other.Cart/Put", 1),
        // No path of a call.
        ("/shop.Cart", 0),
        ("/shop.Cart/Get/more", 0),
        ("/shop.Cart/", 0),
    ] {
        check_rule(&rules, &call(path), Some(expected));
    }
    let fields = [("content-type", "application/grpc"), ("x", "1")];
    let with_header = TestRequest::new("POST", "", "/shop.Cart/Get2", &fields);
    check_rule(&rules, &with_header, Some(5));
    let fields = [("content-type", "application/grpc"), ("x", "1")];
    let with_header = TestRequest::new("POST", "", "/shop.Cart/Put", &fields);
    check_rule(&rules, &with_header, Some(4));
    // The same path, but no call.
    for content_type in ["application/grpc-web", "application/json"] {
        let fields = [("content-type", content_type)];
        let request = TestRequest::new("POST", "", "/shop.Cart/Get", &fields);
        check_rule(&rules, &request, Some(0));
    }
    check_rule(&rules, &TestRequest::get("", "/shop.Cart/Get"), Some(0));
    // Between calls and plain paths the same order holds; a call is more specific than its path.
    let mixed = [
        exact("/a.B/C"),
        grpc("a.B", "C"),
        prefix("/a.B"),
        grpc("", "C"),
    ];
    check_rule(&mixed, &call("/a.B/C"), Some(1));
    check_rule(&mixed, &call("/a.B/D"), Some(2));
    check_rule(&mixed, &call("/a.X/C"), Some(3));
}
