//! `JoinableQueue`: no task is lost when a process is killed, and `join` ends when all tasks are done.

use crate::util::{Random, until, within};
use crossproc::{
    Array, GetError, GetTimeoutError, JoinError, JoinableQueue, Process, TaskDoneError, TryGetError, Value,
};
use std::time::{Duration, Instant};

type Jobs = JoinableQueue<u64>;

#[test]
fn join_waits_until_all_is_done() {
    fn work(jobs: Jobs, sum: Value<u64>) {
        while let Ok(job) = jobs.get_task() {
            sum.update(|sum| *sum += *job).unwrap();
            job.done();
        }
    }
    fn work_as_in_python(jobs: Jobs, sum: Value<u64>) {
        for job in &jobs {
            sum.update(|sum| *sum += job.unwrap()).unwrap();
            jobs.task_done().unwrap();
        }
    }
    within(120, || {
        for work in [work as fn(Jobs, Value<u64>), work_as_in_python] {
            for jobs in [Jobs::new().unwrap(), Jobs::bounded(3).unwrap()] {
                let sum = Value::new(0).unwrap();
                let start = || Process::spawn(work, (jobs.clone(), sum.clone())).unwrap();
                let workers: Vec<_> = (0..3).map(|_| start()).collect();
                for round in 1..=20 {
                    (0..100).for_each(|i| jobs.put(i).unwrap());
                    jobs.join().unwrap();
                    assert_eq!((sum.get(), jobs.len()), (round * 4950, 0));
                }
                jobs.close();
                workers.into_iter().for_each(|worker| worker.join().unwrap());
                jobs.join().unwrap();
            }
        }
    });
}

#[test]
fn what_is_not_done_comes_back_to_the_front() {
    within(60, || {
        let jobs = Jobs::new().unwrap();
        jobs.put_many([1, 2, 3]).unwrap();
        let (one, two) = (jobs.get_task().unwrap(), jobs.get_task().unwrap());
        assert_eq!((*one, *two, jobs.len()), (1, 2, 1));
        drop(two);
        drop(one);
        assert_eq!(jobs.len(), 3);
        let all: Vec<_> = (0..3).map(|_| jobs.get_task().unwrap()).collect();
        let seen: Vec<_> = all.iter().map(|task| (**task, task.deliveries())).collect();
        assert_eq!(seen, [(1, 2), (2, 2), (3, 1)]);
        assert_eq!(jobs.join_timeout(Duration::from_millis(10)), Ok(false));
        all.into_iter().for_each(|task| {
            task.done();
        });
        assert_eq!(jobs.join_timeout(Duration::ZERO), Ok(true));
    });
}

#[test]
fn a_panic_and_an_early_return_give_the_task_back() {
    fn fail(jobs: Jobs, how: u8) -> crossproc::Result<()> {
        let _task = jobs.get_task()?;
        match how {
            0 => panic!("no"),
            1 => Err("no".into()),
            _ => std::process::exit(3),
        }
    }
    within(60, || {
        let jobs = Jobs::new().unwrap();
        jobs.put(7).unwrap();
        for how in 0..3 {
            let child = Process::spawn(fail, (jobs.clone(), how)).unwrap();
            match child.join() {
                Err(JoinError::Panicked { .. } | JoinError::Exited(3)) | Ok(Err(_)) => {}
                other => panic!("{other:?}"),
            }
            let task = jobs.get_task().unwrap();
            assert_eq!((*task, task.deliveries()), (7, 2 * u32::from(how) + 2));
        }
    });
}

#[test]
fn too_many_task_dones() {
    within(60, || {
        let jobs = Jobs::new().unwrap();
        assert_eq!(jobs.task_done(), Err(TaskDoneError::TooMany));
        jobs.put_many([1, 2, 3]).unwrap();
        assert_eq!(jobs.task_done(), Err(TaskDoneError::TooMany), "none is got");
        let task = jobs.get_task().unwrap();
        assert_eq!(jobs.task_done(), Err(TaskDoneError::TooMany), "a task is not got");
        assert_eq!(jobs.get(), Ok(2));
        jobs.task_done().unwrap();
        assert_eq!(jobs.task_done(), Err(TaskDoneError::TooMany));
        task.done();
        assert_eq!(jobs.task_done(), Err(TaskDoneError::TooMany));
        assert_eq!(jobs.get_many(5), Ok(vec![3]));
        jobs.task_done().unwrap();
        jobs.join().unwrap();
    });
}

