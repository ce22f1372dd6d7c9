//! Tasks: each is done once or comes back once, whichever process is killed; and joiners are woken by the last.

use super::common::{BEDTIME, Flags, address, demand_all, die_after, eventually, patience, put_to_bed, watch};
use super::message::elsewhere;
use super::stepper::{Kill, Scenario, Survivor, Watched, World};
use crossproc::{JoinableQueue, Task};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

/// Sides of the ring; behind the table of the fd store its wait queues, and how many tasks are done.
const SIDES: usize = 256;
const WAIT_QUEUES_AT: usize = SIDES + 6208;
const WAIT_QUEUES: usize = 1024;
const DONE_AT: usize = WAIT_QUEUES_AT + 32;

type Item = Vec<u8>;
type Tasks = JoinableQueue<Item>;

/// The victim's task, and the one behind it.
const FIRST: u8 = 1;
const SECOND: u8 = 2;

/// Number and deliveries of a task; the number of one that is not whole is 255.
fn seen(task: &Task<Item>, length: usize) -> (u8, u32) {
    let first = task.first().copied().unwrap_or(255);
    let whole = task.len() == length && task.iter().all(|byte| *byte == first);
    (if whole { first } else { 255 }, task.deliveries())
}

/// What the victim does with the first task.
#[derive(Clone, Copy, PartialEq)]
enum Deed {
    Take,
    /// One that was in a dead one's hand.
    TakeAgain,
    Done,
    Drop,
    /// Of an item that it got for good.
    Got,
}

/// The victim works at the first of some tasks; others may sleep until all are done.
struct Worker {
    deed: Deed,
    /// Of each item: in a note, in a hand, or in memory of its own.
    length: usize,
    joiners: Vec<Survivor>,
    task: Option<Task<Item>>,
    queue: Tasks,
}

impl Worker {
    fn new(deed: Deed, length: usize, items: u8, joiners: usize) -> Self {
        let queue = Tasks::new().expect("memory for a queue");
        (FIRST..FIRST + items).for_each(|number| queue.put(vec![number; length]).expect("room"));
        if deed == Deed::TakeAgain {
            die_after(|| std::mem::forget(queue.get_task().expect("a task")));
        }
        let mut worker = Worker { deed, length, joiners: Vec::new(), task: None, queue };
        for at in 0..joiners {
            let flags = Flags::new();
            worker.joiners.push(Survivor::start(|| {
                flags.wait_for(BEDTIME);
                worker.queue.join().is_ok().into()
            }));
            put_to_bed(&flags, &worker.joiners[at..]);
        }
        worker
    }

    fn scenario(name: &str, deed: Deed, length: usize, items: u8, joiners: usize) -> Scenario {
        Scenario::new(format!("task/{name}"), move || Self::new(deed, length, items, joiners))
    }

    /// How many tasks are done, without a call, which would wake a sleeper.
    fn done(&self) -> u64 {
        // SAFETY: a word of the queue's memory, which the world keeps mapped.
        unsafe { &*((address(&self.queue) + DONE_AT) as *const AtomicU64) }.load(SeqCst)
    }

    /// Takes what is there and ends it.
    fn finish_all(&self) -> Vec<(u8, u32)> {
        std::iter::from_fn(|| self.queue.try_get_task().ok())
            .map(|task| {
                let seen = seen(&task, self.length);
                drop(task.done());
                seen
            })
            .collect()
    }
}

impl World for Worker {
    fn prepare(&mut self) {
        super::common::warm_up();
        // There is one more holder: sleepers check which.
        drop(self.queue.clone());
        match self.deed {
            Deed::Take | Deed::TakeAgain => {}
            Deed::Done | Deed::Drop => self.task = Some(self.queue.get_task().expect("a task")),
            Deed::Got => drop(self.queue.get().expect("an item")),
        }
    }

