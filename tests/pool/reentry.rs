//! Code of the program that a pool runs in its own process and that uses the pool again: callbacks, serde code,
//! destructors.

use super::common::square;
use crate::util::{LIMIT, until, within};
use crossproc::{AsyncResult, Atomic, Pool, PoolError, Queue, TaskError, wait};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::pin::pin;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};

fn cube(n: u64) -> u64 {
    n * n * n
}

fn held(gate: Atomic<u32>) -> u64 {
    until("the gate is open", || gate.load(SeqCst) == 1);
    7
}

type Way = fn(AsyncResult<u64>) -> Result<u64, TaskError>;

/// The ways to wait for a result.
const WAYS: [Way; 6] = [
    AsyncResult::get,
    |mut result| result.get_timeout(LIMIT),
    |result| {
        result.wait();
        result.get()
    },
    |result| {
        assert!(result.wait_timeout(LIMIT));
        result.get()
    },
    |result| {
        assert_eq!(wait(&[&result], Some(LIMIT)), [0]);
        result.get()
    },
    block_on,
];

struct Park(Mutex<bool>, Condvar);

impl Wake for Park {
    fn wake(self: Arc<Self>) {
        *self.0.lock().unwrap() = true;
        self.1.notify_one();
    }
}

fn block_on(result: AsyncResult<u64>) -> Result<u64, TaskError> {
    let park = Arc::new(Park(Mutex::new(false), Condvar::new()));
    let waker = Waker::from(park.clone());
    let mut result = pin!(result);
    loop {
        if let Poll::Ready(answer) = result.as_mut().poll(&mut Context::from_waker(&waker)) {
            return answer;
        }
        let woken = park.1.wait_while(park.0.lock().unwrap(), |woken| !*woken).unwrap();
        drop(woken);
        *park.0.lock().unwrap() = false;
    }
}

