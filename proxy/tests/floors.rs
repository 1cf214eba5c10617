//! Holds the order of rooms, and other things that are true of the sources as text: what
//! ARCHITECTURE.md says of them is checked here.
//!
//! A room is a top-level module of the proxy. Rooms stand on floors; a room imports from lower
//! floors and from itself, so that there is no circle and every room can be read with nothing
//! above it in mind. Tests may import what they like: modules and files under `#[cfg(test)]` are
//! left out where imports are looked at.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Rooms and their floors, from the ground up.
const FLOORS: &[(u32, &[&str])] = &[
    (1, &["error", "drain", "sys", "timer"]),
    (2, &["telemetry", "identity"]),
    (3, &["net"]),
    (4, &["message", "tls"]),
    (5, &["h1", "h2", "tcp", "cluster"]),
    (6, &["filter", "upstream"]),
    (7, &["route"]),
    (8, &["policy"]),
    (9, &["snapshot"]),
    (10, &["shared"]),
    (11, &["http", "control", "admin"]),
    (12, &["serve"]),
    (13, &["worker"]),
    (14, &["app"]),
    (15, &["commands"]),
];

/// Not rooms: what stands outside the house and looks in.
const OUTSIDE: &[&str] = &["lib", "main", "benching", "fuzzing"];

/// Rooms on the way of a request take settings that were compiled into a snapshot, not the
/// configuration itself. These plain enums and numbers have no other form worth having.
const CONFIG_ALLOWED: &[(&str, &str, &str)] = &[
    (
        "h2/settings.rs",
        "Http2Options",
        "three numbers, used as they were written",
    ),
    (
        "h2/settings.rs",
        "FrameRates",
        "pairs of numbers, copied into limits",
    ),
    ("h2/settings.rs", "Rate", "a pair of numbers"),
    ("h2/settings.rs", "HttpOptions", "the defaults of those"),
    (
        "http/upload.rs",
        "SendProxyProtocol",
        "the version of a header to write: three values",
    ),
    (
        "http/tunnel.rs",
        "Direction",
        "which phase of the way out counts: three values",
    ),
    (
        "upstream/keepalive.rs",
        "Http2Keepalive",
        "two times, used as they were written",
    ),
    (
        "upstream/pool.rs",
        "Pool",
        "five numbers, used as they were written",
    ),
];
const WITHOUT_CONFIG: &[&str] = &["h1", "h2", "http", "message", "tcp", "upstream"];

/// Decisions: bytes and facts in, verdicts out.
const PURE: &[&str] = &[
    "cluster/",
    "filter/",
    "h1/",
    "h2/lines.rs",
    "h2/fields.rs",
    "h2/frame.rs",
    "h2/hpack/",
    "h2/request.rs",
    "h2/response.rs",
    "h2/trailers.rs",
    "identity/bundle.rs",
    "identity/constraints.rs",
    "identity/life.rs",
    "identity/refusal.rs",
    "identity/spiffe.rs",
    "identity/svid.rs",
    "identity/verify.rs",
    "message/",
    "net/behind.rs",
    "net/client_hello.rs",
    "net/detect.rs",
    "net/first_speaker.rs",
    "net/proxy_protocol.rs",
    "policy/",
    "route/",
    "snapshot/",
    "upstream/habits.rs",
];
/// What io and clocks are made of.
const IMPURE: &[&str] = &[
    "crate::sys",
    "crate::timer",
    "std::fs",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "tokio::fs",
    "tokio::io",
    "tokio::net",
    "tokio::time",
];

/// Files that have a lock, and why no request waits for it.
const LOCKS_ALLOWED: &[(&str, &str)] = &[
    ("app/view.rs", "between the main thread and admin"),
    (
        "cluster/mod.rs",
        "between those who replace endpoints; picking reads an `ArcSwap`",
    ),
    (
        "telemetry/registry.rs",
        "between a scrape and the building of a table",
    ),
];

