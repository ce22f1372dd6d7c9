//! Forked children that never outlive their handle, and memory shared with them.

use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};

/// Exit status of a child whose closure panicked.
const PANICKED: i32 = 101;

/// A forked process that is killed and reaped when the handle goes.
#[derive(Debug)]
pub struct Child {
    pid: i32,
    ended: Option<i32>,
}

impl Child {
    /// Runs `body` in a forked process, which exits afterwards and dies with this one.
    pub fn fork(body: impl FnOnce()) -> Self {
        // SAFETY: getpid has no preconditions.
        let parent = unsafe { libc::getpid() };
        // SAFETY: the program has one thread, so the child may run any code.
        match unsafe { libc::fork() } {
            -1 => panic!("fork: {}", std::io::Error::last_os_error()),
            0 => {
                die_with(parent);
                let panicked = catch_unwind(AssertUnwindSafe(body)).is_err();
                // SAFETY: _exit ends the child without running the parent's exit handlers.
                unsafe { libc::_exit(if panicked { PANICKED } else { 0 }) }
            }
            pid => Self { pid, ended: None },
        }
    }

    /// The process id.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Sends SIGKILL and reaps the process.
    pub fn kill(&mut self) {
        if self.ended.is_none() {
            // SAFETY: the process is our child and not yet reaped, so the id is still its own.
            unsafe { libc::kill(self.pid, libc::SIGKILL) };
        }
        // A ptrace stop may be queued before the end.
        while self.ended.is_none() {
            self.wait(0);
        }
    }

    /// The wait status if the process has ended; it never blocks.
    pub fn ended(&mut self) -> Option<i32> {
        self.poll();
        self.ended
    }

    /// The next change of state, be it a stop or the end.
    pub(super) fn poll(&mut self) -> Option<i32> {
        self.ended.or_else(|| self.wait(libc::WNOHANG))
    }

    fn wait(&mut self, flags: i32) -> Option<i32> {
        let mut status = 0;
        // SAFETY: `status` is valid for the call; the process is our child, not yet reaped.
        let pid = unsafe { libc::waitpid(self.pid, &raw mut status, libc::__WALL | flags) };
        if pid != self.pid {
            return None;
        }
        if !libc::WIFSTOPPED(status) {
            self.ended = Some(status);
        }
        Some(status)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A value in shared memory, seen by this process and by all children forked later.
///
/// It is not dropped, only unmapped: put atomics into it.
#[derive(Debug)]
pub struct Shared<T> {
    at: NonNull<T>,
}

// SAFETY: the mapping is owned, and `T: Sync` may be used through shared references anywhere.
unsafe impl<T: Sync> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Shared<T> {}

impl<T: Sync> Shared<T> {
    /// Maps fresh pages and puts `value` there.
    pub fn new(value: T) -> Self {
        const { assert!(align_of::<T>() <= 4096) };
        // SAFETY: a new anonymous mapping touches no existing memory.
        let at = unsafe {
            libc::mmap(
                ptr::null_mut(),
                size_of::<T>().max(1),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(at, libc::MAP_FAILED, "mmap failed");
        let at = NonNull::new(at.cast::<T>()).expect("mmap returned null");
        // SAFETY: the mapping is writable, large enough, aligned to a page and ours alone.
        unsafe { at.write(value) };
        Self { at }
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: initialised by `new` and mapped until drop; never handed out mutably.
        unsafe { self.at.as_ref() }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`, to which no reference can be left.
        unsafe { libc::munmap(self.at.as_ptr().cast(), size_of::<T>().max(1)) };
    }
}

/// Ties the calling process to the life of `parent`.
fn die_with(parent: i32) {
    // SAFETY: neither call has memory preconditions.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::getppid() != parent {
            libc::_exit(0);
        }
    }
}
