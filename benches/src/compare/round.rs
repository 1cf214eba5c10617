//! One measurement: a generator of its own process carries out a plan, under a deadline.

use std::{
    io::{self, Read},
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use crate::{
    child::{Running, pause},
    interrupt,
    load::{Outcome, Plan},
};

/// Carries out a plan; `meanwhile` is called again and again until it is done.
pub(super) fn measure(
    plan: &Plan,
    cpus: &[usize],
    dir: &Path,
    mut meanwhile: impl FnMut() -> io::Result<()>,
) -> io::Result<Outcome> {
    let program = std::env::current_exe()?.to_string_lossy().into_owned();
    let log = dir.join("load.log");
    let command = [program, "measure".to_owned()];
    let mut load = Running::start(&command, cpus, &log, Stdio::piped())?;
    let mut output = load.output().ok_or(io::ErrorKind::BrokenPipe)?;
    // The outcome may be longer than a pipe holds.
    let reader = thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).map(|_| text)
    });
    load.tell(&serde_json::to_string(plan)?)?;
    let end = Instant::now() + plan.limit();
    while !load.has_ended() {
        interrupt::check()?;
        if Instant::now() > end {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the load did not end",
            ));
        }
        meanwhile()?;
        pause(Duration::from_millis(5));
    }
    let status = load.wait(Duration::ZERO)?;
    let text = reader
        .join()
        .map_err(|_| io::Error::other("the reader panicked"))??;
    if !status.success() {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        return Err(io::Error::other(format!(
            "the load failed: {}",
            said.trim()
        )));
    }
    Ok(serde_json::from_str(&text)?)
}
