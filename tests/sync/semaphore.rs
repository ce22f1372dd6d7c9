//! `Semaphore` and `BoundedSemaphore`: the number of holders, over-release, and permits of killed processes.

use crate::util::{Child, Mark, fork, until, until_killed, within};
use crossproc::testing::switch_backstop;
use crossproc::{
    AcquireTimeoutError, Atomic, BoundedSemaphore, Process, ReleaseError, Semaphore, TryAcquireError, Value, cpu_count,
};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// A child that holds so many permits.
fn holder(semaphore: &Semaphore, permits: usize) -> Child {
    let mark = Mark::new();
    let child = fork(|| {
        let _permits: Vec<_> = (0..permits).map(|_| semaphore.acquire().unwrap()).collect();
        mark.hit();
        until_killed()
    });
    mark.reaches(1);
    child
}

#[test]
fn never_more_than_its_permits_are_inside() {
    fn enter(semaphore: Semaphore, inside: Atomic<i32>, most: Value<i32>) -> crossproc::Result<()> {
        for _ in 0..40 {
            let _permit = semaphore.acquire()?;
            let now = inside.fetch_add(1, SeqCst) + 1;
            most.update(|most| *most = now.max(*most))?;
            std::thread::sleep(Duration::from_micros(200));
            inside.fetch_sub(1, SeqCst);
        }
        Ok(())
    }
    within(60, || {
        let (semaphore, inside, most) = (Semaphore::new(3).unwrap(), Atomic::new(0).unwrap(), Value::new(0).unwrap());
        let spawn = |_| Process::spawn(enter, (semaphore.clone(), inside.clone(), most.clone())).unwrap();
        let children: Vec<_> = (0..8).map(spawn).collect();
        children.into_iter().for_each(|child| child.join().unwrap().unwrap());
        assert!((2..=3).contains(&most.get()), "{}", most.get());
        assert_eq!((semaphore.available(), inside.load(SeqCst)), (3, 0));
    });
}

#[test]
fn two_semaphores_pass_a_ball_and_lose_no_wake() {
    const ROUNDS: usize = 50_000;
    fn answer(ping: Semaphore, pong: Semaphore) -> crossproc::Result<()> {
        for _ in 0..ROUNDS {
            ping.acquire()?.forget();
            pong.release()?;
        }
        Ok(())
    }
    within(120, || {
        let (ping, pong) = (Semaphore::new(0).unwrap(), Semaphore::new(0).unwrap());
        let child = Process::spawn(answer, (ping.clone(), pong.clone())).unwrap();
        for _ in 0..ROUNDS {
            ping.release().unwrap();
            pong.acquire().unwrap().forget();
        }
        child.join().unwrap().unwrap();
        assert_eq!((ping.available(), pong.available()), (0, 0));
    });
}

#[test]
fn permits_of_a_killed_process_come_back_at_once_to_one_who_waits() {
    within(30, || {
        let semaphore = Semaphore::new(2).unwrap();
        let mut child = holder(&semaphore, 2);
        assert_eq!(semaphore.try_acquire().unwrap_err(), TryAcquireError::WouldBlock);
        let mark = Mark::new();
        let waiter = fork(|| {
            switch_backstop(false); // it would hide a lost wake
            mark.hit();
            let permits = [semaphore.acquire().unwrap(), semaphore.acquire().unwrap()];
            mark.hit();
            drop(permits);
        });
        mark.reaches(1);
        waiter.until_asleep();
        child.kill();
        mark.reaches(2);
        waiter.join();
        assert_eq!(semaphore.available(), 2);
    });
}

#[test]
fn permits_of_a_killed_process_come_back_to_the_next_try() {
    within(30, || {
        let semaphore = Semaphore::new(3).unwrap();
        let mut child = holder(&semaphore, 3);
        child.kill();
        let permits: Vec<_> = (0..3).map(|_| semaphore.try_acquire().unwrap()).collect();
        assert!(semaphore.try_acquire().is_err());
        drop(permits);
    });
}

#[test]
fn a_waiter_that_is_killed_swallows_no_permit() {
    within(60, || {
        for round in 0..60 {
            let semaphore = Semaphore::new(0).unwrap();
            let wait = || drop(semaphore.acquire().unwrap());
            let mut victim = fork(wait);
            victim.until_asleep();
            let other = fork(wait);
            other.until_asleep();
            semaphore.release().unwrap(); // wakes the first one
            std::thread::sleep(Duration::from_micros(7 * round));
            victim.kill();
            other.join();
            assert_eq!(semaphore.available(), 1);
        }
    });
}

#[test]
fn a_forgotten_permit_stays_away_whoever_dies() {
    within(30, || {
        let semaphore = Semaphore::new(1).unwrap();
        fork(|| semaphore.acquire().unwrap().forget()).join();
        assert_eq!(semaphore.try_acquire().unwrap_err(), TryAcquireError::WouldBlock);
        semaphore.release().unwrap();
        assert!(semaphore.try_acquire().is_ok());
    });
}