#[test]
fn callbacks_run_first_and_all_have_run_when_join_returns() {
    within(60, || {
        let pool = Arc::new(Pool::new(2).unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        for n in 0..200_u64 {
            let seen = seen.clone();
            pool.apply_async(cube, (n,)).on_done(move |cube| seen.lock().unwrap().push(*cube));
        }
        let (to, from) = mpsc::channel();
        let failed = pool.apply_async(|| panic!("no"), ()).on_done(|()| unreachable!()).on_error(move |error| {
            to.send(error.clone()).unwrap();
        });
        assert_eq!(failed.get().unwrap_err(), from.try_recv().unwrap(), "before anybody sees the result");
        let inner = pool.clone();
        let (to, from) = mpsc::channel();
        let result = pool.apply_async(cube, (2,)).on_done(move |eight| {
            to.send(inner.apply(cube, (*eight,)).unwrap()).unwrap(); // a pool's own callback may use it
        });
        assert_eq!(result.get(), Ok(8));
        assert_eq!(from.try_recv(), Ok(512));
        let result = pool.apply_async(cube, (3,)).on_done(|_| panic!("a callback that panics harms nobody"));
        assert_eq!(result.get(), Ok(27));
        let all = pool.map_async(cube, 0..5).on_done({
            let seen = seen.clone();
            move |cubes| seen.lock().unwrap().push(cubes.iter().sum())
        });
        all.wait();
        let (to, from) = mpsc::channel();
        let all = all.on_done(move |_| to.send(std::thread::current().id()).unwrap());
        assert_eq!(from.try_recv(), Ok(std::thread::current().id()), "at once, here");
        assert_eq!(all.get(), Ok(vec![0, 1, 8, 27, 64]));
        pool.close();
        pool.join().unwrap();
        assert_eq!(seen.lock().unwrap().len(), 201);
        assert_eq!(seen.lock().unwrap().iter().sum::<u64>(), (0..200).map(cube).sum::<u64>() + 100);
    });
}

#[test]
fn a_callback_may_close_join_and_drop_its_pool() {
    within(60, || {
        for how in 0..3 {
            let pool = Arc::new(Pool::new(2).unwrap());
            let others = pool.map_async(cube, 0..1000);
            // Held, or the callback might run at once and here.
            let gate = Atomic::new(0).unwrap();
            let inner = pool.clone();
            let first = pool.apply_async(held, (gate.clone(),)).on_done(move |_| {
                match how {
                    0 => {
                        inner.close();
                        inner.join().unwrap();
                    }
                    1 => inner.terminate(),
                    _ => {}
                }
                drop(inner);
            });
            drop(pool);
            gate.store(1, SeqCst);
            assert_eq!(first.get(), Ok(7));
            match others.get() {
                Ok(cubes) => assert_eq!(cubes.len(), 1000),
                Err(error) => assert!(error == TaskError::Cancelled && how > 0),
            }
        }
    });
}

#[test]
fn a_callback_may_wait_for_a_result_that_has_callbacks() {
    within(60, || {
        for way in WAYS {
            for (begun, is_watched) in [(false, true), (false, false), (true, true), (true, false)] {
                let pool = Arc::new(Pool::new(2).unwrap());
                let (to, from) = mpsc::channel();
                let (gate, inner) = (Atomic::new(0).unwrap(), pool.clone());
                let (early, to_early) = (pool.apply_async(held, (gate.clone(),)), to.clone());
                let early = early.on_done(move |n| to_early.send(("early", *n, thread::current().id())).unwrap());
                // The result comes after its callback is added; otherwise the callback would run here.
                let start = Atomic::new(0).unwrap();
                let outer = pool.apply_async(held, (start.clone(),)).on_done(move |n| {
                    let to_first = to.clone();
                    // A result that waits for this callback already, or one that has yet to begin.
                    let first = match begun {
                        true => {
                            gate.store(1, SeqCst);
                            early
                        }
                        false => inner.apply_async(square, (3,)),
                    };
                    let first = first.on_done(move |n| to_first.send(("inner", *n, thread::current().id())).unwrap());
                    let answer = way(first).unwrap();
                    to.send(("after", answer, thread::current().id())).unwrap();
                    gate.store(1, SeqCst);
                    drop(inner);
                    to.send(("outer", *n, thread::current().id())).unwrap();
                });
                start.store(1, SeqCst);
                if !is_watched {
                    until("it has come", || outer.ready()); // so nobody but the pool reads results
                }
                assert_eq!(outer.get(), Ok(7));
                pool.close();
                pool.join().unwrap();
                drop(pool);
                let said: Vec<_> = from.iter().collect();
                let threads: std::collections::BTreeSet<_> =
                    said.iter().map(|(.., id): &(_, _, ThreadId)| format!("{id:?}")).collect();
                assert_eq!(threads.len(), 1, "{said:?}");
                let said: Vec<_> = said.into_iter().map(|(who, n, _)| (who, n)).collect();
                let wanted = match begun {
                    true => vec![("early", 7), ("inner", 7), ("after", 7), ("outer", 7)],
                    false => vec![("inner", 9), ("after", 9), ("outer", 7), ("early", 7)],
                };
                assert_eq!(said, wanted);
            }
        }
    });
}

fn down(pool: &Arc<Pool>, n: u64) -> AsyncResult<u64> {
    let inner = pool.clone();
    pool.apply_async(square, (n,)).on_done(move |square| {
        if n > 0 {
            assert_eq!(down(&inner, n - 1).get(), Ok((n - 1) * (n - 1)));
        }
        assert_eq!(*square, n * n);
    })
}

#[test]
fn callbacks_wait_for_each_other_many_levels_deep() {
    within(60, || {
        let pool = Arc::new(Pool::new(2).unwrap());
        for _ in 0..20 {
            assert_eq!(down(&pool, 30).get(), Ok(900));
        }
    });
}

#[test]
fn callbacks_of_two_pools_wait_for_results_of_each_other() {
    within(60, || {
        let pools = [Arc::new(Pool::new(1).unwrap()), Arc::new(Pool::new(1).unwrap())];
        let results: Vec<_> = (0..20)
            .map(|n| {
                let other = pools[1 - n % 2].clone();
                pools[n % 2].apply_async(square, (n as u64,)).on_done(move |square| {
                    assert_eq!(other.apply_async(self::square, (*square,)).get(), Ok(square * square));
                })
            })
            .collect();
        for (n, result) in (0..).zip(results) {
            assert_eq!(result.get(), Ok(n * n));
        }
    });
}

#[test]
fn callbacks_of_two_pools_wait_for_each_other_in_turn() {
    within(60, || {
        for way in WAYS {
            for _ in 0..20 {
                let one = Arc::new(Pool::new(1).unwrap());
                let other = Arc::new(Pool::new(1).unwrap());
                let (first, second) = (one.clone(), other.clone());
                let (to, from) = mpsc::channel();
                let outer = one.apply_async(square, (1,)).on_done(move |_| {
                    let inner = second.apply_async(square, (2,)).on_done(move |_| {
                        let innermost = first.apply_async(square, (3,)).on_done(|n| assert_eq!(*n, 9));
                        to.send(way(innermost)).unwrap();
                    });
                    assert_eq!(way(inner), Ok(4));
                });
                assert_eq!((outer.get(), from.recv()), (Ok(1), Ok(Ok(9))));
            }
        }
    });
}

#[test]
fn a_wait_in_a_callback_ends_when_the_result_comes() {
    within(60, || {
        let pool = Arc::new(Pool::new(1).unwrap());
        let inner = pool.clone();
        let outer = pool.apply_async(square, (2,)).on_done(move |_| {
            // A waiter that only polled now and then would take two seconds for each.
            for ms in [0, 5].repeat(20) {
                let pause = |ms| thread::sleep(std::time::Duration::from_millis(ms));
                let result = inner.apply_async(pause, (ms,));
                assert_eq!(wait(&[&result], None), [0]);
                assert!(result.ready() && result.successful() == Ok(true));
                let called = inner.apply_async(pause, (ms,)).on_done(|()| ());
                while !called.ready() {
                    assert_eq!(wait(&[&called], None), [0]);
                }
                assert_eq!((called.successful(), called.get()), (Ok(true), Ok(())));
            }
        });
        assert_eq!(outer.get(), Ok(4));
    });
}

#[test]
fn a_callback_cannot_wait_for_its_own_result() {
    within(60, || {
        for way in [AsyncResult::get, block_on] {
            let pool = Pool::new(1).unwrap();
            let gate = Atomic::new(0).unwrap();
            let place = Arc::new(Mutex::new(None::<AsyncResult<u64>>));
            let (to, from) = mpsc::channel();
            let result = pool.apply_async(held, (gate.clone(),)).on_done({
                let place = place.clone();
                move |_| {
                    let mut own = place.lock().unwrap().take().unwrap();
                    let seen = (own.ready(), own.successful(), wait(&[&own], None));
                    to.send((seen, own.wait_timeout(LIMIT), own.get_timeout(LIMIT), way(own))).unwrap();
                }
            });
            *place.lock().unwrap() = Some(result);
            gate.store(1, SeqCst);
            let no = || Err(TaskError::Deadlock);
            let seen = (true, Ok(true), vec![0]);
            assert_eq!(from.recv_timeout(LIMIT), Ok((seen, false, no(), no())));
            pool.close();
            pool.join().unwrap();
        }
    });
}

/// The results of calls on a pool by code of the program that the pool runs.
type Findings = Vec<(&'static str, String)>;

/// The pool that code is to use, where it is wanted.
struct Stage {
    pool: Mutex<Option<Arc<Pool>>>,
    earlier: Mutex<Option<AsyncResult<u64>>>,
    found: Mutex<Findings>,
    is_on: AtomicBool,
}

impl Stage {
    const fn new() -> Self {
        let found = Mutex::new(Vec::new());
        Stage { pool: Mutex::new(None), earlier: Mutex::new(None), found, is_on: AtomicBool::new(false) }
    }

    /// Runs once for each time that it is switched on.
    fn play(&self) {
        if !self.is_on.swap(false, SeqCst) {
            return;
        }
        let pool = self.pool.lock().unwrap().clone().unwrap();
        let mut earlier = self.earlier.lock().unwrap().take().unwrap();
        let found = [
            ("apply", format!("{:?}", pool.apply(square, (2,)))),
            ("map", format!("{:?}", pool.map(square, 0..2))),
            ("map_with", format!("{:?}", pool.map_with(&1, |one: &u64, n: u64| one + n, 0..2))),
            ("imap", format!("{:?}", pool.imap(square, 0..2).collect::<Vec<_>>())),
            ("next_timeout", format!("{:?}", pool.imap(square, 0..2).next_timeout(LIMIT).unwrap())),
            ("await", format!("{:?}", block_on(pool.apply_async(square, (2,))))),
            ("ready", format!("{}", earlier.ready())),
            ("wait", format!("{}", earlier.wait_timeout(LIMIT))),
            ("wait for any", format!("{:?}", wait(&[&earlier], Some(LIMIT)))),
            ("get_timeout", format!("{:?}", earlier.get_timeout(LIMIT))),
            ("get", format!("{:?}", earlier.get())),
            ("join", format!("{:?}", pool.join())),
        ];
        self.found.lock().unwrap().extend(found);
    }

    /// Switched on, some code finds that nobody can wait for the pool there.
    fn refuses(&self, what: &str, run: impl FnOnce(&Arc<Pool>)) {
        let pool = Arc::new(Pool::new(2).unwrap());
        let gate = Atomic::new(0).unwrap();
        *self.pool.lock().unwrap() = Some(pool.clone());
        *self.earlier.lock().unwrap() = Some(pool.apply_async(held, (gate.clone(),)));
        self.is_on.store(true, SeqCst);
        run(&pool);
        gate.store(1, SeqCst);
        let found = std::mem::take(&mut *self.found.lock().unwrap());
        assert_eq!(found.len(), 12, "{what}: {found:?}");
        for (how, answer) in found {
            let wanted = match how {
                "imap" => format!("[Err({:?})]", TaskError::Deadlock),
                "wait" => "false".into(),
                "ready" => "true".into(),       // `get` does not wait
                "wait for any" => "[0]".into(), // an error is there at once
                "join" => format!("{:?}", Err::<(), _>(PoolError::StillRunning)),
                _ => format!("{:?}", Err::<u64, _>(TaskError::Deadlock)),
            };
            assert_eq!(answer, wanted, "{what}, {how}");
        }
        self.pool.lock().unwrap().take();
        assert_eq!(pool.apply(square, (3,)), Ok(9), "the pool goes on");
    }
}

static ENCODES: Stage = Stage::new();
static DECODES: Stage = Stage::new();
static DROPS: Stage = Stage::new();

/// Uses the pool where it is encoded.
#[derive(Deserialize)]
struct Encoded(u64);

impl Serialize for Encoded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ENCODES.play();
        serializer.serialize_newtype_struct("Encoded", &self.0)
    }
}

