//! The command line: one file per command, and what they share.

mod ask;
mod ca;
mod demo;
mod run;
mod validate;

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand, ValueEnum};

use crate::telemetry::log::{self, Format, Log};

const EXAMPLES: &str = "\
Try it:
  outrigger demo                          two echo services and a proxy, right here
  outrigger validate proxy.yaml           every problem at once, with its place
  outrigger run --config proxy.yaml       serve; the file is watched, SIGHUP reloads it
  outrigger schema > outrigger.json       JSON Schema, for editors
  outrigger ca --help                     identities for a mesh on this machine
  outrigger healthcheck 127.0.0.1:9901    exit 0 if that proxy is ready

Exit codes: 0 done; 1 not started, or problems found; 2 wrong usage;
3 the drain deadline or a second signal cut connections; 70 a worker died.";

#[derive(Parser)]
#[command(name = "outrigger", version, about = "A proxy that sits beside each workload", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve what a configuration file says, until SIGTERM or SIGINT.
    Run(run::Args),
    /// Check configuration files; print every problem and exit 1 if there is one.
    Validate {
        /// Files, YAML or (by the ending .json) JSON.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Print the JSON Schema of the configuration.
    Schema,
    /// Start two echo services and a proxy, send requests through it, show what happens.
    Demo(demo::Args),
    /// Make a development authority, and certificates for workloads.
    Ca(ca::Args),
    /// Exit 0 if the proxy whose admin or probes listen at ADDRESS is ready.
    Healthcheck {
        /// `ip:port` or `unix:/path`.
        address: String,
    },
    /// Ask the proxy whose admin listens at ADDRESS to finish what it does and end.
    Drain(ask::Drain),
}

/// Settings of the proxy's own log, for commands that have one.
#[derive(clap::Args)]
struct LogArgs {
    /// Level: error, warn, info, debug, trace, or per module (`info,outrigger_proxy::upstream=debug`).
    /// Default: `OUTRIGGER_LOG`, else info.
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How lines are written to stderr.
    #[arg(long, value_enum, default_value_t = LogStyle::Text)]
    log_format: LogStyle,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogStyle {
    Text,
    Json,
}

impl LogArgs {
    fn start(&self) -> Result<Log, String> {
        let format = match self.log_format {
            LogStyle::Text => Format::Text,
            LogStyle::Json => Format::Json,
        };
        log::init(self.log_level.as_deref(), format)
    }
}

/// Carries out the command line.
pub(crate) fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => run::run(args),
        Command::Validate { files } => validate::run(&files),
        Command::Schema => {
            print(&format!("{:#}\n", outrigger_config::schema())).map(|()| ExitCode::SUCCESS)
        }
        Command::Demo(args) => demo::run(&args),
        Command::Ca(args) => ca::run(&args),
        Command::Healthcheck { address } => ask::healthcheck(&address),
        Command::Drain(args) => ask::drain(&args),
    };
    result.unwrap_or_else(|problem| {
        let _ = writeln!(std::io::stderr(), "outrigger: {problem}");
        ExitCode::FAILURE
    })
}

/// Writes to standard output; a reader that left is not an error.
fn print(text: &str) -> Result<(), String> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(format!("standard output: {error}"))
        }
        _ => Ok(()),
    }
}
