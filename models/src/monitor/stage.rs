//! The stage: threads, lock, event count, records, and the kernel.

use super::thread::{At, CHANGES, DIED, EVENT_COUNT, LOCK, ORDER, Participant, THREADS, TID, Then, Thread, WAITERS};
use crate::explore::Model;

/// The step after a store under the lock.
pub enum Next<T> {
    /// Another one, by its number.
    Store(u8),
    /// Nothing was changed.
    Leave(Then<T>),
    Changed(Then<T>),
}

/// A mistake, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    AsleepWithoutSlot,
    ArrivalEmptiesSlot,
    SlotEmptiedBeforePay,
    NothingPaid,
    ChangesNotCounted,
    ChangesComparedFirst,
    ParticipantsUnwatched,
    DiedLockNotPaid,
    ReapedBeforeSettled,
    NotSettledAnew,
    PhaseIsAnnounced,
    NoGuardian,
    GrantGoesWithTheDead,
}

/// A use of the monitor: the state that the lock guards.
pub trait Play: Copy + Default {
    type Aim: Copy + std::fmt::Debug + PartialEq;
    type Task: Copy + PartialEq;
    /// A sleeper watches the records in this state.
    const WATCHED: u8;
    /// The slot keeps the lock from a wait's first change on.
    const SLOT_STAYS: bool;
    /// The task of a thread that gives up.
    const TIME_IS_UP: Self::Task;

    /// The first task of a thread with this purpose; none if there is nothing to do.
    fn first(&self, aim: Self::Aim) -> Option<Self::Task>;
    /// Small numbers for both.
    fn codes(aim: Self::Aim, task: Option<Self::Task>) -> [u8; 2];
    /// Whether the dead are reaped before anything else.
    fn reaps_first(task: Self::Task) -> bool;
    /// Whether a waiter can go on.
    fn is_ready(&self, participant: &Participant) -> bool;
    /// The owner of this record is dead.
    fn reap(&mut self, participants: &mut [Participant; THREADS], i: usize, change: Option<Change>);
    /// A holder of the lock died in a change.
    fn recount(&mut self, participants: &mut [Participant; THREADS], change: Option<Change>);
    /// How many of the sleepers could go on, and a token of what it is about.
    fn calls(&self, change: Option<Change>) -> (usize, u8);
    fn paid(&mut self, _: u8) {}
    /// Under the lock: the store of this number.
    fn work(stage: &mut Stage<Self>, i: usize, task: Self::Task, store: u8) -> Next<Self::Task>;
    /// A thread that waited goes on.
    fn go_on(stage: &mut Stage<Self>, i: usize);
    /// The owner of this record dies.
    fn dies(&mut self, _: &Participant) {}
    fn key(&self) -> u128;
    /// The rule that this breaks.
    fn broken(&self) -> Option<&'static str> {
        None
    }
    /// The rule that is broken if this one sleeps for ever.
    fn stuck(&self, participants: &[Participant; THREADS], i: usize) -> Option<&'static str>;
}

#[derive(Clone, Copy)]
pub struct Stage<P: Play> {
    pub change: Option<Change>,
    lock: u8,
    asleep: bool, // the event count's bit
    pub participants: [Participant; THREADS],
    kills: u8,
    lapses: u8,
    pub threads: [Thread<P>; THREADS],
    pub play: P,
}

impl<P: Play> Stage<P> {
    pub fn new(play: P, aims: &[P::Aim], [kills, lapses]: [u8; 2], change: Option<Change>) -> Self {
        let mut threads = [Thread::resting(None); THREADS];
        for (t, &aim) in threads.iter_mut().zip(aims) {
            *t = Thread { at: At::Begin, ..Thread::resting(Some(aim)) };
        }
        Stage {
            change,
            lock: 0,
            asleep: false,
            participants: [Participant::default(); THREADS],
            kills,
            lapses,
            threads,
            play,
        }
    }

    fn is(&self, change: Change) -> bool {
        self.change == Some(change)
    }

    fn is_ready(&self, i: usize) -> bool {
        self.play.is_ready(&self.participants[i])
    }

    fn has_dead(&self) -> bool {
        self.participants.iter().any(Participant::is_dead)
    }

