//! The steps of threads and kernel: one access to shared memory or one system call each.

use super::state::*;
use std::mem::take;

impl State {
    fn is(&self, change: Change) -> bool {
        self.changes & 1 << change as u16 != 0
    }

    fn slot(&self, number: u8) -> usize {
        usize::from(number & (self.capacity - 1))
    }

    fn is_there(&self, number: u8) -> bool {
        self.stamps[self.slot(number)] == number + 1
    }

    /// The tail, also if it has stayed behind.
    pub fn end(&self) -> u8 {
        (self.tail..).take(self.capacity.into()).take_while(|&n| self.is_there(n)).last().map_or(self.tail, |n| n + 1)
    }

    /// Takes the next step of thread `i`, or of the kernel on its behalf.
    pub fn step(mut self, i: usize, out: &mut Next) {
        let t = &mut self.threads[i];
        match t.at {
            At::Asleep | At::Gone => return,
            At::LookIndex | At::Index => {
                t.head = self.head;
                t.at = if t.at == At::Index { At::Other } else { At::LookAgain };
            }
            At::LookAgain => return self.looked(i, out),
            At::Enter | At::Reap | At::Leave | At::Prepare => self.private(i),
            At::Take => return self.enter(i, out),
            At::ArmLock | At::Arm => self.arm(i),
            At::MarkLock | At::Mark => self.mark(i),
            At::Repair | At::ReadHead | At::Stamp | At::MoveTail => self.push(i),
            At::ReadStamp | At::MoveHead => self.pop(i),
            At::Release => self.release(i),
            At::Glance => self.glance(i),
            At::Sleepers | At::Other | At::Held | At::Ring | At::Quiet => self.rule(i),
            At::Wake => return self.wake(i, out),
            At::Queue => self.queue(i),
            At::Unqueue => self.awake(i),
            At::Dead => (t.queued, t.on_lock, t.at) = (0, false, At::Exit),
            At::Exit => self.exit(i),
            At::ExitWake => return self.exit_wake(i, out),
        }
        out.push((self, false));
    }

    /// Whether there is an item or room, from the head as it was loaded and what is loaded now.
    fn is_so(&self, head: u8, items: bool) -> bool {
        let used = self.tail.wrapping_sub(head);
        // A tail that stayed behind the head: nothing is in.
        if items { self.is_there(head) } else { used != self.capacity }
    }

    /// Step 4 of the ring's protocol, after each look.
    fn looked(mut self, i: usize, out: &mut Next) {
        let head = self.threads[i].head;
        let so = self.is_so(head, self.threads[i].is_consumer());
        let skips = matches!(self.threads[i].look, Look::Armed | Look::Marked) && self.is(Change::NoLookBehindArm);
        let vain = if self.is(Change::VainWakeKept) { At::Leave } else { At::Sleepers };
        let t = &mut self.threads[i];
        if t.look != Look::Marked || so && !skips {
            t.head = 0;
        }
        if so && !skips {
            (t.at, t.armed, t.seen) = (At::Enter, 0, [0; 3]);
            return out.push((self, false));
        }
        match t.look {
            Look::First => t.at = At::Arm,
            Look::Armed => t.at = At::Prepare,
            Look::Marked => (t.at, t.door) = (At::Queue, 0),
            Look::Slept => {
                (t.did, t.then) = (if t.is_consumer() { Did::FailToPop } else { Did::FailToPush }, Then::Arm);
                t.at = vain;
            }
        }
        if t.look == Look::Armed && self.lapses > 0 {
            let mut late = self;
            late.lapses -= 1;
            late.give_up(i, out);
        }
        out.push((self, false));
    }

    /// A deadline has passed: the operation ends as it is.
    fn give_up(mut self, i: usize, out: &mut Next) {
        let passes_on = !self.is(Change::LateWakeKept) && self.threads[i].at == At::Take;
        let t = &mut self.threads[i];
        (t.armed, t.seen, t.then, t.at) = (0, [0; 3], Then::Done, At::Leave);
        if passes_on {
            (t.did, t.at, t.door) = (Did::Push, At::Sleepers, 0);
        }
        out.push((self, false));
    }

