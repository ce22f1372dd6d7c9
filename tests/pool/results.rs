//! Pending results: callbacks and their threads, cancellation, several waiters, forks.

use super::common::{gates, held, square};
use crate::util::{LIMIT, Random, by_itself, program, role, until, within};
use crossproc::{AsyncResult, Atomic, Pool, Queue, RawArray, TaskError, wait};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::future::Future;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// A pool whose workers are all held, until the gate is opened.
fn held_pool(workers: usize) -> (Pool, Atomic<u32>, Vec<AsyncResult<u32>>) {
    let pool = Pool::new(workers).unwrap();
    let (begun, gate) = gates();
    let holds = (0..workers).map(|_| pool.apply_async(held, (begun.clone(), gate.clone()))).collect();
    until("all are held", || begun.load(SeqCst) as usize == workers);
    (pool, gate, holds)
}

fn is_send<T: Send>(_: &T) {}
fn is_sync<T: Sync>(_: &T) {}

#[test]
fn pools_and_results_go_to_other_threads() {
    within(60, || {
        let pool = Pool::new(1).unwrap();
        let result = pool.apply_async(square, (3,));
        let lazy = pool.imap(square, 0..3);
        is_send(&pool);
        is_sync(&pool);
        is_send(&result);
        is_sync(&result);
        is_send(&lazy);
        std::thread::scope(|threads| {
            threads.spawn(move || assert_eq!(lazy.map(Result::unwrap).sum::<u64>(), 5)).join().unwrap();
        });
        let thread = std::thread::spawn(move || drop(pool)); // it ends where it was not made
        thread.join().unwrap();
        assert!(matches!(result.get(), Ok(9) | Err(TaskError::Cancelled)));
    });
}

#[test]
fn callbacks_of_one_result_run_in_their_order_and_only_those_that_are_meant() {
    within(60, || {
        let (pool, gate, holds) = held_pool(1);
        let said = Arc::new(Mutex::new(Vec::new()));
        let say = |what: &'static str| {
            let said = said.clone();
            move |answer: String| said.lock().unwrap().push(format!("{what}: {answer}"))
        };
        let (a, b, c) = (say("a"), say("b"), say("c"));
        let good = pool
            .apply_async(square, (3,))
            .on_done(move |n| a(n.to_string()))
            .on_error(|error| unreachable!("{error}"))
            .on_done(move |n| b(n.to_string()));
        let bad = pool
            .map_async(|n: u64| assert!(n != 2, "two"), 0..4)
            .on_done(|_| unreachable!())
            .on_error(move |error| c(error.to_string()));
        assert!(said.lock().unwrap().is_empty());
        gate.store(1, SeqCst);
        assert_eq!(good.get(), Ok(9));
        // Later results may be there already.
        assert_eq!(said.lock().unwrap()[..2], ["a: 9", "b: 9"]);
        assert!(bad.get().is_err());
        assert_eq!(said.lock().unwrap()[2..], ["c: input 2: panicked: two"]);
        assert!(holds.into_iter().all(|hold| hold.get() == Ok(7)));
        let (to, from) = mpsc::channel();
        let died = pool.apply_async(|| std::process::exit(5), ());
        let error = died.on_error(move |error| to.send(error.clone()).unwrap()).get().unwrap_err();
        assert!(matches!(error, TaskError::WorkerDied { exit_code: 5, index: None, .. }), "{error:?}");
        assert_eq!(from.try_recv(), Ok(error));
    });
}

#[test]
fn callbacks_run_in_one_thread_that_is_not_the_callers() {
    within(60, || {
        let pool = Pool::new(2).unwrap();
        let threads = Arc::new(Mutex::new(Vec::new()));
        let results = (0..100).map(|n| {
            let threads = threads.clone();
            pool.apply_async(square, (n,)).on_done(move |_| threads.lock().unwrap().push(std::thread::current().id()))
        });
        results.collect::<Vec<_>>().into_iter().for_each(|result| assert!(result.get().is_ok()));
        let mut threads = threads.lock().unwrap().clone();
        // A callback that was added after the end of its task ran in this thread, as it should.
        threads.retain(|thread| *thread != std::thread::current().id());
        threads.dedup();
        assert!(threads.len() <= 1, "{threads:?}");
    });
}

