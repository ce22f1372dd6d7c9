//! Messages with other processes at work: whether sleepers are woken for what there is, and what becomes of those at
//! work, or alone.

use super::common::{BEDTIME, Flags, demand_all, eventually, put_to_bed, see_asleep};
use super::message::{Deed, HEAD_AT, LONG, Line, MINE, SHORT, SPILLED, Seen, WAIT_QUEUES_AT};
use super::message::{act, demand_works, elsewhere};
use super::stepper::{Kill, Scenario, Stop, Survivor, Victim, Watched, World, asleep};
use crossproc::{Pipe, Receiver, RecvError, SendError, Sender, transfer};
use std::os::unix::net::UnixStream;

/// The victim was killed, or has what it was to have.
const KILLED: usize = 1;
/// What is counted as written to the area, and of spilled messages.
const BYTES_AT: usize = WAIT_QUEUES_AT + 128 + 8;
const SPILLED_AT: usize = WAIT_QUEUES_AT + 128 + 24;

/// The victim does something that others sleep for: they want messages (0), or to know of one (1), or room for those of
/// some lengths.
struct Watchers {
    deed: Deed,
    before: Vec<Seen>,
    wishes: Vec<usize>,
    sleepers: Vec<Survivor>,
    line: Line,
}

impl Watchers {
    fn scenario(
        name: &str,
        line: fn() -> Line,
        deed: Deed,
        before: &'static [Seen],
        wishes: &'static [usize],
    ) -> Scenario {
        Scenario::new(format!("message/{name}"), move || {
            let (line, mut sleepers) = (line(), Vec::new());
            before.iter().for_each(|message| line.put(*message));
            for (i, length) in wishes.iter().enumerate() {
                let flags = Flags::new();
                let sleeper = Survivor::start(|| {
                    flags.wait_for(BEDTIME);
                    match length {
                        0 => (line.get().0 != 255).into(),
                        1 => line.polls().into(),
                        length => {
                            line.put((80 + i as u8, *length));
                            1
                        }
                    }
                });
                sleepers.push(sleeper);
                put_to_bed(&flags, &sleepers[i..]);
            }
            Watchers { deed, before: before.to_vec(), wishes: wishes.to_vec(), sleepers, line }
        })
    }

    fn produces(&self) -> bool {
        self.wishes[0] > 1
    }

    /// How many have come back, once the others sleep.
    fn served(&self) -> usize {
        eventually(|| self.sleepers.iter().all(|sleeper| sleeper.has_result() || asleep(sleeper.pid())));
        self.sleepers.iter().filter(|sleeper| sleeper.has_result()).count()
    }
}

impl World for Watchers {
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
        if !self.produces() {
            kill.demand(eventually(|| line.is_empty()), "a message lies there, and a receiver sleeps");
            kill.recovered();
            let served = self.served();
            kill.demand(!kill.finished || served > 0, "an acknowledged message is lost");
            kill.committed(served > 0);
            let missing =
                |wish| self.sleepers.iter().zip(&self.wishes).filter(move |(s, w)| **w == wish && !s.has_result());
            (0..missing(0).count()).for_each(|_| line.put((20, LONG)));
            eventually(|| missing(0).count() == 0);
            if missing(1).count() > 0 {
                line.put((20, LONG));
                eventually(|| missing(1).count() == 0);
                line.get();
            }
            demand_all(kill, &mut self.sleepers);
            kill.demand(line.is_empty(), "a message was there twice");
            demand_works(kill, line);
            return;
        }
        let taken = line.word(HEAD_AT) > 0;
        kill.committed(taken);
        kill.demand(taken || !kill.finished, "what was taken is there again");
        if taken {
            // One that has room now; there may be one in front of it that has not.
            let least = self.wishes.iter().min();
            let modest = self.sleepers.iter().zip(&self.wishes).filter(|(_, wish)| Some(*wish) == least);
            let modest = || modest.clone().any(|(sleeper, _)| sleeper.has_result());
            kill.demand(eventually(modest), "there is room, and a sender sleeps");
            kill.recovered();
        }
        let mut content = Vec::new();
        eventually(|| {
            content.extend(line.drain());
            self.sleepers.iter().all(Survivor::has_result) && line.is_empty()
        });
        content.sort_unstable();
        let mut all = self.before[usize::from(taken)..].to_vec();
        all.extend(self.wishes.iter().enumerate().map(|(i, length)| (80 + i as u8, *length)));
        kill.demand(content == all, format!("{content:?}"));
        demand_all(kill, &mut self.sleepers);
        demand_works(kill, line);
    }
}

