//! Linearizability of `SimpleQueue` and `Queue`: several processes record the beginning, the end and the result of each
//! call, some are killed on the way, and a search looks for one order of all calls that explains every result.
//!
//! The order must agree with the times: a call that ended before another one began comes first. The last call of a
//! killed process may have taken effect or not, at any time after its beginning. The search (of Wing and Gong) takes
//! one call of one process at a time and never visits a place twice: how far each process is, and what the queue
//! contains. So it decides exactly; many short histories keep it small.
//!
//! `CROSSPROC_HISTORIES_SECONDS` is the time for which histories are made.

use crate::util::{self, Random, within};
use crossproc::{
    Error, GetError, GetTimeoutError, Process, PutTimeoutError, Queue, RawArray, RawValue, SimpleQueue, TryGetError,
    TryPutError,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// The results of both kinds of queue, as a history records them.
trait Fifo: Clone + Serialize + DeserializeOwned + Send + 'static {
    /// `get_many` takes all its items at one moment, not one after the other.
    const AT_ONCE: bool;
    fn bounded(capacity: usize) -> Result<Self, Error>;
    fn put(&self, item: u64) -> u64;
    fn try_put(&self, item: u64) -> u64;
    fn put_timeout(&self, item: u64) -> u64;
    fn get(&self) -> Result<Vec<u64>, u64>;
    fn try_get(&self) -> Result<Vec<u64>, u64>;
    fn get_timeout(&self) -> Result<Vec<u64>, u64>;
    fn get_many(&self, most: usize) -> Result<Vec<u64>, u64>;
    fn len(&self) -> usize;
    fn close(&self);
}

macro_rules! fifo { ($($queue:ident $at_once:literal)*) => { $(
    impl Fifo for $queue<u64> {
        const AT_ONCE: bool = $at_once;

        fn bounded(capacity: usize) -> Result<Self, Error> {
            Ok($queue::bounded(capacity)?)
        }

        fn put(&self, item: u64) -> u64 {
            $queue::put(self, item).map_or(TIMEOUT, |()| 1)
        }

        fn try_put(&self, item: u64) -> u64 {
            match $queue::try_put(self, item) {
                Ok(()) => 1,
                Err(TryPutError::Full(_)) => REFUSED,
                Err(error) => panic!("{error}"),
            }
        }

        fn put_timeout(&self, item: u64) -> u64 {
            match $queue::put_timeout(self, item, MOMENT) {
                Ok(()) => 1,
                Err(PutTimeoutError::Timeout(_)) => TIMEOUT,
                Err(error) => panic!("{error}"),
            }
        }

        fn get(&self) -> Result<Vec<u64>, u64> {
            $queue::get(self).map(|item| vec![item]).map_err(|error| closed(&error))
        }

        fn try_get(&self) -> Result<Vec<u64>, u64> {
            match $queue::try_get(self) {
                Ok(item) => Ok(vec![item]),
                // The last of the others may have been killed a moment ago.
                Err(TryGetError::Empty | TryGetError::Disconnected) => Err(REFUSED),
                Err(TryGetError::Closed) => Err(CLOSED),
                Err(error) => panic!("{error}"),
            }
        }

        fn get_timeout(&self) -> Result<Vec<u64>, u64> {
            match $queue::get_timeout(self, MOMENT) {
                Ok(item) => Ok(vec![item]),
                Err(GetTimeoutError::Timeout) => Err(TIMEOUT),
                Err(GetTimeoutError::Closed) => Err(CLOSED),
                Err(error) => panic!("{error}"),
            }
        }

        fn get_many(&self, most: usize) -> Result<Vec<u64>, u64> {
            $queue::get_many(self, most).map_err(|error| closed(&error))
        }

        fn len(&self) -> usize {
            $queue::len(self)
        }

        fn close(&self) {
            $queue::close(self);
        }
    }
)* } }
fifo! { SimpleQueue true Queue false }

const NEVER: u64 = u64::MAX;

