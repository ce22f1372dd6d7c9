//! The robust list of a thread: how the kernel learns which lock words to free when the thread dies.
//!
//! Each thread has one list, registered by its C library, and beside it one *pending slot*. When the thread ends,
//! killed or not, the kernel visits the words of the list and then the pending one. A word that carries the thread's
//! number loses it and gains OWNER_DIED, and one sleeper is woken. For a pending word that carries no number, one
//! sleeper is woken (the *relay*).
//!
//! # Layout
//! The list links *nodes*. A node lies at `word - futex_offset` (32 bytes after the word with glibc, 28 with musl) and
//! contains the address of the next node. Two private *sentinels* per thread are spliced into libc's list. Our nodes
//! lie strictly between them.
//!
//! # Protocol
//! 1. [`PendingSlot::set`] puts a word into the pending slot. A guard in the slot (`outer`) is linked into the list
//!    first.
//! 2. [`PendingSlot::keep`] declares the word in the slot to be a guard's. It stays there until the slot is needed.
//! 3. [`PendingSlot::link`] links a second word while a first one is in the slot. That word gets the number afterwards,
//!    and loses it before [`PendingSlot::unlink`].
//! 4. [`PendingSlot::take_back`] takes a guard's word back into the slot, out of the list if it was there. The caller
//!    then frees the word and wakes. [`PendingSlot::clear`] empties the slot last.
//!
//! # Invariants
//! * robust_list-S1: a word that carries this thread's number is in the slot or in the list, except between the end of
//!   a thread that leaked a guard and the end of its process ([`hand_over`]).
//! * robust_list-S2: the slot is not cleared before the word in it is free and its wake is done.
//! * robust_list-S3: libc's nodes are never neighbours of ours. The addresses of neighbours come from the private
//!   `links`, never from a node.
//! * robust_list-S4: a fork child starts with an empty slot, an empty list and no number.
//! * robust_list-S5: `head` is the list head that the kernel has for this thread (`attach`). It lives as long as the
//!   thread.
//!
//! # If a process dies here
//! Between any two stores every held word is reachable (robust_list-S1). A word that is both in the list and in the
//! slot is visited once, since the kernel skips the pending word in the list.

use super::fork_hooks::{self, ForkHooks, Layer};
use super::process_id::ProcessId;
use super::robust_head::{self, GLIBC_OFFSET, ListHead};
use super::thread_end::ThreadEnd;
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU32, Ordering, compiler_fence};

/// The largest number of linked guards in one thread: the kernel visits at most 2,048 words.
const MOST_LINKED: usize = 2_000;
/// Where a node may lie after its word: a lock must leave this room unused.
pub(crate) const NODE_ROOM: std::ops::Range<usize> = 28..40;
/// A flag beside the address of a word, which is a multiple of four: the guard gives access in place.
const IN_PLACE: usize = 1;
/// A flag beside the number of a process, which is also that of its first thread: no thread holds this word. Numbers
/// are smaller.
pub(crate) const HANDED_OVER: u32 = 1 << 29;

/// A private list node. Libc keeps a backward address before the forward one.
#[repr(C, align(64))]
struct Sentinel {
    word: u32,
    _room: [u32; 5],
    back: Cell<usize>,
    next: Cell<usize>,
    _rest: [u32; 6],
}

/// The state of the thread, plain so that the hot path is a few loads relative to the thread pointer.
struct Local {
    head: Cell<*mut ListHead>,
    /// 0 before the first use, and again in a fork child.
    tid: Cell<u32>,
    pid: Cell<u32>,
    start: Cell<u64>,
    /// The word of the guard in the pending slot, or 0; with [`IN_PLACE`] if it gives access in place.
    outer: Cell<usize>,
}

/// What is linked: newest first in the kernel's list, newest last in `words`.
struct Links {
    sentinels: Option<&'static [Sentinel; 2]>,
    words: Vec<LinkedWord>,
}

#[derive(Clone, Copy)]
struct LinkedWord {
    word: usize,
    in_place: bool,
}

thread_local! {
    static LOCAL: Local = const {
        Local {
            head: Cell::new(std::ptr::null_mut()),
            tid: Cell::new(0),
            pid: Cell::new(0),
            start: Cell::new(0),
            outer: Cell::new(0),
        }
    };
    // Never dropped at the end of the thread: guards in other thread-locals may be dropped after it.
    static LINKS: std::mem::ManuallyDrop<RefCell<Links>> =
        const { std::mem::ManuallyDrop::new(RefCell::new(Links { sentinels: None, words: Vec::new() })) };
}

/// The pending slot of the calling thread, with a word in it. Not `Send`: it belongs to a thread.
#[derive(Clone, Copy)]
pub(crate) struct PendingSlot {
    head: *mut ListHead,
    pub(crate) tid: u32,
}

