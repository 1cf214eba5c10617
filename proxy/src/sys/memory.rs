//! Giving memory back.

/// Returns pages that the allocator holds free to the kernel. It does so by itself only at the end
/// of its heap, where after a burst of connections or a reload something small is usually left.
pub(crate) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: `malloc_trim` may be called at any time and from any thread; it touches no memory
    // that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::Usage;

    #[test]
    fn freed_memory_goes_back() {
        let kept_last: Vec<Box<[u8]>> = (0..4_000).map(|_| vec![1_u8; 16_384].into()).collect();
        let full = Usage::read().resident.expect("Linux tells");
        let last = kept_last.into_iter().next_back();
        trim();
        let after = Usage::read().resident.expect("Linux tells");
        assert!(after + 40_000_000 < full, "{full} -> {after}");
        drop(last);
    }
}
