//! The proxy's own log where standard error is a pipe that nobody reads.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::Command,
};

use outrigger_tests::{
    client::Client,
    files::TempDir,
    process::Signal,
    proxy::{Proxy, Setup, simple},
    upstream::Upstream,
    wait,
};

/// `O_NONBLOCK` on Linux, of this end alone: the proxy opens the pipe for itself.
const NONBLOCK: i32 = 0o4_000;

/// A named pipe, filled to its last byte.
fn full_pipe(path: &Path) -> File {
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
    let mut pipe = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(NONBLOCK)
        .open(path)
        .unwrap();
    for filler in [&[b'.'; 4_096][..], b"."] {
        while pipe.write(filler).is_ok() {}
    }
    pipe
}

/// What is in the pipe now.
fn drain(pipe: &mut File) -> String {
    let (mut text, mut buffer) = (Vec::new(), [0; 4_096]);
    loop {
        match pipe.read(&mut buffer) {
            Ok(n) => text.extend_from_slice(&buffer[..n]),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return String::from_utf8(text).unwrap();
            }
        }
    }
}

fn proxy(upstream: &Upstream, stderr: &Path) -> Proxy {
    let script = format!("exec \"$0\" \"$@\" 2>'{}'", stderr.display());
    Setup::new(&simple(&[&upstream.address]))
        .mesh("drain: { grace: 10ms, deadline: 5s }")
        .under(&["sh", "-c", &script])
        .start()
}

#[test]
fn nothing_waits_for_the_log_and_nothing_of_it_is_lost() {
    let dir = TempDir::new();
    let mut pipe = full_pipe(&dir.file("stderr"));
    let upstream = Upstream::fixed("ok");
    let mut proxy = proxy(&upstream, &dir.file("stderr"));
    assert_eq!(Client::connect(proxy.web()).get("/").text(), "ok");
    // On the main thread too: it says what is wrong, and goes on.
    proxy.rewrite("lisners: []");
    wait::until("the refusal", || {
        let labels = [("result", "rejected")];
        let n = proxy
            .metrics()
            .sum("outrigger_config_reloads_total", &labels);
        (n >= 1.0).then_some(())
    });
    assert_eq!(Client::connect(proxy.web()).get("/").text(), "ok");

    let mut log = String::new();
    wait::until("the log so far", || {
        log.push_str(&drain(&mut pipe));
        log.contains("lisners").then_some(())
    });
    let lost = proxy.metrics().sum("outrigger_log_dropped_total", &[]);
    assert!(lost.abs() < 0.5, "{lost}");
    proxy.signal(Signal::Term);
    assert_eq!(proxy.process.exit().code(), Some(0));
    let rest = drain(&mut pipe);
    assert!(rest.contains("ended exit=Clean"), "the last line: {rest}");
}

#[test]
fn the_end_does_not_wait_for_the_log() {
    let dir = TempDir::new();
    let _pipe = full_pipe(&dir.file("stderr"));
    let upstream = Upstream::fixed("ok");
    let mut proxy = proxy(&upstream, &dir.file("stderr"));
    assert_eq!(Client::connect(proxy.web()).get("/").text(), "ok");
    proxy.signal(Signal::Term);
    assert_eq!(proxy.process.exit().code(), Some(0));
}
