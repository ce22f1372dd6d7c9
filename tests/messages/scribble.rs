//! Queues and pipes whose memory is overwritten at random: results or typed errors, no panic, no large allocation, and
//! no wait that is much longer than its timeout.

use crate::util::{Random, by_itself};
use crossproc::{JoinableQueue, Pipe, Queue, channel};
use std::fmt::Debug;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

const MOMENT: Duration = Duration::from_millis(2);
/// Sides, table, doors, posts, tasks, and the first slots.
const WORDS: u64 = (7_000 + 32 * 20) / 8;

fn address(object: &impl Debug) -> u64 {
    let text = format!("{object:?}");
    let digits: String = text.split("0x").nth(1).unwrap().chars().take_while(char::is_ascii_hexdigit).collect();
    u64::from_str_radix(&digits, 16).unwrap()
}

/// The locks' words are spared: that somebody lives who holds one is believed, and a call without a time waits for it.
fn is_lock(offset: u64) -> bool {
    offset < 5 * 64 && offset.is_multiple_of(64)
}

fn scribble(at: u64, random: &mut Random, words: u64) {
    for _ in 0..words {
        let offset = random.next() % WORDS * 8;
        if is_lock(offset) {
            continue;
        }
        let word = at + offset;
        let value = match random.next() % 4 {
            0 => random.next(),
            1 => random.next() % 64,
            2 => 1 << (random.next() % 64),
            _ => u64::MAX - random.next() % 64,
        };
        // SAFETY: a word of the object's memory, which is shared, so only ever read by atomic accesses.
        unsafe { &*(word as *const AtomicU64) }.store(value, SeqCst);
    }
}

/// Uses it, in all kinds of ways; what comes of it is not looked at, but that it comes.
fn in_time(what: &str, use_it: impl FnOnce()) {
    let begun = Instant::now();
    use_it();
    assert!(begun.elapsed() < Duration::from_secs(15), "{what} took {:?}", begun.elapsed());
}

fn use_queue(queue: &Queue<String>) {
    in_time("a queue", || {
        for length in [1, 100, 100_000] {
            let _ = queue.put_timeout("x".repeat(length), MOMENT);
        }
        let _ = queue.try_put("y".into());
        let _ = (queue.len(), queue.is_empty(), queue.is_full());
        for _ in 0..3 {
            let _ = queue.get_timeout(MOMENT);
        }
        let _ = queue.try_get();
    });
}

fn use_tasks(tasks: &JoinableQueue<String>) {
    in_time("tasks", || {
        let _ = tasks.put_timeout("x".repeat(50), MOMENT);
        let _ = tasks.try_put("y".repeat(5000));
        if let Ok(task) = tasks.try_get_task() {
            task.done();
        }
        let _ = tasks.get_task_timeout(MOMENT).map(drop);
        let _ = tasks.join_timeout(MOMENT);
        let _ = tasks.task_done();
    });
}

fn use_pipe(pipe: &Pipe<String>, other: &Pipe<String>) {
    in_time("a pipe", || {
        for length in [1, 100, 3_000, 100_000] {
            let _ = pipe.send_timeout(&"x".repeat(length), MOMENT);
            let _ = other.recv_timeout(MOMENT);
        }
        let _ = other.try_send(&"y".into());
        let _ = pipe.poll(MOMENT);
        let _ = pipe.try_recv();
    });
}

#[test]
fn memory_that_is_overwritten_now_and_then() {
    // A damaged queue may keep its memory, so in a process of its own.
    by_itself(120, || {
        for seed in 1..25 {
            let mut random = Random(seed);
            let (queue, tasks) = (Queue::bounded(8).unwrap(), JoinableQueue::bounded(8).unwrap());
            let (one, other) = Pipe::pair_with_capacity(4096).unwrap();
            queue.put("a".repeat(100)).unwrap();
            tasks.put("a".repeat(100)).unwrap();
            one.send(&"a".repeat(100)).unwrap();
            for words in [1, 3, 40] {
                for at in [address(&queue), address(&tasks), address(&one)] {
                    scribble(at, &mut random, words);
                }
                use_queue(&queue);
                use_tasks(&tasks);
                use_pipe(&one, &other);
            }
            std::mem::forget((queue, tasks, one, other));
        }
    });
}

#[test]
fn memory_that_is_overwritten_all_the_time() {
    by_itself(120, || {
        let (sender, receiver) = channel::<Vec<u8>>(8).unwrap();
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let (mut random, at) = (Random(99), address(&sender));
                while !over.load(SeqCst) {
                    scribble(at, &mut random, 1);
                }
            });
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(3) {
                in_time("a channel", || {
                    let _ = sender.send_timeout(&vec![7; 3000], MOMENT);
                    let _ = receiver.recv_timeout(MOMENT);
                    let _ = receiver.try_recv();
                });
            }
            over.store(true, SeqCst);
        });
        std::mem::forget((sender, receiver));
    });
}
