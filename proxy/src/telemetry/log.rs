//! The proxy's own log: what happened to it, on standard error, as text or JSON.
//!
//! Lines about traffic are in `access_log`. One event is one line, whatever its values hold, and
//! an error stream that is gone or full neither ends the process nor holds it up: a thread of its
//! own writes, see `writer`.

mod writer;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    fmt::Write as _,
    io,
    panic::{self, PanicHookInfo},
    str::FromStr as _,
    thread,
    time::Duration,
};

use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Registry,
    filter::Targets,
    fmt::{MakeWriter, layer},
    layer::SubscriberExt as _,
    reload,
};

use self::writer::Writer;

/// What the last lines may take to be written, when the process ends.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Set where `--log-level` is not given.
pub(crate) const ENV: &str = "OUTRIGGER_LOG";

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// One object per line.
    Json,
}

/// The log of this process. Dropped last of all: it waits until its lines are written.
#[derive(Debug)]
pub(crate) struct Log {
    level: Level,
    writer: Writer,
}

impl Log {
    pub(crate) fn control(&self) -> LogControl {
        LogControl {
            level: self.level.clone(),
            writer: self.writer.clone(),
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // Where nobody reads them, nobody can be told either.
        self.writer.flush(LAST_LINES);
    }
}

/// Changes the level of the running log, and knows how it fares.
#[derive(Clone, Debug)]
pub(crate) struct LogControl {
    level: Level,
    writer: Writer,
}

impl LogControl {
    /// Sets the level: `info`, or `info,outrigger_proxy::upstream=debug`.
    pub(crate) fn set_level(&self, level: &str) -> Result<(), String> {
        self.level.set(level)
    }

    /// Lines lost because standard error was full or gone.
    pub(crate) fn lost(&self) -> u64 {
        self.writer.lost()
    }
}

#[derive(Clone, Debug)]
struct Level(reload::Handle<Targets, Registry>);

impl Level {
    fn set(&self, level: &str) -> Result<(), String> {
        let targets = parse(level)?;
        let result = self.0.reload(targets);
        result.map_err(|error| format!("the log cannot be changed: {error}"))
    }
}

/// Starts the log of this process, at `level` or else what [`ENV`] says or else `info`. Panics are
/// told there as well: the standard library would write to the stream itself, and wait for it.
pub(crate) fn init(level: Option<&str>, format: Format) -> Result<Log, String> {
    let from_env = std::env::var(ENV).ok();
    let (level, source) = match (level, from_env.as_deref()) {
        (Some(level), _) => (level, "--log-level"),
        (None, Some(level)) => (level, ENV),
        (None, None) => ("info", "default"),
    };
    let writer = Writer::to_stderr().map_err(|error| format!("cannot start the log: {error}"))?;
    let built = build(level, format, writer.clone());
    let (log, level) = built.map_err(|why| format!("{source}: {why}"))?;
    tracing::subscriber::set_global_default(log)
        .map_err(|_| "the log was already started".to_owned())?;
    panic::set_hook(Box::new(tell));
    Ok(Log { level, writer })
}

fn tell(panic: &PanicHookInfo<'_>) {
    let trace = Backtrace::capture();
    let trace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
    tracing::error!(
        thread = thread::current().name().unwrap_or_default(),
        place = panic.location().map(ToString::to_string),
        what = panic.payload_as_str().unwrap_or_default(),
        trace,
        "a panic, which is a bug worth reporting"
    );
}

fn build<W>(
    level: &str,
    format: Format,
    writer: W,
) -> Result<(Box<dyn Subscriber + Send + Sync>, Level), String>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(parse(level)?);
    let registry = tracing_subscriber::registry().with(filter);
    let lines = layer()
        .with_writer(OneLine(writer))
        .with_ansi(false)
        .log_internal_errors(false);
    let log: Box<dyn Subscriber + Send + Sync> = match format {
        Format::Text => Box::new(registry.with(lines)),
        Format::Json => Box::new(registry.with(lines.json().flatten_event(true))),
    };
    Ok((log, Level(handle)))
}

