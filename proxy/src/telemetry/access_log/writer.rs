//! The thread that writes lines, and the file it writes them to.
//!
//! Nothing here can hold up a worker: whatever the output does, lines that do not fit are lost
//! and counted. Lines are written whole; where a full disk cut one, the next begins on a line of
//! its own.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::{
        fd::AsFd as _,
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{Receiver, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use outrigger_config::model::LogOutput;

use super::Shared;

/// What the writer is asked.
#[derive(Debug)]
pub(super) enum Message {
    /// Write these whole lines.
    Lines(Vec<u8>),
    /// Open the file anew.
    Reopen,
    /// Tell when all before this is written.
    Sync(SyncSender<()>),
}

/// How often the path is compared with the open file.
const CHECK: Duration = Duration::from_secs(1);

/// Pause before the next attempt where the output is a pipe that is full.
const FULL: Duration = Duration::from_millis(10);

/// How long a pipe or terminal may take nothing before the lines are given up.
const STUCK: Duration = Duration::from_secs(5);

/// Where lines go.
#[derive(Debug)]
pub(super) struct Output {
    file: File,
    /// The path to follow; standard output and error have none.
    path: Option<PathBuf>,
    checked: Instant,
    /// The last write ended inside a line.
    torn: bool,
    /// See [`STUCK`].
    patience: Duration,
    /// Writes fail; said once in the log, not once per batch.
    failing: bool,
}

impl Output {
    pub(super) fn open(output: &LogOutput) -> io::Result<Self> {
        let (file, path) = match output {
            LogOutput::Stdout => (io::stdout().as_fd().try_clone_to_owned()?.into(), None),
            LogOutput::Stderr => (io::stderr().as_fd().try_clone_to_owned()?.into(), None),
            LogOutput::File(path) => (open(path)?, Some(path.clone())),
        };
        Ok(Self::new(file, path))
    }

    pub(super) fn new(file: File, path: Option<PathBuf>) -> Self {
        Self {
            file,
            path,
            checked: Instant::now(),
            torn: false,
            patience: STUCK,
            failing: false,
        }
    }

    /// Opens the path anew where it is no longer the open file: rotated, removed, replaced.
    fn follow(&mut self) {
        let Some(path) = &self.path else { return };
        let same = |a: &std::fs::Metadata| {
            let open = self.file.metadata();
            open.is_ok_and(|b| (a.dev(), a.ino()) == (b.dev(), b.ino()))
        };
        self.checked = Instant::now();
        if !std::fs::metadata(path).is_ok_and(|found| same(&found)) {
            self.reopen();
        }
    }

    /// Lines go on into the old file where the new one cannot be opened.
    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match open(path) {
            Ok(file) => {
                self.file = file;
                self.torn = false;
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "access log cannot be reopened");
            }
        }
    }

    /// Writes a batch and returns how many of its lines are lost.
    fn write(&mut self, batch: &[u8]) -> u64 {
        if self.checked.elapsed() >= CHECK {
            self.follow();
        }
        if self.torn {
            if self.write_some(b"\n").is_err() {
                return lines(batch);
            }
            self.torn = false;
        }
        let Err((written, error)) = self.write_some(batch) else {
            if std::mem::take(&mut self.failing) {
                tracing::info!("access log is written again");
            }
            return 0;
        };
        let (done, lost) = batch.split_at(written);
        self.torn = done.last().is_some_and(|byte| *byte != b'\n');
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(%error, "access log lines are lost");
        }
        lines(lost)
    }

    /// Writes all, or tells how much of it was written before the error.
    fn write_some(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut rest = bytes;
        let mut stuck: Option<Instant> = None;
        while !rest.is_empty() {
            let error = match self.file.write(rest) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(n) => {
                    rest = rest.split_at(n).1;
                    stuck = None;
                    continue;
                }
                Err(error) => error,
            };
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                // Someone made the pipe non-blocking; this thread may wait, nobody else does.
                io::ErrorKind::WouldBlock
                    if stuck.get_or_insert_with(Instant::now).elapsed() < self.patience =>
                {
                    thread::park_timeout(FULL);
                }
                _ => return Err((bytes.len() - rest.len(), error)),
            }
        }
        Ok(())
    }
}

fn lines(batch: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', batch).count() as u64
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        // Opening a named pipe that nobody reads fails instead of waiting for a reader.
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
}

