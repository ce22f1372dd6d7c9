//! The other process of an arena: it makes the arena, counts its blocks, and sends and receives handles.
//!
//! It takes orders through shared words. What the victim holds, the two share through messages only, so that the arena
//! belongs to no other process, and every block of it is accounted for.

use super::common::{Flags, address, is_full, patience};
use super::stepper::{Kill, Survivor, Watched};
use crossproc::{Array, Value, transfer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::fmt::Debug;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// An object whose arena nothing else in this program uses.
pub trait Block: Debug + Clone + Serialize + DeserializeOwned + 'static {
    fn make(content: u8) -> Self;
    fn content(&self) -> u8;
}

/// Blocks of 2 KiB, 90 or so in an arena.
pub type Large = Array<u8>;

impl Block for Large {
    fn make(content: u8) -> Self {
        Array::from_slice(&[content; 30]).expect("memory for an array")
    }

    fn content(&self) -> u8 {
        let items = self.to_vec().unwrap_or_default();
        if items.iter().all(|item| Some(item) == items.first()) { items.first().copied().unwrap_or(0) } else { 0 }
    }
}

/// Blocks of 1 KiB, 190 or so in an arena.
pub type Small = Value<[u64; 56]>;

impl Block for Small {
    fn make(content: u8) -> Self {
        Value::new([u64::from(content); 56]).expect("memory for a value")
    }

    fn content(&self) -> u8 {
        let items = self.get();
        if items.iter().all(|item| *item == items[0]) { items[0] as u8 } else { 0 }
    }
}

/// What the anchor holds, by which the arena becomes common to both.
pub const ANCHOR: u8 = 77;
/// What is in the object that travels.
pub const PAYLOAD: u8 = 88;

const ORDER: usize = 0; // the number of the last order
const WHICH: usize = 1; // what it says
const FORBIDDEN: usize = 2; // the block that must not be given out: 1 + offset, 0 = none

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(u64)]
pub enum Order {
    /// Make objects until the arena is full; keep them.
    Fill = 1,
    /// Send the anchor.
    SendAnchor,
    /// Make a payload, send it, drop it.
    SendPayload,
    /// Receive a payload and keep it.
    Receive,
    /// Report where the received or sent payload lies, as 1 + offset.
    Locate,
}

const ORDERS: [Order; 5] = [Order::Fill, Order::SendAnchor, Order::SendPayload, Order::Receive, Order::Locate];

/// Answers, beside counts of blocks.
pub const DONE: u64 = 1;
pub const GONE: u64 = 2;
const WRONG: u64 = 1 << 32;
const TWICE: u64 = 1 << 33;
const FORBIDDEN_GIVEN: u64 = 1 << 34;

/// The peer as its own process sees it.
struct Keeping<B> {
    flags: Flags,
    stream: UnixStream,
    anchor: B,
    payload: Option<B>,
    payload_at: u64,
    made: Vec<B>,
    arenas: Vec<(usize, usize)>,
    done: u64,
}

impl<B: Block> Keeping<B> {
    fn new(flags: Flags, stream: UnixStream) -> Self {
        let anchor = B::make(ANCHOR);
        let arenas = vec![mapping(address(&anchor))];
        Keeping { flags, stream, anchor, payload: None, payload_at: 0, made: Vec::new(), arenas, done: 0 }
    }

    fn serve(&mut self) -> u64 {
        while self.flags.get(ORDER) == self.done {
            std::thread::sleep(Duration::from_micros(10));
        }
        self.done += 1;
        match ORDERS[self.flags.get(WHICH) as usize - 1] {
            Order::Fill => self.fill(),
            Order::SendAnchor => transfer::send(&self.stream, &self.anchor).map_or(GONE, |()| DONE),
            Order::SendPayload => {
                let payload = B::make(PAYLOAD);
                self.payload_at = self.offset(&payload);
                transfer::send(&self.stream, &payload).map_or(GONE, |()| DONE)
            }
            Order::Receive => match transfer::recv::<B>(&self.stream) {
                Ok(payload) => {
                    self.payload_at = self.offset(&payload);
                    let content = payload.content();
                    self.payload = Some(payload);
                    if content == PAYLOAD { DONE } else { WRONG }
                }
                Err(_) => GONE,
            },
            Order::Locate => self.payload_at,
        }
    }

