//! The head of a thread's robust list: the one that libc registered, or one of our own.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) const GLIBC_OFFSET: isize = -32;

/// `struct robust_list_head`, as the kernel knows it.
#[repr(C)]
pub(super) struct ListHead {
    pub(super) first: usize,
    pub(super) offset: isize,
    pub(super) pending: usize,
}

/// Returns the list head of this thread that the kernel has.
#[cold]
pub(super) fn find() -> *mut ListHead {
    let mut head = registered();
    if head.is_null() {
        have_libc_register();
        head = registered();
    }
    if head.is_null() {
        head = register_own();
    }
    head
}

/// The list head that the kernel has for this thread, or null.
fn registered() -> *mut ListHead {
    let mut head: *mut ListHead = std::ptr::null_mut();
    let mut length = 0_usize;
    // SAFETY: get_robust_list writes a pointer and a length to valid places.
    let answer = unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut length) };
    if answer == 0 { head } else { std::ptr::null_mut() }
}

/// Musl registers a thread's list at its first robust mutex, and would later put its own in place of ours.
#[cold]
fn have_libc_register() {
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
    let mut mutex = std::mem::MaybeUninit::<libc::pthread_mutex_t>::uninit();
    // SAFETY: each is initialised before it is used, and destroyed unlocked.
    unsafe {
        libc::pthread_mutexattr_init(attributes.as_mut_ptr());
        libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), libc::PTHREAD_MUTEX_ROBUST);
        libc::pthread_mutex_init(mutex.as_mut_ptr(), attributes.as_ptr());
        if libc::pthread_mutex_lock(mutex.as_mut_ptr()) == 0 {
            libc::pthread_mutex_unlock(mutex.as_mut_ptr());
        }
        libc::pthread_mutex_destroy(mutex.as_mut_ptr());
        libc::pthread_mutexattr_destroy(attributes.as_mut_ptr());
    }
}

/// A list head for a thread that has none (made without libc, or by a libc that registers late). Leaked.
#[cold]
fn register_own() -> *mut ListHead {
    let head = Box::into_raw(Box::new(ListHead { first: 0, offset: GLIBC_OFFSET, pending: 0 }));
    // SAFETY: a new ListHead; an empty list refers to itself; the kernel gets its true size.
    unsafe {
        (*head).first = head as usize;
        libc::syscall(libc::SYS_set_robust_list, head, size_of::<ListHead>());
    }
    OWN_HEADS.store(true, Ordering::Relaxed);
    OWN_HEAD.with(|own| own.set(head));
    head
}

static OWN_HEADS: AtomicBool = AtomicBool::new(false);
thread_local! { static OWN_HEAD: Cell<*mut ListHead> = const { Cell::new(std::ptr::null_mut()) }; }

pub(super) fn is_own(head: *mut ListHead) -> bool {
    OWN_HEADS.load(Ordering::Relaxed) && OWN_HEAD.with(Cell::get) == head
}