#[derive(Clone, Debug, PartialEq)]
enum What {
    Put(u64),
    Full,
    /// Items that came out together; a killed process cannot say which.
    Get(Vec<u64>),
    Lost(usize), // at most so many
    Empty,
    /// `len` looks at the head, then at the tail: others may come in between, and its answer is that of two moments.
    Head,
    Tail(u64),
}
use What::{Empty, Full, Get, Head, Lost, Put, Tail};

#[derive(Clone, Debug)]
struct Call {
    begun: u64,
    ended: u64,
    what: What,
}

/// A place of the search.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Place {
    next: Vec<usize>, // call of each process
    inside: Vec<u64>,
    out: u64,        // how many items have come out
    heads: Vec<u64>, // `out` when each process looked at the head
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Explained,
    Impossible,
    TooLarge,
}

/// Looks for an order. Each process is a list of its calls in their order.
fn judge(history: &[Vec<Call>], capacity: usize) -> Verdict {
    const MOST: usize = 500_000;
    let n = history.len();
    let mut todo = vec![Place { next: vec![0; n], inside: vec![], out: 0, heads: vec![0; n] }];
    let mut met = HashSet::new();
    while let Some(place) = todo.pop() {
        if met.len() > MOST {
            return Verdict::TooLarge;
        }
        let open: Vec<_> = (0..n).filter_map(|i| Some((i, history[i].get(place.next[i])?))).collect();
        let deadline = open.iter().map(|(_, call)| call.ended).min().unwrap_or(NEVER);
        if deadline == NEVER {
            return Verdict::Explained; // what is left are calls of killed ones
        }
        // The one that ended first is tried first: mostly it was the first.
        let mut can: Vec<_> = open.into_iter().filter(|(_, call)| call.begun <= deadline).collect();
        can.sort_unstable_by_key(|(_, call)| std::cmp::Reverse(call.ended));
        for (i, call) in can {
            for after in place.after(i, &call.what, capacity) {
                if met.insert(after.clone()) {
                    todo.push(after);
                }
            }
        }
    }
    Verdict::Impossible
}

impl Place {
    /// Where one call leads to: nowhere, if its answer would be wrong here.
    fn after(&self, i: usize, what: &What, capacity: usize) -> Vec<Place> {
        let mut after = self.clone();
        after.next[i] += 1;
        let fits = match what {
            Put(item) => {
                after.inside.push(*item);
                self.inside.len() < capacity
            }
            Full => self.inside.len() == capacity,
            Get(items) => {
                let so = self.inside.starts_with(items);
                after.take_out(if so { items.len() } else { 0 });
                so
            }
            Lost(most) => {
                let taken = |count| {
                    let mut after = after.clone();
                    after.take_out(count);
                    after
                };
                return (1..=self.inside.len().min(*most)).map(taken).collect();
            }
            Empty => self.inside.is_empty(),
            Head => {
                after.heads[i] = self.out;
                true
            }
            Tail(len) => {
                let seen = std::mem::take(&mut after.heads[i]);
                *len == (self.out - seen + self.inside.len() as u64).min(capacity as u64)
            }
        };
        if fits { vec![after] } else { vec![] }
    }

    fn take_out(&mut self, count: usize) {
        self.inside.drain(..count);
        self.out += count as u64;
    }
}

// The record of a process, in memory that outlives it: eight words for each call.
const BEGUN: usize = 0; // 0: none
const KIND: usize = 1;
const ITEM: usize = 2; // that is put, or the most that are got
const ENDED: usize = 3; // 0: killed
const ANSWER: usize = 4; // how many items, or one of those below; then the items, or the length
const WORDS: usize = 8;

const PUT: u64 = 1;
const GET: u64 = 2;
const LEN: u64 = 3;

const REFUSED: u64 = 100;
const CLOSED: u64 = 101; // and empty
const TIMEOUT: u64 = 102;

/// A try that meets a lock waits for it, and then gives up without having seen the queue. (50 ms; the clocks agree.)
const TRY: u64 = 45_000_000;

struct Log {
    words: RawArray<u64>,
    at: usize,
}

