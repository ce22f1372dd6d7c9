//! `Queue`: items of any type and length, in order, whole, once; memory that grows and shrinks; handles in items.

use crate::util::{self, Random, until, within};
use crossproc::{
    Array, Atomic, GetError, GetTimeoutError, JoinableQueue, Message, Process, PutError, PutTimeoutError, Queue,
    SegmentError, SimpleQueue, TryGetError, TryPutError, Value,
};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Text of a length that does not fit where the ring has room for short ones.
fn text(n: u64, length: usize) -> String {
    format!("{n:0length$}")
}

#[test]
fn what_a_child_puts_comes_after_what_was_there() {
    fn put(queue: Queue<i32>) {
        (10..20).for_each(|i| queue.put(i).unwrap());
    }
    within(60, || {
        for queue in [Queue::new().unwrap(), Queue::bounded(20).unwrap()] {
            (0..10).for_each(|i| queue.put(i).unwrap());
            Process::spawn(put, (queue.clone(),)).unwrap().join().unwrap();
            assert_eq!((0..20).map(|_| queue.get().unwrap()).collect::<Vec<_>>(), Vec::from_iter(0..20));
        }
    });
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Nothing,
    Number(i128),
    Text { text: String, bytes: Vec<u8> },
    Map(BTreeMap<String, Option<f64>>),
}

#[test]
fn items_of_every_kind_and_length_come_through() {
    fn echo(here: Queue<Shape>, there: Queue<Shape>) {
        here.iter().for_each(|item| there.put(item.unwrap()).unwrap());
    }
    within(60, || {
        let (here, there) = (Queue::new().unwrap(), Queue::new().unwrap());
        let child = Process::spawn(echo, (here.clone(), there.clone())).unwrap();
        let mut items =
            vec![Shape::Nothing, Shape::Number(i128::MIN), Shape::Map(BTreeMap::from([("中文".into(), None)]))];
        let lengths =
            [0, 1, 40, 44, 45, 46, 47, 48, 49, 50, 55, 56, 57, 511, 512, 4095, 65_536, 65_537, 1 << 20, 5 << 20];
        items.extend(lengths.map(|n| Shape::Text { text: "ü".repeat(n / 2), bytes: vec![n as u8; n] }));
        for item in &items {
            here.put(item.clone()).unwrap();
        }
        here.close();
        child.join().unwrap();
        assert_eq!(there.get_many(1).unwrap(), items[..1]);
        items[1..].iter().for_each(|item| assert!(there.get().unwrap() == *item));
    });
}

#[test]
fn four_producers_and_four_consumers() {
    fn produce(queue: Queue<(u64, String)>, producer: u64, count: u64) {
        for i in 0..count {
            queue.put((producer, text(i, [1, 60, 700][(i % 3) as usize]))).unwrap();
        }
    }
    fn consume(queue: Queue<(u64, String)>) -> Vec<(u64, u64)> {
        queue.iter().map(|item| item.map(|(producer, text)| (producer, text.parse().unwrap())).unwrap()).collect()
    }
    within(120, || {
        for (queue, count) in [
            (Queue::bounded(1).unwrap(), 1_000),
            (Queue::bounded(100).unwrap(), 25_000),
            (Queue::new().unwrap(), 25_000),
        ] {
            let start = |i| Process::spawn(produce, (queue.clone(), i, count)).unwrap();
            let producers: Vec<_> = (0..4).map(start).collect();
            let consumers: Vec<_> = (0..4).map(|_| Process::spawn(consume, (queue.clone(),)).unwrap()).collect();
            producers.into_iter().for_each(|producer| producer.join().unwrap());
            queue.close();
            let each: Vec<_> = consumers.into_iter().map(|consumer| consumer.join().unwrap()).collect();
            for items in &each {
                let mut next = [0; 4];
                for (producer, i) in items {
                    assert!(*i >= next[*producer as usize], "{i} of {producer} comes late");
                    next[*producer as usize] = i + 1;
                }
            }
            let mut all = each.concat();
            all.sort_unstable();
            let wanted: Vec<_> = (0..4).flat_map(|producer| (0..count).map(move |i| (producer, i))).collect();
            assert!(all == wanted, "{} items instead of {}", all.len(), wanted.len());
        }
    });
}