    /// The steps that concern only the thread's own slot.
    fn private(&mut self, i: usize) {
        let none = self.is(Change::NoPendingAsleep);
        let t = &mut self.threads[i];
        let (own, other) = if t.is_consumer() { (HEAD, TAIL) } else { (TAIL, HEAD) };
        match t.at {
            At::Enter => (t.pending, t.then, t.at) = (own, Then::Again, At::Take),
            At::Reap => (t.pending, t.then, t.at) = (take(&mut t.door), Then::Arm, At::Take),
            At::Prepare => {
                t.pending = if none { NULL } else { other };
                (t.at, t.door) = (At::Mark, TAIL);
            }
            _ => {
                (t.pending, t.did, t.door) = (NULL, Did::default(), 0);
                self.go_on(i);
            }
        }
    }

    /// After an operation, or a try of it.
    fn go_on(&mut self, i: usize) {
        let t = &mut self.threads[i];
        let then = take(&mut t.then);
        if then == Then::Done || then == Then::Again && t.role == TryPut {
            t.rounds -= 1;
            *t = if t.rounds == 0 { Thread::default() } else { Thread::new(t.role, t.rounds) };
        } else if then == Then::Again && t.is_consumer() {
            (t.look, t.at) = (Look::First, At::LookIndex);
        } else {
            t.at = At::Arm;
        }
    }

    /// Takes a free lock, or gets ready to sleep for it.
    fn enter(mut self, i: usize, out: &mut Next) {
        let t = &mut self.threads[i];
        let word = &mut self.words[t.pending];
        if *word & TID != 0 {
            if self.lapses > 0 {
                let mut late = self;
                late.lapses -= 1;
                late.give_up(i, out);
            }
            let t = &mut self.threads[i];
            (t.seen[t.pending], t.on_lock, t.at) = (self.words[t.pending], true, At::ArmLock);
            return out.push((self, false));
        }
        t.died = *word & DIED != 0;
        *word = *word & W | (i as u8 + 1);
        let repair = t.pending == TAIL && (t.died || t.then == Then::Arm) && !self.is(Change::TailStays);
        if repair && self.end() != self.tail {
            self.threads[i].at = At::Repair;
        } else {
            self.entered(i);
        }
        out.push((self, false));
    }

    /// The lock is held, and the tail is right.
    fn entered(&mut self, i: usize) {
        let full = self.tail.wrapping_sub(self.seen) >= self.capacity;
        let t = &mut self.threads[i];
        if t.then == Then::Arm {
            return self.leave(i, Did::Change);
        }
        t.at = match t.is_consumer() {
            true => At::ReadStamp,
            false if full => At::ReadHead,
            false => At::Stamp,
        };
    }

    fn arm(&mut self, i: usize) {
        let event_count = self.threads[i].event_count();
        self.count(i, event_count);
        let t = &mut self.threads[i];
        if t.at == At::ArmLock {
            t.at = At::MarkLock;
        } else {
            (t.look, t.at) = (Look::Armed, At::LookIndex);
        }
    }

    /// A event count's word is thread `i`'s from here on, and no other thread's.
    fn count(&mut self, i: usize, event_count: usize) {
        self.asleep[event_count] = true;
        self.threads.iter_mut().filter(|t| t.armed == event_count + 1).for_each(|t| t.armed = 0);
        self.threads[i].armed = event_count + 1;
    }

    /// W, before a sleep.
    fn mark(&mut self, i: usize) {
        let unmarked = self.is(Change::LocksUnmarked);
        let t = &mut self.threads[i];
        if t.at == At::MarkLock {
            let word = &mut self.words[t.pending];
            if *word != t.seen[t.pending] {
                (t.armed, t.seen, t.on_lock, t.at) = (0, [0; 3], false, At::Take);
            } else {
                *word |= W;
                (t.seen[t.pending], t.at, t.door) = (*word, At::Queue, 0);
            }
            return;
        }
        let word = &mut self.words[t.door];
        if *word & DIED != 0 {
            (t.armed, t.seen, t.at) = (0, [0; 3], At::Reap);
            return;
        }
        *word |= if unmarked { 0 } else { W };
        t.seen[t.door] = *word;
        if t.door == TAIL {
            t.door = HEAD;
        } else {
            (t.door, t.look, t.at) = (0, Look::Marked, At::LookIndex);
        }
    }

    /// Under the tail's lock.
    fn push(&mut self, i: usize) {
        let number = self.tail;
        self.broken |= self.words[TAIL] & TID != i as u8 + 1;
        match self.threads[i].at {
            At::Repair => {
                self.tail = self.end();
                self.entered(i);
            }
            At::ReadHead => {
                self.seen = self.head;
                self.broken |= number.wrapping_sub(self.head) > self.capacity;
                if number - self.head == self.capacity {
                    return self.leave(i, Did::FailToPush);
                }
                self.threads[i].at = At::Stamp;
            }
            At::Stamp => {
                self.broken |= self.is_there(number) || number.wrapping_sub(self.head) >= self.capacity;
                let slot = self.slot(number);
                self.stamps[slot] = number + 1;
                self.threads[i].at = At::MoveTail;
            }
            _ => {
                self.tail += 1;
                self.leave(i, Did::Push);
            }
        }
    }