    fn operation(&mut self) {
        match self.deed {
            Deed::Take | Deed::TakeAgain => std::mem::forget(self.queue.get_task().expect("a task")),
            Deed::Done => drop(self.task.take().map(Task::done)),
            Deed::Drop => drop(self.task.take()),
            Deed::Got => self.queue.task_done().expect("an item was got"),
        }
    }

    fn watched(&self) -> Vec<Watched> {
        // SAFETY: inside the queue's object, which the world keeps mapped.
        let wait_queues = unsafe { Watched::new((address(&self.queue) + WAIT_QUEUES_AT) as *const u8, WAIT_QUEUES) };
        vec![watch(&self.queue, SIDES), wait_queues]
    }

    fn check(&mut self, kill: &mut Kill) {
        if self.deed == Deed::Got {
            self.check_got(kill);
            return;
        }
        // Joiners are woken without a call by any process, if it was the last.
        let is_over = !self.joiners.is_empty() && (kill.finished && self.deed == Deed::Done || self.done() == 1);
        if is_over {
            demand_all(kill, &mut self.joiners);
            kill.recovered();
        }
        let found = self.finish_all();
        let deliveries = found.iter().find(|(number, _)| *number == FIRST).map(|(_, deliveries)| *deliveries);
        let more = u32::from(self.deed == Deed::TakeAgain);
        let possible: &[Option<u32>] = match self.deed {
            Deed::Take | Deed::TakeAgain => &[Some(1 + more), Some(2 + more)],
            Deed::Done => &[None, Some(2)],
            _ => &[Some(2)],
        };
        kill.demand(possible.contains(&deliveries), format!("{found:?}"));
        kill.demand(
            self.deed != Deed::Done || !kill.finished || deliveries.is_none(),
            "a task that was done comes back",
        );
        kill.committed(match self.deed {
            Deed::Done => deliveries.is_none(),
            _ => deliveries == Some(2 + more),
        });
        let rest: Vec<_> = found.iter().filter(|(number, _)| *number != FIRST).collect();
        kill.demand(
            rest.iter().all(|(number, deliveries)| (*number, *deliveries) == (SECOND, 1)),
            format!("{found:?}"),
        );
        kill.recovered();
        if !is_over {
            demand_all(kill, &mut self.joiners);
        }
        self.demand_all_done(kill);
    }
}

impl Worker {
    /// All is done, and nothing is done twice.
    fn demand_all_done(&self, kill: &mut Kill) {
        let queue = &self.queue;
        elsewhere(kill, "not all is done, or too much", || {
            let all = queue.join_timeout(Duration::ZERO) == Ok(true) && queue.task_done().is_err();
            queue.put(vec![9; self.length]).expect("room");
            let one_more = queue.join_timeout(Duration::ZERO) == Ok(false);
            let task = queue.get_task().expect("a task");
            let whole = seen(&task, self.length) == (9, 1);
            drop(task.done());
            u64::from(all && one_more && whole && queue.join_timeout(Duration::ZERO) == Ok(true))
        });
    }

    fn check_got(&self, kill: &mut Kill) {
        let found = self.finish_all();
        kill.demand(found == [(SECOND, 1)], format!("{found:?}"));
        let over = self.queue.join_timeout(Duration::ZERO) == Ok(true);
        kill.committed(over);
        kill.demand(over || !kill.finished, "what was done is not");
        if !over {
            kill.demand(self.queue.task_done().is_ok(), "it is neither done nor not");
        }
        self.demand_all_done(kill);
    }
}

/// The victim has the only task in its hand, and others sleep for one.
struct Heirs {
    heirs: Vec<Survivor>,
    flags: Flags,
    worker: Worker,
}

