//! A monitor: state that is changed under a lock for moments (`section`), seats for those who take part, and a gate where
//! those sleep who wait for the state to change.
//!
//! What one waits for can always be read from the state; a wake is only a hint. What the state is, a [`State`] says.
//!
//! # Layout
//! ```text
//! lock            of the object
//! queue           gate of those who wait for the lock
//! gate            of those who wait for the state
//! changes         how often the state changed: only ever compared
//! state           what the primitive is
//! seats           see `seat`
//! ```
//!
//! # Protocol
//! 1. A change: enter; bury the dead, if there was a death; change; `changes` + 1; leave. Behind the release, with the
//!    lock still in the pending slot, the *debts* are paid: one who waits for the lock is woken, and as many of those at
//!    the gate as could go on.
//! 2. A sleeper: the lock into the pending slot; arm the gate; read `changes`; mark the lock; look at the seats, and read
//!    the words of those it watches; look at the state; sleep while all those words stay as they are: gate, lock, `changes`,
//!    seats, in this order.
//! 3. Whoever wakes looks at the state. If it can go on, it does, with the slot kept until its own change is made. If not, it
//!    wakes one who waits for the lock, and has all look who sleep if there are debts, but once for each change; and begins
//!    again, with the slot kept.
//!
//! Orderings: the stores of a change are `Release`, so that they are seen in their order. That a sleeper sees the change, or the
//! one who made it sees the sleeper, comes from lock and gate: the sleeper arms the gate and then reads the lock, the other
//! releases the lock and then reads the gate, all `SeqCst`.
//!
//! # Invariants
//! * M1: the state is only changed under the lock, but for what a seat's owner does to its own seat.
//! * M2: if somebody at the gate could go on, or a seat's owner is dead whom a sleeper watched, then somebody who is awake,
//!   or the kernel on behalf of one who died, will look.
//! * M3: from a wake to what is made of it, and from a change to the paid debts, the slot holds the lock.
//!
//! # If a process dies here
//! In a change: the lock is DIED, and a sleeper is woken, for all sleep on the lock too; who was about to sleep finds
//! another word. Whoever enters next has the state counted anew and buries the dead; who was woken and need not enter has
//! another one look. Behind the release, before the debts are paid: the kernel wakes one who sleeps on the lock, at the gate or
//! in the queue, who pays them; who was about to sleep finds another number of changes, or had seen the new state. A sleeper,
//! also one that was woken: the same. Who has a seat: the kernel marks it, and wakes one who watched it; who was about to sleep
//! finds another word. Whose seat nobody watches that sleeps, keeps the lock in the slot, or has one of the sleepers look again.

pub(crate) mod participant;

use super::event_count::{self, EventCount};
use super::raw_lock::{LockFailure, RawLock, Timeout};
use super::section::{self, Mark, Section};
use super::spin;
use crate::sys::robust_list::{self, PendingSlot};
use crate::sys::{Deadline, OWNER_DIED, futex, process_id};
use participant::Participant;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Relaxed, Release, SeqCst};
use std::time::Duration;

/// How often a sleeper looks by itself whether somebody is gone.
const PERIOD: Duration = Duration::from_secs(2);

/// The part of a monitor that all have, behind the object's lock.
#[repr(C)]
pub(crate) struct MonitorHeader {
    queue: EventCount,
    gate: EventCount,
    changes: AtomicU32,
    /// How many looks pay before a sleep; 0 is not known yet. Anything else than a guess it is not.
    looks: AtomicU32,
}

/// What a primitive adds: plain data in shared memory.
pub(crate) trait State {
    /// How many of those who sleep could go on, as far as they were not woken for it yet.
    fn calls(&self) -> Call;

    /// They were woken.
    fn paid(&self, _: Call) {}

    /// The owner of this seat died; the seat will be free.
    fn bury(&self, seat: &Participant, seats: &[Participant]);

