//! A thread, its record, and the words of the stage.

use super::stage::Play;

pub const THREADS: usize = 4; // thread `i` has the number `i + 1`, and the record `i`
pub const TID: u8 = 0x0f;
pub const DIED: u8 = 0x40;
pub const WAITERS: u8 = 0x80;
pub const LOCK: usize = THREADS; // a word to sleep on, after the records
pub const EVENT_COUNT: usize = THREADS + 1;
pub const CHANGES: usize = THREADS + 2;
pub const ORDER: [usize; THREADS + 3] = [EVENT_COUNT, LOCK, CHANGES, 0, 1, 2, 3]; // in which they are compared

/// The state of a waiter in its record.
pub const WAITING: u8 = 1;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum At {
    #[default]
    Gone, // rests
    Begin,
    Enter,   // takes the lock when it can, and goes on with its task
    Work,    // under the lock: the next store of its task
    Changed, // changes + 1
    Leave,   // the lock loses the number
    Pay,     // does a thread sleep that could go on?
    Ring,    // the event count: one more
    Wake,    // FUTEX_WAKE
    Calm,    // no thread was woken: ASLEEP goes
    Paid,    // the play notes which threads were woken
    Clear,   // the slot is emptied
    First,   // before it sleeps: can it go on?
    Arm,     // the event count: one more, ASLEEP
    NoteChanges,
    Mark,         // W into the lock
    Note,         // the word of the next record that is to be watched
    Dead,         // is there a dead one?
    Look,         // can it go on?
    Queue,        // compares the next word, and is in its queue
    Asleep,       // rests
    Awake,        // can it go on?
    GiveUpRecord, // its own, without the lock
    KilledAsleep, // dead, and still in the queues
    Exit,         // the kernel visits the record
    ExitLock,     // and the slot
}

/// The step after the lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Then<T> {
    #[default]
    Gone,
    Wait,
    GiveUpRecord,
    /// Another task under the lock.
    Do(T),
}

#[derive(Clone, Copy)]
pub struct Thread<P: Play> {
    pub at: At,
    pub aim: Option<P::Aim>,
    pub task: Option<P::Task>, // none: to reap the dead, in the middle of a wait
    pub then: Then<P::Task>,
    pub slot: bool,
    pub store: u8, // the next one under the lock
    pub kept: u8,  // for the play, and how many are to be woken
    pub token: u8,
    pub more: bool,    // one more is to look
    pub in_wait: bool, // pays in the middle of a wait
    pub passed: bool,  // it has had all look, and nothing changed since
    pub expired: bool,
    pub rung: bool,    // a thread rang since it armed
    pub others: bool,  // the event count is another since it rang
    pub changed: bool, // the state changed since it looked
    pub noted_lock: u8,
    pub watched: u8,          // bits of records
    pub noted: [u8; THREADS], // their words
    pub queued: u8,           // bits of words
    pub woken: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Participant {
    pub word: u8,
    pub says: u8,
    pub of: u8, // the play's
}

impl Participant {
    pub fn of(i: usize, of: u8) -> Self {
        Participant { word: (i as u8 + 1) | WAITERS, says: WAITING, of }
    }

    pub fn waits(&self) -> bool {
        self.word != 0 && self.says == WAITING
    }

    pub fn is_dead(&self) -> bool {
        self.word & DIED != 0
    }
}

impl<P: Play> Thread<P> {
    /// Returns a thread that does nothing, or nothing yet.
    pub fn resting(aim: Option<P::Aim>) -> Self {
        Thread {
            at: At::Gone,
            aim,
            task: None,
            then: Then::Gone,
            slot: false,
            store: 0,
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
        }
    }

    pub fn get_up(&mut self) {
        (self.queued, self.woken, self.at) = (0, false, At::Awake);
    }

    pub fn go_in(&mut self, task: Option<P::Task>) {
        (self.at, self.task, self.store, self.in_wait) = (At::Enter, task, 0, false);
    }

    pub fn pay_and(&mut self, then: Then<P::Task>) {
        (self.at, self.then) = (At::Pay, then);
    }

    pub fn has_paid(&mut self) {
        self.at = if self.in_wait { At::Arm } else { At::Clear };
    }

    /// Without what depends on the numbers of threads, or with it.
    pub fn key(self, with_numbers: bool) -> u128 {
        let [aim, task] = self.aim.map_or([31, 0], |aim| P::codes(aim, self.task));
        let then = match self.then {
            Then::Gone => 0,
            Then::Wait => 1,
            Then::GiveUpRecord => 2,
            Then::Do(_) => 3, // there is one such task in each play
        };
        let waits = [self.in_wait, self.passed, self.expired, self.changed];
        let flags = [self.slot, self.more, self.rung, self.others, self.woken].into_iter().chain(waits);
        let parts = [self.at as u8, task, then, aim, self.store, self.kept, self.token];
        let small = parts.into_iter().fold(0, |packed, part| packed << 5 | u128::from(part));
        let packed = flags.fold(small, |packed, flag| packed << 1 | u128::from(flag));
        if !with_numbers {
            return packed;
        }
        let words = [self.noted_lock, self.watched, self.queued].into_iter().chain(self.noted);
        words.fold(packed, |packed, word| packed << 8 | u128::from(word))
    }
}