    fn reap(&mut self) {
        for i in 0..THREADS {
            if self.participants[i].is_dead() {
                self.play.reap(&mut self.participants, i, self.change);
                self.participants[i] = Participant::default();
            }
        }
        self.count_change();
    }

    fn count_change(&mut self) {
        if !self.is(Change::ChangesNotCounted) {
            self.threads.iter_mut().for_each(|t| (t.changed, t.passed) = (true, false));
        }
    }

    /// Takes the lock, which a dead one may have left.
    fn enter(&mut self, i: usize) {
        let died = self.lock & DIED != 0;
        (self.threads[i].slot, self.threads[i].at) = (true, At::Work);
        self.lock = (i as u8 + 1) | self.lock & WAITERS;
        if died && self.is(Change::ReapedBeforeSettled) {
            self.reap();
            self.play.recount(&mut self.participants, self.change);
        } else if died {
            self.play.recount(&mut self.participants, self.change);
            self.reap();
        }
    }

    fn work(&mut self, i: usize) {
        let (task, store) = (self.threads[i].task, self.threads[i].store);
        if store == 0 && task.is_none_or(P::reaps_first) && self.has_dead() {
            self.reap();
        }
        let next = task.map_or(Next::Changed(Then::Wait), |task| P::work(self, i, task, store));
        let t = &mut self.threads[i];
        match next {
            Next::Store(store) => t.store = store,
            Next::Leave(then) => (t.at, t.then) = (At::Leave, then),
            Next::Changed(then) => (t.at, t.then) = (At::Changed, then),
        }
    }

    fn pay(&mut self, i: usize) {
        let (own, token) = self.play.calls(self.change);
        let died = self.lock & DIED != 0 && !self.is(Change::DiedLockNotPaid);
        let pays_nothing = !self.asleep || self.is(Change::NothingPaid);
        let has_dead = self.has_dead();
        let t = &mut self.threads[i];
        let most = own.max(usize::from(t.more)).max(usize::from(died || has_dead));
        if most == 0 || pays_nothing {
            return t.has_paid();
        }
        let most = if t.in_wait { THREADS } else { most };
        (t.at, t.kept, t.token) = (At::Ring, most as u8, token);
    }

    fn is_watched(&self, i: usize, participant: usize) -> bool {
        let Participant { word, says, .. } = self.participants[participant];
        i != participant && word != 0 && says == P::WATCHED && !self.is(Change::ParticipantsUnwatched)
    }

    fn is_as_noted(&self, i: usize, word: usize) -> bool {
        let t = &self.threads[i];
        match word {
            EVENT_COUNT => !t.rung,
            LOCK => t.noted_lock == self.lock,
            CHANGES => !t.changed,
            participant => t.noted[participant] == self.participants[participant].word,
        }
    }

    /// The next word that is to be slept on.
    fn next_word(&self, i: usize) -> Option<usize> {
        let t = &self.threads[i];
        let mut order = ORDER;
        if self.is(Change::ChangesComparedFirst) {
            order.swap(0, 2);
        }
        let is_left = |word: &usize| (*word >= THREADS || t.watched & 1 << word != 0) && t.queued & 1 << word == 0;
        order.into_iter().find(is_left)
    }

    /// The threads in the queue of a word.
    fn sleepers(&self, word: usize) -> Vec<usize> {
        (0..THREADS).filter(|i| self.threads[*i].queued & 1 << word != 0).collect()
    }

    /// The kernel wakes so many of those in the queue of a word, whoever they are.
    fn wake(self, word: usize, most: usize, out: &mut Vec<Self>) {
        let sleepers = self.sleepers(word);
        if sleepers.is_empty() || most == 0 {
            return out.push(self);
        }
        for sleeper in sleepers {
            let mut n = self;
            let t = &mut n.threads[sleeper];
            (t.queued, t.woken) = (0, true);
            if t.at == At::Asleep {
                t.get_up();
            }
            n.wake(word, most - 1, out);
        }
    }

    fn killed(mut self, i: usize) -> Self {
        let t = self.threads[i];
        let at = if t.queued != 0 { At::KilledAsleep } else { At::Exit };
        self.threads[i] = Thread { at, slot: t.slot, queued: t.queued, ..Thread::resting(t.aim) };
        self
    }