    /// A holder of the lock died in a change: what can be derived from the seats is.
    fn recount(&self, seats: &[Participant]);
}

/// Whom to wake.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub(crate) most: u32,
    /// What it is about, for [`State::paid`].
    pub(crate) token: u32,
}

/// A monitor, where it lies.
pub(crate) struct Monitor<'a, S> {
    pub(crate) lock: &'a RawLock,
    pub(crate) desk: &'a MonitorHeader,
    pub(crate) state: &'a S,
    pub(crate) seats: &'a [Participant],
}

/// The lock is held.
#[must_use]
pub(crate) struct MonitorGuard<'a, S> {
    monitor: &'a Monitor<'a, S>,
    section: Section<'a>,
}

/// How a wait ended. The lock is in this thread's pending slot: a change, or [`Monitor::settle_own`], must follow at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    Ready,
    TimedOut,
}

impl<S: State> Monitor<'_, S> {
    /// Step 1, up to the change.
    #[inline(always)]
    pub(crate) fn enter(&self) -> Result<MonitorGuard<'_, S>, LockFailure> {
        let section = section::enter(self.lock, &self.desk.queue, Timeout::Never)?;
        if section.died() {
            self.state.recount(self.seats);
            self.bury();
        }
        Ok(MonitorGuard { monitor: self, section })
    }

    /// Every seat whose owner is dead becomes free.
    #[cold]
    fn bury(&self) {
        for seat in self.seats.iter().filter(|seat| seat.is_dead()) {
            self.state.bury(seat, self.seats);
            seat.clear();
        }
        self.has_changed();
    }

    fn has_changed(&self) {
        let changes = &self.desk.changes;
        changes.store(changes.load(Relaxed).wrapping_add(1), Release);
    }

    fn has_dead(&self) -> bool {
        self.seats.iter().any(Participant::is_dead)
    }

    /// Somebody died in the lock, or at a seat: whoever looks next sees to it. The kernel may have found the lock held then,
    /// and nobody to wake.
    fn has_news(&self) -> bool {
        self.lock.word().load(SeqCst) & OWNER_DIED != 0 || self.has_dead()
    }

    /// Wakes whoever may go on.
    #[inline(always)]
    fn pay(&self, more: u32) {
        self.pay_for_lock();
        if self.desk.gate.has_sleepers() {
            self.pay_sleepers(more, false);
        }
    }

    /// Wakes one who waits for the lock.
    #[inline(always)]
    fn pay_for_lock(&self) {
        if self.desk.queue.has_sleepers() {
            self.desk.queue.ring(1);
        }
    }

    /// If there is anything to go on for: as many as could, or all, where one who cannot was woken for it.
    #[cold]
    fn pay_sleepers(&self, more: u32, all: bool) {
        let call = self.state.calls();
        let most = call.most.max(more).max(u32::from(self.has_news()));
        if most > 0 {
            self.desk.gate.ring(if all { EventCount::ALL } else { most });
            self.state.paid(call);
        }
    }

    /// Steps 2 and 3: sleeps until it is `ready`. Those of the seats are watched for which it is so.
    #[cold]
    #[inline(never)]
    pub(crate) fn wait(
        &self,
        ready: &dyn Fn() -> bool,
        watched: &dyn Fn(&Participant) -> bool,
        deadline: Option<Deadline>,
    ) -> Result<Waited, LockFailure> {
        let me = robust_list::enter_section(self.lock.word());
        // Two who cannot go on must not wake each other for ever.
        let mut passed_on = None;
        if self.look(ready) {
            return Ok(Waited::Ready);
        }
        loop {
            let armed = self.desk.gate.arm();
            let changes = self.desk.changes.load(SeqCst);
            let Mark::Set(lock) = section::mark(self.lock).inspect_err(|_| me.leave())? else {
                self.enter()?.leave_to_wait();
                continue;
            };
            // The kernel compares and queues them in this order. So the changes come behind the lock: a change that they
            // do not show is made when this thread sleeps on the lock, should the one who makes it die.
            let mut words = [(self.desk.gate.word(), armed); futex::MOST_WORDS];
            words[1..3].copy_from_slice(&[(self.lock.word(), lock), (&self.desk.changes, changes)]);
            let mut count = 3;
            for seat in self.seats.iter().filter(|seat| watched(seat)).take(futex::MOST_WORDS - count) {
                words[count] = (seat.word(), seat.word().load(SeqCst));
                count += 1;
            }
            if self.has_dead() {
                let visit = self.enter()?;
                visit.bury();
                visit.leave_to_wait();
                continue;
            }
            if ready() {
                return Ok(Waited::Ready);
            }
            if deadline.is_some_and(Deadline::has_passed) {
                return Ok(Waited::TimedOut);
            }
            let until = event_count::slice(deadline, PERIOD);
            futex::wait_any(&words[..count], until);
            if ready() {
                return Ok(Waited::Ready);
            }
            // What ended the sleep was not for us, but for who waits for the lock, or sleeps, too.
            self.pay_for_lock();
            let changes = self.desk.changes.load(SeqCst);
            if passed_on.replace(changes) != Some(changes) && self.desk.gate.has_sleepers() {
                self.pay_sleepers(0, true);
            }
            if until.is_some_and(Deadline::has_passed) {
                section::bury_holder(self.lock.word());
                self.seats.iter().filter(|seat| seat.is_taken()).for_each(|seat| section::bury_holder(seat.word()));
            }
        }
    }

    /// Looks until it is ready, or it is time to sleep: longer where that has paid lately.
    fn look(&self, ready: &dyn Fn() -> bool) -> bool {
        if process_id::cores() < 2 {
            return ready();
        }
        spin::until(&self.desk.looks, self.desk.changes.load(Relaxed), ready).is_some()
    }

    /// For one whose wait was all that it wanted.
    pub(crate) fn settle_own(&self) {
        let me = robust_list::enter_section(self.lock.word());
        self.pay(0);
        me.leave();
    }

    /// The same, and it gives up its seat, without the lock: out of the list first, for the next one there puts it into its
    /// own. Also for one who cannot enter any more.
    pub(crate) fn settle_seat(&self, seat: &Participant) {
        self.settle_own();
        let me = PendingSlot::retire(seat.word());
        seat.clear();
        me.leave();
    }
}

