//! What becomes of the tasks of a worker that has ended.

use super::job::Results;
use super::protocol::Report;
use super::shared::{Chunk, End, Phase, PoolShared, watched};
use super::task_table::State as Step;
use crate::TaskError;
use crate::sync::Timeout;

impl PoolShared {
    /// A worker has ended; the leader is to deal with that behind all that it reported.
    pub(super) fn tell_death(&self, seat: usize, end: End) {
        let mut state = self.lock();
        let worker = state.seats[seat].worker;
        state.seats[seat].process = None;
        if !matches!(state.phase, Phase::Running | Phase::Closed) {
            state.seats[seat].settle(self.board.sheet(seat).counts());
            return;
        }
        state.seats[seat].end = Some(end);
        state.deaths += 1;
        self.hand_on(&mut state);
        drop(state);
        if let Ok(mail) = self.desk.1.message_ring() {
            let _ = mail.send_value(&Report::Died { seat: seat as u32, worker }, Timeout::Never, &watched);
        }
    }

    /// A worker has ended, and all that it had reported is dealt with.
    pub(super) fn bury(&self, seat: usize, worker: u32) {
        const MOST_FAILURES: usize = 10;
        let mut state = self.lock();
        // B4: the seat is taken again only when its end is away. That of a pool that was ended meanwhile is.
        let place = state.seats.get(seat).filter(|place| place.worker == worker);
        let Some(end) = place.and_then(|place| place.end.clone()) else { return };
        state.deaths = state.deaths.saturating_sub(1);
        state.in_hand += 1;
        let pid = state.seats[seat].pid;
        let sheet = self.board.sheet(seat);
        let was_ready = sheet.counts().ready_at != 0;
        let mut lost = Vec::new();
        for slot in 0..state.slots.len() as u32 {
            let place = &state.slots[slot as usize];
            let entry = self.board.entry(slot);
            let is_its = place.piece.is_some() && entry.generation == place.generation && entry.worker == worker;
            if is_its && matches!(entry.state, Step::Claimed | Step::Begun | Step::Ended | Step::Overdue) {
                let received = place.received;
                if entry.state == Step::Claimed {
                    // Unless somebody else has it, who found it in the ring.
                    if self.take_back(slot, entry)
                        && let Some(piece) = state.release(&self.board, slot)
                    {
                        state.put_back(piece);
                    }
                } else if let Some(piece) = state.release(&self.board, slot) {
                    lost.push((piece, received, entry.state == Step::Overdue));
                }
            }
        }
        // Without a task, and nobody told it to end.
        let gave_up =
            end.code == 0 && lost.is_empty() && self.plan.most_tasks.is_none() && state.phase == Phase::Running;
        state.failures = if was_ready && !gave_up { 0 } else { state.failures + 1 };
        let by_itself = !was_ready && end.code >= 0 && self.plan.initializer.is_some();
        let is_hopeless = by_itself || state.failures > MOST_FAILURES + 2 * self.plan.processes;
        drop(state);
        let serving = self.serve();
        for (piece, received, overdue) in lost {
            self.bury_task(piece, received, overdue, seat, pid, &end);
        }
        drop(serving);
        let mut state = self.lock();
        state.seats[seat].settle(sheet.counts());
        state.in_hand -= 1;
        drop(state);
        if is_hopeless {
            let why = match &end.panic {
                Some(panic) => panic.to_string(),
                None if gave_up => {
                    "no worker can take the next task: there is no memory or no descriptor for it, or it is damaged"
                        .into()
                }
                None => format!("the workers end before they have done anything, the last with {}", end.code),
            };
            self.break_down(&why);
        }
        self.bell.notify();
    }

    /// Its items that have a result are done, the one that was being worked at is lost, the others are to be run.
    fn bury_task(&self, piece: Chunk, received: usize, overdue: bool, seat: usize, pid: u32, end: &End) {
        let Chunk { job, from, to, losses } = piece;
        let progress = self.board.sheet(seat).progress();
        let (kept, base, begun) = (progress.kept as usize, progress.base as usize, progress.begun as usize);
        let done = kept.max(received).min(to - from);
        if kept.min(to - from) > received && base <= received {
            let scratch = self.board.sheet(seat).scratch();
            job.accept(from + received, done - received, Results::Scratch(&scratch, received - base), self);
        }
        let mut next = from + done;
        if begun > done && next < to {
            let error = match &end.panic {
                _ if overdue => TaskError::Timeout,
                Some(panic) => panic.clone(),
                None => TaskError::WorkerDied { pid, exit_code: end.code, index: None },
            };
            if !overdue && losses < self.plan.retries {
                self.lock().put_back(Chunk { job: job.clone(), from: next, to: next + 1, losses: losses + 1 });
            } else {
                job.fail(next, next + 1, &error, self);
            }
            next += 1;
        }
        if next < to {
            self.lock().put_back(Chunk { job, from: next, to, losses: 0 });
        }
    }
}