#[test]
fn a_pool_that_ends_says_so_to_every_callback() {
    within(60, || {
        for by_drop in [false, true] {
            let (pool, _gate, holds) = held_pool(2);
            let cancelled = Arc::new(AtomicUsize::new(0));
            let results: Vec<_> = holds
                .into_iter()
                .chain((0..500).map(|_| pool.apply_async(|| 1_u32, ())))
                .map(|result| {
                    let cancelled = cancelled.clone();
                    result.on_done(|_| unreachable!()).on_error(move |error| {
                        assert_eq!(*error, TaskError::Cancelled);
                        cancelled.fetch_add(1, SeqCst);
                    })
                })
                .collect();
            match by_drop {
                true => drop(pool),
                false => {
                    pool.terminate();
                    pool.join().unwrap();
                }
            }
            assert_eq!(cancelled.load(SeqCst), 502, "when it is over, all have run");
            assert!(results.into_iter().all(|result| result.get() == Err(TaskError::Cancelled)));
        }
    });
}

#[test]
fn all_callbacks_have_run_when_join_returns_also_where_another_thread_terminates() {
    within(120, || {
        for round in 0..100 {
            let (pool, _gate, _holds) = held_pool(1);
            let cancelled = Arc::new(AtomicUsize::new(0));
            for _ in 0..1000 {
                let cancelled = cancelled.clone();
                pool.apply_async(|| 1, ()).on_error(move |_| {
                    cancelled.fetch_add(1, SeqCst);
                });
            }
            std::thread::scope(|threads| {
                threads.spawn(|| pool.terminate());
                threads.spawn(|| {
                    until("it is terminated", || pool.join().is_ok());
                    assert_eq!(cancelled.load(SeqCst), 1000, "in round {round}");
                });
            });
        }
    });
}

#[test]
fn a_callback_may_end_its_pool() {
    within(60, || {
        for how in ["close", "terminate", "drop"] {
            let (pool, gate, holds) = held_pool(1);
            let pool = Arc::new(pool);
            let inner = pool.clone();
            let (to, from) = mpsc::channel();
            let first = pool.apply_async(square, (3,)).on_done(move |_| {
                match how {
                    "close" => inner.close(),
                    "terminate" => inner.terminate(),
                    _ => {}
                }
                let joined = if how == "drop" { Ok(()) } else { inner.join() };
                drop(inner); // perhaps the last that has it
                to.send(joined).unwrap();
            });
            let others: Vec<_> = (0..100).map(|n| pool.apply_async(square, (n,))).collect();
            if how == "drop" {
                drop(pool);
                gate.store(1, SeqCst);
                assert_eq!(from.recv_timeout(LIMIT), Ok(Ok(())));
            } else {
                gate.store(1, SeqCst);
                assert_eq!(from.recv_timeout(LIMIT), Ok(Ok(())), "{how}, and nobody else waits");
                assert_eq!(pool.apply(square, (1,)), Err(TaskError::PoolClosed));
            }
            assert_eq!(first.get(), Ok(9));
            assert!(holds.into_iter().all(|hold| hold.get() == Ok(7)));
            for (n, other) in (0..).zip(others) {
                match other.get() {
                    Ok(result) => assert_eq!(result, n * n),
                    Err(error) => assert!(how != "close" && error == TaskError::Cancelled, "{how}: {error}"),
                }
            }
        }
    });
}