    /// Under the head's lock.
    fn pop(&mut self, i: usize) {
        self.broken |= self.words[HEAD] & TID != i as u8 + 1;
        let there = self.is_there(self.head);
        let t = &mut self.threads[i];
        if t.at == At::ReadStamp && there {
            (t.head, t.at) = (self.head, At::MoveHead);
        } else if t.at == At::ReadStamp {
            self.leave(i, Did::FailToPop);
        } else {
            self.broken |= take(&mut t.head) != self.head || !there;
            self.head += 1;
            self.leave(i, Did::Pop);
        }
    }

    fn leave(&mut self, i: usize, did: Did) {
        let early = self.is(Change::RuleBeforeRelease);
        let t = &mut self.threads[i];
        t.did = if take(&mut t.died) { Did::Change } else { did };
        t.then = match (did, t.then) {
            (Did::Push | Did::Pop, _) => Then::Done,
            (_, then) => then,
        };
        t.at = At::Release;
        if early {
            self.pay(i);
        }
    }

    fn release(&mut self, i: usize) {
        let drops_w = self.is(Change::ReleaseDropsW);
        let (early, clear) = (self.is(Change::RuleBeforeRelease), self.is(Change::ClearBeforeRule));
        let t = &mut self.threads[i];
        self.words[t.pending] &= if drops_w { 0 } else { W };
        t.pending = if clear { NULL } else { t.pending };
        if early {
            t.at = At::Leave;
        } else {
            self.pay(i);
        }
    }

    fn pay(&mut self, i: usize) {
        let t = &mut self.threads[i];
        (t.at, t.door) = (if t.did == Did::Change { At::Sleepers } else { At::Glance }, 0);
    }

    fn paid(&mut self, i: usize) {
        let t = &mut self.threads[i];
        let held = t.pending != NULL && self.words[t.pending] & TID == i as u8 + 1;
        (t.at, t.door) = (if held { At::Release } else { At::Leave }, 0);
    }

    fn glance(&mut self, i: usize) {
        let t = &mut self.threads[i];
        if self.asleep[t.door] {
            (t.at, t.door) = (At::Sleepers, 0);
        } else if t.door == 3 {
            self.paid(i);
        } else {
            t.door += 1;
        }
    }

    /// Rule R, event count by event count.
    fn rule(&mut self, i: usize) {
        let t = self.threads[i];
        let all = t.did == Did::Change;
        let asleep = self.asleep[t.door];
        let own_kind = [Some(Did::FailToPop), Some(Did::FailToPush), None, None][t.door] == Some(t.did);
        let next = match t.at {
            At::Sleepers if !asleep => None,
            At::Sleepers if all || own_kind && self.is(Change::FailWakesItsKind) => Some(At::Ring),
            At::Sleepers if own_kind => None,
            At::Sleepers if t.door <= LOCK_EVENT_COUNTS => Some(At::Index),
            At::Sleepers => Some(At::Held),
            At::Other => self.is_so(t.head, t.door == 0).then_some(At::Ring),
            At::Held => (self.words[t.door - LOCK_EVENT_COUNTS] & TID == 0).then_some(At::Ring),
            At::Ring if asleep => {
                self.count(i, t.door);
                Some(At::Wake)
            }
            At::Quiet => {
                self.asleep[t.door] &= t.armed != t.door + 1 && !self.is(Change::AsleepGoesBlindly);
                None
            }
            _ => None,
        };
        let t = &mut self.threads[i];
        t.head = 0;
        match next {
            Some(at) => t.at = at,
            None => self.next_door(i),
        }
    }

    fn next_door(&mut self, i: usize) {
        let t = &mut self.threads[i];
        t.armed = 0;
        if t.door == 3 {
            return self.paid(i);
        }
        (t.door, t.at) = (t.door + 1, At::Sleepers);
    }