/// Uses the pool where it is decoded.
#[derive(Debug, PartialEq, Serialize)]
struct Decoded(u64);

impl<'de> Deserialize<'de> for Decoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DECODES.play();
        u64::deserialize(deserializer).map(Decoded)
    }
}

/// Uses the pool where it is dropped.
#[derive(Serialize, Deserialize)]
struct Dropped(u64);

impl Drop for Dropped {
    fn drop(&mut self) {
        DROPS.play();
    }
}

#[test]
fn code_that_a_pool_runs_gets_an_error_when_it_waits_for_that_pool() {
    within(120, || {
        ENCODES.refuses("encoding", |pool| assert_eq!(pool.apply(|n: Encoded| n.0, (Encoded(5),)), Ok(5)));
        ENCODES.refuses("encoding", |pool| {
            let results = pool.chunksize(3).map_async(|n: Encoded| n.0, (0..9).map(Encoded));
            assert_eq!(results.get(), Ok((0..9).collect()));
        });
        ENCODES.refuses("a shared value", |pool| {
            assert_eq!(pool.map_with(&Encoded(2), |k: &Encoded, n: u64| k.0 * n, 0..3), Ok(vec![0, 2, 4]));
        });
        // Decoded by who waits, and by nobody in particular.
        DECODES.refuses("decoding", |pool| assert_eq!(pool.apply(Decoded, (5,)), Ok(Decoded(5))));
        DECODES.refuses("decoding", |pool| {
            let result = pool.apply_async(Decoded, (5,));
            until("it has come", || result.ready());
            assert_eq!(result.get(), Ok(Decoded(5)));
        });
        DROPS.refuses("a destructor", |pool| assert_eq!(pool.apply(|n: Dropped| n.0, (Dropped(5),)), Ok(5)));
        // A result that nobody wants.
        DROPS.refuses("a destructor", |pool| {
            drop(pool.apply_async(Dropped, (5,)));
            pool.apply(square, (1,)).unwrap();
            until("it was dropped", || !DROPS.found.lock().unwrap().is_empty());
        });
    });
}

