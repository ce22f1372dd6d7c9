//! Messages: what a killed sender or receiver leaves, in the ring, the area, and the spilled messages.
//!
//! A message here is bytes that are all the same, its number, so that one which is not whole shows.

use super::common::{address, patience, watch};
use super::stepper::{Kill, Scenario, Survivor, Watched, World};
use crossproc::{Pipe, Queue, Receiver, Sender, SimpleQueue};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

/// Where in the object the sides are, and the head's number.
const SIDES: usize = 256;
pub const HEAD_AT: usize = 64 + 48;
/// Wait queues, cursors, tasks, and the first slots: all after the table of the fd store.
pub const WAIT_QUEUES_AT: usize = SIDES + 6208;
const WAIT_QUEUES: usize = 1024;
/// Lengths of messages: two that go into the buffer, and one that is too long for the buffers of the pipes here.
pub const SHORT: usize = 40;
pub const LONG: usize = 200;
pub const SPILLED: usize = 5000;
/// One with more pages than the spilled messages that pass after it have together.
const LONG_SPILLED: usize = 40_000;

/// Number and length of a message; the number of one that is not whole is 255.
pub type Seen = (u8, usize);

/// What carries messages.
#[expect(clippy::large_enum_variant, reason = "there is one in a world")]
pub enum Line {
    Queue(Queue<u64>),
    Simple(SimpleQueue<u64>),
    Pipe(Sender<u64>, Receiver<u64>),
}

impl Line {
    pub fn queue() -> Self {
        Line::Queue(Queue::new().expect("memory for a queue"))
    }

    pub fn pipe() -> Self {
        let (sender, receiver) = Pipe::one_way_with_capacity(4096).expect("memory for a pipe");
        Line::Pipe(sender, receiver)
    }

    pub fn put(&self, (number, length): Seen) {
        self.put_bytes(&vec![number; length]);
    }

    fn put_bytes(&self, bytes: &[u8]) {
        match self {
            Line::Queue(queue) => queue.put_bytes(bytes).expect("room"),
            Line::Simple(queue) => queue.put(bytes[0].into()).expect("room"),
            Line::Pipe(sender, _) => sender.send_bytes(bytes).expect("a receiver"),
        }
    }

    pub fn get(&self) -> Seen {
        let bytes = match self {
            Line::Queue(queue) => queue.get_bytes().expect("a message"),
            Line::Simple(queue) => return queue.get().map_or((255, 1), |number| (number as u8, 1)),
            Line::Pipe(_, receiver) => receiver.recv_bytes().expect("a message"),
        };
        let first = bytes.first().copied().unwrap_or(0);
        (if bytes.iter().all(|byte| *byte == first) { first } else { 255 }, bytes.len())
    }

    pub fn is_empty(&self) -> bool {
        match self {
            Line::Queue(queue) => queue.is_empty(),
            Line::Simple(queue) => queue.is_empty(),
            Line::Pipe(_, receiver) => receiver.poll(Duration::ZERO) != Ok(true),
        }
    }

    pub fn polls(&self) -> bool {
        matches!(self, Line::Pipe(_, receiver) if receiver.poll(Duration::MAX) == Ok(true))
    }

    pub fn drain(&self) -> Vec<Seen> {
        std::iter::from_fn(|| (!self.is_empty()).then(|| self.get())).collect()
    }

    fn at(&self) -> usize {
        match self {
            Line::Queue(queue) => address(queue),
            Line::Simple(queue) => address(queue),
            Line::Pipe(sender, _) => address(sender),
        }
    }

    /// A word of the object, read without a call, which would wake a sleeper.
    pub fn word(&self, at: usize) -> u64 {
        // SAFETY: inside the object, which the world keeps mapped.
        unsafe { &*((self.at() + at) as *const AtomicU64) }.load(SeqCst)
    }

    pub fn watched(&self) -> Vec<Watched> {
        match self {
            Line::Simple(queue) => vec![watch(queue, SIDES)],
            // SAFETY: inside the object, which the world keeps mapped.
            _ => [(0, SIDES), (WAIT_QUEUES_AT, WAIT_QUEUES)]
                .map(|(at, bytes)| unsafe { Watched::new((self.at() + at) as *const u8, bytes) })
                .into(),
        }
    }

