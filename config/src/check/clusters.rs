//! Clusters.

use std::collections::HashSet;

use super::{Checker, listeners::check_tcp};
use crate::model::{
    Balance, Cluster, Endpoint, HashOn, SendProxyProtocol, UpstreamProtocol, is_token,
};

pub(super) fn check(checker: &mut Checker<'_>, cluster: &Cluster) {
    match &cluster.dns {
        None => {
            // An empty list that was written is a cluster that will have no endpoints.
            if cluster.endpoints.is_empty() && !checker.is_written("endpoints") {
                checker.missing("endpoints", "exactly one of endpoints, dns");
            }
        }
        Some(dns) => {
            if !cluster.endpoints.is_empty() {
                let found = "found endpoints and dns together";
                checker.problem_at("endpoints", found, "exactly one of endpoints, dns");
            }
            checker.field("dns", |checker| match (dns.srv, dns.name.port) {
                _ if dns.name.host.is_empty() => {}
                (true, Some(_)) => {
                    let expected = "a name without a port; SRV records bring it";
                    checker.problem_at("name", "found a port", expected);
                }
                (false, None) => {
                    let expected = "host:port (without a port: `srv: true`)";
                    checker.problem_at("name", "found no port", expected);
                }
                _ => {}
            });
        }
    }
    if cluster.proxy_protocol != SendProxyProtocol::Off
        && cluster.protocol != UpstreamProtocol::Http1
    {
        let found = "found a PROXY header for connections that clients share";
        checker.problem_at("proxy_protocol", found, "`off`, or `protocol: http1`");
    }
    let is_secured = cluster.tls.is_some() || !cluster.identities.is_empty();
    if cluster.proxy_protocol != SendProxyProtocol::Off && is_secured {
        let found = "found a PROXY header for connections over TLS";
        checker.problem_at("proxy_protocol", found, "`off`, or no TLS");
    }
    if cluster.http2_keepalive.is_some() && cluster.protocol == UpstreamProtocol::Http1 {
        let found = "found PINGs of HTTP/2 for connections of HTTP/1.1";
        checker.problem_at("http2_keepalive", found, "`protocol: http2` or `auto`");
    }
    check_endpoints(&cluster.endpoints, checker);
    check_tcp(&cluster.tcp, checker);
    super::tls::check_cluster(cluster, checker);
    check_balance(&cluster.balance, checker);
}

/// State of an endpoint hangs on its address.
fn check_endpoints(endpoints: &[Endpoint], checker: &mut Checker<'_>) {
    let mut known = HashSet::with_capacity(endpoints.len());
    checker.each("endpoints", endpoints, |checker, endpoint| {
        let is_new = known.insert(&endpoint.address);
        if !is_new && !checker.is_unread() {
            checker.problem(
                "the address is there twice",
                "each endpoint once; `weight` gives it a larger share",
            );
        }
    });
}

fn check_balance(balance: &Balance, checker: &mut Checker<'_>) {
    checker.field("balance", |checker| match balance {
        Balance::RingHash(ring) => {
            checker.field("ring_hash", |checker| check_hash_on(&ring.hash_on, checker));
        }
        Balance::Maglev(maglev) => checker.field("maglev", |checker| {
            check_hash_on(&maglev.hash_on, checker);
            if !is_prime(maglev.table_size) {
                let found = format!("found {}", maglev.table_size);
                checker.problem_at("table_size", found, "a prime number such as 65537");
            }
        }),
        Balance::RoundRobin(_)
        | Balance::Random(_)
        | Balance::LeastRequest(_)
        | Balance::PeakEwma(_) => {}
    });
}

fn check_hash_on(hash_on: &[HashOn], checker: &mut Checker<'_>) {
    if hash_on.is_empty() && !checker.is_unread() {
        let expected = "at least one of header, cookie, query, source_address";
        checker.problem_at("hash_on", "found an empty list", expected);
    }
    checker.each("hash_on", hash_on, |checker, property| match property {
        HashOn::SourceAddress(false) => {
            let expected = "true, or no source_address at all";
            checker.problem_at("source_address", "found false", expected);
        }
        HashOn::Cookie(name) if !is_token(name.as_str()) => {
            let found = format!("found {:?}", name.as_str());
            checker.problem_at("cookie", found, "the name of a cookie");
        }
        HashOn::Header(_) | HashOn::Cookie(_) | HashOn::Query(_) | HashOn::SourceAddress(true) => {}
    });
}

/// By trial division: at most 2,237 for the largest table.
fn is_prime(number: u32) -> bool {
    let root = number.isqrt();
    number >= 2 && (2..=root).all(|divisor| !number.is_multiple_of(divisor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primes() {
        let primes: Vec<u32> = (0..32).filter(|n| is_prime(*n)).collect();
        assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31]);
        assert!(is_prime(65_537) && is_prime(5_000_011) && !is_prime(65_536));
    }
}
