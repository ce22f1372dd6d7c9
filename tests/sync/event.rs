//! `Event`: set, clear, timeouts, several waiters, a signal handler, killed setters and waiters.

use crate::util::{Child, MS, Mark, by_itself, fork, unique, until, within};
use crossproc::testing::switch_backstop;
use crossproc::{Event, Process, Queue, Waitable, wait};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

#[test]
fn set_wakes_all_waiters() {
    within(30, || {
        let event = Event::new().unwrap();
        let children: Vec<_> = (0..4).map(|_| fork(|| event.wait())).collect();
        children.iter().for_each(Child::until_asleep);
        let start = Instant::now();
        event.set();
        children.into_iter().for_each(Child::join);
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    });
}

#[test]
fn times_clear_and_set_twice() {
    within(30, || {
        let event = Event::new().unwrap();
        for time in [Duration::ZERO, 30 * MS] {
            let start = Instant::now();
            assert!(!event.wait_timeout(time));
            assert!(start.elapsed() >= time && start.elapsed() < time + Duration::from_secs(5));
        }
        event.set();
        event.set();
        assert!(event.is_set() && event.wait_timeout(Duration::ZERO));
        event.wait();
        event.clear();
        event.clear();
        assert!(!event.is_set() && !event.wait_timeout(MS));
    });
}

#[test]
fn a_waiter_wakes_though_the_event_is_cleared_at_once_after_the_set() {
    within(60, || {
        let event = Event::new().unwrap();
        for _ in 0..200 {
            let child = fork(|| event.wait());
            child.until_asleep();
            event.set();
            event.clear();
            child.join();
        }
    });
}

#[test]
fn a_signal_handler_may_set_it() {
    static EVENT: OnceLock<Event> = OnceLock::new();
    extern "C" fn handler(_: i32) {
        EVENT.get().unwrap().set();
    }
    fn work(event: Event, started: Event) -> bool {
        EVENT.set(event.clone()).unwrap();
        let handler: extern "C" fn(i32) = handler;
        // SAFETY: the handler only stores, and wakes a futex.
        unsafe { libc::signal(libc::SIGUSR1, handler as libc::sighandler_t) };
        started.set();
        let value = crossproc::Value::new(0_u64).unwrap();
        // In the middle of this library's own work, again and again.
        loop {
            *value.lock().unwrap() += 1;
            if event.is_set() {
                break;
            }
        }
        value.get() > 0
    }
    within(60, || {
        for _ in 0..20 {
            let (event, started) = (Event::new().unwrap(), Event::new().unwrap());
            let child = Process::spawn(work, (event.clone(), started.clone())).unwrap();
            let sleeper = fork(|| event.wait());
            sleeper.until_asleep();
            started.wait();
            // SAFETY: a child of ours that has not been waited for.
            unsafe { libc::kill(child.id() as i32, libc::SIGUSR1) };
            let start = Instant::now();
            assert!(child.join().unwrap());
            sleeper.join();
            assert!(start.elapsed() < Duration::from_secs(2));
        }
    });
}

#[test]
fn a_killed_waiter_leaves_nothing_to_the_others() {
    within(60, || {
        for round in 0..50 {
            let event = Event::new().unwrap();
            let wait = || {
                switch_backstop(false); // it would hide a lost wake
                event.wait();
            };
            let (mut victim, other) = (fork(wait), fork(wait));
            [&victim, &other].into_iter().for_each(Child::until_asleep);
            event.set();
            std::thread::sleep(Duration::from_micros(5 * round));
            victim.kill();
            other.join();
        }
    });
}

#[test]
fn one_of_many_to_wait_for() {
    // A queue that the child of another test held, too, would be ready when that child ends.
    by_itself(30, || {
        let (queue, event) = (Queue::<u8>::new().unwrap(), Event::new().unwrap());
        let both: [&dyn Waitable; 2] = [&queue, &event];
        assert!(wait(&both, Some(5 * MS)).is_empty());
        let mark = Mark::new();
        let sleepers: Vec<_> = (0..2)
            .map(|_| {
                fork(|| {
                    assert_eq!(wait(&[&queue, &event], None), [1]);
                    mark.hit();
                })
            })
            .collect();
        sleepers.iter().for_each(Child::until_asleep);
        event.set();
        mark.reaches(2);
        sleepers.into_iter().for_each(Child::join);
        queue.put(1).unwrap();
        assert_eq!(wait(&both, None), [0, 1]);
    });
}

#[test]
fn by_name_and_through_a_queue() {
    // A child that another test forks would keep the name.
    by_itself(30, || {
        let name = unique("event");
        let queue = Queue::<Event>::new().unwrap();
        let child = Process::spawn(|queue: Queue<Event>| queue.get().unwrap().set(), (queue.clone(),)).unwrap();
        let event = Event::named(&name).create().unwrap();
        queue.put(Event::named(&name).open().unwrap()).unwrap();
        event.wait();
        child.join().unwrap();
        drop(event);
        until("the name is gone", || Event::named(&name).open().is_err());
    });
}
