//! inotify on every directory that a path leads through.

use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Most links followed; the kernel's own limit (`path_resolution(7)`).
const MAX_LINKS: usize = 40;

/// A watch on one path, as it resolved when it was made.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: AsyncFd<Inotify>,
    /// Names that matter, each in its directory.
    names: Vec<(WatchDescriptor, OsString)>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Something was created or touched; its content may not be whole yet.
    Begun,
    /// Something was closed after writing, moved or deleted.
    Whole,
}

impl Watch {
    /// None if the directory of the file cannot be watched; then it must be looked at.
    pub(super) fn new(path: &Path) -> Option<Self> {
        match Self::build(path) {
            Ok(watch) => Some(watch),
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "cannot watch, looking instead");
                None
            }
        }
    }

    fn build(path: &Path) -> io::Result<Self> {
        // Without MODIFY: a writer that is at work is waited for.
        let mask = WatchMask::CLOSE_WRITE
            | WatchMask::CREATE
            | WatchMask::ATTRIB
            | WatchMask::MOVE
            | WatchMask::DELETE
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        #[expect(
            deprecated,
            reason = "its successor is unsafe because a type could change its descriptor; this one does not"
        )]
        let inotify = AsyncFd::with_interest(Inotify::init()?, Interest::READABLE)?;
        let steps = steps(path)?;
        let mut names = Vec::with_capacity(steps.len());
        let mut blind = None;
        for (directory, name) in steps {
            blind = None;
            match inotify.get_ref().watches().add(&directory, mask) {
                Ok(descriptor) => names.push((descriptor, name)),
                // One that is not there yet will be seen by the one above it.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !names.is_empty() => {}
                Err(error) => blind = Some(error),
            }
        }
        // Directories above may be closed to us; the last, that of the file, must not be.
        if let Some(error) = blind {
            return Err(error);
        }
        Ok(Self { inotify, names })
    }

    /// Waits until something happened to a name that matters.
    async fn changed(&mut self) -> io::Result<Change> {
        // Holds at least one event with the longest name.
        let mut buffer = [0; 4096];
        loop {
            let mut guard = self.inotify.readable_mut().await?;
            let names = &self.names;
            let read = guard.try_io(|inotify| {
                let events = inotify.get_mut().read_events(&mut buffer)?;
                let changes = events.filter_map(|event| {
                    let matters = event.mask.intersects(
                        EventMask::Q_OVERFLOW
                            | EventMask::IGNORED
                            | EventMask::UNMOUNT
                            | EventMask::DELETE_SELF
                            | EventMask::MOVE_SELF,
                    ) || names
                        .iter()
                        .any(|(wd, name)| *wd == event.wd && Some(name.as_os_str()) == event.name);
                    let is_begun = event.mask.intersects(EventMask::CREATE | EventMask::ATTRIB);
                    let change = if is_begun {
                        Change::Begun
                    } else {
                        Change::Whole
                    };
                    matters.then_some(change)
                });
                // A whole change among them needs no waiting.
                Ok(changes.reduce(|a, b| if a == Change::Whole { a } else { b }))
            });
            match read {
                Ok(Ok(Some(change))) => return Ok(change),
                Ok(Ok(None)) | Err(_) => {}
                Ok(Err(error)) => return Err(error),
            }
        }
    }
}

/// Waits for a change; for ever if nothing is watched.
pub(super) async fn changed(watch: Option<&mut Watch>) -> Change {
    if let Some(watch) = watch {
        match watch.changed().await {
            Ok(change) => return change,
            Err(error) => tracing::debug!(%error, "watching ended, looking instead"),
        }
    }
    std::future::pending().await
}

/// Every name that resolving `path` looks up, with the directory it is looked up in.
fn steps(path: &Path) -> io::Result<Vec<(PathBuf, OsString)>> {
    let path = std::path::absolute(path)?;
    let mut steps = Vec::new();
    let mut here = PathBuf::from("/");
    let mut ahead = Vec::new();
    push(&path, &mut ahead);
    let mut links = 0;
    while let Some(step) = ahead.pop() {
        let Step::Down(name) = step else {
            here.pop();
            continue;
        };
        let there = here.join(&name);
        steps.push((here.clone(), name));
        let Ok(target) = there.read_link() else {
            here = there;
            continue;
        };
        links += 1;
        if links > MAX_LINKS {
            return Err(io::Error::other("too many links"));
        }
        if target.is_absolute() {
            here = PathBuf::from("/");
        }
        push(&target, &mut ahead);
    }
    Ok(steps)
}

enum Step {
    Up,
    Down(OsString),
}

/// Puts the steps of `path` before those that are ahead.
fn push(path: &Path, ahead: &mut Vec<Step>) {
    let steps = path
        .components()
        .rev()
        .filter_map(|component| match component {
            Component::ParentDir => Some(Step::Up),
            Component::Normal(name) => Some(Step::Down(name.to_owned())),
            Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
        });
    ahead.extend(steps);
}
