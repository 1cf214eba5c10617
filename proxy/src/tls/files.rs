//! Files with certificates and keys: reading them with every check that a file allows, and seeing
//! that they changed.

use std::{
    fs::{self, File, Metadata},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustls::pki_types::{CertificateDer, pem, pem::PemObject as _};
use xxhash_rust::xxh3::Xxh3;
use zeroize::Zeroizing;

use crate::identity::KeyBytes;

/// No chain, bundle or key is larger; the bundles of whole systems have 200 KiB.
const LARGEST: u64 = 4 << 20;

/// The files of a version, each as it was when it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Watched(Vec<(PathBuf, Option<Stamp>)>);

/// What the file system says about a file. A write or a replacement changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
    identity: (u64, i64, i64),
}

impl From<Metadata> for Stamp {
    fn from(it: Metadata) -> Self {
        Self {
            length: it.len(),
            modified: it.modified().ok(),
            identity: (it.ino(), it.ctime(), it.ctime_nsec()),
        }
    }
}

impl Watched {
    /// The same files as they are now. Links are followed, so that a swapped folder shows.
    pub(crate) fn now(&self) -> Self {
        let look = |(path, _): &(PathBuf, _)| (path.clone(), stamp(path));
        Self(self.0.iter().map(look).collect())
    }

    fn add(&mut self, path: &Path) {
        if self.0.iter().all(|(known, _)| known != path) {
            self.0.push((path.to_owned(), stamp(path)));
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    fs::metadata(path).ok().map(Stamp::from)
}

/// Reads files and remembers which. What was in them goes into a digest.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) watched: Watched,
    digest: Xxh3,
}

impl Reader {
    /// What was read since this was asked last, as a number that differs where it differs.
    pub(super) fn take_digest(&mut self) -> u128 {
        std::mem::take(&mut self.digest).digest128()
    }

    /// Lets something else count as read.
    pub(super) fn digest(&mut self, bytes: &[u8]) {
        self.digest.update(&(bytes.len() as u64).to_le_bytes());
        self.digest.update(bytes);
    }

    /// A file's bytes.
    pub(super) fn bytes(&mut self, path: &str) -> Result<Zeroizing<Vec<u8>>, String> {
        self.read(path, false)
    }

    fn read(&mut self, path: &str, is_secret: bool) -> Result<Zeroizing<Vec<u8>>, String> {
        // Before reading, so that a change during it shows.
        self.watched.add(Path::new(path));
        let bytes = read(Path::new(path), is_secret)?;
        self.digest(&bytes);
        Ok(bytes)
    }

    /// Every certificate of a file, at least one.
    pub(super) fn certificates(
        &mut self,
        path: &str,
    ) -> Result<Vec<CertificateDer<'static>>, String> {
        let bytes = self.bytes(path)?;
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let all = all.map_err(|error| format!("{path}: {}", what(&error)))?;
        if all.is_empty() {
            return Err(format!("{path}: no certificate is in it (PEM is expected)"));
        }
        Ok(all)
    }

    /// The key of a file.
    pub(super) fn key(&mut self, path: &str) -> Result<KeyBytes, String> {
        let bytes = self.read(path, true)?;
        KeyBytes::from_pem(&bytes).map_err(|why| format!("{path}: {why}"))
    }
}

/// What is in a file that only its owner may read. It is wiped when dropped.
///
/// # Errors
/// The file, and what is wrong with it.
pub(crate) fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    read(path, true)
}

fn read(path: &Path, is_secret: bool) -> Result<Zeroizing<Vec<u8>>, String> {
    let read = || -> Result<Zeroizing<Vec<u8>>, String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let metadata = file.metadata().map_err(|error| error.to_string())?;
        if !metadata.is_file() {
            return Err("it is no file".into());
        }
        let mode = metadata.mode() & 0o777;
        if is_secret && mode & 0o077 != 0 {
            return Err(format!(
                "others than its owner may use it (mode {mode:04o}); a key must have 0600 or less"
            ));
        }
        if metadata.len() > LARGEST {
            return Err(format!("it is larger than {LARGEST} bytes"));
        }
        // One allocation: growing would leave a copy of a key behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(metadata.len() as usize + 1));
        file.take(metadata.len() + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| error.to_string())?;
        Ok(bytes)
    };
    read().map_err(|why| format!("{}: {why}", path.display()))
}

/// What is wrong with PEM, without any of it.
fn what(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no end",
        pem::Error::IllegalSectionStart { .. } => "a section has no proper beginning",
        pem::Error::Base64Decode(_) => "a section is no Base64",
        _ => "it is no PEM",
    }
}
