//! A function that runs at the end of a thread, after the destructors of all thread-locals.

use crate::sys::RaceOnce;

/// The function, and libc's key for it.
pub(super) struct ThreadEnd {
    key: RaceOnce<Option<libc::pthread_key_t>>,
    function: unsafe extern "C" fn(*mut libc::c_void),
}

impl ThreadEnd {
    pub(super) const fn new(function: unsafe extern "C" fn(*mut libc::c_void)) -> Self {
        ThreadEnd { key: RaceOnce::new(), function }
    }

    /// Makes the function run at the end of the calling thread.
    pub(super) fn arm(&self) {
        // Two threads at the same time may make two keys, of which one is never used.
        let key = self.key.get_or_keep(|| {
            let mut key = 0;
            // SAFETY: a valid place; the function is part of this program, which stays loaded.
            (unsafe { libc::pthread_key_create(&mut key, Some(self.function)) } == 0).then_some(key)
        });
        if let Some(key) = key {
            // SAFETY: the key exists; any value that is not null makes libc call the function.
            unsafe { libc::pthread_setspecific(*key, std::ptr::dangling::<u8>().cast()) };
        }
    }
}
