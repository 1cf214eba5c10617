//! gRPC between grpcio on both sides: every kind of call, metadata, deadlines, cancellation, large
//! messages, GOAWAY, and the proxy's own failures as its client understands them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use outrigger_tests::{
    files::TempDir,
    process::{Process, output},
    proxy::{Proxy, list},
    tools::need_python,
    wait,
    wire::Address,
};
use serde_json::{Value, json};

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http2/grpc_peer.py")
}

struct Server {
    process: Process,
    _dir: TempDir,
}

impl Server {
    fn start(python: &Path, name: &str) -> Self {
        let dir = TempDir::new();
        let mut command = Command::new(python);
        command.arg(script()).args(["server", name]);
        let process = Process::start(&mut command, name, dir.path());
        Self { process, _dir: dir }
    }

    fn address(&self) -> Address {
        let port = wait::until("the server's port", || {
            self.process.stdout().lines().next().map(str::to_owned)
        });
        Address::parse(&format!("127.0.0.1:{port}"))
    }

    /// The numbered line it said, the first being 0, behind its port.
    fn said(&self, number: usize) -> String {
        wait::until("the server to say what happened", || {
            let said = self.process.stdout();
            let whole = said.split_inclusive('\n').filter(|l| l.ends_with('\n'));
            whole.skip(1).nth(number).map(|l| l.trim().to_owned())
        })
    }
}

/// Plays scenarios against a proxy, and returns what each saw.
fn play(python: &Path, proxy: &Proxy, scenarios: &[&str]) -> Vec<Value> {
    let mut command = Command::new(python);
    command.arg(script()).arg("client");
    command.arg(proxy.web().port().to_string()).args(scenarios);
    let said = output(&mut command).success().stdout;
    let seen: Vec<_> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
        .collect();
    assert_eq!(seen.len(), scenarios.len(), "{said}");
    seen
}

fn proxy(endpoints: &[&Address], timeout: &str) -> Proxy {
    Proxy::start(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0' }}]
routes: [{{ name: all, rules: [{{ timeouts: {{ request: {timeout} }}, backends: [{{ cluster: back }}] }}] }}]
clusters: [{{ name: back, protocol: http2, balance: round_robin, endpoints: {} }}]",
        list(endpoints)
    ))
}

/// The calls of a route that ended with a status.
fn calls(proxy: &Proxy, status: &str) -> f64 {
    let labels = [("route", "all"), ("grpc_status", status)];
    proxy.metrics().sum("outrigger_grpc_calls_total", &labels)
}

#[test]
fn every_kind_of_call_passes() {
    const TEST: &str = "every_kind_of_call_passes";
    let Some(python) = need_python(TEST, "grpc") else {
        return;
    };
    let server = Server::start(&python, "one");
    let proxy = proxy(&[&server.address()], "0s");
    let scenarios = ["kinds", "metadata", "large", "failure", "unknown_method"];
    assert_eq!(
        play(&python, &proxy, &scenarios),
        [
            json!({ "unary": "hello", "many": true, "sum": 499_500, "chat": 1_000 }),
            json!({ "text": "some text", "raw": true, "code": "OK" }),
            json!({ "same": true }),
            json!({ "code": "NOT_FOUND", "details": "100% größer\n" }),
            json!({ "code": "UNIMPLEMENTED", "details": "Method not found!" }),
        ]
    );
    let log = proxy.log_of(8);
    let of = |line: &Value| (line["status"].as_u64(), line["grpc_status"].as_u64());
    let expected = [0, 0, 0, 0, 0, 0, 5, 12].map(|status| (Some(200), Some(status)));
    assert_eq!(log.iter().map(of).collect::<Vec<_>>(), expected);
    assert!((calls(&proxy, "0") - 6.0).abs() < 0.5);
    assert!((calls(&proxy, "5") - 1.0).abs() < 0.5);
}

#[test]
fn deadlines_and_cancellation_reach_the_server() {
    const TEST: &str = "deadlines_and_cancellation_reach_the_server";
    let Some(python) = need_python(TEST, "grpc") else {
        return;
    };
    let server = Server::start(&python, "one");
    let proxy_without = proxy(&[&server.address()], "0s");
    let seen = play(&python, &proxy_without, &["deadline", "cancel"]);
    assert_eq!(seen[0], json!({ "code": "DEADLINE_EXCEEDED" }));
    assert_eq!(seen[1], json!({ "code": "CANCELLED" }));
    let left = |said: String| -> f64 {
        let left = said.strip_prefix("hang ").and_then(|n| n.parse().ok());
        left.unwrap_or_else(|| panic!("{said}"))
    };
    // The end of the first call may be told after the second began.
    let said = [0, 1, 2, 3].map(|line| server.said(line));
    let (ends, begins): (Vec<_>, Vec<_>) = said.into_iter().partition(|said| said == "ended");
    assert_eq!(ends.len(), 2, "{begins:?}");
    let mut begins = begins.into_iter().map(left);
    // The server was told of less than the half second the client gave.
    let first = begins.next().unwrap();
    assert!(first > 0.0 && first < 0.5, "{first}");
    assert!(begins.next().unwrap() < 0.0, "no deadline was made up");
    let log = proxy_without.log_of(2);
    // Who sees to the deadline first is the client or the proxy.
    assert!(
        matches!(log[0]["grpc_status"].as_u64(), Some(1 | 4)),
        "{log:?}"
    );
    assert_eq!(log[1]["grpc_status"], 1);
    assert_eq!(log[1]["cause"], "client_gone");

    // The route's limit ends a stream that has begun. The server was told of it, and may say so first.
    let limited = proxy(&[&server.address()], "400ms");
    let seen = play(&python, &limited, &["outlasted"]);
    assert_eq!(seen[0]["code"], "DEADLINE_EXCEEDED", "{seen:?}");
    let told = left(server.said(4));
    assert!(told > 0.0 && told < 0.4, "{told}");
    assert_eq!(server.said(5), "ended");
    let log = limited.log_of(1);
    assert_eq!(log[0]["grpc_status"], 4);
}

#[test]
fn failures_of_ours_are_understood() {
    const TEST: &str = "failures_of_ours_are_understood";
    let Some(python) = need_python(TEST, "grpc") else {
        return;
    };
    let proxy = proxy(&[], "0s");
    let seen = play(&python, &proxy, &["failure"]);
    let details = "503 Service Unavailable";
    assert_eq!(seen, [json!({ "code": "UNAVAILABLE", "details": details })]);
    let line = &proxy.log_of(1)[0];
    assert_eq!(line["cause"], "destination_unavailable");
    assert_eq!(
        (line["status"].as_u64(), line["grpc_status"].as_u64()),
        (Some(503), Some(14))
    );
    assert!((calls(&proxy, "14") - 1.0).abs() < 0.5);
}

#[test]
fn a_server_that_stops_finishes_its_streams() {
    const TEST: &str = "a_server_that_stops_finishes_its_streams";
    let Some(python) = need_python(TEST, "grpc") else {
        return;
    };
    let servers = ["one", "two"].map(|name| Server::start(&python, name));
    let [one, two] = servers.each_ref().map(Server::address);
    let proxy = proxy(&[&one, &two], "0s");
    let seen = play(&python, &proxy, &["goaway"]);
    assert_eq!(
        seen,
        [json!({ "others": true, "last": true, "code": "OK" })]
    );
    assert!((calls(&proxy, "0") - 51.0).abs() < 0.5);
    let failed = proxy
        .log_of(51)
        .iter()
        .any(|line| line["cause"].is_string());
    assert!(!failed);
}