    /// How much memory its file has.
    pub fn blocks(&self) -> u64 {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("procfs is mounted");
        let at = self.at();
        let inode = maps.lines().find_map(|line| {
            let mut fields = line.split_whitespace();
            let (start, end) = fields.next()?.split_once('-')?;
            let number = |text| usize::from_str_radix(text, 16).ok();
            (number(start)? <= at && at < number(end)?).then(|| fields.nth(3)?.parse::<u64>().ok())?
        });
        let files = std::fs::read_dir("/proc/self/fd").expect("procfs is mounted").flatten();
        let data = files.filter_map(|file| std::fs::metadata(file.path()).ok());
        data.into_iter().find(|data| Some(data.ino()) == inode).expect("its file is open").blocks()
    }
}

/// By another process, since a call that never comes back must not be the tester's.
pub fn elsewhere(kill: &mut Kill, what: &str, job: impl FnOnce() -> u64) -> bool {
    let result = kill.is_clean().then(|| Survivor::start(job).wait_result(patience())).flatten();
    kill.demand(result == Some(1), format!("{what}: {result:?}"));
    result == Some(1)
}

/// Messages of each kind pass.
pub fn demand_works(kill: &mut Kill, line: &Line) {
    let lengths: &[usize] = match line {
        Line::Pipe(..) => &[SHORT, LONG, SPILLED],
        _ => &[SHORT, LONG],
    };
    elsewhere(kill, "messages do not pass", || {
        let passes = |(i, length): (usize, &usize)| {
            let message = (70 + i as u8, if matches!(line, Line::Simple(_)) { 1 } else { *length });
            line.put(message);
            line.get() == message && line.is_empty()
        };
        lengths.iter().enumerate().all(passes).into()
    });
}

/// What the victim does.
#[derive(Clone, Copy, PartialEq)]
pub enum Deed {
    Put(usize),
    PutMany,
    Get,
    GetMany,
    Send(usize),
    Consume,
    Close,
}

/// The number of the victim's first message.
pub const MINE: u8 = 50;
/// Made before, since making them would take an instruction for each.
static MY_BYTES: [u8; LONG_SPILLED] = [MINE; LONG_SPILLED];

pub fn act(deed: Deed, line: &Line) {
    match (deed, line) {
        (Deed::Put(length), line) => line.put_bytes(&MY_BYTES[..length]),
        (Deed::Get, line) => drop(line.get()),
        (Deed::PutMany, Line::Queue(queue)) => drop(queue.put_many([50, 51, 52])),
        (Deed::GetMany, Line::Queue(queue)) => drop(queue.get_many(2)),
        (Deed::Close, Line::Queue(queue)) => queue.close(),
        (Deed::Send(length), Line::Pipe(sender, _)) => {
            let mut slot = sender.reserve(length).expect("room");
            slot.fill(MINE);
            slot.send().expect("a receiver");
        }
        (Deed::Consume, Line::Pipe(_, receiver)) => {
            let frame = receiver.peek().expect("a message");
            let _ = frame.iter().all(|byte| *byte == 1);
            frame.consume().expect("it is taken");
        }
        _ => unreachable!("no such line does that"),
    }
}

/// What may be in after the deed: from nothing happened to all of it.
fn possible(deed: Deed, before: &[Seen]) -> Vec<Vec<Seen>> {
    let with = |more: &[Seen]| [before, more].concat();
    match deed {
        Deed::Put(length) | Deed::Send(length) => vec![with(&[]), with(&[(MINE, length)])],
        Deed::PutMany => (0..=3).map(|i| with(&[(MINE, 1), (MINE + 1, 1), (MINE + 2, 1)][..i])).collect(),
        Deed::Get | Deed::Consume => vec![with(&[]), before[1..].to_vec()],
        Deed::GetMany => (0..=2).map(|i| before[i..].to_vec()).collect(),
        Deed::Close => vec![with(&[])],
    }
}

/// How the line comes to be before the deed.
#[derive(Clone, Copy, PartialEq)]
enum Past {
    /// It is new, but for a message of each kind.
    Fresh,
    /// It had three, so that the slots of few items change places when it grows.
    Three,
    /// It was large and is small again.
    Large,
}

