//! What a request costs in system calls: two receives and two sends on HTTP/1, and next to nothing
//! else; on HTTP/2, where those of one turn leave together, fewer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

use std::{collections::BTreeMap, fs, process::Command};

use outrigger_tests::{
    client::Client,
    process::{Process, Signal, output},
    proxy::Proxy,
    tools,
    upstream::Upstream,
    wait,
};

const RECEIVES: [&str; 5] = ["recvfrom", "recvmsg", "read", "readv", "recvmmsg"];
const SENDS: [&str; 5] = ["sendto", "sendmsg", "write", "writev", "sendmmsg"];

/// Calls by name, as `strace -c` counts them.
fn summary(text: &str) -> BTreeMap<String, u64> {
    text.lines()
        .filter_map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let [calls, name] = words.as_slice() else {
                return None;
            };
            Some(((*name).to_owned(), calls.parse().ok()?))
        })
        .filter(|(name, _)| name != "total")
        .collect()
}

fn attach(proxy: &Proxy, strace: &std::path::Path) -> Option<(Process, std::path::PathBuf)> {
    // Not beside the configuration: the proxy watches that folder, and would count itself looking.
    let dir = proxy.dir.path().join("strace");
    fs::create_dir(&dir).unwrap();
    let counts = dir.join("counts.txt");
    let mut command = Command::new(strace);
    command.args(["-f", "-c", "-U", "calls,name", "-o"]);
    command
        .arg(&counts)
        .args(["-p", &proxy.process.id().to_string()]);
    let mut process = Process::start(&mut command, "strace", &dir);
    // It says on stderr when it has attached, or why it could not.
    wait::until("strace to attach", || {
        (process.stderr().contains("attached") || !process.is_running()).then_some(())
    });
    process.is_running().then_some((process, counts))
}

#[test]
fn two_receives_and_two_sends_per_request() {
    const TEST: &str = "two_receives_and_two_sends_per_request";
    const REQUESTS: u64 = 2_000;
    let Some(strace) = tools::need(TEST, "strace") else {
        return;
    };
    let upstream = Upstream::fixed("ok");
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    for _ in 0..10 {
        client.get("/");
    }
    let Some((mut strace, counts)) = attach(&proxy, &strace) else {
        return tools::skip(TEST, "strace may not attach here");
    };
    for _ in 0..REQUESTS {
        client.get("/");
    }
    strace.signal(Signal::Int);
    strace.exit();
    let text = fs::read_to_string(&counts).unwrap();
    let calls = summary(&text);
    let of = |names: &[&str]| {
        names.iter().filter_map(|n| calls.get(*n)).sum::<u64>() as f64 / REQUESTS as f64
    };
    let waits = of(&["epoll_wait", "epoll_pwait", "epoll_pwait2"]);
    let all = calls.values().sum::<u64>() as f64 / REQUESTS as f64;
    // Waking the thread that writes the log, now and then; not once per request.
    let wakes = of(&["futex"]);
    let rest = all - of(&RECEIVES) - of(&SENDS) - waits - wakes;
    // Log lines and clocks may add a little, spread over many requests.
    assert!(
        (1.98..2.1).contains(&of(&RECEIVES)),
        "{} receives\n{text}",
        of(&RECEIVES)
    );
    assert!(
        (1.98..2.1).contains(&of(&SENDS)),
        "{} sends\n{text}",
        of(&SENDS)
    );
    assert!(waits < 2.2, "{waits} waits\n{text}");
    assert!(wakes < 0.9, "{wakes} wakes\n{text}");
    assert!(rest < 0.1, "{rest} others\n{text}");
}

/// Both hops are HTTP/2: with a send for each message it would be two a request, and with h2's own
/// flushes more.
#[test]
fn requests_over_http2_share_their_sends() {
    const TEST: &str = "requests_over_http2_share_their_sends";
    const REQUESTS: u64 = 8_000;
    let Some(strace) = tools::need(TEST, "strace") else {
        return;
    };
    let Some(h2load) = tools::need(TEST, "h2load") else {
        return;
    };
    let answers = Proxy::start(
        "listeners: [{ name: web, bind: '127.0.0.1:0' }]
routes: [{ name: all, rules: [{ filters: [{ direct_response: { status: 200, body: ok } }] }] }]
clusters: []",
    );
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0' }}]
routes: [{{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, protocol: http2, endpoints: ['{}'] }}]",
        answers.web()
    ));
    let url = format!("http://{}/", proxy.web());
    let load = |requests: u64| {
        let mut command = Command::new(&h2load);
        command.args(["-n", &requests.to_string(), "-c", "10", "-m", "32", &url]);
        let said = output(&mut command).success().stdout;
        assert!(
            said.contains(&format!("{requests} succeeded, 0 failed")),
            "{said}"
        );
    };
    load(320);
    let Some((mut strace, counts)) = attach(&proxy, &strace) else {
        return tools::skip(TEST, "strace may not attach here");
    };
    load(REQUESTS);
    strace.signal(Signal::Int);
    strace.exit();
    let text = fs::read_to_string(&counts).unwrap();
    let calls = summary(&text);
    let sends = SENDS.iter().filter_map(|n| calls.get(*n)).sum::<u64>();
    let each = sends as f64 / REQUESTS as f64;
    // What counts the sends counts something.
    assert!(sends > REQUESTS / 100, "{sends} sends\n{text}");
    assert!(each <= 1.1, "{each} sends\n{text}");
}

#[test]
fn an_idle_proxy_sleeps() {
    const TEST: &str = "an_idle_proxy_sleeps";
    let Some(strace) = tools::need(TEST, "strace") else {
        return;
    };
    let upstream = Upstream::fixed("ok");
    let proxy = Proxy::to(&[&upstream.address]);
    let mut client = Client::connect(proxy.web());
    client.get("/");
    let Some((mut strace, counts)) = attach(&proxy, &strace) else {
        return tools::skip(TEST, "strace may not attach here");
    };
    assert!(client.is_silent_for(std::time::Duration::from_secs(2)));
    strace.signal(Signal::Int);
    strace.exit();
    let text = fs::read_to_string(&counts).unwrap();
    let all: u64 = summary(&text).values().sum();
    assert!(all < 200, "{all} calls in two seconds of nothing\n{text}");
}
