//! What processes use, read from `/proc`: CPU time, memory, and what their CPUs did meanwhile.
//! A process is always taken with its children, since some have a master.

use std::{collections::HashMap, fs};

use serde::{Deserialize, Serialize};

/// Whom to watch while load runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Watch {
    pub(crate) pid: u32,
    /// CPUs it is pinned to; empty if it is not.
    pub(crate) cpus: Vec<usize>,
}

/// Counters at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Run time of all threads, nanoseconds.
    cpu: u64,
    user: u64,
    system: u64,
    cpus: CpuTimes,
}

/// Nanoseconds that the watched CPUs spent, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct CpuTimes {
    total: u64,
    idle: u64,
    softirq: u64,
    steal: u64,
}

/// What was used between two samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// User and system time of all threads, nanoseconds.
    pub(crate) cpu_ns: u64,
    /// Share of user time in it, 0 to 1; coarse, since the kernel counts it in ticks.
    pub(crate) user_share: f64,
    /// Softirq time of the watched CPUs, nanoseconds, coarse as well.
    pub(crate) softirq_ns: u64,
    /// Share of time in which the watched CPUs did nothing, 0 to 1; absent without CPUs.
    pub(crate) idle_share: Option<f64>,
    /// Share of time that the hypervisor took from them.
    pub(crate) steal_share: f64,
}

impl Watch {
    pub(crate) fn sample(&self) -> Sample {
        let mut all = Sample {
            cpus: cpu_times(
                &fs::read_to_string("/proc/stat").unwrap_or_default(),
                &self.cpus,
            ),
            ..Sample::default()
        };
        for pid in tree(self.pid) {
            all.cpu += threads_ns(pid);
            if let Some(times) = process_times(pid) {
                all.user += times.user;
                all.system += times.system;
                // Of children that ended there is no more than ticks.
                all.cpu += times.ended;
            }
        }
        all
    }
}

impl Sample {
    pub(crate) fn until(&self, later: &Self) -> Usage {
        let user = later.user.saturating_sub(self.user);
        let system = later.system.saturating_sub(self.system);
        let part = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
        let total = later.cpus.total.saturating_sub(self.cpus.total);
        let idle = later.cpus.idle.saturating_sub(self.cpus.idle);
        let steal = later.cpus.steal.saturating_sub(self.cpus.steal);
        Usage {
            cpu_ns: later.cpu.saturating_sub(self.cpu),
            user_share: part(user, user + system),
            softirq_ns: later.cpus.softirq.saturating_sub(self.cpus.softirq),
            idle_share: (total > 0).then(|| part(idle, total)),
            steal_share: part(steal, total),
        }
    }
}

/// A process and all that descend from it.
pub(crate) fn tree(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(&pid) = all.get(next) {
        next += 1;
        // Children belong to the thread that made them.
        for thread in numbers_in(&format!("/proc/{pid}/task")) {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{thread}/children"));
            let children = children.unwrap_or_default();
            all.extend(
                children
                    .split_whitespace()
                    .filter_map(|c| c.parse::<u32>().ok()),
            );
        }
    }
    all
}

fn numbers_in(folder: &str) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn threads_ns(pid: u32) -> u64 {
    numbers_in(&format!("/proc/{pid}/task"))
        .into_iter()
        .filter_map(|thread| {
            let text = fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        })
        .sum()
}

struct ProcessTimes {
    user: u64,
    system: u64,
    ended: u64,
}

fn process_times(pid: u32) -> Option<ProcessTimes> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; what follows it is the state, field 3.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| -> Option<u64> { fields.get(field - 3)?.parse().ok() };
    let nanos = tick_ns();
    Some(ProcessTimes {
        user: ticks(14)? * nanos,
        system: ticks(15)? * nanos,
        ended: (ticks(16)? + ticks(17)?) * nanos,
    })
}

fn tick_ns() -> u64 {
    1_000_000_000 / rustix::param::clock_ticks_per_second().max(1)
}

fn cpu_times(stat: &str, cpus: &[usize]) -> CpuTimes {
    let mut all = CpuTimes::default();
    for line in stat.lines() {
        let mut fields = line.split_whitespace();
        let name = fields.next().and_then(|name| name.strip_prefix("cpu"));
        let number = name.and_then(|number| number.parse::<usize>().ok());
        if !number.is_some_and(|number| cpus.contains(&number)) {
            continue;
        }
        // user nice system idle iowait irq softirq steal; guests are within user.
        let times: Vec<u64> = fields
            .take(8)
            .filter_map(|field| Some(field.parse::<u64>().ok()? * tick_ns()))
            .collect();
        let of = |at: usize| times.get(at).copied().unwrap_or(0);
        all.total += times.iter().sum::<u64>();
        all.idle += of(3) + of(4);
        all.softirq += of(6);
        all.steal += of(7);
    }
    all
}

/// Resident memory of a process and its children.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Bytes now.
    pub(crate) resident: u64,
    /// The most there ever was, bytes.
    pub(crate) peak: u64,
}

pub(crate) fn memory(pid: u32) -> Memory {
    let mut all = Memory::default();
    for pid in tree(pid) {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let fields: HashMap<&str, &str> = text.lines().filter_map(|l| l.split_once(':')).collect();
        let kib = |name: &str| -> Option<u64> {
            let value = fields.get(name)?.split_whitespace().next()?;
            value.parse().ok()
        };
        all.resident += kib("VmRSS").unwrap_or(0) << 10;
        all.peak += kib("VmHWM").unwrap_or(0) << 10;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_named_cpus_are_summed() {
        let stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 0 2 3 1 0 4 5 0 0\ncpu1 1 1 1 1 1 1 1 1 0 0\ncpu10 7 7 7 7 7 7 7 7 0 0\nintr 1\n";
        let tick = tick_ns();
        let one = cpu_times(stat, &[0]);
        assert_eq!(one.total, 16 * tick);
        assert_eq!(
            (one.idle, one.softirq, one.steal),
            (4 * tick, 4 * tick, 5 * tick)
        );
        assert_eq!(cpu_times(stat, &[0, 1]).total, 24 * tick);
        assert_eq!(cpu_times(stat, &[]), CpuTimes::default());
    }

    #[test]
    fn this_process_is_seen_to_work() {
        let watch = Watch {
            pid: std::process::id(),
            cpus: vec![0],
        };
        let before = watch.sample();
        let mut sum = 0_u64;
        for value in 0..20_000_000_u64 {
            sum = std::hint::black_box(sum ^ value.wrapping_mul(31));
        }
        let used = before.until(&watch.sample());
        assert!(used.cpu_ns > 1_000_000, "{used:?}");
        let memory = memory(watch.pid);
        assert!(memory.resident > 1 << 20);
        assert!(memory.peak >= memory.resident);
    }
}
