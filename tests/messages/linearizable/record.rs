//! Histories: several processes record the beginning, the end and the result of each call, and some are killed.

use super::fifo::Fifo;
use super::order::{Call, NEVER, What};
use crate::util::{self, Random};
use What::{Empty, Full, Get, Head, Lost, Put, Tail};
use crossproc::{Process, RawArray, RawValue};

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

pub const REFUSED: u64 = 100;
pub const CLOSED: u64 = 101; // and empty
pub const TIMEOUT: u64 = 102;

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
pub struct Plan {
    pub capacity: usize,
    pub putters: usize,
    pub getters: usize,
    pub calls: usize,
    pub kills: usize,
}

pub fn record<Q: Fifo>(plan: &Plan, random: &mut Random) -> Vec<Vec<Call>> {
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
