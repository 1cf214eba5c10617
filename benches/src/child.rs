//! Programs that `compare` starts: launched into groups of their own, given a deadline, and never
//! left behind, whichever way we end.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};

use crate::interrupt;

/// How often the end of a child is looked for.
const LOOK: Duration = Duration::from_millis(5);

/// A program that runs. Dropping it ends its whole group.
pub(crate) struct Running {
    child: Child,
    name: String,
    /// Whether it was waited for.
    ended: bool,
}

impl Running {
    /// Starts a program on these CPUs; what it says goes to `log`, unless it is wanted.
    pub(crate) fn start(
        command: &[String],
        cpus: &[usize],
        log: &Path,
        output: Stdio,
    ) -> io::Result<Self> {
        let name = command.first().cloned().unwrap_or_default();
        let file = File::create(log)?;
        let cpus: Vec<_> = cpus.iter().map(ToString::to_string).collect();
        let mut launcher = Command::new(std::env::current_exe()?);
        launcher
            .arg("launch")
            .args(["--parent", &std::process::id().to_string()]);
        if !cpus.is_empty() {
            launcher.args(["--cpus", &cpus.join(",")]);
        }
        let child = launcher
            .arg("--")
            .args(command)
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(file)
            .spawn()?;
        Ok(Self {
            child,
            name,
            ended: false,
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes all its input, and ends it.
    pub(crate) fn tell(&mut self, text: &str) -> io::Result<()> {
        let input = self.child.stdin.take();
        input.map_or(Ok(()), |mut input| input.write_all(text.as_bytes()))
    }

    pub(crate) fn output(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Whether it ended, without taking note: until `end` its number, and so its group's, is
    /// nobody else's.
    pub(crate) fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let ended = self.pid().map(|pid| waitid(WaitId::Pid(pid), options));
        !matches!(ended, Some(Ok(None)))
    }

    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(self.child.id().cast_signed()).filter(|_| !self.ended)
    }

    /// Waits for its end until the limit, and then ends it.
    pub(crate) fn wait(&mut self, limit: Duration) -> io::Result<ExitStatus> {
        let end = Instant::now() + limit;
        loop {
            if self.has_ended() {
                // What it may have left behind ends as well.
                self.end_group(Duration::ZERO);
                return self.child.wait();
            }
            interrupt::check()?;
            if Instant::now() >= end {
                self.end();
                let what = format!("{} did not end within {limit:?}", self.name);
                return Err(io::Error::new(io::ErrorKind::TimedOut, what));
            }
            pause(LOOK);
        }
    }

    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = self.pid().ok_or(io::ErrorKind::NotFound)?;
        Ok(kill_process(pid, signal)?)
    }

    /// Ends it and its whole group: asked first, since a master ends its workers in order.
    pub(crate) fn end(&mut self) {
        self.end_group(Duration::from_secs(1));
    }

    fn end_group(&mut self, grace: Duration) {
        let Some(group) = self.pid() else { return };
        if !grace.is_zero() {
            // Not yet a group of its own if it was launched this moment.
            let _ = kill_process_group(group, Signal::TERM)
                .or_else(|_| kill_process(group, Signal::TERM));
        }
        let end = Instant::now() + grace;
        while Instant::now() < end && !self.has_ended() {
            pause(LOOK);
        }
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.ended = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a deadline on a child needs a signal handler or a look now and then"
)]
pub(crate) fn pause(time: Duration) {
    thread::sleep(time);
}
