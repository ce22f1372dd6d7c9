//! What a pool is in the program's own process: tasks that wait, tasks on their way, and who reads the reports.
//!
//! # Protocol
//! Whoever waits for a result *leads*, if nobody else does: it reads the reports of the workers and hands the results over, its
//! own and others'. So one task alone costs two wakes, not three. Where nobody waits and there is something to read, the
//! *keeper* leads, a thread of the pool's; it also runs the callbacks. Who stops leading finds a successor.
//!
//! # Invariants
//! * H1: while tasks are on their way or deaths are not dealt with, somebody leads, or was told to.
//! * H2: one thread leads at a time, and reads reports in their order: all that a worker reported comes before its death.
//! * H3: no lock is held while the program's code runs.
//!
//! # If a process dies here
//! See `board` for a worker. All this is private, and ends with the program.

use super::board::{Board, Counts, Entry, State as Step, next_generation};
use super::insights::{Past, Slowest};
use super::job::{Encoding, Job, Results};
use super::wire::Report;
use crate::process::{Action, Process, StartMethod};
use crate::ring::codec::Incoming;
use crate::ring::note::Note;
use crate::ring::{Company, Failure, Stop};
use crate::sync::Patience;
use crate::sys::poll::Bell;
use crate::sys::{Deadline, process};
use crate::{CodecError, PoolError, Receiver, Sender, TaskError, channel};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread, ThreadId};
use std::time::Duration;

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) type Callback = Box<dyn FnOnce(&Hub) + Send>;

/// What a pool is to be.
pub(super) struct Plan {
    pub(super) processes: usize,
    pub(super) initializer: Option<Action>,
    pub(super) most_tasks: Option<u64>,
    pub(super) method: StartMethod,
    pub(super) name: String,
    pub(super) daemon: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) retries: u32,
    #[cfg(feature = "progress")]
    pub(super) progress: bool,
}

pub(super) struct Hub {
    owner: process::Process,
    pub(super) plan: Plan,
    pub(super) board: Board,
    /// To the workers, and what they are given of it.
    tasks: Sender<()>,
    pub(super) desk: (Receiver<()>, Sender<()>),
    reports: Receiver<()>,
    state: Mutex<State>,
    keeper: Condvar,
    over: Condvar,
    pub(super) bell: Bell,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    Closed,
    Terminated,
    Broken(String),
}

pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) seats: Vec<Seat>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    backlog: VecDeque<Stock>,
    /// Deaths that the leader was not told of yet.
    deaths: usize,
    /// Who leads.
    leader: Option<ThreadId>,
    keeper: Option<ThreadId>,
    /// Who waits, and could lead.
    waiters: Vec<Thread>,
    callbacks: VecDeque<Callback>,
    /// The keeper runs one.
    calling: bool,
    /// How long messages are, at most, lately.
    size: usize,
    /// There was no room for a task.
    is_refused: bool,
    shared: HashMap<u64, Arc<dyn Job>>,
    /// The numbers of shared values that a map has, or is about to have.
    in_use: BTreeSet<u64>,
    next_shared: u64,
    pub(super) slowest: Slowest,
    /// How many workers in a row died before they were ready.
    failures: usize,
    /// Results are being told that they will not come.
    is_ending: bool,
    crew_is_gone: bool,
    keeper_is_gone: bool,
    pub(super) next_worker: u32,
}

/// Where a worker sits.
#[derive(Default)]
pub(super) struct Seat {
    pub(super) worker: u32,
    pub(super) process: Option<Arc<Mutex<Process>>>,
    pub(super) pid: u32,
    pub(super) name: String,
    /// How its last process ended, until the leader has dealt with it.
    pub(super) end: Option<End>,
    pub(super) past: Past,
    /// The sheet is of somebody who is not counted in the past yet.
    pub(super) is_taken: bool,
}

impl Seat {
    /// Nobody ever sat there.
    pub(super) fn empty(&mut self) {
        (self.process, self.is_taken) = (None, false);
    }

    /// What its worker did is in the past now.
    fn settle(&mut self, counts: Counts) {
        self.end = None;
        if std::mem::take(&mut self.is_taken) {
            self.past.add(counts);
        }
    }
}

