//! Brings peers that are not there, when asked to: Debian's packages as root, and a virtual
//! environment of Python in a cache folder.

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::Peer;

/// Installs what a peer is made of.
pub(crate) fn install(peer: &Peer) -> Result<(), String> {
    let _ = writeln!(io::stderr(), "installing {}", peer.name);
    if !peer.install.debian.is_empty() {
        return debian(&peer.install.debian);
    }
    match &peer.install.pypi {
        Some(package) => pypi(package),
        None => Err("nothing is known to install".to_owned()),
    }
}

/// Whether nothing of it is missing. Where there is no dpkg nothing can be.
pub(crate) fn is_complete(peer: &Peer) -> bool {
    peer.install.debian.iter().all(|package| {
        let query = Command::new("dpkg-query")
            .args(["-W", "-f", "${Status}", package])
            .stdin(Stdio::null())
            .output();
        query.map_or(true, |told| told.stdout.ends_with(b" installed"))
    })
}

fn debian(packages: &[String]) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err(format!(
            "needs root: apt-get install {}",
            packages.join(" ")
        ));
    }
    // Policy says no: a service that its package starts would take ports and time.
    let policy = Path::new("/usr/sbin/policy-rc.d");
    let ours = !policy.exists();
    if ours {
        let written = fs::write(policy, "#!/bin/sh\nexit 101\n");
        written.map_err(|error| format!("{}: {error}", policy.display()))?;
        let _ = run(Command::new("chmod").arg("+x").arg(policy));
    }
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        run(command
            .args(arguments)
            .args(if arguments == ["update", "-qq"] {
                &[]
            } else {
                packages
            }))
    };
    let done = apt(&["update", "-qq"])
        .and_then(|()| apt(&["install", "-y", "-qq", "--no-install-recommends"]));
    if ours {
        let _ = fs::remove_file(policy);
    }
    done
}

fn pypi(package: &str) -> Result<(), String> {
    let folder = environment(package).ok_or("no folder for caches: set XDG_CACHE_HOME or HOME")?;
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    let pip = folder.join("bin/pip");
    run(Command::new(pip).args(["install", "--quiet", "--disable-pip-version-check", package]))
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    // Its words go where ours go that are no result.
    let status = command
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .status()
        .map_err(|error| format!("{name}: {error}"))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("{name}: {status}"))
}

/// The virtual environment of a package.
fn environment(package: &str) -> Option<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cache"));
    Some(cache.or_else(home)?.join("outrigger-bench").join(package))
}

/// The program within it, if it was brought before.
pub(super) fn brought(peer: &Peer) -> Option<PathBuf> {
    let folder = environment(peer.install.pypi.as_ref()?)?;
    let mut found = vec![folder];
    for part in peer.install.binary.as_ref()?.split('/') {
        found = found
            .into_iter()
            .flat_map(|folder| match part {
                "*" => {
                    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
                    entries.map(|entry| entry.path()).collect()
                }
                part => vec![folder.join(part)],
            })
            .collect();
    }
    found.into_iter().find(|path| path.is_file())
}