#[test]
fn right_after_a_put_all_is_exact() {
    within(60, || {
        let queue = Queue::new().unwrap();
        for round in 0..200 {
            for i in 0..200_usize {
                queue.put((round, i)).unwrap();
                assert_eq!((queue.len(), queue.is_empty(), queue.is_full()), (i + 1, false, false));
            }
            for i in 0..200_usize {
                assert_eq!(queue.try_get(), Ok((round, i)));
                assert_eq!(queue.len(), 199 - i);
            }
            assert_eq!((queue.try_get(), queue.is_empty()), (Err(TryGetError::Empty), true));
        }
    });
}

#[test]
fn full_and_empty_and_closed() {
    within(60, || {
        let queue = Queue::bounded(2).unwrap();
        assert_eq!(queue.put_many([text(1, 100), text(2, 100)]), Ok(2));
        assert!(queue.is_full());
        assert_eq!(queue.try_put("x".into()), Err(TryPutError::Full("x".into())));
        let start = Instant::now();
        assert_eq!(queue.put_timeout("y".into(), Duration::from_millis(50)), Err(PutTimeoutError::Timeout("y".into())));
        assert!(start.elapsed() >= Duration::from_millis(50));
        assert_eq!(queue.put_timeout("z".into(), Duration::ZERO).unwrap_err().into_inner(), "z");
        assert_eq!((queue.get().unwrap().len(), queue.get().unwrap().len()), (100, 100));
        let start = Instant::now();
        assert_eq!(queue.get_timeout(Duration::from_millis(50)), Err(GetTimeoutError::Timeout));
        assert!(start.elapsed() >= Duration::from_millis(50));
        queue.put("last".into()).unwrap();
        queue.close();
        queue.close();
        assert_eq!(queue.put("a".into()), Err(PutError::Closed("a".into())));
        assert_eq!(queue.try_put("a".into()), Err(TryPutError::Closed("a".into())));
        assert_eq!((queue.get(), queue.get()), (Ok("last".into()), Err(GetError::Closed)));
        assert!(matches!(Queue::<u8>::bounded(0), Err(SegmentError::Invalid(_))));
    });
}

#[test]
fn a_close_wakes_all_waiters() {
    fn get(queue: Queue<String>, asleep: Value<u32>) -> Option<GetError> {
        *asleep.lock().unwrap() += 1;
        queue.get().err()
    }
    fn put(queue: Queue<String>, asleep: Value<u32>) -> bool {
        *asleep.lock().unwrap() += 1;
        queue.put(text(1, 1000)).unwrap_err().is_closed()
    }
    within(60, || {
        let (empty, full) = (Queue::new().unwrap(), Queue::bounded(1).unwrap());
        full.put("x".into()).unwrap();
        let ready = Value::new(0).unwrap();
        let getters: Vec<_> = (0..3).map(|_| Process::spawn(get, (empty.clone(), ready.clone())).unwrap()).collect();
        let putters: Vec<_> = (0..3).map(|_| Process::spawn(put, (full.clone(), ready.clone())).unwrap()).collect();
        until("all are ready", || ready.get() == 6);
        empty.close();
        full.close();
        getters.into_iter().for_each(|getter| assert_eq!(getter.join().unwrap(), Some(GetError::Closed)));
        putters.into_iter().for_each(|putter| assert!(putter.join().unwrap()));
    });
}

/// Cannot be encoded, or decoded, when it says so.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Moody(u8);

impl Serialize for Moody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            0 => Err(serde::ser::Error::custom("no zero")),
            n => serializer.serialize_u8(n),
        }
    }
}

