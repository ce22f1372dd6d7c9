//! Where the ports of the crate `iceoryx2` meet. Its objects are not for crossing a fork: an end knows the room, and
//! opens its port at its first use, in the child. There it waits until both ports know each other, for a subscriber
//! misses what was sent before.
//!
//! Nothing is lost: no overflow, and a publisher waits for room, yielding and then sleeping, which is its default. Both
//! ports, of which a service has no more here, are in nodes of their own. No logging, no signals.

use crate::own_child::OwnChild;
use crate::process::{Meeting, Shared, cores};
use anyhow::{Context, Result};
use iceoryx2::port::update_connections::UpdateConnections;
use iceoryx2::port::{publisher::Publisher, subscriber::Subscriber};
use iceoryx2::prelude::*;
use iceoryx2::service::builder::publish_subscribe::Builder;
use std::cell::Cell;
use std::fmt::Debug;
use std::path::PathBuf;
use std::rc::Rc;

pub type Bus = ipc::Service;
pub type Sending<T> = Publisher<Bus, T, ()>;
pub type Receiving<T> = Subscriber<Bus, T, ()>;

/// One channel's files, apart from all others, so that they can be removed. Dropped by the process that made it, last.
pub struct Room {
    root: PathBuf,
    prefix: String,
    /// Messages that may be in between.
    pub capacity: usize,
    /// In bytes, of the longest.
    pub length: usize,
    meeting: Shared<Meeting>,
    owner: u32,
}

impl Room {
    pub fn new(capacity: usize, length: usize) -> Result<Self> {
        thread_local!(static ROOMS: Cell<u32> = const { Cell::new(0) });
        let (owner, number) = (std::process::id(), ROOMS.replace(ROOMS.get() + 1));
        let prefix = format!("crossproc-{owner}-{number}-");
        let meeting = Shared::new(Meeting::default())?;
        Ok(Room { root: std::env::temp_dir().join(&prefix), prefix, capacity, length, meeting, owner })
    }

    /// For a port, which keeps it alive.
    pub fn node(&self) -> Result<Node<Bus>> {
        set_log_level(LogLevel::Fatal);
        let mut config = Config::default();
        config.global.set_root_path(&Path::new(self.root.as_os_str().as_encoded_bytes())?);
        config.global.prefix = FileName::new(self.prefix.as_bytes())?;
        Ok(NodeBuilder::new().config(&config).signal_handling_mode(SignalHandlingMode::Disabled).create()?)
    }

    pub fn name(&self) -> Result<ServiceName> {
        Ok("bench".try_into()?)
    }

    pub fn service<T: Debug + IceoryxSend + ?Sized>(&self, node: &Node<Bus>) -> Result<Builder<T, (), Bus>> {
        let builder = node.service_builder(&self.name()?).publish_subscribe::<T>();
        let builder = builder.max_publishers(1).max_subscribers(1).subscriber_max_buffer_size(self.capacity);
        Ok(builder.subscriber_max_borrowed_samples(1).history_size(0).enable_safe_overflow(false))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // A child has a copy.
        if std::process::id() != self.owner {
            return;
        }
        let _ = std::fs::remove_dir_all(&self.root);
        for file in std::fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            if file.file_name().to_string_lossy().starts_with(&self.prefix) {
                let _ = std::fs::remove_file(file.path());
            }
        }
    }
}

/// A port that can be opened in a room.
pub trait Open: UpdateConnections + Sized {
    fn open(room: &Room) -> Result<Self>;
}

pub struct Port<T> {
    room: Rc<Room>,
    port: Option<T>,
}

/// The room is to be kept by the process that makes them. Fails where such ports cannot be opened.
pub fn ports<S: Open, R: Open>(room: Room) -> Result<(Port<S>, Port<R>, Rc<Room>)> {
    let both = || {
        let _sending = S::open(&room)?;
        R::open(&room).map(drop)
    };
    OwnChild::fork(cores()[0], both)?.join().context("no ports")?;
    let room = Rc::new(room);
    Ok((Port { room: room.clone(), port: None }, Port { room: room.clone(), port: None }, room))
}

impl<T: Open> Port<T> {
    #[inline(always)]
    pub fn opened(&mut self) -> Result<&T> {
        if self.port.is_none() {
            self.open()?;
        }
        self.port.as_ref().context("not open")
    }

    #[cold]
    fn open(&mut self) -> Result<()> {
        let port = T::open(&self.room)?;
        self.room.meeting.meet(2)?;
        port.update_connections()?;
        self.room.meeting.meet(2)?;
        self.port = Some(port);
        Ok(())
    }
}