#[test]
fn a_thread_that_ends_gives_leaked_permits_back() {
    within(30, || {
        let semaphore = Semaphore::new(1).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| std::mem::forget(semaphore.acquire().unwrap())).join().unwrap();
        });
        until("the kernel has marked the token", || semaphore.try_acquire().is_ok());
    });
}

#[test]
fn a_copy_of_a_permit_in_a_fork_child_gives_nothing_back() {
    within(30, || {
        let semaphore = Semaphore::new(1).unwrap();
        let permit = semaphore.acquire().unwrap();
        let mut permit = Some(permit);
        fork(|| drop(permit.take())).join();
        assert_eq!(semaphore.available(), 0);
        drop(permit);
        assert_eq!(semaphore.available(), 1);
    });
}

#[test]
fn over_release_changes_nothing() {
    within(30, || {
        let semaphore = BoundedSemaphore::new(2).unwrap();
        assert_eq!(semaphore.release(), Err(ReleaseError::OverRelease));
        let permit = semaphore.acquire().unwrap();
        assert_eq!(semaphore.release(), Err(ReleaseError::OverRelease), "the guard gives it back");
        permit.forget();
        assert_eq!(semaphore.release(), Ok(()));
        assert_eq!((semaphore.release(), semaphore.available()), (Err(ReleaseError::OverRelease), 2));
        let none = BoundedSemaphore::new(0).unwrap();
        assert_eq!((none.release(), none.available()), (Err(ReleaseError::OverRelease), 0));
    });
}

#[test]
fn times_are_kept_and_zero_means_try() {
    within(30, || {
        let semaphore = Semaphore::new(0).unwrap();
        for wait in [Duration::ZERO, Duration::from_millis(30)] {
            let start = Instant::now();
            assert_eq!(semaphore.acquire_timeout(wait).unwrap_err(), AcquireTimeoutError::Timeout);
            assert!(start.elapsed() >= wait && start.elapsed() < wait + Duration::from_secs(5));
        }
        semaphore.release().unwrap();
        assert!(semaphore.acquire_timeout(Duration::ZERO).is_ok());
    });
}

#[test]
fn many_permits_of_one_thread_and_an_error_beyond() {
    within(60, || {
        let semaphore = Semaphore::new(5000).unwrap();
        let mut permits = Vec::new();
        let error = loop {
            match semaphore.acquire() {
                Ok(permit) => permits.push(permit),
                Err(error) => break error,
            }
        };
        assert_eq!((permits.len(), error), (1024, crossproc::AcquireError::TooMany));
        assert_eq!(semaphore.available(), 5000 - 1024);
        permits.swap(0, 500); // in no order
        drop(permits);
        assert_eq!(semaphore.available(), 5000);
    });
}

#[test]
fn a_waiter_is_refused_when_there_are_more_than_can_be_held() {
    within(30, || {
        let semaphore = Semaphore::new(1024).unwrap();
        let permits: Vec<_> = (0..1024).map(|_| semaphore.acquire().unwrap()).collect();
        let waiter = fork(|| assert_eq!(semaphore.acquire().unwrap_err(), crossproc::AcquireError::TooMany));
        waiter.until_asleep();
        semaphore.release().unwrap();
        waiter.join();
        drop(permits);
        assert_eq!(semaphore.available(), 1025);
    });
}

#[test]
fn a_crowd_of_threads_and_processes_is_killed_at_random() {
    fn work(semaphore: Semaphore, inside: Atomic<i32>) {
        loop {
            let permit = semaphore.acquire().unwrap();
            inside.fetch_add(1, SeqCst);
            inside.fetch_sub(1, SeqCst);
            drop(permit);
        }
    }
    within(120, || {
        let (semaphore, inside) = (Semaphore::new(2).unwrap(), Atomic::new(0).unwrap());
        let spawn = || Process::builder().daemon(true).spawn(work, (semaphore.clone(), inside.clone())).unwrap();
        let mut children: Vec<_> = (0..cpu_count() + 3).map(|_| spawn()).collect();
        for round in 0..100 {
            let at = round % children.len();
            children[at].kill().unwrap();
            children[at].wait();
            children[at] = spawn();
            let permit = semaphore.acquire_timeout(Duration::from_secs(20)).expect("somebody kept what a dead one had");
            drop(permit);
        }
        children.iter().for_each(|child| child.kill().unwrap());
        children.iter().for_each(|child| assert_eq!(child.wait(), -9));
        let permits = [semaphore.try_acquire().unwrap(), semaphore.try_acquire().unwrap()];
        assert!(semaphore.try_acquire().is_err());
        drop(permits);
        assert_eq!(semaphore.available(), 2);
    });
}
