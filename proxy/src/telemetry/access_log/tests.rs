//! From workers to the file: nothing lost, nothing blocked, everything counted.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::OwnedFd,
    path::PathBuf,
    time::UNIX_EPOCH,
};

use outrigger_config::model::{ByteSize, LogFormat, LogOutput, Percent};

use super::*;
use crate::error::Cause;

/// A directory that goes away with the test.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "outrigger-log-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const SOON: Duration = Duration::from_secs(20);

fn config(output: LogOutput) -> model::AccessLog {
    model::AccessLog {
        format: LogFormat::Text,
        output,
        sample: Percent(100.0),
        min_status: None,
        min_duration: None,
        buffer: ByteSize(1 << 20),
    }
}

fn record(path: &str) -> Record<'_> {
    Record {
        path: Some(path.as_bytes()),
        status: Some(200),
        ..Record::new(UNIX_EPOCH, Kind::Http, "web")
    }
}

fn counts(counters: &LogCounters) -> (u64, u64) {
    (counters.lines.load(Relaxed), counters.dropped.load(Relaxed))
}

#[test]
fn filters_and_samples_spare_failures() {
    let all = Settings {
        format: LogFormat::Json,
        sample: 1.0,
        min_status: None,
        min_duration: None,
    };
    let none = Settings { sample: 0.0, ..all };
    let errors = Settings {
        min_status: Some(400),
        ..all
    };
    let slow = Settings {
        min_duration: Some(Duration::from_millis(100)),
        ..all
    };
    let ok = record("/");
    let missing = Record {
        status: Some(404),
        ..ok.clone()
    };
    let broken = Record {
        status: Some(500),
        ..ok.clone()
    };
    let failed = Record {
        cause: Some(Cause::ClientGone),
        ..ok.clone()
    };
    let late = Record {
        duration: Duration::from_millis(100),
        ..ok.clone()
    };
    let opaque = Record {
        status: None,
        ..ok.clone()
    };
    for (settings, record, expected) in [
        (all, &ok, true),
        (all, &opaque, true),
        (none, &ok, false),
        (none, &missing, false),
        (none, &broken, true),
        (none, &failed, true),
        (errors, &ok, false),
        (errors, &opaque, false),
        (errors, &missing, true),
        (errors, &failed, true),
        (slow, &ok, false),
        (slow, &late, true),
        (slow, &broken, true),
    ] {
        let mut random = fastrand::Rng::with_seed(1);
        let wants = settings.wants(record, &mut random);
        assert_eq!(wants, expected, "{settings:?} {record:?}");
    }
}

#[test]
fn the_share_of_samples_is_what_was_asked_for() {
    let settings = Settings {
        format: LogFormat::Json,
        sample: 0.25,
        min_status: None,
        min_duration: None,
    };
    let mut random = fastrand::Rng::with_seed(7);
    let ok = record("/");
    let logged = (0..20_000)
        .filter(|_| settings.wants(&ok, &mut random))
        .count();
    assert!((4_700..5_300).contains(&logged), "{logged}");
}

#[test]
fn rotation_under_load_loses_no_line() {
    let scratch = Scratch::new();
    let path = scratch.path("access.log");
    let counters = Arc::new(LogCounters::default());
    let mut config = config(LogOutput::File(path.clone()));
    config.buffer = ByteSize(1 << 30);
    let log = AccessLog::open(&config, Arc::clone(&counters)).unwrap();
    let (workers, each) = (3, 2_000);
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let log = &log;
            scope.spawn(move || {
                let handle = log.handle();
                for n in 0..each {
                    handle.log(&record(&format!("/{worker}/{n}")));
                }
            });
        }
        for n in 0..20 {
            std::fs::rename(&path, scratch.path(&format!("access.log.{n}"))).unwrap();
            log.reopen();
            assert!(log.close(SOON));
        }
    });
    assert!(log.close(SOON));

    let mut seen = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(&scratch.0).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for line in text.lines() {
            assert!(
                line.starts_with("time=1970") && line.ends_with("attempts=0"),
                "{line}"
            );
            let path = line.split(' ').find_map(|pair| pair.strip_prefix("path="));
            assert!(seen.insert(path.unwrap().to_owned()), "twice: {line}");
        }
    }
    assert_eq!(seen.len(), workers * each);
    assert_eq!(counts(&counters), (6_000, 0));
}

#[test]
fn lines_appear_when_flushed_and_survive_the_log() {
    let scratch = Scratch::new();
    let path = scratch.path("access.log");
    let log = AccessLog::open(&config(LogOutput::File(path.clone())), Arc::default()).unwrap();
    let handle = log.handle();
    handle.log(&record("/one"));
    assert!(log.close(SOON));
    assert_eq!(
        std::fs::read(&path).unwrap(),
        b"",
        "a batch is not full yet"
    );
    handle.flush();
    assert!(log.close(SOON));
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 1);

    // A reload replaces the log while a worker still holds its handle.
    let next = AccessLog::open(&config(LogOutput::File(path.clone())), Arc::default()).unwrap();
    drop(log);
    handle.log(&record("/two"));
    drop(handle);
    let handle = next.handle();
    handle.log(&record("/three"));
    drop(handle);
    assert!(next.close(SOON));
    // The old writer ends by itself; its line comes without anyone waiting for it.
    let deadline = std::time::Instant::now() + SOON;
    while std::fs::read_to_string(&path).unwrap().lines().count() < 3 {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
}

#[test]
fn a_stuck_reader_costs_lines_but_never_blocks() {
    let (mut reader, writer) = io::pipe().unwrap();
    let counters = Arc::new(LogCounters::default());
    let mut config = config(LogOutput::Stdout);
    config.buffer = ByteSize(128 * 1024);
    let output = Output::new(File::from(OwnedFd::from(writer)), None);
    let log = AccessLog::with_output(&config, Arc::clone(&counters), output).unwrap();
    let handle = log.handle();
    let total = 20_000;
    for _ in 0..total {
        handle.log(&record("/"));
        assert!(log.shared.waiting.load(Relaxed) <= 128 * 1024);
    }
    handle.flush();
    let (_, dropped) = counts(&counters);
    assert!(dropped > total / 2, "{dropped}");
    assert!(!log.close(Duration::from_millis(10)), "nobody has read");

    // The reader comes back: what was kept arrives whole, and all is accounted for.
    drop(handle);
    let lines = std::thread::scope(|scope| {
        let text = scope.spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            text
        });
        assert!(log.close(SOON));
        drop(log);
        let text = text.join().unwrap();
        assert!(text.lines().all(|line| line.ends_with("attempts=0")));
        text.lines().count() as u64
    });
    assert_eq!(counts(&counters), (lines, total - lines));
}

#[test]
fn a_reader_that_left_is_counted() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let counters = Arc::new(LogCounters::default());
    let output = Output::new(File::from(OwnedFd::from(writer)), None);
    let log = AccessLog::with_output(&config(LogOutput::Stdout), Arc::clone(&counters), output);
    let log = log.unwrap();
    let handle = log.handle();
    for _ in 0..3 {
        handle.log(&record("/"));
        handle.flush();
    }
    assert!(log.close(SOON));
    assert_eq!(counts(&counters), (0, 3));
}

#[test]
fn what_cannot_be_opened_is_an_error_at_once() {
    let scratch = Scratch::new();
    let missing = scratch.path("no-such-directory").join("access.log");
    let error = AccessLog::open(&config(LogOutput::File(missing)), Arc::default());
    assert_eq!(error.unwrap_err().kind(), io::ErrorKind::NotFound);
}