/// Gives its pool another task, where it is encoded.
#[derive(Deserialize)]
struct Follows(u64);

static FOLLOWS: Mutex<Option<Arc<Pool>>> = Mutex::new(None);
static FOLLOWED: Mutex<Vec<AsyncResult<u64>>> = Mutex::new(Vec::new());

impl Serialize for Follows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pool = FOLLOWS.lock().unwrap().clone();
        if let Some(pool) = pool {
            let result = pool.apply_async(square, (self.0,));
            FOLLOWED.lock().unwrap().push(result);
        }
        serializer.serialize_newtype_struct("Follows", &self.0)
    }
}

#[test]
fn an_encoding_may_give_its_pool_more_tasks() {
    within(60, || {
        let pool = Arc::new(Pool::new(2).unwrap());
        *FOLLOWS.lock().unwrap() = Some(pool.clone());
        let count = 5_000;
        let all = pool.chunksize(1).map(|n: Follows| n.0, (0..count).map(Follows)).unwrap();
        assert_eq!(all, (0..count).collect::<Vec<_>>());
        FOLLOWS.lock().unwrap().take();
        let followed = std::mem::take(&mut *FOLLOWED.lock().unwrap());
        let mut squares: Vec<u64> = followed.into_iter().map(|result| result.get().unwrap()).collect();
        squares.sort();
        squares.dedup();
        assert_eq!(squares, (0..count).map(square).collect::<Vec<_>>());
    });
}

