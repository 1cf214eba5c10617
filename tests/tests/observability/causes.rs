//! One injected fault, one cause: the same word in the log, the metric and `Proxy-Status`, and no
//! two faults share it.

use std::{collections::BTreeMap, collections::HashSet, time::Duration};

use outrigger_tests::{http::Message, proxy::Proxy, wait};

use super::faults::{Bench, FAULTS, Fault};

/// Totals per cause.
fn counted(proxy: &Proxy) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for series in proxy.metrics().matching("outrigger_failures_total", &[]) {
        *counts.entry(series.labels["cause"].clone()).or_default() += series.value as u64;
    }
    counts
}

/// Whether `what` becomes true soon.
fn soon(mut what: impl FnMut() -> bool) -> bool {
    let asked = std::panic::AssertUnwindSafe(|| {
        wait::until_within(Duration::from_secs(3), "it", || what().then_some(()));
    });
    std::panic::catch_unwind(asked).is_ok()
}

fn check(bench: &Bench, fault: &Fault) -> Vec<String> {
    let mut problems = Vec::new();
    let before = counted(&bench.proxy);
    let logged = bench.proxy.log().len();
    let answer = (fault.inject)(bench);
    let status = answer.as_ref().map_or(0, Message::status);
    if status != fault.status {
        problems.push(format!("status {status} instead of {}", fault.status));
    }
    if let Some(answer) = &answer {
        let told = answer.field("proxy-status").unwrap_or_default();
        if !told.ends_with(&format!("error={}", fault.cause)) {
            problems.push(format!("Proxy-Status {told:?}"));
        }
    }
    let in_log = || {
        bench
            .proxy
            .log()
            .iter()
            .skip(logged)
            .any(|l| l["cause"] == fault.cause)
    };
    if !soon(in_log) {
        let lines: Vec<_> = bench
            .proxy
            .log()
            .iter()
            .skip(logged)
            .map(|l| l["cause"].clone())
            .collect();
        problems.push(format!("the log has {lines:?}"));
    }
    let old = before.get(fault.cause).copied().unwrap_or_default();
    let once_more = || counted(&bench.proxy).get(fault.cause) == Some(&(old + 1));
    if !soon(once_more) {
        problems.push(format!(
            "counted {:?} instead of {}",
            counted(&bench.proxy).get(fault.cause),
            old + 1
        ));
    }
    problems
}

#[test]
fn every_fault_has_its_own_word_everywhere() {
    let bench = Bench::new();
    let failures: Vec<_> = FAULTS
        .iter()
        .map(|fault| (fault, check(&bench, fault)))
        .filter(|(_, problems)| !problems.is_empty())
        .map(|(fault, problems)| {
            format!("{} ({}): {}", fault.name, fault.cause, problems.join("; "))
        })
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        FAULTS.len(),
        failures.join("\n")
    );
    let words: HashSet<_> = FAULTS.iter().map(|f| f.cause).collect();
    assert!(words.len() == FAULTS.len() && words.len() >= 20);
}