#[test]
fn an_error_that_was_given_out_is_no_success() {
    within(60, || {
        let pool = Pool::new(1).unwrap();
        let mut good = pool.apply_async(square, (3,));
        let mut bad = pool.apply_async(|| panic!("no"), ());
        good.wait();
        bad.wait();
        for _ in 0..2 {
            assert_eq!((good.successful(), bad.successful()), (Ok(true), Ok(false)));
            assert!(good.get_timeout(LIMIT) != Err(TaskError::Timeout) && bad.get_timeout(LIMIT).is_err());
        }
        assert_eq!((good.get(), bad.get()), (Err(TaskError::Taken), Err(TaskError::Taken)));
    });
}

/// Each either ran and has its result, or was cancelled and did not run.
#[test]
fn a_task_is_cancelled_or_it_runs() {
    fn run((n, runs): (usize, RawArray<u64>)) -> usize {
        runs.set(n, runs.get(n).unwrap() + 1);
        n
    }
    const TASKS: usize = 3000;
    within(120, || {
        let pool = Pool::new(2).unwrap();
        let mut random = Random(7);
        let (mut cancelled, mut done) = (0, 0);
        for _ in 0..4 {
            let runs = RawArray::<u64>::zeroed(TASKS).unwrap();
            let (begun, gate) = gates();
            let holds = [(); 2].map(|()| pool.apply_async(held, (begun.clone(), gate.clone())));
            until("both are held", || begun.load(SeqCst) == 2);
            let results: Vec<_> = (0..TASKS).map(|n| pool.apply_async(run, ((n, runs.clone()),))).collect();
            gate.store(1, SeqCst);
            // From the end, and so against the workers.
            let wins: Vec<_> =
                results.iter().rev().map(|result| random.next().is_multiple_of(2) && result.cancel()).collect();
            done += holds.into_iter().filter_map(|hold| hold.get().ok()).count() as u64;
            for (n, (result, won)) in results.into_iter().zip(wins.into_iter().rev()).enumerate() {
                assert_eq!(result.get(), if won { Err(TaskError::Cancelled) } else { Ok(n) });
                assert_eq!(runs.get(n), Some(u64::from(!won)), "runs of {n}, cancelled: {won}");
                if won { cancelled += 1 } else { done += 1 }
            }
        }
        assert!(cancelled > 100 && done > 100, "{cancelled} cancelled, {done} done");
        assert_eq!(pool.insights().workers.iter().map(|worker| worker.items).sum::<u64>(), done);
    });
}

#[test]
fn a_map_that_is_cancelled_half_way_begins_nothing_more() {
    within(60, || {
        let pool = Pool::new(2).unwrap();
        let (begun, gate) = gates();
        let item = |(begun, gate): (Atomic<u32>, Atomic<u32>)| held(begun, gate);
        for size in [1, 7] {
            begun.store(0, SeqCst);
            gate.store(0, SeqCst);
            let many = pool.chunksize(size).map_async(item, vec![(begun.clone(), gate.clone()); 70]);
            until("two have begun", || begun.load(SeqCst) == 2);
            assert!(many.cancel() && !many.cancel());
            assert_eq!(many.get(), Err(TaskError::Cancelled));
            gate.store(1, SeqCst);
            assert_eq!(pool.apply(square, (2,)), Ok(4));
            until("the two chunks are done", || {
                let items: u64 = pool.insights().workers.iter().map(|worker| worker.items).sum();
                items == if size == 1 { 3 } else { 2 + 1 + 14 + 1 }
            });
            assert_eq!(begun.load(SeqCst) as usize, 2 * size);
        }
    });
}

#[test]
fn many_threads_wait_for_one_result() {
    within(60, || {
        let (pool, gate, holds) = held_pool(1);
        let result = &holds[0];
        std::thread::scope(|threads| {
            let waits: Vec<_> = (0..8)
                .map(|n| {
                    threads.spawn(move || match n % 3 {
                        0 => result.wait(),
                        1 => assert!(result.wait_timeout(LIMIT)),
                        _ => assert_eq!(wait(&[result], None), [0]),
                    })
                })
                .collect();
            assert!(!result.wait_timeout(Duration::from_millis(20)), "they have begun to, most likely");
            gate.store(1, SeqCst);
            waits.into_iter().for_each(|wait| wait.join().unwrap());
        });
        assert_eq!(result.successful(), Ok(true));
        drop(pool);
    });
}

