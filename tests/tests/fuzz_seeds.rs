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
use outrigger_tests::{mutations::mutate, vectors};

/// Mutations per target; about three seconds in all, in a debug build.
const RUNS: usize = 20_000;
/// A configuration takes longer to read and build than a head.
const CONFIG_RUNS: usize = 3_000;
const SEED: u64 = 0x0175_1996;
/// Inputs grow to this and no further.
const LONGEST: usize = 6_000;

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
