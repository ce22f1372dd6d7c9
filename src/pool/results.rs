//! Results in: who leads reads the reports of the workers and hands them over. The protocol is the hub's.

use super::job::Results;
use super::protocol::{PATIENCE, Report};
use super::shared::{Chunk, PoolShared, State, watched};
use crate::messages::codec::{Incoming, Lack};
use crate::ring::RingError;
use crate::sync::Timeout;
use crate::sys::Deadline;
use crate::{CodecError, Sender, TaskError};
use std::sync::PoisonError;
use std::thread::{self, Thread};
use std::time::Duration;

/// A result that came.
struct Found {
    incoming: Incoming,
    behind: usize,
    slot: u32,
    piece: Chunk,
    first: usize,
    count: usize,
    took: Option<u64>,
}

impl PoolShared {
    /// Waits until something is so, by leading or for who leads. `register` has this thread unparked then, and says whether that
    /// makes sense: false when it is so. Gives false when the time is over.
    pub(super) fn drive(&self, register: &dyn Fn(Thread) -> bool, deadline: Option<Deadline>) -> bool {
        if self.refusal().is_some() {
            return !register(thread::current());
        }
        let is_so = loop {
            let mut state = self.lock();
            if state.leader.is_none() {
                state.leader = Some(thread::current().id());
                drop(state);
                let _leading = Leading(self);
                break self.lead(&|| !register(thread::current()), deadline);
            }
            let me = thread::current();
            if !state.waiters.iter().any(|other| other.id() == me.id()) {
                state.waiters.push(me.clone());
            }
            drop(state);
            if !register(me) {
                break true;
            }
            if deadline.is_some_and(Deadline::has_passed) {
                break false;
            }
            match deadline {
                None => thread::park(),
                Some(deadline) => thread::park_timeout(deadline.left()),
            }
            if !register(thread::current()) {
                break true;
            }
        };
        let mut state = self.lock();
        let me = thread::current().id();
        state.waiters.retain(|other| other.id() != me);
        self.hand_on(&mut state);
        is_so
    }

    /// H1.
    pub(super) fn hand_on(&self, state: &mut State) {
        if state.leader.is_none() && state.has_news() {
            match state.waiters.pop() {
                Some(waiter) => waiter.unpark(),
                None => self.keeper.notify_one(),
            }
        }
    }

    fn lead(&self, until: &dyn Fn() -> bool, deadline: Option<Deadline>) -> bool {
        let mut batch = Vec::new();
        let patience = deadline.map_or(Timeout::Never, Timeout::At);
        loop {
            if until() {
                return true;
            }
            match self.read(&mut batch, patience) {
                Ok(()) => self.handle(&mut batch),
                Err(RingError::Timeout) => return until(),
                Err(RingError::NoSpace) if deadline.is_some_and(Deadline::has_passed) => return until(),
                Err(RingError::NoSpace) if !self.gives_up() => thread::sleep(Duration::from_millis(1)),
                Err(RingError::NoSpace) => match self.reports.message_ring().map(|mail| mail.receive_in_part(&watched))
                {
                    // Its front says whose it is.
                    Ok(Ok(incoming)) if !incoming.value().is_empty() => self.handle(&mut vec![incoming]),
                    Ok(Err(RingError::NotNow)) => {}
                    _ => self.break_down(UNREADABLE),
                },
                Err(_) => self.break_down(UNREADABLE),
            }
        }
    }

    /// There is no memory for the next report, or no descriptor. Whether that has been so for long.
    fn gives_up(&self) -> bool {
        self.lock().give_up.get_or_insert_with(|| Deadline::after(PATIENCE)).has_passed()
    }

    /// Some reports; waits for one.
    fn read(&self, batch: &mut Vec<Incoming>, patience: Timeout) -> Result<(), RingError> {
        const BATCH: usize = 64;
        let mail = self.reports.message_ring().map_err(|_| RingError::Corrupt)?;
        mail.wait_for_message(patience, &watched)?;
        let short = mail.receive_short(BATCH, &mut |note| {
            batch.push(Incoming::short(*note));
            true
        })?;
        if short == 0 {
            match mail.receive_incoming(Timeout::Now, &mut |_| (), &watched) {
                Ok(incoming) => batch.push(incoming),
                Err(RingError::NotNow) => {}
                Err(stop) => return Err(stop),
            }
        }
        Ok(())
    }

    fn handle(&self, batch: &mut Vec<Incoming>) {
        let mut found = Vec::with_capacity(batch.len());
        let shows_enough = batch.iter().any(Incoming::shows_enough);
        let mut state = self.lock();
        for incoming in batch.drain(..) {
            match parse(incoming) {
                Some(Parsed::Results(incoming, report, behind)) => {
                    let Report::Results { slot, generation, first, count, took } = report else { continue };
                    state.saw(incoming.value().len());
                    let piece = state.slots.get(slot as usize).filter(|place| place.generation == generation);
                    match piece.and_then(|place| place.piece.clone()) {
                        Some(piece) => {
                            let (first, count) = (first as usize, count as usize);
                            found.push(Found { incoming, behind, slot, piece, first, count, took });
                        }
                        None => incoming.discard(),
                    }
                }
                Some(Parsed::Want(incoming, shared, worker)) => {
                    drop(state);
                    self.accept(&mut found);
                    self.handle_want(incoming, shared, worker);
                    state = self.lock();
                }
                Some(Parsed::Other(report)) => {
                    drop(state);
                    self.accept(&mut found);
                    self.handle_other(report);
                    state = self.lock();
                }
                None => {}
            }
        }
        if shows_enough {
            state.give_up = None;
        }
        drop(state);
        self.accept(&mut found);
        self.dispatch();
        self.settle();
    }

