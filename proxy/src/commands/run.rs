//! `outrigger run`.

use std::{path::PathBuf, process::ExitCode};

use super::LogArgs;
use crate::app::{self, Exit, Options, Source};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Configuration file, YAML or (by the ending .json) JSON. It is watched.
    #[arg(long, short, value_name = "FILE", env = "OUTRIGGER_CONFIG")]
    config: PathBuf,
    /// Written, once traffic is served, with the process id and every address that is listened on.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
}

pub(super) fn run(args: Args) -> Result<ExitCode, String> {
    let log = args.log.start()?;
    let options = Options {
        source: Source::File(args.config),
        ready_file: args.ready_file,
        log: Some(log.control()),
        on_ready: None,
        orders: None,
    };
    app::run(options).map(code)
}

/// The exit code that tells how the process ended.
pub(super) fn code(exit: Exit) -> ExitCode {
    match exit {
        Exit::Clean => ExitCode::SUCCESS,
        Exit::Cut => ExitCode::from(3),
        Exit::Broken => ExitCode::from(70),
    }
}
