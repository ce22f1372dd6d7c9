//! A worker's process: it takes tasks and runs them, until the pool is closed or it has run as many as a worker may.
//! `task_table` has the protocol.

use super::protocol::{RETRY_FOR, TaskId, WorkerConfig, WorkerReport, watched};
use super::running_task::{RunningTask, ValueCache, WorkerContext, end_copies, now};
use super::task_table::TaskTable;
use crate::Receiver;
use crate::messages::MessageRing;
use crate::messages::codec::Incoming;
use crate::ring::{Peers, RingError};
use crate::sync::Timeout;
use crate::sys::signals;
use crate::sys::{Deadline, process_id};
use std::time::Duration;

/// The main function of a worker.
pub(super) fn serve(config: WorkerConfig) {
    signals::ignore_interrupts();
    let WorkerConfig { tasks, reports, table, worker_slot, worker, max_tasks, is_timed, initializer } = config;
    let (Ok(ring), Ok(out)) = (tasks.message_ring(), reports.message_ring()) else { return };
    let status = table.status(worker_slot as usize);
    let process = process_id::ProcessId::current();
    let initialized = initializer.map(|initializer| initializer.call());
    end_copies(process, 0);
    if let Some(Err(why)) = initialized {
        let _ = out.send_value(&WorkerReport::NotReady { worker, why }, Timeout::Never, &watched);
        return;
    }
    let mut cache = ValueCache::default();
    let mut idle_since = now();
    status.ready(idle_since);
    let mut done = 0;
    while max_tasks.is_none_or(|max_tasks| done < max_tasks) {
        let Some((incoming, task)) = take(&tasks, ring, &table, worker) else { return };
        let Some(task) = task else {
            incoming.discard();
            ring.tidy_fd_store();
            continue;
        };
        status.open(task.slot);
        let begun = now();
        status.begin_item(0, begun);
        if !table.begin(task.slot, task.generation, worker) {
            status.leave_task();
            incoming.discard();
            ring.tidy_fd_store();
            continue;
        }
        done += 1;
        let waited = begun - idle_since;
        let context = WorkerContext { table: &table, status, out, process, worker, is_timed, waited };
        idle_since = RunningTask::run(&context, incoming, task, ring, &mut cache, begun);
    }
}

/// Takes the next task and claims it (step 2). The task id is None if the pool has taken the task back. None: there are
/// no more tasks.
fn take(
    tasks: &Receiver<()>,
    ring: &MessageRing,
    table: &TaskTable,
    worker: u32,
) -> Option<(Incoming, Option<TaskId>)> {
    let mut id = None;
    let mut claim = |task: &[u8]| {
        id = TaskId::of(task).filter(|id| table.claim(id.slot, id.generation, worker));
    };
    // The worker dies with the pool's process, so that process is not watched.
    let peers = || if tasks.has_senders() { Peers::Watched } else { Peers::Alone };
    // Without memory or descriptors for it, the task stays in the ring for another worker, or for the next one in this
    // slot.
    let mut give_up = None;
    loop {
        match ring.receive_incoming(Timeout::Never, &mut claim, &peers) {
            Ok(incoming) => return Some((incoming, id)),
            Err(RingError::NoSpace) if !give_up.get_or_insert_with(|| Deadline::after(RETRY_FOR)).has_passed() => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(_) => return None,
        }
    }
}