    fn lapsed(mut self, i: usize) -> Self {
        self.threads[i].expired = true;
        self.threads[i].get_up();
        self
    }
}

impl<P: Play> Model for Stage<P> {
    type Key = (u128, u128, u128, u128, u128, u128, u128);
    const THREADS: usize = THREADS;

    /// Threads are interchangeable: sorts them, their records, and what others noted of those, and renames the numbers
    /// to match.
    fn canonical(&self) -> Self {
        let participant =
            |i: usize| u128::from(self.participants[i].says) << 16 | u128::from(self.participants[i].of) << 8;
        let keys: [u128; THREADS] = std::array::from_fn(|i| self.threads[i].key(false) << 32 | participant(i));
        let mut order = [0, 1, 2, 3];
        order.sort_unstable_by_key(|&old: &usize| keys[old]);
        let mut numbers = [0; THREADS + 1];
        order.iter().zip(1..).for_each(|(&old, number)| numbers[old + 1] = number);
        let rename = |word: u8| word & !TID | numbers[usize::from(word & TID)];
        let bits = |bits: u8| order.iter().enumerate().fold(0, |new, (at, old)| new | (bits >> old & 1) << at);
        let participants_of = |words: u8| words & !0x0f | bits(words & 0x0f);
        let (threads, participants) = (order.map(|old| self.threads[old]), order.map(|old| self.participants[old]));
        let mut n = Stage { threads, participants, lock: rename(self.lock), ..*self };
        n.participants.iter_mut().for_each(|participant| participant.word = rename(participant.word));
        for t in &mut n.threads {
            t.noted_lock = rename(t.noted_lock);
            t.watched = participants_of(t.watched);
            t.queued = participants_of(t.queued);
            t.noted = order.map(|old| rename(t.noted[old]));
        }
        n
    }

    fn key(&self) -> Self::Key {
        let [a, b, c, d] = self.threads.map(|t| t.key(true));
        let participants =
            self.participants.iter().flat_map(|participant| [participant.word, participant.says, participant.of]);
        let participants = participants.fold(0, |packed, part| packed << 8 | u128::from(part));
        let shared = [self.lock, self.kills, self.lapses, self.asleep.into()];
        let shared = shared.into_iter().fold(0, |packed, part| packed << 8 | u128::from(part));
        (a, b, c, d, participants, shared, self.play.key())
    }

