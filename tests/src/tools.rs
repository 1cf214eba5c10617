//! Programs of others that some tests use where they are installed.

use std::{io::Write, path::PathBuf, process::Command};

use crate::process::output;

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

/// The interpreter that has a Python package: where `tests/run tools` puts it, beside the other
/// artefacts. Says loudly that a test is skipped for want of it.
pub fn need_python(test: &str, package: &str) -> Option<PathBuf> {
    let this = std::env::current_exe().expect("the path of this test");
    let target = this.ancestors().nth(3).expect("a folder of artefacts");
    let python = target.join("python/bin/python3");
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

/// Says that a test is skipped. Written past the capture of the test runner, so that it shows
/// also when everything passes.
pub fn skip(test: &str, reason: &str) {
    let _ = writeln!(std::io::stderr().lock(), "SKIPPED {test}: {reason}");
}
