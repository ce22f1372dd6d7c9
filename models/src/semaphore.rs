//! Exhaustive model of `sync::semaphore`, with kills: every interleaving of a few threads that take permits, give them
//! back, forget and add some, of the kernel's futex queues, and of SIGKILLs between any two accesses to shared memory.
//! It checks the algorithm, and needs nothing from the crate.
//!
//! What is modelled:
//! * Tokens, `present`, the event count, the wake word, and the pending slot. A step is one access to shared memory or
//!   one system call.
//! * Sleep on several words: the kernel compares and queues one word after the other, and a wake may come in between.
//! * The kernel. It wakes sleepers in any order. At a thread's death a token with its number in the slot becomes DIED,
//!   and one that sleeps on it is woken; a word in the slot that carries no number has one woken too (the relay). A
//!   killed sleeper that is still in the queues may swallow a wake.
//! * A budget of kills, and one of lapses: a sleeper that leaves the queues by itself and gives up if there is nothing.
//!
//! The event count is modelled without its count: each thread knows whether a thread notified since it prepared to
//! wait. That others armed does not keep one from falling asleep here, as it does there: it has it look once more.
//!
//! Invariants:
//! 1. Exclusion: a token has the number of the thread that has it.
//! 2. No stuck sleeper: when neither a thread nor the kernel can take a step, no thread sleeps. Kills and lapses do not
//!    count as a way out.
//! 3. Every run ends. (No state comes back on its own path.)
//! 4. Nothing is lost: in the end all permits are available, but for those that were forgotten.
//!
//! Not modelled: weak memory, the backstop, more tokens than one can sleep on, the reserve, looks before a sleep (they
//! have no effect), a second permit of the same thread (the model of the lock has the list).

use crate::explore::{Model, explore};

const THREADS: usize = 4; // thread `i` has the number `i + 1`
const TOKENS: usize = 2;
const TID: u8 = 0x0f;
const DIED: u8 = 0x40;
const AWAY: u8 = TID; // the number of no thread
const EVENT_COUNT: usize = TOKENS; // a word to sleep on, after the tokens
const WAKE_WORD: usize = TOKENS + 1;
const PRESENT: usize = TOKENS + 2;
const WORDS: usize = TOKENS + 3;
const ORDER: [usize; WORDS] = [EVENT_COUNT, WAKE_WORD, PRESENT, 0, 1]; // in which they are compared
const NONE: u8 = 7; // an empty slot

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum At {
    #[default]
    Begin,
    Try,        // loads the token `next`
    Take,       // CAS: the number into it
    TakenCount, // does a thread sleep?
    TakenLook,  // is there another token?
    Have,       // goes on with what it came for
    Keeping,    // rests with a permit
    PutDown,    // CAS: the number out of it
    Bring,      // CAS AWAY -> 0 at the token `next`
    Grow,       // present + 1
    Pay,        // does a thread sleep?
    Ring,       // the event count: one more
    Wake,       // FUTEX_WAKE 1 on it
    Calm,       // no thread was woken: ASLEEP goes
    Clear,      // the slot is emptied
    Arm,        // the event count: one more, ASLEEP
    NotePresent,
    Note,         // the word of the token `next`: is it available?
    LookAgain,    // a mistake
    Queue,        // compares the word `next`, and is in its queue
    Asleep,       // rests
    KilledAsleep, // dead, and still in the queues
    Exit,         // the kernel visits the slot
    Gone,         // rests
}

/// The purpose of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Aim {
    #[default]
    Nothing,
    /// Take a permit and give it back.
    Use,
    /// Take one and forget it.
    Forget,
    Add,
    /// Take one and keep it.
    Keep,
    /// Begin with one, and give it back.
    Held,
}