impl Log {
    fn call(&mut self, kind: u64, item: u64, call: impl FnOnce() -> (u64, Vec<u64>)) -> u64 {
        let set = |word: usize, value: u64| self.words.set(self.at + word, value).unwrap();
        set(KIND, kind);
        set(ITEM, item);
        set(BEGUN, now());
        let (answer, items) = call();
        let ended = now();
        set(ANSWER, answer);
        items.iter().zip(ANSWER + 1..).for_each(|(item, word)| set(word, *item));
        set(ENDED, ended);
        self.at += WORDS;
        answer
    }

    fn is_full(&self) -> bool {
        self.at + WORDS > self.words.len()
    }

    fn put(&mut self, item: u64, put: impl FnOnce(u64) -> u64) {
        self.call(PUT, item, || (put(item), vec![]));
    }

    fn get(&mut self, most: usize, get: impl FnOnce() -> Result<Vec<u64>, u64>) -> u64 {
        self.call(GET, most as u64, || match get() {
            Ok(items) => (items.len() as u64, items),
            Err(answer) => (answer, vec![]),
        })
    }

    fn len(&mut self, queue: &impl Fifo) {
        self.call(LEN, 0, || (1, vec![queue.len() as u64]));
    }
}

fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid place.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Reads the calls of one process.
fn calls<Q: Fifo>(words: &RawArray<u64>) -> Vec<Call> {
    let mut calls = vec![];
    for at in (0..words.len()).step_by(WORDS) {
        let word = |word: usize| words.get(at + word).unwrap();
        if word(BEGUN) == 0 {
            break;
        }
        let killed = word(ENDED) == 0;
        let (begun, ended) = (word(BEGUN), if killed { NEVER } else { word(ENDED) });
        let mut add = |what| calls.push(Call { begun, ended, what });
        let saw_nothing = word(ANSWER) == TIMEOUT || word(ANSWER) == REFUSED && ended - begun > TRY;
        match word(KIND) {
            _ if !killed && saw_nothing => {}
            PUT if killed || word(ANSWER) != REFUSED => add(Put(word(ITEM))),
            PUT => add(Full),
            GET if killed && Q::AT_ONCE => add(Lost(word(ITEM) as usize)),
            GET if killed => (0..word(ITEM)).for_each(|_| add(Lost(1))),
            GET if matches!(word(ANSWER), REFUSED | CLOSED) => add(Empty),
            GET => {
                let items: Vec<_> = (0..word(ANSWER) as usize).map(|i| word(ANSWER + 1 + i)).collect();
                items.chunks(if Q::AT_ONCE { items.len() } else { 1 }).for_each(|items| add(Get(items.to_vec())));
            }
            _ if killed => {}
            _ => {
                add(Head);
                add(Tail(word(ANSWER + 1)));
            }
        }
    }
    calls
}

const MOMENT: Duration = Duration::from_micros(200);

/// All begin at once, so nobody sleeps meanwhile.
fn begin(go: &RawValue<u64>) {
    while go.get() == 0 {
        std::thread::yield_now();
    }
}

/// Puts numbers that nobody else puts.
fn put_some<Q: Fifo>(queue: Q, words: RawArray<u64>, go: RawValue<u64>, id: u64) {
    let (mut log, mut random) = (Log { words, at: 0 }, Random(id * 977 + 1));
    begin(&go);
    for item in id << 32.. {
        if log.is_full() {
            break;
        }
        match random.next() % 8 {
            0..4 => log.put(item, |item| queue.put(item)),
            4..6 => log.put(item, |item| queue.try_put(item)),
            6 => log.put(item, |item| queue.put_timeout(item)),
            _ => log.len(&queue),
        }
    }
}

fn closed(error: &GetError) -> u64 {
    assert_eq!(*error, GetError::Closed);
    CLOSED
}