#[derive(Clone)]
pub(super) struct End {
    pub(super) code: i32,
    /// What it said, where a panic ends the process.
    pub(super) panic: Option<TaskError>,
}

/// A task on its way.
#[derive(Default)]
struct Slot {
    generation: u32,
    piece: Option<Piece>,
    /// So many results have come.
    received: usize,
}

/// Some items of a job.
#[derive(Clone)]
struct Piece {
    job: Arc<dyn Job>,
    from: usize,
    to: usize,
    /// How often it was lost with a worker.
    losses: u32,
}

/// Items of a job that are to be sent, so many at a time.
struct Stock {
    piece: Piece,
    chunk: usize,
}

/// A result that came.
struct Found {
    incoming: Incoming,
    behind: usize,
    slot: u32,
    piece: Piece,
    first: usize,
    count: usize,
    took: Option<u64>,
}

fn watched() -> Company {
    Company::Watched
}

fn same(one: &Arc<dyn Job>, other: &Arc<dyn Job>) -> bool {
    std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other))
}

impl State {
    fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn is_busy(&self) -> bool {
        self.in_flight() > 0 || !self.backlog.is_empty()
    }

    fn has_news(&self) -> bool {
        self.is_busy() || self.deaths > 0
    }

    /// Whether a seat is to be taken again.
    pub(super) fn wants_workers(&self) -> bool {
        match self.phase {
            Phase::Running => true,
            Phase::Closed => self.is_busy(),
            Phase::Terminated | Phase::Broken(_) => false,
        }
    }

    fn check(&self) -> Result<(), TaskError> {
        match &self.phase {
            Phase::Running => Ok(()),
            Phase::Closed | Phase::Terminated => Err(TaskError::PoolClosed),
            Phase::Broken(why) => Err(TaskError::PoolBroken(why.clone())),
        }
    }

    /// As many tasks on their way as have reasonable room.
    fn window(&self, processes: usize) -> usize {
        const ROOM: usize = 32 << 20;
        (ROOM / self.size.max(1)).min(self.slots.len()).max(2 * processes)
    }

    fn saw(&mut self, length: usize) {
        self.size = length.max(self.size - self.size / 16);
    }

    /// The next items to be sent.
    fn take_piece(&mut self) -> Option<Piece> {
        loop {
            let stock = self.backlog.front_mut()?;
            let Piece { job, from, to, losses } = stock.piece.clone();
            if job.is_over() {
                self.backlog.pop_front();
                continue;
            }
            let end = to.min(from.saturating_add(stock.chunk));
            stock.piece.from = end;
            if end == to {
                self.backlog.pop_front();
            }
            return Some(Piece { job, from, to: end, losses });
        }
    }

    fn put_back(&mut self, piece: Piece) {
        let chunk = piece.to - piece.from;
        self.backlog.push_front(Stock { piece, chunk });
    }

    /// The task is not on its way any more.
    fn release(&mut self, board: &Board, slot: u32) -> Option<Piece> {
        let place = self.slots.get_mut(slot as usize)?;
        let piece = place.piece.take()?;
        place.generation = next_generation(place.generation);
        place.received = 0;
        board.set(slot, place.generation, Step::Free);
        self.free.push(slot);
        Some(piece)
    }
}