    /// Results go to their jobs, and then their tasks are not on their way any more.
    fn accept(&self, found: &mut Vec<Found>) {
        if found.is_empty() {
            return;
        }
        let mut ended = Vec::with_capacity(found.len());
        let serving = self.serve();
        for Found { incoming, behind, slot, piece, first, count, took } in found.drain(..) {
            let has_handles = incoming.has_handles();
            let (from, to) = (piece.from + first, piece.from + first + count);
            if let Some(took) = took {
                self.note_time(&piece, slot, took);
            }
            if let Some(lack) = incoming.lack() {
                incoming.discard();
                piece.job.fail(from, to.min(piece.to), &lacking(lack), self);
            } else if to <= piece.to {
                piece.job.accept(from, count, Results::Message(incoming, behind), self);
            }
            if has_handles && let Ok(mail) = self.reports.message_ring() {
                mail.tidy_fd_store();
            }
            if took.is_some() && to < piece.to {
                let error = TaskError::Decode(CodecError::new("an input before it could not be decoded"));
                piece.job.fail(to, piece.to, &error, self);
            }
            ended.push((slot, first + count, took.is_some()));
        }
        let mut over = Vec::with_capacity(ended.len());
        let mut state = self.lock();
        for (slot, received, is_over) in ended {
            match is_over {
                true => over.extend(state.release(&self.board, slot)),
                false => state.slots[slot as usize].received = received,
            }
        }
        drop(state);
        drop(over); // perhaps the last of their jobs, with the program's results
        drop(serving);
    }

    fn note_time(&self, piece: &Chunk, slot: u32, took: u64) {
        if !self.lock().slowest.wants(took) {
            return;
        }
        let input = piece.job.input(piece.from);
        let index = piece.job.is_map().then_some(piece.from);
        let worker = self.board.entry(slot).worker;
        let mut state = self.lock();
        let worker = state.seats.iter().find(|seat| seat.worker == worker).map_or(0, |seat| seat.pid);
        state.slowest.add(took, index, piece.to - piece.from, worker, input);
    }

    #[cold]
    fn handle_other(&self, report: Report) {
        match report {
            Report::Died { seat, worker } => self.bury(seat as usize, worker),
            Report::NotReady { worker, why } => {
                if self.lock().seats.iter().any(|seat| seat.worker == worker) {
                    self.break_down(&format!("the initializer failed: {why}"));
                }
            }
            Report::Results { .. } | Report::Wants { .. } | Report::Look => {}
        }
    }

    /// A worker asks for a shared value, by a pipe that cannot always be had.
    #[cold]
    fn handle_want(&self, incoming: Incoming, shared: u64, worker: u32) {
        let job = self.lock().shared.get(&shared).cloned();
        let lack = incoming.lack();
        let to = match incoming.decode::<(Report, Sender<()>)>() {
            Ok((_, to)) => Ok(to),
            Err(error) => {
                let seat = self.lock().seats.iter().position(|seat| seat.worker == worker);
                seat.into_iter().for_each(|seat| self.board.sheet(seat).refuse(shared));
                Err(lack.map_or(error, |_| CodecError::new(NO_DESCRIPTOR)))
            }
        };
        if let Some(job) = job {
            job.want(to);
        }
        if let Ok(mail) = self.reports.message_ring() {
            mail.tidy_fd_store();
        }
    }

    /// Whoever leads looks around.
    pub(super) fn look(&self) {
        if let Ok(mail) = self.desk.1.message_ring() {
            let _ = mail.send_value(&Report::Look, Timeout::Now, &watched);
        }
    }

    /// These threads have what they waited for. One that leads sleeps elsewhere.
    pub(super) fn nudge(&self, threads: &[Thread]) {
        if threads.is_empty() {
            return;
        }
        let leader = self.lock().leader.filter(|leader| *leader != thread::current().id());
        if threads.iter().any(|thread| Some(thread.id()) == leader) {
            self.look();
        }
    }

    /// The keeper's life: leading where nobody else does.
    pub(super) fn keep(&self) {
        let mut state = self.lock();
        loop {
            if state.leader.is_none() && state.has_news() {
                state.leader = Some(thread::current().id());
                drop(state);
                let leading = Leading(self);
                self.lead(&|| !self.lock().has_news(), None);
                drop(leading);
                state = self.lock();
            } else if state.crew_is_gone && state.is_done() {
                state.keeper_is_gone = true;
                drop(state);
                self.caller.notify_one();
                return self.over.notify_all();
            } else {
                state = self.keeper.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// Who leads, until it does not any more, also by a panic.
struct Leading<'a>(&'a PoolShared);

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        self.0.lock().leader = None;
    }
}

const NO_DESCRIPTOR: &str = "no descriptor is left for the memory of a handle";
const UNREADABLE: &str = "the reports of its workers cannot be read";

fn lacking(lack: Lack) -> TaskError {
    match lack {
        Lack::Memory => TaskError::NoSpace,
        Lack::Descriptors => TaskError::Decode(CodecError::new(NO_DESCRIPTOR)),
    }
}

enum Parsed {
    /// With its front, and how long that is.
    Results(Incoming, Report, usize),
    Want(Incoming, u64, u32),
    Other(Report),
}

fn parse(incoming: Incoming) -> Option<Parsed> {
    let length = incoming.value().len();
    match postcard::take_from_bytes::<Report>(incoming.value()).map(|(report, rest)| (report, length - rest.len())) {
        Ok((report @ Report::Results { .. }, behind)) => Some(Parsed::Results(incoming, report, behind)),
        Ok((Report::Wants { shared, worker }, _)) => Some(Parsed::Want(incoming, shared, worker)),
        Ok((report, _)) => Some(Parsed::Other(report)),
        Err(_) => {
            incoming.discard();
            None
        }
    }
}
