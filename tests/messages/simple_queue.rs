//! `SimpleQueue`: no item is lost or received twice, order is kept, and a kill delays nobody who has an item to
//! receive.

use crate::util::{self, Random, by_itself, fork, until, within};
use crossproc::{
    CheckedBitPattern, GetError, GetTimeoutError, NoUninit, Process, PutError, PutTimeoutError, SegmentError,
    SimpleQueue, TryGetError, TryPutError, Value,
};
use std::time::{Duration, Instant};

type Queue = SimpleQueue<u64>;

fn queue(items: usize) -> Queue {
    SimpleQueue::bounded(items).unwrap()
}

/// The highest bits name the producer, the others count its items.
fn produce(queue: Queue, producer: u64, count: u64) {
    (0..count).for_each(|i| queue.put(producer << 32 | i).unwrap());
}

/// Each producer's items come in their order, and none twice.
fn check_order(items: &[u64], producers: u64) {
    let mut next = vec![0; producers as usize];
    for item in items {
        let (producer, i) = ((item >> 32) as usize, item & 0xffff_ffff);
        assert!(i >= next[producer], "item {i} of {producer} behind {}", next[producer]);
        next[producer] = i + 1;
    }
}

#[test]
fn what_a_child_puts_comes_after_what_was_there() {
    fn put(queue: Queue) {
        (10..20).for_each(|i| queue.put(i).unwrap());
    }
    within(60, || {
        let queue = queue(100);
        (0..10).for_each(|i| queue.put(i).unwrap());
        Process::spawn(put, (queue.clone(),)).unwrap().join().unwrap();
        let items: Vec<u64> = (0..20).map(|_| queue.get().unwrap()).collect();
        assert_eq!(items, Vec::from_iter(0..20));
    });
}

#[test]
fn four_producers_and_four_consumers() {
    fn consume(queue: Queue) -> Vec<u64> {
        queue.iter().map(Result::unwrap).collect()
    }
    fn consume_many(queue: Queue) -> Vec<u64> {
        let mut all = Vec::new();
        while let Ok(items) = queue.get_many(100) {
            assert!(!items.is_empty());
            all.extend(items);
        }
        all
    }
    within(120, || {
        for (items, consume) in [(1, consume as fn(Queue) -> Vec<u64>), (100, consume), (1000, consume_many)] {
            let queue = queue(items);
            let count = if items == 1 { 2_000 } else { 25_000 };
            let start = |i| Process::spawn(produce, (queue.clone(), i, count)).unwrap();
            let producers: Vec<_> = (0..4).map(start).collect();
            let consumers: Vec<_> = (0..4).map(|_| Process::spawn(consume, (queue.clone(),)).unwrap()).collect();
            producers.into_iter().for_each(|producer| producer.join().unwrap());
            queue.close();
            let each: Vec<Vec<u64>> = consumers.into_iter().map(|consumer| consumer.join().unwrap()).collect();
            each.iter().for_each(|items| check_order(items, 4));
            let mut all = each.concat();
            all.sort_unstable();
            let wanted: Vec<u64> = (0..4).flat_map(|producer| (0..count).map(move |i| producer << 32 | i)).collect();
            assert!(all == wanted, "{} items instead of {}", all.len(), wanted.len());
        }
    });
}

#[test]
fn one_process_sees_what_it_has_put() {
    within(60, || {
        let queue = queue(200);
        for round in 0..200 {
            assert!(queue.is_empty() && queue.try_get() == Err(TryGetError::Empty));
            for i in 0..200 {
                assert_eq!(queue.put(round + i), Ok(()));
                assert_eq!((queue.len(), queue.is_empty(), queue.is_full()), (i as usize + 1, false, i == 199));
            }
            assert_eq!(queue.try_put(0), Err(TryPutError::Full(0)));
            let items: Vec<u64> = std::iter::from_fn(|| queue.try_get().ok()).collect();
            assert_eq!(items, Vec::from_iter(round..round + 200));
        }
    });
}

