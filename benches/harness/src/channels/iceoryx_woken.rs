//! The crate `iceoryx2` with items of eight bytes and its events beside: a notification for each item, and the other
//! side sleeps until there is one, as its documentation has it.

use super::iceoryx::{Bus, Open, Port, Receiving, Room, Sending, ports};
use super::iceoryx_words::send;
use super::{CAPACITY, Consumer, Ends, Producer};
use anyhow::Result;
use iceoryx2::port::update_connections::{ConnectionFailure, UpdateConnections};
use iceoryx2::port::{listener::Listener, notifier::Notifier};
use iceoryx2::service::port_factory::event::PortFactory;
use std::ops::Range;

pub struct Woken<P, E> {
    port: P,
    event: E,
}

type Sender = Woken<Sending<u64>, Notifier<Bus>>;
type Receiver = Woken<Receiving<u64>, Listener<Bus>>;

pub fn iceoryx_woken() -> Result<Ends<Port<Sender>, Port<Receiver>>> {
    let (sender, receiver, room) = ports(Room::new(CAPACITY, size_of::<u64>())?)?;
    Ok(Ends { keep: Some(Box::new(room)), ..Ends::pair(sender, receiver).slow() })
}

fn events(room: &Room) -> Result<PortFactory<Bus>> {
    let builder = room.node()?.service_builder(&room.name()?).event();
    Ok(builder.max_notifiers(1).max_listeners(1).open_or_create()?)
}

impl Open for Sender {
    fn open(room: &Room) -> Result<Self> {
        Ok(Woken { port: Open::open(room)?, event: events(room)?.notifier_builder().create()? })
    }
}

impl Open for Receiver {
    fn open(room: &Room) -> Result<Self> {
        Ok(Woken { port: Open::open(room)?, event: events(room)?.listener_builder().create()? })
    }
}

impl<P: UpdateConnections, E> UpdateConnections for Woken<P, E> {
    fn update_connections(&self) -> Result<(), ConnectionFailure> {
        self.port.update_connections()
    }
}

impl Producer for Port<Sender> {
    fn put(&mut self, items: Range<u64>) -> Result<()> {
        let Woken { port, event } = self.opened()?;
        for item in items {
            send(port, item)?;
            event.notify()?;
        }
        Ok(())
    }
}

impl Consumer for Port<Receiver> {
    fn get(&mut self, mut each: impl FnMut(u64)) -> Result<()> {
        let Woken { port, event } = self.opened()?;
        loop {
            if let Some(sample) = port.receive()? {
                each(*sample);
                return Ok(());
            }
            event.blocking_wait(|_| {})?;
        }
    }
}