    /// 1 + the place in the first arena, or 0 for another one.
    fn offset(&self, object: &B) -> u64 {
        let (start, end) = self.arenas[0];
        let at = address(object);
        if (start..end).contains(&at) { (at - start + 1) as u64 } else { 0 }
    }

    /// The blocks that we hold in the first arena, and what is wrong with them.
    fn fill(&mut self) -> u64 {
        loop {
            let object = B::make((self.made.len() % 50) as u8 + 1);
            let at = address(&object);
            if !self.arenas.iter().any(|arena| (arena.0..arena.1).contains(&at)) {
                self.arenas.push(mapping(at)); // the old ones are full
                break;
            }
            self.made.push(object);
        }
        let all = || self.made.iter().chain(&self.payload).chain([&self.anchor]);
        let places: Vec<usize> = all().map(|object| address(object)).collect();
        let ours: Vec<u64> = all().map(|object| self.offset(object)).filter(|at| *at != 0).collect();
        let distinct = places.iter().collect::<HashSet<_>>().len() == places.len();
        let forbidden = self.flags.get(FORBIDDEN);
        let given = forbidden != 0 && self.made.iter().any(|object| self.offset(object) == forbidden);
        let mixed = self.made.iter().enumerate().any(|(i, object)| object.content() != (i % 50) as u8 + 1);
        let payload = self.payload.as_ref().is_some_and(|payload| payload.content() != PAYLOAD);
        let wrong = mixed || payload || self.anchor.content() != ANCHOR;
        let bits = [(wrong, WRONG), (!distinct, TWICE), (given, FORBIDDEN_GIVEN)];
        bits.iter().filter(|(set, _)| *set).map(|(_, bit)| bit).sum::<u64>() + ours.len() as u64
    }
}

/// The mapping that an address is in.
fn mapping(at: usize) -> (usize, usize) {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("procfs is mounted");
    let range = |line: &str| {
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
    };
    maps.lines().filter_map(range).find(|range| (range.0..range.1).contains(&at)).expect("the object is mapped")
}

/// Where an object lies in its arena, as 1 + offset, the same number in each process.
pub fn place(object: &impl Debug) -> u64 {
    let at = address(object);
    (at - mapping(at).0 + 1) as u64
}

/// The peer as the tester and the victim see it.
pub struct ArenaPeer {
    survivor: Survivor,
    flags: Flags,
    answers: u64,
    /// The victim's end of the stream. The tester drops its own before the kill, so that the death ends the stream.
    pub stream: Option<UnixStream>,
    view: View,
}

impl ArenaPeer {
    pub fn start<B: Block>() -> Self {
        let flags = Flags::new();
        let known = memfds("self");
        let (near, far) = UnixStream::pair().expect("a pair of sockets");
        let (for_peer, far_end) = (flags.clone(), far.as_raw_fd());
        let (mut keeping, mut near) = (None, Some(near));
        let survivor = Survivor::repeat(move || {
            let start = || {
                // SAFETY: the peer's copy of the victim's end, which nothing in this process uses.
                unsafe { libc::close(far_end) };
                Keeping::<B>::new(for_peer.clone(), near.take().expect("used once"))
            };
            keeping.get_or_insert_with(start).serve()
        });
        let mut peer = ArenaPeer { survivor, flags, answers: 0, stream: Some(far), view: View::default() };
        assert!(peer.ask(Order::Locate).is_some(), "the peer does not answer");
        peer.view = View::of(peer.survivor.pid(), &known);
        peer
    }

    /// How many blocks an arena has that nothing else uses.
    pub fn capacity<B: Block>() -> u64 {
        Self::start::<B>().ask(Order::Fill).expect("the peer fills its arena")
    }

    fn order(&mut self, order: Order) {
        self.flags.put(WHICH, order as u64);
        self.flags.put(ORDER, self.flags.get(ORDER) + 1);
    }

    /// The answer to the last order, if it comes in time; those to the orders of the victim are passed over.
    fn answer(&mut self, limit: Duration) -> Option<u64> {
        let mut answer = None;
        while self.answers < self.flags.get(ORDER) {
            answer = Some(self.survivor.wait_result(limit)?);
            self.answers += 1;
        }
        answer
    }

    pub fn ask(&mut self, order: Order) -> Option<u64> {
        self.order(order);
        self.answer(patience())
    }

    /// The block with this place must not be handed out; 0 forbids nothing.
    pub fn forbid(&self, place: u64) {
        self.flags.put(FORBIDDEN, place);
    }