/// No other process is at work.
struct Quiet {
    deed: Deed,
    past: Past,
    before: Vec<Seen>,
    /// What is put after the kill, before anything is got.
    after: Vec<Seen>,
    blocks: u64,
    line: Line,
}

/// More slots than are given back.
const MANY: usize = 9000;
/// Makes an area that is given back.
const HUGE: usize = 256 << 10;

impl Quiet {
    fn of(line: Line, deed: Deed, past: Past, before: Vec<Seen>, after: Vec<Seen>) -> Self {
        let mut quiet = Quiet { deed, past, before, after, blocks: 0, line };
        if past != Past::Three {
            quiet.pass_all();
        } else {
            (0..3).for_each(|_| quiet.line.put((1, 1)));
            drop(quiet.line.drain());
        }
        quiet.blocks = quiet.line.blocks();
        quiet.fill();
        quiet
    }

    /// Messages of each kind; and it grows and shrinks, if that is what it is about.
    fn pass_all(&self) {
        let is_pipe = matches!(self.line, Line::Pipe(..));
        let lengths = [SHORT, LONG, if is_pipe { SPILLED } else { LONG }];
        lengths.into_iter().for_each(|length| {
            self.line.put((1, length));
            self.line.get();
        });
        if let (Past::Large, Line::Queue(queue)) = (self.past, &self.line) {
            queue.put_many((0..MANY as u64).map(|_| 1)).expect("memory");
            self.line.put((1, HUGE));
            while !queue.is_empty() {
                queue.get_bytes().expect("a message");
            }
        }
    }

    fn fill(&self) {
        match &self.line {
            // Many short ones of which the last few are left.
            Line::Queue(queue) if self.past == Past::Large && self.before.len() == 1 && self.before[0].1 == 1 => {
                queue.put_many((0..MANY as u64).map(|_| 1)).expect("memory");
                for _ in 0..MANY - 1 {
                    queue.get().expect("a message");
                }
            }
            Line::Queue(queue) if self.past == Past::Large => {
                self.line.put((1, HUGE));
                self.before.iter().for_each(|message| self.line.put(*message));
                queue.get_bytes().expect("a message");
            }
            line => self.before.iter().for_each(|message| line.put(*message)),
        }
    }

    fn scenario(
        name: &str,
        line: fn() -> Line,
        deed: Deed,
        past: Past,
        before: impl IntoIterator<Item = Seen>,
        after: &'static [Seen],
    ) -> Scenario {
        let before: Vec<Seen> = before.into_iter().collect();
        Scenario::new(format!("message/{name}"), move || Self::of(line(), deed, past, before.clone(), after.to_vec()))
    }
}

impl World for Quiet {
    fn prepare(&mut self) {
        super::common::warm_up();
    }

    fn operation(&mut self) {
        act(self.deed, &self.line);
    }

    fn watched(&self) -> Vec<Watched> {
        self.line.watched()
    }

    fn check(&mut self, kill: &mut Kill) {
        let line = &self.line;
        if let (Deed::Close, Line::Queue(queue)) = (self.deed, line) {
            let closed = queue.try_put(60).is_err();
            kill.committed(closed);
            kill.demand(closed || !kill.finished, "an acknowledged close is lost");
            queue.close();
            let rest = line.drain();
            kill.demand(rest.starts_with(&self.before) && queue.try_put(61).is_err(), format!("{rest:?}"));
            return;
        }
        let after = self.after.clone();
        elsewhere(kill, "no process can put", || {
            after.iter().for_each(|message| line.put(*message));
            1
        });
        kill.recovered();
        let content = line.drain();
        let possible = possible(self.deed, &self.before);
        let found = possible.iter().position(|possible| [possible.as_slice(), &self.after].concat() == content);
        let few = content.len().saturating_sub(8);
        kill.demand(found.is_some(), format!("{} messages, the last {:?}", content.len(), &content[few..]));
        let all = found == Some(possible.len() - 1);
        kill.demand(!kill.finished || all, "an acknowledged message is lost, or comes twice");
        kill.committed(found.is_some_and(|found| found > 0));
        demand_works(kill, line);
        if kill.is_clean() && self.past != Past::Three {
            self.pass_all();
            let blocks = self.line.blocks();
            kill.demand(blocks <= self.blocks, format!("memory is lost: {blocks} blocks, {} before", self.blocks));
        }
    }
}

