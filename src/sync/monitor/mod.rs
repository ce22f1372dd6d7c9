//! A monitor: state that is changed under a lock for short times (`section`), records for its participants, and an
//! event count where threads sleep until the state changes.
//!
//! What a thread waits for can always be read from the state; a wake is only a hint. The primitive on top implements
//! [`MonitorState`].
//!
//! # Layout
//! ```text
//! lock            of the object
//! queue           event count of the threads that wait for the lock
//! waiters         event count of the threads that wait for the state
//! changes         how often the state changed: only compared for equality
//! state           what the primitive is
//! participants    see `participant`
//! ```
//!
//! # Protocol
//! 1. A change: enter; after a death, reap the dead; change; `changes` + 1; leave. After the release, with the lock
//!    still in the pending slot, the *pending notifications* are sent: one thread that waits for the lock is woken, and
//!    as many of those that wait for the state as could continue.
//! 2. A wait: the lock into the pending slot; prepare to wait; read `changes`; set WAITERS in the lock; check the
//!    participants, and read the words of those to watch; check the state; sleep while all those words keep their
//!    values: event count, lock, `changes`, participants, in this order.
//! 3. A thread that wakes checks the state. If it can continue, it does, and keeps the slot until its own change is
//!    made. If not, it wakes one thread that waits for the lock, has all sleepers check if notifications are pending,
//!    but once for each change; and starts again, with the slot kept.
//!
//! Orderings: the stores of a change are `Release`, so they are seen in order. That a waiter sees the change, or the
//! thread that made it sees the waiter, comes from lock and event count: the waiter prepares and then reads the lock,
//! the other thread releases the lock and then reads the event count, all `SeqCst`.
//!
//! # Invariants
//! * monitor-M1: the state is only changed under the lock, except what a participant does to its own record.
//! * monitor-M2: if a waiter could continue, or a participant is dead that a sleeper watched, then some thread that is
//!   awake, or the kernel on behalf of a dead thread, will check.
//! * monitor-M3: from a wake to the change that follows from it, and from a change to its notifications, the slot holds
//!   the lock.
//!
//! # If a process dies here
//! In a change: the lock becomes OWNER_DIED, and a sleeper is woken, since all sleep on the lock too; a thread that was
//! going to sleep finds another word. The next thread that enters recounts the state and reaps the dead; a woken one
//! that need not enter has another one check. After the release, before the notifications: the kernel wakes one thread
//! that sleeps on the lock, for the lock or for the state, and that one sends them; a thread that was going to sleep
//! finds another number of changes, or has seen the new state. A sleeper, also one that was woken: the same. A
//! participant: the kernel marks its record and wakes a thread that watches it; a thread that was going to sleep finds
//! another word. A participant whose record no sleeper watches keeps the lock in the slot, or has one of the sleepers
//! check.

pub(crate) mod participant;

use super::backstop::{self, IDLE_PERIOD};
use super::event_count::EventCount;
use super::lock_word::LockWord;
use super::raw_lock::{LockFailure, RawLock, Timeout};
use super::section::{self, Section, SleepWord};
use super::spin;
use crate::sys::robust_list::PendingSlot;
use crate::sys::{Deadline, futex, process_id};
use participant::Participant;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Relaxed, Release, SeqCst};

/// What every monitor has after the object's lock.
#[repr(C)]
pub(crate) struct MonitorHeader {
    queue: EventCount,
    waiters: EventCount,
    changes: AtomicU32,
    /// How many looks pay before a sleep; 0: unknown. Only a guess.
    budget: AtomicU32,
}

/// What a primitive adds: plain data in shared memory.
pub(crate) trait MonitorState {
    /// How many sleepers could continue and were not woken for it yet.
    fn wakeups(&self) -> Wakeups;

    /// They were woken.
    fn woken(&self, _: Wakeups) {}

    /// The owner of this record died. The record is freed afterwards.
    fn remove_dead(&self, dead: &Participant, participants: &[Participant]);

    /// A holder of the lock died during a change: derives from the records what can be derived.
    fn recount(&self, participants: &[Participant]);
}

