//! Worker slots: each has one worker after the other. A slot keeps the present worker's process, how the last one
//! ended, and the sums of the counts of all.

use super::insights::{WorkerInfo, WorkerInsights};
use super::stats::WorkerTotals;
use super::task_table::{TaskTable, WORKERS, WorkerCounts};
use crate::TaskError;
use crate::process::Process;
use std::sync::{Arc, Mutex};

/// How a worker ended.
#[derive(Clone)]
pub(super) struct WorkerExit {
    pub(super) code: i32,
    /// The panic that ended the process, if one did.
    pub(super) panic: Option<TaskError>,
}

#[derive(Default)]
pub(super) struct WorkerSlot {
    /// The number of the last worker.
    pub(super) worker: u32,
    pub(super) process: Option<Arc<Mutex<Process>>>,
    pub(super) pid: u32,
    pub(super) name: String,
    /// How the last worker ended, until the leader has handled its death.
    pub(super) exit: Option<WorkerExit>,
    totals: WorkerTotals,
    /// Whether the status page has counts of a worker that are not in the totals yet.
    is_occupied: bool,
}

impl WorkerSlot {
    fn is_vacant(&self) -> bool {
        self.process.is_none() && self.exit.is_none()
    }

    /// A worker with this number is about to start.
    pub(super) fn begin_start(&mut self, worker: u32, now: u64) {
        (self.worker, self.is_occupied) = (worker, true);
        self.totals.begin(now);
    }

    /// The worker could not be started, or is gone before it was watched: it leaves no counts.
    pub(super) fn cancel_start(&mut self) {
        (self.process, self.is_occupied) = (None, false);
    }

    pub(super) fn set_started(&mut self, pid: u32, name: String, process: Arc<Mutex<Process>>) {
        (self.pid, self.name, self.process) = (pid, name, Some(process));
    }

    /// The death of the worker is handled: its counts go to the totals.
    pub(super) fn finish(&mut self, counts: WorkerCounts) {
        self.exit = None;
        if std::mem::take(&mut self.is_occupied) {
            self.totals.add(counts);
        }
    }
}

pub(super) struct WorkerSlots {
    slots: Vec<WorkerSlot>,
    /// Deaths that the leader has not handled yet.
    pub(super) unhandled_deaths: usize,
    /// How many workers in a row died before they were ready.
    pub(super) failures: usize,
    last_worker: u32,
}

impl WorkerSlots {
    pub(super) fn new(processes: usize) -> Self {
        let slots = std::iter::repeat_with(WorkerSlot::default).take(processes).collect();
        WorkerSlots { slots, unhandled_deaths: 0, failures: 0, last_worker: 0 }
    }

    /// A number for the next worker.
    pub(super) fn next_worker(&mut self) -> u32 {
        self.last_worker = (self.last_worker + 1) % WORKERS;
        self.last_worker
    }

    pub(super) fn at(&mut self, slot: usize) -> &mut WorkerSlot {
        &mut self.slots[slot]
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut WorkerSlot> {
        self.slots.iter_mut()
    }

    /// The slot of a worker, unless another one is in it now.
    pub(super) fn find(&self, worker: u32) -> Option<usize> {
        self.slots.iter().position(|slot| slot.worker == worker)
    }

    /// The process id of a worker; 0 if another worker is in its slot now.
    pub(super) fn pid_of(&self, worker: u32) -> u32 {
        self.slots.iter().find(|slot| slot.worker == worker).map_or(0, |slot| slot.pid)
    }

    /// How the worker in a slot ended, if it is still the one with this number, and its death was not handled.
    pub(super) fn exit_of(&self, slot: usize, worker: u32) -> Option<WorkerExit> {
        self.slots.get(slot).filter(|slot| slot.worker == worker)?.exit.clone()
    }

    /// Slots without a worker, and without a death to be handled.
    pub(super) fn vacant(&self) -> Vec<usize> {
        (0..self.slots.len()).filter(|slot| self.slots[*slot].is_vacant()).collect()
    }

    pub(super) fn are_all_vacant(&self) -> bool {
        self.slots.iter().all(WorkerSlot::is_vacant)
    }

    pub(super) fn have_no_process(&self) -> bool {
        self.slots.iter().all(|slot| slot.process.is_none())
    }

    pub(super) fn processes(&self) -> Vec<(usize, Arc<Mutex<Process>>)> {
        self.slots.iter().enumerate().filter_map(|(at, slot)| Some((at, slot.process.clone()?))).collect()
    }

    pub(super) fn take_processes(&mut self) -> Vec<Arc<Mutex<Process>>> {
        self.slots.iter_mut().filter_map(|slot| slot.process.take()).collect()
    }

    /// Finishes all slots whose worker has ended: no thread handles these deaths any more.
    pub(super) fn finish_deaths(&mut self, table: &TaskTable) {
        self.unhandled_deaths = 0;
        for (at, slot) in self.slots.iter_mut().enumerate().filter(|(_, slot)| slot.exit.is_some()) {
            slot.finish(table.status(at).counts());
        }
    }

    pub(super) fn infos(&self, table: &TaskTable) -> Vec<WorkerInfo> {
        let alive = self.slots.iter().enumerate().filter(|(_, slot)| slot.process.is_some());
        let info = |(at, slot): (usize, &WorkerSlot)| WorkerInfo {
            id: slot.pid,
            name: slot.name.clone(),
            tasks: table.status(at).counts().tasks,
        };
        alive.map(info).collect()
    }

    pub(super) fn insights(&self, table: &TaskTable) -> Vec<WorkerInsights> {
        let insights = |(at, slot): (usize, &WorkerSlot)| {
            let counts = slot.is_occupied.then(|| table.status(at).counts());
            slot.totals.insights(slot.pid, slot.name.clone(), counts)
        };
        self.slots.iter().enumerate().map(insights).collect()
    }
}
