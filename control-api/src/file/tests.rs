//! Files in real directories. Every wait has an end, and nothing sleeps to be in time.

use std::fs;
use std::future::Future;
use std::os::unix::fs::symlink;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;

use super::*;

/// A directory of its own for a test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("outrigger-file-source-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).unwrap();
    }

    /// A file renamed over another, as careful writers do.
    fn replace(&self, name: &str, text: &str) {
        self.write("new", text);
        fs::rename(self.at("new"), self.at(name)).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, future)
        .await
        .expect("an answer in time")
}

/// Faster than looking from time to time would be.
async fn next(source: &mut FileSource) -> io::Result<String> {
    within(
        POLL.saturating_sub(Duration::from_millis(100)),
        source.next(),
    )
    .await
}

/// Polls once; the source must have nothing to hand out.
async fn is_waiting(source: &mut FileSource) {
    let early = polled_once(source.next()).await;
    assert!(early.is_none(), "{early:?}");
}

/// What a future has for its first poll; then it is dropped.
async fn polled_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// A source that has handed out `text` and watches.
async fn started(path: PathBuf, text: &str) -> FileSource {
    let mut source = FileSource::new(path);
    assert_eq!(next(&mut source).await.unwrap(), text);
    source
}

#[tokio::test]
async fn hands_out_each_change() {
    let scratch = Scratch::new();
    scratch.write("x", "one");
    let mut source = started(scratch.at("x"), "one").await;
    scratch.replace("x", "two");
    assert_eq!(next(&mut source).await.unwrap(), "two");
    scratch.write("x", "three, in place");
    assert_eq!(next(&mut source).await.unwrap(), "three, in place");
    fs::remove_file(scratch.at("x")).unwrap();
    is_waiting(&mut source).await;
    scratch.write("x", "four");
    assert_eq!(next(&mut source).await.unwrap(), "four");
    // A second name for a file that was written before.
    scratch.write("y", "five");
    fs::remove_file(scratch.at("x")).unwrap();
    fs::hard_link(scratch.at("y"), scratch.at("x")).unwrap();
    assert_eq!(next(&mut source).await.unwrap(), "five");
}

#[tokio::test]
async fn sees_what_changed_between_calls() {
    let scratch = Scratch::new();
    scratch.write("x", "one");
    let mut source = FileSource::new(scratch.at("x"));
    assert_eq!(source.read_now().unwrap(), "one");
    scratch.replace("x", "two");
    assert_eq!(next(&mut source).await.unwrap(), "two");
    scratch.replace("x", "three");
    assert_eq!(source.read_now().unwrap(), "three");
    scratch.replace("x", "four");
    assert_eq!(next(&mut source).await.unwrap(), "four");
}

