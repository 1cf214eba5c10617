//! The vectors of `tests/vectors/http1` against the parser and the decoder, without sockets, with
//! the bytes cut in two at every place.

use std::{fs, path::Path};

use serde_json::Value;

use super::*;
use crate::{
    error::Cause,
    message::{Body, Edits, RequestHead, RequestView},
};

fn bytes(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).expect("a byte"))
        .collect()
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}

fn limits(listener: &str) -> Limits {
    match listener {
        "small" => Limits {
            head: 1_024,
            line: 256,
            fields: 8,
        },
        _ => Limits {
            head: 65_536,
            line: 16_384,
            fields: 128,
        },
    }
}

/// What a connection made of the bytes: whole requests as (line, body, trailers), and why it stopped.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    whole: Vec<(String, String, Vec<String>)>,
    refused: Option<Cause>,
    closed: bool,
}

/// One side of a connection whose bytes arrive in pieces.
struct Arriving<'a> {
    buffer: Vec<u8>,
    pieces: std::slice::Iter<'a, &'a [u8]>,
    limits: &'a Limits,
}

/// Payload, and trailers.
type Carried = (Vec<u8>, Vec<u8>);

impl Arriving<'_> {
    /// Takes the next piece; `None` when there is none.
    fn more(&mut self) -> Option<()> {
        let piece = self.pieces.next()?;
        self.buffer.extend_from_slice(piece);
        Some(())
    }

    /// Length of the next head, after one empty line that may come before it.
    fn head(&mut self) -> Result<Option<usize>, Cause> {
        let mut scan = HeadScan::default();
        while matches!(self.buffer.as_slice(), [] | [b'\r']) {
            if self.more().is_none() {
                return Ok(None);
            }
        }
        if self.buffer.starts_with(b"\r\n") {
            self.buffer.drain(..2);
        }
        loop {
            match scan.advance(&self.buffer, self.limits) {
                Ok(None) if self.more().is_none() => return Ok(None),
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(f) => return Err(f.cause),
            }
        }
    }

    /// A body and its trailers as they would go on.
    fn body(&mut self, framed: Body) -> Result<Option<Carried>, Cause> {
        let mut decoder = Decoder::new(framed, *self.limits);
        let mut body = Vec::new();
        loop {
            match decoder.step(&self.buffer).map_err(|f| f.cause)? {
                Step::Data { skip, len } => {
                    body.extend(self.buffer.drain(..skip + len).skip(skip));
                }
                Step::More { skip } => {
                    self.buffer.drain(..skip);
                    if self.more().is_none() {
                        return Ok(None);
                    }
                }
                Step::End { skip, trailers } => {
                    let mut out = Vec::new();
                    if framed == Body::Chunked {
                        let lines = trailers.of(&self.buffer);
                        write_trailers(&mut out, lines, self.limits, false).map_err(|f| f.cause)?;
                    }
                    self.buffer.drain(..skip);
                    return Ok(Some((body, out)));
                }
            }
        }
    }
}

/// Serves a connection until it has nothing more to say.
fn converse(pieces: &[&[u8]], limits: &Limits) -> Outcome {
    let mut outcome = Outcome::default();
    let mut arriving = Arriving {
        buffer: Vec::new(),
        pieces: pieces.iter(),
        limits,
    };
    while !outcome.closed {
        match exchange(&mut arriving, &mut outcome) {
            Ok(Some(())) => {}
            Ok(None) => break,
            Err(cause) => {
                outcome.refused = Some(cause);
                break;
            }
        }
    }
    outcome
}

fn exchange(arriving: &mut Arriving<'_>, outcome: &mut Outcome) -> Result<Option<()>, Cause> {
    let Some(len) = arriving.head()? else {
        return Ok(None);
    };
    let raw: Vec<u8> = arriving.buffer.drain(..len).collect();
    let mut head = RequestHead::default();
    parse_request(&raw, arriving.limits, &mut head).map_err(|f| f.cause)?;
    let view = RequestView {
        bytes: &raw,
        head: &head,
    };
    let mut written = Vec::new();
    write_request(
        &mut written,
        &view,
        &Edits::default(),
        false,
        view.authority(),
    );
    let Some((body, trailers)) = arriving.body(head.body)? else {
        return Ok(None);
    };
    let lines = |bytes: &[u8]| -> Vec<String> {
        let all = text(bytes);
        let lines = all.split("\r\n").filter(|l| !l.is_empty());
        lines.map(str::to_owned).collect()
    };
    let line = lines(&written).swap_remove(0);
    outcome.whole.push((line, text(&body), lines(&trailers)));
    outcome.closed = !head.keep_alive;
    Ok(Some(()))
}

/// Decided above this room: paths, CONNECT's permission, sizes of bodies.
fn decided_elsewhere(topic: &str, name: &str) -> bool {
    const NAMES: [&str; 12] = [
        "dot-segment",
        "dot-dot-segment",
        "dot-dot-encoded",
        "dot-dot-half-encoded",
        "dot-dot-last",
        "double-slash-merged",
        "unreserved-decoded",
        "absolute-form-dots",
        "connect-not-allowed",
        "body-over-limit",
        "body-over-limit-chunked",
        "nothing",
    ];
    const REFUSED: [&str; 6] = [
        "encoded-nul",
        "escape-not-hex",
        "escape-cut",
        "escape-at-end",
        "above-root",
        "above-root-encoded",
    ];
    NAMES.contains(&name) || (topic == "target" && REFUSED.contains(&name))
}

fn expected(vector: &Value) -> Outcome {
    let list = |v: &Value| -> Vec<String> {
        v.as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let forward = vector["forward"].as_array().into_iter().flatten();
    Outcome {
        whole: forward
            .map(|f| {
                let line = f["line"].as_str().unwrap_or_default().to_owned();
                let body = f["body"].as_str().unwrap_or_default().to_owned();
                (line, body, list(&f["trailers"]))
            })
            .collect(),
        refused: None,
        closed: vector["close"].as_bool().unwrap_or_default(),
    }
}

#[test]
fn verdicts_at_every_split() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/http1");
    let mut checked = 0;
    let mut failures = Vec::new();
    for entry in fs::read_dir(folder).expect("the vectors") {
        let path = entry.expect("a file").path();
        let topic = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let file: Value = serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON");
        for vector in file["vectors"].as_array().expect("a list") {
            let name = vector["name"].as_str().expect("a name");
            if decided_elsewhere(&topic, name) {
                continue;
            }
            checked += 1;
            let send = bytes(vector["send"].as_str().expect("bytes"));
            let limits = limits(vector["on"].as_str().unwrap_or("plain"));
            let wanted = expected(vector);
            for split in 0..send.len() {
                let pieces = [&send[..split], &send[split..]];
                let mut found = converse(&pieces, &limits);
                let status = found.refused.take().map_or(0, Cause::status);
                if u64::from(status) != vector["status"].as_u64().unwrap_or_default()
                    || found != wanted
                {
                    failures.push(format!(
                        "{topic}/{name} at {split}: {status} {found:?}\n  wanted {wanted:?}"
                    ));
                    break;
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(checked > 300, "{checked}");
}