/// A sender has counted its message, and not committed it, while the victim receives another one and is killed.
struct Between {
    first: Victim,
    message: Seen,
    line: Line,
}

impl Between {
    fn scenario(name: &str, length: usize, counted: usize) -> Scenario {
        Scenario::new(format!("message/{name}"), move || {
            let line = Line::pipe();
            let message = (MINE, length);
            let prepare = || {
                super::common::warm_up();
                // So that it has looked which processes receive.
                line.put((1, SHORT));
                line.put((2, SHORT));
            };
            let mut first = Victim::start(prepare, |()| line.put(message));
            let blocks = line.blocks();
            while length == SPILLED && line.blocks() == blocks {
                assert_eq!(first.run_to_call(), Stop::Call, "it writes its spilled message");
            }
            while line.word(counted) == 0 {
                assert!(matches!(first.step(), Stop::Trap | Stop::Call), "it counts its message");
            }
            Between { first, message, line }
        })
    }
}

impl World for Between {
    fn prepare(&mut self) {
        super::common::warm_up();
    }

    fn operation(&mut self) {
        self.line.get();
    }

    fn watched(&self) -> Vec<Watched> {
        self.line.watched()
    }

    fn check(&mut self, kill: &mut Kill) {
        const CALLS: usize = 16;
        let taken = self.line.word(HEAD_AT) > 0;
        kill.committed(taken);
        // Whoever is next takes the lock over.
        let mut content = Vec::new();
        if !elsewhere(kill, "no process can receive", || {
            let wanted = if taken { 2 } else { 1 };
            (self.line.get() == (wanted, SHORT)).into()
        }) {
            return;
        }
        if !taken {
            content.push(self.line.get());
            kill.demand(content == [(2, SHORT)], format!("{content:?}"));
        }
        for _ in 0..CALLS {
            if !self.first.finished() {
                self.first.run_to_call();
            }
        }
        kill.demand(self.first.finished(), "the sender does not come to its end");
        // More than has room: what comes after it must not lie where the first one is.
        let (line, length) = (&self.line, self.message.1);
        let count = 2 + (4096 / length) as u8;
        let mut more = Survivor::start(|| {
            (0..count).for_each(|i| line.put((60 + i, length)));
            1
        });
        eventually(|| more.has_result() || more.asleep());
        let mut content = Vec::new();
        eventually(|| {
            content.extend(line.drain());
            more.has_result() && line.is_empty()
        });
        let all: Vec<Seen> = [MINE].into_iter().chain(60..60 + count).map(|number| (number, length)).collect();
        kill.demand(content == all, format!("{content:?}"));
        demand_all(kill, std::slice::from_mut(&mut more));
        demand_works(kill, line);
    }
}

/// The last holder of one side, which is the victim, goes, and a thread sleeps on the other side.
struct Leaver {
    sends: bool,
    sleeper: Vec<Survivor>,
    stream: UnixStream,
    flags: Flags,
    sender: Option<Sender<u64>>,
    receiver: Option<Receiver<u64>>,
}

impl Leaver {
    fn scenario(name: &str, sends: bool) -> Scenario {
        Scenario::new(format!("message/{name}"), move || {
            let (flags, (near, stream)) = (Flags::new(), UnixStream::pair().expect("a pair of sockets"));
            // It is on its own side only, and the tester on none.
            let sleeper = Survivor::start(|| match sends {
                true => {
                    let receiver: Receiver<u64> = transfer::recv(&near).expect("the victim sends it");
                    flags.set(BEDTIME);
                    (receiver.recv_bytes() == Err(RecvError::Eof)).into()
                }
                false => {
                    let sender: Sender<u64> = transfer::recv(&near).expect("the victim sends it");
                    flags.set(BEDTIME);
                    // Two have room, and a third one when the victim has thrown those away; more, until the death is
                    // news.
                    let mut sent = 0;
                    loop {
                        match sender.send_bytes(&[2; 1900]) {
                            Err(error) => return (error == SendError::BrokenPipe).into(),
                            Ok(()) => sent += 1,
                        }
                        if sent == 3 {
                            flags.wait_for(KILLED);
                        }
                    }
                }
            });
            Leaver { sends, sleeper: vec![sleeper], stream, flags, sender: None, receiver: None }
        })
    }
}

