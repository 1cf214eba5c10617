//! Policies.

use super::{Checker, Names, identity, identity::Trusted, routes};
use crate::model::{Policy, PolicyRule};

pub(super) fn check(
    policy: &Policy,
    listeners: &Names<'_>,
    trusted: &Trusted<'_>,
    checker: &mut Checker<'_>,
) {
    if policy.listeners.is_empty() && !checker.is_unread() {
        checker.problem_at("listeners", "found no listeners", "at least one");
    }
    checker.each("listeners", &policy.listeners, |checker, name| {
        checker.reference(name, listeners);
    });
    checker.each("rules", &policy.rules, |checker, rule| {
        check_rule(rule, trusted, checker);
    });
}

fn check_rule(rule: &PolicyRule, trusted: &Trusted<'_>, checker: &mut Checker<'_>) {
    checker.each("identities", &rule.identities, |checker, pattern| {
        identity::check_domain(pattern.trust_domain(), trusted, checker);
    });
    checker.each("ports", &rule.ports, |checker, port| {
        if *port == 0 {
            checker.problem("found 0", "a port");
        }
    });
    checker.each("requests", &rule.requests, routes::check_match);
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn policies() {
        let mesh = "mesh: { identity: { cert: a, key: b } }\ntrust: [{ name: d, roots: [c] }]\n\
                    listeners: [{ name: l, bind: '127.0.0.1:1', mtls: strict }]\n";
        check(
            &format!(
                "{mesh}policies: [{{ name: p, listeners: [l], action: allow, audit: true, rules: [{{ identities: ['spiffe://d/a', 'spiffe://d/ns/*', 'spiffe://d/*'],
                networks: [10.0.0.0/8], ports: [80], hosts: ['*.a.example'], requests: [{{ path: {{ prefix: /x }}, method: GET }}] }}] }}, {{ name: q, listeners: [l], action: deny }}]"
            ),
            &[],
        );
        check(
            &format!(
                "{mesh}policies: [{{ name: p, listeners: [], action: allow }}, {{ name: p, listeners: [m], action: drop, rules: [{{ identities: ['spiffe://e/*', 'spiffe://d'], ports: [0] }}] }}]"
            ),
            &[
                "policies[0].listeners: found no listeners; expected at least one",
                "policies[1].name: \"p\" is the name of policies[0] too; expected a name that no other policy has",
                "policies[1].listeners[0]: no listener is named \"m\"; expected the name of a listener",
                "policies[1].action: found \"drop\"; expected one of allow, deny",
                "policies[1].rules[0].identities[0]: the trust domain e is not in `trust`; expected one that is",
                "policies[1].rules[0].identities[1]: found \"spiffe://d\"; expected a SPIFFE ID, or the beginning of some with /* behind it",
                "policies[1].rules[0].ports[0]: found 0; expected a port",
            ],
        );
    }
}