impl Hub {
    pub(super) fn new(plan: Plan) -> Result<Self, PoolError> {
        let board = Board::new(plan.processes)?;
        let (tasks, theirs) = channel(4 * board.tasks())?;
        let (reports_in, reports) = channel(4 * board.tasks())?;
        let bell = Bell::new().map_err(|error| PoolError::Segment(error.into()))?;
        let seats = std::iter::repeat_with(Seat::default).take(plan.processes).collect();
        let state = State {
            phase: Phase::Running,
            seats,
            slots: std::iter::repeat_with(Slot::default).take(board.tasks()).collect(),
            free: (0..board.tasks() as u32).rev().collect(),
            backlog: VecDeque::new(),
            deaths: 0,
            leader: None,
            keeper: None,
            waiters: Vec::new(),
            callbacks: VecDeque::new(),
            calling: false,
            size: 0,
            is_refused: false,
            shared: HashMap::new(),
            in_use: BTreeSet::new(),
            next_shared: 0,
            slowest: Slowest::default(),
            failures: 0,
            is_ending: false,
            crew_is_gone: false,
            keeper_is_gone: false,
            next_worker: 0,
        };
        Ok(Hub {
            owner: process::Process::current(),
            plan,
            board,
            tasks,
            desk: (theirs, reports_in),
            reports,
            state: Mutex::new(state),
            keeper: Condvar::new(),
            over: Condvar::new(),
            bell,
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// A fork child has a copy of all this, and no workers.
    pub(super) fn is_owner(&self) -> bool {
        self.owner == process::Process::current()
    }

    pub(super) fn check(&self) -> Result<(), TaskError> {
        if self.is_owner() { self.lock().check() } else { Err(TaskError::PoolClosed) }
    }

    /// Items of a job are to be run, so many at a time. If the caller waits for them at once, it can lead.
    pub(super) fn submit(
        &self,
        job: Arc<dyn Job>,
        (from, to): (usize, usize),
        chunk: usize,
        waits: bool,
    ) -> Result<(), TaskError> {
        if !self.is_owner() {
            return Err(TaskError::PoolClosed);
        }
        let mut state = self.lock();
        state.check()?;
        let was_busy = state.is_busy();
        state.backlog.push_back(Stock { piece: Piece { job, from, to, losses: 0 }, chunk });
        drop(state);
        if !was_busy && self.plan.timeout.is_some() {
            self.bell.ring(); // somebody has to look at the time
        }
        self.dispatch();
        if !waits {
            self.hand_on(&mut self.lock());
        }
        Ok(())
    }

    /// Sends as many tasks as have room.
    fn dispatch(&self) {
        const BATCH: usize = 64;
        loop {
            let mut state = self.lock();
            let room = state.window(self.plan.processes).saturating_sub(state.in_flight()).min(BATCH);
            let mut sent = Vec::new();
            while sent.len() < room
                && !state.free.is_empty()
                && let Some(piece) = state.take_piece()
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
                return;
            }
            drop(state);
            if !self.send(sent) {
                return;
            }
            if was_refused {
                self.lock().is_refused = false;
            }
        }
    }

    /// False: there is no room for more now.
    fn send(&self, tasks: Vec<(u32, u32, Piece)>) -> bool {
        let Ok(mail) = self.tasks.mail() else { return false };
        let mut notes = Vec::with_capacity(tasks.len());
        let mut noted = Vec::with_capacity(tasks.len());
        let mut tasks = tasks.into_iter();
        let mut refused = None;
        for (slot, generation, piece) in tasks.by_ref() {
            let mut note = Note::default();
            let encode = || piece.job.encode(slot, generation, piece.from, piece.to, &mut note);
            match catch_unwind(AssertUnwindSafe(encode)).unwrap_or_else(panicked) {
                Ok(None) => {
                    notes.push(note);
                    noted.push(slot);
                }
                Ok(Some(encoded)) => {
                    self.lock().saw(encoded.length());
                    let was_empty = !mail.has_messages();
                    match mail.send_encoded(encoded, Patience::Try, &watched) {
                        Ok(()) => {}
                        Err(Failure::Stop(stop)) => {
                            refused = Some((slot, stop == Stop::NoSpace && was_empty));
                            break;
                        }
                        Err(Failure::Codec(error)) => self.fail_slot(slot, TaskError::Encode(error)),
                    }
                }
                Err(error) => self.fail_slot(slot, TaskError::Encode(error)),
            }
        }
        let mut left: Vec<u32> = refused.iter().map(|(slot, _)| *slot).collect();
        left.extend(tasks.map(|(slot, ..)| slot));
        let mut from = 0;
        while from < notes.len() {
            match mail.send_many(&notes[from..], Patience::Try, &watched) {
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
        let is_news = failed.is_none() && !std::mem::replace(&mut state.is_refused, failed.is_none());
        drop(state);
        if is_news {
            self.bell.ring(); // the crew tries again
        }
        if let Some(piece) = failed {
            piece.job.fail(piece.from, piece.to, &TaskError::NoSpace, self);
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
        let piece = self.lock().release(&self.board, slot);
        if let Some(piece) = piece {
            piece.job.fail(piece.from, piece.to, &error, self);
        }
        self.settle();
    }

    /// A closed pool that has nothing to do any more lets its workers go.
    fn settle(&self) {
        let state = self.lock();
        if state.phase == Phase::Closed && !state.is_busy() {
            if let Ok(mail) = self.tasks.mail() {
                mail.close();
            }
            drop(state);
            self.bell.ring();
        }
    }

    /// Waits until something is so, by leading or for who leads. `register` has this thread unparked then, and says whether that
    /// makes sense: false when it is so. Gives false when the time is over.
    pub(super) fn drive(&self, register: &dyn Fn(Thread) -> bool, deadline: Option<Deadline>) -> bool {
        if !self.is_owner() {
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
    fn hand_on(&self, state: &mut State) {
        if state.leader.is_none() && state.has_news() {
            match state.waiters.pop() {
                Some(waiter) => waiter.unpark(),
                None => self.keeper.notify_one(),
            }
        }
    }

    fn lead(&self, until: &dyn Fn() -> bool, deadline: Option<Deadline>) -> bool {
        let mut batch = Vec::new();
        let patience = deadline.map_or(Patience::Forever, Patience::Until);
        loop {
            if until() {
                return true;
            }
            match self.read(&mut batch, patience) {
                Ok(()) => self.handle(&mut batch),
                Err(Stop::Timeout) => return until(),
                Err(Stop::NoSpace) => thread::sleep(Duration::from_millis(1)), // the report stays
                Err(_) => self.break_down("the reports of its workers cannot be read"),
            }
        }
    }

    /// Some reports; waits for one.
    fn read(&self, batch: &mut Vec<Incoming>, patience: Patience) -> Result<(), Stop> {
        const BATCH: usize = 64;
        let mail = self.reports.mail().map_err(|_| Stop::Corrupt)?;
        mail.wait_for_message(patience, &watched)?;
        let short = mail.receive_short(BATCH, &mut |note| {
            batch.push(Incoming::short(*note));
            true
        })?;
        if short == 0 {
            match mail.receive_incoming(Patience::Try, &mut |_| (), &watched) {
                Ok(incoming) => batch.push(incoming),
                Err(Stop::NotNow) => {}
                Err(stop) => return Err(stop),
            }
        }
        Ok(())
    }

    fn handle(&self, batch: &mut Vec<Incoming>) {
        let mut found = Vec::with_capacity(batch.len());
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
                Some(Parsed::Other(report)) => {
                    drop(state);
                    self.accept(&mut found);
                    self.handle_other(report);
                    state = self.lock();
                }
                None => {}
            }
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
        for Found { incoming, behind, slot, piece, first, count, took } in found.drain(..) {
            let has_handles = incoming.has_handles();
            let (from, to) = (piece.from + first, piece.from + first + count);
            if let Some(took) = took {
                self.note_time(&piece, slot, took);
            }
            if to <= piece.to {
                piece.job.accept(from, count, Results::Message(incoming, behind), self);
            }
            if has_handles && let Ok(mail) = self.reports.mail() {
                mail.tidy_satchel();
            }
            if took.is_some() && to < piece.to {
                let error = TaskError::Decode(CodecError("an input before it could not be decoded".into()));
                piece.job.fail(to, piece.to, &error, self);
            }
            ended.push((slot, first + count, took.is_some()));
        }
        let mut state = self.lock();
        for (slot, received, is_over) in ended {
            match is_over {
                true => drop(state.release(&self.board, slot)),
                false => state.slots[slot as usize].received = received,
            }
        }
    }

    fn note_time(&self, piece: &Piece, slot: u32, took: u64) {
        if !self.lock().slowest.wants(took) {
            return;
        }
        let input = catch_unwind(AssertUnwindSafe(|| piece.job.input(piece.from))).unwrap_or_default();
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
            Report::Wants { shared, to } => {
                let job = self.lock().shared.get(&shared).cloned();
                if let Some(job) = job {
                    job.want(*to);
                }
                if let Ok(mail) = self.reports.mail() {
                    mail.tidy_satchel();
                }
            }
            Report::Results { .. } | Report::Look => {}
        }
    }

    /// A worker has ended, and all that it had reported is dealt with.
    fn bury(&self, seat: usize, worker: u32) {
        const MOST_FAILURES: usize = 10;
        let mut state = self.lock();
        // B4: the seat is taken again only when its end is away. That of a pool that was ended meanwhile is.
        let place = state.seats.get(seat).filter(|place| place.worker == worker);
        let Some(end) = place.and_then(|place| place.end.clone()) else { return };
        state.deaths = state.deaths.saturating_sub(1);
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
        for (piece, received, overdue) in lost {
            self.bury_task(piece, received, overdue, seat, pid, &end);
        }
        let mut state = self.lock();
        state.seats[seat].settle(sheet.counts());
        drop(state);
        if is_hopeless {
            let why = match &end.panic {
                Some(panic) => panic.to_string(),
                None => format!("the workers end before they have done anything, the last with {}", end.code),
            };
            self.break_down(&why);
        }
        self.bell.ring();
    }

    /// Its items that have a result are done, the one that was being worked at is lost, the others are to be run.
    fn bury_task(&self, piece: Piece, received: usize, overdue: bool, seat: usize, pid: u32, end: &End) {
        let Piece { job, from, to, losses } = piece;
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
                self.lock().put_back(Piece { job: job.clone(), from: next, to: next + 1, losses: losses + 1 });
            } else {
                job.fail(next, next + 1, &error, self);
            }
            next += 1;
        }
        if next < to {
            self.lock().put_back(Piece { job, from: next, to, losses: 0 });
        }
    }

    /// B2: a task that was not begun. False: it was taken meanwhile.
    fn take_back(&self, slot: u32, entry: Entry) -> bool {
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

    fn take_back_all(&self, which: &dyn Fn(&Piece) -> bool) -> bool {
        if !self.is_owner() {
            return false;
        }
        let mut state = self.lock();
        let before = state.backlog.len();
        state.backlog.retain(|stock| !which(&stock.piece));
        let mut cancelled = before != state.backlog.len();
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
                    drop(state.release(&self.board, slot));
                    cancelled = true;
                    break;
                }
            }
        }
        let is_idle = state.leader.is_some() && !state.is_busy();
        drop(state);
        if is_idle {
            self.look();
        }
        self.settle();
        cancelled
    }

    /// Whoever leads looks around.
    fn look(&self) {
        if let Ok(mail) = self.desk.1.mail() {
            let _ = mail.send_value(&Report::Look, Patience::Try, &watched);
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

    /// A callback is to be run by the keeper.
    pub(super) fn call_back(&self, callback: Callback) {
        let mut state = self.lock();
        if state.keeper_is_gone {
            drop(state);
            return callback(self);
        }
        state.callbacks.push_back(callback);
        self.keeper.notify_one();
        // One that leads sleeps elsewhere.
        let leads =
            state.leader.is_some() && state.leader == state.keeper && state.leader != Some(thread::current().id());
        drop(state);
        if leads {
            self.look();
        }
    }

    /// A value to be shared by the tasks of a job, by this number, until it is given up.
    /// And the oldest that is still in use.
    pub(super) fn share(&self) -> (u64, u64) {
        let mut state = self.lock();
        state.next_shared += 1;
        let number = state.next_shared;
        state.in_use.insert(number);
        (number, state.in_use.first().copied().unwrap_or(number))
    }

    pub(super) fn offer(&self, shared: u64, job: Arc<dyn Job>) {
        self.lock().shared.insert(shared, job);
    }

    pub(super) fn withdraw(&self, shared: u64) {
        let mut state = self.lock();
        state.in_use.remove(&shared);
        let job = state.shared.remove(&shared);
        drop(state);
        drop(job); // with the program's inputs
    }

    pub(super) fn close(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Running {
            state.phase = Phase::Closed;
        }
        drop(state);
        self.settle();
    }

    pub(super) fn terminate(&self) {
        self.end(Phase::Terminated, &TaskError::Cancelled);
    }

    pub(super) fn break_down(&self, why: &str) {
        self.end(Phase::Broken(why.to_owned()), &TaskError::PoolBroken(why.to_owned()));
    }

    /// No task has a result any more, and no worker lives.
    fn end(&self, phase: Phase, error: &TaskError) {
        let mut state = self.lock();
        if !matches!(state.phase, Phase::Running | Phase::Closed) {
            if phase == Phase::Terminated {
                state.phase = phase; // of a broken one
            }
            return;
        }
        state.phase = phase;
        state.is_ending = true;
        let mut pieces: Vec<_> =
            (0..state.slots.len() as u32).filter_map(|slot| state.release(&self.board, slot)).collect();
        pieces.extend(state.backlog.drain(..).map(|stock| stock.piece));
        let workers: Vec<_> = state.seats.iter().filter_map(|seat| seat.process.clone()).collect();
        // Nobody deals with these deaths any more.
        state.deaths = 0;
        for (at, seat) in state.seats.iter_mut().enumerate().filter(|(_, seat)| seat.end.is_some()) {
            seat.settle(self.board.sheet(at).counts());
        }
        drop(state);
        for worker in workers {
            let _ = locked(&worker).kill();
        }
        for piece in pieces {
            piece.job.fail(piece.from, piece.to, error, self);
        }
        self.lock().is_ending = false;
        self.look();
        self.bell.ring();
        self.keeper.notify_one();
        self.over.notify_all();
    }

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
        if let Ok(mail) = self.desk.1.mail() {
            let _ = mail.send_value(&Report::Died { seat: seat as u32, worker }, Patience::Forever, &watched);
        }
    }

    /// The keeper's life: callbacks, and leading where nobody else does.
    pub(super) fn keep(&self) {
        let mut state = self.lock();
        state.keeper = Some(thread::current().id());
        loop {
            if let Some(callback) = state.callbacks.pop_front() {
                state.calling = true;
                drop(state);
                callback(self);
                state = self.lock();
                state.calling = false;
            } else if state.leader.is_none() && state.has_news() {
                state.leader = Some(thread::current().id());
                drop(state);
                let until = || {
                    let state = self.lock();
                    !state.callbacks.is_empty() || !state.has_news()
                };
                let leading = Leading(self);
                self.lead(&until, None);
                drop(leading);
                state = self.lock();
                if !state.callbacks.is_empty() {
                    // Who waits may lead meanwhile.
                    if let Some(waiter) = state.waiters.pop() {
                        waiter.unpark();
                    }
                }
            } else if state.crew_is_gone && !state.is_busy() && !state.is_ending {
                state.keeper_is_gone = true;
                drop(state);
                self.over.notify_all();
                return;
            } else {
                state = self.keeper.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// There are no workers, and will be none.
    pub(super) fn crew_has_gone(&self) {
        let mut state = self.lock();
        state.crew_is_gone = true;
        let waiters = std::mem::take(&mut state.waiters);
        drop(state);
        waiters.iter().for_each(Thread::unpark);
        self.look();
        self.keeper.notify_one();
        self.over.notify_all();
    }

    /// Waits until all is over. In a callback, for all but the callbacks.
    pub(super) fn wait_for_end(&self, keeper: thread::ThreadId) {
        if thread::current().id() == keeper {
            // Nobody else may be there to lead.
            self.drive(&|_| !self.lock().crew_is_gone, None);
            return;
        }
        let mut state = self.lock();
        while !(state.crew_is_gone && state.keeper_is_gone) {
            state = self.over.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    #[cfg(feature = "progress")]
    pub(super) fn progress(&self, items: Option<usize>) -> Option<super::progress::Progress> {
        self.plan.progress.then(|| super::progress::Progress::new(items))
    }
}

/// Who leads, until it does not any more, also by a panic.
struct Leading<'a>(&'a Hub);

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        self.0.lock().leader = None;
    }
}

fn panicked(payload: Box<dyn std::any::Any + Send>) -> Encoding {
    std::mem::forget(payload); // its destructor may panic too
    Err(CodecError("a panic in the encoding".into()))
}

enum Parsed {
    /// With its front, and how long that is.
    Results(Incoming, Report, usize),
    Other(Report),
}

fn parse(incoming: Incoming) -> Option<Parsed> {
    const RESULTS: u8 = 0; // the first of the variants
    if incoming.value().first() != Some(&RESULTS) {
        return incoming.unpack().ok().map(Parsed::Other);
    }
    let length = incoming.value().len();
    match postcard::take_from_bytes::<Report>(incoming.value()).map(|(report, rest)| (report, length - rest.len())) {
        Ok((report, behind)) => Some(Parsed::Results(incoming, report, behind)),
        Err(_) => {
            incoming.discard();
            None
        }
    }
}
