//! What the process takes: at rest, for each idle connection, for a large table.
//!
//! The figures are those of a release build, which `OUTRIGGER_BIN` names or `cargo test --release`
//! has. In a debug build the code alone is larger than what is allowed at rest, which is skipped
//! then. Data is as large in either: the other bounds hold for both.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

use std::{
    fs,
    time::{Duration, Instant},
};

use outrigger_tests::{
    client::Client,
    large, process,
    proxy::{Proxy, Setup, is_optimised},
    tools,
    upstream::Upstream,
    wait::DEADLINE,
};

const KIB: u64 = 1_024;
const MIB: u64 = 1_024 * KIB;

/// Bytes of the process that are in memory.
fn resident(proxy: &Proxy) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", proxy.process.id())).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() * KIB
}

/// What the process takes when it has given back what it no longer needs: each second it looks,
/// and gives back half. Returns as soon as that is no more than `wanted`, or after `patience`.
fn settled(proxy: &Proxy, wanted: u64, patience: Duration) -> u64 {
    let end = Instant::now() + patience;
    loop {
        let taken = resident(proxy);
        if taken <= wanted || Instant::now() > end {
            return taken;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
fn at_rest() {
    const TEST: &str = "at_rest";
    const MOST: u64 = 8 * MIB;
    if !is_optimised() {
        return tools::skip(
            TEST,
            "the build is not optimised; OUTRIGGER_BIN names another",
        );
    }
    let upstream = Upstream::fixed("ok");
    let proxy = Proxy::to(&[&upstream.address]);
    let taken = settled(&proxy, MOST, DEADLINE);
    assert!(taken <= MOST, "{} KiB", taken / KIB);
}

#[test]
fn idle_connections() {
    const TEST: &str = "idle_connections";
    const CROWD: usize = 4_000;
    // 1.2 KiB.
    const EACH: u64 = 1_229;
    // One for each on this side; and some.
    if let Err(reason) = process::raise_descriptors(CROWD + 1_000) {
        return tools::skip(TEST, &reason);
    }
    let upstream = Upstream::fixed("ok");
    let proxy = Proxy::to(&[&upstream.address]);
    let connected = || {
        let mut client = Client::connect(proxy.web());
        assert_eq!(client.get("/").text(), "ok");
        client
    };
    // What is taken once is taken now.
    let _first: Vec<_> = (0..200).map(|_| connected()).collect();
    let before = settled(&proxy, 0, Duration::from_secs(2));
    let crowd: Vec<_> = (0..CROWD).map(|_| connected()).collect();
    let most = EACH * CROWD as u64;
    let taken = settled(&proxy, before + most, DEADLINE).saturating_sub(before);
    assert!(taken <= most, "{} bytes each", taken / CROWD as u64);
    // It is theirs: the process does not just keep what it once took.
    drop(crowd);
    let left = settled(&proxy, before + most / 4, DEADLINE).saturating_sub(before);
    assert!(left <= most / 4, "{} KiB stay", left / KIB);
}

/// 10,000 routes, 1,000 clusters of ten endpoints each.
#[test]
fn a_large_table() {
    const MOST: u64 = 60 * MIB;
    let ten =
        |n: usize| (1..=10).map(move |last| format!("127.{}.{}.{last}:80", n / 250, n % 250 + 1));
    let proxy = Setup::file(&large::table(0, |n| ten(n).collect()))
        .json()
        .start();
    let taken = settled(&proxy, MOST, DEADLINE);
    assert!(taken <= MOST, "{} KiB", taken / KIB);
}
