//! The thread that writes the proxy's own log, so that an error stream which nobody reads holds up
//! nobody else.
//!
//! What waits for it is bounded in bytes; beyond that lines are lost and counted, and the log says
//! so when it gets on again. The access log has a thread of its own (`access_log::writer`), which
//! knows files and batches; here every line goes to one stream as it comes.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::AsFd as _,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc::{self, Receiver, Sender, SyncSender},
    },
    thread,
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

/// Bytes that may wait.
const MOST: usize = 1 << 20;

/// Pause before the next attempt where the stream is one that does not wait itself.
const FULL: Duration = Duration::from_millis(10);

/// Takes lines, and never waits.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    messages: Sender<Message>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes handed over and not yet written.
    waiting: AtomicUsize,
    /// Lines that could not be written.
    lost: AtomicU64,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// Tell when all before this is written.
    Flush(SyncSender<()>),
}

impl Writer {
    /// Writes to standard error.
    pub(super) fn to_stderr() -> io::Result<Self> {
        // Not by `io::Stderr`: its lock would be held while the stream is full.
        Self::to(io::stderr().as_fd().try_clone_to_owned()?.into())
    }

    fn to(output: File) -> io::Result<Self> {
        let (messages, inbox) = mpsc::channel();
        let state = Arc::new(State::default());
        let of_thread = Arc::clone(&state);
        thread::Builder::new()
            .name("log".to_owned())
            .stack_size(128 * 1024)
            .spawn(move || run(&inbox, &of_thread, output))?;
        Ok(Self { messages, state })
    }

    /// Lines lost so far.
    pub(super) fn lost(&self) -> u64 {
        self.state.lost.load(Relaxed)
    }

    /// Waits until all lines so far are written, and says whether they were.
    pub(super) fn flush(&self, within: Duration) -> bool {
        let (done, wait) = mpsc::sync_channel(1);
        self.messages.send(Message::Flush(done)).is_ok() && wait.recv_timeout(within).is_ok()
    }

    fn push(&self, line: &[u8]) {
        let state = &self.state;
        let waiting = state.waiting.fetch_add(line.len(), Relaxed);
        // One that is larger than all that may wait still goes when nothing else does.
        let has_room = waiting == 0 || waiting.saturating_add(line.len()) <= MOST;
        if !has_room || self.messages.send(Message::Line(line.to_vec())).is_err() {
            state.waiting.fetch_sub(line.len(), Relaxed);
            state.lost.fetch_add(1, Relaxed);
        }
    }
}

impl io::Write for &Writer {
    /// One call is one line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// Runs until nobody can send any more.
fn run(inbox: &Receiver<Message>, state: &State, mut output: File) {
    let mut told = 0;
    for message in inbox {
        match message {
            Message::Line(line) => {
                let written = write(&mut output, &line);
                let waiting = state.waiting.fetch_sub(line.len(), Relaxed) - line.len();
                if written.is_err() {
                    state.lost.fetch_add(1, Relaxed);
                    continue;
                }
                // Only after a line that went through, so that a broken stream is not told about.
                let lost = state.lost.load(Relaxed);
                if waiting == 0 && lost > told {
                    tracing::warn!(lines = lost - told, "lines of this log are lost");
                    told = lost;
                }
            }
            Message::Flush(done) => {
                // Whoever asked may have stopped waiting.
                let _ = done.try_send(());
            }
        }
    }
}

fn write(output: &mut File, mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match output.write(line) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => line = line.split_at(n).1,
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                // Somebody who shares the stream made it so.
                io::ErrorKind::WouldBlock => thread::park_timeout(FULL),
                _ => return Err(error),
            },
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(15);

    #[test]
    fn a_stream_that_nobody_reads_costs_lines_and_no_time() {
        let (reader, pipe) = io::pipe().unwrap();
        let writer = Writer::to(std::os::fd::OwnedFd::from(pipe).into()).unwrap();
        // More than the pipe and the queue take together.
        let pushed = 20_000;
        for n in 0..pushed {
            (&writer)
                .write_all(format!("{n:0>99}\n").as_bytes())
                .unwrap();
        }
        let lost = writer.lost();
        assert!(lost > 0 && lost < pushed, "{lost}");
        assert!(!writer.flush(Duration::ZERO), "the pipe is full");

        let read = thread::spawn(move || {
            let lines = BufReader::new(reader).lines().map(Result::unwrap);
            lines
                .map(|line| line.parse().unwrap())
                .collect::<Vec<u64>>()
        });
        assert!(writer.flush(LIMIT));
        (&writer).write_all(b"1000000\n").unwrap();
        drop(writer);
        let read = read.join().unwrap();
        assert_eq!(read.len() as u64, pushed - lost + 1);
        assert!(read.is_sorted() && read.last() == Some(&1_000_000));
    }

    #[test]
    fn a_broken_stream_is_no_failure() {
        let (reader, pipe) = io::pipe().unwrap();
        let writer = Writer::to(std::os::fd::OwnedFd::from(pipe).into()).unwrap();
        drop(reader);
        (&writer).write_all(b"gone\n").unwrap();
        assert!(writer.flush(LIMIT));
        assert_eq!(writer.lost(), 1);
    }
}
