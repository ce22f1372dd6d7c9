//! What a pool is in the program's own process: tasks that wait, tasks on their way, and who reads the reports.
//!
//! # Protocol
//! Whoever waits for a result *leads*, if nobody else does: it reads the reports of the workers and hands the results over, its
//! own and others'. So one task alone costs two wakes, not three. Where nobody waits and there is something to read, the
//! *keeper* leads, a thread of the pool's. Who stops leading finds a successor. Callbacks run in a thread of their own, the *caller*,
//! which is there from the first on: however long they take, results are read.
//!
//! # Invariants
//! * H1: while tasks are on their way or deaths are not dealt with, somebody leads, or was told to.
//! * H2: one thread leads at a time, and reads reports in their order: all that a worker reported comes before its death.
//! * H3: no lock is held while the program's code runs: its encoding and decoding, its destructors, callbacks and wakers.
//! * H4: such code, where the pool runs it, does not wait for the pool: who leads or sends would wait for itself. A callback may,
//!   for nobody else waits for its thread; results that have callbacks are completed there then (`promise`).
//!
//! # If a process dies here
//! See `board` for a worker. All this is private, and ends with the program.

use super::insights::{Past, Slowest};
use super::job::Job;
use super::task_table::{Board, Counts, State as Step, next_generation};
use crate::entry::BoundCall;
use crate::process::{Process, StartMethod};
use crate::ring::Peers;
use crate::segment::transfer::InFlightGuard;
use crate::sys::poll::EventFd;
use crate::sys::{Deadline, process_id};
use crate::{PoolError, Receiver, Sender, TaskError, channel};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, Thread, ThreadId};
use std::time::Duration;

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    crate::error::locked(mutex)
}

pub(super) type Callback = Box<dyn FnOnce(&PoolShared) + Send>;

/// What a pool is to be.
pub(super) struct Plan {
    pub(super) processes: usize,
    pub(super) initializer: Option<BoundCall>,
    pub(super) most_tasks: Option<u64>,
    pub(super) method: StartMethod,
    pub(super) name: String,
    pub(super) daemon: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) retries: u32,
    #[cfg(feature = "progress")]
    pub(super) progress: bool,
}

pub(super) struct PoolShared {
    pub(super) owner: process_id::ProcessId,
    pub(super) plan: Plan,
    pub(super) board: Board,
    /// To the workers, and what they are given of it.
    pub(super) tasks: Sender<()>,
    pub(super) desk: (Receiver<()>, Sender<()>),
    pub(super) reports: Receiver<()>,
    pub(super) state: Mutex<State>,
    pub(super) keeper: Condvar,
    pub(super) caller: Condvar,
    pub(super) over: Condvar,
    pub(super) bell: EventFd,
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
    pub(super) seats: Vec<WorkerSlot>,
    pub(super) slots: Vec<Slot>,
    pub(super) free: Vec<u32>,
    pub(super) backlog: VecDeque<PendingChunks>,
    /// Deaths that the leader was not told of yet.
    pub(super) deaths: usize,
    /// Who leads.
    pub(super) leader: Option<ThreadId>,
    /// Who waits, and could lead.
    pub(super) waiters: Vec<Thread>,
    pub(super) callbacks: VecDeque<Callback>,
    /// Runs them.
    pub(super) caller: Option<JoinHandle<()>>,
    /// How long messages are, at most, lately.
    pub(super) size: usize,
    /// There was no room for a task.
    pub(super) is_refused: bool,
    /// Until when a report that cannot be had whole stays where it is.
    pub(super) give_up: Option<Deadline>,
    pub(super) shared: HashMap<u64, Arc<dyn Job>>,
    /// The numbers of shared values that a map has, or is about to have.
    pub(super) in_use: BTreeSet<u64>,
    pub(super) next_shared: u64,
    pub(super) slowest: Slowest,
    /// How many workers in a row died before they were ready.
    pub(super) failures: usize,
    /// So many have tasks in their hands that are neither on their way nor wait: they lost their worker, or cannot be sent.
    pub(super) in_hand: usize,
    /// What the tasks of a pool that was ended left: its workers may still look at it.
    pub(super) left: Vec<(Arc<dyn Job>, Option<InFlightGuard>)>,
    pub(super) crew_is_gone: bool,
    pub(super) keeper_is_gone: bool,
    /// Or never was there.
    pub(super) caller_is_gone: bool,
    pub(super) next_worker: u32,
}