#[test]
fn full_and_empty_and_closed() {
    within(60, || {
        let queue = queue(2);
        assert_eq!(queue.put_many([1, 2]), Ok(2));
        let start = Instant::now();
        assert_eq!(queue.put_timeout(3, Duration::from_millis(50)), Err(PutTimeoutError::Timeout(3)));
        assert!(start.elapsed() >= Duration::from_millis(50));
        assert_eq!(queue.get_many(0), Ok(vec![]));
        assert_eq!(queue.get_many(10), Ok(vec![1, 2]));
        let start = Instant::now();
        assert_eq!(queue.get_timeout(Duration::from_millis(50)), Err(GetTimeoutError::Timeout));
        assert!(start.elapsed() >= Duration::from_millis(50));
        queue.put(4).unwrap();
        queue.close();
        assert_eq!(queue.put(5), Err(PutError::Closed(5)));
        assert_eq!(queue.try_put(5), Err(TryPutError::Closed(5)));
        assert_eq!(queue.put_timeout(5, Duration::MAX), Err(PutTimeoutError::Closed(5)));
        assert_eq!(queue.put_many([5, 6]), Err(PutError::Closed(5)));
        assert_eq!((queue.get(), queue.get()), (Ok(4), Err(GetError::Closed)));
        assert_eq!(queue.try_get(), Err(TryGetError::Closed));
        assert_eq!(queue.get_timeout(Duration::MAX), Err(GetTimeoutError::Closed));
        assert_eq!(queue.iter().next(), None);
        assert!(matches!(SimpleQueue::<u8>::bounded(0), Err(SegmentError::Invalid(_))));
        assert_eq!(SimpleQueue::<u64>::bounded(usize::MAX).unwrap_err(), SegmentError::TooLarge);
        assert_eq!(SimpleQueue::<u64>::bounded(1 << 45).unwrap_err(), SegmentError::NoSpace);
    });
}

#[test]
fn a_close_wakes_all_waiters() {
    within(60, || {
        let (full, empty) = (queue(1), queue(1));
        full.put(0).unwrap();
        let putters = (0..3).map(|_| Process::spawn(|queue: Queue| queue.put(1).is_err(), (full.clone(),)).unwrap());
        let getters = (0..3).map(|_| Process::spawn(|queue: Queue| queue.get().is_err(), (empty.clone(),)).unwrap());
        let waiting: Vec<_> = putters.chain(getters).collect();
        waiting.iter().for_each(|child| until("it sleeps", || util::asleep(child.id())));
        full.close();
        empty.close();
        waiting.into_iter().for_each(|child| assert_eq!(child.join(), Ok(true)));
    });
}

#[test]
fn a_killed_waiter_takes_nothing_from_the_other() {
    fn count(queue: Queue) -> usize {
        queue.iter().map(Result::unwrap).count()
    }
    within(60, || {
        for first in [true, false] {
            let queue = queue(10);
            let mut consumers: Vec<_> = (0..2).map(|_| Process::spawn(count, (queue.clone(),)).unwrap()).collect();
            consumers.iter().for_each(|child| until("it sleeps", || util::asleep(child.id())));
            let killed = consumers.remove(usize::from(first));
            killed.kill().unwrap();
            killed.wait();
            (0..100).for_each(|i| queue.put(i).unwrap());
            queue.close();
            assert_eq!(consumers.remove(0).join(), Ok(100));
        }
    });
}

#[test]
fn a_producer_that_is_killed_at_random_leaves_whole_items() {
    fn put_large(queue: SimpleQueue<[u64; 512]>, started: Value<u64>) {
        for i in 1.. {
            started.set(i).unwrap();
            queue.put([i; 512]).unwrap();
        }
    }
    within(60, || {
        let mut random = Random(7);
        let queue = SimpleQueue::bounded(64).unwrap();
        for _ in 0..20 {
            let started = Value::new(0).unwrap();
            let producer = Process::builder().daemon(true).spawn(put_large, (queue.clone(), started.clone())).unwrap();
            let mut next = 1;
            let mut check = |item: [u64; 512]| {
                assert!(item == [next; 512], "{} .. {} instead of {next}", item[0], item[511]);
                next += 1;
            };
            let enough = random.next() % 2000 + 1;
            (0..enough).for_each(|_| check(queue.get().unwrap()));
            producer.kill().unwrap();
            producer.wait();
            while let Ok(item) = queue.try_get() {
                check(item);
            }
            let begun = started.get();
            assert!(next == begun || next == begun + 1, "{next} of {begun}");
        }
    });
}

/// Killed afterwards. (A handle in a message that a killed process has not read yet is a holder for good.)
fn put_and_wait(queue: Queue) {
    queue.put(3).unwrap();
    util::until_killed()
}