/// Gets until the queue is closed, or there is no more room to write it down.
fn get_some<Q: Fifo>(queue: Q, words: RawArray<u64>, go: RawValue<u64>, id: u64) {
    let (mut log, mut random) = (Log { words, at: 0 }, Random(id * 977 + 1));
    begin(&go);
    while !log.is_full() {
        let most = 1 + random.next() as usize % 3;
        let answer = match random.next() % 8 {
            0..3 => log.get(1, || queue.get()),
            3..5 => log.get(most, || queue.get_many(most)),
            5 => log.get(1, || queue.try_get()),
            6 => log.get(1, || queue.get_timeout()),
            _ => {
                log.len(&queue);
                1
            }
        };
        if answer == CLOSED {
            break;
        }
    }
}

/// A history: the numbers of producers, consumers and calls, and the processes to kill with their times.
struct Plan {
    capacity: usize,
    putters: usize,
    getters: usize,
    calls: usize,
    kills: usize,
}

fn record<Q: Fifo>(plan: &Plan, random: &mut Random) -> Vec<Vec<Call>> {
    let queue = Q::bounded(plan.capacity).unwrap();
    let go = RawValue::new(0).unwrap();
    let count = plan.putters + plan.getters;
    let sheets: Vec<_> = (0..count).map(|_| RawArray::<u64>::zeroed(plan.calls * WORDS).unwrap()).collect();
    let mut spawn = |i: usize| {
        let run = if i < plan.putters { put_some::<Q> } else { get_some::<Q> };
        let id = (random.next() << 8) | (i as u64 + 1);
        let args = (queue.clone(), sheets[i].clone(), go.clone(), id & 0xfff_ffff);
        Process::builder().daemon(true).spawn(run, args).unwrap()
    };
    let children: Vec<_> = (0..count).map(&mut spawn).collect();
    go.set(1);
    for _ in 0..plan.kills {
        // In the middle of its calls, somewhere in one of them or between two.
        let victim = random.next() as usize % count;
        let begun = WORDS * (random.next() as usize % (plan.calls / 2)) + BEGUN;
        let limit = now() + 2_000_000;
        while sheets[victim].get(begun) == Some(0) && now() < limit {
            std::hint::spin_loop();
        }
        let moment = now() + random.next() % 3000;
        while now() < moment {}
        children[victim].kill().unwrap();
    }
    // The remaining processes are helped to their end: by gets while some put, then by a close.
    let mut log = Log { words: RawArray::zeroed(count * plan.calls * WORDS * 2).unwrap(), at: 0 };
    let (putters, getters) = children.split_at(plan.putters);
    let over = |children: &[Process<()>]| children.iter().all(|child| child.exit_code().is_some());
    util::until("all have put", || {
        if over(getters) && queue.len() > 0 {
            log.get(1, || queue.try_get());
        }
        over(putters)
    });
    queue.close();
    util::until("all have got", || over(getters));
    while log.get(1, || queue.try_get()) != CLOSED {}
    children.iter().for_each(|child| assert!([0, -9].contains(&child.wait()), "{child:?}"));
    sheets.iter().chain([&log.words]).map(calls::<Q>).collect()
}

const PLANS: [Plan; 6] = [
    Plan { capacity: 1, putters: 2, getters: 2, calls: 30, kills: 0 },
    Plan { capacity: 2, putters: 3, getters: 2, calls: 20, kills: 1 },
    Plan { capacity: 3, putters: 2, getters: 3, calls: 20, kills: 2 },
    Plan { capacity: 8, putters: 3, getters: 3, calls: 15, kills: 2 },
    Plan { capacity: 2, putters: 1, getters: 4, calls: 40, kills: 1 },
    Plan { capacity: 4, putters: 4, getters: 1, calls: 20, kills: 1 },
];

