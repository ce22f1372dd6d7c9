//! Making, cloning and dropping objects in an arena that another process uses too: whatever is killed, that one goes
//! on, no block is given out twice, and all blocks of the dead come back.

use super::arena_peer::{ArenaPeer, Block, DONE, Large, Meanwhile, Order, Small, complain, place};
use super::common::{Flags, address};
use super::stepper::{Kill, Scenario, Watched, World};
use crossproc::transfer;

const LIVE: usize = 0; // where the victim's object is
const DROPPING: usize = 1; // it is on its way out
const BEGIN: usize = 2; // where the victim has the arena

#[derive(Clone, Copy, PartialEq)]
enum Deed {
    /// The first object of the process in this arena: it has to claim blocks.
    Claim,
    /// The second, from its stock.
    Warm,
    /// A handle more and a handle less.
    Clone,
    /// The last handle of the process on the other one's object goes.
    Free,
}

struct Arena<B> {
    deed: Deed,
    capacity: u64,
    peer: ArenaPeer,
    meanwhile: Meanwhile,
    anchor: Option<B>,
    flags: Flags,
}

impl<B: Block> Arena<B> {
    fn scenario(name: &str, deed: Deed) -> Scenario {
        let capacity = std::cell::OnceCell::new();
        Scenario::new(format!("memory/{name}"), move || {
            let capacity = *capacity.get_or_init(ArenaPeer::capacity::<B>);
            let mut peer = ArenaPeer::start::<B>();
            assert_eq!(peer.ask(Order::SendAnchor), Some(DONE), "the anchor cannot be sent");
            let (meanwhile, flags) = (Meanwhile::default(), Flags::new());
            Arena::<B> { deed, capacity, peer, meanwhile, anchor: None, flags }
        })
    }

    fn make(&self) {
        let object = B::make(5);
        self.flags.put(LIVE, address(&object) as u64);
        self.flags.put(DROPPING, 0);
        assert_eq!(object.content(), 5);
        self.flags.set(DROPPING);
        drop(object);
    }
}

impl<B: Block> World for Arena<B> {
    fn prepare(&mut self) {
        let stream = self.peer.stream.as_ref().expect("the tester drops only its own");
        let anchor: B = transfer::recv(stream).expect("the anchor was sent");
        self.flags.put(BEGIN, address(&anchor) as u64 - (place(&anchor) - 1));
        if self.deed == Deed::Warm {
            drop((B::make(1), B::make(1)));
            assert!(self.peer.ask(Order::Fill).is_some(), "the peer cannot fill the rest");
        }
        self.anchor = Some(anchor);
    }

    fn operation(&mut self) {
        match self.deed {
            Deed::Claim => self.make(),
            Deed::Warm => {
                let _more = (B::make(3), B::make(4));
                self.make();
            }
            Deed::Clone => drop(self.anchor.clone()),
            Deed::Free => self.anchor = None,
        }
    }

    fn watched(&self) -> Vec<Watched> {
        self.peer.watched()
    }

    fn before_kill(&mut self) {
        let (live, dropping) = (self.flags.get(LIVE), self.flags.is_set(DROPPING));
        let in_use = live != 0 && !dropping;
        self.peer.forbid(if in_use { live - self.flags.get(BEGIN) + 1 } else { 0 });
        self.peer.fill_meanwhile(&mut self.meanwhile);
    }

    fn check(&mut self, kill: &mut Kill) {
        if let Some(answer) = self.meanwhile.answer {
            complain(kill, "before the kill", answer);
        }
        self.peer.forbid(0);
        let blocks = self.peer.fill(kill, "after the kill");
        let wanted = self.capacity;
        kill.demand(blocks == wanted, format!("{blocks} of {wanted} blocks came back"));
    }
}

pub fn scenarios() -> Vec<Scenario> {
    vec![
        Arena::<Large>::scenario("claim", Deed::Claim),
        Arena::<Small>::scenario("claim-value", Deed::Claim),
        Arena::<Large>::scenario("warm", Deed::Warm),
        Arena::<Small>::scenario("warm-value", Deed::Warm),
        Arena::<Large>::scenario("clone", Deed::Clone),
        Arena::<Large>::scenario("free", Deed::Free),
    ]
}
