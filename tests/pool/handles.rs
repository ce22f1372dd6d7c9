//! Handles in tasks, results and shared values: they lead to the same object everywhere, and are released after any
//! kill, cancellation or termination.

use super::common::{cube, gates, held, pids};
use crate::util::{Random, kill, until, until_killed, within};
use crossproc::{Array, AsyncResult, Atomic, GetTimeoutError, Lock, Pipe, Pool, Queue, Sender, TaskError, Value};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

#[test]
fn handles_are_inputs_and_results() {
    fn work(item: (u64, Queue<u64>, Value<u64>, Lock, Sender<u64>)) -> Value<u64> {
        let (n, queue, value, lock, sender) = item;
        let _held = lock.lock().unwrap();
        queue.put(n).unwrap();
        sender.send(&n).unwrap();
        *value.lock().unwrap() += n;
        value
    }
    within(60, || {
        let pool = Pool::new(2).unwrap();
        let (queue, lock) = (Queue::new().unwrap(), Lock::new().unwrap());
        let (sender, receiver) = Pipe::<u64>::one_way().unwrap();
        for size in [1, 7] {
            let values: Vec<_> = (0..20).map(|_| Value::new(1_u64).unwrap()).collect();
            let inputs = (0..20).zip(&values);
            let inputs = inputs.map(|(n, value)| (n, queue.clone(), value.clone(), lock.clone(), sender.clone()));
            let results = pool.chunksize(size).map(work, inputs).unwrap();
            for (n, result) in (0..).zip(&results) {
                assert_eq!((result.get(), values[n as usize].get()), (n + 1, n + 1));
            }
            let got: BTreeSet<u64> = queue.get_many(20).unwrap().into_iter().collect();
            assert_eq!(got, (0..20).collect());
            let sent: BTreeSet<u64> = (0..20).map(|_| receiver.recv().unwrap()).collect();
            assert_eq!(sent, (0..20).collect());
        }
        let array = Array::<u64>::zeroed(100_000).unwrap();
        pool.map_with(
            &(array.clone(), 2),
            |(array, factor), i: usize| array.set(i, (i * factor) as u64).unwrap(),
            0..1000,
        )
        .unwrap();
        assert_eq!(array.get(999), Ok(1998));
        let made = pool.map(|n: u64| Array::from_slice(&vec![n; 10_000]).unwrap(), 0..10).unwrap();
        assert!((0..).zip(made).all(|(n, array)| array.get(9_999) == Ok(n)));
    });
}

/// A ring carries handles on 128 memories at a time.
#[test]
fn more_handles_than_have_room_wait_for_it() {
    fn last((array, gate): (Array<u64>, Atomic<u32>)) -> u64 {
        until("the gate is open", || gate.load(SeqCst) == 1);
        array.get(9_999).unwrap()
    }
    within(120, || {
        let pool = Pool::new(2).unwrap();
        let (_, gate) = gates();
        let (begun, other) = gates();
        let long = pool.apply_async(held, (begun.clone(), other.clone()));
        let arrays: Vec<_> = (0..300).map(|n| Array::from_slice(&vec![n; 10_000]).unwrap()).collect();
        let results = pool.chunksize(1).map_async(last, arrays.iter().map(|array| (array.clone(), gate.clone())));
        gate.store(1, SeqCst);
        assert_eq!(results.get().unwrap(), (0..300).collect::<Vec<_>>());
        // Too many in one task: that never has room.
        let many = pool.apply(|arrays: Vec<Array<u64>>| arrays.len(), (arrays.clone(),));
        assert_eq!(begun.load(SeqCst), 1);
        other.store(1, SeqCst);
        assert_eq!(long.get(), Ok(7));
        assert!(matches!(many, Err(TaskError::NoSpace | TaskError::Encode(_))), "{many:?}");
        assert_eq!(pool.map(cube, 0..3).unwrap(), [0, 1, 8]);
    });
}

fn stuck((_queue, begun): (Queue<u8>, Atomic<u32>)) {
    begun.fetch_add(1, SeqCst);
    until_killed();
}

/// The program's own is the last handle on it.
fn is_alone(queue: &Queue<u8>, when: &str) {
    let left = queue.get_timeout(Duration::from_secs(10));
    assert_eq!(left, Err(GetTimeoutError::Disconnected), "{when}");
}

