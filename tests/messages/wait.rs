//! `wait`: the first of many queues, pipes, processes and descriptors that is ready.

use crate::util::{MS, until, within};
use crossproc::{JoinableQueue, Pipe, Process, Queue, Receiver, Sender, SimpleQueue, Value, Waitable, channel, wait};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

#[test]
fn each_kind_becomes_ready() {
    fn end() {}
    within(60, || {
        let queue = Queue::new().unwrap();
        let simple = SimpleQueue::bounded(3).unwrap();
        let tasks = JoinableQueue::new().unwrap();
        let (pipe, other) = Pipe::<u8>::pair().unwrap();
        let (sender, receiver) = channel(3).unwrap();
        let (mut socket, there) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let all: [&dyn Waitable; 7] = [&queue, &simple, &tasks, &pipe, &receiver, &there, &listener];
        let ready = |time| wait(&all, Some(time));
        let start = Instant::now();
        assert!(ready(30 * MS).is_empty() && start.elapsed() >= 30 * MS);
        assert!(ready(Duration::ZERO).is_empty());
        assert_eq!(wait(&[&queue, &file], None), [1], "a file can always be read");
        queue.put("a".to_string()).unwrap();
        assert_eq!(wait(&all, None), [0]);
        simple.put(1).unwrap();
        tasks.put(1).unwrap();
        assert_eq!(wait(&all, None), [0, 1, 2]);
        let task = tasks.get_task().unwrap();
        assert_eq!(wait(&all, None), [0, 1]);
        drop(task);
        queue.get().unwrap();
        simple.get().unwrap();
        assert_eq!(wait(&all, None), [2]);
        tasks.get().unwrap();
        other.send(&1).unwrap();
        assert_eq!(wait(&all, None), [3]);
        pipe.recv().unwrap();
        sender.send(&1).unwrap();
        socket.write_all(b"x").unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(wait(&all, None), [4, 5, 6]);
        let child = Process::spawn(end, ()).unwrap();
        assert_eq!(wait(&[&queue, &child], None), [1]);
        drop(other);
        queue.close();
        assert_eq!(wait(&all[..4], None), [0, 3], "the end is something");
        assert!(wait(&[], Some(20 * MS)).is_empty());
    });
}

#[test]
fn a_sleeper_is_woken_by_each_kind() {
    fn act(what: u32, queue: Queue<u8>, sender: Sender<u8>, ready: Value<u32>) {
        let before = ready.get();
        *ready.lock().unwrap() += 1;
        std::thread::sleep(100 * MS); // so that the other one sleeps
        match what {
            0 => queue.put(1).unwrap(),
            1 => sender.send(&1).unwrap(),
            2 => std::process::abort(),
            _ => {}
        }
        until("it was seen", || ready.get() > before + 1);
    }
    within(60, || {
        let (queue, (sender, receiver)) = (Queue::new().unwrap(), channel(10).unwrap());
        let _others = (queue.clone(), sender.clone()); // so that neither is at its end when a child is
        let (mut socket, there) = UnixStream::pair().unwrap();
        for what in 0..4 {
            let ready = Value::new(0).unwrap();
            let child = Process::spawn(act, (what, queue.clone(), sender.clone(), ready.clone())).unwrap();
            until("it runs", || ready.get() == 1);
            let writer = (what == 3).then(|| {
                std::thread::spawn({
                    let mut socket = socket.try_clone().unwrap();
                    move || {
                        std::thread::sleep(100 * MS);
                        socket.write_all(b"x").unwrap();
                    }
                })
            });
            let items: [&dyn Waitable; 4] = [&queue, &receiver, &child, &there];
            assert_eq!(wait(&items, Some(10_000 * MS)), [what as usize]);
            *ready.lock().unwrap() += 1;
            let _ = (queue.try_get(), receiver.try_recv(), child.wait());
            writer.into_iter().for_each(|writer| writer.join().unwrap());
        }
        socket.flush().unwrap();
    });
}

