//! One line per finished request or connection, without ever holding up a worker.
//!
//! A worker formats a line into a buffer of its own and hands full buffers to one writer thread.
//! What waits for the writer is bounded in bytes; beyond that lines are dropped and counted. The
//! writer follows rotation and survives a full disk.
//!
//! [`AccessLog`] belongs to a snapshot, a [`LogHandle`] to a worker. What a line says is in
//! `record`, where it goes in `writer`.

mod escape;
mod record;
mod stamp;
mod writer;

use std::{
    cell::RefCell,
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc::{self, Sender},
    },
    time::Duration,
};

use outrigger_config::model;

pub(crate) use self::record::{Kind, Record};
use self::{
    stamp::Stamp,
    writer::{Message, Output},
};
use super::registry::LogCounters;

/// A worker's buffer goes to the writer when it has reached this size.
const BATCH: usize = 8 * 1024;

/// A log and its writer thread, which ends when this and all handles are gone and everything is
/// written.
#[derive(Debug)]
pub(crate) struct AccessLog {
    settings: Settings,
    shared: Arc<Shared>,
    writer: Sender<Message>,
}

/// Which lines are written, and how.
#[derive(Clone, Copy, Debug)]
struct Settings {
    format: model::LogFormat,
    /// A random number below it lets a success be logged.
    sample: f64,
    min_status: Option<u16>,
    min_duration: Option<Duration>,
}

/// What workers and the writer both know.
#[derive(Debug)]
struct Shared {
    /// Bytes handed over and not yet written.
    waiting: AtomicUsize,
    /// Most that may wait.
    budget: usize,
    counters: Arc<LogCounters>,
}

impl AccessLog {
    /// Opens the output and starts the writer. What is wrong with the output shows here.
    pub(crate) fn open(config: &model::AccessLog, counters: Arc<LogCounters>) -> io::Result<Self> {
        Self::with_output(config, counters, Output::open(&config.output)?)
    }

    fn with_output(
        config: &model::AccessLog,
        counters: Arc<LogCounters>,
        output: Output,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            waiting: AtomicUsize::new(0),
            budget: usize::try_from(config.buffer.0).unwrap_or(usize::MAX),
            counters,
        });
        let (writer, messages) = mpsc::channel();
        writer::start(messages, Arc::clone(&shared), output)?;
        Ok(Self {
            settings: Settings {
                format: config.format,
                sample: config.sample.0 / 100.0,
                min_status: config.min_status,
                min_duration: config.min_duration,
            },
            shared,
            writer,
        })
    }

    /// A worker's way to write lines.
    pub(crate) fn handle(&self) -> LogHandle {
        LogHandle {
            settings: self.settings,
            shared: Arc::clone(&self.shared),
            writer: self.writer.clone(),
            line: RefCell::new(Lines {
                buffer: Vec::new(),
                count: 0,
                stamp: Stamp::default(),
                random: fastrand::Rng::new(),
            }),
        }
    }

    /// Opens the file anew, as after SIGHUP; a rename is noticed without.
    pub(crate) fn reopen(&self) {
        // A writer that is gone has nothing to open.
        let _ = self.writer.send(Message::Reopen);
    }

    /// Waits until everything that was handed over is written, and says whether it was. Handles
    /// hand over what they hold when they are flushed or dropped.
    pub(crate) fn close(&self, within: Duration) -> bool {
        let (done, wait) = mpsc::sync_channel(1);
        self.writer.send(Message::Sync(done)).is_ok() && wait.recv_timeout(within).is_ok()
    }
}

/// A worker's end of an [`AccessLog`].
pub(crate) struct LogHandle {
    settings: Settings,
    shared: Arc<Shared>,
    writer: Sender<Message>,
    line: RefCell<Lines>,
}

struct Lines {
    /// Whole lines, not yet handed over.
    buffer: Vec<u8>,
    count: u64,
    stamp: Stamp,
    random: fastrand::Rng,
}

impl LogHandle {
    /// Writes the line of a finished request or connection, if it is one to be written.
    pub(crate) fn log(&self, record: &Record<'_>) {
        let lines = &mut *self.line.borrow_mut();
        if !self.settings.wants(record, &mut lines.random) {
            return;
        }
        if lines.buffer.capacity() == 0 {
            lines.buffer.reserve(BATCH + BATCH / 4);
        }
        record.write(self.settings.format, &mut lines.stamp, &mut lines.buffer);
        lines.count += 1;
        if lines.buffer.len() >= BATCH {
            self.hand_over(lines);
        }
    }

    /// Hands over the lines written so far. For a worker's sweep, about every 100 ms.
    pub(crate) fn flush(&self) {
        let lines = &mut *self.line.borrow_mut();
        if !lines.buffer.is_empty() {
            self.hand_over(lines);
        }
    }

    fn hand_over(&self, lines: &mut Lines) {
        let count = std::mem::take(&mut lines.count);
        let size = lines.buffer.len();
        let waiting = self.shared.waiting.fetch_add(size, Relaxed);
        // A batch that is larger than all that may wait still goes when nothing else does.
        if waiting > 0 && waiting.saturating_add(size) > self.shared.budget {
            self.shared.waiting.fetch_sub(size, Relaxed);
            self.shared.counters.dropped.fetch_add(count, Relaxed);
            lines.buffer.clear();
            return;
        }
        let batch = std::mem::take(&mut lines.buffer);
        if self.writer.send(Message::Lines(batch)).is_err() {
            self.shared.waiting.fetch_sub(size, Relaxed);
            self.shared.counters.dropped.fetch_add(count, Relaxed);
        }
    }
}

impl Drop for LogHandle {
    fn drop(&mut self) {
        self.flush();
    }
}

impl fmt::Debug for LogHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogHandle").finish_non_exhaustive()
    }
}

impl Settings {
    /// Failures always; successes that pass every filter, by chance.
    fn wants(&self, record: &Record<'_>, random: &mut fastrand::Rng) -> bool {
        if record.cause.is_some() || record.status.is_some_and(|status| status >= 500) {
            return true;
        }
        let status = |least| record.status.is_some_and(|status| status >= least);
        self.min_status.is_none_or(status)
            && self
                .min_duration
                .is_none_or(|least| record.duration >= least)
            && (self.sample >= 1.0 || random.f64() < self.sample)
    }
}

#[cfg(test)]
mod tests;