#[test]
fn what_cannot_be_encoded_comes_back_and_nothing_is_put() {
    within(60, || {
        let queue = Queue::new().unwrap();
        match queue.put(vec![Moody(1), Moody(0)]) {
            Err(PutError::Encode(items, _)) => assert_eq!(items, [Moody(1), Moody(0)]),
            other => panic!("{other:?}"),
        }
        assert!(queue.is_empty());
        let error = queue.put_many([1, 2, 0, 3].map(|n| vec![Moody(n)])).unwrap_err();
        assert!(matches!(error, PutError::Encode(item, _) if item == [Moody(0)]));
        assert_eq!(queue.get_many(10).unwrap().len(), 2, "those before it are in");
    });
}

#[test]
fn what_cannot_be_decoded_is_gone_and_the_next_comes() {
    within(60, || {
        let queue = Queue::<(String, bool)>::new().unwrap();
        queue.put(("a".into(), true)).unwrap();
        queue.put_bytes(b"\x01a\x02").unwrap(); // a bool of 2
        queue.put(("b".into(), true)).unwrap();
        assert_eq!(queue.get_many(10).unwrap().len(), 1, "up to it");
        assert!(matches!(queue.get(), Err(GetError::Decode(_))));
        assert_eq!(queue.get().unwrap().0, "b");
        queue.put_bytes(&[0; 100]).unwrap();
        assert!(matches!(queue.get(), Err(GetError::Decode(_))), "bytes after it");
        assert!(queue.is_empty());
    });
}

#[test]
fn bytes_and_slices() {
    within(60, || {
        let queue = Queue::<()>::new().unwrap();
        for length in [0, 1, 48, 49, 1000, 100_000, 10_000_000] {
            let bytes: Vec<u8> = (0..length).map(|i| i as u8).collect();
            queue.put_bytes(&bytes).unwrap();
            assert!(queue.get_bytes().unwrap() == bytes, "{length} bytes");
        }
        queue.put_slice(&[1.5_f64; 1000]).unwrap();
        queue.put_slice::<u32>(&[]).unwrap();
        queue.put_slice(&['a', '中']).unwrap();
        queue.put_slice(&[0x0011_ffff_u32]).unwrap();
        assert_eq!(queue.get_vec::<f64>().unwrap(), [1.5; 1000]);
        assert!(queue.get_vec::<u32>().unwrap().is_empty());
        assert_eq!(queue.get_vec::<char>().unwrap(), ['a', '中']);
        assert!(matches!(queue.get_vec::<char>(), Err(GetError::Decode(_))), "no character");
        queue.put_bytes(&[1, 2, 3]).unwrap();
        assert!(matches!(queue.get_vec::<u16>(), Err(GetError::Decode(_))), "a half too many");
    });
}

