//! What this process uses, from `/proc`: for metrics, read at a scrape.

use std::{fs, path::Path, time::Duration};

/// What `/proc` says of this process. What cannot be read is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Memory in RAM, bytes.
    pub(crate) resident: Option<u64>,
    /// Time on a CPU in user and kernel mode, of all threads, since the process began.
    pub(crate) cpu: Option<Duration>,
    pub(crate) threads: Option<u64>,
    pub(crate) open_files: Option<u64>,
    pub(crate) max_open_files: Option<u64>,
}

impl Usage {
    /// Reads all of it: four small files.
    pub(crate) fn read() -> Self {
        Self::read_from(Path::new("/proc/self"))
    }

    fn read_from(proc: &Path) -> Self {
        let text = |name: &str| fs::read_to_string(proc.join(name)).unwrap_or_default();
        let status = text("status");
        Self {
            resident: status_value(&status, "VmRSS:").map(|kib| kib * 1024),
            cpu: cpu_time(&text("stat")),
            threads: status_value(&status, "Threads:"),
            open_files: count_files(&proc.join("fd")),
            max_open_files: soft_limit(&text("limits"), "Max open files"),
        }
    }
}

/// The number behind a name in `/proc/PID/status`.
fn status_value(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// `utime` and `stime` of `/proc/PID/stat`, fields 14 and 15.
fn cpu_time(stat: &str) -> Option<Duration> {
    /// `USER_HZ`, which the kernel holds at 100 for user space on every architecture we run on.
    const TICKS_PER_SECOND: u64 = 100;
    // The second field is the program's name in brackets, and may itself hold blanks and brackets.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let ticks = user.checked_add(system)?;
    Some(Duration::from_millis(ticks * (1000 / TICKS_PER_SECOND)))
}

/// Since Linux 6.2 the size of the directory is the number of descriptors; before, it is 0.
fn count_files(directory: &Path) -> Option<u64> {
    match fs::metadata(directory).ok()?.len() {
        // One entry is the directory's own descriptor.
        0 => Some(fs::read_dir(directory).ok()?.count().saturating_sub(1) as u64),
        files => Some(files),
    }
}

/// The soft limit in a line of `/proc/PID/limits`.
fn soft_limit(limits: &str, name: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_proc_are_understood() {
        let status = "Name:\toutrigger\nVmHWM:\t   9000 kB\nVmRSS:\t    8192 kB\nThreads:\t3\n";
        assert_eq!(status_value(status, "VmRSS:"), Some(8192));
        assert_eq!(status_value(status, "Threads:"), Some(3));
        assert_eq!(status_value(status, "VmSwap:"), None);

        let stat = "71 (a) b ) S 1 71 71 0 -1 4194560 1 0 0 0 123 45 0 0 20 0 1 0 900 1 2";
        assert_eq!(cpu_time(stat), Some(Duration::from_millis(1680)));
        for broken in ["", "71", "71 (a) S 1", "71 (a) S 1 1 1 1 1 1 1 1 1 1 x 1"] {
            assert_eq!(cpu_time(broken), None, "{broken}");
        }

        let limits = "Limit                     Soft Limit  Hard Limit  Units\n\
                      Max processes             10          20          processes\n\
                      Max open files            1024        20000       files\n";
        assert_eq!(soft_limit(limits, "Max open files"), Some(1024));
        assert_eq!(
            soft_limit("Max open files unlimited", "Max open files"),
            None
        );
    }

    #[test]
    fn this_process_is_seen() {
        let before = Usage::read();
        assert!(before.resident > Some(256 * 1024), "{before:?}");
        assert!(before.threads >= Some(1) && before.max_open_files >= Some(16));
        let files: Vec<_> = (0..100)
            .map(|_| fs::File::open("/dev/null").unwrap())
            .collect();
        // Other tests of this process open and close files meanwhile, though not as many.
        assert!(Usage::read().open_files > before.open_files.map(|n| n + 50));
        drop(files);
        let more = loop {
            let now = Usage::read();
            if now.cpu > before.cpu {
                break now;
            }
        };
        assert!(more.cpu < Some(Duration::from_hours(1)));
    }

    #[test]
    fn what_is_not_there_is_absent() {
        let nowhere = Usage::read_from(Path::new("/proc/self/no-such-directory"));
        assert_eq!(nowhere, Usage::default());
    }
}
