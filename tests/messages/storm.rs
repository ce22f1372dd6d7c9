//! Producers, consumers and workers of queues are killed at random and replaced. Ledgers in shared memory record what
//! was begun and what was acknowledged. `CROSSPROC_STORM_SECONDS` is the time for which it goes on.

use crate::util::{Random, within};
use crossproc::{JoinableQueue, Message, Process, Queue, SimpleQueue, Value};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

const PLACES: usize = 6;

/// A message whose bytes all follow from who put it, and as its how manyth; now and then one with a handle in it.
#[derive(Serialize, Deserialize)]
struct Letter {
    id: u64,
    bytes: Vec<u8>,
    value: Option<Value<u64>>,
}

impl Letter {
    fn new(id: u64) -> Self {
        let number = id & 0xffff_ffff;
        let lengths = [0, 3, 20, 60, 300, 5_000, 70_000];
        let length = if number % 97 == 96 { 5 << 20 } else { lengths[(number % 7) as usize] };
        let value = number.is_multiple_of(5).then(|| Value::new(id).unwrap());
        Letter { id, bytes: vec![(id ^ id >> 32) as u8; length], value }
    }

    /// Its number, if nothing of it is another's.
    fn check(&self) -> u64 {
        let wanted = Letter { value: None, ..Letter::new(self.id) };
        assert!(self.bytes == wanted.bytes, "letter {:#x} has {} bytes", self.id, self.bytes.len());
        assert!(self.value.as_ref().is_none_or(|value| value.get() == self.id), "another value");
        assert_eq!(self.value.is_some(), (self.id & 0xffff_ffff).is_multiple_of(5));
        self.id
    }
}

/// The queue under test. An item is a number: its producer in the upper half, its sequence number in the lower half.
trait Way: Message + Clone {
    fn put(&self, id: u64);
    /// Gets an item and passes its number on.
    fn get(&self, tell: &mut dyn FnMut(u64));
    fn try_get(&self) -> Option<u64>;
    /// Whether an item may be received more than once.
    const AT_LEAST_ONCE: bool;
    /// The longest pause between two kills, in microseconds.
    const PAUSE: u64;
}

impl Way for SimpleQueue<u64> {
    const AT_LEAST_ONCE: bool = false;
    const PAUSE: u64 = 4000;

    fn put(&self, id: u64) {
        SimpleQueue::put(self, id).unwrap();
    }

    fn get(&self, tell: &mut dyn FnMut(u64)) {
        tell(SimpleQueue::get(self).unwrap());
    }

    fn try_get(&self) -> Option<u64> {
        SimpleQueue::try_get(self).ok()
    }
}

impl Way for Queue<Letter> {
    const AT_LEAST_ONCE: bool = false;
    const PAUSE: u64 = 8000;

    fn put(&self, id: u64) {
        Queue::put(self, Letter::new(id)).unwrap();
    }

    fn get(&self, tell: &mut dyn FnMut(u64)) {
        tell(Queue::get(self).unwrap().check());
    }

    fn try_get(&self) -> Option<u64> {
        Queue::try_get(self).ok().map(|letter| letter.check())
    }
}

impl Way for JoinableQueue<Letter> {
    const AT_LEAST_ONCE: bool = true;
    const PAUSE: u64 = 8000;

    fn put(&self, id: u64) {
        JoinableQueue::put(self, Letter::new(id)).unwrap();
    }

    fn get(&self, tell: &mut dyn FnMut(u64)) {
        let task = self.get_task().unwrap();
        tell(task.check());
        task.done();
    }

    fn try_get(&self) -> Option<u64> {
        self.try_get_task().ok().map(|task| task.done().check())
    }
}

fn put_all<W: Way>(way: W, begun: Value<u64>, done: Value<u64>, id: u64) {
    for i in 0.. {
        begun.set(i + 1).unwrap();
        way.put(id << 32 | i);
        done.set(i + 1).unwrap();
    }
}

/// Before it asks for the next one, each consumer tells which it has.
fn get_all<W: Way>(way: W, ledger: SimpleQueue<u64>) {
    loop {
        way.get(&mut |id| ledger.put(id).unwrap());
    }
}

