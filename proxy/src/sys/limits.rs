//! Limits the kernel sets to this process.

use std::io;

/// Raises the soft limit of open descriptors to the hard one and returns what holds now.
///
/// The soft limit is 1,024 by habit, for programs that use `select`; a proxy needs two
/// descriptors a connection.
pub(crate) fn raise_open_files() -> io::Result<u64> {
    let mut limit = open_files()?;
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: the kernel reads one `rlimit` from a pointer to a live one.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(limit.rlim_cur)
}

fn open_files() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes one `rlimit` to a pointer to a live one.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Run in a process of its own by the test below, since the limit belongs to the process.
    #[test]
    fn in_child_raises() {
        if std::env::var_os("OUTRIGGER_TEST_CHILD").is_none() {
            return;
        }
        let before = open_files().unwrap();
        assert_eq!(before.rlim_cur, 64);
        assert_eq!(raise_open_files().unwrap(), 96);
        assert_eq!(open_files().unwrap().rlim_cur, 96);
        assert_eq!(raise_open_files().unwrap(), 96);
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let output = Command::new("sh")
            .args(["-c", "ulimit -Sn 64 && ulimit -Hn 96 && exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "sys::limits::tests::in_child_raises"])
            .env("OUTRIGGER_TEST_CHILD", "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}"
        );
    }
}
