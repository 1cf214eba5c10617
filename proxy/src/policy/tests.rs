//! Verdicts, by policies as they are written in a file.

use std::sync::Arc;

use super::{Client, Guard, Policy};
use crate::{message::testing::TestRequest, telemetry::cells::PerWorker};

fn guard(policies: &str) -> Arc<Guard> {
    let text = format!(
        "version: 1\nmesh: {{ identity: {{ cert: a, key: b }} }}\ntrust: [{{ name: d, roots: [c] }}]\n\
         listeners: [{{ name: l, bind: '127.0.0.1:1' }}]\npolicies:\n{policies}"
    );
    let loaded =
        outrigger_config::read(&text, "x", &|_| None).unwrap_or_else(|why| panic!("{why}"));
    let policies = loaded.config.policies.iter();
    let compile = |config| Policy::compile(config, Arc::new(PerWorker::new(1))).unwrap();
    Guard::of(policies.map(compile)).unwrap()
}

/// The names of the policies that refuse and that would: `-` for none.
fn judge(guard: &Guard, identity: &str, address: &str, request: Option<&TestRequest>) -> String {
    let id = (!identity.is_empty()).then(|| format!("spiffe://d/{identity}").parse().unwrap());
    let client = Client {
        identity: id.as_ref(),
        address: Some(address.parse().unwrap()),
        port: Some(80),
    };
    let view = request.map(TestRequest::view);
    let verdict = guard.judge(client, view.as_ref());
    let name = |policy: Option<&Arc<Policy>>| policy.map_or("-", |policy| &*policy.name).to_owned();
    format!("{} {}", name(verdict.denied), name(verdict.audited))
}

fn get(target: &str) -> TestRequest {
    TestRequest::get("a.example", target)
}

#[test]
fn deny_goes_before_allow_and_allow_before_the_rest() {
    let guard = guard(
        "- { name: web, listeners: [l], action: allow, rules: [{ identities: ['spiffe://d/ns/a/*'] }, { networks: [10.0.0.0/8], ports: [80] }] }
- { name: not-b, listeners: [l], action: deny, rules: [{ identities: ['spiffe://d/ns/a/b'] }] }",
    );
    let request = get("/");
    for (identity, address, expected) in [
        ("ns/a/web", "127.0.0.1", "- -"),
        ("ns/a/b", "127.0.0.1", "not-b -"),
        ("ns/a/b", "10.1.2.3", "not-b -"),
        ("ns/ab", "127.0.0.1", "web -"),
        ("", "127.0.0.1", "web -"),
        ("", "10.1.2.3", "- -"),
    ] {
        assert_eq!(
            judge(&guard, identity, address, Some(&request)),
            expected,
            "{identity}"
        );
        assert_eq!(
            judge(&guard, identity, address, None),
            expected,
            "{identity}"
        );
    }
}

#[test]
fn nothing_is_allowed_by_no_rules_and_everything_by_an_empty_one() {
    let nobody = guard("- { name: none, listeners: [l], action: allow }");
    assert_eq!(judge(&nobody, "a", "127.0.0.1", Some(&get("/"))), "none -");
    let all = guard("- { name: all, listeners: [l], action: allow, rules: [{}] }");
    assert_eq!(judge(&all, "", "127.0.0.1", None), "- -");
    let no_denial = guard("- { name: none, listeners: [l], action: deny }");
    assert_eq!(judge(&no_denial, "", "127.0.0.1", None), "- -");
}

#[test]
fn requests_are_seen_as_routes_see_them() {
    let guard = guard(
        "- { name: read, listeners: [l], action: allow, rules: [{ hosts: ['*.example'], requests: [{ method: GET, path: { prefix: /shop } }] }] }
- { name: admin, listeners: [l], action: deny, rules: [{ requests: [{ path: { prefix: /shop/admin } }] }] }",
    );
    for (request, expected) in [
        (get("/shop"), "- -"),
        (get("/shop/x?y=//;"), "- -"),
        (get("/shopping"), "read -"),
        (get("/shop/admin"), "admin -"),
        (get("/shop/x/../%61dmin/y"), "admin -"),
        (
            TestRequest::new("POST", "a.example", "/shop", &[]),
            "read -",
        ),
        (TestRequest::get("a.other", "/shop"), "read -"),
        // What servers read in more than one way.
        (get("/shop//admin"), "read -"),
        (get("/shop/x;/admin"), "read -"),
        (get("/shop/x%2Fadmin"), "read -"),
        (get("/shop/x%5cadmin"), "read -"),
    ] {
        assert_eq!(judge(&guard, "", "127.0.0.1", Some(&request)), expected);
    }
    // There is no request: what allows does not, what denies does.
    assert_eq!(judge(&guard, "", "127.0.0.1", None), "admin -");
}

#[test]
fn an_audit_refuses_nothing() {
    let guard = guard(
        "- { name: trial, listeners: [l], action: deny, audit: true, rules: [{ identities: ['spiffe://d/a'] }] }
- { name: strict, listeners: [l], action: allow, audit: true, rules: [{ identities: ['spiffe://d/*'] }] }
- { name: real, listeners: [l], action: deny, rules: [{ ports: [80], identities: ['spiffe://d/c'] }] }",
    );
    for (identity, expected) in [
        ("a", "- trial"),
        ("b", "- -"),
        ("c", "real -"),
        ("", "- strict"),
    ] {
        assert_eq!(judge(&guard, identity, "127.0.0.1", None), expected);
    }
}