impl<'a, S> Monitor<'a, S> {
    /// The first where nobody sits.
    #[inline(always)]
    pub(crate) fn free_seat(&self) -> Option<&'a Participant> {
        self.seats.iter().find(|seat| seat.is_free())
    }
}

impl<'a, S: State> MonitorGuard<'a, S> {
    pub(crate) fn me(&self) -> PendingSlot {
        self.section.me()
    }

    /// There may have been a death: those seats are free now.
    pub(crate) fn bury(&self) {
        if self.monitor.has_dead() {
            self.monitor.bury();
        }
    }

    /// Behind a change: the end of step 1.
    #[inline(always)]
    pub(crate) fn leave_changed(self) {
        self.monitor.has_changed();
        self.leave();
    }

    /// The same; besides, so many sleepers are to look again.
    pub(crate) fn leave_and_call(self, more: u32) {
        let monitor = self.monitor;
        monitor.has_changed();
        self.section.leave(|| monitor.pay(more));
    }

    /// The same, with the lock kept in the slot: a wait must follow at once.
    pub(crate) fn leave_to_wait(self) {
        let monitor = self.monitor;
        monitor.has_changed();
        self.section.leave_with_slot(|| monitor.pay(0));
    }

    /// Nothing was changed here.
    #[inline(always)]
    pub(crate) fn leave(self) {
        let monitor = self.monitor;
        self.section.leave(|| monitor.pay(0));
    }
}
