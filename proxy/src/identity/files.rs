//! Identity and trust from files that are watched.
//!
//! A key and its chain are two files, and whoever renews them writes one after the other. What is
//! handed out was read together and belongs together; while it does not, what was handed out
//! before stays. A private key that others may read is refused: it is no secret any more.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use outrigger_control_api::FileChanges;
use rustls::pki_types::UnixTime;
use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

use super::{
    bundle::{Bundle, Trust},
    own::Own,
    source::{Source, Update},
    spiffe::TrustDomain,
};

/// Largest file. A bundle of all public authorities has a quarter of it.
const LARGEST: u64 = 1 << 20;
/// How long files may disagree before that is told: whoever writes them is not done yet.
const GRACE: Duration = Duration::from_secs(1);
/// How often files that cannot be used are read again, though they did not change: the time of a
/// certificate may begin.
const RETRY: Duration = Duration::from_secs(5);

/// What is in files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Files {
    /// Who we are.
    Own { key: PathBuf, chain: PathBuf },
    /// Whom we trust.
    Trust(Vec<DomainFiles>),
}

/// The files of one trust domain, each with any number of certificates or lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DomainFiles {
    pub(crate) domain: TrustDomain,
    pub(crate) roots: Vec<PathBuf>,
    pub(crate) lists: Vec<PathBuf>,
}

impl Files {
    /// Reads them all, now. Blocks for as long as that takes.
    ///
    /// # Errors
    /// The file that cannot be used, and why.
    pub(crate) fn load(&self, now: UnixTime) -> Result<Update, String> {
        match self {
            Self::Own { key, chain } => {
                let secret = read_secret(key)?;
                let own = Own::from_pem(&secret, &read(chain)?, now)
                    .map_err(|why| format!("{} with {}: {why}", chain.display(), key.display()))?;
                Ok(Update {
                    own: Some(Arc::new(own)),
                    trust: None,
                })
            }
            Self::Trust(domains) => {
                let mut trust = Trust::default();
                for files in domains {
                    files.load(&mut trust)?;
                }
                Ok(Update {
                    own: None,
                    trust: Some(Arc::new(trust)),
                })
            }
        }
    }

    fn paths(&self) -> Vec<&Path> {
        match self {
            Self::Own { key, chain } => vec![key, chain],
            Self::Trust(domains) => domains
                .iter()
                .flat_map(|files| files.roots.iter().chain(&files.lists))
                .map(PathBuf::as_path)
                .collect(),
        }
    }
}

impl DomainFiles {
    fn load(&self, trust: &mut Trust) -> Result<(), String> {
        let named = |path: &Path, why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        for path in &self.roots {
            let bundle = Bundle::from_pem(&read(path)?).map_err(|why| named(path, &why))?;
            let added = trust.add(self.domain.clone(), bundle);
            added.map_err(|why| named(path, &why))?;
        }
        for path in &self.lists {
            let lists = read(path)?;
            let revoked = trust.revoke_by_pem(&self.domain, &lists);
            revoked.map_err(|why| named(path, &why))?;
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut file = open(path)?;
    let mut bytes = Vec::new();
    take(&mut file, path, &mut bytes)?;
    Ok(bytes)
}

/// Reads what nobody but its owner may read. The bytes are wiped when dropped.
pub(crate) fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut file = open(path)?;
    let metadata = file.metadata().map_err(|error| named(path, &error))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(format!(
            "{path}: group or others may use this private key (mode {mode:04o}); make it yours alone: chmod 600 {path}",
            path = path.display()
        ));
    }
    // One allocation: growing would leave a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST.min(metadata.len()) as usize + 1));
    take(&mut file, path, &mut bytes)?;
    Ok(bytes)
}

fn open(path: &Path) -> Result<File, String> {
    let file = File::open(path).map_err(|error| named(path, &error))?;
    let metadata = file.metadata().map_err(|error| named(path, &error))?;
    if !metadata.is_file() {
        return Err(format!("{}: it is no file", path.display()));
    }
    if metadata.len() > LARGEST {
        return Err(format!("{}: larger than {LARGEST} bytes", path.display()));
    }
    Ok(file)
}