#[test]
fn a_hundred_at_once_and_the_killed_peer_of_one() {
    fn hold(_sender: Sender<u8>, ready: Value<u32>) {
        *ready.lock().unwrap() += 1;
        std::thread::sleep(Duration::from_secs(1000));
    }
    within(60, || {
        let queues: Vec<Queue<u32>> = (0..100).map(|_| Queue::bounded(1).unwrap()).collect();
        let items: Vec<&dyn Waitable> = queues.iter().map(|queue| queue as &dyn Waitable).collect();
        std::thread::scope(|scope| {
            for round in 0..20 {
                let at = (round * 37) % 100;
                let queue = &queues[at];
                scope.spawn(|| {
                    std::thread::sleep(20 * MS);
                    queue.put(1).unwrap();
                });
                assert_eq!(wait(&items, None), [at]);
                queues[at].get().unwrap();
            }
        });
        let pipes: Vec<(Sender<u8>, Receiver<u8>)> = (0..30).map(|_| Pipe::one_way().unwrap()).collect();
        let ready = Value::new(0).unwrap();
        let child = Process::spawn(hold, (pipes[17].0.clone(), ready.clone())).unwrap();
        until("it runs", || ready.get() == 1);
        let (mut senders, receivers): (Vec<_>, Vec<_>) = pipes.into_iter().unzip();
        drop(senders.remove(17));
        let items: Vec<&dyn Waitable> = receivers.iter().map(|receiver| receiver as &dyn Waitable).collect();
        assert!(wait(&items, Some(50 * MS)).is_empty());
        let killer = std::thread::spawn(move || {
            std::thread::sleep(100 * MS);
            child.kill().unwrap();
            (Instant::now(), child)
        });
        assert_eq!(wait(&items, None), [17]);
        let (killed, child) = killer.join().unwrap();
        assert!(killed.elapsed() < Duration::from_secs(1), "{:?}", killed.elapsed());
        child.wait();
    });
}

#[test]
fn many_waiters_and_many_consumers() {
    fn take(queues: Vec<Queue<u32>>) -> usize {
        let mut taken = 0;
        loop {
            let items: Vec<&dyn Waitable> = queues.iter().map(|queue| queue as &dyn Waitable).collect();
            for at in wait(&items, None) {
                match queues[at].try_get() {
                    Ok(_) => taken += 1,
                    Err(crossproc::TryGetError::Empty) => {}
                    Err(_) => return taken,
                }
            }
        }
    }
    fn get(queue: Queue<u32>) -> usize {
        queue.iter().map(Result::unwrap).count()
    }
    within(120, || {
        let queues: Vec<Queue<u32>> = (0..5).map(|_| Queue::bounded(2).unwrap()).collect();
        let takers: Vec<_> = (0..2).map(|_| Process::spawn(take, (queues.clone(),)).unwrap()).collect();
        let getters: Vec<_> = queues.iter().map(|queue| Process::spawn(get, (queue.clone(),)).unwrap()).collect();
        (0..20_000).for_each(|i| queues[i % 5].put(i as u32).unwrap());
        until("all is taken", || queues.iter().all(Queue::is_empty));
        queues.iter().for_each(Queue::close);
        let taken: usize = takers.into_iter().chain(getters).map(|child| child.join().unwrap()).sum();
        assert_eq!(taken, 20_000);
    });
}

#[test]
fn an_idle_wait_makes_no_system_calls_but_its_own_looks() {
    /// In a process of its own: what other threads' children and descriptors do wakes whoever waits for many things.
    fn idle() -> (i64, i64) {
        let queues: Vec<Queue<u32>> = (0..10).map(|_| Queue::new().unwrap()).collect();
        let items: Vec<&dyn Waitable> = queues.iter().map(|queue| queue as &dyn Waitable).collect();
        let usage = || {
            // SAFETY: plain data, which the call fills.
            let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
            // SAFETY: as above.
            unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) };
            (usage.ru_nvcsw, usage.ru_utime.tv_sec * 1_000_000 + usage.ru_utime.tv_usec)
        };
        let before = usage();
        assert!(wait(&items, Some(1500 * MS)).is_empty());
        let after = usage();
        (after.0 - before.0, after.1 - before.1)
    }
    within(60, || {
        let (sleeps, microseconds) = Process::spawn(idle, ()).unwrap().join().unwrap();
        assert!(sleeps <= 5, "{sleeps} sleeps");
        assert!(microseconds < 200_000, "{microseconds} us");
    });
}
