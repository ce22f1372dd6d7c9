//! A state of the model.

pub const THREADS: usize = 4; // thread `i` has the number `i + 1`
pub const TID: u8 = 0x07; // the number in a lock's word; 0: none
pub const DIED: u8 = 0x08;
pub const W: u8 = 0x10;
pub const ASLEEP: u8 = 4; // beside the rounds of a thread that sleeps already when the run begins
pub const NULL: usize = 0; // an empty slot
pub const TAIL: usize = 1; // the two locks
pub const HEAD: usize = 2;
pub const LOCK_EVENT_COUNTS: usize = 1; // the event counts: consumers 0, producers 1, and of the locks: this and the lock

/// Where a thread is; but for the resting states, a variant names the step that comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub enum At {
    LookIndex, // is it so: load the head
    LookAgain, // is it so: load the stamp there, or the tail
    Enter,     // pending = the lock that the operation needs
    Reap,      // pending = the lock that was seen DIED
    Take,      // enter: CAS the own number into the free word
    ArmLock,   // enter: arm the lock's event count
    MarkLock,  // enter: CAS W into the held word
    Repair,    // tail = after what is committed
    ReadHead,  // push: the head as last seen says full; load it
    Stamp,     // push: the commit
    MoveTail,  // push: tail += 1
    ReadStamp, // pop: is the item there?
    MoveHead,  // pop: the commit
    Release,   // leave: word &= W
    Glance,    // leave: load the event count of `door`; none has sleepers: no rule R
    Sleepers,  // rule R: load the event count of `door`
    Index,     // rule R: load the head
    Other,     // rule R: load the stamp there, or the tail
    Held,      // rule R: load the lock's word
    Ring,      // ring: CAS the count
    Wake,      // ring: FUTEX_WAKE
    Quiet,     // ring: no thread was woken; CAS ASLEEP away
    Leave,     // pending = null; then what `then` says
    Arm,       // wait: arm the event count
    Prepare,   // wait: pending = the other side's lock
    Mark,      // wait: CAS W into the lock `door`
    Queue,     // FUTEX_WAITV: compare and queue; 0 the event count, or a lock
    Asleep,    // rests
    Unqueue,   // FUTEX_WAITV ends
    Dead,      // was killed in a queue, and is still there
    Exit,      // the kernel looks at the dead thread's pending word
    ExitWake,  // the kernel wakes a sleeper on it
    #[default]
    Gone, // rests: done, or reaped by the kernel
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Role {
    #[default]
    Get,
    Put,
    TryPut,
}
pub use Role::{Get, Put, TryPut};

/// Why a thread looks whether what it waits for is so.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Look {
    #[default]
    First,
    Armed,
    Marked,
    Slept,
}

/// The step after rule R.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Then {
    #[default]
    Again,
    Done,
    Arm,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Did {
    #[default]
    FailToPop,
    FailToPush,
    Pop,
    Push,
    Change,
}

/// A change for the worse, to the protocol or to the kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    NoPendingAsleep,
    LocksUnmarked,
    VainWakeKept,
    RuleBeforeRelease,
    ClearBeforeRule,
    FailWakesItsKind,
    ReleaseDropsW,
    SleepsOnEventCountAlone,
    AsleepGoesBlindly,
    NoLookBehindArm,
    TailStays,
    OldKernel,    // before the fix of 2022 it relays only for the word 0
    NoLastLook,   // does not compare the data when it falls asleep
    LateWakeKept, // gives up waiting for a lock without rule R
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Thread {
    pub at: At,
    pub role: Role,
    pub rounds: u8, // operations to come to an end
    pub look: Look,
    pub then: Then,
    pub did: Did,
    pub died: bool,     // the lock was taken from a dead one
    pub pending: usize, // the slot
    pub door: usize,    // the event count or lock that the step is about
    pub on_lock: bool,  // sleeps for the lock in the slot, not for data
    pub armed: usize,   // 1 + the event count whose word is still the one that this thread made
    pub queued: u8,     // bit 0: at the event count; 1 and 2: on the locks
    pub head: u8,       // as last loaded
    pub seen: [u8; 3],  // the locks' words as last loaded; the first is unused
}