#[test]
fn alone_with_an_empty_queue() {
    within(60, || {
        let queue = queue(4);
        assert_eq!(queue.get_timeout(Duration::from_millis(20)), Err(GetTimeoutError::Timeout), "never shared");
        // Of its own process, in another thread.
        let other = queue.clone();
        std::thread::scope(|threads| {
            threads.spawn(move || {
                other.put(1).unwrap();
                drop(other);
            });
            assert_eq!(queue.get(), Ok(1));
            assert_eq!(queue.get(), Err(GetError::Disconnected));
        });
        // Children that end, and that are killed.
        let child = Process::spawn(|queue: Queue| queue.put(2).unwrap(), (queue.clone(),)).unwrap();
        assert_eq!((queue.get(), queue.get()), (Ok(2), Err(GetError::Disconnected)));
        child.join().unwrap();
        let child = Process::spawn(put_and_wait, (queue.clone(),)).unwrap();
        assert_eq!(queue.get(), Ok(3));
        assert_eq!(queue.get_timeout(Duration::from_millis(20)), Err(GetTimeoutError::Timeout));
        child.kill().unwrap();
        assert_eq!(queue.get(), Err(GetError::Disconnected));
        assert_eq!(queue.try_get(), Err(TryGetError::Disconnected));
        assert_eq!(queue.put(3), Ok(()), "putting is never in vain: the handle may travel yet");
        assert_eq!(queue.get(), Ok(3));
    });
}

/// An object of another type stays as it is.
#[test]
fn another_object_is_no_queue() {
    within(60, || {
        let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
        let (small, large) = (Value::new([7_u64; 64]).unwrap(), Value::new([7_u64; 16 << 10]).unwrap());
        for _ in 0..3 {
            crossproc::transfer::send(&here, &small).unwrap();
            assert!(crossproc::transfer::recv::<Queue>(&there).is_err());
            crossproc::transfer::send(&here, &large).unwrap();
            assert!(crossproc::transfer::recv::<Queue>(&there).is_err());
        }
        assert!(small.get() == [7; 64] && large.get() == [7; 16 << 10]);
        let queue = queue(4);
        crossproc::transfer::send(&here, &queue).unwrap();
        assert!(crossproc::transfer::recv::<SimpleQueue<u8>>(&there).is_err());
        assert_eq!(queue.get_timeout(Duration::from_millis(10)), Err(GetTimeoutError::Disconnected));
    });
}

/// A segment of its own counts its holders too.
#[test]
fn alone_with_a_large_queue() {
    within(60, || {
        let queue = queue(100_000);
        let child = Process::spawn(|queue: Queue| queue.put(2).unwrap(), (queue.clone(),)).unwrap();
        assert_eq!((queue.get(), queue.get()), (Ok(2), Err(GetError::Disconnected)));
        child.join().unwrap();
        let child = Process::spawn(put_and_wait, (queue.clone(),)).unwrap();
        assert_eq!(queue.get(), Ok(3));
        child.kill().unwrap();
        assert_eq!(queue.get(), Err(GetError::Disconnected));
        assert_eq!(queue.put_many(0..100_000), Ok(100_000));
        assert!(queue.is_full());
        assert_eq!(queue.get_many(usize::MAX).unwrap().len(), 100_000);
    });
}

#[derive(Clone, Copy, Debug, PartialEq, NoUninit, CheckedBitPattern)]
#[bytemuck(crate = "crossproc::bytemuck")]
#[repr(u8)]
enum Colour {
    Red,
    Green = 7,
}

#[test]
fn items_of_every_kind_and_size() {
    fn through<T: crossproc::Element + PartialEq + std::fmt::Debug>(items: &[T]) {
        let queue = SimpleQueue::bounded(3).unwrap();
        for item in items {
            queue.put(*item).unwrap();
            assert_eq!(queue.get().as_ref(), Ok(item));
        }
        assert_eq!(queue.put_many(items.iter().copied().take(3)), Ok(items.len().min(3)));
        assert_eq!(queue.get_many(3).unwrap(), items[..items.len().min(3)]);
    }
    within(60, || {
        through(&[true, false]);
        through(&['a', '文']);
        through(&[Colour::Red, Colour::Green]);
        through(&[1_u8, 2, 3, 4, 5]);
        through(&[[1_u8; 7], [2; 7]]);
        through(&[i128::MIN, -1]);
        through(&[[1.5_f64; 1000]; 4]);
        through(&[(), ()]);
    });
}

