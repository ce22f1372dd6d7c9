//! Exhaustive model of `sync::monitor`, with kills: every interleaving of a few threads that change a state under a lock, take
//! seats, sleep and are woken, of the kernel's futex queues, and of SIGKILLs between any two accesses to shared memory. It
//! checks the algorithm, and needs nothing from the crate.
//!
//! Two states are played: a *meeting* (`sync::rounds`, without actions), whose parties arrive and wait for the last one, and
//! *calls* (`sync::waiters`), where some wait and others notify.
//!
//! What is modelled:
//! * Lock, gate, number of changes, seats, what the state adds, and the pending slot. A step is one access to shared memory
//!   or one system call, with two exceptions. The lock is taken in one step, by whoever can: how one waits for it, is
//!   `ring_model`'s matter. What may be done again by the next one is one step: to bury the dead, and to derive anew what
//!   can be derived.
//! * Sleep on several words, which are compared and queued one after the other.
//! * The kernel. It wakes sleepers in any order. At a thread's death each seat with its number becomes DIED, and one who sleeps
//!   on it is woken; then the same for the lock in the slot, where a lock without a number has one woken too (the relay).
//! * A budget of kills, and one of lapses: a sleeper that leaves the queues by itself and gives up.
//!
//! The gate and the number of changes are modelled without their counts: each thread knows whether they changed since it read
//! them. That others arm the gate does not keep one from falling asleep here, as it does there: it has it look once more.
//!
//! Invariants:
//! 1. No stuck sleeper: when neither a thread nor the kernel can take a step, nobody sleeps who could go on, and at a
//!    meeting nobody whose round has a dead party.
//! 2. Every run ends. (No state comes back on its own path.)
//! 3. Meeting: all who waited for a round learn the same of it, but for the one that gave up; it is broken only if one of them
//!    died or gave up.
//! 4. Calls: while one sleeps who was there at a notify, as many have gone on as were called. A dead one's call is another one's.
//!
//! Not modelled: weak memory, a second turn of a thread, more than three who take part (some of what the monitor does is for a
//! fourth), aborts and resets, a barrier without a free seat, the backstop, the lock that a condition gives up (its guard is `lock_model`'s matter), seats that
//! nobody has a word left to watch.

#[path = "util/explore.rs"]
mod explore;

use explore::{Model, explore};

const THREADS: usize = 4; // thread `i` has the number `i + 1`, and the seat `i`
const TID: u8 = 0x0f;
const DIED: u8 = 0x40;
const WAITERS: u8 = 0x80;
const LOCK: usize = THREADS; // a word to sleep on, behind the seats
const GATE: usize = THREADS + 1;
const CHANGES: usize = THREADS + 2;
const WORDS: usize = THREADS + 3;
const ORDER: [usize; WORDS] = [GATE, LOCK, CHANGES, 0, 1, 2, 3]; // in which they are compared

// What a seat says.
const WAITING: u8 = 1;
const PASSED: u8 = 2;
const BROKEN: u8 = 3;
const GRANTED: u8 = 4;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Begin,
    Enter,   // takes the lock when it can, and goes on with `work`
    Work,    // under the lock: the next store of its work
    Changed, // changes + 1
    Leave,   // the lock loses the number
    Pay,     // does somebody sleep, and could go on?
    Ring,    // the gate: one more
    Wake,    // FUTEX_WAKE
    Calm,    // nobody was woken: ASLEEP goes
    Paid,    // the state notes who was woken
    Clear,   // the slot is emptied
    First,   // before it sleeps: can it go on?
    Arm,     // the gate: one more, ASLEEP
    NoteChanges,
    Mark,         // W into the lock
    Note,         // the word of the seat `next`, if it is to be watched
    Dead,         // is there a dead one?
    Look,         // can it go on?
    Queue,        // compares the word `next`, and is in its queue
    Asleep,       // rests
    Awake,        // can it go on?
    GiveUpSeat,   // meeting: its own seat, without the lock
    KilledAsleep, // dead, and still in the queues
    Exit,         // the kernel visits the seat
    ExitLock,     // and the slot
    Gone,         // rests
}

/// What a thread does under the lock. Each is several stores, counted by `next`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Work {
    #[default]
    Arrive, // meeting: takes part, or ends the round; calls: begins to wait
    Bury,   // in the middle of a wait: nothing else
    Grant,  // calls: takes a call, if it has one
    End,    // calls: ends its wait
    Notify, // calls
    GiveUp, // meeting: its time is up
}