/// Drops the last handle on its pool, where it is decoded.
#[derive(Debug, Serialize)]
struct Ends(u64);

static ENDED: Mutex<Option<Arc<Pool>>> = Mutex::new(None);

impl<'de> Deserialize<'de> for Ends {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        drop(ENDED.lock().unwrap().take());
        u64::deserialize(deserializer).map(Ends)
    }
}

#[test]
fn a_result_may_drop_its_pool_while_it_is_decoded() {
    within(60, || {
        let pool = Arc::new(Pool::new(2).unwrap());
        let gate = Atomic::new(0).unwrap();
        let result = pool.apply_async(|gate: Atomic<u32>| Ends(held(gate)), (gate.clone(),));
        *ENDED.lock().unwrap() = Some(pool);
        gate.store(1, SeqCst);
        assert!(matches!(result.get(), Err(TaskError::Cancelled)));
    });
}

#[test]
fn a_queue_in_a_callback_is_one_of_many_things_to_wait_for() {
    within(60, || {
        let pool = Arc::new(Pool::new(1).unwrap());
        let (queue, inner) = (Queue::<u64>::new().unwrap(), pool.clone());
        let outer = pool.apply_async(square, (2,)).on_done({
            let queue = queue.clone();
            move |_| {
                let first = inner.apply_async(square, (3,)).on_done(|_| ());
                assert_eq!(wait(&[&queue, &first], Some(LIMIT)), [1]);
                queue.put(first.get().unwrap()).unwrap();
            }
        });
        assert_eq!((outer.get(), queue.get()), (Ok(4), Ok(9)));
    });
}

#[test]
fn a_callback_may_wait_for_what_others_do_with_the_pool() {
    within(60, || {
        let pool = Arc::new(Pool::new(1).unwrap());
        let (to, from) = mpsc::channel::<AsyncResult<u64>>();
        let (back, answers) = mpsc::channel();
        // A thread that waits for results, and a future that was polled and waits to be woken.
        let other = thread::spawn(move || from.iter().for_each(|result| back.send(block_on(result)).unwrap()));
        let inner = pool.clone();
        let outer = pool.apply_async(square, (2,)).on_done(move |_| {
            for n in 0..10 {
                to.send(inner.apply_async(square, (n,))).unwrap();
                assert_eq!(answers.recv_timeout(LIMIT), Ok(Ok(n * n)));
            }
        });
        until("it has come", || outer.ready());
        other.join().unwrap();
    });
}
