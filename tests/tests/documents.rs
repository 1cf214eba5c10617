//! What README and ARCHITECTURE say can be found: files they link to, configurations they show,
//! names they mention.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic with its place is how a test fails"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

const DOCUMENTS: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "docker/compose/standalone/README.md",
    "tests/fuzz/README.md",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn documents() -> Vec<(PathBuf, String)> {
    let pages = fs::read_dir(root().join("config/docs")).unwrap();
    let pages = pages.map(|entry| entry.unwrap().path());
    DOCUMENTS
        .iter()
        .map(|document| root().join(document))
        .chain(pages.filter(|page| page.extension().is_some_and(|e| e == "md")))
        .map(|path| (path.clone(), read(path)))
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let mut checked = 0;
    for (path, text) in documents() {
        for link in links(&text) {
            if link.starts_with("http") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            assert!(target.exists(), "{}: {link}", path.display());
            if !anchor.is_empty() {
                let there = anchors(&read(&target));
                assert!(
                    there.iter().any(|name| name == anchor),
                    "{}: {link}: there are {there:?}",
                    path.display()
                );
            }
            checked += 1;
        }
    }
    assert!(checked > 60, "{checked} links");
}

#[test]
fn configurations_in_the_readme_are_valid() {
    let text = read(root().join("README.md"));
    let shown: Vec<_> = text
        .split("```yaml\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap())
        .collect();
    assert_eq!(shown.len(), 2);
    for yaml in shown {
        if let Err(problems) = outrigger_config::read(yaml, "README.yaml", &|_| None) {
            panic!("{problems}");
        }
    }
}

/// `a::b` and `x.rs` in ARCHITECTURE.md: a name that was changed is changed there, too.
#[test]
fn names_in_the_architecture_exist() {
    let mut sources = Vec::new();
    let mut files = Vec::new();
    for folder in ["proxy", "config", "control-api", "benches", "tests/tests"] {
        collect(&root().join(folder), &mut files);
    }
    for file in &files {
        sources.push(read(file));
    }
    let is_defined = |name: &str| {
        let kinds = [
            "fn", "struct", "enum", "trait", "type", "const", "static", "mod",
        ];
        let defines = kinds.map(|kind| format!("{kind} {name}"));
        sources.iter().any(|source| {
            defines.iter().any(|text| has_word(source, text))
                // Variants, fields and files.
                || [": ", ",\n", " {\n", "("]
                    .iter()
                    .any(|end| source.contains(&format!(" {name}{end}")))
        }) || files
            .iter()
            .any(|file| file.ends_with(format!("{name}.rs")))
    };
    let text = read(root().join("ARCHITECTURE.md"));
    let mut checked = 0;
    for code in text.split('`').skip(1).step_by(2) {
        if let Some((file, "rs")) = code.rsplit_once('.') {
            let found = files
                .iter()
                .any(|path| path.ends_with(format!("{file}.rs")));
            assert!(found, "no file {code}");
            checked += 1;
        }
        let is_path = code.contains("::")
            && code
                .chars()
                .all(|c| c.is_alphanumeric() || "_:".contains(c));
        if is_path && !code.starts_with("crate::") && !code.starts_with("arc_swap::") {
            for name in code
                .split("::")
                .filter(|name| !name.starts_with("outrigger_"))
            {
                assert!(is_defined(name), "{code}: no {name}");
                checked += 1;
            }
        }
    }
    assert!(checked > 80, "{checked} names");
}

fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1);
    targets.filter_map(|rest| rest.split(')').next()).collect()
}

/// Names of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let kept = line.trim_start_matches('#').trim().to_lowercase();
            kept.chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let next = text[at + word.len()..].chars().next();
        !next.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}
