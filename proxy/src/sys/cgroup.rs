//! How many CPUs this process may use: affinity, and the quota of its cgroup (v2 or v1).
//!
//! `std::thread::available_parallelism` rounds a quota down; a sidecar that was given one and a
//! half CPUs may keep two workers busy.

use std::{
    fs,
    num::NonZero,
    path::{Path, PathBuf},
    thread,
};

/// Workers for `workers: auto`: as many as the quota keeps busy, rounded up, at least one, and
/// no more than there are CPUs to run on.
pub(crate) fn workers() -> usize {
    let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let quota = quota(Path::new("/sys/fs/cgroup"), &cgroups);
    workers_for(quota, allowed_cpus())
}

fn workers_for(quota: Option<f64>, cpus: usize) -> usize {
    let wanted = quota.map_or(usize::MAX, |cpus| cpus.ceil() as usize);
    wanted.clamp(1, cpus.max(1))
}

/// CPUs this process may be scheduled on.
fn allowed_cpus() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .and_then(count_list)
        .unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZero::get))
}

/// How many numbers `0-3,8` names.
fn count_list(list: &str) -> Option<usize> {
    let mut count = 0_usize;
    for part in list.trim().split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to): (usize, usize) = (from.parse().ok()?, to.parse().ok()?);
        count = count.checked_add(to.checked_sub(from)?)?.checked_add(1)?;
    }
    Some(count)
}

/// CPUs by quota: the least over the process's cgroup and those above it. `None`: no quota.
///
/// `cgroups` is `/proc/self/cgroup`. Its path may lie outside of what is mounted here (version 1
/// in a container without a cgroup namespace); what is mounted is then our own cgroup.
fn quota(root: &Path, cgroups: &str) -> Option<f64> {
    let mut least: Option<f64> = None;
    for line in cgroups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (mounts, read): (_, fn(&Path) -> Option<f64>) = if controllers.is_empty() {
            (vec![root.to_path_buf(), root.join("unified")], read_v2)
        } else if controllers.split(',').any(|name| name == "cpu") {
            (vec![root.join(controllers), root.join("cpu")], read_v1)
        } else {
            continue;
        };
        for mount in mounts {
            for directory in upwards(&mount, path) {
                if let Some(cpus) = read(&directory) {
                    least = Some(least.map_or(cpus, |least| least.min(cpus)));
                }
            }
        }
    }
    least
}

/// The directory of a cgroup, then each above it up to the mount.
fn upwards(mount: &Path, path: &str) -> Vec<PathBuf> {
    let inner = Path::new(path.trim_start_matches('/'));
    inner
        .ancestors()
        .filter(|part| !part.starts_with(".."))
        .map(|part| mount.join(part))
        .collect()
}

fn read_v2(directory: &Path) -> Option<f64> {
    let text = fs::read_to_string(directory.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    share(quota, period)
}

fn read_v1(directory: &Path) -> Option<f64> {
    let quota = fs::read_to_string(directory.join("cpu.cfs_quota_us")).ok()?;
    let period = fs::read_to_string(directory.join("cpu.cfs_period_us")).ok()?;
    share(quota.trim(), period.trim())
}

/// Quota over period. `max` and -1 are no quota.
fn share(quota: &str, period: &str) -> Option<f64> {
    let (quota, period): (u32, u32) = (quota.parse().ok()?, period.parse().ok()?);
    (quota > 0 && period > 0).then(|| f64::from(quota) / f64::from(period))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_follow_the_quota_up_to_the_cpus() {
        for (quota, cpus, workers) in [
            (None, 4, 4),
            (None, 0, 1),
            (Some(0.1), 4, 1),
            (Some(1.0), 4, 1),
            (Some(1.5), 4, 2),
            (Some(1.5), 1, 1),
            (Some(64.0), 4, 4),
            (Some(f64::MAX), 2, 2),
        ] {
            assert_eq!(workers_for(quota, cpus), workers, "{quota:?} on {cpus}");
        }
        assert!((1..=4096).contains(&workers()));
    }

    #[test]
    fn lists_are_counted() {
        for (list, count) in [
            ("\t0-3\n", Some(4)),
            ("0", Some(1)),
            ("0-1,4,6-7", Some(5)),
            ("3-1", None),
            ("", None),
            ("0-18446744073709551615", None),
            ("a-b", None),
        ] {
            assert_eq!(count_list(list), count, "{list:?}");
        }
    }

    /// Writes the files, then asks for the quota of a process with that `/proc/self/cgroup`.
    fn check(files: &[(&str, &str)], cgroups: &str, want: Option<f64>) {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "outrigger-cgroup-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let root = std::env::temp_dir().join(name);
        for (file, text) in files {
            let file = root.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let found = quota(&root, cgroups);
        let _ = fs::remove_dir_all(&root);
        assert_eq!(found, want, "{files:?} {cgroups:?}");
    }

    #[test]
    fn quotas_are_found() {
        let v2 = "0::/kube/pod/side\n";
        check(&[], v2, None);
        check(&[("kube/pod/side/cpu.max", "max 100000\n")], v2, None);
        check(
            &[("kube/pod/side/cpu.max", "150000 100000\n")],
            v2,
            Some(1.5),
        );
        // The pod's quota binds a container that has none of its own, or a wider one.
        check(
            &[
                ("kube/pod/side/cpu.max", "400000 100000\n"),
                ("kube/pod/cpu.max", "50000 100000\n"),
                ("kube/cpu.max", "max 100000\n"),
            ],
            v2,
            Some(0.5),
        );
        // In a cgroup namespace the path is the root.
        check(&[("cpu.max", "200000 100000\n")], "0::/\n", Some(2.0));
        check(
            &[("cpu.max", "200000 100000\n")],
            "0::/../other\n",
            Some(2.0),
        );

        let v1 = "5:memory:/m\n4:cpu,cpuacct:/docker/abc\n0::/\n";
        let quota = |text| ("cpu,cpuacct/docker/abc/cpu.cfs_quota_us", text);
        let period = ("cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n");
        check(&[quota("-1\n"), period], v1, None);
        check(&[quota("250000\n"), period], v1, Some(2.5));
        check(&[quota("250000\n")], v1, None);
        // The path of the host, not seen in the container.
        check(
            &[
                ("cpu/cpu.cfs_quota_us", "30000\n"),
                ("cpu/cpu.cfs_period_us", "100000\n"),
            ],
            v1,
            Some(0.3),
        );
        for broken in ["", "0", "1:2", "x:cpu:", "::", "0::\n"] {
            check(&[("cpu.max", "x y\n")], broken, None);
        }
        check(&[("cpu.max", "100000 0\n")], "0::/\n", None);
    }
}