#[tokio::test]
async fn what_is_equal_is_no_change() {
    let scratch = Scratch::new();
    scratch.write("x", "one");
    let mut source = started(scratch.at("x"), "one").await;
    scratch.replace("x", "one");
    scratch.write("x", "one");
    scratch.write("other", "noise");
    let quiet = tokio::time::timeout(Duration::from_millis(200), source.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    // It was not deaf.
    scratch.write("x", "two");
    assert_eq!(next(&mut source).await.unwrap(), "two");
}

#[tokio::test]
async fn follows_the_links_of_a_config_map() {
    let scratch = Scratch::new();
    // As the kubelet does it: x -> ..data/x, ..data -> ..version, swapped by a rename.
    let publish = |version: &str, text: &str| {
        fs::create_dir(scratch.at(version)).unwrap();
        scratch.write(&format!("{version}/x"), text);
        symlink(version, scratch.at("..tmp")).unwrap();
        fs::rename(scratch.at("..tmp"), scratch.at("..data")).unwrap();
    };
    publish("..1", "one");
    symlink("..data/x", scratch.at("x")).unwrap();
    let mut source = started(scratch.at("x"), "one").await;
    for (version, text) in [("..2", "two"), ("..3", "three")] {
        publish(version, text);
        assert_eq!(next(&mut source).await.unwrap(), text);
    }
    fs::remove_dir_all(scratch.at("..2")).unwrap();
    // The target of the links is followed too.
    scratch.write("..3/x", "four");
    assert_eq!(next(&mut source).await.unwrap(), "four");
}

#[tokio::test]
async fn follows_absolute_links_and_swapped_directories() {
    let scratch = Scratch::new();
    for (directory, text) in [("a", "one"), ("b", "two")] {
        fs::create_dir(scratch.at(directory)).unwrap();
        scratch.write(&format!("{directory}/x"), text);
    }
    fs::create_dir(scratch.at("c")).unwrap();
    symlink(scratch.at("a/x"), scratch.at("c/link")).unwrap();
    let mut source = started(scratch.at("c/../c/link"), "one").await;
    fs::rename(scratch.at("a"), scratch.at("old")).unwrap();
    fs::rename(scratch.at("b"), scratch.at("a")).unwrap();
    assert_eq!(next(&mut source).await.unwrap(), "two");
}

#[tokio::test]
async fn waiting_may_be_given_up() {
    let scratch = Scratch::new();
    scratch.write("x", "one");
    let mut source = started(scratch.at("x"), "one").await;
    for count in 0..50 {
        let text = format!("text {count}");
        scratch.replace("x", &text);
        let mut early = None;
        for _ in 0..count % 5 {
            early = polled_once(source.next()).await;
            if early.is_some() {
                // The thread that reads can be done within the turn that asked it.
                break;
            }
            tokio::task::yield_now().await;
        }
        let handed_out = match early {
            Some(result) => result,
            None => next(&mut source).await,
        };
        assert_eq!(handed_out.unwrap(), text);
    }
}

#[tokio::test]
async fn what_follows_closely_goes_together() {
    let scratch = Scratch::new();
    scratch.write("x", "one");
    let mut source = started(scratch.at("x"), "one").await;
    let mut handed_out = 0;
    let mut last = String::new();
    let start = Instant::now();
    while last != "text 99" {
        for count in 0..100 {
            scratch.replace("x", &format!("text {count}"));
        }
        last = next(&mut source).await.unwrap();
        handed_out += 1;
        let most = start.elapsed().as_millis() / TOGETHER.as_millis() + 2;
        assert!(handed_out <= most, "{handed_out} of at most {most}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_told_once() {
    let scratch = Scratch::new();
    scratch.write("x", "one");
    let mut source = started(scratch.at("x"), "one").await;
    fs::write(scratch.at("x"), b"\xff").unwrap();
    let error = next(&mut source).await.unwrap_err();
    assert_eq!(error.to_string(), "not UTF-8 text");
    fs::write(scratch.at("x"), b"\xfe").unwrap();
    is_waiting(&mut source).await;
    scratch.write("x", "one");
    assert_eq!(next(&mut source).await.unwrap(), "one");

    let start = Instant::now();
    fs::remove_file(scratch.at("x")).unwrap();
    let error = within(GONE * 5, source.next()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(start.elapsed() >= GONE);
    let quiet = tokio::time::timeout(Duration::from_millis(100), source.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    scratch.write("x", "two");
    assert_eq!(next(&mut source).await.unwrap(), "two");
}

#[tokio::test]
async fn a_file_that_is_not_there_may_come() {
    let scratch = Scratch::new();
    let mut source = FileSource::new(scratch.at("deep/x"));
    let error = source.read_now().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    let error = next(&mut source).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    fs::create_dir(scratch.at("deep")).unwrap();
    scratch.write("deep/x", "one");
    assert_eq!(next(&mut source).await.unwrap(), "one");
    let error = FileSource::new(scratch.at("deep")).read_now().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
}

#[tokio::test]
async fn without_a_watch_the_file_is_looked_at() {
    let scratch = Scratch::new();
    scratch.write("x", "one");
    let mut source = started(scratch.at("x"), "one").await;
    source.watch = None;
    scratch.replace("x", "two");
    assert_eq!(within(POLL * 3, source.next()).await.unwrap(), "two");
}

/// As in `--config <(generate)`.
#[tokio::test]
async fn a_pipe_is_read_once() {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"one").unwrap();
    drop(writer);
    let path = format!("/dev/fd/{}", reader.as_raw_fd());
    let mut source = FileSource::new(path);
    assert_eq!(source.read_now().unwrap(), "one");
    let quiet = tokio::time::timeout(GONE * 2, source.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}