#[test]
fn handles_travel_in_items() {
    type Job = (Value<i64>, Array<u64>, SimpleQueue<u8>, Queue<String>);
    fn work(jobs: Queue<Job>) {
        for job in &jobs {
            let (value, array, simple, texts) = job.unwrap();
            *value.lock().unwrap() += 1;
            array.lock().unwrap()[0] += 1;
            simple.put(5).unwrap();
            texts.put("done".into()).unwrap();
        }
    }
    within(60, || {
        let jobs = Queue::new().unwrap();
        let workers: Vec<_> = (0..2).map(|_| Process::spawn(work, (jobs.clone(),)).unwrap()).collect();
        let (value, texts) = (Value::new(0_i64).unwrap(), Queue::new().unwrap());
        let simple = SimpleQueue::bounded(100_000).unwrap();
        // Of more than 64 KiB, so that each has a memory of its own.
        let arrays: Vec<_> = (0..40).map(|_| Array::<u64>::zeroed(10_000).unwrap()).collect();
        for array in &arrays {
            jobs.put((value.clone(), array.clone(), simple.clone(), texts.clone())).unwrap();
        }
        (0..40).for_each(|_| assert_eq!(texts.get().unwrap(), "done"));
        assert_eq!((value.get(), simple.len()), (40, 40));
        arrays.iter().for_each(|array| assert_eq!(array.get(0), Ok(1)));
        jobs.close();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
}

#[test]
fn handles_in_items_outlive_who_put_them() {
    fn give(queue: Queue<Array<u64>>) {
        (0..60).for_each(|i| queue.put(Array::from_slice(&[i; 10_000]).unwrap()).unwrap());
    }
    within(60, || {
        let queue = Queue::new().unwrap();
        Process::spawn(give, (queue.clone(),)).unwrap().join().unwrap();
        for i in 0..60 {
            assert_eq!(queue.get().unwrap().get(9_999), Ok(i));
        }
    });
}

#[test]
fn a_consumer_that_is_killed_leaves_the_rest_to_the_other() {
    fn consume(queue: Queue<String>, ready: Value<u32>) -> usize {
        *ready.lock().unwrap() += 1;
        queue.iter().map(Result::unwrap).count()
    }
    within(60, || {
        let (queue, ready) = (Queue::new().unwrap(), Value::new(0).unwrap());
        let start = || Process::spawn(consume, (queue.clone(), ready.clone())).unwrap();
        let (one, other) = (start(), start());
        until("all are ready", || ready.get() == 2);
        one.kill().unwrap();
        one.wait();
        (0..100).for_each(|i| queue.put(text(i, 100)).unwrap());
        queue.close();
        assert_eq!(other.join().unwrap(), 100);
    });
}

#[test]
fn a_producer_that_is_killed_leaves_no_part_of_an_item() {
    fn fill(queue: Queue<Vec<u8>>) {
        (0..=u8::MAX).for_each(|i| queue.put(vec![i; 1 << 20]).unwrap());
    }
    within(120, || {
        let mut random = Random(11);
        let queue = Queue::bounded(3).unwrap();
        for _ in 0..20 {
            let child = Process::spawn(fill, (queue.clone(),)).unwrap();
            let first = queue.get().unwrap();
            std::thread::sleep(Duration::from_micros(random.next() % 10_000));
            child.kill().unwrap();
            child.wait();
            assert!(first == vec![0; 1 << 20]);
            let mut next = 1;
            loop {
                match queue.try_get() {
                    Ok(item) => assert!(item == vec![next; 1 << 20], "item {next}"),
                    Err(error) => break assert!(matches!(error, TryGetError::Disconnected | TryGetError::Empty)),
                }
                next += 1;
            }
            queue.put(vec![1, 2, 3]).unwrap();
            assert_eq!(queue.get().unwrap(), [1, 2, 3]);
        }
    });
}

#[test]
fn the_last_holder_gets_an_error() {
    fn wait(ready: Value<u32>, queue: Queue<String>) {
        *ready.lock().unwrap() += 1;
        let _ = queue.get();
    }
    within(60, || {
        let queue = Queue::<String>::new().unwrap();
        assert_eq!(queue.get_timeout(Duration::from_millis(20)), Err(GetTimeoutError::Timeout), "nobody ever had it");
        let ready = Value::new(0).unwrap();
        for kill in [true, false] {
            let before = ready.get();
            let child = Process::spawn(wait, (ready.clone(), queue.clone())).unwrap();
            let waiting = std::thread::spawn({
                let queue = queue.clone();
                move || queue.get()
            });
            until("all are ready", || ready.get() > before);
            if kill {
                child.kill().unwrap()
            } else {
                child.terminate().unwrap()
            }
            child.wait();
            // The thread has a handle of its own, so nobody is alone yet.
            queue.put("for the thread".into()).unwrap();
            assert_eq!(waiting.join().unwrap().unwrap(), "for the thread");
            let start = Instant::now();
            assert_eq!(queue.get(), Err(GetError::Disconnected));
            assert!(start.elapsed() < Duration::from_secs(1), "at once: {:?}", start.elapsed());
        }
    });
}

#[test]
fn a_sleeper_is_woken_at_once_by_a_kill() {
    fn hold(_queue: Queue<u8>, ready: Value<u32>) {
        *ready.lock().unwrap() += 1;
        std::thread::sleep(Duration::from_secs(1000));
    }
    within(60, || {
        let (queue, ready) = (Queue::<u8>::new().unwrap(), Value::new(0).unwrap());
        let child = Process::spawn(hold, (queue.clone(), ready.clone())).unwrap();
        until("all are ready", || ready.get() == 1);
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            child.kill().unwrap();
            (Instant::now(), child) // not waited for: a zombie is gone too
        });
        assert_eq!(queue.get(), Err(GetError::Disconnected));
        let (killed, child) = killer.join().unwrap();
        assert!(killed.elapsed() < Duration::from_secs(1), "{:?}", killed.elapsed());
        child.wait();
    });
}

