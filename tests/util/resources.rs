//! Resource limits.

// Of other types with other C libraries.
pub const PROCESSES: u32 = libc::RLIMIT_NPROC as _;
pub const DESCRIPTORS: u32 = libc::RLIMIT_NOFILE as _;
pub const STACK: u32 = libc::RLIMIT_STACK as _;
pub const CORE: u32 = libc::RLIMIT_CORE as _;
pub const MEMORY: u32 = libc::RLIMIT_AS as _;
pub const FILE_SIZE: u32 = libc::RLIMIT_FSIZE as _;

/// Returns the soft and the hard limit.
pub fn resource_limit(resource: u32) -> (u64, u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a valid place.
    assert_eq!(unsafe { libc::getrlimit(resource as _, &mut limit) }, 0);
    (limit.rlim_cur, limit.rlim_max)
}

/// Sets the soft limit, at most to the hard one, and returns the previous one.
pub fn set_resource_limit(resource: u32, soft: u64) -> u64 {
    let (before, hard) = resource_limit(resource);
    let limit = libc::rlimit { rlim_cur: soft.min(hard), rlim_max: hard };
    // SAFETY: a valid place.
    assert_eq!(unsafe { libc::setrlimit(resource as _, &limit) }, 0);
    before
}
