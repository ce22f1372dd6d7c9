//! What can be measured, one file for each group.

mod locks;
mod manager;
mod memory;
mod messages;
mod ping_pong;
mod pipes;
mod pool;
mod recovery;
mod scaling;
mod stalls;
mod start;
mod sync;
mod values;
mod wordcount;

pub use memory::{COUNT_LIVE_VALUES, count_live_values};
pub use start::{PARENT, parent};

use crate::measure::{Plan, Row};
use anyhow::Result;

pub struct Group {
    pub name: &'static str,
    pub about: &'static str,
    pub run: fn(&Plan) -> Result<Vec<Row>>,
}

pub static GROUPS: &[Group] = &[
    Group { name: "locks", about: "lock + increment + unlock: alone, and two processes at it", run: locks::run },
    Group { name: "values", about: "Value: get and set of 8, 64 and 4,096 bytes", run: values::run },
    Group { name: "memory", about: "making and dropping shared objects; what 10,000 of them cost", run: memory::run },
    Group {
        name: "wordcount",
        about: "the example `wordcount` with one and two processes, and wc",
        run: wordcount::run,
    },
    Group { name: "recovery", about: "from the kill of a holder to the waiter that has the lock", run: recovery::run },
    Group { name: "messages", about: "items of 8 bytes through queues, as fast as they go", run: messages::run },
    Group { name: "pipes", about: "messages of 64 bytes to 1 MiB: copied, and in place", run: pipes::run },
    Group { name: "ping-pong", about: "8 bytes there and back: spinning, and sleeping", run: ping_pong::run },
    Group { name: "stalls", about: "the longest time without an item when somebody is killed", run: stalls::run },
    Group { name: "sync", about: "semaphores, recursive locks, events, conditions, barriers", run: sync::run },
    Group { name: "start", about: "starting a child and joining it", run: start::run },
    Group { name: "pool", about: "empty tasks for two workers: many, and one there and back", run: pool::run },
    Group { name: "manager", about: "get and set of a value that another process keeps", run: manager::run },
    Group {
        name: "scaling",
        about: "more participants, longer messages, more objects, more children",
        run: scaling::run,
    },
];
