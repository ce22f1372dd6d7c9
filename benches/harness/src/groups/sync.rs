//! Semaphores, recursive locks, events, conditions, barriers: alone, where nobody waits, and two sides that wait for
//! each other.

use crate::channels::{Post, posted};
use crate::measure::{Job, Plan, Role, Row, interleave};
use crate::meetings::{
    Changed, OurBarrier, OurEvent, OurSemaphore, PosixBarrier, PosixCondition, PosixSemaphore, StdBarrier, StdCondvar,
};
use crate::process::{cores, pin, two_cores};
use crate::rally::{Court, Rally, between_processes, between_threads};
use anyhow::{Context, Result, ensure};
use crossproc::{Barrier, Condition, Event, RLock, Semaphore};
use std::hint::black_box;

const GROUP: &str = "sync";

pub fn run(plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    if two_cores().is_ok() {
        for (place, court) in [("two cores", Court::spinning()?), ("same core", Court::same_core()?)] {
            rows.append(&mut interleave(GROUP, plan, pairs(place, plan, court))?);
        }
    }
    pin(cores()[0])?; // after the pairs: children of a pinned process begin pinned
    let mut alone = interleave(GROUP, plan, alone(plan)?)?;
    alone.append(&mut rows);
    Ok(alone)
}

/// Time for each operation where nobody is in the way.
fn alone(plan: &Plan) -> Result<Vec<Job<'_>>> {
    let semaphore = Semaphore::new(1)?;
    let of_tokio = tokio::sync::Semaphore::new(1);
    let of_posix = PosixSemaphore::new(1)?;
    let (lock, of_parking_lot) = (RLock::new()?, parking_lot::ReentrantMutex::new(()));
    let (event, flag) = (Event::new()?, parking_lot::Mutex::new(false));
    let flagged = parking_lot::Condvar::new();
    let condition = Condition::new()?;
    let (of_std, also_parking_lot) = (std::sync::Condvar::new(), parking_lot::Condvar::new());
    let (barrier, std_barrier, posix_barrier) = (Barrier::new(1)?, std::sync::Barrier::new(1), PosixBarrier::new(1)?);
    Ok(vec![
        each("semaphore, acquire and release: Semaphore", plan, move || {
            semaphore.acquire().map(drop).context("acquire")
        })
        .ours(),
        each("semaphore, acquire and release: tokio::sync::Semaphore", plan, move || {
            of_tokio.try_acquire().map(drop).context("acquire")
        })
        .in_process(),
        each("semaphore, acquire and release: sem_t", plan, move || of_posix.wait().and_then(|()| of_posix.post())),
        each("recursive lock, two levels: RLock", plan, move || {
            let _levels = (lock.lock()?, lock.lock()?);
            Ok(())
        })
        .ours(),
        each("recursive lock, two levels: parking_lot::ReentrantMutex", plan, move || {
            let _levels = (of_parking_lot.lock(), of_parking_lot.lock());
            Ok(())
        })
        .in_process(),
        each("event, set, look and clear: Event", plan, move || {
            event.set();
            ensure!(event.is_set(), "it is not set");
            event.clear();
            Ok(())
        })
        .ours(),
        each("event, set, look and clear: parking_lot Mutex<bool> and Condvar", plan, move || {
            *flag.lock() = true;
            flagged.notify_all();
            ensure!(*flag.lock(), "it is not set");
            *flag.lock() = false;
            Ok(())
        })
        .in_process(),
        each("condition, notify nobody: Condition", plan, move || condition.notify_one().context("notify")).ours(),
        each("condition, notify nobody: parking_lot::Condvar", plan, move || {
            also_parking_lot.notify_one();
            Ok(())
        })
        .in_process(),
        each("condition, notify nobody: std::sync::Condvar", plan, move || {
            of_std.notify_one();
            Ok(())
        })
        .in_process(),
        each("barrier for one: Barrier", plan, move || barrier.wait().map(drop).context("wait")).ours(),
        each("barrier for one: std::sync::Barrier", plan, move || {
            std_barrier.wait();
            Ok(())
        })
        .in_process(),
        each("barrier for one: pthread_barrier_t", plan, move || posix_barrier.wait()),
    ])
}

/// Each answer is seen by somebody: calls that nobody looks at are merged by the compiler, those of some more than
/// others'.
fn each<'a>(name: &str, plan: &Plan, mut body: impl FnMut() -> Result<()> + 'a) -> Job<'a> {
    Job::per_op(name, plan, move |count| (0..count).try_for_each(|_| black_box(body())))
}

/// A number there and back: each side waits for the other one's word.
fn pairs<'a>(place: &str, plan: &'a Plan, court: Court) -> Vec<Job<'a>> {
    let named = |what: &str, who: &str| format!("{what}, {place}: {who}");
    vec![
        pair(named("semaphore", "Semaphore"), plan, court, OurSemaphore::new).ours(),
        pair(named("semaphore", "sem_t"), plan, court, || PosixSemaphore::new(0)),
        pair(named("event", "Event"), plan, court, OurEvent::new).ours(),
        pair(named("condition", "Condition"), plan, court, Changed::new).ours(),
        pair(named("condition", "pthread_cond_t"), plan, court, PosixCondition::new),
        threads(named("condition", "std::sync::Condvar, threads"), plan, court, StdCondvar::default),
        pair(named("barrier", "Barrier"), plan, court, OurBarrier::new).ours(),
        pair(named("barrier", "pthread_barrier_t"), plan, court, || PosixBarrier::new(2)),
        threads(named("barrier", "std::sync::Barrier, threads"), plan, court, StdBarrier::new),
    ]
}

fn pair<'a, P: Post>(name: String, plan: &'a Plan, court: Court, make: impl Fn() -> Result<P> + 'a) -> Job<'a> {
    job(name, move |name| between_processes(name, plan, court, || posted(make())))
}

fn threads<'a, P: Post + Send + Sync>(
    name: String,
    plan: &'a Plan,
    court: Court,
    make: impl Fn() -> P + 'a,
) -> Job<'a> {
    job(name, move |name| between_threads(name, plan, court, || posted(Ok(make())))).role(Role::InProcess)
}

fn job<'a>(name: String, run: impl Fn(&str) -> Result<Rally> + 'a) -> Job<'a> {
    let detail = |what: &str| format!("{name}: {what}");
    let rows = vec![(name.clone(), "ns"), (detail("p99"), "ns"), (detail("sleeps"), "each")];
    Job::new(rows, move || {
        let rally = run(&name)?;
        Ok(vec![rally.nanoseconds, rally.tails[0], rally.sleeps])
    })
}
