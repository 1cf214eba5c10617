//! `outrigger-bench launch`: prepares this process and becomes another program.
//!
//! It is how every child of `compare` begins. A session of its own makes a process group that can
//! be ended as a whole and a scheduling group of its own, so that no other terminal's work is
//! weighed against it; the death signal ends it when `compare` is killed and can end nothing.

use std::{fs, io, os::unix::process::CommandExt, process::Command, process::ExitCode};

use rustix::process::{
    Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit,
    setsid,
};

use crate::cpus;

#[derive(clap::Args)]
pub(super) struct Args {
    /// CPUs to run on.
    #[arg(long, value_delimiter = ',')]
    cpus: Vec<usize>,
    /// The process to end with.
    #[arg(long)]
    parent: i32,
    /// The program and its arguments.
    #[arg(trailing_var_arg = true, required = true)]
    command: Vec<String>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, String> {
    let problem = |what: &str, error: io::Error| format!("{what}: {error}");
    set_parent_process_death_signal(Some(Signal::TERM))
        .map_err(|error| problem("death signal", error.into()))?;
    // It may have died before that.
    if getppid().map(|parent| parent.as_raw_nonzero().get()) != Some(args.parent) {
        return Err("the parent is gone".to_owned());
    }
    setsid().map_err(|error| problem("session", error.into()))?;
    // Allowed to root only, and absent where automatic groups are off: then all groups are equal.
    let _ = fs::write("/proc/self/autogroup", "-20");
    if !args.cpus.is_empty() {
        cpus::pin(&args.cpus).map_err(|error| problem("pinning", error))?;
    }
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).map_err(|error| problem("open files", error.into()))?;
    let (program, rest) = args.command.split_first().ok_or("no program")?;
    // Only an error comes back.
    let error = Command::new(program).args(rest).exec();
    Err(format!("{program}: {error}"))
}
