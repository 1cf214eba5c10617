//! The programs as they are run: a short comparison with a proxy made of this crate's own parts,
//! a generator that is not fooled by a server that stalls, and nothing left behind.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a panic with its place is how a test fails, and the runner shows stderr"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_outrigger-bench");

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("outrigger-bench-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A child that goes with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the back end; where its HTTP/1 and its HTTP/2 listen.
fn backend() -> (Running, String, String) {
    let mut child = Command::new(PROGRAM)
        .args(["backend", "--json", "--port", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    let addresses: serde_json::Value = serde_json::from_str(&line).unwrap();
    let of = |name: &str| addresses[name].as_str().unwrap().to_owned();
    (Running(child), of("http"), of("http2"))
}

/// Runs `load`; its report.
fn load(arguments: &[&str]) -> serde_json::Value {
    let output = Command::new(PROGRAM)
        .arg("load")
        .args(arguments)
        .args(["--json", "--warm-up", "0.1"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

fn cell(row: &serde_json::Value, key: &str) -> f64 {
    let value = &row["cells"][key]["value"]["median"];
    value
        .as_f64()
        .unwrap_or_else(|| panic!("no {key} in {row}"))
}

#[test]
fn a_comparison_without_proxies_makes_every_form_of_report() {
    let folder = Folder::new("direct");
    let output = Command::new(PROGRAM)
        .args([
            "compare",
            "--quick",
            "--only",
            "http1-keepalive,grpc-unary",
            "--peers",
            "direct",
            "--out",
        ])
        .arg(&folder.0)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    assert!(
        said.contains("http1-keepalive: HTTP/1.1") && said.contains("direct"),
        "{said}"
    );
    assert!(errors.contains("round 2"), "progress is shown: {errors}");
    let read = |name: &str| fs::read_to_string(folder.0.join(name)).unwrap();
    let report: serde_json::Value = serde_json::from_str(&read("report.json")).unwrap();
    for scene in report["scenes"].as_array().unwrap() {
        let row = &scene["rows"][0];
        assert_eq!(row["state"], "direct", "{row}");
        assert!(cell(row, "rate") > 100.0);
        assert!(cell(row, "p50") > 0.0);
    }
    let page = read("report.html");
    assert!(page.contains("<svg") && page.ends_with("</html>\n"));
    assert!(
        !page.contains("src=") && !page.contains("href=\"http"),
        "needs nothing else"
    );
    assert!(read("report.md").contains("plots/http1-keepalive-latency.svg"));
    assert!(read("plots/http1-keepalive-latency.svg").contains("polyline"));
}

/// A peer of one file, as a reader would add one: a program that is found by its variable. The
/// proxy is a script that hands connections on, so that rows of proxies are seen, too.
#[test]
fn a_peer_is_one_file_and_what_fails_has_a_row_that_says_so() {
    let folder = Folder::new("peer");
    let relay = folder.0.join("relay");
    let script = include_str!("relay.py");
    fs::write(&relay, script).unwrap();
    let made = Command::new("chmod")
        .arg("+x")
        .arg(&relay)
        .status()
        .unwrap();
    assert!(made.success());
    let python = Command::new("python3").arg("--version").output();
    if python.is_err() {
        // The machine lacks it; the suite says loudly what it did not see.
        return eprintln!("SKIPPED: needs python3");
    }
    let peer = |name: &str, variable: &str| {
        let path = folder.0.join(format!("{name}.toml"));
        let text = format!(
            "name = '{name}'\norder = 1\nvariable = '{variable}'\nversion = ['--version']\n\
             run = ['{{dir}}/relay.conf']\n[reload]\n[files]\n'relay.conf' = '{{{{ port }}}} {{{{ upstream }}}}'\n"
        );
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let peers = [peer("relay", "RELAY_BIN"), peer("broken", "BROKEN_BIN")].join(",");
    let output = Command::new(PROGRAM)
        .args([
            "compare",
            "--quick",
            "--only",
            "http1-keepalive",
            "--peers",
            &peers,
            "--out",
        ])
        .arg(folder.0.join("out"))
        .env("RELAY_BIN", &relay)
        .env("BROKEN_BIN", "/bin/true")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = fs::read_to_string(folder.0.join("out/report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let rows = report["scenes"][0]["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["name"] == "relay").unwrap();
    assert_eq!(row["state"], "measured", "{said}");
    assert!(cell(row, "cpu") > 1.0 && cell(row, "peak") > 1.0, "{said}");
    // What listens nowhere and ends at once.
    let missing = report["peers"].as_array().unwrap();
    let missing = missing
        .iter()
        .find(|peer| peer["name"] == "broken")
        .unwrap();
    let told = missing["missing"].as_str();
    let row = rows.iter().find(|row| row["name"] == "broken");
    assert!(
        told.is_some() || row.is_some_and(|row| row["state"]["failed"].is_string()),
        "{said}"
    );
    assert!(
        folder
            .0
            .join("out/configurations/http1-keepalive/relay/relay.conf")
            .is_file()
    );
}

#[test]
fn every_protocol_is_spoken_without_an_error() {
    let (_backend, http, http2) = backend();
    let url = |address: &str, path: &str| format!("http://{address}{path}");
    let quick: &[&str] = &["--connections", "4", "--streams", "4"];
    for (target, more) in [
        (url(&http, "/bytes/1024"), &["--expect", "1024"][..]),
        (url(&http, "/bytes/300000"), &["--expect", "300000"]),
        (url(&http, "/bytes/10"), &["--close"]),
        (url(&http, "/sink"), &["--body", "=300000", "--expect", "6"]),
        (
            url(&http, "/echo"),
            &["--body", "=9000", "--chunked", "1000", "--expect", "9000"],
        ),
        (url(&http, "/bytes/10"), &["--rate", "500"]),
        (url(&http2, "/bytes/1024"), &["--http2", "--expect", "1024"]),
        (
            url(&http2, "/sink"),
            &["--http2", "--body", "=300000", "--expect", "6"],
        ),
        (
            url(&http2, "/a.B/C"),
            &["--grpc", "--body", "hello", "--expect", "10"],
        ),
        (
            url(&http2, "/a.B/C"),
            &["--grpc", "--body", "hello", "--rate", "500"],
        ),
    ] {
        // At a fixed rate what the machine held up before the moment that counts is caught up with in
        // it: that moment is long beside what may have been held up.
        let paced = more.contains(&"--rate");
        let length = ["--duration", if paced { "2" } else { "0.2" }];
        let report = load(&[&[target.as_str()], quick, &length, more].concat());
        let row = &report["scenes"][0]["rows"][0];
        assert_eq!(row["state"], "measured", "{target} {more:?}: {row}");
        assert!(cell(row, "rate") > 10.0, "{target} {more:?}");
        if paced {
            let rate = cell(row, "rate");
            assert!((400.0..600.0).contains(&rate), "{rate} instead of 500");
        }
    }
}

#[test]
fn errors_are_counted_and_end_with_a_failure() {
    let (_backend, http, _) = backend();
    let output = Command::new(PROGRAM)
        .args([
            "load",
            &format!("http://{http}/nothing"),
            "-d",
            "0.1",
            "-c",
            "2",
            "-q",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("bad status"), "{said}");
}

/// A server that answers at once, but for one stall of 300 ms. In a closed loop hardly a request
/// meets it. In an open loop all those that should have begun meanwhile do, and their latency
/// counts from when they should have begun.
#[test]
fn a_stall_is_met_by_every_request_that_was_due() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let _ = stalling(socket);
    });
    let report = load(&[&url, "-c", "1", "--rate", "500", "--duration", "1"]);
    let row = &report["scenes"][0]["rows"][0];
    assert_eq!(row["state"], "measured", "{row}");
    // 30 % of the second were within the stall, with all waits from 0 to 300 ms.
    let (p50, p90, p99) = (cell(row, "p50"), cell(row, "p90"), cell(row, "p99"));
    assert!(p50 < 100_000.0, "{p50}");
    assert!(p90 > 100_000.0, "{p90}: the stall was left out");
    assert!(p99 > 250_000.0, "{p99}");
}

/// Answers requests; the first that comes 400 ms after the first of all has to wait.
fn stalling(mut socket: TcpStream) -> std::io::Result<()> {
    let mut begun = None;
    let mut stalled = false;
    let mut buffer = [0; 4096];
    loop {
        if socket.read(&mut buffer)? == 0 {
            return Ok(());
        }
        let begun = *begun.get_or_insert_with(Instant::now);
        if !stalled && begun.elapsed() > Duration::from_millis(400) {
            stalled = true;
            // The stall is what is tested.
            let (_never, wait) = std::sync::mpsc::channel::<()>();
            let _ = wait.recv_timeout(Duration::from_millis(300));
        }
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
    }
}

#[test]
fn an_interrupted_comparison_leaves_no_child() {
    for signal in ["INT", "KILL"] {
        let folder = Folder::new(&format!("interrupt-{signal}"));
        let mut compare = Command::new(PROGRAM)
            .args([
                "compare",
                "--only",
                "http1-keepalive",
                "--rounds",
                "100",
                "--peers",
                "direct",
                "--out",
            ])
            .arg(&folder.0)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The first line of progress: back end and load are about to run.
        let mut line = String::new();
        let mut errors = BufReader::new(compare.stderr.take().unwrap());
        errors.read_line(&mut line).unwrap();
        assert!(line.contains("warm-up"), "{line}");
        let children = children(compare.id());
        assert!(!children.is_empty(), "the back end runs");
        let sent = Command::new("sh")
            .args([
                "-c",
                "kill -s \"$1\" \"$2\"",
                "sh",
                signal,
                &compare.id().to_string(),
            ])
            .status()
            .unwrap();
        assert!(sent.success());
        let mut rest = String::new();
        let _ = errors.read_to_string(&mut rest);
        let status = compare.wait().unwrap();
        if signal == "INT" {
            assert_eq!(status.code(), Some(130), "{rest}");
        }
        let end = Instant::now() + Duration::from_secs(10);
        while children
            .iter()
            .any(|(pid, began)| start_of(*pid) == Some(*began))
        {
            assert!(
                Instant::now() < end,
                "{signal}: children are left: {children:?}"
            );
            thread::yield_now();
        }
    }
}

/// Children with when they began, which tells them from others that get their numbers later.
fn children(pid: u32) -> Vec<(u32, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let pids = text.split_whitespace().filter_map(|pid| pid.parse().ok());
    pids.filter_map(|pid| Some((pid, start_of(pid)?))).collect()
}

/// When a process began, in ticks; none if it is gone, or only waits to be waited for.
fn start_of(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}