#[test]
fn workers_that_are_killed_at_random_lose_no_task() {
    fn work(jobs: Jobs, counts: Array<u64>, long: JoinableQueue<(u64, Vec<u8>)>) {
        loop {
            match jobs.get_task() {
                Ok(job) => {
                    counts.lock_or_repair(|_| ()).unwrap()[*job as usize] += 1;
                    job.done();
                }
                Err(GetError::Closed) => break,
                Err(error) => panic!("{error}"),
            }
            if let Ok(job) = long.try_get_task() {
                assert!(job.1 == vec![job.0 as u8; job.1.len()]);
                job.done();
            }
        }
    }
    within(120, || {
        let (jobs, long) = (Jobs::new().unwrap(), JoinableQueue::new().unwrap());
        let count = 20_000;
        let counts = Array::zeroed(count as usize).unwrap();
        let start = || Process::spawn(work, (jobs.clone(), counts.clone(), long.clone())).unwrap();
        let mut random = Random(3);
        let mut workers: Vec<_> = (0..3).map(|_| start()).collect();
        for i in 0..200 {
            long.put((i, vec![i as u8; [10, 500, 5000, 100_000][(i % 4) as usize]])).unwrap();
        }
        let mut kills = 0;
        for i in 0..count {
            jobs.put(i).unwrap();
            if i % 200 == 0 {
                std::thread::sleep(Duration::from_micros(random.next() % 2_000));
                let at = (random.next() % 3) as usize;
                workers[at].kill().unwrap();
                workers[at].wait();
                workers[at] = start();
                kills += 1;
            }
        }
        jobs.join().unwrap();
        assert_eq!(kills, 100);
        let counts = counts.lock_or_repair(|_| ()).unwrap();
        let (lost, twice) = (counts.iter().filter(|n| **n == 0).count(), counts.iter().filter(|n| **n > 1).count());
        assert_eq!(lost, 0, "{twice} were done twice");
        assert!(twice <= kills, "{twice} of {kills} kills"); // between the work and `done`
        jobs.close();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
}

#[test]
fn a_waiter_gets_the_task_of_a_killed_worker() {
    fn hold(jobs: Jobs, ready: Value<u32>) {
        let _task = jobs.get_task().unwrap();
        *ready.lock().unwrap() += 1;
        std::thread::sleep(Duration::from_secs(1000));
    }
    within(60, || {
        let (jobs, ready) = (Jobs::new().unwrap(), Value::new(0).unwrap());
        jobs.put(5).unwrap();
        let child = Process::spawn(hold, (jobs.clone(), ready.clone())).unwrap();
        until("it has the task", || ready.get() == 1);
        let waiting = std::thread::spawn({
            let jobs = jobs.clone();
            move || {
                let task = jobs.get_task().unwrap();
                (Instant::now(), task.deliveries(), task.done())
            }
        });
        std::thread::sleep(Duration::from_millis(200));
        let killed = Instant::now();
        child.kill().unwrap();
        let (got, deliveries, job) = waiting.join().unwrap();
        assert_eq!((deliveries, job), (2, 5));
        assert!(got - killed < Duration::from_secs(1), "{:?}", got - killed);
        jobs.join().unwrap();
        child.wait();
    });
}

#[test]
fn a_join_ends_when_the_last_task_does_and_when_nobody_is_left() {
    fn finish_slowly(jobs: Jobs) {
        let task = jobs.get_task().unwrap();
        std::thread::sleep(Duration::from_millis(100));
        task.done();
    }
    fn swallow(jobs: Jobs) {
        jobs.get().unwrap();
    }
    within(60, || {
        let jobs = Jobs::new().unwrap();
        jobs.put(1).unwrap();
        let child = Process::spawn(finish_slowly, (jobs.clone(),)).unwrap();
        jobs.join().unwrap();
        child.join().unwrap();
        jobs.put(2).unwrap();
        let child = Process::spawn(swallow, (jobs.clone(),)).unwrap();
        assert_eq!(jobs.join(), Err(GetError::Disconnected), "it was got, and will never be done");
        child.join().unwrap();
    });
}

#[test]
fn empty_and_closed() {
    within(60, || {
        let jobs = Jobs::new().unwrap();
        jobs.put(1).unwrap();
        jobs.get_task().unwrap().done();
        assert_eq!(jobs.try_get_task().unwrap_err(), TryGetError::Empty, "a task is no second holder");
        let jobs = Jobs::new().unwrap();
        assert_eq!(jobs.try_get_task().unwrap_err(), TryGetError::Empty);
        assert_eq!(jobs.get_task_timeout(Duration::from_millis(10)).unwrap_err(), GetTimeoutError::Timeout);
        jobs.put(1).unwrap();
        jobs.close();
        let task = jobs.get_task().unwrap();
        assert_eq!(jobs.get_task().unwrap_err(), GetError::Closed);
        drop(task);
        assert_eq!(jobs.get_task().unwrap().done(), 1);
    });
}

#[test]
fn tasks_with_handles_in_them_come_again_with_them() {
    type Job = (Array<u64>, Value<u64>);
    fn hold(jobs: JoinableQueue<Job>, ready: Value<u32>) {
        let task = jobs.get_task().unwrap();
        task.1.update(|n| *n += 1).unwrap();
        *ready.lock().unwrap() += 1;
        std::thread::sleep(Duration::from_secs(1000));
    }
    fn finish(jobs: JoinableQueue<Job>) -> (u64, u32) {
        let task = jobs.get_task().unwrap();
        let deliveries = task.deliveries();
        let (array, _) = task.done();
        (array.get(9_999).unwrap(), deliveries)
    }
    within(60, || {
        let (jobs, ready) = (JoinableQueue::new().unwrap(), Value::new(0).unwrap());
        let count = Value::new(0).unwrap();
        jobs.put((Array::from_slice(&[7; 10_000]).unwrap(), count.clone())).unwrap();
        for i in 1..=2 {
            let child = Process::spawn(hold, (jobs.clone(), ready.clone())).unwrap();
            until("it has the task", || ready.get() == i);
            child.kill().unwrap();
            child.wait();
        }
        assert_eq!(Process::spawn(finish, (jobs.clone(),)).unwrap().join(), Ok((7, 3)));
        assert_eq!(count.get(), 2);
        jobs.join().unwrap();
    });
}

/// Cannot be decoded at all.
#[derive(Debug, serde::Serialize)]
struct Panics;

impl<'de> serde::Deserialize<'de> for Panics {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("no such thing")
    }
}

#[test]
fn a_decoder_that_panics_leaves_no_task_behind() {
    within(60, || {
        let jobs = JoinableQueue::<Panics>::new().unwrap();
        for _ in 0..5_000 {
            jobs.put(Panics).unwrap();
            let get = std::panic::AssertUnwindSafe(|| drop(jobs.get_task()));
            std::panic::catch_unwind(get).unwrap_err();
        }
        assert_eq!(jobs.join_timeout(Duration::ZERO), Ok(true), "it counts as done");
        jobs.put(Panics).unwrap();
        let get = std::panic::AssertUnwindSafe(|| drop(jobs.get()));
        std::panic::catch_unwind(get).unwrap_err();
        jobs.task_done().unwrap();
        jobs.join().unwrap();
    });
}

#[test]
fn what_came_back_comes_first_in_batches_too() {
    within(60, || {
        let jobs = Jobs::new().unwrap();
        jobs.put_many(0..6).unwrap();
        drop((0..3).map(|_| jobs.get_task().unwrap()).collect::<Vec<_>>());
        assert_eq!(jobs.get_many(10).unwrap(), [0, 1, 2, 3, 4, 5]);
    });
}

#[test]
fn threads_that_share_one_handle_are_alone_only_when_it_was_ever_shared() {
    within(60, || {
        let jobs = Jobs::new().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while let Ok(task) = jobs.get_task() {
                        std::thread::sleep(Duration::from_millis(2));
                        task.done();
                    }
                });
            }
            for _ in 0..3 {
                (0..4).for_each(|i| jobs.put(i).unwrap());
                assert_eq!(jobs.join_timeout(Duration::from_secs(20)), Ok(true));
            }
            jobs.close();
        });
    });
}

#[test]
fn a_stopped_holder_of_the_lock_keeps_no_deadline() {
    fn busy(jobs: Jobs) {
        loop {
            jobs.put(1).unwrap();
            jobs.get_task().unwrap().done();
        }
    }
    within(60, || {
        let jobs = Jobs::new().unwrap();
        let child = Process::spawn(busy, (jobs.clone(),)).unwrap();
        until("it is busy", || jobs.try_get_task().is_ok());
        for round in 0..10 {
            // SAFETY: a child of ours.
            unsafe { libc::kill(child.id() as i32, libc::SIGSTOP) };
            let start = Instant::now();
            let _ = jobs.get_task_timeout(Duration::from_millis(20));
            assert!(start.elapsed() < Duration::from_secs(1), "{:?} in round {round}", start.elapsed());
            // SAFETY: as above.
            unsafe { libc::kill(child.id() as i32, libc::SIGCONT) };
            std::thread::sleep(Duration::from_millis(3));
        }
        child.kill().unwrap();
        child.wait();
    });
}
