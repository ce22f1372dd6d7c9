//! Handles in messages: whoever of the two is killed, at most the one block on its way is kept, nothing in use is given
//! out, and the receiver has a handle that works, or an error.

use super::arena_peer::{ArenaPeer, Block, DONE, GONE, Large, Meanwhile, Order, PAYLOAD, Small, complain, place};
use super::common::{Flags, address};
use super::stepper::{Kill, Scenario, Watched, World};
use crossproc::transfer;

const TAKEN: usize = 0; // the receiver has its handle
const DROPPING: usize = 1; // and is about to drop it
const PLACE: usize = 2; // of the payload

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Sender,
    Receiver,
    /// One that does not have the arena yet.
    Stranger,
}

struct Journey<B> {
    role: Role,
    capacity: u64,
    peer: ArenaPeer,
    meanwhile: Meanwhile,
    anchor: Option<B>,
    payload: Option<B>,
    flags: Flags,
}

impl<B: Block> Journey<B> {
    fn scenario(name: &str, role: Role) -> Scenario {
        let capacity = std::cell::OnceCell::new();
        Scenario::new(format!("travel/{name}"), move || {
            Self::new(role, *capacity.get_or_init(ArenaPeer::capacity::<B>))
        })
    }

    fn new(role: Role, capacity: u64) -> Self {
        let (mut peer, flags) = (ArenaPeer::start::<B>(), Flags::new());
        if role != Role::Stranger {
            assert_eq!(peer.ask(Order::SendAnchor), Some(DONE), "the anchor cannot be sent");
        }
        if role != Role::Sender {
            assert_eq!(peer.ask(Order::SendPayload), Some(DONE), "the payload cannot be sent");
            flags.put(PLACE, peer.ask(Order::Locate).expect("the peer answers"));
        }
        let meanwhile = Meanwhile::default();
        Journey { role, capacity, peer, meanwhile, anchor: None, payload: None, flags }
    }

    fn receive(&self) -> B {
        let stream = self.peer.stream.as_ref().expect("the tester drops only its own");
        transfer::recv(stream).expect("a message is there")
    }

    /// What the survivor got of the victim's message.
    fn check_receiver(&mut self, kill: &mut Kill) -> bool {
        let answer = self.peer.ask(Order::Receive);
        kill.demand(matches!(answer, Some(DONE | GONE)), format!("the receiver got no answer, or rubbish: {answer:?}"));
        kill.demand(!kill.finished || answer == Some(DONE), "a message that was sent is lost");
        kill.committed(answer == Some(DONE));
        if answer == Some(DONE) {
            let place = self.peer.ask(Order::Locate).unwrap_or(0);
            kill.demand(place == self.flags.get(PLACE), "the handle leads elsewhere");
        }
        answer == Some(DONE)
    }
}

impl<B: Block> World for Journey<B> {
    fn prepare(&mut self) {
        if self.role != Role::Stranger {
            self.anchor = Some(self.receive());
        }
        if self.role == Role::Sender {
            let payload = B::make(PAYLOAD);
            self.flags.put(PLACE, place(&payload));
            self.payload = Some(payload);
        }
    }

    fn operation(&mut self) {
        if self.role == Role::Sender {
            let stream = self.peer.stream.as_ref().expect("the tester drops only its own");
            let payload = self.payload.as_ref().expect("made before");
            transfer::send(stream, payload).expect("the message is sent");
            return;
        }
        let payload = self.receive();
        self.flags.put(TAKEN, address(&payload) as u64);
        assert_eq!(payload.content(), PAYLOAD);
        self.flags.set(DROPPING);
        drop(payload);
    }

    fn watched(&self) -> Vec<Watched> {
        self.peer.watched()
    }

    fn before_kill(&mut self) {
        self.peer.stream = None;
        let in_use = !self.flags.is_set(DROPPING);
        self.peer.forbid(if in_use { self.flags.get(PLACE) } else { 0 });
        self.peer.fill_meanwhile(&mut self.meanwhile);
    }

    fn check(&mut self, kill: &mut Kill) {
        if let Some(answer) = self.meanwhile.answer {
            complain(kill, "before the kill", answer);
        }
        self.peer.forbid(0);
        let received = self.role == Role::Sender && self.check_receiver(kill);
        let blocks = self.peer.fill(kill, "after the kill");
        let lost = self.capacity.wrapping_sub(blocks);
        kill.demand(lost <= 1, format!("{lost} blocks are lost"));
        kill.demand(lost == 0 || !received, "the block of a message that arrived is lost");
        kill.demand(lost == 0 || !kill.finished, "the block of a finished journey is lost");
        kill.recovered();
    }
}

pub fn scenarios() -> Vec<Scenario> {
    vec![
        Journey::<Large>::scenario("send", Role::Sender),
        Journey::<Small>::scenario("send-value", Role::Sender),
        Journey::<Large>::scenario("receive", Role::Receiver),
        Journey::<Small>::scenario("receive-value", Role::Receiver),
        Journey::<Large>::scenario("receive-first", Role::Stranger),
    ]
}
