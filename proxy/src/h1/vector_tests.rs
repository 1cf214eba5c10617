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

/// The head of a connection loop, on bytes that arrive in `pieces`.
fn converse(pieces: &[&[u8]], limits: &Limits) -> Outcome {
    let mut outcome = Outcome::default();
    let mut buffer: Vec<u8> = Vec::new();
    let mut pieces = pieces.iter();
    loop {
        let mut scan = HeadScan::default();
        let mut skipped = false;
        let len = loop {
            if !skipped && buffer.starts_with(b"\r\n") {
                buffer.drain(..2);
                skipped = true;
            }
            let waiting = !skipped && matches!(buffer.as_slice(), [] | [b'\r']);
            match if waiting {
                Ok(None)
            } else {
                scan.advance(&buffer, limits)
            } {
                Ok(Some(len)) => break len,
                Ok(None) => match pieces.next() {
                    Some(piece) => buffer.extend_from_slice(piece),
                    None => return outcome,
                },
                Err(f) => {
                    return Outcome {
                        refused: Some(f.cause),
                        ..outcome
                    };
                }
            }
        };
        let mut head = RequestHead::default();
        if let Err(f) = parse_request(&buffer[..len], limits, &mut head) {
            return Outcome {
                refused: Some(f.cause),
                ..outcome
            };
        }
        let view = RequestView {
            bytes: &buffer[..len],
            head: &head,
        };
        let mut out = Vec::new();
        let host = view.authority().to_vec();
        write_request(&mut out, &view, &Edits::default(), false, &host);
        let line = text(&out)
            .split("\r\n")
            .next()
            .unwrap_or_default()
            .to_owned();
        buffer.drain(..len);
        let mut decoder = Decoder::new(head.body, *limits);
        let mut body = Vec::new();
        let mut trailers = Vec::new();
        loop {
            match decoder.step(&buffer) {
                Ok(Step::Data { skip, len }) => {
                    body.extend(buffer.drain(..skip + len).skip(skip));
                }
                Ok(Step::More { skip }) => {
                    buffer.drain(..skip);
                    match pieces.next() {
                        Some(piece) => buffer.extend_from_slice(piece),
                        None => return outcome,
                    }
                }
                Ok(Step::End {
                    skip,
                    trailers: span,
                }) => {
                    if head.body == Body::Chunked
                        && let Err(f) =
                            write_trailers(&mut trailers, span.of(&buffer), limits, false)
                    {
                        return Outcome {
                            refused: Some(f.cause),
                            ..outcome
                        };
                    }
                    buffer.drain(..skip);
                    break;
                }
                Err(f) => {
                    return Outcome {
                        refused: Some(f.cause),
                        ..outcome
                    };
                }
            }
        }
        let trailers = text(&trailers);
        let trailers = trailers
            .split("\r\n")
            .filter(|l| !l.is_empty())
            .map(str::to_owned);
        outcome.whole.push((line, text(&body), trailers.collect()));
        if !head.keep_alive {
            outcome.closed = true;
            return outcome;
        }
    }
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
