//! Names: one is there with its whole content or not at all, and nothing that a dead process left is in the way.

use super::common::{Flags, die_after};
use super::stepper::{Kill, Scenario, Strategy, World};
use crossproc::{Named, SegmentError, Value};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

type Content = [u64; 8];
const CONTENT: Content = [3; 8];

#[derive(Clone, Copy, PartialEq)]
enum Deed {
    Create,
    /// One that stays without users.
    CreateToStay,
    /// The name is there, left by a process that was killed.
    CreateOverRubbish,
    /// The same, with a way that takes what is there.
    OpenOrCreate,
    /// The tester has it as well.
    Open,
    DropLast,
    /// The tester has it as well.
    DropOther,
    Remove,
}

struct Site {
    deed: Deed,
    name: String,
    testers: Option<Value<Content>>,
    victims: Option<Value<Content>>,
    flags: Flags,
}

const DONE: usize = 0;

impl Site {
    fn new(deed: Deed) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("kill-{}-{}", std::process::id(), NEXT.fetch_add(1, SeqCst));
        let this = Site { deed, name, testers: None, victims: None, flags: Flags::new() };
        this.furnish()
    }

    fn furnish(mut self) -> Self {
        match self.deed {
            Deed::CreateOverRubbish => {
                die_after(|| std::mem::forget(self.named().create(CONTENT)));
            }
            Deed::Open | Deed::DropOther | Deed::Remove => {
                self.testers = Some(self.named().create(CONTENT).expect("a free name"));
            }
            _ => {}
        }
        self
    }

    fn scenario(name: &str, deed: Deed) -> Scenario {
        Scenario::new(format!("named/{name}"), move || Self::new(deed)).strategy(Strategy::Calls)
    }

    fn named(&self) -> Named<Value<Content>> {
        Value::named(&self.name)
    }

    fn exists(&self) -> bool {
        std::path::Path::new(&format!("/dev/shm/crossproc.{}", self.name)).exists()
    }

    /// Whoever opens the name now gets the whole content, or hears that there is none.
    fn check_open(&self, kill: &mut Kill) -> bool {
        match self.named().open() {
            Ok(value) => {
                kill.demand(value.get() == CONTENT, format!("half a segment: {:?}", value.get()));
                kill.demand(value.set(CONTENT).is_ok(), "a segment that cannot be locked");
                true
            }
            Err(error) => {
                kill.demand(error == SegmentError::NotFound, format!("open: {error}"));
                false
            }
        }
    }

    fn check_create(&self, kill: &mut Kill) {
        match self.named().create([4; 8]) {
            Ok(made) => {
                let opened = self.named().open().map(|value| value.get());
                kill.demand(opened == Ok([4; 8]), format!("after a new create: {opened:?}"));
                drop(made);
            }
            Err(error) => kill.demand(false, format!("a new create: {error}")),
        }
        kill.demand(!self.exists(), "the name stays after its last user");
    }
}

impl World for Site {
    fn prepare(&mut self) {
        match self.deed {
            Deed::DropLast => self.victims = Some(self.named().create(CONTENT).expect("a free name")),
            Deed::DropOther => self.victims = Some(self.named().open().expect("the tester has made it")),
            _ => {}
        }
    }

    fn operation(&mut self) {
        let made = match self.deed {
            Deed::Create | Deed::CreateOverRubbish => Some(self.named().create(CONTENT).expect("a free name")),
            Deed::CreateToStay => Some(self.named().persist().create(CONTENT).expect("a free name")),
            Deed::OpenOrCreate => Some(self.named().open_or_create(CONTENT).expect("a free name")),
            Deed::Open => Some(self.named().open().expect("the tester has made it")),
            Deed::DropLast | Deed::DropOther => drop_it(&mut self.victims),
            Deed::Remove => self.named().remove().map(|()| None).expect("the name is there"),
        };
        self.flags.set(DONE);
        std::mem::forget(made);
    }

    fn check(&mut self, kill: &mut Kill) {
        let there = self.check_open(kill);
        kill.recovered();
        let done = self.flags.is_set(DONE);
        kill.committed(done);
        match self.deed {
            Deed::CreateToStay => kill.demand(there || !done, "a name that should stay is gone"),
            Deed::Open | Deed::DropOther => kill.demand(there, "the survivor's name is gone"),
            Deed::Remove => kill.demand(!there || !done, "a removed name is there"),
            _ => kill.demand(!there, "what the dead left is taken for an object"),
        }
        if let Some(value) = self.testers.take() {
            kill.demand(value.get() == CONTENT && value.set(CONTENT).is_ok(), "the survivor's value is damaged");
        }
        if there && self.deed == Deed::CreateToStay {
            kill.demand(self.named().remove().is_ok(), "it cannot be removed");
        }
        kill.demand(!self.exists(), "the name stays after its last user");
        self.check_create(kill);
    }
}

fn drop_it(value: &mut Option<Value<Content>>) -> Option<Value<Content>> {
    *value = None;
    None
}

impl Drop for Site {
    fn drop(&mut self) {
        if self.exists() {
            let _ = self.named().remove();
        }
    }
}

pub fn scenarios() -> Vec<Scenario> {
    vec![
        Site::scenario("create", Deed::Create),
        Site::scenario("create-to-stay", Deed::CreateToStay),
        Site::scenario("create-over-rubbish", Deed::CreateOverRubbish),
        Site::scenario("open-or-create", Deed::OpenOrCreate),
        Site::scenario("open", Deed::Open),
        Site::scenario("drop-last", Deed::DropLast),
        Site::scenario("drop-other", Deed::DropOther),
        Site::scenario("remove", Deed::Remove),
    ]
}
