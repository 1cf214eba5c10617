//! A short run of every fuzz target inside the ordinary tests: its corpus as it is, then seeded
//! mutations of it. Long runs are `cargo fuzz`'s, see `tests/fuzz/README.md`.
//!
//! A failure names target, seed and input. `OUTRIGGER_FUZZ_SEED` and `OUTRIGGER_FUZZ_RUNS` choose
//! others; an input that failed belongs into the corpus.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic with its place is how a test fails"
)]

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use outrigger_proxy::fuzzing::{TARGETS, Target};
use outrigger_tests::vectors;

/// Mutations per target; about three seconds in all, in a debug build.
const RUNS: usize = 20_000;
/// A configuration takes longer to read and build than a head.
const CONFIG_RUNS: usize = 3_000;
const SEED: u64 = 0x0175_1996;
/// Inputs grow to this and no further.
const LONGEST: usize = 6_000;

/// What changes the meaning of a message more often than a random byte does.
const TOKENS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"%2e%2e/",
    b"%00",
    b"/../",
    b"//",
    b"?",
    b"0",
    b"0\r\n\r\n",
    b"ffffffffffffffff",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"HTTP/2.0",
    b"http://a",
    b"* ",
    b"OPTIONS ",
    b"CONNECT a:1 ",
    b"HEAD ",
    b"Host: a\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close, upgrade, te\r\n",
    b"Upgrade: websocket\r\n",
    b"TE: trailers\r\n",
    b"Expect: 100-continue\r\n",
    b"Keep-Alive: timeout=5\r\n",
    b"X-Forwarded-For: 1\r\n",
    b"Content_Length: 1\r\n",
    b":method: CONNECT\n",
    b":path: /\n",
    b":authority: a\n",
    b"\nhost: a\n",
    b"\ncontent-length: 5\n",
    b"\ncookie: a\n",
    b"\nte: trailers\n",
    b"PROXY TCP4 ",
    b"\r\n\r\n\0\r\nQUIT\n",
    b"${A}",
    b"$${",
    b"{ }",
    b"[ ]",
    b"- ",
    b"weight: 0",
    b"balance: maglev",
    b"null",
    b"9999999999",
    b"&a ",
    b"*a",
];

#[test]
fn every_target_survives_its_corpus_and_mutations_of_it() {
    let seed = number("OUTRIGGER_FUZZ_SEED").unwrap_or(SEED);
    let threads: Vec<_> = TARGETS
        .iter()
        .map(|(name, target)| std::thread::spawn(move || run(name, *target, seed)))
        .collect();
    let failures: Vec<_> = threads
        .into_iter()
        .filter_map(|thread| thread.join().unwrap().err())
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn every_target_is_one_of_cargo_fuzz() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        let path = format!("fuzz_targets/{name}.rs");
        let text = fs::read_to_string(root.join(&path)).unwrap();
        assert!(text.contains(&format!("fuzzing::{name}(data)")), "{path}");
        assert!(manifest.contains(&format!("path = \"{path}\"")), "{path}");
    }
}

#[test]
fn a_broken_property_is_reported_with_its_seed_and_input() {
    let target: Target = |bytes| assert!(!bytes.contains(&b'!'), "an exclamation");
    let corpus = [b"GET /?a=b HTTP/1.1".to_vec()];
    let report = (0..100).find_map(|seed| mutate_all("made-up", target, &corpus, seed, 400).err());
    let report = report.expect("some mutation makes one");
    for part in ["made-up", "seed", "an exclamation", "!"] {
        assert!(report.contains(part), "{report}");
    }
}

fn run(name: &str, target: Target, seed: u64) -> Result<(), String> {
    let corpus = corpus(name);
    assert!(corpus.len() >= 5, "{name}: the corpus is gone");
    for input in &corpus {
        check(name, target, input, "corpus")?;
    }
    let runs = match name {
        "config" => CONFIG_RUNS,
        _ => RUNS,
    };
    let runs = number("OUTRIGGER_FUZZ_RUNS").map_or(runs, |runs| usize::try_from(runs).unwrap());
    mutate_all(name, target, &corpus, seed, runs)
}

fn mutate_all(
    name: &str,
    target: Target,
    corpus: &[Vec<u8>],
    seed: u64,
    runs: usize,
) -> Result<(), String> {
    let mut random = fastrand::Rng::with_seed(seed);
    for run in 0..runs {
        let mut input = random.choice(corpus).unwrap().clone();
        for _ in 0..random.usize(1..=6) {
            mutate(&mut input, corpus, &mut random);
        }
        input.truncate(LONGEST);
        check(name, target, &input, &format!("seed {seed}, run {run}"))?;
    }
    Ok(())
}

fn mutate(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut fastrand::Rng) {
    let at = random.usize(..=input.len());
    let end = (at + random.usize(..16)).min(input.len());
    match random.u8(..8) {
        0 => drop(input.drain(at..end)),
        1 => insert(input, at, &[random.u8(..)]),
        2 | 3 => insert(input, at, random.choice(TOKENS).unwrap()),
        4 => {
            let part = input[at..end].to_vec();
            insert(input, random.usize(..=input.len()), &part);
        }
        5 => {
            let other = random.choice(corpus).unwrap();
            let from = random.usize(..=other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        6 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << random.u8(..8);
            }
        }
        _ => {
            if let Some(byte) = input.get_mut(at) {
                *byte = random.u8(b' '..=b'~');
            }
        }
    }
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}

fn check(name: &str, target: Target, input: &[u8], which: &str) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| target(input))).map_err(|panic| {
        let said = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or_default();
        format!(
            "target {name}, {which}: {said}\ninput: b\"{}\"",
            input.escape_ascii()
        )
    })
}

/// Seeds of a target: its folder, and what other tests have.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut all = files(&root.join("fuzz/corpus").join(name));
    match name {
        "request" => all.extend(vectors::requests().iter().map(|(_, v)| v.bytes())),
        "response" => all.extend(vectors::responses().iter().map(|(_, v)| {
            let asked = u8::from(matches!(v.request, vectors::Ask::HEAD));
            [vec![asked], v.bytes()].concat()
        })),
        "body" => all.extend(vectors::requests().iter().filter_map(|(_, v)| {
            let bytes = v.bytes();
            let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
            Some([&[2, 7], &bytes[head + 4..]].concat())
        })),
        "http2_request" | "http2_response" | "http2_trailers" => {
            let kind = name.strip_prefix("http2_").unwrap_or_default();
            let both = |message: &Vec<u8>| [0, 1].map(|choice| [&[choice], &message[..]].concat());
            all.extend(vectors::http2(kind).iter().flat_map(both));
        }
        "config" => all.extend(files(&root.join("../config/examples"))),
        _ => {}
    }
    all
}

fn files(folder: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|e| panic!("{variable}: {e}")))
}
