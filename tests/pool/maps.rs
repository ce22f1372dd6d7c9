//! Maps: which error is returned, how far inputs are taken ahead, what inputs and results may contain, how often a
//! shared value is sent, and the errors of a pool that ends.

use super::common::square;
use crate::util::{LIMIT, descriptors, in_a_program, name_of, role, status_number, until, until_killed, within};
use crossproc::{
    Array, Atomic, GetTimeoutError, Lock, Pipe, Pool, Queue, Receiver, RecvError, StartMethod, TaskError, Value,
};
use serde::{Deserialize, Deserializer, Serialize};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Barrier, Mutex};

#[test]
fn the_first_error_is_the_first_inputs_and_not_the_first_in_time() {
    fn fail((n, step): (u32, Atomic<u32>)) -> u32 {
        match n {
            // Earlier results of the other worker have been sent by then.
            0 => until("the others are done", || step.load(SeqCst) == 4),
            1 | 3 => {}
            _ => drop(step.fetch_add(2, SeqCst)),
        }
        assert!(n == 2 || n == 4, "input {n}");
        n
    }
    within(60, || {
        let pool = Pool::new(2).unwrap();
        let inputs = || {
            let step = Atomic::new(0).unwrap();
            (0..5).map(move |n| (n, step.clone()))
        };
        let one_by_one = pool.chunksize(1);
        let starmap = |n: u32, step: Atomic<u32>| fail((n, step));
        for error in [
            one_by_one.map(fail, inputs()).unwrap_err(),
            one_by_one.map_async(fail, inputs()).get().unwrap_err(),
            one_by_one.starmap(starmap, inputs()).unwrap_err(),
            one_by_one.map_with(&(), |(), input| fail(input), inputs()).unwrap_err(),
        ] {
            match error {
                TaskError::Panicked { message, index, .. } => {
                    assert_eq!((message.as_str(), index), ("input 0", Some(0)));
                }
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn inputs_are_taken_as_far_ahead_as_was_asked_and_no_further() {
    within(60, || {
        let pool = Pool::new(2).unwrap();
        let taken = Cell::new(0);
        let inputs = || {
            taken.set(0);
            (0..).inspect(|_| taken.set(taken.get() + 1))
        };
        // Four for each worker, sixteen, one; and that many are, so that workers have something to do.
        for (buffer, ahead) in [(None, 8), (Some(16), 16), (Some(1), 1), (Some(0), 1)] {
            let mut results = pool.imap(square, inputs());
            if let Some(buffer) = buffer {
                results = results.buffer(buffer);
            }
            assert_eq!(taken.get(), 0, "nothing before the first is asked for");
            for n in 0..50 {
                assert_eq!(results.next(), Some(Ok(n * n)));
                assert_eq!(taken.get(), n + ahead, "with {buffer:?}");
            }
        }
        // Whole chunks as long as they have room.
        let mut results = pool.imap_unordered(square, inputs()).chunksize(5);
        for given in 0..50 {
            results.next().unwrap().unwrap();
            assert!((16..=20).contains(&(taken.get() - given)), "{} taken before the {given}th", taken.get());
        }
        drop(results);
        for (chunk, buffer) in [(5, 7), (5, 16), (7, 3)] {
            let mut results = pool.imap(square, inputs()).chunksize(chunk).buffer(buffer);
            for given in 0..50 {
                results.next().unwrap().unwrap();
                assert!((1..=buffer as u64).contains(&(taken.get() - given)), "{} taken, {given} given", taken.get());
            }
        }
        // A timeout is no result: no further input is taken.
        let slow = |_: u64| -> u64 { until_killed() };
        let mut results = pool.imap(slow, inputs()).buffer(3);
        for _ in 0..5 {
            assert_eq!(results.next_timeout(std::time::Duration::from_millis(1)), Some(Err(TaskError::Timeout)));
            assert_eq!(taken.get(), 3);
        }
    });
}

#[test]
fn an_ended_pool_refuses_every_kind_of_map() {
    type Outcome = Result<Vec<u64>, TaskError>;
    fn all(pool: &Pool, size: Option<usize>) -> Vec<Outcome> {
        let with = |base: &u64, n: u64| base + n;
        let (items, pairs) = (|| 0..10_u64, || (0..10_u64).map(|n| (n, 2)));
        let chunked = pool.chunksize(size.unwrap_or(3));
        let mut outcomes = vec![
            chunked.map(square, items()),
            chunked.map_async(square, items()).get(),
            chunked.starmap(u64::pow, pairs()),
            chunked.starmap_async(u64::pow, pairs()).get(),
            chunked.map_with(&1, with, items()),
            pool.imap(square, items()).chunksize(size.unwrap_or(3)).collect(),
            pool.imap_unordered(square, items()).chunksize(size.unwrap_or(3)).collect(),
        ];
        if size.is_none() {
            outcomes.extend([
                pool.map(square, items()),
                pool.map_async(square, items()).get(),
                pool.starmap(u64::pow, pairs()),
                pool.starmap_async(u64::pow, pairs()).get(),
                pool.map_with(&1, with, items()),
                pool.apply(u64::pow, (2, 2)).map(|four| vec![four]),
                pool.apply_async(u64::pow, (2, 2)).get().map(|four| vec![four]),
            ]);
        }
        outcomes
    }
    fn are_all(outcomes: &[Outcome], error: &TaskError) {
        for (call, outcome) in outcomes.iter().enumerate() {
            assert_eq!(outcome.as_ref(), Err(error), "call {call}");
        }
    }
    within(60, || {
        let pool = Pool::new(1).unwrap();
        assert!(all(&pool, None).iter().all(Result::is_ok), "they can succeed");
        are_all(&all(&pool, Some(0)), &TaskError::ChunkSize);
        pool.close();
        are_all(&all(&pool, None), &TaskError::PoolClosed);
        pool.join().unwrap();
        are_all(&all(&pool, None), &TaskError::PoolClosed);
        let pool = Pool::new(1).unwrap();
        pool.terminate();
        are_all(&all(&pool, None), &TaskError::PoolClosed);
        pool.terminate();
        pool.close();
        pool.join().unwrap();
        are_all(&all(&pool, None), &TaskError::PoolClosed);
        let pool = Pool::builder().processes(1).initializer(|| panic!("not today"), ()).build().unwrap();
        let Err(broken @ TaskError::PoolBroken(_)) = pool.apply(square, (1,)) else { panic!("it can work") };
        are_all(&all(&pool, None), &broken);
    });
}

#[test]
fn a_map_that_is_under_way_when_its_pool_ends() {
    within(60, || {
        let pool = Pool::new(2).unwrap();
        let taken = Cell::new(0);
        let inputs = || {
            taken.set(0);
            (0..).inspect(|_| taken.set(taken.get() + 1))
        };
        let mut results = pool.imap(square, inputs()).buffer(16);
        assert_eq!(results.next(), Some(Ok(0)));
        pool.close();
        for n in 1..16 {
            assert_eq!(results.next(), Some(Ok(n * n)), "what was taken before comes to its end");
        }
        assert_eq!((results.next(), results.next()), (Some(Err(TaskError::PoolClosed)), None));
        drop(results);
        pool.join().unwrap();

        let pool = Pool::new(2).unwrap();
        let stuck = |n: u64| if n == 0 { n } else { until_killed() };
        for mut results in [pool.imap(stuck, inputs()).buffer(16), pool.imap_unordered(stuck, inputs()).buffer(16)] {
            // The second map finds a pool that has ended.
            if let Some(Ok(first)) = results.next() {
                assert_eq!(first, 0);
                pool.terminate();
                for _ in 1..16 {
                    assert_eq!(results.next(), Some(Err(TaskError::Cancelled)));
                }
                assert_eq!(results.next(), Some(Err(TaskError::PoolClosed)));
            }
            assert_eq!(results.next(), None);
        }
    });
}

#[test]
fn a_map_takes_no_input_for_a_pool_that_is_closed() {
    within(60, || {
        let pool = Pool::new(1).unwrap();
        let taken = Cell::new(0);
        let mut results = pool.imap(square, (0..).inspect(|_| taken.set(taken.get() + 1))).buffer(16);
        results.next().unwrap().unwrap();
        pool.close();
        assert_eq!(results.by_ref().filter(Result::is_ok).count(), 15);
        assert_eq!(taken.get(), 16, "an input that is taken has a result");
    });
}

type Made = (Queue<u64>, Array<u64>, Lock, Value<u64>, Receiver<u64>, Pipe<u64>, Pipe<u64>);

#[test]
fn handles_of_all_kinds_are_results() {
    fn make(n: u64) -> Made {
        let (queue, value) = (Queue::new().unwrap(), Value::new(n).unwrap());
        queue.put(n).unwrap();
        let (sender, receiver) = Pipe::<u64>::one_way().unwrap();
        sender.send(&n).unwrap();
        let (one, other) = Pipe::pair().unwrap();
        one.send(&n).unwrap();
        (queue, Array::from_slice(&[n; 5]).unwrap(), Lock::new().unwrap(), value, receiver, one, other)
    }
    within(60, || {
        let pool = Pool::new(2).unwrap();
        for size in [1, 7] {
            let lazy = pool.imap(make, 0..20).chunksize(size).collect::<Result<Vec<_>, _>>().unwrap();
            for made in [lazy, pool.chunksize(size).map(make, 0..20).unwrap()] {
                assert_eq!(made.len(), 20);
                for (n, (queue, array, lock, value, receiver, one, other)) in (0..).zip(made) {
                    assert_eq!((queue.try_get(), array.to_vec(), value.get()), (Ok(n), Ok(vec![n; 5]), n));
                    assert!(lock.try_lock().is_ok());
                    // The worker has kept none of them.
                    assert_eq!(queue.get_timeout(LIMIT), Err(GetTimeoutError::Disconnected));
                    assert_eq!((receiver.recv(), receiver.recv()), (Ok(n), Err(RecvError::Eof)));
                    assert_eq!(other.recv(), Ok(n));
                    drop(one);
                    assert_eq!(other.recv(), Err(RecvError::Eof));
                }
            }
        }
        let made = pool.apply(make, (7,)).unwrap();
        assert_eq!((made.0.try_get(), made.3.get(), made.4.recv()), (Ok(7), 7, Ok(7)));
    });
}

#[test]
fn both_ends_of_a_pipe_are_inputs() {
    fn answer((pipe, lock): (Pipe<u64>, Lock)) -> u64 {
        let _held = lock.lock().unwrap();
        let n = pipe.recv().unwrap();
        pipe.send(&(n + 1)).unwrap();
        n
    }
    within(60, || {
        let pool = Pool::new(2).unwrap();
        let lock = Lock::new().unwrap();
        for size in [1, 7] {
            let (mine, theirs): (Vec<_>, Vec<_>) = (0..15).map(|_| Pipe::<u64>::pair().unwrap()).unzip();
            (0..).zip(&mine).for_each(|(n, pipe)| pipe.send(&n).unwrap());
            let inputs = theirs.into_iter().map(|pipe| (pipe, lock.clone()));
            assert_eq!(pool.chunksize(size).map(answer, inputs).unwrap(), (0..15).collect::<Vec<_>>());
            for (n, pipe) in (0..).zip(mine) {
                assert_eq!((pipe.recv(), pipe.recv()), (Ok(n + 1), Err(RecvError::Eof)), "nobody keeps an input's end");
            }
        }
    });
}

/// A pool releases the handles that it has sent: otherwise this process would wait forever for a holder that is gone.
#[test]
fn no_handle_stays_behind() {
    fn put(queue: Queue<u64>, n: u64) {
        queue.put(n).unwrap();
    }
    within(60, || {
        let pool = Pool::new(2).unwrap();
        let queue = Queue::new().unwrap();
        let is_alone = |what: &str| {
            let rest = std::iter::repeat_with(|| queue.get_timeout(LIMIT)).find(Result::is_err).unwrap();
            assert_eq!(rest.unwrap_err(), GetTimeoutError::Disconnected, "{what}");
        };
        pool.apply(put, (queue.clone(), 1)).unwrap();
        is_alone("after a task");
        for size in [1, 7] {
            pool.chunksize(size).starmap(put, (0..20).map(|n| (queue.clone(), n))).unwrap();
            is_alone("after a map");
        }
        let panics = |queue: Queue<u64>, _: i32| {
            queue.put(1).unwrap();
            panic!("with a queue in its hand")
        };
        pool.starmap(panics, (0..10).map(|n| (queue.clone(), n))).unwrap_err();
        is_alone("after panics");
        // A cancelled task is still in the ring until a worker skips it.
        let (begun, gate) = (Atomic::new(0).unwrap(), Atomic::new(0).unwrap());
        let held = |begun: Atomic<u32>, gate: Atomic<u32>| {
            begun.fetch_add(1, SeqCst);
            until("the gate is open", || gate.load(SeqCst) == 1);
        };
        let holds: Vec<_> = (0..2).map(|_| pool.apply_async(held, (begun.clone(), gate.clone()))).collect();
        until("both are held", || begun.load(SeqCst) == 2);
        let queued: Vec<_> = (0..50).map(|n| pool.apply_async(put, (queue.clone(), n))).collect();
        assert!(queued.iter().all(|result| result.cancel()));
        gate.store(1, SeqCst);
        holds.into_iter().for_each(|hold| hold.get().unwrap());
        assert!(queued.into_iter().all(|result| result.get() == Err(TaskError::Cancelled)));
        pool.chunksize(1).map(square, 0..200).unwrap();
        is_alone("after it was taken back");
        let dies = |queue: Queue<u64>, _: i32| {
            queue.put(1).unwrap();
            std::process::abort()
        };
        pool.chunksize(3).starmap(dies, (0..6).map(|n| (queue.clone(), n))).unwrap_err();
        is_alone("after deaths");
        let stuck = |_: Queue<u64>, begun: Atomic<u32>| {
            begun.fetch_add(1, SeqCst);
            until_killed()
        };
        begun.store(0, SeqCst);
        let pending: Vec<_> = (0..50).map(|_| pool.apply_async(stuck, (queue.clone(), begun.clone()))).collect();
        // A worker that is killed while it unpacks its task leaves the handles in it in flight.
        until("both have theirs", || begun.load(SeqCst) == 2);
        drop(pool);
        drop(pending);
        is_alone("after the pool");
    });
}

/// Each of these arrays has a segment of its own, so a descriptor where it is.
#[test]
fn a_worker_lets_go_what_it_was_given() {
    fn last(array: Array<u64>) -> u64 {
        array.get(19_999).unwrap()
    }
    within(60, || {
        let pool = Pool::new(1).unwrap();
        let has = || pool.apply(descriptors, ()).unwrap();
        let array = |n: u64| Array::from_slice(&[n; 20_000]).unwrap();
        let some = |round: u64| {
            assert_eq!(pool.chunksize(1 + round as usize % 5).map(last, (0..20).map(array)).unwrap().len(), 20);
            assert_eq!(
                pool.map_with(&array(round), |shared, n: u64| last(shared.clone()) + n, 0..3).unwrap()[2],
                round + 2
            );
            assert_eq!(pool.map(|n: u64| Array::from_slice(&[n; 20_000]).unwrap(), 0..5).unwrap().len(), 5);
            let (begun, gate) = (Atomic::new(0_u32).unwrap(), Atomic::new(0_u32).unwrap());
            let held = |begun: Atomic<u32>, gate: Atomic<u32>| {
                begun.fetch_add(1, SeqCst);
                until("the gate is open", || gate.load(SeqCst) == 1);
            };
            let hold = pool.apply_async(held, (begun.clone(), gate.clone()));
            until("it is held", || begun.load(SeqCst) == 1);
            let cancelled = pool.map_async(last, (0..20).map(array));
            assert!(cancelled.cancel());
            gate.store(1, SeqCst);
            hold.get().unwrap();
        };
        (0..3).for_each(some);
        let few = has();
        (0..20).for_each(some);
        let many = has();
        assert!(many <= few + 4, "{few} to {many} descriptors");
    });
}

#[test]
fn a_shared_value_has_handles_of_all_kinds() {
    type Shared = (Queue<usize>, Value<usize>, Array<u8>, Lock, Pipe<usize>);
    fn work((queue, value, array, lock, pipe): &Shared, n: usize) -> usize {
        let _held = lock.lock().unwrap();
        queue.put(n).unwrap();
        *value.lock().unwrap() += n;
        array.set(n, 1).unwrap();
        pipe.send(&n).unwrap();
        value.get()
    }
    within(60, || {
        let pool = Pool::new(2).unwrap();
        for size in [1, 7] {
            let (mine, theirs) = Pipe::pair().unwrap();
            let shared: Shared = (
                Queue::new().unwrap(),
                Value::new(0).unwrap(),
                Array::zeroed(50).unwrap(),
                Lock::new().unwrap(),
                theirs,
            );
            let sums = pool.chunksize(size).map_with(&shared, work, 0..50).unwrap();
            assert_eq!(sums.iter().max(), Some(&(0..50).sum()), "one at a time");
            assert_eq!(shared.1.get(), (0..50).sum());
            assert_eq!(shared.2.to_vec().unwrap(), [1; 50]);
            let all: BTreeSet<usize> = (0..50).collect();
            assert_eq!(shared.0.get_many(50).unwrap().into_iter().collect::<BTreeSet<_>>(), all);
            assert_eq!((0..50).map(|_| mine.recv().unwrap()).collect::<BTreeSet<_>>(), all);
        }
    });
}

/// Counts in each process how often one was decoded there.
#[derive(Serialize)]
struct Counted(u64);
static DECODED: AtomicUsize = AtomicUsize::new(0);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DECODED.fetch_add(1, SeqCst);
        u64::deserialize(deserializer).map(Counted)
    }
}

#[test]
fn two_maps_at_once_send_their_values_once_each() {
    const MAPS: u64 = 10;
    within(60, || {
        let pool = Pool::new(2).unwrap();
        let see = |shared: &Counted, n: u64| (shared.0 + n, std::process::id(), DECODED.load(SeqCst));
        let (start, seen) = (Barrier::new(2), Mutex::new(BTreeMap::<u32, (BTreeSet<u64>, usize)>::new()));
        std::thread::scope(|threads| {
            for thread in 0..2 {
                let (pool, start, seen) = (&pool, &start, &seen);
                threads.spawn(move || {
                    for map in 0..MAPS {
                        let base = (thread * MAPS + map) * 1000;
                        start.wait();
                        let results = pool.chunksize(1).map_with(&Counted(base), see, 0..300).unwrap();
                        let mut seen = seen.lock().unwrap();
                        for (n, (sum, worker, decoded)) in (0..).zip(results) {
                            assert_eq!(sum, base + n);
                            let of_worker = seen.entry(worker).or_default();
                            of_worker.0.insert(base);
                            of_worker.1 = of_worker.1.max(decoded);
                        }
                    }
                });
            }
        });
        let seen = seen.into_inner().unwrap();
        assert!((1..=2).contains(&seen.len()));
        for (worker, (maps, decoded)) in seen {
            assert_eq!(decoded, maps.len(), "times in worker {worker}");
        }
    });
}

#[test]
fn workers_are_started_in_each_way_under_their_names() {
    within(60, || {
        for method in [StartMethod::ForkServer, StartMethod::Spawn] {
            let pool = Pool::builder().processes(2).start_method(method).name("cook").build().unwrap();
            assert_eq!(pool.map(square, 0..100).unwrap(), (0..100).map(square).collect::<Vec<_>>());
            let names = |pool: &Pool| pool.workers().iter().map(|worker| worker.name.clone()).collect::<Vec<_>>();
            assert_eq!(names(&pool), ["cook-1", "cook-2"]);
            until("the system knows their names", || {
                pool.workers().iter().all(|worker| name_of(worker.id) == worker.name)
            });
            let before: BTreeSet<u32> = pool.workers().iter().map(|worker| worker.id).collect();
            assert!(matches!(
                pool.apply(|| std::process::exit(5), ()),
                Err(TaskError::WorkerDied { exit_code: 5, .. })
            ));
            until("another has come", || names(&pool) == ["cook-1", "cook-2"]);
            let after: BTreeSet<u32> = pool.workers().iter().map(|worker| worker.id).collect();
            assert_eq!(before.intersection(&after).count(), 1);
            assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
        }
    });
}

#[test]
fn a_million_results_that_nobody_waits_for() {
    in_a_program(120, a_million_results_role);
}

#[test]
fn a_million_results_role() {
    let Some(_) = role() else { return };
    let pool = Pool::new(2).unwrap();
    pool.map(square, 0..1000).unwrap();
    let before = status_number(std::process::id(), "VmRSS");
    (0..1_000_000_u64).for_each(|n| drop(pool.apply_async(square, (n % 1000,))));
    pool.close();
    pool.join().unwrap();
    let most = status_number(std::process::id(), "VmHWM");
    assert!(most > 0 && most < before + (700 << 10), "{before} to {most} KiB");
    assert_eq!(pool.insights().workers.iter().map(|worker| worker.items).sum::<u64>(), 1_001_000);
}
