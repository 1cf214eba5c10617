//! A configuration file that is watched.
//!
//! Followed are: a file renamed over it, writing in place, deleting and creating, directories
//! that are swapped, and links anywhere in the path, such as the `..data` of a Kubernetes
//! `ConfigMap`. What counts is the content: a file that was only touched is no change.

mod read;
#[cfg(target_os = "linux")]
#[path = "watch.rs"]
mod watch;
#[cfg(not(target_os = "linux"))]
#[path = "no_watch.rs"]
mod watch;

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use read::{Content, Signature};
use watch::{Change, Watch};

/// The first change goes out at once; those that follow within this time go together.
const TOGETHER: Duration = Duration::from_millis(10);
/// How long a file may be gone or empty before that is told: whoever replaces it by deleting
/// and creating is not done yet.
const GONE: Duration = Duration::from_secs(1);
/// How often the file is looked at where nothing tells of changes.
const POLL: Duration = Duration::from_secs(2);
/// The same where something should, but cannot for other hosts' changes on network file systems.
const SLOW_POLL: Duration = Duration::from_secs(10);

/// A file whose text is handed out each time it changed.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
    handed_out: HandedOut,
    /// When something was handed out last.
    at: Option<Instant>,
    /// Whether the file is to be read. Stays true until that is done, so that nothing is lost
    /// when the caller gives up waiting.
    is_due: bool,
    /// Whether a writer may still be at work.
    is_begun: bool,
    /// Since when the file is gone or empty.
    gone_since: Option<Instant>,
    signature: Option<Signature>,
    watch: Option<Watch>,
}

/// What the caller knows.
#[derive(Debug, PartialEq)]
enum HandedOut {
    Nothing,
    Text(u128),
    Failure(String),
}

impl FileSource {
    /// Nothing is opened yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            handed_out: HandedOut::Nothing,
            at: None,
            is_due: true,
            is_begun: false,
            gone_since: None,
            signature: None,
            watch: None,
        }
    }

    /// The path as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The text as it is now, changed or not: at start, and when asked to reload. Blocks for as
    /// long as reading a file takes.
    pub fn read_now(&mut self) -> io::Result<String> {
        let content = Content::read(&self.path)?;
        Ok(self.hand_out(content))
    }

    /// Waits until the content differs from what was handed out last, by this or by `read_now`;
    /// without that, hands it out at once. A file that cannot be read is an error once, until
    /// that changes. May be dropped while waiting: nothing is lost.
    pub async fn next(&mut self) -> io::Result<String> {
        loop {
            if self.handed_out != HandedOut::Nothing && read::is_stream(&self.path) {
                // There is nothing more to come.
                std::future::pending::<()>().await;
            }
            if self.is_due {
                self.settle().await;
                // Before reading, so that a change during it is seen.
                self.watch = Watch::new(&self.path);
                let path = self.path.clone();
                let content = tokio::task::spawn_blocking(move || Content::read(&path)).await;
                // Only a shutdown of the runtime or a panic ends a blocking task otherwise.
                let content = content.map_err(io::Error::other).flatten();
                self.is_due = false;
                self.is_begun = false;
                if let Some(result) = self.judge(content) {
                    return result;
                }
            }
            self.wait().await;
        }
    }

    /// Lets changes that follow one another closely come together.
    async fn settle(&self) {
        if self.is_begun {
            tokio::time::sleep(TOGETHER).await;
        }
        if let Some(at) = self.at {
            tokio::time::sleep_until(at + TOGETHER).await;
        }
    }

    /// What to hand out, if there is something new.
    fn judge(&mut self, content: io::Result<Content>) -> Option<io::Result<String>> {
        let is_gone = match &content {
            Ok(content) => content.text.trim_ascii().is_empty(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        let known = self.handed_out != HandedOut::Nothing;
        if is_gone && known {
            let since = *self.gone_since.get_or_insert_with(Instant::now);
            if since.elapsed() < GONE {
                return None;
            }
        } else {
            self.gone_since = None;
        }
        match content {
            Ok(content) => {
                self.signature = content.signature;
                let is_new = self.handed_out != HandedOut::Text(content.hash());
                is_new.then(|| Ok(self.hand_out(content)))
            }
            Err(error) => {
                self.signature = Signature::of(&self.path);
                let failure = HandedOut::Failure(error.to_string());
                let is_new = self.handed_out != failure;
                is_new.then(|| {
                    self.handed_out = failure;
                    self.at = Some(Instant::now());
                    Err(error)
                })
            }
        }
    }

    fn hand_out(&mut self, content: Content) -> String {
        self.signature = content.signature;
        self.handed_out = HandedOut::Text(content.hash());
        self.at = Some(Instant::now());
        content.text
    }

    /// Waits until the file is to be read again.
    async fn wait(&mut self) {
        let interval = if self.watch.is_some() {
            SLOW_POLL
        } else {
            POLL
        };
        let next_look = Instant::now() + interval;
        let gone = self.gone_since.map(|since| since + GONE);
        // What was told once is not told again.
        let gone = gone.filter(|gone| *gone > Instant::now());
        tokio::select! {
            change = watch::changed(self.watch.as_mut()) => {
                self.is_begun = change == Change::Begun;
                self.is_due = true;
            }
            () = tokio::time::sleep_until(gone.unwrap_or(next_look)) => {
                self.is_due = gone.is_some() || Signature::of(&self.path) != self.signature;
            }
        }
    }
}
