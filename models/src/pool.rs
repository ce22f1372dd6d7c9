//! Exhaustive model of how a pool's results reach the threads that wait for them (`pool::shared`): which thread leads,
//! which takes over, and which is notified. Every interleaving of threads that send tasks and wait, of the reader
//! (here: reader), the callback thread (callback thread) and the supervisor (supervisor), of workers, and of a worker's
//! death. It checks the algorithm, and needs nothing from the crate.
//!
//! What is modelled: what is done under the lock of the pool's state, or of a promise, is one step; threads that park
//! and are unparked; the ring of reports, on which the leader sleeps. All tasks of a worker that dies fail when its
//! death is read, but for those that were reported.
//!
//! Invariants:
//! 1. Nothing is stuck: when no thread can take a step, all threads that waited have their results, all callbacks have
//!    run, and no task is in flight.
//! 2. Every run ends. (No state comes back on its own path.)
//! 3. One thread leads at a time.
//!
//! Not modelled: tasks that wait for room, retries, time-outs, the end of the pool.

use crate::explore::{Model, explore};

const THREADS: usize = 6;
const READER: usize = 2;
const WORKERS: usize = 3;
const SUPERVISOR: usize = 4;
const CALLBACK_THREAD: usize = 5;
const RESULTS: usize = 3;
/// No thread, no result.
const NONE: u8 = u8::MAX;
/// Reports that are no results.
const LOOK: u8 = 10;
const DIED: u8 = 11;

/// Threads or results.
type Set = u8;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
enum At {
    #[default]
    Nothing, // rests
    GiveLater, // a task that it does not wait for
    HandOn,    // after that
    Give,      // one that it waits for
    Drive,     // leads, if no thread does
    Register,  // with the promise
    Park,
    Again,    // is it there?
    Until,    // leading: is it there?
    Read,     // a report
    Resolve,  // a result has come
    CallBack, // to the callback thread
    Unpark,   // the threads that wait for it
    Nudge,    // the leader, if it waits for it
    Release,  // its task is not on its way any more
    Unlead,   // leads no more
    Leave,    // waits no more
    Keep,     // the reader
    Idle,     // it rests
    Work,     // workers
    Watch,    // the supervisor rests
    Tell,     // a death
    Report,   // after what was reported
    Call,     // the callback thread
    Asleep,   // it rests
    Settle,   // calls what is to be called for a result
    Settled,  // that has been called
}