/// What comes behind `Clear`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Then {
    #[default]
    Gone,
    Wait,
    End,
    GiveUpSeat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    Nothing,
    /// A party of a meeting.
    Meet,
    Wait,
    /// Calls so many.
    Notify(u8),
}

/// A mistake, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    AsleepWithoutSlot,
    ArrivalEmptiesSlot,
    SlotEmptiedBeforePay,
    NothingPaid,
    ChangesNotCounted,
    SeatsUnwatched,
    NoGuardian,
    GrantGoesWithTheDead,
    NotSettledAnew,
    BuriedBeforeSettled,
    PhaseIsAnnounced,
    DiedLockNotPaid,
    ChangesComparedFirst,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Thread {
    at: At,
    work: Work,
    then: Then,
    aim: Aim,
    slot: bool,
    next: u8,
    kept: u8,      // notify: the calls that are still to be answered
    token: u8,     // pay: who is to be woken for what, as the state says it
    more: bool,    // one more is to look again
    in_wait: bool, // pays in the middle of a wait
    passed: bool,  // it has had all look, and nothing changed since
    expired: bool,
    rung: bool,    // somebody rang since it armed
    others: bool,  // the gate is another since it rang
    changed: bool, // the state changed since it looked
    noted_lock: u8,
    watched: u8,          // bits of seats
    noted: [u8; THREADS], // their words
    queued: u8,           // bits of words
    woken: bool,
}

