//! Heads as llhttp reads them, the parser of Node.js, in its strict default mode.
//!
//! httparse is the other oracle, and is asked on every input of the fuzz targets. It splits lines and
//! knows nothing of bodies; llhttp judges framing, keep-alive and upgrades as well, and shares no
//! code and no author with either. What llhttp refuses we must not accept; what both accept
//! they must understand alike. We may refuse more: that is the point of our parser.
//!
//! `OUTRIGGER_FUZZ_SEED` and `OUTRIGGER_FUZZ_RUNS` choose other inputs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod heads;
mod judge;
mod oracle;

use std::path::Path;

use judge::{EXPLAINED, judge};
use oracle::{Kind, Question, ask};
use outrigger_proxy::fuzzing::{Reading, read_request, read_response};
use outrigger_tests::{
    tools::need_python,
    vectors::{self, Verdict},
};

/// Heads per kind; about three seconds in all.
const RUNS: usize = 30_000;
const SEED: u64 = 0x0175_1996;
/// What follows each head. As chunks it is `x`, else its first bytes are the body.
const PROBE: &[u8] = b"1\r\nx\r\n0\r\n\r\n......................................................";

#[test]
fn heads_are_read_alike() {
    const TEST: &str = "heads_are_read_alike";
    let Some(python) = need_python(TEST, "httptools") else {
        return;
    };
    let requests = vectors::requests();
    let requests: Vec<_> = requests.iter().map(|(_, v)| v.bytes()).collect();
    let responses = vectors::responses();
    let responses: Vec<_> = responses.iter().map(|(_, v)| v.bytes()).collect();
    let mut seen = compare(&python, Kind::Request, &requests);
    seen.extend(compare(&python, Kind::Response, &responses));
    for (index, explained) in EXPLAINED.iter().enumerate() {
        assert!(
            seen.contains(&index),
            "not seen any more: {}",
            explained.why
        );
    }
}

/// Compares on all of these and on what is made of them; returns which explanations were needed.
fn compare(python: &Path, kind: Kind, corpus: &[Vec<u8>]) -> Vec<usize> {
    let mut random = fastrand::Rng::with_seed(number("OUTRIGGER_FUZZ_SEED").unwrap_or(SEED));
    let runs = number("OUTRIGGER_FUZZ_RUNS").map_or(RUNS, |n| usize::try_from(n).unwrap());
    let generated: Vec<_> = (0..runs)
        .map(|_| heads::generate(kind, corpus, &mut random))
        .collect();
    let inputs = corpus.iter().chain(&generated);
    let (readings, questions): (Vec<_>, Vec<_>) =
        inputs.filter_map(|bytes| question(kind, bytes)).unzip();
    let mut failures = Vec::new();
    let (mut alike, mut seen) = (0, Vec::new());
    for ((reading, (_, pieces)), opinion) in
        readings.iter().zip(&questions).zip(ask(python, &questions))
    {
        let bytes = pieces.concat();
        match judge(reading, &bytes, &opinion) {
            Ok(explained) if explained.is_empty() => alike += 1,
            Ok(explained) => seen.extend(explained),
            Err(e) => failures.push(format!("b\"{}\"\n    {e}", bytes.escape_ascii())),
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} differ; the first:\n{}",
        failures.len(),
        questions.len(),
        failures[..failures.len().min(20)].join("\n")
    );
    assert!(alike * 6 > runs, "{alike} of {runs} say little");
    seen
}

/// Vectors that we accept and llhttp does not, by the words of its error.
const STRICTER: &[(&str, &str)] = &[
    ("lower-case-method", "Invalid method"),
    ("unknown-method", "Invalid method"),
    // To it a trailer is as good as a field of the head. We take out trailers that would frame.
    ("trailer-content-length-removed", "Content-Length can't be"),
    (
        "trailer-transfer-encoding-removed",
        "Invalid `Transfer-Encoding`",
    ),
    // It complains; we read no further. Either way nothing of it is a message.
    ("nothing-after-close", "Data after `Connection: close`"),
    ("nothing-after-1.0", "Data after `Connection: close`"),
];

/// Whole connections: the messages of each vector that is accepted are those that llhttp sees.
#[test]
fn accepted_vectors_are_the_same_messages() {
    const TEST: &str = "accepted_vectors_are_the_same_messages";
    let Some(python) = need_python(TEST, "httptools") else {
        return;
    };
    let mut vectors = vectors::requests();
    vectors.retain(|(_, v)| v.verdict == Verdict::Accept);
    let questions: Vec<_> = vectors
        .iter()
        .map(|(_, v)| (Kind::Request, vec![v.bytes()]))
        .collect();
    let mut failures = Vec::new();
    for ((_, vector), opinion) in vectors.iter().zip(ask(&python, &questions)) {
        let expected = STRICTER.iter().find(|(name, _)| *name == vector.name);
        let as_wanted = match (expected, &opinion.error) {
            (Some((_, words)), Some(error)) => error.contains(words),
            (None, None) => {
                let theirs = opinion.messages.iter().map(|m| (m.whole, &m.body));
                theirs.eq(vector.forward.iter().map(|f| (Some(0), &f.body)))
            }
            _ => false,
        };
        if !as_wanted {
            failures.push(format!("{}: {opinion:?}", vector.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(vectors.len() > 80, "{}", vectors.len());
}

/// What to ask about some bytes; nothing where we refuse them.
fn question(kind: Kind, bytes: &[u8]) -> Option<(Reading, Question)> {
    let reading = match kind {
        Kind::Request => read_request(bytes),
        Kind::Response => read_response(bytes),
    };
    let pieces = match &reading {
        Reading::Refused => return None,
        Reading::Partial => vec![bytes.to_vec()],
        // The last byte of the head by itself: only it may complete the head.
        Reading::Head(head) => {
            let (most, last) = bytes[..head.len].split_at(head.len - 1);
            vec![most.to_vec(), last.to_vec(), PROBE.to_vec()]
        }
    };
    Some((reading, (kind, pieces)))
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|e| panic!("{variable}: {e}")))
}