    /// FUTEX_WAKE at a event count, of one or of all.
    fn wake(mut self, i: usize, out: &mut Next) {
        let (door, all) = (self.threads[i].door, self.threads[i].did == Did::Change);
        let sleepers: Vec<_> =
            (0..THREADS).filter(|&j| self.is_queued(j, 0) && self.threads[j].event_count() == door).collect();
        if sleepers.is_empty() {
            self.threads[i].at = At::Quiet;
            return out.push((self, false));
        }
        self.next_door(i);
        if all {
            sleepers.into_iter().for_each(|j| self.take_off(j, 0));
            return out.push((self, true));
        }
        for j in sleepers {
            let mut n = self;
            n.take_off(j, 0);
            out.push((n, true));
        }
    }

    fn is_queued(&self, j: usize, bit: usize) -> bool {
        self.threads[j].queued & 1 << bit != 0
    }

    /// A wake takes a thread off one queue. It runs, but is still on the others.
    fn take_off(&mut self, j: usize, bit: usize) {
        let t = &mut self.threads[j];
        t.queued &= !(1 << bit);
        if t.at == At::Asleep {
            t.at = At::Unqueue;
        }
    }

    /// FUTEX_WAITV, one word after the other.
    fn queue(&mut self, i: usize) {
        let (alone, looks) = (self.is(Change::SleepsOnEventCountAlone), !self.is(Change::NoLastLook));
        let t = self.threads[i];
        let slot = self.slot(t.head);
        let t = &mut self.threads[i];
        let same = match t.door {
            0 => t.armed == t.event_count() + 1,
            3 if t.is_consumer() => self.stamps[slot] <= t.head,
            3 => self.head == t.head,
            lock => self.words[lock] == t.seen[lock],
        };
        if !same {
            return self.awake(i);
        }
        t.queued |= 1 << t.door & 7;
        let next = match (t.door, t.on_lock) {
            _ if alone => None,
            (0, true) => Some(t.pending),
            (HEAD, false) if looks => Some(3),
            (0 | TAIL, false) => Some(t.door + 1),
            _ => None,
        };
        if let Some(next) = next {
            t.door = next;
            return;
        }
        let all = match t.on_lock {
            _ if alone => 1,
            true => 1 | 1 << t.pending,
            false => 7,
        };
        (t.armed, t.seen, t.door, t.head) = (0, [0; 3], 0, 0);
        t.at = if t.queued == all { At::Asleep } else { At::Unqueue };
    }

    /// A sleep is over, or did not begin.
    fn awake(&mut self, i: usize) {
        let t = &mut self.threads[i];
        (t.queued, t.armed, t.seen, t.door, t.head) = (0, 0, [0; 3], 0, 0);
        if take(&mut t.on_lock) {
            t.at = At::Take;
        } else {
            (t.look, t.at) = (Look::Slept, At::LookIndex);
        }
    }

    /// The kernel looks at the pending word of a dead thread.
    fn exit(&mut self, i: usize) {
        let old = self.is(Change::OldKernel);
        let t = &mut self.threads[i];
        let word = &mut self.words[t.pending];
        let mut wakes = t.pending != NULL && *word & TID == 0 && (*word == 0 || !old);
        if *word & TID == i as u8 + 1 {
            *word = DIED | *word & W;
            wakes = *word & W != 0;
        }
        *t = if wakes {
            Thread { at: At::ExitWake, pending: t.pending, ..Thread::default() }
        } else {
            Thread::default()
        };
    }

    fn exit_wake(mut self, i: usize, out: &mut Next) {
        let lock = take(&mut self.threads[i]).pending;
        let before = out.len();
        for j in (0..THREADS).filter(|&j| self.is_queued(j, lock)) {
            let mut n = self;
            n.take_off(j, lock);
            out.push((n, true));
        }
        if out.len() == before {
            out.push((self, false));
        }
    }

    /// Kills and lapses: what may happen to thread `i`, but never has to.
    pub fn mishap(mut self, i: usize, out: &mut Next) {
        let t = self.threads[i];
        if self.lapses > 0 && t.at == At::Asleep {
            let mut n = self;
            n.lapses -= 1;
            n.threads[i].at = At::Unqueue;
            out.push((n, false));
        }
        if self.kills > 0 && t.at < At::Dead {
            self.kills -= 1;
            self.threads[i] = match (t.queued, t.pending) {
                (0, NULL) => Thread::default(),
                (0, pending) => Thread { at: At::Exit, pending, ..Thread::default() },
                (queued, pending) => {
                    Thread { at: At::Dead, queued, pending, on_lock: t.on_lock, role: t.role, ..Thread::default() }
                }
            };
            out.push((self, false));
        }
    }
}