#[test]
fn a_queue_travels_in_a_queues_company() {
    fn serve(requests: Queue, answers: (SimpleQueue<[u64; 2]>, Vec<Queue>)) {
        for request in &requests {
            let request = request.unwrap();
            answers.0.put([request, request * request]).unwrap();
            answers.1[request as usize % 2].put(request).unwrap();
        }
    }
    within(60, || {
        let (requests, answers, more) = (queue(4), SimpleQueue::bounded(4).unwrap(), vec![queue(100), queue(100)]);
        let server = Process::spawn(serve, (requests.clone(), (answers.clone(), more.clone()))).unwrap();
        for i in 0..50 {
            requests.put(i).unwrap();
            assert_eq!(answers.get(), Ok([i, i * i]));
        }
        requests.close();
        server.join().unwrap();
        assert_eq!((more[0].len(), more[1].len()), (25, 25));
    });
}

#[test]
fn many_queues_come_and_go() {
    by_itself(60, || {
        let round = || {
            let queues: Vec<_> = (0..3000).map(|_| queue(8)).collect();
            queues.iter().for_each(|queue| queue.put(1).unwrap());
            let large: Vec<_> = (0..20).map(|_| queue(20_000)).collect();
            drop((queues, large));
        };
        round();
        let (before, bytes) = (util::Counts::now(), util::Counts::memfd_bytes());
        (0..3).for_each(|_| round());
        let now = util::Counts::now();
        assert_eq!((now.fds, now.maps, util::Counts::memfd_bytes()), (before.fds, before.maps, bytes));
    });
}

/// A forked child is a holder too.
#[test]
fn a_fork_child_is_a_holder() {
    by_itself(60, || {
        let queue = queue(4);
        let mut child = fork(|| {
            queue.put(5).unwrap();
            util::until_killed()
        });
        assert_eq!(queue.get(), Ok(5));
        assert_eq!(queue.get_timeout(Duration::from_millis(20)), Err(GetTimeoutError::Timeout));
        child.kill();
        assert_eq!(queue.get(), Err(GetError::Disconnected));
    });
}

/// A queue with any bytes in its memory gives results or typed errors, and no wait lasts forever.
#[test]
fn a_queue_whose_memory_is_overwritten() {
    fn address(queue: &SimpleQueue<Colour>) -> usize {
        let text = format!("{queue:?}");
        let digits: String = text.split("0x").nth(1).unwrap().chars().take_while(char::is_ascii_hexdigit).collect();
        usize::from_str_radix(&digits, 16).unwrap()
    }
    fn scribble(queue: &SimpleQueue<Colour>, random: &mut Random, words: u64) {
        const WORDS: u64 = (192 + 8 * 16) / 8;
        for _ in 0..words {
            // The numbers of blocks and kinds are the segment's, not the queue's: they lie elsewhere.
            let at = address(queue) as u64 + random.next() % WORDS * 8;
            let value = if random.next().is_multiple_of(2) { random.next() } else { random.next() % 16 };
            // SAFETY: a word of the queue's memory, which is shared, so only ever read by atomic accesses.
            unsafe { &*(at as *const std::sync::atomic::AtomicU64) }.store(value, std::sync::atomic::Ordering::SeqCst);
        }
    }
    let use_it = |queue: &SimpleQueue<Colour>| {
        let moment = Duration::from_millis(2);
        let _ = queue.put_timeout(Colour::Green, moment);
        let _ = queue.try_put(Colour::Red);
        let _ = queue.get_timeout(moment);
        let _ = queue.try_get();
        let _ = (queue.len().min(8), queue.is_full(), queue.is_empty());
        assert!(queue.len() <= 8);
    };
    // A damaged queue may keep its memory, so in a process of its own.
    by_itself(60, || {
        for seed in 1..20 {
            let queue = SimpleQueue::bounded(8).unwrap();
            queue.put(Colour::Green).unwrap();
            let mut random = Random(seed);
            for words in [1, 3, 40] {
                scribble(&queue, &mut random, words);
                use_it(&queue);
            }
            std::mem::forget(queue);
        }
        // And all the time.
        let queue = SimpleQueue::bounded(8).unwrap();
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let mut random = Random(99);
                while !over.load(std::sync::atomic::Ordering::SeqCst) {
                    scribble(&queue, &mut random, 1);
                }
            });
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(2) {
                use_it(&queue);
            }
            over.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        std::mem::forget(queue);
    });
}