/// There are too many guards to link one more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl PendingSlot {
    /// Puts `word` into the pending slot. A guard that is there is linked into the list first.
    #[inline(always)]
    pub(crate) fn set(word: &AtomicU32) -> Result<PendingSlot, TooMany> {
        LOCAL.with(|local| {
            if local.tid.get() == 0 {
                attach(local);
            }
            let me = PendingSlot { head: local.head.get(), tid: local.tid.get() };
            if local.outer.get() != 0 {
                me.link_outer(local)?;
            }
            me.set_pending(word);
            Ok(me)
        })
    }

    /// Like [`set`](Self::set), for a lock that is held for a short time. The outermost guard goes into the list even
    /// if that is full: the kernel visits a few more words than programs may have.
    #[inline(always)]
    pub(crate) fn set_in_section(word: &AtomicU32) -> PendingSlot {
        LOCAL.with(|local| {
            if local.tid.get() == 0 {
                attach(local);
            }
            let me = PendingSlot { head: local.head.get(), tid: local.tid.get() };
            if local.outer.get() != 0 {
                me.make_room(local);
            }
            me.set_pending(word);
            me
        })
    }

    /// Like [`set`](Self::set), if the slot is empty. Makes no call that a signal handler may not make.
    #[inline]
    pub(crate) fn set_if_free(word: &AtomicU32) -> Option<PendingSlot> {
        LOCAL.with(|local| {
            let me = PendingSlot { head: local.head.get(), tid: local.tid.get() };
            let is_free = me.tid != 0 && local.outer.get() == 0 && !me.is_pending();
            if is_free {
                me.set_pending(word);
            }
            is_free.then_some(me)
        })
    }
}

/// The number of the calling thread, 0 if it has not locked anything since it started or was forked.
#[inline]
pub(crate) fn tid() -> u32 {
    LOCAL.with(|local| local.tid.get())
}

/// The process of the calling thread, which has called [`PendingSlot::set`].
#[inline]
pub(crate) fn process() -> ProcessId {
    LOCAL.with(|local| ProcessId { pid: local.pid.get(), start: local.start.get() })
}

impl PendingSlot {
    #[inline(always)]
    fn set_pending(self, word: &AtomicU32) {
        // SAFETY: `head` is valid (robust_list-S5).
        let offset = unsafe { (*self.head).offset };
        self.store_pending((word.as_ptr() as usize).wrapping_add_signed(-offset));
    }

    #[inline]
    fn is_pending(self) -> bool {
        // SAFETY: `head` is valid (robust_list-S5).
        unsafe { std::ptr::read_volatile(&raw const (*self.head).pending) != 0 }
    }

    /// Empties the slot, after the word in it is free and its wake is done (robust_list-S2).
    #[inline(always)]
    pub(crate) fn clear(self) {
        self.store_pending(0);
    }

    #[inline]
    fn store_pending(self, node: usize) {
        // The kernel reads the slot on behalf of this very thread, so program order is enough.
        compiler_fence(Ordering::SeqCst);
        // SAFETY: `head` is valid (robust_list-S5); volatile, because the reader is the kernel.
        unsafe { std::ptr::write_volatile(&raw mut (*self.head).pending, node) };
        compiler_fence(Ordering::SeqCst);
    }

    /// From here on the word in the slot is a guard's.
    #[inline(always)]
    pub(crate) fn keep(self, word: &AtomicU32, in_place: bool) {
        LOCAL.with(|local| local.outer.set(word.as_ptr() as usize | usize::from(in_place)));
    }

    /// Takes a guard's word back into the slot, out of the list if it is there.
    #[inline(always)]
    pub(crate) fn take_back(word: &AtomicU32) -> Self {
        LOCAL.with(|local| {
            let me = PendingSlot { head: local.head.get(), tid: local.tid.get() };
            if local.outer.get() & !IN_PLACE == word.as_ptr() as usize {
                local.outer.set(0);
                // A foreign robust mutex inside the guard's scope empties the slot.
                if !me.is_pending() {
                    me.set_pending(word);
                }
            } else {
                me.retire_linked(local, word);
            }
            me
        })
    }

    #[cold]
    fn retire_linked(self, local: &Local, word: &AtomicU32) {
        if local.outer.get() != 0 {
            // Another guard is in the slot. The one that leaves makes room for it in any case.
            self.link_local(local);
        }
        self.set_pending(word);
        self.unlink_word(word.as_ptr() as usize);
    }

    #[cold]
    fn link_outer(self, local: &Local) -> Result<(), TooMany> {
        if !has_room() {
            return Err(TooMany);
        }
        self.link_local(local);
        Ok(())
    }

    #[cold]
    fn make_room(self, local: &Local) {
        self.link_local(local);
    }