/// Defines the mistakes, and a list of all.
macro_rules! mistakes { ($($mistake:ident)*) => {
    /// A mistake, to see that it is found.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Change {
        $($mistake,)*
    }

    const MISTAKES: &[Change] = &[$(Change::$mistake),*];
} }
mistakes! {
    LeavesWithoutHandingOn
    GivesWithoutHandingOn
    DeathNotHandedOn
    NudgesNobody
    ReaderNotNotified
    StaysAmongWaiters
    RegistersBehindTheLook
    CallbackThreadWaitsForItself
    CameUntold
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
enum Step {
    #[default]
    Pending,
    Came,    // its callbacks are to run
    Calling, // they run
    Done,
}

/// The part of a run that is not left to chance.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// The tasks that each of the two submits without a wait, and the one that it waits for.
    later: [u8; 2],
    aim: [u8; 2],
    /// Results with a callback, and what that waits for.
    callbacks: Set,
    waits_for: [u8; RESULTS],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct List([u8; 6], u8);

impl List {
    fn push(&mut self, what: usize) {
        self.0[self.1 as usize] = what as u8;
        self.1 += 1;
    }

    fn items(&self) -> &[u8] {
        &self.0[..self.1 as usize]
    }

    fn remove(&mut self, at: usize) -> usize {
        let what = self.0[at];
        self.0.copy_within(at + 1.., at);
        self.1 -= 1;
        self.0[self.1 as usize..].fill(0);
        what as usize
    }

    fn first(&mut self) -> Option<usize> {
        (self.1 > 0).then(|| self.remove(0))
    }

    fn last(&mut self) -> Option<usize> {
        (self.1 > 0).then(|| self.remove(self.1 as usize - 1))
    }

    fn key(&self) -> u64 {
        self.items().iter().fold(1, |key, item| key << 4 | u64::from(*item & 15))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Thread {
    at: At,
    token: bool,
    /// The result that it waits for.
    aim: u8,
    /// The result that it handles, those that fail, and the threads that it wakes.
    result: u8,
    failing: Set,
    wakes: Set,
}

impl Thread {
    fn key(&self) -> u64 {
        let numbers = [self.aim, self.result, self.failing, self.wakes, u8::from(self.token)];
        numbers.into_iter().fold(self.at as u64, |key, number| key << 6 | u64::from(number & 63))
    }
}

#[derive(Clone, Copy, Debug)]
struct State {
    plan: Plan,
    change: Option<Change>,
    threads: [Thread; THREADS],
    leader: u8,
    two_lead: bool,
    waiters: List,
    ring: List,
    /// Tasks on their way, those that no worker has reported, those that died with one, and deaths.
    slots: Set,
    open: Set,
    lost: Set,
    given: Set,
    deaths: u8,
    kills: u8,
    steps: [Step; RESULTS],
    registered: [Set; RESULTS],
    callbacks: List,
    /// Results whose callbacks the callback thread is in, innermost last.
    calling: List,
}

impl State {
    fn new(plan: Plan, kills: u8, change: Option<Change>) -> Self {
        let mut threads = [Thread { aim: NONE, result: NONE, ..Thread::default() }; THREADS];
        for (thread, (later, aim)) in plan.later.into_iter().zip(plan.aim).enumerate() {
            threads[thread].at = match (later, aim) {
                (NONE, NONE) => At::Nothing,
                (NONE, _) => At::Give,
                _ => At::GiveLater,
            };
            threads[thread].aim = aim;
        }
        threads[READER].at = At::Idle;
        threads[WORKERS].at = At::Work;
        threads[SUPERVISOR].at = At::Watch;
        threads[CALLBACK_THREAD].at = At::Asleep;
        State {
            plan,
            change,
            threads,
            leader: NONE,
            two_lead: false,
            waiters: List::default(),
            ring: List::default(),
            slots: 0,
            open: 0,
            lost: 0,
            given: 0,
            deaths: 0,
            kills,
            steps: [Step::Pending; RESULTS],
            registered: [0; RESULTS],
            callbacks: List::default(),
            calling: List::default(),
        }
    }

    fn is(&self, change: Change) -> bool {
        self.change == Some(change)
    }

    fn has_news(&self) -> bool {
        self.slots != 0 || self.deaths > 0
    }

    fn notify_reader(&mut self) {
        if self.threads[READER].at == At::Idle {
            self.threads[READER].at = At::Keep;
        }
    }

    /// H1.
    fn hand_on(&mut self) {
        if self.leader == NONE && self.has_news() {
            match self.waiters.last() {
                Some(waiter) => self.threads[waiter].token = true,
                None if self.is(Change::ReaderNotNotified) => {}
                None => self.notify_reader(),
            }
        }
    }

    fn lead(&mut self, me: usize) {
        self.two_lead |= self.leader != NONE;
        self.leader = me as u8;
        self.threads[me].at = At::Until;
    }

    /// Once, for two may wait for one.
    fn give(&mut self, result: u8) {
        if self.given >> result & 1 == 0 {
            self.given |= 1 << result;
            self.slots |= 1 << result;
            self.open |= 1 << result;
        }
    }

    /// Whether the result that this thread waits for is there. In a callback also if its callbacks can be called here.
    fn is_there(&self, me: usize) -> bool {
        let step = self.steps[self.threads[me].aim as usize];
        let runs = me == CALLBACK_THREAD && !self.is(Change::CallbackThreadWaitsForItself);
        step == Step::Done || runs && step == Step::Came
    }

    fn register(&mut self, me: usize) {
        self.registered[self.threads[me].aim as usize] |= 1 << me;
    }

    /// The result is known to all.
    fn publish(&mut self, me: usize, result: usize) {
        self.steps[result] = Step::Done;
        self.threads[me].wakes = std::mem::take(&mut self.registered[result]);
        self.threads[me].at = At::Unpark;
    }

    /// After the result that it holds: the next one, or what it did before.
    fn go_on(&mut self, me: usize) {
        let t = &mut self.threads[me];
        if t.result == NONE {
            // The callback thread, which has settled one: the callback in which it was goes on, and ends.
            t.at = if self.calling.1 > 0 { At::Settled } else { At::Call };
        } else {
            t.at = At::Release;
        }
    }

    fn next_result(&mut self, me: usize) {
        let t = &mut self.threads[me];
        match t.failing.trailing_zeros() as u8 {
            8 => {
                t.result = NONE;
                t.at = At::Until;
            }
            result => {
                t.failing &= !(1 << result);
                t.result = result;
                t.at = At::Resolve;
            }
        }
    }

    fn advance(&mut self, me: usize, out: &mut Vec<Self>) {
        let t = self.threads[me];
        match t.at {
            At::Nothing | At::Idle | At::Watch | At::Asleep => return,
            At::GiveLater => {
                self.give(self.plan.later[me]);
                self.threads[me].at = At::HandOn;
            }
            At::HandOn => {
                if !self.is(Change::GivesWithoutHandingOn) {
                    self.hand_on();
                }
                self.threads[me].at = if t.aim == NONE { At::Nothing } else { At::Give };
            }
            At::Give => {
                self.give(t.aim);
                self.threads[me].at = At::Drive;
            }
            At::Drive if self.leader == NONE => self.lead(me),
            At::Drive => {
                if !self.waiters.items().contains(&(me as u8)) {
                    self.waiters.push(me);
                }
                self.threads[me].at = At::Register;
            }
            At::Register | At::Again => {
                let is_there = self.is_there(me);
                let is_late = self.is(Change::RegistersBehindTheLook) && t.at == At::Register;
                if !is_there && !is_late {
                    self.register(me);
                }
                self.threads[me].at = match t.at {
                    _ if is_there => At::Leave,
                    At::Register => At::Park,
                    _ => At::Drive,
                };
            }
            At::Park if t.token => {
                self.threads[me].token = false;
                self.threads[me].at = At::Again;
            }
            At::Park if self.is(Change::RegistersBehindTheLook) && self.registered[t.aim as usize] >> me & 1 == 0 => {
                self.register(me);
            }
            At::Park => return,
            At::Until => {
                let is_over = match me {
                    READER => !self.has_news(),
                    _ => self.is_there(me),
                };
                if !is_over && me != READER {
                    self.register(me);
                }
                self.threads[me].at = if is_over { At::Unlead } else { At::Read };
            }
            At::Read => match self.ring.first() {
                None => return,
                Some(report) if report == LOOK as usize => self.threads[me].at = At::Until,
                Some(report) if report == DIED as usize => {
                    self.deaths -= 1;
                    self.threads[me].failing = std::mem::take(&mut self.lost);
                    self.slots &= !self.threads[me].failing;
                    self.next_result(me);
                }
                Some(result) => {
                    self.threads[me].result = result as u8;
                    self.threads[me].at = At::Resolve;
                }
            },
            At::Resolve => match self.plan.callbacks >> t.result & 1 {
                0 => self.publish(me, t.result as usize),
                _ => {
                    self.steps[t.result as usize] = Step::Came;
                    if !self.is(Change::CameUntold) {
                        self.threads[me].wakes = self.registered[t.result as usize];
                    }
                    self.threads[me].at = At::CallBack;
                }
            },
            At::CallBack => {
                self.callbacks.push(t.result as usize);
                if self.threads[CALLBACK_THREAD].at == At::Asleep {
                    self.threads[CALLBACK_THREAD].at = At::Call;
                }
                self.threads[me].at = At::Unpark;
            }
            At::Unpark => {
                (0..THREADS).filter(|other| t.wakes >> other & 1 == 1).for_each(|other| {
                    self.threads[other].token = true;
                });
                self.threads[me].at = At::Nudge;
            }
            At::Nudge => {
                let leads_elsewhere = self.leader != NONE && self.leader != me as u8 && t.wakes >> self.leader & 1 == 1;
                self.threads[me].wakes = 0;
                if leads_elsewhere && !self.is(Change::NudgesNobody) {
                    self.ring.push(LOOK as usize);
                }
                self.go_on(me);
            }
            At::Release => {
                self.slots &= !(1 << t.result);
                self.next_result(me);
            }
            At::Unlead => {
                self.leader = NONE;
                self.threads[me].at = if me == READER { At::Keep } else { At::Leave };
            }
            At::Leave => {
                if let Some(at) = self.waiters.items().iter().position(|waiter| *waiter == me as u8)
                    && !self.is(Change::StaysAmongWaiters)
                {
                    self.waiters.remove(at);
                }
                if !self.is(Change::LeavesWithoutHandingOn) {
                    self.hand_on();
                }
                self.threads[me].at = if me == CALLBACK_THREAD { At::Settle } else { At::Nothing };
                self.threads[me].result = if me == CALLBACK_THREAD { t.aim } else { NONE };
                self.threads[me].aim = NONE;
            }
            At::Keep if self.leader == NONE && self.has_news() => self.lead(me),
            At::Keep => self.threads[me].at = At::Idle,
            At::Work => {
                for result in (0..RESULTS).filter(|result| self.open >> result & 1 == 1) {
                    let mut n = *self;
                    n.open &= !(1 << result);
                    n.ring.push(result);
                    out.push(n);
                }
                return;
            }
            At::Tell => {
                self.deaths += 1;
                if !self.is(Change::DeathNotHandedOn) {
                    self.hand_on();
                }
                self.threads[me].at = At::Report;
            }
            At::Report => {
                self.ring.push(DIED as usize);
                self.threads[me].at = At::Watch;
            }
            At::Call => match self.callbacks.first() {
                None => self.threads[me].at = At::Asleep,
                Some(result) => {
                    self.threads[me].result = result as u8;
                    self.threads[me].at = At::Settle;
                }
            },
            At::Settle if self.steps[t.result as usize] != Step::Came => {
                self.threads[me].result = NONE;
                self.go_on(me);
            }
            At::Settle => {
                self.steps[t.result as usize] = Step::Calling;
                self.calling.push(t.result as usize);
                self.threads[me].aim = self.plan.waits_for[t.result as usize];
                self.threads[me].result = NONE;
                self.threads[me].at = if self.threads[me].aim == NONE { At::Settled } else { At::Drive };
            }
            At::Settled => {
                let result = self.calling.last().expect("the one that it is in");
                self.publish(me, result);
            }
        }
        out.push(*self);
    }
}

impl Model for State {
    type Key = (u64, u64, u64, u64, u64, u64, u64, u64, u64);
    const THREADS: usize = THREADS;

    fn canonical(&self) -> Self {
        *self
    }

    fn key(&self) -> Self::Key {
        let sets = [
            self.slots,
            self.open,
            self.lost,
            self.given,
            self.deaths,
            self.kills,
            self.leader & 15,
            u8::from(self.two_lead),
        ];
        let sets = sets.into_iter().fold(0, |key, set| key << 4 | u64::from(set & 15));
        let steps = self.steps.iter().fold(0, |key, step| key << 2 | *step as u64);
        let registered = self.registered.iter().fold(steps, |key, set| key << 6 | u64::from(*set));
        let lists = self.waiters.key() << 32 | self.callbacks.key() << 16 | self.calling.key();
        let thread = |thread: usize| self.threads[thread].key();
        // Workers are always at work, and the supervisor has nothing in its hands.
        let supervisor = thread(SUPERVISOR) >> 30;
        (
            sets,
            registered,
            lists,
            self.ring.key(),
            supervisor,
            thread(0),
            thread(1),
            thread(READER),
            thread(CALLBACK_THREAD),
        )
    }

    fn step(&self, thread: usize, out: &mut Vec<Self>) {
        let mut n = *self;
        n.advance(thread, out);
    }

    fn mishap(&self, thread: usize, out: &mut Vec<Self>) {
        if thread == WORKERS && self.kills > 0 && self.threads[SUPERVISOR].at == At::Watch && self.deaths == 0 {
            let mut n = *self;
            n.kills -= 1;
            n.lost = std::mem::take(&mut n.open);
            n.threads[SUPERVISOR].at = At::Tell;
            out.push(n);
        }
    }

    fn broken(&self, is_last: bool) -> Option<&'static str> {
        if self.two_lead {
            return Some("two lead");
        }
        if !is_last {
            return None;
        }
        let rest = [At::Nothing, At::Nothing, At::Idle, At::Work, At::Watch, At::Asleep];
        let is_stuck = self.threads.iter().zip(rest).any(|(thread, rest)| thread.at != rest);
        let is_open = self.has_news() || self.callbacks.1 > 0 || self.steps.contains(&Step::Came);
        (is_stuck || is_open).then_some("stuck")
    }
}

const QUIET: Plan = Plan { later: [NONE; 2], aim: [0, 1], callbacks: 0, waits_for: [NONE; RESULTS] };

/// Uses of a pool.
const PLANS: [Plan; 7] = [
    QUIET,
    Plan { aim: [0, 0], ..QUIET },
    Plan { later: [2, NONE], ..QUIET },
    Plan { later: [0, NONE], aim: [NONE, 1], callbacks: 1, ..QUIET },
    Plan { callbacks: 0b11, ..QUIET },
    // A callback that waits: for one without callbacks, and for one that has some.
    Plan { later: [2, NONE], callbacks: 0b001, waits_for: [2, NONE, NONE], ..QUIET },
    Plan { later: [2, NONE], aim: [0, NONE], callbacks: 0b101, waits_for: [2, NONE, NONE] },
];

#[test]
fn every_result_reaches_its_waiter() {
    for (number, plan) in PLANS.into_iter().enumerate() {
        let (states, found) = explore(State::new(plan, 1, None));
        println!("plan {number}: {states} states");
        assert!(found.is_empty(), "plan {number}: {:?}", found[0]);
        assert!(states > 500, "{states}");
    }
}

#[test]
fn mistakes_are_found() {
    for &change in MISTAKES {
        let finds = |plan: &Plan| !explore(State::new(*plan, 1, Some(change))).1.is_empty();
        let by = PLANS.iter().position(finds);
        assert!(by.is_some(), "{change:?}");
        println!("{change:?}: by plan {by:?}");
    }
}