#[test]
fn a_sleeper_is_woken_by_the_last_drop() {
    within(60, || {
        hears_of_goodbyes(|| Queue::<u64>::new().unwrap(), Queue::get);
        hears_of_goodbyes(|| SimpleQueue::<u64>::new().unwrap(), SimpleQueue::get);
        hears_of_goodbyes(|| JoinableQueue::<u64>::new().unwrap(), |queue| queue.get_task().map(|task| *task));
    });
}

/// Drops all other handles, in this process or in a child that lives on without them: the waiter is woken.
fn hears_of_goodbyes<Q: Message + Clone>(new: fn() -> Q, get: fn(&Q) -> Result<u64, GetError>) {
    fn hold<Q>(first: Q, second: Q, drops: Atomic<u32>) {
        for (n, handle) in (1..).zip([first, second]) {
            until("it is to drop one", || drops.load(SeqCst) >= n);
            drop(handle);
        }
        util::until_killed()
    }
    for is_here in [true, false] {
        let (queue, drops) = (new(), Atomic::new(0).unwrap());
        let (mut here, mut child) = (Vec::new(), None);
        match is_here {
            true => here.extend([queue.clone(), queue.clone()]),
            false => child = Some(Process::spawn(hold, (queue.clone(), queue.clone(), drops.clone())).unwrap()),
        }
        let (to, from) = mpsc::channel();
        let getter = std::thread::spawn(move || {
            to.send(util::tid()).unwrap();
            get(&queue)
        });
        let tid = from.recv().unwrap();
        for _ in 0..2 {
            until("it sleeps", || util::asleep(tid));
            drops.fetch_add(1, SeqCst);
            here.pop();
        }
        let start = Instant::now();
        assert_eq!(getter.join().unwrap(), Err(GetError::Disconnected));
        assert!(start.elapsed() < Duration::from_secs(1), "at once: {:?}", start.elapsed());
        child.iter().for_each(|child| child.kill().unwrap());
    }
}

#[test]
fn another_queue_is_refused() {
    fn take(queue: Queue<u8>) -> usize {
        queue.len()
    }
    within(60, || {
        let wrong: Queue<String> = Queue::new().unwrap();
        // The same bytes as a handle of another type.
        let send = |handle: &Queue<String>| {
            let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
            crossproc::transfer::send(&here, handle).unwrap();
            crossproc::transfer::recv::<Queue<u8>>(&there).map(drop)
        };
        assert!(send(&wrong).is_err());
        assert!(serde_json::to_string(&wrong).is_err());
        let right = Queue::<u8>::new().unwrap();
        right.put(1).unwrap();
        assert_eq!(Process::spawn(take, (right,)).unwrap().join().unwrap(), 1);
    });
}

#[test]
fn an_iterator_ends_after_its_last_error() {
    fn put(queue: Queue<u8>) {
        queue.put(1).unwrap();
    }
    within(60, || {
        let queue = Queue::new().unwrap();
        Process::spawn(put, (queue.clone(),)).unwrap().join().unwrap();
        let items: Vec<_> = queue.iter().collect();
        assert_eq!(items, [Ok(1), Err(GetError::Disconnected)]);
        let error = crossproc::Error::from(PutTimeoutError::Timeout(1));
        assert!(error.is_timeout());
    });
}
