//! Tasks out to the workers, and what is taken back.

use super::job::Job;
use super::shared::{Chunk, Phase, PoolShared, watched};
use super::task_table::{Entry, State as Step};
use crate::TaskError;
use crate::messages::codec::Encoded;
use crate::messages::codec::SendFailure;
use crate::messages::record::Record;
use crate::ring::RingError;
use crate::sync::Timeout;
use std::collections::VecDeque;
use std::sync::Arc;

fn same(one: &Arc<dyn Job>, other: &Arc<dyn Job>) -> bool {
    std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other))
}

impl PoolShared {
    /// Sends as many tasks as have room.
    pub(super) fn dispatch(&self) {
        const BATCH: usize = 64;
        if self.is_served_here() {
            return; // this very thread does it, further up, and sends what there is then
        }
        loop {
            let mut over = Vec::new();
            let mut state = self.lock();
            let room = state.window(self.plan.processes).saturating_sub(state.in_flight()).min(BATCH);
            let mut sent = Vec::new();
            while sent.len() < room
                && !state.free.is_empty()
                && let Some(piece) = state.take_piece(&mut over)
                && let Some(slot) = state.free.pop()
            {
                let place = &mut state.slots[slot as usize];
                place.piece = Some(piece.clone());
                self.board.set(slot, place.generation, Step::Queued);
                sent.push((slot, place.generation, piece));
            }
            let was_refused = state.is_refused;
            if sent.is_empty() {
                state.is_refused &= !state.backlog.is_empty();
                drop(state);
                return; // and what is over goes
            }
            drop(state);
            drop(over);
            if !self.send(sent) {
                return;
            }
            if was_refused {
                self.lock().is_refused = false;
            }
        }
    }

    /// False: there is no room for more now.
    fn send(&self, tasks: Vec<(u32, u32, Chunk)>) -> bool {
        let Ok(mail) = self.tasks.message_ring() else { return false };
        let mut notes = Vec::with_capacity(tasks.len());
        let mut noted = Vec::with_capacity(tasks.len());
        let mut tasks = tasks.into_iter();
        let mut refused = None;
        let serving = self.serve();
        for (slot, generation, piece) in tasks.by_ref() {
            let mut note = Record::default();
            let encoded = piece.job.encode(slot, generation, piece.from, piece.to, &mut note);
            let kept = encoded.and_then(|mut encoded| {
                let custody = encoded.as_mut().map(Encoded::keep_handles).transpose()?.flatten();
                Ok((encoded, custody))
            });
            match kept {
                Ok((None, _)) => {
                    notes.push(note);
                    noted.push(slot);
                }
                Ok((Some(encoded), custody)) => {
                    let mut state = self.lock();
                    state.saw(encoded.length());
                    state.slots[slot as usize].custody = custody; // before anybody can say that it was taken
                    drop(state);
                    let was_empty = !mail.has_messages();
                    match mail.send_encoded(encoded, Timeout::Now, &watched) {
                        Ok(()) => {}
                        Err(SendFailure::Ring(stop)) => {
                            refused = Some((slot, stop == RingError::NoSpace && was_empty));
                            break;
                        }
                        Err(SendFailure::Codec(error)) => self.fail_slot(slot, TaskError::Encode(error)),
                    }
                }
                Err(error) => self.fail_slot(slot, TaskError::Encode(error)),
            }
        }
        drop(serving);
        let mut left: Vec<u32> = refused.iter().map(|(slot, _)| *slot).collect();
        left.extend(tasks.map(|(slot, ..)| slot));
        let mut from = 0;
        while from < notes.len() {
            match mail.send_many(&notes[from..], Timeout::Now, &watched) {
                Ok(sent) => from += sent,
                Err(_) => break,
            }
        }
        left.splice(0..0, noted.drain(from..));
        if left.is_empty() {
            return true;
        }
        // They go to the front again. Where nothing is in that could make room when it is taken, there is no room at all.
        let mut state = self.lock();
        let release = |slot| Some((slot, state.release(&self.board, slot)?));
        let pieces: Vec<_> = left.into_iter().rev().filter_map(release).collect();
        let hopeless = refused.filter(|(_, alone)| *alone && !mail.has_messages()).map(|(slot, _)| slot);
        let mut failed = None;
        for (slot, piece) in pieces {
            match hopeless == Some(slot) {
                true => failed = Some(piece),
                false => state.put_back(piece),
            }
        }
        state.in_hand += usize::from(failed.is_some());
        let is_news = failed.is_none() && !std::mem::replace(&mut state.is_refused, failed.is_none());
        drop(state);
        if is_news {
            self.bell.notify(); // the crew tries again
        }
        if let Some(piece) = failed {
            self.fail(&piece, &TaskError::NoSpace);
        }
        hopeless.is_some()
    }

    /// Tries again to send what had no room. Whether there still is some.
    pub(super) fn try_again(&self) -> bool {
        let is_refused = || self.lock().is_refused;
        if is_refused() {
            self.dispatch();
        }
        is_refused()
    }

    fn fail_slot(&self, slot: u32, error: TaskError) {
        let mut state = self.lock();
        let piece = state.release(&self.board, slot);
        state.in_hand += usize::from(piece.is_some());
        drop(state);
        if let Some(piece) = piece {
            self.fail(&piece, &error);
        }
    }

    /// A piece that was in hand has this error.
    fn fail(&self, piece: &Chunk, error: &TaskError) {
        let serving = self.serve();
        piece.job.fail(piece.from, piece.to, error, self);
        drop(serving);
        self.lock().in_hand -= 1;
        self.settle();
    }

    /// B2: a task that was not begun. False: it was taken meanwhile.
    pub(super) fn take_back(&self, slot: u32, entry: Entry) -> bool {
        self.board.change(slot, entry, Entry { state: Step::Free, ..entry })
    }

    /// Takes back what nobody cares for any more.
    pub(super) fn sweep(&self) {
        self.take_back_all(&|piece| piece.job.is_over());
    }

    /// The items of a job that were not begun will not be. Whether there were any.
    pub(super) fn cancel(&self, job: &Arc<dyn Job>) -> bool {
        self.take_back_all(&|piece| same(&piece.job, job))
    }

    fn take_back_all(&self, which: &dyn Fn(&Chunk) -> bool) -> bool {
        if !self.is_owner() {
            return false;
        }
        let mut over = Vec::new(); // to be dropped without the lock
        let mut state = self.lock();
        let (taken, left) = state.backlog.drain(..).partition::<VecDeque<_>, _>(|stock| which(&stock.piece));
        state.backlog = left;
        let mut cancelled = !taken.is_empty();
        for slot in 0..state.slots.len() as u32 {
            let place = &state.slots[slot as usize];
            if !place.piece.as_ref().is_some_and(which) {
                continue;
            }
            loop {
                let entry = self.board.entry(slot);
                if !matches!(entry.state, Step::Queued | Step::Claimed) {
                    break;
                }
                if self.take_back(slot, entry) {
                    over.extend(state.release(&self.board, slot));
                    cancelled = true;
                    break;
                }
            }
        }
        let is_idle = state.leader.is_some() && !state.is_busy();
        drop(state);
        drop((taken, over));
        if is_idle {
            self.look();
        }
        self.settle();
        cancelled
    }

    /// A closed pool that has nothing to do any more lets its workers go.
    pub(super) fn settle(&self) {
        let state = self.lock();
        if state.phase == Phase::Closed && state.is_done() {
            if let Ok(mail) = self.tasks.message_ring() {
                mail.close();
            }
            drop(state);
            self.bell.notify();
        }
    }
}