fn storm<W: Way>(way: W) {
    let seconds = std::env::var("CROSSPROC_STORM_SECONDS").map_or(3, |seconds| seconds.parse().unwrap());
    let mut random = Random(std::process::id().into());
    let ledger = SimpleQueue::bounded(1 << 16).unwrap();
    let (mut kills, mut killed_consumers, mut next_id, mut twice) = (0, 0, 0, 0);
    let mut counts = Vec::new(); // (begun, done) of every producer there was
    let mut seen = HashMap::<u64, HashSet<u64>>::new();
    let mut spawn = |place: usize| {
        let daemon = Process::builder().daemon(true);
        if place.is_multiple_of(2) {
            let (begun, done) = (Value::new(0).unwrap(), Value::new(0).unwrap());
            let args = (way.clone(), begun.clone(), done.clone(), next_id);
            next_id += 1;
            counts.push((begun, done));
            daemon.spawn(put_all::<W>, args).unwrap()
        } else {
            daemon.spawn(get_all::<W>, (way.clone(), ledger.clone())).unwrap()
        }
    };
    let mut children: Vec<_> = (0..PLACES).map(&mut spawn).collect();
    let mut note = |id: u64| {
        let is_new = seen.entry(id >> 32).or_default().insert(id & 0xffff_ffff);
        assert!(is_new || W::AT_LEAST_ONCE, "{id:#x} came twice");
        twice += u64::from(!is_new);
    };
    let (end, mut last) = (Instant::now() + Duration::from_secs(seconds), Instant::now());
    while Instant::now() < end {
        let pause = Instant::now() + Duration::from_micros(random.next() % W::PAUSE);
        while Instant::now() < pause {
            match ledger.try_get() {
                Ok(id) => {
                    note(id);
                    last = Instant::now();
                }
                Err(_) => std::thread::yield_now(),
            }
        }
        assert!(last.elapsed() < Duration::from_secs(15), "nothing moves any more after {kills} kills");
        let place = (random.next() % PLACES as u64) as usize;
        children[place].kill().unwrap();
        children[place].wait();
        kills += 1;
        killed_consumers += u64::from(!place.is_multiple_of(2));
        children[place] = spawn(place);
    }
    for (place, child) in children.iter().enumerate() {
        child.kill().unwrap();
        child.wait();
        kills += 1;
        killed_consumers += u64::from(!place.is_multiple_of(2));
    }
    while let Ok(id) = ledger.try_get() {
        note(id);
    }
    while let Some(id) = way.try_get() {
        note(id);
    }
    let (mut lost, mut all) = (0, 0);
    for (id, (begun, done)) in counts.iter().enumerate() {
        let (begun, done) = (begun.get(), done.get());
        let empty = HashSet::new();
        let came = seen.get(&(id as u64)).unwrap_or(&empty);
        assert!(came.iter().all(|number| *number < begun), "one that nobody put");
        lost += (0..done).filter(|number| !came.contains(number)).count() as u64;
        all += done;
    }
    println!("{all} items, {kills} kills, {killed_consumers} of consumers: {lost} lost, {twice} twice");
    let most = if W::AT_LEAST_ONCE { 0 } else { killed_consumers };
    assert!(lost <= most, "{lost} lost with {killed_consumers} killed consumers");
    assert!(twice <= killed_consumers, "{twice} twice with {killed_consumers} killed consumers");
    assert!(all > 100, "{all}");
}

#[test]
fn a_storm_over_plain_data() {
    within(600, || storm(SimpleQueue::<u64>::bounded(16).unwrap()));
}

#[test]
fn a_storm_over_a_queue() {
    within(600, || storm(Queue::bounded(16).unwrap()));
}

#[test]
fn a_storm_over_a_queue_that_grows() {
    within(600, || storm(Queue::new().unwrap()));
}

#[test]
fn a_storm_over_tasks() {
    within(600, || storm(JoinableQueue::bounded(16).unwrap()));
}
