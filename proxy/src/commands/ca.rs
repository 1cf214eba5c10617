//! `outrigger ca`: an authority for development in a folder, and certificates below it.
//!
//! What a certificate says is `identity`'s; here are the files. A private key is never in a file
//! that others may read, not even for a moment, and no file is ever there in part.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Subcommand;
use outrigger_config::model::{SpiffeId, TrustDomain};
use rustls::pki_types::UnixTime;

use super::print;
use crate::{
    identity::{Authority, Made},
    tls::read_secret,
};

const LEARN: &str = "\
A mesh in four lines:
  outrigger ca init --dir ca --trust-domain shop.example
  outrigger ca issue --dir ca --id spiffe://shop.example/web
  outrigger ca issue --dir ca --id spiffe://shop.example/api --dns api.internal
  ls ca/issued/web        tls.crt and tls.key: who web is; ca.crt: whom it believes

A workload's identity is the SPIFFE ID in its certificate: spiffe://, the trust domain, a path of
your choice. Give a workload its own three files and never ca.key, which can make any identity.
Certificates live for a day; run `issue --force` from a timer to renew them in time.";

#[derive(clap::Args)]
#[command(after_help = LEARN)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make an authority for a trust domain: ca.crt and ca.key.
    Init {
        /// Folder of the authority; made if it is not there.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// What identities begin with: a-z 0-9 . - _, such as shop.example.
        #[arg(long, value_name = "NAME")]
        trust_domain: TrustDomain,
        /// How long the authority lives.
        #[arg(long, value_name = "TIME", default_value = "8760h", value_parser = duration)]
        ttl: Duration,
        /// Replace an authority that is there. Nothing that it signed is believed any more.
        #[arg(long)]
        force: bool,
    },
    /// Make a certificate for a workload: tls.crt, tls.key, and the ca.crt to believe.
    Issue {
        /// Folder of the authority.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// The identity: `spiffe://`, the trust domain, a path.
        #[arg(long, value_name = "ID")]
        id: SpiffeId,
        /// A DNS name for clients that go by names; may be given again.
        #[arg(long, value_name = "NAME")]
        dns: Vec<String>,
        /// Where the three files go. Default: DIR/issued/PATH.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// How long the certificate lives.
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration)]
        ttl: Duration,
        /// Replace files that are there, as for a renewal.
        #[arg(long)]
        force: bool,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    outrigger_config::duration(text)
}

pub(super) fn run(args: &Args) -> Result<ExitCode, String> {
    match &args.command {
        Command::Init {
            dir,
            trust_domain,
            ttl,
            force,
        } => init(dir, trust_domain, *ttl, *force)?,
        Command::Issue {
            dir,
            id,
            dns,
            out,
            ttl,
            force,
        } => {
            // A path of an ID has no segments that lead elsewhere.
            let below = id.path().trim_start_matches('/');
            let out = out
                .clone()
                .unwrap_or_else(|| dir.join("issued").join(below));
            issue(dir, id, dns, *ttl, &out, *force)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn init(dir: &Path, domain: &TrustDomain, ttl: Duration, force: bool) -> Result<(), String> {
    let (certificate, key) = (dir.join("ca.crt"), dir.join("ca.key"));
    prepare(dir, &[&certificate, &key], force)?;
    let made = Authority::make(domain, ttl, UnixTime::now())?;
    write(&key, &made.key, 0o600)?;
    write(&certificate, &made.certificate, 0o644)?;
    let dir = dir.display();
    print(&format!(
        "{certificate}: the root of {domain}, to be believed for {left}; give it to every workload\n\
         {key}: its private key, which can make any identity of {domain}; give it to nobody\n\
         Next: outrigger ca issue --dir {dir} --id spiffe://{domain}/web\n",
        certificate = certificate.display(),
        key = key.display(),
        left = left(&made),
    ))
}

fn issue(
    dir: &Path,
    id: &SpiffeId,
    dns: &[String],
    ttl: Duration,
    out: &Path,
    force: bool,
) -> Result<(), String> {
    let (root, key) = (dir.join("ca.crt"), dir.join("ca.key"));
    let secret = read_secret(&key)?;
    let root_text = fs::read_to_string(&root).map_err(|error| named(&root, &error))?;
    let secret_text =
        std::str::from_utf8(&secret).map_err(|_| format!("{}: it is no text", key.display()))?;
    let authority = Authority::load(root_text.as_bytes(), secret_text)
        .map_err(|why| format!("{} with {}: {why}", root.display(), key.display()))?;
    let made = authority.issue(id, dns, ttl, UnixTime::now())?;
    let [certificate, key, believed] = ["tls.crt", "tls.key", "ca.crt"].map(|name| out.join(name));
    prepare(out, &[&certificate, &key, &believed], force)?;
    write(&believed, &root_text, 0o644)?;
    write(&key, &made.key, 0o600)?;
    write(&certificate, &made.certificate, 0o644)?;
    print(&format!(
        "{certificate}: {id}, for {left}\n{key}: its private key\n{believed}: the root that it believes\n",
        certificate = certificate.display(),
        key = key.display(),
        believed = believed.display(),
        left = left(&made),
    ))
}

/// Makes the folder, for its owner alone; nothing that is there is touched without being told to.
fn prepare(dir: &Path, files: &[&Path], force: bool) -> Result<(), String> {
    for file in files {
        let is_there = file.symlink_metadata().is_ok();
        if is_there && !force {
            let file = file.display();
            return Err(format!("{file} is there already; --force replaces it"));
        }
    }
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir);
    made.map_err(|error| named(dir, &error))
}

/// Puts a file in its place whole, with its mode from the first moment.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), String> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = write_new(&temporary, text, mode)
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| sync_folder(path));
    written.map_err(|error| {
        let _ = fs::remove_file(&temporary);
        named(path, &error)
    })
}

fn write_new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn left(made: &Made) -> String {
    let seconds = made.life.left(UnixTime::now()).max(0.0) as u64;
    match seconds {
        0..=7_199 => format!("{} minutes", seconds.div_ceil(60)),
        7_200..=172_799 => format!("{} hours", seconds.div_ceil(3_600)),
        _ => format!("{} days", seconds.div_ceil(86_400)),
    }
}

fn named(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}