#[test]
fn a_timeout_ends_in_time_while_the_results_of_others_stream_by() {
    within(60, || {
        let pool = Pool::new(2).unwrap();
        let (begun, gate) = gates();
        let mut slow = pool.apply_async(held, (begun, gate.clone()));
        let others = pool.chunksize(1).map_async(square, 0..300_000);
        for _ in 0..3 {
            let start = Instant::now();
            assert_eq!(slow.get_timeout(Duration::from_millis(30)), Err(TaskError::Timeout));
            let took = start.elapsed();
            assert!((Duration::from_millis(30)..Duration::from_millis(500)).contains(&took), "{took:?}");
        }
        assert!(!others.ready(), "they stream by still");
        gate.store(1, SeqCst);
        assert_eq!((slow.get(), others.get().map(|all| all.len())), (Ok(7), Ok(300_000)));
    });
}

#[test]
fn a_future_is_polled_by_hand() {
    struct Count(AtomicUsize);
    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    within(60, || {
        let (_pool, gate, mut holds) = held_pool(1);
        let (old, new) = (Arc::new(Count(AtomicUsize::new(0))), Arc::new(Count(AtomicUsize::new(0))));
        let mut result = std::pin::pin!(holds.remove(0));
        for waker in [&old, &new] {
            let waker = Waker::from(waker.clone());
            assert_eq!(result.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
        }
        gate.store(1, SeqCst);
        until("it is woken", || new.0.load(SeqCst) == 1);
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(result.as_mut().poll(&mut context), Poll::Ready(Ok(7)));
        assert_eq!(result.as_mut().poll(&mut context), Poll::Ready(Err(TaskError::Taken)), "and no panic");
        assert_eq!(old.0.load(SeqCst), 0, "the last waker counts");
    });
}

#[test]
fn several_results_and_a_queue_are_waited_for() {
    within(60, || {
        let pool = Pool::new(2).unwrap();
        let (begun, first) = gates();
        let (_, second) = gates();
        let results =
            [pool.apply_async(held, (begun.clone(), first.clone())), pool.apply_async(held, (begun, second.clone()))];
        let queue = Queue::<u8>::new().unwrap();
        second.store(1, SeqCst);
        assert_eq!(wait(&[&results[0], &queue, &results[1]], None), [2]);
        queue.put(1).unwrap();
        assert_eq!(wait(&[&results[0], &queue, &results[1]], None), [1, 2]);
        first.store(1, SeqCst);
        assert_eq!(wait(&[&results[0]], Some(LIMIT)), [0]);
    });
}

/// An input whose destructor panics, where it was made.
struct Bomb(u64, bool);

impl Serialize for Bomb {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Bomb {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(|n| Bomb(n, false))
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.1, "in the destructor");
    }
}

/// In a program of its own, since there it would hang for good.
/// A result whose destructor panics in the process of the pool.
#[derive(Serialize)]
struct Fuse(u64);

impl<'de> Deserialize<'de> for Fuse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Fuse)
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        assert!(crossproc::parent().is_some(), "in the destructor");
    }
}

#[test]
fn a_destructor_that_panics_harms_no_pool() {
    within(60, || {
        for how in ["who waits", "the pool's thread", "nobody wants it", "a waker"] {
            program(a_destructor_that_panics_role, how, None).join();
        }
    });
}