    /// While the victim stands still: takes all that is free, unless the victim is in the way with a lock.
    pub fn fill_meanwhile(&mut self, kill_later: &mut Meanwhile) {
        self.order(Order::Fill);
        let begun = Instant::now();
        while kill_later.answer.is_none() && begun.elapsed() < Duration::from_secs(1) {
            kill_later.answer = self.answer(Duration::from_micros(300));
            if kill_later.answer.is_none() && self.survivor.asleep() {
                break;
            }
        }
    }

    /// After the kill, in a full arena: the blocks that the peer has, without complaints.
    pub fn fill(&mut self, kill: &mut Kill, what: &str) -> u64 {
        if self.answers < self.flags.get(ORDER) {
            let late = self.answer(patience());
            kill.demand(late.is_some(), "the other process waits for a dead one");
            if late.is_none() {
                return 0;
            }
        }
        let Some(answer) = self.ask(Order::Fill) else {
            kill.demand(false, format!("{what}: no other process can make objects"));
            return 0;
        };
        kill.recovered();
        complain(kill, what, answer);
        answer & (WRONG - 1)
    }

    /// The parts of the arena that say which process has what.
    pub fn watched(&self) -> Vec<Watched> {
        self.view.watched()
    }
}

/// What the peer found while the victim stood still.
#[derive(Default)]
pub struct Meanwhile {
    pub answer: Option<u64>,
}

/// Turns the bits of an answer into violations.
pub fn complain(kill: &mut Kill, what: &str, answer: u64) {
    kill.demand(answer & WRONG == 0, format!("{what}: an object of the survivor has changed"));
    kill.demand(answer & TWICE == 0, format!("{what}: a block was given out twice"));
    kill.demand(answer & FORBIDDEN_GIVEN == 0, format!("{what}: a block in use was given out"));
}

/// The tester's own view of the arena, to see what changes in it; the library does not know of it.
#[derive(Default)]
struct View {
    pages: Vec<(usize, usize)>,
}

const PAGE: usize = 4096;

impl View {
    /// Maps the memfd that process `pid` has and the tester has not: all of it, or, since looking at it after each step
    /// takes time, two pages for the short pass, the header with the first cells and the counts of flights.
    fn of(pid: i32, known: &[(u64, String)]) -> Self {
        let new = |found: &(u64, String)| !known.iter().any(|other| other.0 == found.0);
        let (_, path) = memfds(&pid.to_string()).into_iter().find(new).expect("an arena that the tester does not use");
        let file = std::fs::File::open(path).expect("the tester may look into it");
        let length = file.metadata().map_or(0, |data| data.len() as usize);
        let ranges = if is_full() { vec![(0, length)] } else { vec![(0, PAGE), (16 * PAGE, PAGE)] };
        let map = |(offset, length): (usize, usize)| {
            // SAFETY: a new shared mapping that touches no memory of ours; the arena is as large as that.
            let at = unsafe {
                let null = std::ptr::null_mut();
                libc::mmap(null, length, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), offset as libc::off_t)
            };
            (at != libc::MAP_FAILED).then_some((at as usize, length))
        };
        View { pages: ranges.into_iter().filter_map(map).collect() }
    }

    fn watched(&self) -> Vec<Watched> {
        // SAFETY: mapped until the view is dropped, with the world.
        self.pages.iter().map(|(at, length)| unsafe { Watched::new(*at as *const u8, *length) }).collect()
    }
}

impl Drop for View {
    fn drop(&mut self) {
        for (at, length) in &self.pages {
            // SAFETY: the mappings of `of`, to which nothing refers any more.
            unsafe { libc::munmap(*at as *mut libc::c_void, *length) };
        }
    }
}

/// Inodes and paths of the memfds of a process.
fn memfds(pid: &str) -> Vec<(u64, String)> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("procfs is mounted");
    let paths = entries.flatten().map(|entry| entry.path());
    let is_ours = |link: std::path::PathBuf| link.to_string_lossy().starts_with("/memfd:crossproc");
    let ours = |path: &std::path::PathBuf| std::fs::read_link(path).is_ok_and(is_ours);
    paths
        .filter(ours)
        .filter_map(|path| Some((std::fs::metadata(&path).ok()?.ino(), path.to_str()?.to_owned())))
        .collect()
}
