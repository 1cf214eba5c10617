//! System calls per request, by strace, in a pass of its own: it slows what it watches, so nothing
//! else is measured meanwhile.

use std::{collections::BTreeMap, fs, io, path::Path, process::Stdio, time::Duration};

use crate::{
    child::{Running, pause},
    interrupt,
    usage::tree,
};

/// Counts the calls of a process and its children while `work` runs; `work` says how many
/// requests that were. None without strace.
pub(super) fn count(
    strace: &Path,
    pid: u32,
    dir: &Path,
    work: impl FnOnce() -> io::Result<u64>,
) -> io::Result<BTreeMap<String, f64>> {
    let report = dir.join("strace.out");
    let log = dir.join("strace.log");
    let mut command = vec![strace.to_string_lossy().into_owned()];
    let to = report.to_string_lossy().into_owned();
    command.extend(["-c", "-f", "-U", "calls,name", "-o", &to].map(str::to_owned));
    for pid in tree(pid) {
        command.extend(["-p".to_owned(), pid.to_string()]);
    }
    let mut tracer = Running::start(&command, &[], &log, Stdio::null())?;
    attached(&tracer, pid)?;
    let requests = work();
    // It writes its table when it is asked to leave; the traced go on.
    tracer.signal(rustix::process::Signal::INT)?;
    tracer.wait(Duration::from_secs(10))?;
    let text = fs::read_to_string(report)?;
    Ok(parse(&text, requests?))
}

/// Waits until the process says that it is traced.
fn attached(tracer: &Running, pid: u32) -> io::Result<()> {
    for _ in 0..500 {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("TracerPid:"));
        if line.is_some_and(|tracer| tracer.trim() != "0") {
            return Ok(());
        }
        if tracer.has_ended() {
            return Err(io::Error::other("strace may not attach"));
        }
        interrupt::check()?;
        pause(Duration::from_millis(10));
    }
    Err(io::Error::other("strace did not attach"))
}

/// Reads its table: calls and names, each by the requests.
fn parse(text: &str, requests: u64) -> BTreeMap<String, f64> {
    let rows = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let calls: u64 = words.next()?.parse().ok()?;
        let name = words.next()?;
        (name != "total").then(|| (name.to_owned(), calls as f64 / requests.max(1) as f64))
    });
    // What happens once a second is no part of a request.
    rows.filter(|(_, each)| *each >= 0.005).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read() {
        let text = "    calls syscall\n--------- ----------------\n     2000 recvfrom\n     1990 sendto\n        1 futex\n--------- ----------------\n     3991 total\n";
        let calls = parse(text, 1_000);
        assert_eq!(calls.len(), 2);
        assert!((calls["recvfrom"] - 2.0).abs() < 1e-9);
    }
}
