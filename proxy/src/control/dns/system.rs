//! What the host says about resolving names: `/etc/resolv.conf` and `/etc/hosts`.
//!
//! Both are read for every resolution, which is rare; what a container runtime or DHCP client
//! writes there later counts from the next resolution on.

use std::{fs, net::IpAddr, path::PathBuf};

use hickory_resolver::{
    config::{ResolverConfig, ResolverOpts},
    proto::rr::Name,
    system_conf::parse_resolv_conf,
};

/// Files larger than this are not read on.
const LARGEST_FILE: u64 = 4 << 20;

/// Where the host keeps its files, and what the last `resolv.conf` said.
#[derive(Debug)]
pub(super) struct System {
    resolv_conf: PathBuf,
    hosts: PathBuf,
    /// Kept by content: parsing warns about lines that are not understood, and once is enough.
    parsed: Option<(Vec<u8>, ResolvConf)>,
}

/// Name servers, search list and options.
#[derive(Clone, Debug)]
pub(super) struct ResolvConf {
    pub(super) config: ResolverConfig,
    pub(super) options: ResolverOpts,
}

impl Default for System {
    fn default() -> Self {
        Self::at("/etc/resolv.conf".into(), "/etc/hosts".into())
    }
}

impl System {
    pub(super) fn at(resolv_conf: PathBuf, hosts: PathBuf) -> Self {
        Self {
            resolv_conf,
            hosts,
            parsed: None,
        }
    }

    /// What `resolv.conf` says now; `None` where it names no server or cannot be read.
    pub(super) fn resolv_conf(&mut self) -> Option<ResolvConf> {
        let text = read(&self.resolv_conf).unwrap_or_default();
        if let Some((seen, parsed)) = &self.parsed
            && *seen == text
        {
            return Some(parsed.clone());
        }
        let (config, options) = parse_resolv_conf(&text).ok()?;
        let parsed = ResolvConf { config, options };
        self.parsed = Some((text, parsed.clone()));
        Some(parsed)
    }

    /// What `hosts` says now.
    pub(super) fn hosts(&self) -> String {
        let text = read(&self.hosts).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// The full names that a name may stand for, in the order they are to be tried: with `ndots` or
/// more dots first as it is, else with the search list first (resolv.conf(5)).
pub(super) fn candidates(name: &str, search: &[Name], ndots: usize) -> Result<Vec<Name>, String> {
    let wrong = |error| format!("`{name}` is not a name: {error}");
    let mut parsed = Name::from_str_relaxed(name).map_err(wrong)?;
    if parsed.is_fqdn() {
        return Ok(vec![parsed]);
    }
    let dots = name.bytes().filter(|byte| *byte == b'.').count();
    let searched = search
        .iter()
        .filter_map(|suffix| parsed.clone().append_domain(suffix).ok());
    let mut names: Vec<Name> = searched.collect();
    parsed.set_fqdn(true);
    for name in &mut names {
        name.set_fqdn(true);
    }
    let place = if dots >= ndots { 0 } else { names.len() };
    names.insert(place, parsed);
    Ok(names)
}

fn read(path: &PathBuf) -> Option<Vec<u8>> {
    use std::io::Read as _;

    let mut text = Vec::new();
    let file = fs::File::open(path).ok()?;
    file.take(LARGEST_FILE).read_to_end(&mut text).ok()?;
    Some(text)
}

/// The addresses that a `hosts` text has for a name. Lines are an address and names, up to `#`
/// (hosts(5)).
pub(super) fn addresses_in(hosts: &str, name: &str) -> Vec<IpAddr> {
    let name = name.trim_end_matches('.');
    let mut found = Vec::new();
    for line in hosts.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse) else {
            continue;
        };
        if words.any(|word| word.eq_ignore_ascii_case(name)) && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_lines_are_found() {
        let hosts = "127.0.0.1\tlocalhost\n\
                     10.0.0.1 app.example App # 10.0.0.2 app\n\
                     # 10.0.0.3 app\n\
                     bad app\n\
                     10.0.0.1 app\n\
                     fd00::1 app\n\
                     fe80::1%eth0 app";
        let check = |name: &str, expected: &[&str]| {
            let expected: Vec<IpAddr> = expected.iter().map(|it| it.parse().unwrap()).collect();
            assert_eq!(addresses_in(hosts, name), expected, "{name}");
        };
        check("app", &["10.0.0.1", "fd00::1"]);
        check("APP.example.", &["10.0.0.1"]);
        check("localhost", &["127.0.0.1"]);
        check("example", &[]);
    }

    #[test]
    fn the_search_list_goes_by_ndots() {
        let search: Vec<Name> = ["ns.svc.local.", "svc.local"]
            .iter()
            .map(|it| Name::from_str_relaxed(it).unwrap())
            .collect();
        let check = |name: &str, ndots, expected: &[&str]| {
            let names = candidates(name, &search, ndots).unwrap();
            let names: Vec<String> = names.iter().map(Name::to_string).collect();
            assert_eq!(names, expected, "{name} {ndots}");
        };
        check("db", 1, &["db.ns.svc.local.", "db.svc.local.", "db."]);
        check(
            "db.ns",
            1,
            &["db.ns.", "db.ns.ns.svc.local.", "db.ns.svc.local."],
        );
        check(
            "db.ns",
            5,
            &["db.ns.ns.svc.local.", "db.ns.svc.local.", "db.ns."],
        );
        check("db.ns.", 5, &["db.ns."]);
        assert!(candidates("a..b", &search, 1).is_err());
        assert!(candidates(&"a".repeat(64), &search, 1).is_err());
    }
}