/// The numbers of as many short messages.
fn numbered(count: usize, length: usize) -> impl Iterator<Item = Seen> {
    (0..count).map(move |i| ((i % 40) as u8 + 1, length))
}

pub fn scenarios() -> Vec<Scenario> {
    use Deed::{Close, Consume, Get, GetMany, Put, PutMany, Send};
    use Past::{Fresh, Large, Three};
    const MORE: &[Seen] = &[(40, 400), (41, SHORT), (42, LONG)];
    let simple = || Line::Simple(SimpleQueue::new().expect("memory for a queue"));
    // As much as nearly fills an area, and the next one.
    const HALVES: [Seen; 2] = [(1, 32_600), (2, 32_600)];
    const AREAS: [Seen; 7] = [(1, 32_600), (2, 32_600), (3, 60_000), (4, 70_000), (5, 60_000), (6, 60_000), (7, 5000)];
    // Three areas, all unread, and as much as would use the second one again if a producer took it for free.
    let areas = || {
        [AREAS.as_slice(), &[(8, 400), (9, 120_000), (10, 120_000), (11, 120_000), (12, 120_000), (13, 20_000)]]
            .concat()
    };
    const FILLING: &[Seen] = &[(40, 250_000), (41, 250_000), (42, 250_000), (43, 250_000)];
    vec![
        Quiet::scenario("put-short", Line::queue, Put(SHORT), Fresh, numbered(2, SHORT), MORE),
        Quiet::scenario("put", Line::queue, Put(LONG), Fresh, numbered(2, LONG), MORE),
        Quiet::scenario("put-spilled", Line::pipe, Put(LONG_SPILLED), Fresh, numbered(1, SHORT), MORE),
        Quiet::scenario("put-spilled-first", Line::pipe, Put(SPILLED), Fresh, [], MORE),
        Quiet::scenario("put-many", Line::queue, PutMany, Fresh, numbered(1, 1), MORE),
        Quiet::scenario("get-short", Line::queue, Get, Fresh, numbered(2, SHORT), MORE),
        Quiet::scenario("get", Line::queue, Get, Fresh, numbered(2, LONG), MORE),
        Quiet::scenario("get-spilled", Line::pipe, Get, Fresh, [(1, SPILLED), (2, LONG)], MORE),
        Quiet::scenario("get-spilled-last", Line::pipe, Get, Fresh, [(1, SPILLED)], MORE),
        Quiet::scenario("get-many", Line::queue, GetMany, Fresh, numbered(3, 1), MORE),
        Quiet::scenario("grow", simple, Put(1), Three, numbered(1024, 1), &[(40, 1), (41, 1), (42, 1)]),
        Quiet::scenario("grow-messages", Line::queue, Put(SHORT), Three, numbered(1024, 1), MORE),
        Quiet::scenario("grow-area", Line::queue, Put(400), Three, HALVES, MORE),
        Quiet::scenario("grow-area-again", Line::queue, Put(400), Three, AREAS, MORE),
        Quiet::scenario("grow-area-and-fill", Line::queue, Put(LONG_SPILLED), Three, areas(), FILLING),
        Quiet::scenario(
            "put-after-growth",
            Line::queue,
            Put(LONG),
            Three,
            [AREAS.as_slice(), &[(8, 400)]].concat(),
            MORE,
        ),
        Quiet::scenario("shrink", Line::queue, Get, Large, numbered(1, 1), MORE),
        Quiet::scenario("shrink-area", Line::queue, Get, Large, numbered(1, SHORT), MORE),
        Quiet::scenario("close", Line::queue, Close, Fresh, numbered(2, LONG), &[]),
        Quiet::scenario("reserve", Line::pipe, Send(LONG), Fresh, numbered(2, LONG), MORE),
        Quiet::scenario("reserve-spilled", Line::pipe, Send(SPILLED), Fresh, numbered(2, LONG), MORE),
        Quiet::scenario("peek", Line::pipe, Consume, Fresh, numbered(2, LONG), MORE),
        Quiet::scenario("peek-spilled", Line::pipe, Consume, Fresh, [(1, SPILLED), (2, LONG)], MORE),
    ]
}