/// Threads to wake.
#[derive(Clone, Copy)]
pub(crate) struct Wakeups {
    pub(crate) most: u32,
    /// The reason, for [`MonitorState::woken`].
    pub(crate) token: u32,
}

/// A monitor, where it lies.
pub(crate) struct Monitor<'a, S> {
    pub(crate) lock: &'a RawLock,
    pub(crate) header: &'a MonitorHeader,
    pub(crate) state: &'a S,
    pub(crate) participants: &'a [Participant],
}

/// The held lock.
#[must_use]
pub(crate) struct MonitorGuard<'a, S> {
    monitor: &'a Monitor<'a, S>,
    section: Section<'a>,
}

/// How a wait ended. The lock is in this thread's pending slot: a change, or [`Monitor::end_wait`], must follow at
/// once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    Ready,
    TimedOut,
}

impl<S: MonitorState> Monitor<'_, S> {
    /// Step 1, up to the change.
    #[inline(always)]
    pub(crate) fn enter(&self) -> Result<MonitorGuard<'_, S>, LockFailure> {
        let section = section::enter(self.lock, &self.header.queue, Timeout::Never)?;
        if section.owner_died() {
            self.state.recount(self.participants);
            self.reap_dead();
        }
        Ok(MonitorGuard { monitor: self, section })
    }

    /// Frees the record of every participant that is dead.
    #[cold]
    fn reap_dead(&self) {
        for dead in self.participants.iter().filter(|participant| participant.is_dead()) {
            self.state.remove_dead(dead, self.participants);
            dead.clear();
        }
        self.has_changed();
    }

    fn has_changed(&self) {
        let changes = &self.header.changes;
        changes.store(changes.load(Relaxed).wrapping_add(1), Release);
    }

    fn has_dead(&self) -> bool {
        self.participants.iter().any(Participant::is_dead)
    }

    /// Whether a holder of the lock or a participant died, and no thread has cleaned up yet. The kernel may have found
    /// the lock held at that time, and no thread to wake.
    fn has_unhandled_death(&self) -> bool {
        LockWord(self.lock.word().load(SeqCst)).owner_died() || self.has_dead()
    }

    /// Sends the pending notifications; at least `more` sleepers are woken.
    #[inline(always)]
    fn notify(&self, more: u32) {
        self.notify_queue();
        if self.header.waiters.has_waiters() {
            self.notify_waiters(more, false);
        }
    }

    /// Wakes one thread that waits for the lock.
    #[inline(always)]
    fn notify_queue(&self) {
        if self.header.queue.has_waiters() {
            self.header.queue.notify(1);
        }
    }

    /// If there is a reason to continue: wakes as many as could, or all, if one that cannot was woken for it.
    #[cold]
    fn notify_waiters(&self, more: u32, all: bool) {
        let wakeups = self.state.wakeups();
        let most = wakeups.most.max(more).max(u32::from(self.has_unhandled_death()));
        if most > 0 {
            self.header.waiters.notify(if all { EventCount::ALL } else { most });
            self.state.woken(wakeups);
        }
    }

    /// Steps 2 and 3: sleeps until `ready`. Participants for which `watched` is true are watched.
    #[cold]
    #[inline(never)]
    pub(crate) fn wait(
        &self,
        ready: &dyn Fn() -> bool,
        watched: &dyn Fn(&Participant) -> bool,
        deadline: Option<Deadline>,
    ) -> Result<Waited, LockFailure> {
        let slot = PendingSlot::set_in_section(self.lock.word());
        // Two threads that cannot continue must not wake each other forever.
        let mut passed_on = None;
        if self.spin(ready) {
            return Ok(Waited::Ready);
        }
        loop {
            let key = self.header.waiters.prepare_wait();
            let changes = self.header.changes.load(SeqCst);
            let SleepWord::Ready(lock) = section::set_waiters(self.lock).inspect_err(|_| slot.clear())? else {
                self.enter()?.leave_to_wait();
                continue;
            };
            // The kernel compares and enqueues them in this order. So `changes` comes after the lock: a change that it
            // does not show yet is made while this thread already sleeps on the lock, should the thread that makes it
            // die.
            let mut words = [(self.header.waiters.word(), key); futex::MOST_WORDS];
            words[1..3].copy_from_slice(&[(self.lock.word(), lock), (&self.header.changes, changes)]);
            let mut count = 3;
            let to_watch = self.participants.iter().filter(|participant| watched(participant));
            for participant in to_watch.take(futex::MOST_WORDS - count) {
                words[count] = (participant.word(), participant.word().load(SeqCst));
                count += 1;
            }
            if self.has_dead() {
                let guard = self.enter()?;
                guard.reap_dead();
                guard.leave_to_wait();
                continue;
            }
            if ready() {
                return Ok(Waited::Ready);
            }
            if deadline.is_some_and(Deadline::has_passed) {
                return Ok(Waited::TimedOut);
            }
            let until = backstop::slice(deadline, IDLE_PERIOD);
            futex::wait_any(&words[..count], until);
            if ready() {
                return Ok(Waited::Ready);
            }
            // The wake was not for this thread, but for one that waits for the lock, or that sleeps too.
            self.notify_queue();
            let changes = self.header.changes.load(SeqCst);
            if passed_on.replace(changes) != Some(changes) && self.header.waiters.has_waiters() {
                self.notify_waiters(0, true);
            }
            if until.is_some_and(Deadline::has_passed) {
                backstop::mark_owner_died(self.lock.word());
                let taken = self.participants.iter().filter(|participant| participant.is_taken());
                taken.for_each(|participant| backstop::mark_owner_died(participant.word()));
            }
        }
    }

    /// Spins until `ready`, or until it is time to sleep: longer if that has paid lately.
    fn spin(&self, ready: &dyn Fn() -> bool) -> bool {
        if process_id::cores() < 2 {
            return ready();
        }
        spin::spin_until(&self.header.budget, self.header.changes.load(Relaxed), ready).is_some()
    }

    /// Ends a wait that no change follows.
    pub(crate) fn end_wait(&self) {
        let slot = PendingSlot::set_in_section(self.lock.word());
        self.notify(0);
        slot.clear();
    }

    /// Ends a wait and releases this thread's record, without the lock: out of the list first, since the next owner
    /// puts it into its own list. Also for a thread that cannot enter any more.
    pub(crate) fn end_wait_and_release(&self, own: &Participant) {
        self.end_wait();
        let slot = PendingSlot::take_back(own.word());
        own.clear();
        slot.clear();
    }
}

