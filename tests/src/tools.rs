//! Programs of others that some tests use where they are installed.

use std::{io::Write, net::TcpListener, path::PathBuf, process::Command};

use crate::{
    client::Client,
    files::TempDir,
    process::{Process, output},
    wait,
    wire::Address,
};

/// Finds a program in `PATH` or the usual places of system programs.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// Finds a program, or says loudly that a test is skipped for want of it.
pub fn need(test: &str, name: &str) -> Option<PathBuf> {
    let found = find(name);
    if found.is_none() {
        skip(test, &format!("{name} is not installed"));
    }
    found
}

/// Where `tests/run tools` puts what comes as Python packages, beside the other artefacts.
fn python_packages() -> PathBuf {
    let this = std::env::current_exe().expect("the path of this test");
    let target = this.ancestors().nth(3).expect("a folder of artefacts");
    target.join("python")
}

/// Envoy, of which a Python package brings the binary where none is installed. Says loudly that a
/// test is skipped for want of it.
pub fn need_envoy(test: &str) -> Option<PathBuf> {
    let packaged = || {
        let versions = std::fs::read_dir(python_packages().join("lib")).ok()?;
        let inside = "site-packages/envoy/_bin/envoy";
        let mut places = versions
            .flatten()
            .map(|version| version.path().join(inside));
        places.find(|file| file.is_file())
    };
    let found = find("envoy").or_else(packaged);
    if found.is_none() {
        skip(test, "Envoy is not installed; `tests/run tools` does");
    }
    found
}

/// The interpreter that has a Python package: where `tests/run tools` puts it. Says loudly that a
/// test is skipped for want of it.
pub fn need_python(test: &str, package: &str) -> Option<PathBuf> {
    let python = python_packages().join("bin/python3");
    let works = python.is_file() && {
        let mut command = Command::new(&python);
        let said = output(command.args(["-c", &format!("import {package}")]));
        said.code == Some(0)
    };
    if !works {
        let reason = format!("{package} of Python is not installed; `tests/run tools` does");
        skip(test, &reason);
    }
    works.then_some(python)
}

/// A port that was free a moment ago, for servers that cannot tell which one they got.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Starts a server until it listens; tries another port when somebody took the first.
#[track_caller]
pub fn serve(name: &str, dir: &TempDir, command: impl Fn(u16) -> Command) -> (Process, Address) {
    for _ in 0..5 {
        let port = free_port();
        let mut process = Process::start(&mut command(port), name, dir.path());
        let address = Address::parse(&format!("127.0.0.1:{port}"));
        let up = wait::until(name, || {
            if !process.is_running() {
                return Some(false);
            }
            Client::try_connect(&address).ok().map(|_| true)
        });
        if up {
            return (process, address);
        }
    }
    panic!("{name} does not start");
}

/// Says that a test is skipped. Written past the capture of the test runner, so that it shows
/// also when everything passes.
pub fn skip(test: &str, reason: &str) {
    let _ = writeln!(std::io::stderr().lock(), "SKIPPED {test}: {reason}");
}
