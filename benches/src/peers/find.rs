//! Where the program of a peer is, and which version.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{Peer, install};

/// A peer whose program is there.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) peer: Peer,
    pub(crate) binary: PathBuf,
    pub(crate) version: String,
}

/// Looks for a peer: its variable, what this workspace builds, PATH, what was installed here.
pub(crate) fn find(peer: &Peer) -> Result<Found, String> {
    let binary = match env::var_os(&peer.variable) {
        Some(path) => {
            let path = PathBuf::from(path);
            if !is_program(&path) {
                return Err(format!(
                    "{} names no program: {}",
                    peer.variable,
                    path.display()
                ));
            }
            Some(path)
        }
        None => match &peer.built {
            Some(name) => Some(built(name)?),
            None => on_path(peer).or_else(|| install::brought(peer)),
        },
    };
    let binary = binary.ok_or_else(|| {
        let installable = !peer.install.debian.is_empty() || peer.install.pypi.is_some();
        let hint = if installable { ", or --install" } else { "" };
        format!("not installed (PATH, {}{hint})", peer.variable)
    })?;
    let version = version(&binary, &peer.version)?;
    Ok(Found {
        peer: peer.clone(),
        binary,
        version,
    })
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

fn on_path(peer: &Peer) -> Option<PathBuf> {
    let name = peer.binary.as_ref()?;
    let path = env::var_os("PATH").unwrap_or_default();
    // Where Debian puts servers, which is not on everyone's path.
    let more = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(more)
        .map(|folder| folder.join(name))
        .find(|path| is_program(path))
}

/// A program of this workspace, built now if its sources are here.
fn built(name: &str) -> Result<PathBuf, String> {
    let beside = env::current_exe().map_err(|error| error.to_string())?;
    let beside = beside.with_file_name(name);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let sources = root.join("Cargo.toml");
    if sources.is_file() && beside.parent().is_some_and(|p| p.ends_with("release")) {
        let status = Command::new(cargo)
            .args([
                "build",
                "--release",
                "--locked",
                "-p",
                "outrigger-proxy",
                "--bin",
                name,
            ])
            .arg("--manifest-path")
            .arg(sources)
            .stdin(Stdio::null())
            .status();
        // Without cargo what was built before has to do.
        if status.is_ok_and(|status| !status.success()) {
            return Err(format!("{name} does not build"));
        }
    }
    let found = [beside, root.join("target/release").join(name)];
    let found = found.into_iter().find(|path| is_program(path));
    found.ok_or_else(|| format!("not built: cargo build --release --bin {name}"))
}

fn version(binary: &Path, arguments: &[String]) -> Result<String, String> {
    let output = Command::new(binary)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", binary.display()))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    number(&text).ok_or_else(|| format!("{} says no version", binary.display()))
}

/// The first thing that looks like a version.
fn number(text: &str) -> Option<String> {
    let words = text.split(|c: char| !c.is_ascii_digit() && c != '.');
    let mut words = words.map(|word| word.trim_matches('.'));
    words
        .find(|word| word.contains('.') && word.split('.').all(|part| !part.is_empty()))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (text, expected) in [
            ("HAProxy version 2.6.12-1+deb12u4 2026/10/17", "2.6.12"),
            ("nginx version: nginx/1.22.1", "1.22.1"),
            ("envoy  version: 9e55809f/1.40.0/Clean/RELEASE", "1.40.0"),
            ("outrigger 0.1.0", "0.1.0"),
        ] {
            assert_eq!(number(text).as_deref(), Some(expected));
        }
        assert_eq!(number("no version. Really."), None);
    }
}