impl<'a, S> Monitor<'a, S> {
    /// The first free record.
    #[inline(always)]
    pub(crate) fn free_record(&self) -> Option<&'a Participant> {
        self.participants.iter().find(|participant| participant.is_free())
    }
}

impl<'a, S: MonitorState> MonitorGuard<'a, S> {
    pub(crate) fn slot(&self) -> PendingSlot {
        self.section.slot()
    }

    /// Frees the records of dead participants, if there are any.
    pub(crate) fn reap_dead(&self) {
        if self.monitor.has_dead() {
            self.monitor.reap_dead();
        }
    }

    /// The end of step 1, after a change.
    #[inline(always)]
    pub(crate) fn leave_changed(self) {
        self.monitor.has_changed();
        self.leave();
    }

    /// The end of step 1, after a change; at least `more` sleepers are woken to check.
    pub(crate) fn leave_and_wake(self, more: u32) {
        let monitor = self.monitor;
        monitor.has_changed();
        self.section.leave(|| monitor.notify(more));
    }

    /// The end of step 1, after a change, with the lock kept in the slot: a wait must follow at once.
    pub(crate) fn leave_to_wait(self) {
        let monitor = self.monitor;
        monitor.has_changed();
        self.section.leave_with_slot(|| monitor.notify(0));
    }

    /// Leaves without a change.
    #[inline(always)]
    pub(crate) fn leave(self) {
        let monitor = self.monitor;
        self.section.leave(|| monitor.notify(0));
    }
}