    /// Moves the guard in the slot to the front of our part of the list.
    fn link_local(self, local: &Local) {
        let (word, in_place) = (local.outer.get() & !IN_PLACE, local.outer.get() & IN_PLACE != 0);
        self.link_word(LinkedWord { word, in_place });
        local.outer.set(0);
    }

    fn link_word(self, link: LinkedWord) {
        LINKS.with(|links| self.link_in(&mut links.borrow_mut(), link));
    }

    #[inline(always)]
    fn link_in(self, links: &mut Links, link: LinkedWord) {
        links.words.reserve(1);
        let sentinels = match links.sentinels {
            Some(sentinels) => sentinels,
            None => self.splice(links),
        };
        let node = self.node(link.word);
        let next = links.words.last().map_or(self.node_of(&sentinels[1]), |link| self.node(link.word));
        store_node(node, next);
        compiler_fence(Ordering::SeqCst);
        sentinels[0].next.set(node);
        compiler_fence(Ordering::SeqCst);
        links.words.push(link);
    }

    /// Links a word that is going to carry this thread's number, while another one is in the slot.
    #[inline(always)]
    pub(crate) fn link(self, word: &AtomicU32) -> Result<(), TooMany> {
        let link = LinkedWord { word: word.as_ptr() as usize, in_place: false };
        LINKS.with(|links| {
            let links = &mut *links.borrow_mut();
            if links.words.len() >= MOST_LINKED {
                return Err(TooMany);
            }
            self.link_in(links, link);
            Ok(())
        })
    }

    /// Unlinks such a word, which no longer carries the number.
    #[inline(always)]
    pub(crate) fn unlink(self, word: &AtomicU32) {
        self.unlink_word(word.as_ptr() as usize);
    }

    #[inline(always)]
    fn unlink_word(self, word: usize) {
        LINKS.with(|links| {
            let links = &mut *links.borrow_mut();
            let (Some(sentinels), Some(at)) = (links.sentinels, links.words.iter().rposition(|l| l.word == word))
            else {
                return;
            };
            let next = match at {
                0 => self.node_of(&sentinels[1]),
                _ => self.node(links.words[at - 1].word),
            };
            compiler_fence(Ordering::SeqCst);
            match links.words.get(at + 1) {
                Some(newer) => store_node(self.node(newer.word), next),
                None => sentinels[0].next.set(next),
            }
            compiler_fence(Ordering::SeqCst);
            links.words.remove(at);
        });
    }

    fn node(self, word: usize) -> usize {
        // SAFETY: `head` is valid (robust_list-S5).
        word.wrapping_add_signed(-unsafe { (*self.head).offset })
    }

    fn node_of(self, sentinel: &Sentinel) -> usize {
        sentinel.next.as_ptr() as usize
    }

    /// Puts our two sentinels at the front of libc's list: head -> front -> back -> what libc had.
    #[cold]
    fn splice(self, links: &mut Links) -> &'static [Sentinel; 2] {
        // Leaked: the kernel may visit them after every destructor of this thread has run.
        let make = || Sentinel { word: 0, _room: [0; 5], back: Cell::new(0), next: Cell::new(0), _rest: [0; 6] };
        let sentinels: &'static [Sentinel; 2] = Box::leak(Box::new([make(), make()]));
        let (s0, s1) = (self.node_of(&sentinels[0]), self.node_of(&sentinels[1]));
        // SAFETY: `head` is valid (robust_list-S5); only this thread, and libc on its behalf, access it.
        let first = unsafe { std::ptr::read_volatile(&raw const (*self.head).first) };
        sentinels[1].next.set(first);
        sentinels[0].next.set(s1);
        sentinels[0].back.set(self.head as usize);
        sentinels[1].back.set(s0);
        self.set_back(first, s1);
        compiler_fence(Ordering::SeqCst);
        // SAFETY: `head` is valid (robust_list-S5); volatile, because the kernel reads it too.
        unsafe { std::ptr::write_volatile(&raw mut (*self.head).first, s0) };
        compiler_fence(Ordering::SeqCst);
        links.sentinels = Some(sentinels);
        sentinels
    }

    /// Libc's lists are doubly linked: the address before a libc node is that of the previous one. The head of glibc
    /// has such a field too; musl's and our own do not.
    fn set_back(self, node: usize, back: usize) {
        const PRIORITY_BIT: usize = 1;
        let node = node & !PRIORITY_BIT;
        // SAFETY: `head` is valid (robust_list-S5).
        let offset = unsafe { (*self.head).offset };
        if node == self.head as usize && (offset != GLIBC_OFFSET || robust_head::is_own(self.head)) {
            return;
        }
        // SAFETY: a node that libc put into its list has a backward field just before it.
        unsafe { *((node - size_of::<usize>()) as *mut usize) = back };
    }

    /// Takes the sentinels out again and frees them. None of our nodes is linked.
    fn unsplice(self, links: &mut Links) {
        let Some(sentinels) = links.sentinels.take() else { return };
        let (back, next) = (sentinels[0].back.get(), sentinels[1].next.get());
        self.set_back(next, back);
        compiler_fence(Ordering::SeqCst);
        // SAFETY: `back` is the head or a libc node before ours; both start with the forward address.
        unsafe { std::ptr::write_volatile(back as *mut usize, next) };
        compiler_fence(Ordering::SeqCst);
        // SAFETY: it came from Box::leak in `splice`, and no list refers to it any more.
        drop(unsafe { Box::from_raw(std::ptr::from_ref(sentinels).cast_mut()) });
    }
}

