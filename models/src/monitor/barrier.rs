//! A meeting: parties arrive, and wait for the last one.
//!
//! Invariants: all that waited for a round learn the same of it, but for the one that gave up; it is broken only if one
//! of them died or gave up; no thread sleeps whose round is over, or has a dead party.

use super::stage::{Change, Next, Play, Stage};
use super::thread::{Participant, THREADS, Then, WAITING};

const PASSED: u8 = 2;
const BROKEN: u8 = 3;

/// The purpose of all threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrives;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Takes part, or ends the round.
    Arrive,
    /// Its time is up.
    GiveUp,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meeting {
    parties: u8,
    arrived: u8,
    round: u8, // of a record: `of`
    is_broken: bool,
    told: u8,         // a token: all that it is about is in the records
    announced: u8,    // a token: the sleepers were woken for it
    results: [u8; 2], // of the rounds
    differ: bool,
    has_cause: bool, // a party died while it waited, or gave up
}

impl Meeting {
    pub fn of(parties: u8) -> Self {
        Meeting { parties, ..Meeting::default() }
    }

    fn token(&self) -> u8 {
        self.round << 1 | u8::from(self.is_broken)
    }

    /// Tells the waiters what became of their round.
    fn settle(&mut self, participants: &mut [Participant; THREADS]) {
        self.arrived = 0;
        for participant in participants.iter_mut().filter(|participant| participant.waits()) {
            match participant.of == self.round {
                true if self.is_broken => participant.says = BROKEN,
                true => self.arrived += 1,
                false => participant.says = PASSED,
            }
        }
        self.told = self.token();
    }

    /// A round was this for one of its parties.
    fn learn(&mut self, round: u8, outcome: u8) {
        let result = &mut self.results[round as usize];
        self.differ |= *result != 0 && *result != outcome;
        *result = outcome;
    }

    fn arrive(stage: &mut Stage<Self>, i: usize, store: u8) -> Next<Task> {
        const LAST: u8 = 4; // it ends the round
        const SETTLES: u8 = 5;
        let play = &mut stage.play;
        match store {
            0 if play.is_broken => return Next::Leave(Then::Gone),
            0 if play.arrived + 1 >= play.parties => return Next::Store(LAST),
            0 => {}
            1 => stage.participants[i] = Participant::of(i, play.round),
            2 => {
                play.arrived += 1;
                return Next::Changed(Then::Wait);
            }
            LAST => {
                play.learn(play.round, PASSED);
                play.round += 1;
            }
            _ => {
                let late = |participant: &&mut Participant| participant.waits() && participant.of + 1 == play.round;
                if let Some(participant) = stage.participants.iter_mut().find(late) {
                    participant.says = PASSED;
                    return Next::Store(SETTLES);
                }
                play.arrived = 0;
                play.told = play.token();
                return Next::Changed(Then::Gone);
            }
        }
        Next::Store(store + 1)
    }

    fn give_up(stage: &mut Stage<Self>, i: usize, store: u8) -> Next<Task> {
        let (play, participant) = (&mut stage.play, stage.participants[i]);
        match store {
            0 if participant.says == WAITING => {
                play.has_cause = true;
                play.is_broken = true;
            }
            0 => {
                play.learn(participant.of, participant.says);
                return Next::Store(2);
            }
            1 => play.settle(&mut stage.participants),
            _ => {
                stage.participants[i] = Participant::default();
                return Next::Changed(Then::Gone);
            }
        }
        Next::Store(store + 1)
    }
}

impl Play for Meeting {
    type Aim = Arrives;
    type Task = Task;
    const WATCHED: u8 = WAITING;
    const SLOT_STAYS: bool = true;
    const TIME_IS_UP: Task = Task::GiveUp;

    fn first(&self, _: Arrives) -> Option<Task> {
        Some(Task::Arrive)
    }

    fn codes(_: Arrives, task: Option<Task>) -> [u8; 2] {
        [0, task.map_or(0, |task| task as u8 + 1)]
    }

    fn reaps_first(task: Task) -> bool {
        task == Task::Arrive
    }

    fn is_ready(&self, participant: &Participant) -> bool {
        participant.says != WAITING
    }

    fn reap(&mut self, participants: &mut [Participant; THREADS], i: usize, _: Option<Change>) {
        if participants[i].says == WAITING && !self.is_broken {
            self.is_broken = true;
            self.settle(participants);
        }
    }

    fn recount(&mut self, participants: &mut [Participant; THREADS], change: Option<Change>) {
        if change != Some(Change::NotSettledAnew) {
            self.settle(participants);
        }
    }

    fn calls(&self, change: Option<Change>) -> (usize, u8) {
        let token = if change == Some(Change::PhaseIsAnnounced) { self.token() } else { self.told };
        (if token == self.announced { 0 } else { THREADS }, token)
    }

    fn paid(&mut self, token: u8) {
        self.announced = token;
    }

    fn work(stage: &mut Stage<Self>, i: usize, task: Task, store: u8) -> Next<Task> {
        match task {
            Task::Arrive => Self::arrive(stage, i, store),
            Task::GiveUp => Self::give_up(stage, i, store),
        }
    }

    fn go_on(stage: &mut Stage<Self>, i: usize) {
        let participant = stage.participants[i];
        stage.play.learn(participant.of, participant.says);
        stage.threads[i].pay_and(Then::GiveUpRecord);
    }

    fn dies(&mut self, participant: &Participant) {
        self.has_cause |= participant.says == WAITING && participant.of == self.round;
    }

    fn key(&self) -> u128 {
        let [first, second] = self.results;
        let flags = [self.is_broken, self.differ, self.has_cause].map(u8::from);
        let parts = [self.arrived, self.round, self.told, self.announced, first, second];
        parts.into_iter().chain(flags).fold(0, |packed, part| packed << 8 | u128::from(part))
    }

    fn broken(&self) -> Option<&'static str> {
        let cause = (self.is_broken && !self.has_cause).then_some("cause");
        self.differ.then_some("differ").or(cause)
    }

    fn stuck(&self, participants: &[Participant; THREADS], i: usize) -> Option<&'static str> {
        let is_over = participants[i].of != self.round || self.is_broken;
        (is_over || participants.iter().any(|participant| participant.is_dead() && participant.says == WAITING))
            .then_some("stuck")
    }
}
