//! Queues: what a killed producer, consumer or closer leaves, and whether sleepers are woken for what there is.
//!
//! The worlds look at the queue without calling it as long as they wait for a sleeper to be woken: a call would wake
//! too.

use super::common::{BEDTIME, Flags, address, demand_all, eventually, patience, put_to_bed, watch};
use super::stepper::{Asleep, Kill, Scenario, Stop, Strategy, Survivor, Victim, Watched, World, asleep};
use crossproc::SimpleQueue;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

/// Locks, wait queues and the slots of the queues here.
const BYTES: usize = 256;
/// Where the tail's side says that the queue is closed.
const CLOSED_AT: usize = 40;

type Queue = Box<SimpleQueue<u64>>;

fn queue_with(items: usize, numbers: std::ops::Range<u64>) -> Queue {
    let queue = Box::new(SimpleQueue::bounded(items).expect("memory for a queue"));
    numbers.for_each(|number| queue.put(number).expect("room"));
    queue
}

/// What is in, in the end: it leaves nothing.
fn drain(queue: &Queue) -> Vec<u64> {
    std::iter::from_fn(|| queue.try_get().ok()).collect()
}

fn is_closed(queue: &Queue) -> bool {
    // SAFETY: a word of the queue's memory, which the world keeps mapped.
    unsafe { &*((address(queue) + CLOSED_AT) as *const AtomicU32) }.load(SeqCst) == 1
}

fn tail_lock(queue: &Queue) -> u32 {
    // SAFETY: as above.
    unsafe { &*(address(queue) as *const AtomicU32) }.load(SeqCst)
}

/// A process that gets one item, or puts one, and reports 1; 3 if the queue is closed.
fn consumer(flags: &Flags, queue: &Queue) -> Survivor {
    Survivor::start(|| {
        flags.wait_for(BEDTIME);
        queue.get().map_or(3, |_| 1)
    })
}

fn producer(flags: &Flags, queue: &Queue) -> Survivor {
    Survivor::start(|| {
        flags.wait_for(BEDTIME);
        queue.put(100).map_or(3, |()| 1)
    })
}

/// The queue works for all processes.
fn demand_works(kill: &mut Kill, queue: &Queue) {
    let seen = (queue.try_put(7), queue.len(), queue.try_get(), queue.is_empty());
    kill.demand(seen == (Ok(()), 1, Ok(7), true), format!("the queue does not work: {seen:?}"));
}

/// What the victim does, with no other process at work.
#[derive(Clone, Copy, PartialEq)]
enum Deed {
    Put,
    PutMany,
    Get,
    GetMany,
    TryPutFull,
    TryGetEmpty,
    Close,
}

struct Quiet {
    deed: Deed,
    before: Vec<u64>,
    queue: Queue,
}

impl Quiet {
    fn scenario(name: &str, deed: Deed, before: std::ops::Range<u64>) -> Scenario {
        Scenario::new(format!("ring/{name}"), move || {
            let mut queue = queue_with(4, before.clone());
            // Around the end of the slots.
            for number in before.clone() {
                let _ = queue.get();
                let _ = queue.put(number);
            }
            queue = Box::new((*queue).clone());
            Quiet { deed, before: before.clone().collect(), queue }
        })
    }
}

impl World for Quiet {
    fn prepare(&mut self) {
        super::common::warm_up();
    }

    fn operation(&mut self) {
        match self.deed {
            Deed::Put => drop(self.queue.put(10)),
            Deed::PutMany => drop(self.queue.put_many([10, 11, 12])),
            Deed::Get => drop(self.queue.get()),
            Deed::GetMany => drop(self.queue.get_many(2)),
            Deed::TryPutFull => drop(self.queue.try_put(10)),
            Deed::TryGetEmpty => drop(self.queue.try_get()),
            Deed::Close => self.queue.close(),
        }
    }

    fn watched(&self) -> Vec<Watched> {
        vec![watch(&*self.queue, BYTES)]
    }

