//! Rounds: ended, acted for, broken; waited for.

use super::*;

const PHASE: usize = 64 + 16;
const SEATS: usize = 128;
const BYTES: usize = SEATS + 3 * SEAT;
const PARTIES: usize = 3;

/// Reports 1 when it passed, 2 when the barrier was broken.
fn sleeper(flags: &Flags, barrier: &Barrier) -> Survivor {
    Survivor::start(|| {
        flags.wait_for(BEDTIME);
        match barrier.wait() {
            Ok(_) => 1,
            Err(BarrierError::Broken) => 2,
            Err(_) => 3,
        }
    })
}

fn demand_answers(kill: &mut Kill, sleepers: &mut [Survivor], wanted: u64) {
    for sleeper in sleepers {
        match sleeper.wait_result(patience()) {
            Some(answer) if answer == wanted => kill.recovered(),
            other => kill.demand(false, format!("a party got {other:?}, not {wanted}")),
        }
    }
}

fn demand_works(kill: &mut Kill, barrier: &Barrier) {
    if kill.is_clean() {
        barrier.reset().expect("a barrier");
        let seen = (barrier.is_broken(), barrier.waiting(), barrier.wait_timeout(Duration::ZERO));
        kill.demand(seen == (false, 0, Err(BarrierError::Timeout)), format!("it does not work: {seen:?}"));
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Deed {
    /// The last one arrives.
    Complete,
    /// And acts.
    Act,
    Abort,
    Reset,
}

struct End {
    deed: Deed,
    had_seat: bool,
    sleepers: Vec<Survivor>,
    flags: Flags,
    barrier: Box<Barrier>,
}

impl End {
    fn scenario(name: &str, deed: Deed) -> Scenario {
        Scenario::new(format!("barrier/{name}"), move || {
            let barrier = match deed {
                Deed::Act => Barrier::with_action(PARTIES, || (), ()).expect("memory"),
                _ => Barrier::new(PARTIES).expect("memory"),
            };
            let (barrier, flags) = (Box::new(barrier), Flags::new());
            let sleepers = (0..2).map(|_| sleeper(&flags, &barrier)).collect();
            End { deed, had_seat: false, sleepers, flags, barrier }
        })
    }
}

impl World for End {
    fn prepare(&mut self) {
        warm_up();
        put_to_bed(&self.flags, &self.sleepers);
    }

    fn operation(&mut self) {
        match self.deed {
            Deed::Complete | Deed::Act => drop(self.barrier.wait()),
            Deed::Abort => self.barrier.abort().expect("a barrier"),
            Deed::Reset => self.barrier.reset().expect("a barrier"),
        }
    }

    fn watched(&self) -> Vec<Watched> {
        vec![watch(&*self.barrier, BYTES)]
    }

    fn before_kill(&mut self) {
        self.had_seat = taken(&*self.barrier, SEATS, 2 * PARTIES + 16) == 3;
    }

    fn check(&mut self, kill: &mut Kill) {
        let phase = double(&*self.barrier, PHASE);
        let ended = phase as u32 == 1 && matches!(self.deed, Deed::Complete | Deed::Act);
        // By what was done, or as whoever looks finds that one of them is dead.
        let broken = !ended && (phase != 0 || self.had_seat);
        kill.committed(ended || broken);
        kill.demand(!kill.finished || ended || broken, "what was acknowledged is lost");
        if !ended && !broken {
            self.barrier.abort().expect("a barrier");
        }
        demand_answers(kill, &mut self.sleepers, if ended { 1 } else { 2 });
        demand_works(kill, &self.barrier);
        kill.recovered();
    }
}

/// The victim arrives and waits, and another one before it.
struct Wait {
    night: Night,
    had_seat: bool,
    others: Vec<Survivor>,
    barrier: Box<Barrier>,
}

impl Wait {
    fn scenario(name: &str, night: Night) -> Scenario {
        night.shape(Scenario::new(format!("barrier/{name}"), move || {
            let (barrier, flags) = (Box::new(Barrier::new(PARTIES).expect("memory")), Flags::new());
            let others = vec![sleeper(&flags, &barrier)];
            put_to_bed(&flags, &others);
            Wait { night, had_seat: false, others, barrier }
        }))
    }
}

impl World for Wait {
    fn prepare(&mut self) {
        warm_up();
    }

    fn operation(&mut self) {
        match self.night {
            Night::TimeOut => drop(self.barrier.wait_timeout(SHORT)),
            _ => drop(self.barrier.wait()),
        }
    }

    fn watched(&self) -> Vec<Watched> {
        vec![watch(&*self.barrier, BYTES)]
    }

    fn victim_asleep(&mut self, nth: u32) -> Asleep {
        match self.night {
            Night::Quiet => return Asleep::Leave,
            Night::Woken if nth == 1 => drop(self.barrier.wait()),
            _ => {}
        }
        Asleep::Woken
    }

    fn before_kill(&mut self) {
        self.had_seat = taken(&*self.barrier, SEATS, 2 * PARTIES + 16) == 2;
    }

    fn check(&mut self, kill: &mut Kill) {
        let phase = double(&*self.barrier, PHASE);
        let passed = phase as u32 == 1;
        if !passed && phase == 0 && !self.had_seat {
            self.barrier.abort().expect("a barrier");
        }
        demand_answers(kill, &mut self.others, if passed { 1 } else { 2 });
        kill.demand(passed != self.barrier.is_broken(), "broken, or not");
        demand_works(kill, &self.barrier);
    }
}

pub fn scenarios() -> Vec<Scenario> {
    vec![
        End::scenario("complete", Deed::Complete),
        End::scenario("act", Deed::Act),
        End::scenario("abort", Deed::Abort),
        End::scenario("reset", Deed::Reset),
        Wait::scenario("fall-asleep", Night::Quiet),
        Wait::scenario("woken", Night::Woken),
        Wait::scenario("timed-out", Night::TimeOut),
    ]
}
