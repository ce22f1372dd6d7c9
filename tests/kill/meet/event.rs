//! Events: set and waited for.

use super::*;

const WORD: usize = 64;

fn sleeper(flags: &Flags, event: &Event) -> Survivor {
    Survivor::start(|| {
        flags.wait_for(BEDTIME);
        event.wait();
        1
    })
}

struct Set {
    sleepers: Vec<Survivor>,
    flags: Flags,
    event: Box<Event>,
}

impl Set {
    fn new() -> Self {
        let (event, flags) = (Box::new(Event::new().expect("memory")), Flags::new());
        let sleepers = (0..2).map(|_| sleeper(&flags, &event)).collect();
        Set { sleepers, flags, event }
    }
}

impl World for Set {
    fn prepare(&mut self) {
        warm_up();
        put_to_bed(&self.flags, &self.sleepers);
    }

    fn operation(&mut self) {
        self.event.set();
    }

    fn watched(&self) -> Vec<Watched> {
        vec![watch(&*self.event, 128)]
    }

    fn check(&mut self, kill: &mut Kill) {
        let is_set = word(&*self.event, WORD) & 1 << 30 != 0;
        kill.committed(is_set);
        kill.demand(!kill.finished || is_set, "an acknowledged set is lost");
        if !is_set {
            self.event.set();
        }
        demand_all(kill, &mut self.sleepers);
    }
}

struct Wait {
    night: Night,
    others: Vec<Survivor>,
    flags: Flags,
    event: Box<Event>,
}

impl Wait {
    fn scenario(name: &str, night: Night) -> Scenario {
        night.shape(Scenario::new(format!("event/{name}"), move || {
            let (event, flags) = (Box::new(Event::new().expect("memory")), Flags::new());
            let others = vec![sleeper(&flags, &event)];
            Wait { night, others, flags, event }
        }))
    }
}

impl World for Wait {
    fn prepare(&mut self) {
        warm_up();
    }

    fn operation(&mut self) {
        match self.night {
            Night::TimeOut => assert!(!self.event.wait_timeout(SHORT)),
            _ => self.event.wait(),
        }
    }

    fn watched(&self) -> Vec<Watched> {
        vec![watch(&*self.event, 128)]
    }

    fn victim_asleep(&mut self, nth: u32) -> Asleep {
        put_to_bed(&self.flags, &self.others);
        match self.night {
            Night::Quiet => return Asleep::Leave,
            Night::Woken if nth == 1 => self.event.set(),
            _ => {}
        }
        Asleep::Woken
    }

    fn check(&mut self, kill: &mut Kill) {
        self.flags.set(BEDTIME);
        self.event.set();
        demand_all(kill, &mut self.others);
    }
}

pub fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("event/set", Set::new),
        Wait::scenario("fall-asleep", Night::Quiet),
        Wait::scenario("woken", Night::Woken),
        Wait::scenario("timed-out", Night::TimeOut),
    ]
}