    fn check(&mut self, kill: &mut Kill) {
        if self.deed == Deed::Close {
            let closed = is_closed(&self.queue);
            kill.committed(closed);
            kill.demand(closed || !kill.finished, "an acknowledged close is lost");
            kill.demand(self.queue.put(1).is_err() == closed, "closed, or not");
            self.queue.close();
            kill.demand(self.queue.put(1).is_err(), "not closed");
            return;
        }
        let (length, content) = (self.queue.len(), drain(&self.queue));
        kill.demand(length == content.len(), format!("{length} items, and they are {content:?}"));
        let with = |more: &[u64]| [self.before.as_slice(), more].concat();
        let possible = match self.deed {
            Deed::Put => vec![with(&[]), with(&[10])],
            Deed::PutMany => vec![with(&[]), with(&[10]), with(&[10, 11]), with(&[10, 11, 12])],
            Deed::Get => vec![with(&[]), self.before[1..].to_vec()],
            Deed::GetMany => vec![with(&[]), self.before[2..].to_vec()],
            _ => vec![with(&[])],
        };
        let found = possible.iter().position(|possible| *possible == content);
        kill.demand(found.is_some(), format!("{content:?}"));
        kill.demand(!kill.finished || content == possible[possible.len() - 1], "an acknowledged item is lost");
        kill.committed(found.is_some_and(|found| found > 0));
        demand_works(kill, &self.queue);
        kill.recovered();
    }
}

/// The victim does something that others sleep for.
struct Watchers {
    deed: Deed,
    sleepers: Vec<Survivor>,
    flags: Flags,
    queue: Queue,
}

impl Watchers {
    fn scenario(name: &str, deed: Deed, count: usize) -> Scenario {
        Scenario::new(format!("ring/{name}"), move || {
            let flags = Flags::new();
            let queue = match deed {
                Deed::Get | Deed::GetMany => queue_with(2, 0..2),
                _ => queue_with(2, 0..0),
            };
            let sleeper = |_| match deed {
                Deed::Get | Deed::GetMany => producer(&flags, &queue),
                _ => consumer(&flags, &queue),
            };
            let sleepers: Vec<_> = (0..count).map(sleeper).collect();
            put_to_bed(&flags, &sleepers);
            Watchers { deed, sleepers, flags, queue }
        })
    }
}

impl World for Watchers {
    fn prepare(&mut self) {
        super::common::warm_up();
    }

    fn operation(&mut self) {
        match self.deed {
            Deed::Put => drop(self.queue.put(10)),
            Deed::PutMany => drop(self.queue.put_many([10, 11])),
            Deed::Get => drop(self.queue.get()),
            Deed::GetMany => drop(self.queue.get_many(2)),
            Deed::Close => self.queue.close(),
            Deed::TryPutFull | Deed::TryGetEmpty => unreachable!("no thread sleeps for that"),
        }
    }

    fn watched(&self) -> Vec<Watched> {
        vec![watch(&*self.queue, BYTES)]
    }

    fn check(&mut self, kill: &mut Kill) {
        let queue = &self.queue;
        let count = self.sleepers.len();
        match self.deed {
            Deed::Close => {
                let closed = is_closed(queue);
                kill.committed(closed);
                if !closed {
                    queue.close();
                }
                for sleeper in &mut self.sleepers {
                    kill.demand(sleeper.wait_result(patience()) == Some(3), "a sleeper did not hear of the close");
                }
            }
            Deed::Put | Deed::PutMany => {
                kill.demand(eventually(|| queue.is_empty()), "an item lies there, and a consumer sleeps");
                kill.recovered();
                let served = served(&self.sleepers);
                kill.demand(!kill.finished || served > 0, "an acknowledged item is lost");
                kill.committed(served > 0);
                (served..count).for_each(|_| queue.put(20).expect("an open queue"));
                demand_all(kill, &mut self.sleepers);
                kill.demand(queue.is_empty(), "an item was there twice");
                demand_works(kill, queue);
            }
            _ => {
                kill.demand(eventually(|| queue.is_full()), "there is room, and a producer sleeps");
                kill.recovered();
                let mut content = Vec::new();
                eventually(|| {
                    content.extend(drain(queue));
                    self.sleepers.iter().all(Survivor::has_result) && queue.is_empty()
                });
                let gone = 2 + count - content.len();
                let most = if self.deed == Deed::GetMany { 2 } else { 1 };
                kill.demand(gone == 0 || gone == most, format!("{gone} items are gone"));
                kill.committed(gone > 0);
                demand_all(kill, &mut self.sleepers);
                demand_works(kill, queue);
            }
        }
        self.flags.set(BEDTIME);
    }
}