impl World for Leaver {
    fn prepare(&mut self) {
        let (sender, receiver) = Pipe::one_way_with_capacity(4096).expect("memory for a pipe");
        match self.sends {
            true => {
                transfer::send(&self.stream, &receiver).expect("the sleeper receives it");
                self.sender = Some(sender);
            }
            false => {
                transfer::send(&self.stream, &sender).expect("the sleeper receives it");
                self.receiver = Some(receiver);
            }
        }
        see_asleep(&self.flags, &self.sleeper);
        super::common::warm_up();
    }

    fn operation(&mut self) {
        if self.sends { drop(self.sender.take()) } else { drop(self.receiver.take()) }
    }

    fn check(&mut self, kill: &mut Kill) {
        self.flags.set(KILLED);
        demand_all(kill, &mut self.sleeper);
        kill.recovered();
    }
}

/// The only holder of one side, which is the victim, has it from a message, and a thread slept on the other side
/// before.
struct Comer {
    sends: bool,
    sleeper: Vec<Survivor>,
    message: UnixStream,
    flags: Flags,
}

impl Comer {
    fn scenario(name: &str, sends: bool) -> Scenario {
        Scenario::new(format!("message/{name}"), move || {
            let pair = || UnixStream::pair().expect("a pair of sockets");
            let (flags, (near, stream), (message, to_victim)) = (Flags::new(), pair(), pair());
            let sleeper = Survivor::start(|| match sends {
                true => {
                    let receiver: Receiver<u64> = transfer::recv(&near).expect("the tester sends it");
                    flags.set(BEDTIME);
                    (receiver.recv_bytes() == Err(RecvError::Eof)).into()
                }
                false => {
                    let sender: Sender<u64> = transfer::recv(&near).expect("the tester sends it");
                    flags.set(BEDTIME);
                    let sent = std::iter::repeat_with(|| sender.send_bytes(&[2; 1900])).find_map(Result::err);
                    (sent == Some(SendError::BrokenPipe)).into()
                }
            });
            let (sender, receiver) = Pipe::<u64>::one_way_with_capacity(4096).expect("memory for a pipe");
            let sent = match sends {
                true => transfer::send(&stream, &receiver).and(transfer::send(&to_victim, &sender)),
                false => transfer::send(&stream, &sender).and(transfer::send(&to_victim, &receiver)),
            };
            sent.expect("both are on their way");
            Comer { sends, sleeper: vec![sleeper], message, flags }
        })
    }
}

impl World for Comer {
    fn prepare(&mut self) {
        see_asleep(&self.flags, &self.sleeper);
        super::common::warm_up();
    }

    fn operation(&mut self) {
        match self.sends {
            true => std::mem::forget(transfer::recv::<Sender<u64>>(&self.message).expect("it is there")),
            false => std::mem::forget(transfer::recv::<Receiver<u64>>(&self.message).expect("it is there")),
        }
        self.flags.set(KILLED);
    }

    fn check(&mut self, kill: &mut Kill) {
        let has_come = self.flags.is_set(KILLED);
        kill.demand(has_come || !kill.finished, "it has not come");
        kill.committed(has_come);
        if has_come {
            demand_all(kill, &mut self.sleeper);
        } // else it may have taken the message along, or not have said that it came: the sleeper looks by itself then
        kill.recovered();
    }
}

pub fn scenarios() -> Vec<Scenario> {
    use Deed::{Get, Put};
    vec![
        Watchers::scenario("put-one-receiver", Line::queue, Put(LONG), &[], &[0]),
        Watchers::scenario("put-two-receivers", Line::pipe, Put(LONG), &[], &[0, 0]),
        Watchers::scenario("put-poller-and-receiver", Line::pipe, Put(LONG), &[], &[1, 0]),
        Watchers::scenario("put-spilled-two-receivers", Line::pipe, Put(SPILLED), &[], &[0, 0]),
        Watchers::scenario("get-one-sender", Line::pipe, Get, &[(1, 1900), (2, 1900)], &[500]),
        Watchers::scenario("get-two-senders", Line::pipe, Get, &[(1, 1900), (2, 1900)], &[3000, 500]),
        Watchers::scenario(
            "get-spilled-two-senders",
            Line::pipe,
            Get,
            &[(1, SPILLED), (2, SHORT)],
            &[SPILLED, SPILLED],
        ),
        Between::scenario("get-during-put", LONG, BYTES_AT),
        Between::scenario("get-during-spilled", SPILLED, SPILLED_AT),
        Leaver::scenario("sender-leaves", true),
        Leaver::scenario("receiver-leaves", false),
        Comer::scenario("sender-comes", true),
        Comer::scenario("receiver-comes", false),
    ]
}
