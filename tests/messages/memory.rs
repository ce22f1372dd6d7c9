//! The memory of queues grows with their contents and shrinks with them.

use crate::util::by_itself;
use crossproc::{Array, Process, PutError, Queue, SimpleQueue, TryGetError};

/// How much memory the memories of this process take that belong to queues and the like.
fn memory() -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let of = |path: std::path::PathBuf| {
        let is_ours = std::fs::read_link(&path).ok()?.to_string_lossy().contains("memfd:crossproc");
        is_ours.then(|| std::fs::metadata(path).ok().map(|data| data.blocks() * 512))?
    };
    entries.filter_map(|entry| of(entry.ok()?.path())).sum()
}

#[test]
fn a_child_leaves_much_and_goes() {
    fn fill(queue: Queue<Vec<u8>>) {
        (0..256).for_each(|i| queue.put(vec![i as u8; 1 << 20]).unwrap());
    }
    by_itself(120, || {
        let queue = Queue::new().unwrap();
        let before = memory();
        Process::spawn(fill, (queue.clone(),)).unwrap().join().unwrap();
        assert!(memory() >= before + (256 << 20));
        for i in 0..256 {
            assert!(queue.get().unwrap() == vec![i as u8; 1 << 20], "item {i}");
        }
        assert!(memory() < before + (4 << 20), "{} bytes stay", memory() - before);
        assert_eq!(queue.try_get(), Err(TryGetError::Disconnected));
    });
}

#[test]
fn memory_grows_and_shrinks_with_short_items_too() {
    by_itself(120, || {
        let (queue, simple) = (Queue::new().unwrap(), SimpleQueue::<u64>::new().unwrap());
        let before = memory();
        for round in 0..3 {
            let count = 300_000;
            for i in 0..count {
                queue.put(i + round).unwrap();
                simple.put(i + round).unwrap();
            }
            assert!(memory() > before + (16 << 20));
            for i in 0..count {
                assert_eq!((queue.get(), simple.get()), (Ok(i + round), Ok(i + round)));
            }
            assert!(memory() < before + (4 << 20), "{} bytes stay", memory() - before);
        }
    });
}

#[test]
fn very_long_messages() {
    fn take(queue: Queue<()>) -> Vec<u64> {
        let sum = |bytes: Vec<u8>| bytes.len() as u64 + u64::from(bytes[bytes.len() - 1]);
        (0..2).map(|_| sum(queue.get_bytes().unwrap())).collect()
    }
    by_itself(120, || {
        let queue = Queue::new().unwrap();
        let child = Process::spawn(take, (queue.clone(),)).unwrap();
        let mut bytes = vec![0; 1 << 30];
        *bytes.last_mut().unwrap() = 7;
        queue.put_bytes(&bytes).unwrap();
        queue.put_bytes(&bytes[1..]).unwrap();
        assert_eq!(child.join().unwrap(), [(1 << 30) + 7, (1 << 30) + 6]);
        assert!(memory() < 64 << 20);
    });
}

#[test]
fn a_queue_in_itself_and_more_memories_than_have_room() {
    by_itself(60, || {
        let queue = Queue::<(Option<Array<u64>>, Vec<u8>)>::new().unwrap();
        let mut put = 0;
        let refused = loop {
            match queue.put((Some(Array::zeroed(10_000).unwrap()), vec![])) {
                Ok(()) => put += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, PutError::NoSpace(_)), "{refused:?} after {put}");
        assert_eq!(put, 128);
        queue.put((None, vec![1])).unwrap();
        (0..put).for_each(|_| assert!(queue.get().unwrap().0.is_some()));
        queue.put((Some(Array::zeroed(10_000).unwrap()), vec![])).unwrap();
        drop(queue); // with items in it
        let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
        assert!(descriptors < 20, "{descriptors} are open");

        let queue = Queue::<Vec<u8>>::new().unwrap();
        let carrier = Queue::<Queue<Vec<u8>>>::new().unwrap();
        carrier.put(queue.clone()).unwrap();
        let same = carrier.get().unwrap();
        same.put(vec![1; 100]).unwrap();
        assert_eq!(queue.get().unwrap(), [1; 100]);
    });
}
