//! From what the name servers answered to endpoints.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use hickory_resolver::proto::rr::rdata::SRV;

use crate::{cluster::EndpointSpec, net::address::Address};

/// A record of weight 0 beside others should be picked rarely, not never (RFC 2782): a hundredth
/// of weight 1.
const FINENESS: u32 = 100;

/// Endpoints at these addresses of a host, always in the same order.
///
/// A host with one IPv4 and one IPv6 address is one endpoint that is reached in two ways (the
/// IPv6 one first, RFC 8305): taken for two, every other request to `localhost` would fail where
/// the application listens on one of them only.
pub(super) fn at_addresses(addresses: &[IpAddr], port: u16, weight: u32) -> Vec<EndpointSpec> {
    let at = |addresses: Vec<IpAddr>| EndpointSpec {
        addresses: addresses
            .into_iter()
            .map(|it| Address::Tcp(SocketAddr::new(it, port)))
            .collect(),
        weight,
    };
    match *reachable(addresses, has_route) {
        [v4 @ IpAddr::V4(_), v6 @ IpAddr::V6(_)] => vec![at(vec![v6, v4])],
        ref all => all.iter().map(|it| at(vec![*it])).collect(),
    }
}

/// Addresses that a host can have, sorted, each once; without a family that this machine has no
/// route to, where the host has both.
fn reachable(addresses: &[IpAddr], has_route: impl Fn(IpAddr) -> bool) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = addresses
        .iter()
        .map(IpAddr::to_canonical)
        .filter(|it| !it.is_unspecified() && !it.is_multicast() && *it != IpAddr::from([255; 4]))
        .collect();
    all.sort_unstable();
    all.dedup();
    let (v4, v6): (Vec<_>, Vec<_>) = all.iter().partition(|it| it.is_ipv4());
    match (v4.first(), v6.first()) {
        (Some(first), Some(_)) if !has_route(*first) => v6,
        (Some(_), Some(first)) if !has_route(*first) => v4,
        _ => all,
    }
}

/// Asks the kernel; connecting a UDP socket sends nothing.
fn has_route(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((any, 0))
        .and_then(|socket| socket.connect((address, 9)))
        .is_ok()
}

/// Endpoints of records of one priority with their targets' addresses.
pub(super) fn of_services(found: &[(&SRV, Vec<IpAddr>)]) -> Vec<EndpointSpec> {
    let groups: Vec<(u32, Vec<EndpointSpec>)> = found
        .iter()
        .map(|(record, addresses)| {
            let endpoints = at_addresses(addresses, record.port, 1);
            (record.weight.into(), endpoints)
        })
        .filter(|(_, endpoints)| !endpoints.is_empty())
        .collect();
    let counts: Vec<(u32, u32)> = groups
        .iter()
        .map(|(weight, endpoints)| (*weight, endpoints.len() as u32))
        .collect();
    let mut all = Vec::new();
    for ((_, endpoints), weight) in groups.into_iter().zip(weights(&counts)) {
        all.extend(
            endpoints
                .into_iter()
                .map(|it| EndpointSpec { weight, ..it }),
        );
    }
    all
}

/// Weight of each endpoint of each target, from the target's weight and the number of its
/// endpoints, who share it. Plain weights stay what they are.
fn weights(targets: &[(u32, u32)]) -> Vec<u32> {
    if targets.iter().all(|(weight, _)| *weight == 0) {
        return vec![1; targets.len()];
    }
    if targets
        .iter()
        .all(|(weight, count)| *weight > 0 && *count == 1)
    {
        return targets.iter().map(|(weight, _)| *weight).collect();
    }
    let shared = |(weight, count): &(u32, u32)| (weight * FINENESS / (*count).max(1)).max(1);
    targets.iter().map(shared).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_endpoints() {
        let check = |addresses: &[&str], routes: fn(IpAddr) -> bool, expected: &[&str]| {
            let addresses: Vec<IpAddr> = addresses.iter().map(|it| it.parse().unwrap()).collect();
            let found = reachable(&addresses, routes);
            let found: Vec<String> = found.iter().map(IpAddr::to_string).collect();
            assert_eq!(found, expected);
        };
        let all = |_| true;
        check(
            &["10.0.0.2", "10.0.0.1", "10.0.0.2"],
            all,
            &["10.0.0.1", "10.0.0.2"],
        );
        check(&["fd00::1", "10.0.0.1"], all, &["10.0.0.1", "fd00::1"]);
        check(&["fd00::1", "10.0.0.1"], |it| it.is_ipv4(), &["10.0.0.1"]);
        check(&["fd00::1", "10.0.0.1"], |it| it.is_ipv6(), &["fd00::1"]);
        // Nothing else is left: better tried than not.
        check(&["fd00::1"], |_| false, &["fd00::1"]);
        check(
            &["0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "ff02::1"],
            all,
            &[],
        );
        check(&["::ffff:10.0.0.1", "10.0.0.1"], all, &["10.0.0.1"]);
    }

    #[test]
    fn one_address_of_each_family_is_one_endpoint() {
        // Loopback has a route wherever the family is there at all.
        let both = ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
        let endpoints = at_addresses(&both, 80, 1);
        assert_eq!(endpoints.len(), 1);
        let expected = if has_route(both[1]) {
            "[::1]:80"
        } else {
            "127.0.0.1:80"
        };
        assert_eq!(endpoints[0].addresses[0].to_string(), expected);

        let three = [both[0], both[1], "127.0.0.2".parse().unwrap()];
        assert!(
            at_addresses(&three, 80, 1)
                .iter()
                .all(|it| it.addresses.len() == 1)
        );
    }

    #[test]
    fn weights_are_shared_and_never_zero() {
        let check = |targets: &[(u32, u32)], expected: &[u32]| {
            assert_eq!(weights(targets), expected, "{targets:?}");
        };
        check(&[], &[]);
        check(&[(10, 1), (20, 1)], &[10, 20]);
        check(&[(0, 1), (0, 3)], &[1, 1]);
        check(&[(0, 1), (10, 1)], &[1, 1_000]);
        check(&[(10, 2), (10, 1)], &[500, 1_000]);
        check(&[(65_535, 1), (0, 1)], &[6_553_500, 1]);
    }
}
