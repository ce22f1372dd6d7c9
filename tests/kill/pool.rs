//! A pool's workers: an input is worked at once, or died with its worker and is said to have; what had a result keeps
//! it, what was not begun is done by another worker.

use super::common::{patience, warm_up, watch};
use super::stepper::{Kill, Scenario, Shared, Strategy, Survivor, Watched, World};
use crossproc::testing::TestPool;
use crossproc::{AsyncResult, Atomic, GetTimeoutError, Queue, TaskError};
use std::rc::Rc;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering::SeqCst};

const ITEMS: usize = 4;
type Runs = [AtomicU64; ITEMS];

/// How often each input was worked at, in memory that workers inherit.
static RUNS: AtomicPtr<Runs> = AtomicPtr::new(std::ptr::null_mut());

fn run(item: u64) {
    // SAFETY: set by the world that lives, which keeps it mapped.
    let runs = unsafe { &*RUNS.load(SeqCst) };
    runs[item as usize].fetch_add(1, SeqCst);
}

fn short(item: u64) -> u64 {
    run(item);
    item * item
}

/// Three of these are more than a worker keeps before it sends.
fn long(item: u64) -> String {
    run(item);
    text(item)
}

/// Copied as a whole: each instruction takes its time here.
fn text(item: u64) -> String {
    ["a", "b", "c", "d"][item as usize].repeat(3000 + 500 * item as usize)
}

fn queue((item, _queue): (u64, Queue<u8>)) -> u64 {
    short(item)
}

fn handle((item, value): (u64, Atomic<u64>)) -> Atomic<u64> {
    run(item);
    value.store(item * item, SeqCst);
    value
}

/// What the map gives: for each input, whether its result is right.
type Answer = Result<Vec<bool>, TaskError>;

/// The victim is the first worker, for one task; a second one does the rest.
struct Worker {
    pool: TestPool,
    result: Box<dyn Fn(&TestPool) -> Answer>,
    runs: Rc<Shared<Runs>>,
    items: usize,
    /// What is in the inputs, if it is in any.
    queue: Option<Queue<u8>>,
}

impl Worker {
    fn scenario<T, R>(
        name: &str,
        items: usize,
        timed: bool,
        f: fn(T) -> R,
        input: fn(u64, &mut Option<Queue<u8>>) -> T,
        is_right: fn(u64, R) -> bool,
    ) -> Scenario
    where
        T: crossproc::Message,
        R: crossproc::Message,
    {
        let build = move || {
            let runs = Rc::new(Shared::new([const { AtomicU64::new(0) }; ITEMS]));
            RUNS.store(std::ptr::from_ref::<Runs>(&runs).cast_mut(), SeqCst);
            let pool = TestPool::new(2, timed);
            let mut queue = None;
            let inputs = (0..items as u64).map(|item| input(item, &mut queue)).collect();
            let result = std::cell::RefCell::new(pool.map(items, f, inputs));
            let result = move |_: &TestPool| {
                let answer = AsyncResult::get_timeout(&mut result.borrow_mut(), patience());
                answer.map(|results| (0..).zip(results).map(|(item, result)| is_right(item, result)).collect())
            };
            Worker { pool, result: Box::new(result), runs, items, queue }
        };
        Scenario::new(format!("pool/{name}"), build)
    }
}

impl World for Worker {
    fn prepare(&mut self) {
        warm_up();
    }

    fn operation(&mut self) {
        self.pool.work(0, 1);
    }

    fn watched(&self) -> Vec<Watched> {
        const SIDES: usize = 256;
        let (tasks, reports, board) = self.pool.shared();
        vec![watch(tasks, SIDES), watch(reports, SIDES), watch(board, 64 + 8 * (1024 + 32))]
    }

    fn check(&mut self, kill: &mut Kill) {
        self.pool.report_death(0, -9);
        let pool = &self.pool;
        let rest = Survivor::start(|| {
            pool.work(1, u64::MAX);
            1
        });
        let answer = (self.result)(&self.pool);
        kill.recovered();
        drop(rest);
        let runs: Vec<u64> = self.runs[..self.items].iter().map(|runs| runs.load(SeqCst)).collect();
        let lost = match &answer {
            Ok(results) => {
                let all = results.len() == self.items && results.iter().all(|is_right| *is_right);
                kill.demand(all, format!("{results:?}"));
                None
            }
            Err(TaskError::WorkerDied { pid: 1, exit_code: -9, index: Some(index) }) => {
                kill.demand(!kill.finished, "the result of a task that was at its end is lost");
                Some(*index)
            }
            Err(error) => {
                kill.demand(false, format!("{error}"));
                return;
            }
        };
        kill.committed(lost.is_none());
        for (item, runs) in runs.iter().enumerate() {
            let possible = if lost == Some(item) { 0..=1 } else { 1..=1 };
            kill.demand(possible.contains(runs), format!("input {item} ran {runs} times, {lost:?} is lost"));
        }
        kill.demand(self.pool.is_idle(), "a task is on its way for ever");
        if let Some(queue) = &self.queue {
            let left = queue.get_timeout(patience());
            kill.demand(left == Err(GetTimeoutError::Disconnected), "a queue in an input is on its way for ever");
        }
    }
}

pub fn scenarios() -> Vec<Scenario> {
    let square = |item: u64, result: u64| result == item * item;
    let plain = |item: u64, _: &mut Option<Queue<u8>>| item;
    let value = |item, _: &mut Option<Queue<u8>>| (item, Atomic::new(0).expect("memory for a number"));
    let with_queue = |item, queue: &mut Option<Queue<u8>>| {
        (item, queue.get_or_insert_with(|| Queue::new().expect("memory for a queue")).clone())
    };
    let is_value = |item: u64, result: Atomic<u64>| result.load(SeqCst) == item * item;
    vec![
        Worker::scenario("one", 1, false, short, plain, square).strategy(Strategy::Exhaustive { limit: 8_000 }),
        Worker::scenario("chunk", ITEMS, false, short, plain, square),
        Worker::scenario("chunk-timed", ITEMS, true, short, plain, square),
        Worker::scenario("chunk-long", ITEMS, false, long, plain, |item, result: String| result == text(item)),
        Worker::scenario("handle", 1, false, handle, value, is_value),
        Worker::scenario("handles", 2, false, handle, value, is_value),
        Worker::scenario("queue", 1, false, queue, with_queue, square),
        Worker::scenario("queues", 2, false, queue, with_queue, square),
    ]
}