#[test]
fn workers_that_are_killed_while_they_take_handles_leave_none() {
    within(180, || {
        let mut random = Random(11);
        for round in 0..200 {
            let pool = Pool::new(2).unwrap();
            let (queue, begun) = (Queue::<u8>::new().unwrap(), Atomic::new(0).unwrap());
            let results: Vec<_> = (0..50).map(|_| pool.apply_async(stuck, ((queue.clone(), begun.clone()),))).collect();
            (0..random.next() % 2000).for_each(|_| std::hint::spin_loop());
            drop((pool, results));
            is_alone(&queue, &format!("round {round}, {} had begun", begun.load(SeqCst)));
        }
    });
}

#[test]
fn a_pool_that_ends_leaves_no_handle_that_was_on_its_way_back() {
    within(180, || {
        let mut random = Random(7);
        let give = |queue: Queue<u8>| queue;
        for round in 0..400 {
            let pool = Pool::new(2).unwrap();
            let queue = Queue::<u8>::new().unwrap();
            let results: Vec<_> = (0..6).map(|_| pool.apply_async(give, (queue.clone(),))).collect();
            let shared = pool.map_async(give, vec![queue.clone(); 20]);
            (0..random.next() % 20_000).for_each(|_| std::hint::spin_loop());
            match round % 2 {
                0 => drop(pool),
                _ => {
                    pool.terminate();
                    pool.join().unwrap();
                }
            }
            // Those who could ask for them are there still, and have what came.
            let came = results.into_iter().map(AsyncResult::get).filter(Result::is_ok).count();
            drop(shared);
            is_alone(&queue, &format!("round {round}, {came} came"));
        }
    });
}

#[test]
fn handles_come_back_with_tasks_that_are_taken_back_or_run_elsewhere() {
    within(120, || {
        let pool = Pool::builder().processes(2).retries(100).build().unwrap();
        for round in 0..10 {
            let (queue, taken_back) = (Queue::<u8>::new().unwrap(), Queue::<u8>::new().unwrap());
            let count = |(queue, n): (Queue<u8>, u8)| queue.put(n).unwrap();
            let results: Vec<_> = (0..100).map(|n| pool.apply_async(count, ((queue.clone(), n),))).collect();
            let others: Vec<_> = (0..100).map(|n| pool.apply_async(count, ((taken_back.clone(), n),))).collect();
            let mut cancelled = 0;
            for _ in 0..3 {
                pids(&pool).into_iter().for_each(kill);
                cancelled += others.iter().skip(50).filter(|other| other.cancel()).count();
            }
            results.into_iter().for_each(|result| result.get().unwrap());
            let ends = others.into_iter().map(AsyncResult::get);
            assert_eq!(ends.filter(|end| *end == Err(TaskError::Cancelled)).count(), cancelled);
            // A task that was killed may have done its work before, and then does it again.
            let there: BTreeSet<u8> = std::iter::from_fn(|| queue.get_timeout(Duration::from_secs(10)).ok()).collect();
            assert_eq!(there, (0..100).collect(), "round {round}");
            is_alone(&queue, &format!("round {round}"));
            while taken_back.try_get().is_ok() {}
            is_alone(&taken_back, &format!("round {round}, taken back"));
        }
        pool.close();
        pool.join().unwrap();
    });
}

#[test]
fn workers_that_are_killed_while_they_take_a_shared_value_leave_no_handle_of_it() {
    within(180, || {
        for round in 0..30 {
            let queue = Queue::<u8>::new().unwrap();
            let pool = Pool::builder().processes(2).retries(1000).build().unwrap();
            let workers: Vec<u32> = pids(&pool);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    (0..round * 300).for_each(|_| std::hint::spin_loop());
                    workers.into_iter().for_each(kill);
                });
                let put = |queue: &Queue<u8>, n: u8| queue.put(n).unwrap();
                pool.chunksize(1).map_with(&queue, put, 0..20).unwrap();
            });
            drop(pool);
            while queue.try_get().is_ok() {}
            is_alone(&queue, &format!("round {round}"));
        }
    });
}