#[test]
fn a_destructor_that_panics_role() {
    let Some(how) = role() else { return };
    let pool = Pool::new(1).unwrap();
    if how == "nobody wants it" {
        drop(pool.apply_async(Fuse, (1,)));
        // Of this one a part has come when it is taken back, and all are dropped by the pool.
        let gate = Atomic::new(0).unwrap();
        let hold = |(n, gate): (u64, Atomic<u32>)| {
            until("the gate is open", || n < 3 || gate.load(SeqCst) == 1);
            Fuse(n)
        };
        let some = pool.chunksize(1).map_async(hold, (0..100).map(|n| (n, gate.clone())));
        let last = pool.apply_async(square, (3,));
        assert!(some.cancel());
        drop(some);
        gate.store(1, SeqCst);
        assert_eq!(last.get(), Ok(9));
    }
    if how == "a waker" {
        struct Panics;
        impl std::task::Wake for Panics {
            fn wake(self: Arc<Self>) {
                panic!("in the waker");
            }
        }
        let (begun, gate) = gates();
        let results = [false, true].map(|calls| {
            let result = pool.apply_async(held, (begun.clone(), gate.clone()));
            let mut result = std::pin::pin!(if calls { result.on_done(|_| ()) } else { result });
            let waker = Waker::from(Arc::new(Panics));
            assert!(result.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        });
        gate.store(1, SeqCst);
        assert_eq!(results, [(), ()]);
    }
    let bomb = pool.apply_async(|bomb: Bomb| bomb.0, (Bomb(3, true),));
    if how == "who waits" {
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| bomb.get()));
        assert!(matches!(caught, Err(_) | Ok(Ok(3))));
    } else {
        until("its result is there", || bomb.ready());
        assert_eq!(bomb.get(), Ok(3));
    }
    assert_eq!(pool.apply(square, (2,)), Ok(4));
    pool.close();
    pool.join().unwrap();
}

#[test]
fn a_fork_has_no_part_in_its_parents_pool_and_may_have_one_of_its_own() {
    by_itself(60, || {
        let (pool, gate, holds) = held_pool(1);
        let lazy = std::cell::RefCell::new(pool.imap(square, 0..10));
        // SAFETY: the child uses what the pool's threads do not hold.
        let child = unsafe {
            crossproc::fork(|| {
                let closed = TaskError::PoolClosed;
                let refused = [
                    pool.apply_async(square, (1,)).get() == Err(closed.clone()),
                    pool.map(square, 0..3) == Err(closed.clone()),
                    pool.map_async(square, 0..3).get() == Err(closed.clone()),
                    pool.chunksize(2).starmap(u64::pow, [(1, 2)]) == Err(closed.clone()),
                    pool.map_with(&1, |base: &u64, n: u64| base + n, 0..3) == Err(closed.clone()),
                    pool.imap(square, 0..3).next() == Some(Err(closed.clone())),
                    lazy.borrow_mut().next() == Some(Err(closed)),
                    !holds[0].cancel() && holds[0].ready() && !holds[0].wait_timeout(Duration::from_millis(1)),
                    pool.insights().workers.is_empty(),
                ];
                let own = Pool::new(2).unwrap().map(square, 0..3);
                // SAFETY: this process has a copy of its own, which nobody uses after this.
                drop(std::ptr::read(&pool));
                (refused, own)
            })
        };
        assert_eq!(child.unwrap().join(), Ok(([true; 9], Ok(vec![0, 1, 4]))));
        // SAFETY: as above; it ends by the C library's way, its exit functions included.
        let leaves = unsafe { crossproc::fork(|| -> u8 { std::process::exit(3) }) };
        assert_eq!(leaves.unwrap().join(), Err(crossproc::JoinError::Exited(3)));
        assert!(!holds[0].ready());
        gate.store(1, SeqCst);
        assert!(holds.into_iter().all(|hold| hold.get() == Ok(7)));
        assert_eq!(lazy.into_inner().map(Result::unwrap).collect::<Vec<_>>().len(), 10);
        assert_eq!(pool.workers().len(), 1);
        drop(pool);
    });
}