fn take(file: &mut File, path: &Path, bytes: &mut Vec<u8>) -> Result<(), String> {
    let read = file.take(LARGEST).read_to_end(bytes);
    read.map(|_| ()).map_err(|error| named(path, &error))
}

fn named(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// Files as a source.
pub(crate) struct FilesSource {
    files: Files,
    changes: Vec<FileChanges>,
    last: Option<Update>,
    /// Since when they cannot be used.
    failing: Option<Instant>,
    told: Option<String>,
}

impl FilesSource {
    /// Begins to look for changes, and reads the files.
    ///
    /// # Errors
    /// The file that cannot be used, and why.
    pub(crate) fn load(files: Files, now: UnixTime) -> Result<(Self, Update), String> {
        let changes = files.paths().into_iter().map(FileChanges::new).collect();
        let update = files.load(now)?;
        let source = Self {
            files,
            changes,
            last: Some(update.clone()),
            failing: None,
            told: None,
        };
        Ok((source, update))
    }

    /// Waits for a change of any file, or for the time of the next try.
    async fn wait(&mut self) {
        let changed = async {
            let mut each: Vec<_> = self
                .changes
                .iter_mut()
                .map(|file| Box::pin(file.changed()))
                .collect();
            std::future::poll_fn(|cx| {
                let mut ready = false;
                for file in &mut each {
                    ready |= file.as_mut().poll(cx).is_ready();
                }
                if ready {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
        };
        let Some(since) = self.failing else {
            return changed.await;
        };
        let pause = if since.elapsed() < GRACE {
            GRACE
        } else {
            RETRY
        };
        let _ = timeout(pause, changed).await;
    }

    async fn read(&self) -> Result<Update, String> {
        let files = self.files.clone();
        let read = tokio::task::spawn_blocking(move || files.load(UnixTime::now()));
        // Only a shutdown of the runtime or a panic ends a blocking task otherwise.
        read.await.map_err(|error| error.to_string()).flatten()
    }

    /// What to hand out, if there is something new.
    fn judge(&mut self, read: Result<Update, String>) -> Option<Result<Update, String>> {
        match read {
            Ok(update) => {
                let failed = self.told.take().is_some();
                self.failing = None;
                let is_same = self
                    .last
                    .as_ref()
                    .is_some_and(|last| is_same(last, &update));
                // After a failure that was told, its end is told as well.
                (failed || !is_same).then(|| {
                    self.last = Some(update.clone());
                    Ok(update)
                })
            }
            Err(error) => {
                let since = *self.failing.get_or_insert_with(Instant::now);
                let is_new = self.told.as_ref() != Some(&error);
                (is_new && since.elapsed() >= GRACE).then(|| {
                    self.told = Some(error.clone());
                    Err(error)
                })
            }
        }
    }
}

fn is_same(one: &Update, other: &Update) -> bool {
    let own = match (&one.own, &other.own) {
        (Some(one), Some(other)) => one.is_same(other),
        (one, other) => one.is_none() && other.is_none(),
    };
    let trust = match (&one.trust, &other.trust) {
        (Some(one), Some(other)) => one.is_same(other),
        (one, other) => one.is_none() && other.is_none(),
    };
    own && trust
}

impl Source for FilesSource {
    fn name(&self) -> String {
        let paths = self.files.paths();
        let paths: Vec<_> = paths
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        paths.join(", ")
    }

    fn next(&mut self) -> Pin<Box<dyn Future<Output = Result<Update, String>> + Send + '_>> {
        Box::pin(async {
            loop {
                self.wait().await;
                let read = self.read().await;
                if let Some(said) = self.judge(read) {
                    return said;
                }
            }
        })
    }
}

#[cfg(test)]
mod tests;