/// Where a worker sits.
#[derive(Default)]
pub(super) struct WorkerSlot {
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

impl WorkerSlot {
    /// Nobody ever sat there.
    pub(super) fn empty(&mut self) {
        (self.process, self.is_taken) = (None, false);
    }

    /// What its worker did is in the past now.
    pub(super) fn settle(&mut self, counts: Counts) {
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
pub(super) struct Slot {
    pub(super) generation: u32,
    pub(super) piece: Option<Chunk>,
    /// The handles in it.
    pub(super) custody: Option<InFlightGuard>,
    /// So many results have come.
    pub(super) received: usize,
}

/// Some items of a job.
#[derive(Clone)]
pub(super) struct Chunk {
    pub(super) job: Arc<dyn Job>,
    pub(super) from: usize,
    pub(super) to: usize,
    /// How often it was lost with a worker.
    pub(super) losses: u32,
}

/// Items of a job that are to be sent, so many at a time.
pub(super) struct PendingChunks {
    pub(super) piece: Chunk,
    pub(super) chunk: usize,
}

pub(super) fn watched() -> Peers {
    Peers::Watched
}

impl State {
    pub(super) fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn is_busy(&self) -> bool {
        self.in_flight() > 0 || !self.backlog.is_empty()
    }

    /// All tasks have come to their end.
    pub(super) fn is_done(&self) -> bool {
        !self.is_busy() && self.in_hand == 0
    }

    pub(super) fn has_news(&self) -> bool {
        self.is_busy() || self.deaths > 0
    }

    /// Whether a seat is to be taken again.
    pub(super) fn wants_workers(&self) -> bool {
        match self.phase {
            Phase::Running => true,
            Phase::Closed => !self.is_done(),
            Phase::Terminated | Phase::Broken(_) => false,
        }
    }

    pub(super) fn check(&self) -> Result<(), TaskError> {
        match &self.phase {
            Phase::Running => Ok(()),
            Phase::Closed | Phase::Terminated => Err(TaskError::PoolClosed),
            Phase::Broken(why) => Err(TaskError::PoolBroken(why.clone())),
        }
    }

    /// As many tasks on their way as have reasonable room.
    pub(super) fn window(&self, processes: usize) -> usize {
        const ROOM: usize = 32 << 20;
        (ROOM / self.size.max(1)).min(self.slots.len()).max(2 * processes)
    }

    pub(super) fn saw(&mut self, length: usize) {
        self.size = length.max(self.size - self.size / 16);
    }

    /// The next items to be sent. What nobody wants any more goes to `over`, to be dropped without the lock.
    pub(super) fn take_piece(&mut self, over: &mut Vec<PendingChunks>) -> Option<Chunk> {
        loop {
            let stock = self.backlog.front_mut()?;
            let Chunk { job, from, to, losses } = stock.piece.clone();
            if job.is_over() {
                over.extend(self.backlog.pop_front());
                continue;
            }
            let end = to.min(from.saturating_add(stock.chunk));
            stock.piece.from = end;
            if end == to {
                self.backlog.pop_front();
            }
            return Some(Chunk { job, from, to: end, losses });
        }
    }

    pub(super) fn put_back(&mut self, piece: Chunk) {
        let chunk = piece.to - piece.from;
        self.backlog.push_front(PendingChunks { piece, chunk });
    }

    /// The task is not on its way any more.
    pub(super) fn release(&mut self, board: &Board, slot: u32) -> Option<Chunk> {
        let place = self.slots.get_mut(slot as usize)?;
        let piece = place.piece.take()?;
        place.custody = None;
        place.generation = next_generation(place.generation);
        place.received = 0;
        board.set(slot, place.generation, Step::Free);
        self.free.push(slot);
        Some(piece)
    }
}

impl PoolShared {
    pub(super) fn new(plan: Plan) -> Result<Self, PoolError> {
        let board = Board::new(plan.processes)?;
        let (tasks, theirs) = channel(4 * board.tasks())?;
        let (reports_in, reports) = channel(4 * board.tasks())?;
        let bell = EventFd::new().map_err(|error| PoolError::Segment(error.into()))?;
        let seats = std::iter::repeat_with(WorkerSlot::default).take(plan.processes).collect();
        let state = State {
            phase: Phase::Running,
            seats,
            slots: std::iter::repeat_with(Slot::default).take(board.tasks()).collect(),
            free: (0..board.tasks() as u32).rev().collect(),
            backlog: VecDeque::new(),
            deaths: 0,
            leader: None,
            waiters: Vec::new(),
            callbacks: VecDeque::new(),
            caller: None,
            size: 0,
            is_refused: false,
            give_up: None,
            shared: HashMap::new(),
            in_use: BTreeSet::new(),
            next_shared: 0,
            slowest: Slowest::default(),
            failures: 0,
            in_hand: 0,
            left: Vec::new(),
            crew_is_gone: false,
            keeper_is_gone: false,
            caller_is_gone: true,
            next_worker: 0,
        };
        Ok(PoolShared {
            owner: process_id::ProcessId::current(),
            plan,
            board,
            tasks,
            desk: (theirs, reports_in),
            reports,
            state: Mutex::new(state),
            keeper: Condvar::new(),
            caller: Condvar::new(),
            over: Condvar::new(),
            bell,
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// A fork child has a copy of all this, and no workers.
    pub(super) fn is_owner(&self) -> bool {
        self.owner == process_id::ProcessId::current()
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
        state.backlog.push_back(PendingChunks { piece: Chunk { job, from, to, losses: 0 }, chunk });
        drop(state);
        if !was_busy && self.plan.timeout.is_some() {
            self.bell.notify(); // somebody has to look at the time
        }
        self.dispatch();
        if !waits {
            self.hand_on(&mut self.lock());
        }
        Ok(())
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
        // Who read of a want just now may have the job in its hand, which would keep that worker waiting, and so itself.
        job.iter().for_each(|job| job.end_wants());
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
        state.in_hand += 1;
        let mut pieces = Vec::new();
        for slot in 0..state.slots.len() as u32 {
            let custody = state.slots[slot as usize].custody.take();
            if let Some(piece) = state.release(&self.board, slot) {
                state.left.push((piece.job.clone(), custody));
                pieces.push(piece);
            }
        }
        pieces.extend(state.backlog.drain(..).map(|stock| stock.piece));
        let workers: Vec<_> =
            state.seats.iter().enumerate().filter_map(|(at, seat)| Some((at, seat.process.clone()?))).collect();
        // Nobody deals with these deaths any more.
        state.deaths = 0;
        for (at, seat) in state.seats.iter_mut().enumerate().filter(|(_, seat)| seat.end.is_some()) {
            seat.settle(self.board.sheet(at).counts());
        }
        drop(state);
        self.kill(workers);
        let serving = self.serve();
        for piece in pieces {
            piece.job.fail(piece.from, piece.to, error, self);
        }
        drop(serving);
        self.lock().in_hand -= 1;
        self.look();
        self.bell.notify();
        self.keeper.notify_one();
        self.over.notify_all();
    }

    /// Kills workers by their seats. One that sends handles comes to the end of that first, if it can be helped.
    fn kill(&self, mut workers: Vec<(usize, Arc<Mutex<Process>>)>) {
        const PATIENCE: Duration = Duration::from_millis(100);
        let deadline = Deadline::after(PATIENCE);
        loop {
            workers.retain(|(seat, worker)| {
                let waits = self.board.sheet(*seat).halt() && !deadline.has_passed() && locked(worker).is_alive();
                if !waits {
                    let _ = locked(worker).kill();
                }
                waits
            });
            if workers.is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// There are no workers, and will be none.
    pub(super) fn crew_has_gone(&self) {
        let mut state = self.lock();
        state.crew_is_gone = true;
        let waiters = std::mem::take(&mut state.waiters);
        let left = std::mem::take(&mut state.left);
        let is_ended = !matches!(state.phase, Phase::Running | Phase::Closed);
        drop(state);
        if is_ended && let Ok(mail) = self.reports.message_ring() {
            mail.discard_all(); // nobody has a use for them
        }
        waiters.iter().for_each(Thread::unpark);
        self.look();
        self.keeper.notify_one();
        self.over.notify_all();
        let _serving = self.serve();
        drop(left);
    }

    /// Waits until all is over. In a callback, for all but the callbacks.
    pub(super) fn wait_for_end(&self) {
        let calls = self.calls_here();
        let mut state = self.lock();
        while !(state.crew_is_gone && state.keeper_is_gone && (calls || state.caller_is_gone)) {
            state = self.over.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let caller = if calls { None } else { state.caller.take() };
        drop(state);
        // A panic in it would be this crate's own.
        caller.into_iter().for_each(|caller| drop(caller.join()));
    }

    #[cfg(feature = "progress")]
    pub(super) fn progress(&self, items: Option<usize>) -> Option<super::progress::Progress> {
        self.plan.progress.then(|| super::progress::Progress::new(items))
    }
}
