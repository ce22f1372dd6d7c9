//! Calls: some wait, others notify.
//!
//! Invariant: while one sleeps that was there at a notify, as many have gone on as were called. A dead one's call is
//! another one's.

use super::stage::{Change, Next, Play, Stage};
use super::thread::{Participant, THREADS, Then};

const GRANTED: u8 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    Wait,
    /// Calls so many.
    Notify(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    Begin,
    /// Takes a call, if it has one.
    Grant,
    End,
    Notify,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    waiting: u8,
    grants: u8,
    called: u8,
    went_on: u8,
}

impl Calls {
    /// How many living threads wait, and did at the last notify: `of` their record is 1.
    fn callable(participants: &[Participant; THREADS]) -> u8 {
        participants
            .iter()
            .filter(|participant| participant.waits() && !participant.is_dead() && participant.of == 1)
            .count() as u8
    }

    fn grant(stage: &mut Stage<Self>, i: usize, store: u8) -> Next<Task> {
        let (play, change) = (&mut stage.play, stage.change);
        if store > 0 {
            play.grants = play.grants.saturating_sub(1);
            stage.threads[i].more = change != Some(Change::NoGuardian);
            return Next::Changed(Then::Do(Task::End));
        }
        if play.is_ready(&stage.participants[i]) {
            stage.participants[i].says = GRANTED;
            return Next::Store(1);
        }
        if stage.threads[i].expired {
            // It may have been the watcher.
            stage.threads[i].more = stage.participants.iter().any(|participant| participant.says == GRANTED);
            return Next::Changed(Then::Do(Task::End));
        }
        Next::Leave(Then::Wait)
    }

    fn notify(stage: &mut Stage<Self>, i: usize, store: u8) -> Next<Task> {
        let Some(Aim::Notify(most)) = stage.threads[i].aim else { unreachable!("only a thread that notifies does") };
        let (play, callable) = (&mut stage.play, Self::callable(&stage.participants));
        if store == 0 {
            stage.threads[i].kept = play.grants.min(callable);
            stage
                .participants
                .iter_mut()
                .filter(|participant| participant.word != 0)
                .for_each(|participant| participant.of = 1);
            return Next::Store(1);
        }
        let grants = (stage.threads[i].kept + most).min(callable);
        play.called = (play.called + grants).saturating_sub(play.grants);
        play.grants = grants;
        Next::Changed(Then::Gone)
    }
}

impl Play for Calls {
    type Aim = Aim;
    type Task = Task;
    const WATCHED: u8 = GRANTED;
    const SLOT_STAYS: bool = false;
    const TIME_IS_UP: Task = Task::Grant;

    fn first(&self, aim: Aim) -> Option<Task> {
        match aim {
            Aim::Wait => Some(Task::Begin),
            Aim::Notify(_) => (self.waiting > 0).then_some(Task::Notify),
        }
    }

    fn codes(aim: Aim, task: Option<Task>) -> [u8; 2] {
        let aim = if let Aim::Notify(most) = aim { most } else { 0 };
        [aim, task.map_or(0, |task| task as u8 + 1)]
    }

    fn reaps_first(task: Task) -> bool {
        matches!(task, Task::Begin | Task::Notify)
    }

    fn is_ready(&self, participant: &Participant) -> bool {
        self.grants > 0 && participant.of == 1
    }

    fn reap(&mut self, participants: &mut [Participant; THREADS], i: usize, change: Option<Change>) {
        let comes_back = participants[i].says == GRANTED && change != Some(Change::GrantGoesWithTheDead);
        self.grants = (self.grants + u8::from(comes_back)).min(Self::callable(participants));
        self.waiting = self.waiting.saturating_sub(1);
    }

    fn recount(&mut self, participants: &mut [Participant; THREADS], _: Option<Change>) {
        self.waiting = participants.iter().filter(|participant| participant.word != 0).count() as u8;
    }

    fn calls(&self, _: Option<Change>) -> (usize, u8) {
        (self.grants.into(), 0)
    }

    fn work(stage: &mut Stage<Self>, i: usize, task: Task, store: u8) -> Next<Task> {
        let play = &mut stage.play;
        match (task, store) {
            (Task::Begin, 0) => play.waiting += 1,
            (Task::Begin, _) => {
                stage.participants[i] = Participant::of(i, 0);
                return Next::Changed(Then::Wait);
            }
            (Task::End, 0) => {
                play.went_on += u8::from(stage.participants[i].says == GRANTED);
                stage.participants[i] = Participant::default();
            }
            (Task::End, _) => {
                play.waiting = play.waiting.saturating_sub(1);
                return Next::Changed(Then::Gone);
            }
            (Task::Grant, _) => return Self::grant(stage, i, store),
            (Task::Notify, _) => return Self::notify(stage, i, store),
        }
        Next::Store(store + 1)
    }

    fn go_on(stage: &mut Stage<Self>, i: usize) {
        stage.threads[i].go_in(Some(Task::Grant));
    }

    fn key(&self) -> u128 {
        let parts = [self.waiting, self.grants, self.called, self.went_on];
        parts.into_iter().fold(0, |packed, part| packed << 8 | u128::from(part))
    }

    fn stuck(&self, participants: &[Participant; THREADS], i: usize) -> Option<&'static str> {
        let is_lost = participants.iter().any(|participant| participant.is_dead() && participant.says == GRANTED)
            || self.went_on < self.called;
        (participants[i].of == 1 && is_lost).then_some("lost")
    }
}