fn every_history_has_an_order<Q: Fifo>() {
    let seconds = std::env::var("CROSSPROC_HISTORIES_SECONDS").map_or(5, |seconds| seconds.parse().unwrap());
    let mut random = Random(u64::from(std::process::id()) << 20 | 1);
    let (mut count, mut total, mut killed, mut too_large) = (0, 0, 0, 0);
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        let plan = &PLANS[count % PLANS.len()];
        within(60, || {
            let history = record::<Q>(plan, &mut random);
            total += history.iter().map(Vec::len).sum::<usize>();
            killed += history.iter().flatten().filter(|call| call.ended == NEVER).count();
            let verdict = judge(&history, plan.capacity);
            assert_ne!(verdict, Verdict::Impossible, "history {count}, capacity {}: {history:#?}", plan.capacity);
            too_large += usize::from(verdict == Verdict::TooLarge);
        });
        count += 1;
    }
    println!("{count} histories, {total} calls, {killed} of them cut off, {too_large} histories too large");
    assert!(too_large * 10 <= count, "{too_large} of {count} were not decided");
}

#[test]
fn every_history_of_a_simple_queue_has_an_order() {
    every_history_has_an_order::<SimpleQueue<u64>>();
}

#[test]
fn every_history_of_a_queue_has_an_order() {
    every_history_has_an_order::<Queue<u64>>();
}

/// A call: its process, its beginning and end, and its kind.
type Row = (usize, u64, u64, What);

fn verdict(capacity: usize, rows: &[Row]) -> Verdict {
    let mut history = vec![vec![]; 4];
    for (process, begun, ended, what) in rows.iter().cloned() {
        history[process].push(Call { begun, ended, what });
    }
    judge(&history, capacity)
}

#[test]
fn good_histories_are_explained() {
    let good: &[(usize, &[Row])] = &[
        (1, &[]),
        (2, &[(0, 1, 2, Put(7)), (1, 3, 4, Get(vec![7])), (1, 5, 6, Empty)]),
        // Out before the end of its put, which may go on for long.
        (2, &[(0, 1, 9, Put(7)), (1, 2, 3, Get(vec![7])), (1, 4, 5, Empty)]),
        // Two puts at the same time come out in either order.
        (2, &[(0, 1, 4, Put(7)), (1, 2, 3, Put(8)), (2, 5, 6, Get(vec![7, 8]))]),
        (2, &[(0, 1, 4, Put(7)), (1, 2, 3, Put(8)), (2, 5, 6, Get(vec![8])), (2, 7, 8, Get(vec![7]))]),
        (
            1,
            &[(0, 1, 2, Put(7)), (0, 3, 4, Full), (1, 5, 8, Get(vec![7])), (0, 6, 7, Put(8)), (2, 9, 10, Get(vec![8]))],
        ),
        // The put of a killed process: in or not. The get of one: an item is gone or not.
        (2, &[(0, 1, NEVER, Put(7)), (1, 2, 3, Empty), (1, 4, 5, Get(vec![7]))]),
        (2, &[(0, 1, NEVER, Put(7)), (1, 2, 3, Empty)]),
        (2, &[(0, 1, 2, Put(7)), (0, 3, 4, Put(8)), (2, 5, NEVER, Lost(1)), (1, 6, 7, Get(vec![8]))]),
        (2, &[(0, 1, 2, Put(7)), (2, 3, NEVER, Lost(3)), (1, 4, 5, Get(vec![7])), (1, 6, 7, Empty)]),
        (2, &[(0, 1, 2, Put(7)), (1, 3, 4, Head), (1, 3, 4, Tail(1))]),
        // Between the two looks one came out and one went in.
        (4, &[(0, 1, 2, Put(7)), (1, 3, 9, Head), (1, 3, 9, Tail(2)), (0, 4, 5, Get(vec![7])), (0, 6, 7, Put(8))]),
    ];
    for (capacity, rows) in good {
        assert_eq!(verdict(*capacity, rows), Verdict::Explained, "{rows:?}");
    }
}