#[test]
fn rooms_import_from_lower_floors() {
    let mut problems = Vec::new();
    for file in sources() {
        let code = without_tests(&file.code);
        problems.extend(upward(&file.path, &code));
    }
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn every_room_has_its_floor() {
    let named: BTreeSet<_> = FLOORS.iter().flat_map(|(_, rooms)| *rooms).collect();
    let files = sources();
    let present: BTreeSet<_> = files
        .iter()
        .map(|file| room_of(&file.path))
        .filter(|room| !OUTSIDE.contains(room))
        .collect();
    assert_eq!(named.into_iter().copied().collect::<BTreeSet<_>>(), present);
}

#[test]
fn the_rooms_are_those_of_the_document() {
    let document = read(&root().join("../ARCHITECTURE.md"));
    for (floor, rooms) in FLOORS {
        let rooms: Vec<_> = rooms.iter().map(|room| format!("`{room}`")).collect();
        let row = format!("| {floor} | {} |", rooms.join(", "));
        assert!(
            document.contains(&row),
            "ARCHITECTURE.md lacks the row {row}"
        );
    }
}

#[test]
fn unsafe_code_is_in_sys_alone() {
    let found: Vec<_> = sources()
        .into_iter()
        .filter(|file| !file.path.starts_with("sys/") && has_word(&file.code, "unsafe"))
        .map(|file| file.path)
        .collect();
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn files_begin_with_what_they_are() {
    let found: Vec<_> = sources()
        .into_iter()
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| file.path)
        .collect();
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn the_request_path_knows_no_configuration() {
    let mut found = BTreeSet::new();
    for file in sources() {
        if WITHOUT_CONFIG.contains(&room_of(&file.path)) {
            let code = without_tests(&file.code);
            for name in config_names(&code) {
                found.insert((file.path.clone(), name));
            }
        }
    }
    let allowed: BTreeSet<_> = CONFIG_ALLOWED
        .iter()
        .map(|(file, name, _)| ((*file).to_owned(), (*name).to_owned()))
        .collect();
    assert_eq!(found, allowed);
}

#[test]
fn decisions_do_no_io_and_read_no_clock() {
    let mut found = Vec::new();
    for file in sources() {
        if PURE.iter().any(|pure| file.path.starts_with(pure)) {
            let code = without_tests(&file.code);
            let used = impure(&code).into_iter();
            found.extend(used.map(|path| format!("{}: {path}", file.path)));
        }
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn locks_are_where_no_request_waits() {
    let found: BTreeSet<_> = sources()
        .into_iter()
        .filter(|file| {
            let code = without_tests(&file.code);
            ["Mutex", "RwLock", "Condvar"]
                .iter()
                .any(|lock| has_word(&code, lock))
        })
        .map(|file| file.path)
        .collect();
    let allowed: BTreeSet<_> = LOCKS_ALLOWED
        .iter()
        .map(|(file, _)| (*file).to_owned())
        .collect();
    assert_eq!(found, allowed);
}

/// Paths of a file that lead to io or a clock.
fn impure(code: &str) -> Vec<String> {
    let paths = ["crate", "std", "tokio"].into_iter().flat_map(|start| {
        let behind = paths_behind(code, &format!("{start}::")).into_iter();
        behind.map(move |path| format!("{start}::{}", path.join("::")))
    });
    let leads_to = |path: &str, part: &str| {
        path.strip_prefix(part)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    paths
        .filter(|path| IMPURE.iter().any(|part| leads_to(path, part)))
        .collect()
}

/// Imports of a file that point upwards or sideways.
fn upward(path: &str, code: &str) -> Vec<String> {
    let own = room_of(path);
    if OUTSIDE.contains(&own) {
        return Vec::new();
    }
    let floor = |room: &str| {
        let found = FLOORS.iter().find(|(_, rooms)| rooms.contains(&room));
        found.map(|(floor, _)| *floor)
    };
    let mut problems = Vec::new();
    for imported in crate_paths(code) {
        let room = imported.first().map_or("", String::as_str);
        match (floor(own), floor(room)) {
            _ if room == own => {}
            (Some(above), Some(below)) if above > below => {}
            (Some(here), Some(there)) => problems.push(format!(
                "{path} (floor {here}) imports crate::{} (floor {there})",
                imported.join("::")
            )),
            _ => problems.push(format!(
                "{path}: crate::{} is in no room",
                imported.join("::")
            )),
        }
    }
    // From a room's own file, `super` is the crate itself.
    let depth = path.matches('/').count() + usize::from(!path.ends_with("/mod.rs"));
    if code.contains(&"super::".repeat(depth)) {
        problems.push(format!("{path}: leaves its room by `super`"));
    }
    problems
}

fn room_of(path: &str) -> &str {
    let first = path.split('/').next().unwrap_or(path);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// Every path behind `crate::`, groups taken apart.
fn crate_paths(code: &str) -> Vec<Vec<String>> {
    paths_behind(code, "crate::")
}

/// Names of the configuration's model that a file uses.
fn config_names(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in paths_behind(code, "outrigger_config::") {
        match path.as_slice() {
            [model] | [model, _] if model != "model" => drop(names.insert(path.join("::"))),
            [_, name, ..] if name != "self" => drop(names.insert(name.clone())),
            // `model` itself: what is used of it is behind its name.
            _ => names.extend(
                paths_behind(code, "model::")
                    .into_iter()
                    .filter_map(|path| path.into_iter().next()),
            ),
        }
    }
    names
}

/// Every path that stands behind `start`, groups taken apart.
fn paths_behind(code: &str, start: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(start) {
        let before = code[..at].chars().next_back();
        if !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            path(&code[at + start.len()..], &mut Vec::new(), &mut found);
        }
    }
    found
}

/// Reads `a::b`, `a::{b, c::d}` or `{a, b}`; returns how much was read.
fn path(code: &str, front: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
    let own = front.len();
    let mut at = 0;
    loop {
        at += code[at..].len() - code[at..].trim_start().len();
        let rest = &code[at..];
        if rest.starts_with('{') {
            at += 1;
            while !code[at..].trim_start().starts_with('}') {
                at += path(&code[at..], front, found);
                let between = code[at..].trim_start();
                assert!(between.starts_with([',', '}']), "no import: {between:.40}");
                at = code.len() - between.strip_prefix(',').unwrap_or(between).len();
            }
            at = code.len() - code[at..].trim_start().len() + 1;
            break;
        }
        let length = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_' && c != '*')
            .unwrap_or(rest.len());
        front.push(rest[..length].to_owned());
        at += length;
        let Some(next) = code[at..].strip_prefix("::") else {
            found.push(front.clone());
            let renamed = code[at..].trim_start();
            if let Some(name) = renamed.strip_prefix("as ") {
                let end = name.find([',', '}', ';']).unwrap_or(name.len());
                at = code.len() - name.len() + end;
            }
            break;
        };
        at = code.len() - next.len();
    }
    front.truncate(own);
    at
}

struct Source {
    /// Below `src`.
    path: String,
    text: String,
    /// The text with comments and literals blanked.
    code: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every source that is part of the proxy: files of modules under `#[cfg(test)]` are left out.
fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    collect(&root().join("src"), &mut files);
    files.sort();
    let all: Vec<_> = files
        .into_iter()
        .map(|file| {
            let text = read(&file);
            let path = file
                .strip_prefix(root().join("src"))
                .expect("listed below it");
            Source {
                path: path.to_str().expect("names are ASCII").to_owned(),
                code: code(&text),
                text,
            }
        })
        .collect();
    assert!(all.len() > 80, "the sources are elsewhere");
    let tests: Vec<_> = all.iter().flat_map(test_modules).collect();
    let is_test = |path: &str| {
        tests
            .iter()
            .any(|module| path == format!("{module}.rs") || path.starts_with(&format!("{module}/")))
    };
    all.into_iter()
        .filter(|file| !is_test(&file.path))
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

/// Modules in files of their own that exist only in tests: their paths without ending.
fn test_modules(file: &Source) -> Vec<String> {
    let folder = match file.path.strip_suffix("/mod.rs") {
        Some(folder) => format!("{folder}/"),
        None if file.path == "lib.rs" => String::new(),
        None => format!("{}/", file.path.trim_end_matches(".rs")),
    };
    let items = file.code.split("#[cfg(test)]").skip(1);
    items
        .filter_map(|item| {
            let item = item.trim_start().trim_start_matches("pub(crate)");
            let (name, _) = item.trim_start().strip_prefix("mod ")?.split_once(';')?;
            name.chars()
                .all(|c| c.is_alphanumeric() || c == '_')
                .then(|| format!("{folder}{name}"))
        })
        .collect()
}

/// Blanks items under `#[cfg(test)]`: to the `;` or through the braces that follow.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        out.push_str(&rest[..at]);
        rest = &rest[at + MARK.len()..];
        let end = rest.find([';', '{']).expect("an attribute has an item");
        rest = if rest[end..].starts_with(';') {
            &rest[end + 1..]
        } else {
            behind_braces(&rest[end..])
        };
    }
    out.push_str(rest);
    out
}

fn behind_braces(code: &str) -> &str {
    let mut open = 0_usize;
    for (at, char) in code.char_indices() {
        match char {
            '{' => open += 1,
            '}' => open -= 1,
            _ => continue,
        }
        if open == 0 {
            return &code[at + 1..];
        }
    }
    panic!("braces are not closed")
}

fn has_word(code: &str, word: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    code.match_indices(word).any(|(at, _)| {
        !part(code[..at].chars().next_back()) && !part(code[at + word.len()..].chars().next())
    })
}

/// Blanks comments and the insides of string, byte string and character literals.
fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else {
            literal(rest, out.chars().next_back())
        };
        if skipped == 0 {
            out.push(char);
            rest = &rest[char.len_utf8()..];
        } else {
            out.push(' ');
            rest = &rest[skipped..];
        }
    }
    out
}

/// Length of the literal at the front of `rest`, or 0.
fn literal(rest: &str, before: Option<char>) -> usize {
    let hashes = rest
        .strip_prefix('r')
        .map_or(0, |raw| raw.len() - raw.trim_start_matches('#').len());
    let is_name = before.is_some_and(|c| c.is_alphanumeric() && c != 'b');
    if !is_name && rest.starts_with('r') && rest[1 + hashes..].starts_with('"') {
        let end = format!("\"{}", "#".repeat(hashes));
        let inside = &rest[hashes + 2..];
        let length = inside.find(&end).expect("a raw string has an end");
        return hashes + 2 + length + end.len();
    }
    if rest.starts_with('"') {
        return closed(rest, '"').expect("a string has an end");
    }
    // `'a` is a lifetime unless a quote follows what may be one character.
    let is_char = rest.starts_with("'\\") || rest.chars().nth(2) == Some('\'');
    if rest.starts_with('\'') && is_char {
        return closed(rest, '\'').expect("a character has an end");
    }
    0
}

/// Length through the closing quote, escapes respected.
fn closed(rest: &str, quote: char) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, char)) = chars.next() {
        if char == '\\' {
            chars.next();
        } else if char == quote {
            return Some(at + 1);
        }
    }
    None
}

