//! CPUs: which there are, who gets which, and pinning to them.

use std::{io, num::NonZero};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity, set_current_timer_slack};
use serde::Serialize;

/// Who runs where: proxies on CPUs of their own, load and back end on others, so that what the
/// load costs is not taken from the proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Layout {
    pub(crate) proxy: Vec<usize>,
    pub(crate) load: Vec<usize>,
    pub(crate) backend: Vec<usize>,
}

impl Layout {
    /// Shares out `cpus` when proxies have so many workers.
    pub(crate) fn new(cpus: &[usize], workers: usize) -> Self {
        let most = cpus.len().saturating_sub(1).max(1);
        let (proxy, rest) = cpus.split_at(workers.clamp(1, most).min(cpus.len()));
        let proxy = proxy.to_vec();
        let (load, backend) = match rest {
            [] => (proxy.clone(), proxy.clone()),
            [only] => (vec![*only], vec![*only]),
            _ => {
                // The generator does more per request than the back end.
                let (load, backend) = rest.split_at(rest.len().div_ceil(2));
                (load.to_vec(), backend.to_vec())
            }
        };
        Self {
            proxy,
            load,
            backend,
        }
    }
}

/// The CPUs this process may use.
pub(crate) fn available() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(None) else {
        return vec![0];
    };
    (0..CpuSet::MAX_CPU)
        .filter(|cpu| set.is_set(*cpu))
        .collect()
}

/// Pins the calling thread, and what it starts.
pub(crate) fn pin(cpus: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus.iter().filter(|cpu| **cpu < CpuSet::MAX_CPU) {
        set.set(*cpu);
    }
    Ok(sched_setaffinity(None, &set)?)
}

/// Lets waits of the calling thread end on time instead of up to 50 us late.
pub(crate) fn sharp_timers() {
    // Without it an open loop is a little late, which latency then shows.
    let _ = set_current_timer_slack(NonZero::new(1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_never_shares_its_cpu_where_there_are_two() {
        let layout = |cpus: usize, workers| Layout::new(&(0..cpus).collect::<Vec<_>>(), workers);
        let two = layout(2, 1);
        assert_eq!(
            (two.proxy, two.load, two.backend),
            (vec![0], vec![1], vec![1])
        );
        let wanted = layout(2, 8);
        assert_eq!(wanted.proxy, [0]);
        let six = layout(6, 2);
        assert_eq!(six.proxy, [0, 1]);
        assert_eq!((six.load, six.backend), (vec![2, 3], vec![4, 5]));
        let one = layout(1, 1);
        assert_eq!((one.proxy, one.load), (vec![0], vec![0]));
    }
}
