//! When a file may have changed, for whoever reads it himself: for what must not be read here,
//! such as a private key, and for files that belong together.

use std::path::{Path, PathBuf};

use super::read::Signature;
use super::watch::{self, Change, Watch};
use super::{POLL, SLOW_POLL, TOGETHER};

/// Tells of changes of a file since it was made, or told of one. What is told may be no change of
/// the content; no change of the content is left out.
#[derive(Debug)]
pub struct FileChanges {
    path: PathBuf,
    signature: Option<Signature>,
    watch: Option<Watch>,
}

impl FileChanges {
    /// To be made before the file is read.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self {
            signature: Signature::of(&path),
            watch: None,
            path,
        }
    }

    /// The path as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for a change: of what the path leads to, or that it leads elsewhere or nowhere. May be
    /// dropped while waiting: nothing is lost.
    pub async fn changed(&mut self) {
        loop {
            if self.watch.is_none() {
                self.watch = Watch::new(&self.path);
            }
            // After the watch is set up, so that a change between both is seen.
            let signature = Signature::of(&self.path);
            if signature != self.signature {
                self.signature = signature;
                return;
            }
            let interval = if self.watch.is_some() {
                SLOW_POLL
            } else {
                POLL
            };
            tokio::select! {
                change = watch::changed(self.watch.as_mut()) => {
                    // Links in the path may lead elsewhere now.
                    self.watch = None;
                    if change == Change::Begun {
                        tokio::time::sleep(TOGETHER).await;
                    }
                }
                () = tokio::time::sleep(interval) => {}
            }
        }
    }
}