#[test]
fn bad_histories_are_refused() {
    let bad: &[(&str, usize, &[Row])] = &[
        ("twice", 2, &[(0, 1, 2, Put(7)), (1, 3, 4, Get(vec![7])), (2, 3, 4, Get(vec![7]))]),
        ("twice at once", 2, &[(0, 1, 2, Put(7)), (1, 3, 4, Get(vec![7, 7]))]),
        ("out of nothing", 2, &[(0, 1, 2, Put(7)), (1, 3, 4, Get(vec![8]))]),
        ("before its put", 2, &[(1, 1, 2, Get(vec![7])), (0, 3, 4, Put(7))]),
        ("before the put of one that is killed", 2, &[(1, 1, 2, Get(vec![7])), (0, 3, NEVER, Put(7))]),
        ("lost", 2, &[(0, 1, 2, Put(7)), (1, 3, 4, Empty)]),
        ("overtaken", 2, &[(0, 1, 2, Put(7)), (1, 3, 4, Put(8)), (2, 5, 6, Get(vec![8])), (2, 7, 8, Get(vec![7]))]),
        ("overtaken for ever", 2, &[(0, 1, 2, Put(7)), (1, 3, 4, Put(8)), (2, 5, 6, Get(vec![8])), (2, 7, 8, Empty)]),
        ("overtaken at once", 2, &[(0, 1, 2, Put(7)), (1, 3, 4, Put(8)), (2, 5, 6, Get(vec![8, 7]))]),
        ("empty while one is in", 2, &[(0, 1, 2, Put(7)), (1, 3, 4, Empty), (2, 5, 6, Get(vec![7]))]),
        (
            "empty while one of two is in",
            2,
            &[
                (0, 1, 2, Put(7)),
                (1, 3, 9, Get(vec![7])),
                (0, 3, 4, Put(8)),
                (2, 5, 6, Empty),
                (2, 10, 11, Get(vec![8])),
            ],
        ),
        ("full while there is room", 2, &[(0, 1, 2, Put(7)), (0, 3, 4, Full)]),
        ("more than fit", 1, &[(0, 1, 2, Put(7)), (0, 3, 4, Put(8)), (1, 5, 6, Get(vec![7, 8]))]),
        ("one killed took two", 2, &[(0, 1, 2, Put(7)), (0, 3, 4, Put(8)), (1, 5, NEVER, Lost(1)), (2, 6, 7, Empty)]),
        (
            "one killed took the second",
            2,
            &[
                (0, 1, 2, Put(7)),
                (0, 3, 4, Put(8)),
                (1, 5, NEVER, Lost(1)),
                (2, 6, 7, Get(vec![7])),
                (2, 8, 9, Empty),
                (3, 10, 11, Get(vec![8])),
            ],
        ),
        ("one killed came back", 2, &[(0, 1, NEVER, Put(7)), (1, 2, 3, Get(vec![7])), (1, 4, 5, Get(vec![7]))]),
        ("too long", 2, &[(0, 1, 2, Put(7)), (1, 3, 4, Head), (1, 3, 4, Tail(2))]),
        ("too short", 2, &[(0, 1, 2, Put(7)), (1, 3, 4, Head), (1, 3, 4, Tail(0))]),
    ];
    for (name, capacity, rows) in bad {
        assert_eq!(verdict(*capacity, rows), Verdict::Impossible, "{name}: {rows:?}");
    }
}

/// A sheet that says what really happened, but for two answers that were exchanged, has no order.
#[test]
fn a_history_with_two_answers_exchanged_is_refused() {
    within(60, || {
        let plan = Plan { capacity: 4, putters: 1, getters: 1, calls: 30, kills: 0 };
        let mut history = record::<SimpleQueue<u64>>(&plan, &mut Random(5));
        assert_eq!(judge(&history, plan.capacity), Verdict::Explained);
        let is_get = |call: &Call| matches!(call.what, Get(_));
        let got: Vec<_> = history.concat().iter().filter(|call| is_get(call)).cloned().collect();
        assert!(got.len() >= 2, "{history:?}");
        for call in history.iter_mut().flatten() {
            if call.what == got[0].what {
                call.what = got[got.len() - 1].what.clone();
            } else if call.what == got[got.len() - 1].what {
                call.what = got[0].what.clone();
            }
        }
        assert_eq!(judge(&history, plan.capacity), Verdict::Impossible);
    });
}