/// A mistake, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Change {
    AsleepWithoutWakeWord,
    WakeWordIgnored,
    TokensUnwatched,
    PresentUnwatched,
    NotPassedOn,
    NothingPaid,
    SlotEmptiedBeforePay,
    AddsWithoutWakeWord,
    OneHearsOfNew,
    LooksAgain,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Thread {
    at: At,
    aim: Aim,
    rounds: u8,
    slot: u8,
    next: u8,
    seen: u8,
    waits: bool,
    expired: bool,
    rung: bool,   // a thread rang since it armed
    others: bool, // the event count is another since it rang
    noted: [u8; TOKENS],
    noted_present: u8,
    queued: u8, // bits of words
    woken: bool,
    has: bool,
    is_new: bool, // the permit that it added: all are to hear of it
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State {
    change: Option<Change>,
    tokens: [u8; TOKENS],
    present: u8,
    asleep: bool, // the event count's bit
    kills: u8,
    lapses: u8,
    threads: [Thread; THREADS],
}

fn unnamed(word: u8) -> u8 {
    if word == AWAY { AWAY } else { word & !TID }
}

fn is_available(word: u8) -> bool {
    word & TID == 0
}

impl State {
    fn is(&self, change: Change) -> bool {
        self.change == Some(change)
    }

    fn watches(&self, i: usize, word: usize) -> bool {
        match word {
            EVENT_COUNT => true,
            WAKE_WORD => !self.is(Change::WakeWordIgnored),
            PRESENT => !self.is(Change::PresentUnwatched),
            token => token < self.threads[i].noted_present as usize && !self.is(Change::TokensUnwatched),
        }
    }

    fn is_as_noted(&self, i: usize, word: usize) -> bool {
        let t = &self.threads[i];
        match word {
            EVENT_COUNT => !t.rung,
            WAKE_WORD => true,
            PRESENT => t.noted_present == self.present,
            token => t.noted[token] == self.tokens[token],
        }
    }

    /// The threads in the queue of a word.
    fn sleepers(&self, word: usize) -> Vec<usize> {
        (0..THREADS).filter(|i| self.threads[*i].queued & 1 << word != 0).collect()
    }

    fn wake(&mut self, sleeper: usize) {
        let t = &mut self.threads[sleeper];
        match t.at {
            At::Asleep => t.get_up(),
            _ => (t.queued, t.woken) = (0, true),
        }
    }

    /// The kernel wakes one of them, whichever it is.
    fn wake_one(self, sleepers: Vec<usize>, out: &mut Vec<State>) {
        if sleepers.is_empty() {
            out.push(self);
        }
        for sleeper in sleepers {
            let mut n = self;
            n.wake(sleeper);
            out.push(n);
        }
    }
}

impl Model for State {
    type Key = (u64, u64, u64, u64, u64);
    const THREADS: usize = THREADS;

    /// Threads are interchangeable: sorts them by all but the numbers that they remember, and renames the numbers to
    /// match.
    fn canonical(&self) -> State {
        let nameless = |t: Thread| Thread { seen: unnamed(t.seen), noted: t.noted.map(unnamed), ..t };
        let keys = self.threads.map(|t| nameless(t).pack());
        let mut order = [0, 1, 2, 3];
        order.sort_unstable_by_key(|&old: &usize| keys[old]);
        let mut numbers = [0; THREADS + 1];
        order.iter().zip(1..).for_each(|(&old, number)| numbers[old + 1] = number);
        let rename =
            |word: &mut u8| *word = if *word == AWAY { AWAY } else { *word & !TID | numbers[usize::from(*word & TID)] };
        let mut n = State { threads: order.map(|old| self.threads[old]), ..*self };
        n.tokens.iter_mut().for_each(rename);
        for t in &mut n.threads {
            rename(&mut t.seen);
            t.noted.iter_mut().for_each(rename);
        }
        n
    }

    fn key(&self) -> Self::Key {
        let [first, second] = self.tokens;
        let shared = [first, second, self.present, self.asleep.into(), self.kills, self.lapses, 0, 0];
        let [a, b, c, d] = self.threads.map(Thread::pack);
        (a, b, c, d, u64::from_le_bytes(shared))
    }

    fn step(&self, i: usize, out: &mut Vec<State>) {
        let me = i as u8 + 1;
        let mut n = *self;
        let t = &mut n.threads[i];
        let next = t.next as usize;
        match t.at {
            At::Gone | At::Keeping | At::Asleep => return,
            At::Begin => {
                *t = Thread { aim: t.aim, rounds: t.rounds, slot: NONE, ..Thread::default() };
                (t.at, t.next) = match (t.rounds, t.aim) {
                    (0, _) => (At::Gone, 0),
                    (_, Aim::Add) => (At::Bring, 0),
                    _ => (At::Try, 0),
                };
                t.rounds = t.rounds.saturating_sub(1);
                if t.at == At::Bring && !self.is(Change::AddsWithoutWakeWord) {
                    t.slot = WAKE_WORD as u8;
                }
            }
            At::Try => {
                if next >= self.present as usize {
                    // None: to the wake word, if it is not there yet, and to sleep.
                    t.slot = WAKE_WORD as u8;
                    (t.at, t.next) = if t.waits { (At::Arm, 0) } else { (At::Try, 0) };
                    t.waits = true;
                } else if is_available(self.tokens[next]) {
                    (t.slot, t.seen, t.at) = (t.next, self.tokens[next], At::Take);
                } else {
                    t.next += 1;
                }
            }
            At::Take => {
                if self.tokens[next] == t.seen {
                    n.tokens[next] = me;
                    let t = &mut n.threads[i];
                    (t.has, t.waits) = (true, false);
                    t.at = if self.is(Change::NotPassedOn) { At::Have } else { At::TakenCount };
                } else {
                    t.slot = if t.waits { WAKE_WORD as u8 } else { NONE };
                    (t.at, t.next) = (At::Try, t.next + 1);
                }
            }
            At::TakenCount => (t.at, t.next) = if self.asleep { (At::TakenLook, 0) } else { (At::Have, 0) },
            At::TakenLook => {
                if next >= self.present as usize {
                    (t.at, t.next) = (At::Have, 0);
                } else if is_available(self.tokens[next]) {
                    t.at = At::Ring;
                } else {
                    t.next += 1;
                }
            }
            At::Have => t.at = if t.aim == Aim::Keep { At::Keeping } else { At::PutDown },
            At::PutDown => {
                let token = t.slot as usize;
                let forgets = t.aim == Aim::Forget;
                t.has = false;
                t.at = if forgets { At::Clear } else { At::Pay };
                if self.is(Change::SlotEmptiedBeforePay) {
                    t.slot = NONE;
                }
                n.tokens[token] = if forgets { AWAY } else { 0 };
            }
            At::Bring => {
                if next >= self.present as usize {
                    t.at = At::Grow;
                } else if self.tokens[next] == AWAY {
                    t.at = At::Pay;
                    n.tokens[next] = 0;
                } else {
                    t.next += 1;
                }
            }
            At::Grow => {
                t.at = At::Clear;
                if (self.present as usize) < TOKENS {
                    (t.at, t.is_new) = (At::Pay, !self.is(Change::OneHearsOfNew));
                    n.present += 1;
                }
            }
            At::Pay => t.at = if self.asleep && !self.is(Change::NothingPaid) { At::Ring } else { At::Clear },
            At::Ring => {
                n.asleep = true;
                n.threads.iter_mut().for_each(|t| (t.rung, t.others) = (true, true));
                (n.threads[i].at, n.threads[i].others) = (At::Wake, false);
            }
            At::Wake => {
                let sleepers = self.sleepers(EVENT_COUNT);
                t.at = if t.has { At::Have } else { At::Clear };
                if sleepers.is_empty() {
                    t.at = At::Calm;
                }
                if !t.is_new {
                    return n.wake_one(sleepers, out);
                }
                sleepers.into_iter().for_each(|sleeper| n.wake(sleeper));
            }
            At::Calm => {
                t.at = if t.has { At::Have } else { At::Clear };
                if !t.others {
                    n.asleep = false;
                    n.threads.iter_mut().for_each(|t| t.rung = true);
                }
            }
            At::Clear => (t.slot, t.at, t.is_new) = (NONE, At::Begin, false),
            At::Arm => {
                if self.is(Change::AsleepWithoutWakeWord) {
                    t.slot = NONE;
                }
                (t.rung, t.at) = (false, At::NotePresent);
                n.asleep = true;
                n.threads.iter_mut().for_each(|t| t.others = true);
            }
            At::NotePresent => (t.noted_present, t.at, t.next) = (self.present, At::Note, 0),
            At::Note => {
                if next >= t.noted_present as usize {
                    let asleep = if t.expired { At::Clear } else { At::Queue };
                    (t.at, t.next) = (if self.is(Change::LooksAgain) { At::LookAgain } else { asleep }, 0);
                    if t.expired {
                        t.rounds = 0;
                    }
                } else if is_available(self.tokens[next]) && !self.is(Change::LooksAgain) {
                    (t.at, t.next) = (At::Try, 0);
                } else {
                    t.noted[next] = self.tokens[next];
                    t.next += 1;
                }
            }
            At::LookAgain => {
                if next >= self.present as usize {
                    (t.at, t.next) = (At::Queue, 0);
                } else if is_available(self.tokens[next]) {
                    (t.at, t.next) = (At::Try, 0);
                } else {
                    t.next += 1;
                }
            }
            At::Queue => {
                let word = ORDER[next];
                t.queued |= u8::from(self.watches(i, word)) << word;
                t.next += 1;
                if t.woken || self.watches(i, word) && !self.is_as_noted(i, word) {
                    t.get_up();
                } else if t.next as usize == WORDS {
                    t.at = At::Asleep;
                }
            }
            At::KilledAsleep => {
                t.at = At::Exit;
                t.queued = 0;
            }
            At::Exit => {
                *t = Thread { at: At::Gone, slot: NONE, ..Thread::default() };
                let slot = self.threads[i].slot as usize;
                if slot < TOKENS && self.tokens[slot] == me {
                    n.tokens[slot] = DIED;
                    return n.wake_one(self.sleepers(slot), out);
                }
                if slot == WAKE_WORD || slot < TOKENS && is_available(self.tokens[slot]) {
                    return n.wake_one(self.sleepers(slot), out);
                }
            }
        }
        out.push(n);
    }

    fn mishap(&self, i: usize, out: &mut Vec<State>) {
        let t = self.threads[i];
        if self.kills > 0 && !matches!(t.at, At::Gone | At::Exit | At::KilledAsleep) {
            let mut n = *self;
            n.kills -= 1;
            n.threads[i].at = if t.queued != 0 { At::KilledAsleep } else { At::Exit };
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
        let named = |(i, t): (usize, &Thread)| t.has && self.tokens[t.slot as usize] != i as u8 + 1;
        if self.threads.iter().enumerate().any(named) {
            return Some("exclusion");
        }
        if !is_last {
            return None;
        }
        let present = &self.tokens[..self.present as usize];
        if self.threads.iter().any(|t| t.at == At::Asleep) && present.iter().any(|word| is_available(*word)) {
            return Some("stuck");
        }
        let kept = self.threads.iter().filter(|t| t.has).count();
        let left = present.iter().filter(|word| !is_available(**word) && **word != AWAY).count();
        (left != kept).then_some("lost")
    }
}

impl Thread {
    fn pack(self) -> u64 {
        let flags = [self.waits, self.expired, self.rung, self.others, self.woken, self.has, self.is_new];
        let parts = [
            (self.at as u64, 5),
            (self.aim as u64, 3),
            (self.rounds.into(), 3),
            (self.slot.into(), 3),
            (self.next.into(), 3),
            (self.noted_present.into(), 2),
            (self.queued.into(), WORDS as u32),
            (self.seen.into(), 8),
            (self.noted[0].into(), 8),
            (self.noted[1].into(), 8),
        ];
        let parts = parts.into_iter().chain(flags.map(|flag| (u64::from(flag), 1)));
        parts.fold(0, |packed, (part, bits)| packed << bits | part)
    }

    fn get_up(&mut self) {
        (self.queued, self.woken, self.at, self.next) = (0, false, At::Try, 0);
    }
}

/// Explores one configuration: what threads come for and how often, how many permits there are, budgets of kills and
/// lapses.
fn run(threads: &[(Aim, u8)], present: u8, [kills, lapses]: [u8; 2], change: Option<Change>) -> Vec<&'static str> {
    let idle = Thread { at: At::Gone, slot: NONE, ..Thread::default() };
    let mut start =
        State { change, tokens: [0; TOKENS], present, asleep: false, kills, lapses, threads: [idle; THREADS] };
    for (t, &(aim, rounds)) in start.threads.iter_mut().zip(threads) {
        *t = Thread { aim, rounds, slot: NONE, ..Thread::default() };
    }
    // Where all permits are held to begin with, the others sleep.
    if threads.iter().take_while(|(aim, _)| *aim == Held).count() == TOKENS {
        start.tokens = [1, 2];
        start.asleep = true;
        for (i, t) in start.threads.iter_mut().take(threads.len()).enumerate() {
            *t = match t.aim {
                Held => Thread { at: At::PutDown, slot: i as u8, has: true, ..*t },
                _ => Thread {
                    at: At::Asleep,
                    slot: WAKE_WORD as u8,
                    noted: start.tokens,
                    noted_present: present,
                    queued: (1 << WORDS) - 1,
                    rounds: t.rounds - 1,
                    waits: true,
                    ..*t
                },
            };
        }
    }
    let (states, found) = explore(start);
    let bad = found.len();
    println!(
        "{threads:?}, {present} permits, {kills} kills, {lapses} lapses, {change:?}: {states} states, {bad} of them bad"
    );
    found
}

use Aim::{Add, Forget, Held, Keep, Use};

#[test]
fn permits_are_taken_and_given_back() {
    let three = &[(Use, 1); 3];
    for (threads, permits, kills) in [
        (&[(Use, 3); 2][..], 1, 2),
        (three, 1, 1),
        (three, 1, 2),
        (three, 2, 1),
        (&[(Use, 2), (Use, 1), (Use, 1)], 1, 1),
    ] {
        assert!(run(threads, permits, [kills, 0], None).is_empty());
    }
}

#[test]
fn some_give_up() {
    assert!(run(&[(Use, 1); 3], 1, [1, 1], None).is_empty());
}

#[test]
fn permits_are_forgotten_and_added() {
    assert!(run(&[(Use, 1), (Use, 1), (Add, 2)], 0, [1, 0], None).is_empty());
    assert!(run(&[(Use, 1), (Use, 1), (Add, 1)], 0, [1, 0], None).is_empty());
    assert!(run(&[(Use, 1), (Forget, 1), (Add, 2)], 1, [2, 0], None).is_empty());
    assert!(run(&[(Forget, 2), (Add, 2), (Add, 1)], 0, [1, 0], None).is_empty());
}

/// Two permits come free at once, and one of the sleepers will keep the first that it finds.
const TWO_COME_FREE: [(Aim, u8); 4] = [(Held, 0), (Held, 0), (Keep, 1), (Use, 1)];

#[test]
fn some_keep_a_permit() {
    assert!(run(&[(Keep, 1), (Use, 1), (Use, 1)], 2, [2, 0], None).is_empty());
    assert!(run(&TWO_COME_FREE, 2, [1, 0], None).is_empty());
    assert!(run(&TWO_COME_FREE, 2, [2, 1], None).is_empty());
}

#[test]
fn every_mistake_is_caught() {
    let (uses, adds) = (&[(Use, 1); 3][..], &[(Use, 1), (Use, 1), (Add, 2)][..]);
    for (change, threads, permits, kills) in [
        (Change::AsleepWithoutWakeWord, uses, 1, 1),
        (Change::WakeWordIgnored, uses, 1, 1),
        (Change::TokensUnwatched, uses, 1, 1),
        (Change::PresentUnwatched, adds, 0, 1),
        (Change::NotPassedOn, &TWO_COME_FREE, 2, 1),
        (Change::NothingPaid, uses, 1, 0),
        (Change::SlotEmptiedBeforePay, uses, 1, 1),
        (Change::AddsWithoutWakeWord, adds, 0, 1),
        (Change::OneHearsOfNew, &[(Use, 1), (Use, 1), (Add, 1)], 0, 1),
        (Change::LooksAgain, uses, 1, 1),
    ] {
        assert!(run(threads, permits, [kills, 0], Some(change)).contains(&"stuck"), "{change:?}");
    }
}
