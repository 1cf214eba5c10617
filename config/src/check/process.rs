//! Settings of the process.

use super::Checker;
use crate::model::{BindAddress, Config, is_host};

pub(super) fn check(config: &Config, checker: &mut Checker<'_>) {
    let dns = &config.mesh.dns;
    if dns.min_ttl > dns.max_ttl {
        checker.field("mesh", |checker| {
            checker.field("dns", |checker| {
                checker.problem_at("min_ttl", "longer than max_ttl", "at most max_ttl");
            });
        });
    }
    let Some(admin) = &config.admin else { return };
    checker.field("admin", |checker| {
        let is_open = match &admin.bind {
            BindAddress::Tcp(address) => !address.ip().to_canonical().is_loopback(),
            BindAddress::Unix(_) => false,
        };
        if is_open && admin.token_file.is_none() {
            checker.missing(
                "token_file",
                "a file with a token, because admin is bound to more than loopback",
            );
        }
        if admin
            .token_file
            .as_ref()
            .is_some_and(|file| file.as_str().is_empty())
        {
            checker.problem_at("token_file", "found \"\"", "the path of a file");
        }
        checker.each("allowed_hosts", &admin.allowed_hosts, |checker, host| {
            if !is_host(host.as_str()) {
                checker.problem(
                    format!("found {:?}", host.as_str()),
                    "a host without a port",
                );
            }
        });
    });
}