impl Heirs {
    fn scenario(name: &str, deed: Deed, count: usize) -> Scenario {
        Scenario::new(format!("task/{name}"), move || {
            let (flags, worker) = (Flags::new(), Worker::new(deed, 40, 1, 0));
            let heir = |_| {
                Survivor::start(|| {
                    flags.wait_for(BEDTIME);
                    let Ok(task) = worker.queue.get_task() else { return 2 };
                    let (number, deliveries) = seen(&task, worker.length);
                    drop(task.done());
                    u64::from(number) << 8 | u64::from(deliveries)
                })
            };
            let heirs = (0..count).map(heir).collect();
            Heirs { heirs, flags, worker }
        })
    }
}

impl World for Heirs {
    fn prepare(&mut self) {
        self.worker.prepare();
        put_to_bed(&self.flags, &self.heirs);
        // Sleepers check which processes hold the queue.
        drop(self.worker.queue.clone());
    }

    fn operation(&mut self) {
        self.worker.operation();
    }

    fn watched(&self) -> Vec<Watched> {
        self.worker.watched()
    }

    fn check(&mut self, kill: &mut Kill) {
        const OLD: u64 = (FIRST as u64) << 8 | 2;
        const NEW: u64 = 9 << 8 | 1;
        let has_result = |heir: &Survivor| heir.has_result();
        let settled = eventually(|| self.heirs.iter().any(has_result) || self.worker.done() == 1);
        kill.demand(settled, "a task came back, and a worker sleeps");
        kill.recovered();
        let queue = &self.worker.queue;
        let count = self.heirs.len();
        // It was done by the victim or is by an heir: so many are missing, or one less.
        (1..count).for_each(|_| queue.put(vec![9; 40]).expect("room"));
        let results = |heirs: &mut [Survivor]| -> Vec<u64> {
            let ready = heirs.iter_mut().filter(|heir| heir.has_result());
            ready.filter_map(|heir| heir.wait_result(patience())).collect()
        };
        let is_settled = |heir: &Survivor| heir.has_result() || heir.asleep();
        eventually(|| queue.is_empty() && self.worker.done() == count as u64 && self.heirs.iter().all(is_settled));
        let mut found = results(&mut self.heirs);
        let inherited = found.contains(&OLD);
        if !inherited {
            queue.put(vec![9; 40]).expect("room");
            eventually(|| self.heirs.iter().any(Survivor::has_result));
            found.extend(results(&mut self.heirs));
        }
        found.sort_unstable();
        let mut all = vec![NEW; count];
        if inherited {
            all[0] = OLD;
        }
        all.sort_unstable();
        kill.demand(found == all, format!("{found:?}"));
        kill.demand(!inherited || !kill.finished || self.worker.deed != Deed::Done, "a task that was done comes back");
        kill.demand(inherited || self.worker.deed == Deed::Done, "a task is lost");
        kill.committed(!inherited);
        self.worker.demand_all_done(kill);
    }
}

pub fn scenarios() -> Vec<Scenario> {
    use Deed::{Done, Drop, Got, Take, TakeAgain};
    // In a note, in a hand, and in memory of its own.
    const LENGTHS: [usize; 3] = [40, 200, 1200];
    vec![
        Worker::scenario("take-short", Take, LENGTHS[0], 2, 0),
        Worker::scenario("take", Take, LENGTHS[1], 2, 0),
        Worker::scenario("take-long", Take, LENGTHS[2], 2, 0),
        Worker::scenario("take-again", TakeAgain, LENGTHS[1], 2, 0),
        Worker::scenario("done", Done, LENGTHS[1], 2, 0),
        Worker::scenario("done-long", Done, LENGTHS[2], 2, 0),
        Worker::scenario("drop", Drop, LENGTHS[1], 2, 0),
        Worker::scenario("task-done", Got, LENGTHS[0], 2, 0),
        Worker::scenario("done-one-joiner", Done, LENGTHS[0], 1, 1),
        Worker::scenario("done-two-joiners", Done, LENGTHS[0], 1, 2),
        Heirs::scenario("done-one-heir", Done, 1),
        Heirs::scenario("done-two-heirs", Done, 2),
        Heirs::scenario("drop-two-heirs", Drop, 2),
    ]
}