/// Starts the thread. It ends when every sender is gone and everything is written.
pub(super) fn start(
    messages: Receiver<Message>,
    shared: Arc<Shared>,
    mut output: Output,
) -> io::Result<()> {
    let run = move || {
        for message in messages {
            match message {
                Message::Lines(batch) => {
                    let lost = output.write(&batch);
                    let counters = &shared.counters;
                    counters.lines.fetch_add(lines(&batch) - lost, Relaxed);
                    counters.dropped.fetch_add(lost, Relaxed);
                    // Released only now: what is being written still takes memory.
                    shared.waiting.fetch_sub(batch.len(), Relaxed);
                }
                Message::Reopen => output.reopen(),
                Message::Sync(done) => {
                    // Whoever asked may have stopped waiting.
                    let _ = done.try_send(());
                }
            }
        }
    };
    thread::Builder::new()
        .name("access-log".to_owned())
        .stack_size(128 * 1024)
        .spawn(run)
        .map(drop)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{PipeReader, Read as _},
        os::fd::AsRawFd as _,
    };

    use super::*;
    use crate::telemetry::access_log::tests::Scratch;

    /// An output into a pipe that never waits, through the same `open` as any path.
    fn pipe() -> (PipeReader, Output) {
        let (reader, writer) = io::pipe().unwrap();
        let file = open(Path::new(&format!("/proc/self/fd/{}", writer.as_raw_fd()))).unwrap();
        let output = Output {
            patience: Duration::ZERO,
            ..Output::new(file, None)
        };
        (reader, output)
    }

    #[test]
    fn a_line_cut_by_a_full_output_does_not_spoil_the_next() {
        let (mut reader, mut output) = pipe();
        let batch = b"0123456789012345678\n".repeat(10_000);
        let lost = output.write(&batch);
        assert!(lost > 0 && lost < 10_000, "{lost}");
        assert!(output.torn);

        let mut buffer = vec![0; 1 << 20];
        let n = reader.read(&mut buffer).unwrap();
        let whole = 10_000 - usize::try_from(lost).unwrap();
        assert!(n > whole * 20 && n < (whole + 1) * 20);

        assert_eq!(output.write(b"next\n"), 0);
        let n = reader.read(&mut buffer).unwrap();
        assert_eq!(&buffer[..n], b"\nnext\n");
    }

    #[test]
    fn a_reader_that_left_costs_lines_and_nothing_else() {
        let (reader, mut output) = pipe();
        drop(reader);
        assert_eq!(output.write(b"one\ntwo\n"), 2);
        assert_eq!(output.write(b"three\n"), 1);
    }

    #[test]
    fn a_full_disk_costs_lines_and_nothing_else() {
        let mut output = Output::open(&LogOutput::File("/dev/full".into())).unwrap();
        assert_eq!(output.write(b"one\ntwo\n"), 2);
        assert!(output.failing && !output.torn);
    }

    #[test]
    fn a_renamed_or_removed_file_is_opened_anew_within_a_second() {
        let scratch = Scratch::new();
        let (path, old) = (scratch.path("access.log"), scratch.path("access.log.1"));
        let mut output = Output::open(&LogOutput::File(path.clone())).unwrap();
        assert_eq!(output.write(b"one\n"), 0);
        std::fs::rename(&path, &old).unwrap();
        output.write(b"two\n"); // not checked again yet
        output.checked -= CHECK;
        output.write(b"three\n");
        assert_eq!(std::fs::read(&old).unwrap(), b"one\ntwo\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"three\n");

        std::fs::remove_file(&path).unwrap();
        output.checked -= CHECK;
        output.write(b"four\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"four\n");

        // Nowhere to go: lines stay in the old file, and the next check tries again.
        std::fs::rename(&path, &old).unwrap();
        std::fs::create_dir(&path).unwrap();
        output.checked -= CHECK;
        output.write(b"five\n");
        assert_eq!(std::fs::read(&old).unwrap(), b"four\nfive\n");
        std::fs::remove_dir(&path).unwrap();
        output.checked -= CHECK;
        output.write(b"six\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"six\n");
    }

    #[test]
    fn a_truncated_file_is_appended_to_from_its_new_end() {
        let scratch = Scratch::new();
        let path = scratch.path("access.log");
        let mut output = Output::open(&LogOutput::File(path.clone())).unwrap();
        output.write(b"one\n");
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(0)
            .unwrap();
        output.write(b"two\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"two\n");
    }

    #[test]
    fn files_are_not_for_everyone() {
        let scratch = Scratch::new();
        let path = scratch.path("access.log");
        Output::open(&LogOutput::File(path.clone())).unwrap();
        let mode = std::fs::metadata(&path).unwrap().mode() & 0o777;
        assert_eq!(mode & !0o640, 0, "{mode:o}");
    }
}