fn has_room() -> bool {
    LINKS.with(|links| links.borrow().words.len() < MOST_LINKED)
}

/// Writes a forward address into shared memory. With musl's offset it is not aligned.
fn store_node(node: usize, next: usize) {
    // SAFETY: the node belongs to a word that this thread holds (robust_list-S3), whose mapping lives while it is held;
    // every lock leaves NODE_ROOM for it. Only the kernel reads it.
    unsafe { std::ptr::write_unaligned(node as *mut usize, next) };
}

/// First use in this thread: finds the list that libc registered, or registers one.
#[cold]
#[inline(never)]
fn attach(local: &Local) {
    let nothing = || {};
    fork_hooks::set(Layer::RobustList, ForkHooks { prepare: nothing, parent: nothing, child: after_fork });
    let head = robust_head::find();
    let process = ProcessId::current();
    // SAFETY: no arguments.
    let tid = unsafe { libc::syscall(libc::SYS_gettid) } as u32;
    local.head.set(head);
    local.outer.set(0);
    local.pid.set(process.pid);
    local.start.set(process.start);
    local.tid.set(tid);
    AT_END.arm();
}

/// The offset of this program's libc, which is part of the layout that two programs must share.
pub(crate) fn node_offset() -> i64 {
    LOCAL.with(|local| {
        if local.tid.get() == 0 {
            attach(local);
        }
        // SAFETY: `head` is valid after `attach` (robust_list-S5).
        unsafe { (*local.head.get()).offset as i64 }
    })
}

static AT_END: ThreadEnd = ThreadEnd::new(thread_end);

extern "C" fn thread_end(_: *mut libc::c_void) {
    LOCAL.with(|local| {
        if local.tid.get() != 0 {
            hand_over(local);
        }
    });
}

/// Runs at the end of a thread. Guards that it leaked and that give access in place keep their locks until the process
/// ends, because a `&mut [T]` may live on in another thread. Their words get the number of the process and
/// [`HANDED_OVER`], and are left to the backstop. The kernel frees all other words.
#[cold]
fn hand_over(local: &Local) {
    let (tid, pid) = (local.tid.get(), local.pid.get());
    let me = PendingSlot { head: local.head.get(), tid };
    let give = |word: usize| {
        // SAFETY: the mapping of a held word is kept alive as long as the lock is held.
        let word = unsafe { &*(word as *const AtomicU32) };
        let _ = word.fetch_update(Ordering::SeqCst, Ordering::Relaxed, |value| {
            let waiters = value & super::WAITERS;
            (value & !super::WAITERS == tid).then_some(pid | HANDED_OVER | waiters)
        });
    };
    if local.outer.get() & IN_PLACE != 0 {
        give(local.outer.get() & !IN_PLACE);
        local.outer.set(0);
        me.clear();
    }
    LINKS.with(|links| {
        let leaked: Vec<usize> = {
            let links = links.borrow();
            links.words.iter().filter(|link| link.in_place).map(|link| link.word).collect()
        };
        for word in leaked {
            give(word);
            me.unlink_word(word);
        }
        let links = &mut *links.borrow_mut();
        if links.words.is_empty() {
            me.unsplice(links);
            links.words = Vec::new();
        }
    });
    if local.outer.get() == 0 {
        local.tid.set(0);
    }
}

/// Runs in a fork child, which does not own its parent's guards (robust_list-S4). The kernel's list is empty, libc has
/// made its own again.
pub(crate) fn after_fork() {
    LOCAL.with(|local| {
        if local.tid.get() == 0 {
            return;
        }
        PendingSlot { head: local.head.get(), tid: 0 }.clear();
        local.tid.set(0);
        local.outer.set(0);
        LINKS.with(|links| {
            // SAFETY: the child has one thread; a borrow can only be a copy of one that the fork interrupted.
            let links = unsafe { &mut *links.as_ptr() };
            links.sentinels = None; // leaked in the child: a few bytes, and no allocator is called here
            links.words.clear();
        });
    });
}
