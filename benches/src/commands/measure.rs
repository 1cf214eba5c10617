//! `outrigger-bench measure`: one plan in, one outcome out, as JSON between processes.

use std::{io, process::ExitCode, sync::Arc};

use super::print;
use crate::load::{self, live::Live};

pub(super) fn run() -> Result<ExitCode, String> {
    let plan = serde_json::from_reader(io::stdin().lock()).map_err(|error| error.to_string())?;
    let outcome = load::run(&plan, &Arc::new(Live::off())).map_err(|error| error.to_string())?;
    let text = serde_json::to_string(&outcome).map_err(|error| error.to_string())?;
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}
