//! Resources of the calling process: descriptors, mappings, memory. For tests in a process of their own.

use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub fds: usize,
    pub maps: usize,
    /// All resident memory, in KiB.
    pub rss_kib: usize,
    /// The resident pages of shared memory among them, in KiB.
    pub shared_kib: usize,
}

impl Counts {
    pub fn now() -> Self {
        let fds = std::fs::read_dir("/proc/self/fd").expect("/proc").count() - 1; // the directory itself
        let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc").lines().count();
        let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
        let kib = |field: &str| {
            let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
            line.split_ascii_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
        };
        Counts { fds, maps, rss_kib: kib("VmRSS:"), shared_kib: kib("RssShmem:") }
    }

    /// Returns the total size of the memfds of this crate that this process has open.
    pub fn memfd_bytes() -> u64 {
        let entries = std::fs::read_dir("/proc/self/fd").expect("/proc").flatten();
        let ours = |path: &Path| {
            std::fs::read_link(path).is_ok_and(|target| target.to_string_lossy().starts_with("/memfd:crossproc"))
        };
        entries
            .map(|entry| entry.path())
            .filter(|path| ours(path))
            .filter_map(|path| std::fs::metadata(path).ok())
            .map(|data| data.len())
            .sum()
    }
}