const IDLE: Thread = Thread {
    at: At::Gone,
    work: Work::Arrive,
    then: Then::Gone,
    aim: Aim::Nothing,
    slot: false,
    next: 0,
    kept: 0,
    token: 0,
    more: false,
    in_wait: false,
    passed: false,
    expired: false,
    rung: false,
    others: false,
    changed: false,
    noted_lock: 0,
    watched: 0,
    noted: [0; THREADS],
    queued: 0,
    woken: false,
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seat {
    word: u8,
    says: u8,
    of: u8, // meeting: the round; calls: 1 if it was there at the last notify
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    change: Option<Change>,
    is_meeting: bool,
    lock: u8,
    asleep: bool, // the gate's bit
    seats: [Seat; THREADS],
    arrived: u8, // or how many wait
    parties: u8,
    round: u8,
    is_broken: bool,
    told: u8,         // a token: all that it is about is in the seats
    announced: u8,    // a token: those who slept were woken for it
    results: [u8; 2], // of the rounds
    differ: bool,
    has_cause: bool, // a party died while it waited, or gave up
    grants: u8,
    called: u8,
    went_on: u8,
    kills: u8,
    lapses: u8,
    threads: [Thread; THREADS],
}

impl State {
    fn is(&self, change: Change) -> bool {
        self.change == Some(change)
    }

    fn is_ready(&self, i: usize) -> bool {
        let seat = self.seats[i];
        if self.is_meeting { seat.says != WAITING } else { self.grants > 0 && seat.of == 1 }
    }

    fn has_dead(&self) -> bool {
        self.seats.iter().any(|seat| seat.word & DIED != 0)
    }

    fn token(&self) -> u8 {
        self.round << 1 | u8::from(self.is_broken)
    }

    /// Meeting: tells those who wait what became of their round.
    fn settle(&mut self) {
        let (round, is_broken) = (self.round, self.is_broken);
        self.arrived = 0;
        for seat in self.seats.iter_mut().filter(|seat| seat.word != 0 && seat.says == WAITING) {
            match seat.of == round {
                true if is_broken => seat.says = BROKEN,
                true => self.arrived += 1,
                false => seat.says = PASSED,
            }
        }
        self.told = self.token();
    }

    fn bury(&mut self) {
        for i in (0..THREADS).filter(|i| self.seats[*i].word & DIED != 0).collect::<Vec<_>>() {
            if self.is_meeting && self.seats[i].says == WAITING && !self.is_broken {
                self.is_broken = true;
                self.settle();
            } else if !self.is_meeting {
                let comes_back = self.seats[i].says == GRANTED && !self.is(Change::GrantGoesWithTheDead);
                self.grants += u8::from(comes_back);
                self.arrived = self.arrived.saturating_sub(1);
            }
            self.seats[i] = Seat::default();
            if !self.is_meeting {
                self.grants = self.grants.min(self.waiting_since_then());
            }
        }
        self.count_change();
    }

    /// A holder of the lock died in a change.
    fn recount(&mut self) {
        if self.is_meeting {
            if !self.is(Change::NotSettledAnew) {
                self.settle();
            }
        } else {
            self.arrived = self.seats.iter().filter(|seat| seat.word != 0).count() as u8;
        }
    }

    fn count_change(&mut self) {
        if !self.is(Change::ChangesNotCounted) {
            self.threads.iter_mut().for_each(|t| (t.changed, t.passed) = (true, false));
        }
    }

    /// How many of those who sleep could go on, and what it is about.
    fn calls(&self) -> (usize, u8) {
        let token = if self.is(Change::PhaseIsAnnounced) { self.token() } else { self.told };
        let most = match self.is_meeting {
            true if token == self.announced => 0,
            true => THREADS,
            false => self.grants.into(),
        };
        (most, token)
    }

    /// A round was this for one of its parties.
    fn learn(&mut self, round: u8, outcome: u8) {
        let result = &mut self.results[round as usize];
        self.differ |= *result != 0 && *result != outcome;
        *result = outcome;
    }

    /// Under the lock: the next store of what the thread came for.
    fn work(&mut self, i: usize) {
        let t = self.threads[i];
        let before = *self;
        let t_mut = |n: &mut State, at: At, then: Then| (n.threads[i].at, n.threads[i].then) = (at, then);
        self.threads[i].next += 1;
        let dead_first = t.next == 0 && matches!(t.work, Work::Arrive | Work::Notify | Work::Bury);
        if dead_first && self.has_dead() {
            self.bury();
        }
        match (t.work, t.next) {
            (Work::Arrive, 0) if self.is_meeting && self.is_broken => t_mut(self, At::Leave, Then::Gone),
            (Work::Arrive, 0) if self.is_meeting && self.arrived + 1 >= self.parties => self.threads[i].next = 4,
            (Work::Arrive, 0) if self.is_meeting => {}
            (Work::Arrive, 0) => self.arrived += 1,
            (Work::Arrive, 1) => {
                let of = if self.is_meeting { self.round } else { 0 };
                self.seats[i] = Seat { word: (i as u8 + 1) | WAITERS, says: WAITING, of };
                if !self.is_meeting {
                    t_mut(self, At::Changed, Then::Wait);
                }
            }
            (Work::Arrive, 2) => {
                self.arrived += 1;
                t_mut(self, At::Changed, Then::Wait);
            }
            (Work::Arrive, 4) => {
                self.learn(before.round, PASSED);
                self.round += 1;
            }
            (Work::Arrive, _) => {
                let late = |seat: &&mut Seat| seat.word != 0 && seat.says == WAITING && seat.of != before.round;
                match self.seats.iter_mut().find(late) {
                    Some(seat) => {
                        seat.says = PASSED;
                        self.threads[i].next = 5;
                    }
                    None => {
                        self.arrived = 0;
                        self.told = self.token();
                        t_mut(self, At::Changed, Then::Gone);
                    }
                }
            }
            (Work::Bury, _) => t_mut(self, At::Changed, Then::Wait),
            (Work::Grant, 0) if self.is_ready(i) => self.seats[i].says = GRANTED,
            (Work::Grant, 0) if t.expired => {
                let watched = self.seats.iter().any(|seat| seat.says == GRANTED);
                self.threads[i].more = watched;
                t_mut(self, At::Changed, Then::End);
            }
            (Work::Grant, 0) => t_mut(self, At::Leave, Then::Wait),
            (Work::Grant, _) => {
                self.grants = self.grants.saturating_sub(1);
                self.threads[i].more = !self.is(Change::NoGuardian);
                t_mut(self, At::Changed, Then::End);
            }
            (Work::End, 0) => {
                self.went_on += u8::from(self.seats[i].says == GRANTED);
                self.seats[i] = Seat::default();
            }
            (Work::End, _) => {
                self.arrived = self.arrived.saturating_sub(1);
                t_mut(self, At::Changed, Then::Gone);
            }
            (Work::Notify, 0) => {
                self.threads[i].kept = self.grants.min(self.waiting_since_then());
                self.seats.iter_mut().filter(|seat| seat.word != 0).for_each(|seat| seat.of = 1);
            }
            (Work::Notify, _) => {
                let Aim::Notify(most) = t.aim else { unreachable!("only who notifies does") };
                let grants = (t.kept + most).min(self.waiting_since_then());
                self.called = self.called + grants - self.grants.min(self.called + grants);
                self.grants = grants;
                t_mut(self, At::Changed, Then::Gone);
            }
            (Work::GiveUp, 0) if self.seats[i].says == WAITING => {
                self.has_cause = true;
                self.is_broken = true;
            }
            (Work::GiveUp, 0) => {
                self.learn(self.seats[i].of, self.seats[i].says);
                self.threads[i].next = 2;
            }
            (Work::GiveUp, 1) => self.settle(),
            (Work::GiveUp, _) => {
                self.seats[i] = Seat::default();
                t_mut(self, At::Changed, Then::Gone);
            }
        }
    }

    /// Calls: how many wait that were there at the last notify.
    fn waiting_since_then(&self) -> u8 {
        self.seats.iter().filter(|seat| seat.word != 0 && seat.says == WAITING && seat.of == 1).count() as u8
    }

    fn is_watched(&self, i: usize, seat: usize) -> bool {
        let matters = if self.is_meeting { WAITING } else { GRANTED };
        let Seat { word, says, .. } = self.seats[seat];
        i != seat && word != 0 && says == matters && !self.is(Change::SeatsUnwatched)
    }

    fn is_as_noted(&self, i: usize, word: usize) -> bool {
        let t = &self.threads[i];
        match word {
            GATE => !t.rung,
            LOCK => t.noted_lock == self.lock,
            CHANGES => !t.changed,
            seat => t.noted[seat] == self.seats[seat].word,
        }
    }

    /// Who is in the queue of a word.
    fn sleepers(&self, word: usize) -> Vec<usize> {
        (0..THREADS).filter(|i| self.threads[*i].queued & 1 << word != 0).collect()
    }

    /// The kernel wakes so many of those in the queue of a word, whoever they are.
    fn wake(self, word: usize, most: usize, out: &mut Vec<State>) {
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
}

impl Thread {
    fn get_up(&mut self) {
        (self.queued, self.woken, self.at, self.next) = (0, false, At::Awake, 0);
    }

    fn go_in(&mut self, work: Work) {
        (self.at, self.work, self.next, self.in_wait) = (At::Enter, work, 0, false);
    }

    /// Behind the payment.
    fn has_paid(&mut self) {
        self.at = if self.in_wait { At::Arm } else { At::Clear };
    }

    /// Without what depends on the numbers of threads.
    fn key(self, with_numbers: bool) -> u128 {
        let (aim, most) = match self.aim {
            Aim::Nothing => (0, 0),
            Aim::Meet => (1, 0),
            Aim::Wait => (2, 0),
            Aim::Notify(most) => (3, most),
        };
        let waits = [self.in_wait, self.passed, self.expired, self.changed];
        let flags = [self.slot, self.more, self.rung, self.others, self.woken].into_iter().chain(waits);
        let parts = [self.at as u8, self.work as u8, self.then as u8, aim, most, self.next, self.kept, self.token];
        let numbers = [self.noted_lock, self.watched, self.queued];
        let small = parts.into_iter().fold(0, |packed, part| packed << 5 | u128::from(part));
        let packed = flags.fold(small, |packed, flag| packed << 1 | u128::from(flag));
        if !with_numbers {
            return packed;
        }
        let words = numbers.into_iter().chain(self.noted);
        words.fold(packed, |packed, word| packed << 8 | u128::from(word))
    }
}

impl Model for State {
    type Key = (u128, u128, u128, u128, u128, u128);
    const THREADS: usize = THREADS;
    /// Threads are interchangeable: sorts them, their seats, and what others noted of those, and renames the numbers to match.
    fn canonical(&self) -> State {
        let seat = |i: usize| u128::from(self.seats[i].says) << 16 | u128::from(self.seats[i].of) << 8;
        let keys: [u128; THREADS] = std::array::from_fn(|i| self.threads[i].key(false) << 32 | seat(i));
        let mut order = [0, 1, 2, 3];
        order.sort_unstable_by_key(|&old: &usize| keys[old]);
        let mut numbers = [0; THREADS + 1];
        order.iter().zip(1..).for_each(|(&old, number)| numbers[old + 1] = number);
        let rename = |word: u8| word & !TID | numbers[usize::from(word & TID)];
        let bits = |bits: u8| order.iter().enumerate().fold(0, |new, (at, old)| new | (bits >> old & 1) << at);
        let seats_of = |words: u8| words & !0x0f | bits(words & 0x0f);
        let mut n =
            State { threads: order.map(|old| self.threads[old]), seats: order.map(|old| self.seats[old]), ..*self };
        n.lock = rename(n.lock);
        n.seats.iter_mut().for_each(|seat| seat.word = rename(seat.word));
        for t in &mut n.threads {
            t.noted_lock = rename(t.noted_lock);
            t.watched = seats_of(t.watched);
            t.queued = seats_of(t.queued);
            t.noted = order.map(|old| rename(t.noted[old]));
        }
        n
    }

    fn key(&self) -> Self::Key {
        let [a, b, c, d] = self.threads.map(|t| t.key(true));
        let seats = self.seats.iter().flat_map(|seat| [seat.word, seat.says, seat.of]);
        let seats = seats.fold(0, |packed, part| packed << 8 | u128::from(part));
        let shared = [
            self.lock,
            self.arrived,
            self.round,
            self.told,
            self.announced,
            self.grants,
            self.called,
            self.went_on,
            self.kills,
            self.lapses,
            self.results[0],
            self.results[1],
        ];
        let flags = [self.asleep, self.is_broken, self.differ, self.has_cause];
        let shared = shared.into_iter().chain(flags.map(u8::from));
        (a, b, c, d, seats, shared.fold(0, |packed, part| packed << 8 | u128::from(part)))
    }

    fn step(&self, i: usize, out: &mut Vec<State>) {
        let me = i as u8 + 1;
        let mut n = *self;
        let t = &mut n.threads[i];
        match t.at {
            At::Gone | At::Asleep => return,
            At::Begin => match t.aim {
                Aim::Notify(_) if self.arrived == 0 => t.at = At::Gone,
                Aim::Notify(_) => t.go_in(Work::Notify),
                _ => t.go_in(Work::Arrive),
            },
            At::Enter => {
                if self.lock & TID != 0 {
                    return; // waits for it
                }
                (t.slot, t.at) = (true, At::Work);
                n.lock = me | self.lock & WAITERS;
                if self.lock & DIED != 0 {
                    if self.is(Change::BuriedBeforeSettled) {
                        n.bury();
                        n.recount();
                    } else {
                        n.recount();
                        n.bury();
                    }
                }
            }
            At::Work => n.work(i),
            At::Changed => {
                t.at = At::Leave;
                n.count_change();
            }
            At::Leave => {
                t.at = At::Pay;
                n.lock &= WAITERS;
                if self.is(Change::SlotEmptiedBeforePay) {
                    n.threads[i].slot = false;
                }
            }
            At::Pay => {
                let (own, token) = self.calls();
                let died = self.lock & DIED != 0 && !self.is(Change::DiedLockNotPaid);
                let dead = self.has_dead();
                let most = own.max(usize::from(t.more)).max(usize::from(died || dead));
                let most = if t.in_wait && most > 0 { THREADS } else { most };
                let pays = self.asleep && most > 0 && !self.is(Change::NothingPaid);
                t.has_paid();
                if pays {
                    (t.at, t.kept, t.token) = (At::Ring, most as u8, token);
                }
            }
            At::Ring => {
                n.asleep = true;
                n.threads.iter_mut().for_each(|t| (t.rung, t.others) = (true, true));
                (n.threads[i].at, n.threads[i].others) = (At::Wake, false);
            }
            At::Wake => {
                t.at = if self.sleepers(GATE).is_empty() { At::Calm } else { At::Paid };
                let most = std::mem::take(&mut t.kept).into();
                return n.wake(GATE, most, out);
            }
            At::Calm => {
                t.at = At::Paid;
                if !t.others {
                    n.asleep = false;
                    n.threads.iter_mut().for_each(|t| t.rung = true);
                }
            }
            At::Paid => {
                n.announced = t.token;
                t.token = 0;
                t.has_paid();
            }
            At::Clear => {
                let arrives = self.is_meeting && t.work == Work::Arrive && !self.is(Change::ArrivalEmptiesSlot);
                let keeps = arrives || t.work == Work::Bury;
                (t.slot, t.more) = (t.then == Then::Wait && keeps, false);
                match t.then {
                    Then::Gone => *t = Thread { aim: t.aim, ..IDLE },
                    Then::Wait => t.at = At::First,
                    Then::End => t.go_in(Work::End),
                    Then::GiveUpSeat => t.at = At::GiveUpSeat,
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
            At::Mark => {
                if self.lock & DIED != 0 {
                    t.go_in(Work::Bury);
                } else {
                    (t.at, t.next, t.watched) = (At::Note, 0, 0);
                    n.lock |= WAITERS;
                    n.threads[i].noted_lock = n.lock;
                }
            }
            At::Note => {
                let found = (0..THREADS).find(|seat| t.watched & 1 << seat == 0 && self.is_watched(i, *seat));
                match found {
                    Some(seat) => {
                        t.watched |= 1 << seat;
                        t.noted[seat] = self.seats[seat].word;
                    }
                    None => t.at = At::Dead,
                }
            }
            At::Dead => {
                t.at = At::Look;
                if self.has_dead() {
                    t.go_in(Work::Bury);
                }
            }
            At::Look => {
                (t.at, t.next) = (At::Queue, 0);
                if self.is_ready(i) {
                    t.at = At::Awake;
                } else if t.expired {
                    t.go_in(if self.is_meeting { Work::GiveUp } else { Work::Grant });
                }
            }
            At::Queue => {
                let mut order = ORDER;
                if self.is(Change::ChangesComparedFirst) {
                    order.swap(0, 2);
                }
                let is_left =
                    |word: &usize| (*word >= THREADS || t.watched & 1 << word != 0) && t.queued & 1 << word == 0;
                match order.into_iter().find(is_left) {
                    _ if t.woken => t.get_up(),
                    None => t.at = At::Asleep,
                    Some(word) if !self.is_as_noted(i, word) => t.get_up(),
                    Some(word) => t.queued |= 1 << word,
                }
            }
            At::Awake => {
                (t.watched, t.noted, t.noted_lock) = (0, [0; THREADS], 0);
                (t.rung, t.changed) = (false, false);
                if !self.is_ready(i) {
                    (t.at, t.in_wait) = (if t.passed { At::Arm } else { At::Pay }, true);
                    t.passed = true;
                } else if self.is_meeting {
                    (t.at, t.then) = (At::Pay, Then::GiveUpSeat);
                    n.learn(self.seats[i].of, self.seats[i].says);
                } else {
                    t.go_in(Work::Grant);
                }
            }
            At::GiveUpSeat => {
                *t = Thread { aim: t.aim, ..IDLE };
                n.seats[i] = Seat::default();
            }
            At::KilledAsleep => (t.at, t.queued) = (At::Exit, 0),
            At::Exit => {
                t.at = At::ExitLock;
                if self.seats[i].word & TID == me {
                    n.seats[i].word = DIED | WAITERS;
                    n.has_cause |= self.is_meeting && self.seats[i].says == WAITING && self.seats[i].of == self.round;
                    return n.wake(i, 1, out);
                }
            }
            At::ExitLock => {
                *t = Thread { aim: t.aim, ..IDLE };
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

    fn mishap(&self, i: usize, out: &mut Vec<State>) {
        let t = self.threads[i];
        if self.kills > 0 && !matches!(t.at, At::Gone | At::Exit | At::ExitLock | At::KilledAsleep) {
            let mut n = *self;
            n.kills -= 1;
            let at = if t.queued != 0 { At::KilledAsleep } else { At::Exit };
            n.threads[i] = Thread { at, slot: t.slot, queued: t.queued, aim: t.aim, ..IDLE };
            out.push(n);
        }
        if self.lapses > 0 && t.at == At::Asleep {
            let mut n = *self;
            n.lapses -= 1;
            n.threads[i].expired = true;
            n.threads[i].get_up();
            out.push(n);
        }
    }

    fn broken(&self, is_last: bool) -> Option<&'static str> {
        if self.differ {
            return Some("differ");
        }
        if self.is_broken && !self.has_cause {
            return Some("cause");
        }
        let mut sleepers = (0..THREADS).filter(|i| self.threads[*i].at == At::Asleep);
        if !is_last {
            return None;
        }
        let dead_party = |seat: &Seat| seat.word & DIED != 0 && seat.says == WAITING;
        let lost_call = |seat: &Seat| seat.word & DIED != 0 && seat.says == GRANTED;
        sleepers.find_map(|i| {
            if self.is_ready(i) || self.lock & DIED != 0 {
                Some("stuck")
            } else if self.is_meeting {
                let is_over = self.seats[i].of != self.round || self.is_broken;
                (is_over || self.seats.iter().any(dead_party)).then_some("stuck")
            } else {
                let is_lost = self.seats.iter().any(lost_call) || self.went_on < self.called;
                (self.seats[i].of == 1 && is_lost).then_some("lost")
            }
        })
    }
}

/// Explores one configuration: what threads come for, budgets of kills and lapses.
fn run(aims: &[Aim], parties: u8, [kills, lapses]: [u8; 2], change: Option<Change>) -> Vec<&'static str> {
    let mut start = State {
        change,
        is_meeting: parties > 0,
        lock: 0,
        asleep: false,
        seats: [Seat::default(); THREADS],
        arrived: 0,
        parties,
        round: 0,
        is_broken: false,
        told: 0,
        announced: 0,
        results: [0; 2],
        differ: false,
        has_cause: false,
        grants: 0,
        called: 0,
        went_on: 0,
        kills,
        lapses,
        threads: [IDLE; THREADS],
    };
    for (t, &aim) in start.threads.iter_mut().zip(aims) {
        *t = Thread { at: At::Begin, aim, ..IDLE };
    }
    let (states, mut found) = explore(start);
    let bad = found.len();
    found.sort_unstable();
    found.dedup();
    println!(
        "{aims:?}, {parties} parties, {kills} kills, {lapses} lapses, {change:?}: {states} states, {bad} of them bad {found:?}"
    );
    found
}

use Aim::{Meet, Notify, Wait};

#[test]
fn a_meeting() {
    for (parties, threads, mishaps) in
        [(2, 2, [2, 2]), (3, 2, [1, 1]), (3, 3, [2, 0]), (3, 3, [1, 1]), (2, 3, [2, 0]), (4, 3, [1, 0])]
    {
        assert!(run(&[Meet; 3][..threads], parties, mishaps, None).is_empty());
    }
}

#[test]
fn calls() {
    let two = |notify| [Wait, Wait, notify];
    for (aims, mishaps) in [
        (two(Notify(1)), [1, 0]),
        (two(Notify(1)), [0, 1]),
        (two(Notify(2)), [1, 0]),
        ([Wait, Notify(1), Notify(1)], [2, 1]),
    ] {
        assert!(run(&aims, 0, mishaps, None).is_empty());
    }
}

#[test]
fn every_mistake_is_caught() {
    let calls = [Wait, Wait, Notify(1)];
    for (change, aims, parties, kills, rule) in [
        (Change::AsleepWithoutSlot, &[Meet; 2][..], 3, 1, "stuck"),
        (Change::ArrivalEmptiesSlot, &[Meet; 2], 3, 1, "stuck"),
        (Change::SeatsUnwatched, &[Meet; 2], 3, 1, "stuck"),
        (Change::SlotEmptiedBeforePay, &[Meet; 2], 2, 1, "stuck"),
        (Change::NothingPaid, &[Meet; 2], 2, 0, "stuck"),
        (Change::ChangesNotCounted, &[Meet; 2], 2, 1, "stuck"),
        (Change::ChangesComparedFirst, &[Meet; 2], 2, 1, "stuck"),
        (Change::PhaseIsAnnounced, &[Meet; 2], 2, 0, "stuck"),
        (Change::DiedLockNotPaid, &[Meet; 3], 3, 1, "stuck"),
        (Change::NotSettledAnew, &[Meet; 3], 3, 1, "stuck"),
        (Change::BuriedBeforeSettled, &[Meet; 3], 2, 2, "cause"),
        (Change::SeatsUnwatched, &calls, 0, 1, "lost"),
        (Change::NoGuardian, &calls, 0, 1, "lost"),
        (Change::GrantGoesWithTheDead, &calls, 0, 1, "lost"),
    ] {
        assert!(run(aims, parties, [kills, 0], Some(change)).contains(&rule), "{change:?}");
    }
}
