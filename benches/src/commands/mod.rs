//! The command line: one file per command.

mod backend;
mod launch;
mod load;
mod measure;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::compare;

const EXAMPLES: &str = "\
Try it:
  outrigger-bench compare --quick --only http1-keepalive    a table in half a minute
  outrigger-bench compare --install                         everything, peers installed first
  outrigger-bench load http://127.0.0.1:8080/ --rate 2000   latency at a fixed rate, a live view
  outrigger-bench backend                                   something to send it to

Exit codes: 0 done; 1 not done, or requests failed; 2 wrong usage; 130 interrupted.";

#[derive(Parser)]
#[command(name = "outrigger-bench", version, about = "The same work through Outrigger and its peers", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the scenarios through every proxy that is there; print tables, write a report.
    Compare(compare::Args),
    /// Send load to one address and report.
    Load(load::Args),
    /// Serve what the scenarios ask for: bodies of any size, echo, gRPC, plain TCP.
    Backend(backend::Args),
    /// Become another program: pinned, in a session of its own, ended with its parent.
    #[command(hide = true)]
    Launch(launch::Args),
    /// Carry out one plan of `compare` (standard input) and print what came of it.
    #[command(hide = true)]
    Measure,
}

pub(crate) fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Compare(args) => compare::run(&args),
        Command::Load(args) => load::run(&args),
        Command::Backend(args) => backend::run(&args),
        Command::Launch(args) => launch::run(&args),
        Command::Measure => measure::run(),
    };
    result.unwrap_or_else(|problem| {
        let _ = writeln!(io::stderr(), "outrigger-bench: {problem}");
        ExitCode::FAILURE
    })
}

/// Writes to standard output; a reader that left is not an error.
pub(crate) fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("standard output: {error}"))
        }
        _ => Ok(()),
    }
}