impl Thread {
    pub fn new(role: Role, rounds: u8) -> Self {
        if rounds & ASLEEP != 0 {
            let (rounds, pending) = (rounds & !ASLEEP, if role == Get { TAIL } else { HEAD });
            return Thread {
                at: At::Asleep,
                role,
                rounds,
                pending,
                look: Look::Marked,
                queued: 7,
                ..Thread::default()
            };
        }
        Thread { at: if role == Get { At::LookIndex } else { At::Enter }, role, rounds, ..Thread::default() }
    }

    pub fn pack(&self) -> u64 {
        let fields = [
            (self.at as u64, 6),
            (self.role as u64, 2),
            (self.rounds.into(), 2),
            (self.look as u64, 2),
            (self.then as u64, 2),
            (self.did as u64, 3),
            (self.died.into(), 1),
            (self.pending as u64, 2),
            (self.door as u64, 2),
            (self.on_lock.into(), 1),
            (self.armed as u64, 3),
            (self.queued.into(), 3),
            (self.head.into(), 3),
            (self.seen[TAIL].into(), 5),
            (self.seen[HEAD].into(), 5),
        ];
        fields.into_iter().fold(0, |packed, (value, bits)| packed << bits | value)
    }

    pub fn is_consumer(&self) -> bool {
        self.role == Get
    }

    pub fn event_count(&self) -> usize {
        if self.on_lock { LOCK_EVENT_COUNTS + self.pending } else { usize::from(!self.is_consumer()) }
    }

    /// Steps that concern no other thread.
    pub fn is_private(&self) -> bool {
        matches!(self.at, At::Enter | At::Reap | At::Leave | At::Prepare)
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct State {
    pub changes: u16, // the same throughout a run, and so is the capacity
    pub capacity: u8,
    pub words: [u8; 3],
    pub asleep: [bool; 4],
    pub head: u8,
    pub tail: u8,
    pub seen: u8, // the head as the tail's side saw it
    pub stamps: [u8; 2],
    pub broken: bool, // an item was lost or came twice, or a lock had two holders
    pub kills: u8,
    pub lapses: u8,
    pub threads: [Thread; THREADS],
}

/// States that a step can lead to, and whether a sleeper was woken on the way.
pub type Next = Vec<(State, bool)>;

pub type Key = (u64, u64, u64, u64, u64);

impl State {
    /// Threads are interchangeable: sorts them by all but the numbers that they remember, and renames those to match.
    pub fn canonical(&self) -> State {
        let keys = self.threads.map(|t| Thread { seen: t.seen.map(|word| word & !TID), ..t }.pack());
        let mut order: [usize; THREADS] = std::array::from_fn(|i| i);
        order.sort_unstable_by_key(|&old| keys[old]);
        let mut numbers = [0; THREADS + 1];
        order.iter().zip(1..).for_each(|(&old, number)| numbers[old + 1] = number);
        let rename = |word: u8| word & !TID | numbers[usize::from(word & TID)];
        let threads = order.map(|old| Thread { seen: self.threads[old].seen.map(rename), ..self.threads[old] });
        State { threads, words: self.words.map(rename), ..*self }
    }

    pub fn pack(&self) -> Key {
        let asleep = self.asleep.iter().fold(0, |bits, &bit| bits << 1 | u8::from(bit));
        let [_, tail, head] = self.words;
        let indices = self.head << 4 | self.tail;
        let budgets = self.seen << 4 | self.kills << 2 | self.lapses;
        let shared = [tail, head, asleep, indices, budgets, self.stamps[0] << 4 | self.stamps[1], 0, 0];
        let [a, b, c, d] = self.threads.map(|t| t.pack());
        (a, b, c, d, u64::from_le_bytes(shared))
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [_, tail, head] = self.words;
        write!(f, "tail {tail:02x} {}, head {head:02x} {}, seen {}, ", self.tail, self.head, self.seen)?;
        write!(f, "stamps {:?}, asleep {:?}", self.stamps, self.asleep.map(u8::from))?;
        for (t, i) in self.threads.iter().zip(1..).filter(|(t, _)| t.at != At::Gone) {
            write!(f, " | {i} {:?} {:?} {:?} {:?} pending {} door {}", t.role, t.at, t.did, t.then, t.pending, t.door)?;
        }
        Ok(())
    }
}
