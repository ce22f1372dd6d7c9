//! Handles in messages and tasks: whoever is killed, a message that can be read has what its handles need, and later
//! ones do too.

use super::common::{Flags, address};
use super::message::elsewhere;
use super::stepper::{Kill, Scenario, Survivor, Watched, World};
use crossproc::{Array, JoinableQueue, Queue, Task};
use std::time::Duration;

/// A segment of its own, which each process gets from an fd store once.
type Segment = Array<u8>;

const BYTES: usize = 70_000;
/// Sides, the table of the fd store, wait queues and cursors.
const WATCHED: usize = 256 + 6208 + 512;

fn segment(number: u8) -> Segment {
    Array::from_slice(&[number; BYTES]).expect("memory for an array")
}

/// The number of one that works, or 255.
fn number(segment: &Segment) -> u8 {
    let bytes = segment.to_vec().unwrap_or_default();
    let first = bytes.first().copied().unwrap_or(255);
    if bytes.len() == BYTES && bytes.iter().all(|byte| *byte == first) { first } else { 255 }
}

enum Line {
    Queue(Queue<Segment>),
    Tasks(JoinableQueue<Segment>),
}

impl Line {
    fn put(&self, segment: Segment) {
        match self {
            Line::Queue(queue) => queue.put(segment).expect("room"),
            Line::Tasks(queue) => queue.put(segment).expect("room"),
        }
    }

    /// What is in, in the end; the number of a handle that leads nowhere is 254.
    fn drain(&self) -> Vec<u8> {
        let mut found = Vec::new();
        match self {
            Line::Queue(queue) => {
                while !queue.is_empty() {
                    found.push(queue.try_get().map_or(254, |segment| number(&segment)));
                }
            }
            Line::Tasks(queue) => loop {
                match queue.try_get_task() {
                    Ok(task) => {
                        found.push(number(&task));
                        drop(task.done());
                    }
                    Err(crossproc::TryGetError::Empty) => break,
                    Err(_) => found.push(254),
                }
            },
        }
        found
    }
}

/// A process that has segments 1 and 2 and puts them in when it is told to. The tester never has them before it receives
/// them.
struct Owner {
    survivor: Survivor,
    orders: Flags,
}

const ORDER: usize = 0;
const WHICH: usize = 1;

impl Owner {
    fn start(line: &Line) -> Self {
        let orders = Flags::new();
        let (mut segments, mut done, mine) = (Vec::new(), 0, orders.clone());
        let survivor = Survivor::repeat(|| {
            if segments.is_empty() {
                segments.extend([segment(1), segment(2)]);
            }
            while mine.get(ORDER) == done {
                std::thread::sleep(Duration::from_micros(10));
            }
            done += 1;
            line.put(segments[mine.get(WHICH) as usize - 1].clone());
            1
        });
        Owner { survivor, orders }
    }

    fn put(&mut self, which: u64) -> bool {
        self.orders.put(WHICH, which);
        self.orders.put(ORDER, self.orders.get(ORDER) + 1);
        self.survivor.wait_result(super::common::patience()) == Some(1)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Deed {
    /// After one by the tester.
    Send,
    Receive,
    Take,
    /// The second of two in its hands.
    Done,
}

struct Journey {
    deed: Deed,
    owner: Owner,
    own: Option<Segment>,
    tasks: Vec<Task<Segment>>,
    line: Box<Line>,
}

impl Journey {
    fn scenario(name: &str, deed: Deed) -> Scenario {
        Scenario::new(format!("handle/{name}"), move || {
            let line = Box::new(match deed {
                Deed::Send | Deed::Receive => Line::Queue(Queue::new().expect("memory for a queue")),
                Deed::Take | Deed::Done => Line::Tasks(JoinableQueue::new().expect("memory for a queue")),
            });
            let mut owner = Owner::start(&line);
            let which: &[u64] = if deed == Deed::Send { &[1] } else { &[1, 2] };
            which.iter().for_each(|which| assert!(owner.put(*which), "the owner puts nothing"));
            Journey { deed, owner, own: None, tasks: Vec::new(), line }
        })
    }
}

impl World for Journey {
    fn prepare(&mut self) {
        super::common::warm_up();
        if self.deed == Deed::Send {
            self.own = Some(segment(3));
        }
        if let (Deed::Done, Line::Tasks(queue)) = (self.deed, &*self.line) {
            self.tasks.extend((0..2).map(|_| queue.get_task().expect("a task")));
        }
    }

    fn operation(&mut self) {
        match (self.deed, &*self.line) {
            (Deed::Receive, Line::Queue(queue)) => std::mem::forget(queue.get().expect("a message")),
            (Deed::Take, Line::Tasks(queue)) => std::mem::forget(queue.get_task().expect("a task")),
            (Deed::Done, _) => std::mem::forget(self.tasks.pop().map(Task::done)),
            (_, line) => line.put(self.own.take().expect("it is made")),
        }
    }

    fn watched(&self) -> Vec<Watched> {
        let at = match &*self.line {
            Line::Queue(queue) => address(queue),
            Line::Tasks(queue) => address(queue),
        };
        // SAFETY: inside the queue's object, which the world keeps mapped.
        vec![unsafe { Watched::new(at as *const u8, WATCHED) }]
    }

    fn check(&mut self, kill: &mut Kill) {
        let line = &*self.line;
        let mut found = line.drain();
        let possible: &[&[u8]] = match self.deed {
            Deed::Send => &[&[1], &[1, 3]],
            Deed::Receive => &[&[1, 2], &[2]],
            Deed::Take => &[&[1, 2]],
            Deed::Done => &[&[1, 2], &[1]],
        };
        let which = possible.iter().position(|possible| *possible == found);
        kill.demand(which.is_some(), format!("{found:?}"));
        kill.demand(!kill.finished || which == Some(possible.len() - 1), "an acknowledged one is lost, or comes again");
        kill.committed(which == Some(1));
        kill.recovered();
        // What was sent before, which the table may still know, and what no process has received.
        kill.demand(self.owner.put(1) && self.owner.put(2), "the owner cannot put them in again");
        elsewhere(kill, "no other process gets them", || (line.drain() == [1, 2]).into());
        elsewhere(kill, "no process can send new ones", || {
            line.put(segment(5));
            1
        });
        if kill.is_clean() {
            found = line.drain();
            kill.demand(found == [5], format!("a later one leads nowhere: {found:?}"));
        }
    }
}

pub fn scenarios() -> Vec<Scenario> {
    vec![
        Journey::scenario("send", Deed::Send),
        Journey::scenario("receive", Deed::Receive),
        Journey::scenario("take", Deed::Take),
        Journey::scenario("done", Deed::Done),
    ]
}
