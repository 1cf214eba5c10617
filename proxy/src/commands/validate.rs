//! `outrigger validate`.

use std::{io::Write, path::PathBuf, process::ExitCode};

use super::print;

pub(super) fn run(files: &[PathBuf]) -> Result<ExitCode, String> {
    let mut good = true;
    for file in files {
        let name = file.display().to_string();
        let checked = std::fs::read_to_string(file)
            .map_err(|error| format!("{name}: {error}"))
            .and_then(|text| crate::app::read(&text, file));
        match checked {
            Ok(loaded) => {
                let config = &loaded.config;
                let (listeners, routes, clusters) = (
                    config.listeners.len(),
                    config.routes.len(),
                    config.clusters.len(),
                );
                print(&format!(
                    "{name}: valid ({listeners} listeners, {routes} routes, {clusters} clusters)\n"
                ))?;
            }
            Err(problems) => {
                good = false;
                let _ = writeln!(std::io::stderr(), "{}", problems.trim_end());
            }
        }
    }
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