/// How many have come back, once the others sleep.
fn served(sleepers: &[Survivor]) -> usize {
    eventually(|| sleepers.iter().all(|sleeper| sleeper.has_result() || asleep(sleeper.pid())));
    sleepers.iter().filter(|sleeper| sleeper.has_result()).count()
}

/// What happens while the victim sleeps.
#[derive(Clone, Copy, PartialEq)]
enum Night {
    /// Nothing: it is killed in its sleep.
    Quiet,
    /// What it waits for comes, once.
    Once,
}

/// The victim sleeps, and the others as well; whether it stays so.
fn stays_asleep(night: Night, nth: u32, flags: &Flags, others: &[Survivor]) -> bool {
    put_to_bed(flags, others);
    night == Night::Quiet || nth > 1
}

/// The victim sleeps for an item or for room, and so does another one, behind it or in front.
struct Sleeper {
    produces: bool,
    night: Night,
    others: Vec<Survivor>,
    flags: Flags,
    queue: Queue,
}

impl Sleeper {
    fn scenario(name: &str, produces: bool, night: Night, in_front: bool) -> Scenario {
        let scenario = Scenario::new(format!("ring/{name}"), move || {
            let (flags, queue) = (Flags::new(), queue_with(2, 0..if produces { 2 } else { 0 }));
            let other = if produces { producer(&flags, &queue) } else { consumer(&flags, &queue) };
            let others = vec![other];
            if in_front {
                put_to_bed(&flags, &others);
            }
            Sleeper { produces, night, others, flags, queue }
        });
        if night == Night::Quiet { scenario.strategy(Strategy::ByEffect) } else { scenario.after_wake() }
    }

    fn come(&self) {
        match self.produces {
            true => drop(self.queue.try_get()),
            false => drop(self.queue.try_put(50)),
        }
    }
}

impl World for Sleeper {
    fn prepare(&mut self) {
        super::common::warm_up();
    }

    fn operation(&mut self) {
        match self.produces {
            true => drop(self.queue.put(60)),
            false => drop(self.queue.get()),
        }
    }

    fn watched(&self) -> Vec<Watched> {
        vec![watch(&*self.queue, BYTES)]
    }

    fn victim_asleep(&mut self, nth: u32) -> Asleep {
        if stays_asleep(self.night, nth, &self.flags, &self.others) {
            return Asleep::Leave;
        }
        self.come();
        Asleep::Woken
    }

    fn check(&mut self, kill: &mut Kill) {
        self.flags.set(BEDTIME);
        let queue = &self.queue;
        if self.night == Night::Quiet {
            // Wherever it died, the other one is woken by the next item, or room.
            eventually(|| self.others.iter().all(|other| asleep(other.pid())));
            self.come();
        } else {
            let settled = eventually(|| if self.produces { queue.is_full() } else { queue.is_empty() });
            kill.demand(settled, "what the victim was woken for is there, and the other one sleeps");
            kill.recovered();
            if served(&self.others) == 0 {
                self.come();
            }
        }
        demand_all(kill, &mut self.others);
        drain(queue);
        demand_works(kill, queue);
    }
}

/// A first producer is stopped inside the lock; the victim waits for it, and another one.
struct Waiter {
    first: Victim,
    night: Night,
    others: Vec<Survivor>,
    flags: Flags,
    queue: Queue,
}

impl Waiter {
    fn scenario(name: &str, night: Night, in_front: bool) -> Scenario {
        let scenario = Scenario::new(format!("ring/{name}"), move || {
            let (flags, queue) = (Flags::new(), queue_with(8, 0..0));
            let mut first = Victim::start(super::common::warm_up, |()| drop(queue.put(1)));
            while tail_lock(&queue) == 0 {
                assert_eq!(first.step(), Stop::Trap, "the put has a lock");
            }
            let others = vec![producer(&flags, &queue)];
            if in_front {
                put_to_bed(&flags, &others);
            }
            Waiter { first, night, others, flags, queue }
        });
        if night == Night::Quiet { scenario.strategy(Strategy::ByEffect) } else { scenario.after_wake() }
    }

    fn finish_first(&mut self) {
        const CALLS: usize = 16;
        for _ in 0..CALLS {
            if !self.first.finished() {
                self.first.run_to_call();
            }
        }
    }
}

impl World for Waiter {
    fn prepare(&mut self) {
        super::common::warm_up();
    }