/// The reader itself, so that the tests above cannot pass by seeing nothing.
mod reader {
    use super::*;

    #[test]
    fn imports_are_found_however_they_are_written() {
        let source = r##"
            use crate::{error::{Cause, Failure}, net::stream::Stream as S, timer::{self, now}, drain};
            // use crate::app::No;
            const TEXT: &str = "crate::app::No \" crate::app"; const RAW: &str = r#"crate::app"#;
            const QUOTE: char = '"'; fn f<'a>(x: &'a str) -> crate::message::Body { crate::h1::parse(b"crate::app") }
        "##;
        let mut found: Vec<_> = crate_paths(&code(source))
            .iter()
            .map(|path| path.join("::"))
            .collect();
        found.sort();
        assert_eq!(
            found,
            [
                "drain",
                "error::Cause",
                "error::Failure",
                "h1::parse",
                "message::Body",
                "net::stream::Stream",
                "timer::now",
                "timer::self"
            ]
        );
    }

    #[test]
    fn an_arrow_upwards_is_a_problem() {
        for (path, source, problems) in [
            ("route/table.rs", "use crate::message::Edits;", 0),
            ("route/table.rs", "use crate::http::Conn;", 1),
            ("cluster/mod.rs", "fn f() { crate::route::find(); }", 1),
            ("h1/mod.rs", "use crate::{cluster::Cluster, error};", 1),
            ("h1/body.rs", "use super::scan;", 0),
            ("h1/mod.rs", "use super::http;", 1),
            ("serve.rs", "use super::worker;", 1),
            ("net/accept/deep.rs", "use super::super::options;", 0),
            ("net/accept/deep.rs", "use super::super::super::app;", 1),
            ("serve.rs", "use crate::attic::Box;", 1),
        ] {
            let found = upward(path, &without_tests(&code(source)));
            assert_eq!(found.len(), problems, "{path}: {source}: {found:?}");
        }
    }

    #[test]
    fn tests_are_left_out_and_nothing_behind_them() {
        let source =
            "#[cfg(test)]\nmod tests { use crate::app; fn f() { \"}\"; } }\nuse crate::net;";
        let found = crate_paths(&without_tests(&code(source)));
        assert_eq!(found, [["net"]]);
        let file = Source {
            path: "net/mod.rs".into(),
            text: String::new(),
            code: "#[cfg(test)]\npub(crate) mod testing;\n#[cfg(test)]\nmod tests {}".into(),
        };
        assert_eq!(test_modules(&file), ["net/testing"]);
    }

    #[test]
    fn names_of_the_model_are_found() {
        let code = "use outrigger_config::model::{Direction, Protocol}; fn f() -> outrigger_config::Loaded {}";
        let names: Vec<_> = config_names(code).into_iter().collect();
        assert_eq!(names, ["Direction", "Loaded", "Protocol"]);
        let code = "use outrigger_config::model; fn f(p: &model::Pool) {}";
        assert_eq!(config_names(code), BTreeSet::from(["Pool".to_owned()]));
    }

    #[test]
    fn io_and_clocks_are_found() {
        let code = "use std::{fs, net::IpAddr, time::{Duration, Instant}}; use tokio::{sync::Notify, time};";
        assert_eq!(
            impure(code),
            ["std::fs", "std::time::Instant", "tokio::time"]
        );
        assert_eq!(impure("crate::timer::now()"), ["crate::timer::now"]);
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("x unsafe { }", "unsafe"));
        assert!(!has_word("deny(unsafe_code)", "unsafe"));
    }
}
