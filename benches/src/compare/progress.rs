//! How far a run is, on standard error: one moving line on a terminal, a line per round elsewhere.

use std::{
    io::{self, IsTerminal, Write},
    time::Instant,
};

pub(super) struct Progress {
    terminal: bool,
    begun: Instant,
    done: usize,
    whole: usize,
    last: String,
}

impl Progress {
    /// Of so many steps in all.
    pub(super) fn new(whole: usize) -> Self {
        Self {
            terminal: io::stderr().is_terminal(),
            begun: Instant::now(),
            done: 0,
            whole,
            last: String::new(),
        }
    }

    /// A step begins.
    pub(super) fn step(&mut self, part: &str, what: &str) {
        let passed = self.begun.elapsed().as_secs();
        let left = match self.done {
            0 => String::new(),
            done => {
                let seconds = passed as f64 / done as f64 * self.whole.saturating_sub(done) as f64;
                format!(", about {} left", clock(seconds as u64))
            }
        };
        self.done += 1;
        let line = format!(
            "[{}/{}] {part}  {what}  ({}{left})",
            self.done.min(self.whole),
            self.whole,
            clock(passed)
        );
        let mut out = io::stderr().lock();
        if self.terminal {
            let _ = write!(out, "\r\x1b[K{line}");
        } else if self.last != part {
            // A log has enough of one line per round.
            let _ = writeln!(out, "{line}");
        }
        let _ = out.flush();
        part.clone_into(&mut self.last);
    }

    /// Steps that will not be taken.
    pub(super) const fn skip(&mut self, steps: usize) {
        self.whole = self.whole.saturating_sub(steps);
    }

    /// Makes room for a result.
    pub(super) fn clear(&self) {
        if self.terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn clock(seconds: u64) -> String {
    format!("{}:{:02}", seconds / 60, seconds % 60)
}
