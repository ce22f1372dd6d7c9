//! A holder is killed while another process waits: how long until that one has the lock, and what it finds.

use crate::measure::{Job, Plan, Row, check, interleave};
use crate::process::{Child, Shared, now, two_cores};
use crate::raw_memory::{enough_memory, grow};
use anyhow::{Result, ensure};
use crossproc::{Array, Barrier, BarrierError, RLock, Semaphore, Value};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

const GROUP: &str = "recovery";
const BIG: usize = 3 << 29;

pub fn run(plan: &Plan) -> Result<Vec<Row>> {
    let (small_rounds, big_rounds) = if plan.quick { (10, 2) } else { (50, 15) };
    let value = Value::new(7_u64)?;
    let array = Array::from_slice(&[7_u64; 100])?;
    let (semaphore, lock) = (Semaphore::new(1)?, RLock::new()?);
    let party = Barrier::new(3)?;
    let leader = Leader(Barrier::with_action(2, never_ends, ())?);
    let small = vec![
        job("Value", &value, 0),
        job("Array", &array, 0),
        job("Semaphore permit", &semaphore, 0),
        job("RLock, three levels", &lock, 0),
        job("Barrier party", &party, 0),
        job("Barrier leader in its action", &leader, 0),
    ];
    let mut rows = interleave(GROUP, &Plan { repetitions: small_rounds, ..*plan }, small)?;
    let big = vec![job("Value, victim of 1.5 GiB", &value, BIG), job("Array, victim of 1.5 GiB", &array, BIG)];
    rows.append(&mut interleave(GROUP, &Plan { repetitions: big_rounds, ..*plan }, big)?);
    Ok(rows)
}

fn job<'a>(name: &str, prey: &'a impl Prey, resident: usize) -> Job<'a> {
    match two_cores().and_then(|cores| enough_memory(resident).map(|()| cores)) {
        Ok(cores) => Job::one(name, "ms", move || round(prey, resident, cores)).ours(),
        Err(error) => Job::missing(name, error),
    }
}

/// An object whose holder is killed.
trait Prey {
    /// The one who waits comes before the victim.
    const WAITER_FIRST: bool = false;
    /// Takes the lock, changes something, and never comes back.
    fn hold(&self, held: &AtomicBool) -> Result<()>;
    /// Waits for the lock; gives the time when it was there, and checks what the victim left.
    fn take_over(&self, victim: u32) -> Result<u64>;
}

impl Prey for Value<u64> {
    fn hold(&self, held: &AtomicBool) -> Result<()> {
        let mut guard = self.lock()?;
        *guard += 1;
        stay(held)
    }

    fn take_over(&self, victim: u32) -> Result<u64> {
        let guard = self.lock()?;
        let at = now();
        check("the victim", guard.recovered_from(), Some(victim))?;
        check("the value", *guard, 7)?;
        Ok(at)
    }
}

impl Prey for Array<u64> {
    fn hold(&self, held: &AtomicBool) -> Result<()> {
        let mut guard = self.lock()?;
        guard[..50].fill(8);
        stay(held)
    }

    fn take_over(&self, _: u32) -> Result<u64> {
        let mut half_written = false;
        let guard = self.lock_or_repair(|items| {
            half_written = items[0] == 8 && items[99] == 7;
            items.fill(7);
        })?;
        let at = now();
        check("half of the work, repaired", (half_written, guard[0]), (true, 7))?;
        Ok(at)
    }
}

impl Prey for Semaphore {
    fn hold(&self, held: &AtomicBool) -> Result<()> {
        let _permit = self.acquire()?;
        stay(held)
    }

    fn take_over(&self, _: u32) -> Result<u64> {
        let _permit = self.acquire()?;
        Ok(now())
    }
}

impl Prey for RLock {
    fn hold(&self, held: &AtomicBool) -> Result<()> {
        let _levels = [self.lock()?, self.lock()?, self.lock()?];
        stay(held)
    }

    fn take_over(&self, _: u32) -> Result<u64> {
        let mut was_marked = false;
        let _level = self.lock_or_repair(|| was_marked = true)?;
        check("the mark", was_marked, true)?;
        Ok(now())
    }
}

impl Prey for Barrier {
    fn hold(&self, held: &AtomicBool) -> Result<()> {
        held.store(true, SeqCst);
        self.wait()?;
        Ok(())
    }

    fn take_over(&self, _: u32) -> Result<u64> {
        let answer = self.wait();
        let at = now();
        check("the answer", answer, Err(BarrierError::Broken))?;
        self.reset()?;
        Ok(at)
    }
}

/// A barrier whose action never ends.
struct Leader(Barrier);

fn never_ends() {
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

impl Prey for Leader {
    const WAITER_FIRST: bool = true;

    fn hold(&self, held: &AtomicBool) -> Result<()> {
        self.0.hold(held)
    }

    fn take_over(&self, victim: u32) -> Result<u64> {
        self.0.take_over(victim)
    }
}

fn stay(held: &AtomicBool) -> Result<()> {
    held.store(true, SeqCst);
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

#[derive(Default)]
struct Scene {
    held: AtomicBool,
    waiting: AtomicBool,
    taken_at: AtomicU64,
}

/// Milliseconds from the kill to the lock.
fn round<P: Prey>(prey: &P, resident: usize, [first, second]: [usize; 2]) -> Result<f64> {
    let scene = Shared::new(Scene::default())?;
    let begin_to_hold = || {
        let victim = Child::fork(first, || {
            grow(resident)?;
            prey.hold(&scene.held)
        })?;
        until(&scene.held)?;
        anyhow::Ok(victim)
    };
    let begin_to_wait = |victim: u32| {
        let waiter = Child::fork(second, || {
            scene.waiting.store(true, SeqCst);
            scene.taken_at.store(prey.take_over(victim)?, SeqCst);
            Ok(())
        })?;
        until(&scene.waiting)?;
        std::thread::sleep(Duration::from_millis(5)); // it sleeps by now
        anyhow::Ok(waiter)
    };
    let (victim, waiter) = if P::WAITER_FIRST {
        let waiter = begin_to_wait(0)?;
        let victim = begin_to_hold()?;
        std::thread::sleep(Duration::from_millis(5)); // the waiter sleeps again
        (victim, waiter)
    } else {
        let victim = begin_to_hold()?;
        let waiter = begin_to_wait(victim.pid())?;
        (victim, waiter)
    };
    ensure!(scene.taken_at.load(SeqCst) == 0, "the lock was given to two");
    let killed_at = now();
    victim.kill();
    waiter.wait()?;
    Ok((scene.taken_at.load(SeqCst) - killed_at) as f64 / 1e6)
}

fn until(flag: &AtomicBool) -> Result<()> {
    let start = Instant::now();
    while !flag.load(SeqCst) {
        ensure!(start.elapsed() < Duration::from_secs(60), "a child did not come so far");
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}