    fn operation(&mut self) {
        drop(self.queue.put(2));
    }

    fn watched(&self) -> Vec<Watched> {
        vec![watch(&*self.queue, BYTES)]
    }

    fn victim_asleep(&mut self, nth: u32) -> Asleep {
        if stays_asleep(self.night, nth, &self.flags, &self.others) {
            return Asleep::Leave;
        }
        self.finish_first();
        Asleep::Woken
    }

    fn check(&mut self, kill: &mut Kill) {
        self.flags.set(BEDTIME);
        if self.night == Night::Quiet {
            self.finish_first();
        }
        kill.demand(self.first.finished(), "the first producer does not come to its end");
        demand_all(kill, &mut self.others);
        let content = drain(&self.queue);
        let mut sorted = content.clone();
        sorted.sort_unstable();
        kill.demand(sorted == [1, 100] || sorted == [1, 2, 100], format!("{content:?}"));
        kill.demand(!kill.finished || content.contains(&2), "an acknowledged item is lost");
        kill.committed(content.contains(&2));
        demand_works(kill, &self.queue);
    }
}

/// The victim dies inside the lock, or not, when others have come to wait for it.
struct Holder {
    others: Vec<Survivor>,
    flags: Flags,
    queue: Queue,
}

impl World for Holder {
    fn prepare(&mut self) {
        super::common::warm_up();
    }

    fn operation(&mut self) {
        drop(self.queue.put(2));
    }

    fn before_kill(&mut self) {
        self.flags.set(BEDTIME);
        // They wait for the lock, or they are through.
        let waits = |other: &Survivor| other.has_result() || asleep(other.pid());
        assert!(eventually(|| self.others.iter().all(waits)), "a process neither waits nor has ended its call");
    }

    fn check(&mut self, kill: &mut Kill) {
        demand_all(kill, &mut self.others);
        let mut content = drain(&self.queue);
        content.sort_unstable();
        kill.demand(content == [100, 100] || content == [2, 100, 100], format!("{content:?}"));
        kill.demand(!kill.finished || content.len() == 3, "an acknowledged item is lost");
        kill.committed(content.len() == 3);
        demand_works(kill, &self.queue);
    }
}

pub fn scenarios() -> Vec<Scenario> {
    vec![
        Quiet::scenario("put", Deed::Put, 0..2),
        Quiet::scenario("put-first", Deed::Put, 0..0),
        Quiet::scenario("put-many", Deed::PutMany, 0..1),
        Quiet::scenario("put-into-full", Deed::TryPutFull, 0..4),
        Quiet::scenario("get", Deed::Get, 0..3),
        Quiet::scenario("get-last", Deed::Get, 0..1),
        Quiet::scenario("get-many", Deed::GetMany, 0..3),
        Quiet::scenario("get-from-empty", Deed::TryGetEmpty, 0..0),
        Quiet::scenario("close", Deed::Close, 0..1),
        Watchers::scenario("put-one-consumer", Deed::Put, 1),
        Watchers::scenario("put-two-consumers", Deed::Put, 2),
        Watchers::scenario("put-many-two-consumers", Deed::PutMany, 2),
        Watchers::scenario("get-one-producer", Deed::Get, 1),
        Watchers::scenario("get-two-producers", Deed::Get, 2),
        Watchers::scenario("get-many-two-producers", Deed::GetMany, 2),
        Watchers::scenario("close-two-consumers", Deed::Close, 2),
        Sleeper::scenario("consumer-falls-asleep", false, Night::Quiet, false),
        Sleeper::scenario("consumer-falls-asleep-second", false, Night::Quiet, true),
        Sleeper::scenario("consumer-woken", false, Night::Once, false),
        Sleeper::scenario("producer-falls-asleep", true, Night::Quiet, false),
        Sleeper::scenario("producer-woken", true, Night::Once, false),
        Waiter::scenario("waiter-falls-asleep", Night::Quiet, false),
        Waiter::scenario("waiter-woken", Night::Once, false),
        Waiter::scenario("waiter-woken-second", Night::Once, true),
        Scenario::new("ring/holder-with-waiters", || {
            let (flags, queue) = (Flags::new(), queue_with(8, 0..0));
            let others = (0..2).map(|_| producer(&flags, &queue)).collect();
            Holder { others, flags, queue }
        }),
    ]
}