/// Reads a level. A misspelt one is an error, not the name of a module.
fn parse(text: &str) -> Result<Targets, String> {
    let wrong = |part: &str| {
        let shown: String = part.chars().take(64).collect();
        format!(
            "`{}` is not a log level: expected off, error, warn, info, debug or trace, or \
             pairs such as info,outrigger_proxy::upstream=debug",
            shown.escape_debug()
        )
    };
    for part in text.split(',') {
        let part = part.trim();
        let (target, level) = part.rsplit_once('=').unwrap_or(("outrigger", part));
        let named = !target.is_empty()
            && target
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':'));
        if level.is_empty() || !named || LevelFilter::from_str(level).is_err() {
            return Err(wrong(part));
        }
    }
    let text: String = text.split_whitespace().collect();
    Targets::from_str(&text).map_err(|_| wrong(&text))
}

/// Spells out control characters within what is written at once, which is one event; and takes
/// no for an answer.
struct OneLine<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for OneLine<W> {
    type Writer = OneLineWriter<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLineWriter(self.0.make_writer())
    }
}

struct OneLineWriter<W>(W);

impl<W: io::Write> io::Write for OneLineWriter<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let (line, end) = match event.split_last() {
            Some((b'\n', line)) => (line, "\n"),
            _ => (event, ""),
        };
        let line = String::from_utf8_lossy(line);
        // There is nobody to tell that the log cannot be written.
        let _ = if line.contains(char::is_control) {
            self.0.write_all((spelt_out(&line) + end).as_bytes())
        } else {
            self.0.write_all(event)
        };
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}

/// Control characters in JSON's spelling, which people understand too.
fn spelt_out(line: &str) -> String {
    let mut out = String::with_capacity(line.len() + 16);
    for c in line.chars() {
        if c.is_control() {
            // Writing to a string does not fail.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format, events: impl FnOnce(&Level)) -> String {
        let memory = Memory::default();
        let writer = memory.clone();
        let (log, level) = build("info", format, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(log, || events(&level));
        let bytes = memory.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn levels_are_read_strictly() {
        for good in [
            "info",
            "OFF",
            "warn, outrigger_proxy::h1=trace",
            "debug,hyper=off",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "verbose",
            "inf",
            "info,",
            "x=loud",
            "=info",
            "info;debug",
            "a b=info",
            "a=b=info",
        ] {
            assert!(
                parse(bad).unwrap_err().contains("is not a log level"),
                "{bad}"
            );
        }
        let hostile = format!("\n{}", "x".repeat(10_000));
        assert!(parse(&hostile).unwrap_err().len() < 300);
    }

    #[test]
    fn the_level_changes_while_running() {
        let text = logged(Format::Text, |level| {
            tracing::debug!("one");
            level.set("debug").unwrap();
            tracing::debug!("two");
            assert!(level.set("loud").is_err());
            tracing::debug!("three");
            level.set("info,outrigger_proxy::telemetry=error").unwrap();
            tracing::info!("four");
            tracing::error!("five");
            tracing::info!(target: "elsewhere", "six");
        });
        let seen = ["one", "two", "three", "four", "five", "six"].map(|w| text.contains(w));
        assert_eq!(seen, [false, true, true, false, true, true], "{text}");
    }

    #[test]
    fn one_event_is_one_line() {
        let hostile = "a\nb\x1b[31mc\u{9b}d";
        for format in [Format::Text, Format::Json] {
            let text = logged(format, |_| {
                tracing::warn!(value = hostile, display = %hostile, "message {hostile}");
            });
            assert_eq!(text.matches(char::is_control).count(), 1, "{text}");
            assert!(text.ends_with('\n'));
            if format == Format::Json {
                let event: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert_eq!(event["level"], "WARN");
                assert_eq!(event["display"], hostile);
            }
        }
    }

    #[test]
    fn a_broken_output_is_no_failure() {
        struct Broken;
        impl io::Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        let (log, _) = build("info", Format::Text, || Broken).unwrap();
        tracing::subscriber::with_default(log, || tracing::info!("gone"));
    }
}
