//! llhttp in a child process: Python's `httptools`, which wraps it, behind lines of hex and JSON.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
};

use serde::Deserialize;

/// The first line of a message with what llhttp concluded, once the head was whole.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) status: u16,
    pub(crate) version: String,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
    /// The piece that completed it.
    pub(crate) piece: usize,
}

/// A message as far as it came.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Message {
    pub(crate) head: Option<Head>,
    pub(crate) target: String,
    /// Names and values. A value keeps the blanks after it.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) chunked: bool,
    pub(crate) body: String,
    /// The piece that completed it.
    pub(crate) whole: Option<usize>,
}

/// What llhttp made of the pieces of one connection.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Opinion {
    pub(crate) error: Option<String>,
    pub(crate) messages: Vec<Message>,
}

/// Which way a connection is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
}

/// A question: pieces of a connection, handed over one after another.
pub(crate) type Question = (Kind, Vec<Vec<u8>>);

/// Asks every question, in order, in one process.
pub(crate) fn ask(python: &Path, questions: &[Question]) -> Vec<Opinion> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/llhttp/oracle.py");
    let child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Killed(child);
    let mut input = child.0.stdin.take().unwrap();
    let output = BufReader::new(child.0.stdout.take().unwrap());
    std::thread::scope(|scope| {
        // Both pipes are bounded: one thread writes while the other reads.
        scope.spawn(move || {
            for (kind, pieces) in questions {
                if input.write_all(line(*kind, pieces).as_bytes()).is_err() {
                    // It ended; the missing answers say so.
                    return;
                }
            }
        });
        let answers = output.lines().map(|line| {
            let line = line.unwrap();
            serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))
        });
        let answers: Vec<_> = answers.collect();
        assert_eq!(answers.len(), questions.len(), "the oracle ended early");
        answers
    })
}

fn line(kind: Kind, pieces: &[Vec<u8>]) -> String {
    use std::fmt::Write;
    let mut line = String::from(match kind {
        Kind::Request => "request",
        Kind::Response => "response",
    });
    for piece in pieces {
        line.push(' ');
        for byte in piece {
            let _ = write!(line, "{byte:02x}");
        }
    }
    line.push('\n');
    line
}

/// A child that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
