//! Reading the file, and telling cheaply whether it may have changed.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::path::Path;
use std::time::SystemTime;

use xxhash_rust::xxh3::xxh3_128;

/// What was read.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) text: String,
    /// None of what is no regular file, such as a pipe: it can be read once.
    pub(super) signature: Option<Signature>,
}

/// What the file system says about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signature {
    length: u64,
    modified: Option<SystemTime>,
    /// Inode and time of change, where there are such.
    identity: (u64, i64, i64),
}

impl Content {
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let limit = outrigger_config::MAX_TEXT as u64;
        let mut bytes = Vec::with_capacity(metadata.len().min(limit) as usize + 1);
        // One byte more than what is taken, to tell.
        file.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            let message = format!("larger than {limit} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8 text"))?;
        let signature = metadata.is_file().then(|| Signature::from(&metadata));
        Ok(Self { text, signature })
    }

    pub(super) fn hash(&self) -> u128 {
        xxh3_128(self.text.as_bytes())
    }
}

/// Whether a path leads to what can be read only once, such as a pipe.
pub(super) fn is_stream(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

impl Signature {
    /// None if there is no regular file.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        metadata.is_file().then(|| Self::from(&metadata))
    }
}

impl From<&Metadata> for Signature {
    fn from(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let identity = {
            use std::os::unix::fs::MetadataExt as _;
            (metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
        };
        #[cfg(not(unix))]
        let identity = (0, 0, 0);
        Self {
            length: metadata.len(),
            modified: metadata.modified().ok(),
            identity,
        }
    }
}
