//! Child processes that never outlive their test.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use crate::wait;

/// A signal by its POSIX name.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// Asks to leave.
    Term,
    /// Interrupts.
    Int,
    /// Reloads.
    Hup,
    /// Ends at once.
    Kill,
    /// Stops the process until `Cont`.
    Stop,
    /// Goes on.
    Cont,
}

impl Signal {
    const fn name(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Int => "INT",
            Self::Hup => "HUP",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Cont => "CONT",
        }
    }
}

/// A running program whose output goes to files. Killed on drop, by its own id.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts `command` with its output in `dir`.
    #[track_caller]
    pub fn start(command: &mut Command, name: &str, dir: &Path) -> Self {
        let stdout = dir.join(format!("{name}.stdout"));
        let stderr = dir.join(format!("{name}.stderr"));
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {name}: {e}"));
        Self {
            child,
            name: name.to_owned(),
            stdout,
            stderr,
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        // The shell's own `kill`: a safe call that needs no further tool.
        let status = Command::new("sh")
            .args(["-c", "kill -s \"$1\" \"$2\"", "sh", signal.name()])
            .arg(self.id().to_string())
            .status()
            .expect("a shell");
        assert!(status.success(), "signalling {}", self.name);
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The id of its thread of this name.
    pub fn thread(&self, name: &str) -> Option<u32> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.id())).unwrap();
        let mut threads = threads.map(|thread| thread.unwrap().path());
        let found = threads.find(|thread| read(&thread.join("comm")).trim() == name)?;
        found.file_name()?.to_str()?.parse().ok()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn exit(&mut self) -> ExitStatus {
        self.exit_within(wait::DEADLINE)
    }

    /// Waits for its end.
    #[track_caller]
    pub fn exit_within(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("{} to end", self.name);
        wait::until_within(limit, &what, || self.child.try_wait().unwrap())
    }

    /// What it wrote to standard output so far.
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// What it wrote to standard error so far.
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let status = self.child.wait();
        if std::thread::panicking() {
            let tail = |text: String| {
                let skip = text.chars().count().saturating_sub(6_000);
                text.chars().skip(skip).collect::<String>()
            };
            eprintln!(
                "--- {} ended with {status:?}; stderr:\n{}",
                self.name,
                tail(self.stderr())
            );
            eprintln!("--- stdout:\n{}", tail(self.stdout()));
        }
    }
}

/// Runs a program to its end and returns what it said.
#[track_caller]
pub fn output(command: &mut Command) -> Output {
    let shown = format!("{command:?}");
    let dir = crate::files::TempDir::new();
    let mut process = Process::start(command, "command", dir.path());
    let status = process.exit_within(Duration::from_mins(1));
    Output {
        shown,
        code: status.code(),
        stdout: process.stdout(),
        stderr: process.stderr(),
    }
}

/// Lets this process have so many open files.
///
/// # Errors
/// Why it may not.
pub fn raise_descriptors(n: usize) -> Result<(), String> {
    if allowed_descriptors() >= n {
        return Ok(());
    }
    if crate::tools::find("prlimit").is_none() {
        return Err("prlimit is not installed".to_owned());
    }
    let mut command = Command::new("prlimit");
    command.args(["--pid", &std::process::id().to_string()]);
    // The soft limit alone; the hard one stays.
    command.arg(format!("--nofile={n}:"));
    let said = output(&mut command);
    match said.code {
        Some(0) => Ok(()),
        _ => Err(format!("{n} open files are not allowed: {}", said.stderr)),
    }
}

fn allowed_descriptors() -> usize {
    let limits = read(Path::new("/proc/self/limits"));
    let line = limits
        .lines()
        .find_map(|l| l.strip_prefix("Max open files"));
    let soft = line.and_then(|l| l.split_whitespace().next());
    soft.and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// What a program said.
#[derive(Debug)]
pub struct Output {
    shown: String,
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// Fails unless the program succeeded.
    #[track_caller]
    #[must_use = "it holds what the program said"]
    pub fn success(self) -> Self {
        assert_eq!(
            self.code,
            Some(0),
            "{}\n{}\n{}",
            self.shown,
            self.stdout,
            self.stderr
        );
        self
    }
}