    fn step(&self, i: usize, out: &mut Vec<Self>) {
        let me = i as u8 + 1;
        let mut n = *self;
        let t = &mut n.threads[i];
        match t.at {
            At::Gone | At::Asleep => return,
            At::Begin => match t.aim.and_then(|aim| self.play.first(aim)) {
                Some(task) => t.go_in(Some(task)),
                None => t.at = At::Gone,
            },
            At::Enter if self.lock & TID != 0 => return, // waits for it
            At::Enter => n.enter(i),
            At::Work => n.work(i),
            At::Changed => {
                t.at = At::Leave;
                n.count_change();
            }
            At::Leave => {
                t.at = At::Pay;
                t.slot = !self.is(Change::SlotEmptiedBeforePay);
                n.lock &= WAITERS;
            }
            At::Pay => n.pay(i),
            At::Ring => {
                n.asleep = true;
                n.threads.iter_mut().for_each(|t| (t.rung, t.others) = (true, true));
                (n.threads[i].at, n.threads[i].others) = (At::Wake, false);
            }
            At::Wake => {
                t.at = if self.sleepers(EVENT_COUNT).is_empty() { At::Calm } else { At::Paid };
                let most = std::mem::take(&mut t.kept).into();
                return n.wake(EVENT_COUNT, most, out);
            }
            At::Calm => {
                t.at = At::Paid;
                if !t.others {
                    n.asleep = false;
                    n.threads.iter_mut().for_each(|t| t.rung = true);
                }
            }
            At::Paid => {
                let token = std::mem::take(&mut t.token);
                t.has_paid();
                n.play.paid(token);
            }
            At::Clear => {
                let stays = P::SLOT_STAYS && !self.is(Change::ArrivalEmptiesSlot);
                (t.slot, t.more) = (t.then == Then::Wait && (stays || t.task.is_none()), false);
                match t.then {
                    Then::Gone => *t = Thread::resting(t.aim),
                    Then::Wait => t.at = At::First,
                    Then::GiveUpRecord => t.at = At::GiveUpRecord,
                    Then::Do(task) => t.go_in(Some(task)),
                }
            }
            At::First => {
                t.slot = !self.is(Change::AsleepWithoutSlot);
                t.at = if self.is_ready(i) { At::Awake } else { At::Arm };
            }
            At::Arm => {
                (t.rung, t.at, t.in_wait) = (false, At::NoteChanges, false);
                n.asleep = true;
                n.threads.iter_mut().for_each(|t| t.others = true);
            }
            At::NoteChanges => (t.changed, t.at) = (false, At::Mark),
            At::Mark if self.lock & DIED != 0 => t.go_in(None),
            At::Mark => {
                n.lock |= WAITERS;
                (t.at, t.watched, t.noted_lock) = (At::Note, 0, n.lock);
            }
            At::Note => match (0..THREADS)
                .find(|participant| t.watched & 1 << participant == 0 && self.is_watched(i, *participant))
            {
                Some(participant) => {
                    t.watched |= 1 << participant;
                    t.noted[participant] = self.participants[participant].word;
                }
                None => t.at = At::Dead,
            },
            At::Dead if self.has_dead() => t.go_in(None),
            At::Dead => t.at = At::Look,
            At::Look if self.is_ready(i) => t.at = At::Awake,
            At::Look if t.expired => t.go_in(Some(P::TIME_IS_UP)),
            At::Look => t.at = At::Queue,
            At::Queue => match self.next_word(i) {
                _ if t.woken => t.get_up(),
                None => t.at = At::Asleep,
                Some(word) if !self.is_as_noted(i, word) => t.get_up(),
                Some(word) => t.queued |= 1 << word,
            },
            At::Awake => {
                (t.watched, t.noted, t.noted_lock) = (0, [0; THREADS], 0);
                (t.rung, t.changed) = (false, false);
                if self.is_ready(i) {
                    P::go_on(&mut n, i);
                } else {
                    (t.at, t.in_wait) = (if t.passed { At::Arm } else { At::Pay }, true);
                    t.passed = true;
                }
            }
            At::GiveUpRecord => {
                *t = Thread::resting(t.aim);
                n.participants[i] = Participant::default();
            }
            At::KilledAsleep => (t.at, t.queued) = (At::Exit, 0),
            At::Exit => {
                t.at = At::ExitLock;
                if self.participants[i].word & TID == me {
                    n.participants[i].word = DIED | WAITERS;
                    n.play.dies(&self.participants[i]);
                    return n.wake(i, 1, out);
                }
            }
            At::ExitLock => {
                *t = Thread::resting(t.aim);
                let slot = self.threads[i].slot;
                let holds = self.lock & TID == me;
                if slot && holds {
                    n.lock = DIED | self.lock & WAITERS;
                }
                if slot && (holds && self.lock & WAITERS != 0 || self.lock & TID == 0) {
                    return n.wake(LOCK, 1, out);
                }
            }
        }
        out.push(n);
    }

    fn mishap(&self, i: usize, out: &mut Vec<Self>) {
        let at = self.threads[i].at;
        if self.kills > 0 && !matches!(at, At::Gone | At::Exit | At::ExitLock | At::KilledAsleep) {
            out.push(Stage { kills: self.kills - 1, ..*self }.killed(i));
        }
        if self.lapses > 0 && at == At::Asleep {
            out.push(Stage { lapses: self.lapses - 1, ..*self }.lapsed(i));
        }
    }

    fn broken(&self, is_last: bool) -> Option<&'static str> {
        let mut sleepers = (0..THREADS).filter(|i| is_last && self.threads[*i].at == At::Asleep);
        self.play.broken().or_else(|| {
            sleepers.find_map(|i| {
                let stuck = (self.is_ready(i) || self.lock & DIED != 0).then_some("stuck");
                stuck.or_else(|| self.play.stuck(&self.participants, i))
            })
        })
    }
}
