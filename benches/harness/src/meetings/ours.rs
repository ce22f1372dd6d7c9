//! crossproc's own.

use crate::channels::Post;
use anyhow::Result;
use crossproc::{Barrier, Condition, Event, Semaphore, Value};

pub struct OurSemaphore(pub Semaphore);

impl OurSemaphore {
    pub fn new() -> Result<Self> {
        Ok(OurSemaphore(Semaphore::new(0)?))
    }
}

impl Post for OurSemaphore {
    fn post(&self) -> Result<()> {
        Ok(self.0.release()?)
    }

    fn wait(&self) -> Result<()> {
        self.0.acquire()?.forget();
        Ok(())
    }
}

/// The one that waits clears it.
pub struct OurEvent(Event);

impl OurEvent {
    pub fn new() -> Result<Self> {
        Ok(OurEvent(Event::new()?))
    }
}

impl Post for OurEvent {
    fn post(&self) -> Result<()> {
        self.0.set();
        Ok(())
    }

    fn wait(&self) -> Result<()> {
        self.0.wait();
        self.0.clear();
        Ok(())
    }
}

/// A number under its lock, and the condition that it is not 0.
pub struct Changed {
    number: Value<u64>,
    condition: Condition,
}

impl Changed {
    pub fn new() -> Result<Self> {
        Ok(Changed { number: Value::new(0)?, condition: Condition::new()? })
    }
}

impl Post for Changed {
    fn post(&self) -> Result<()> {
        *self.number.lock()? += 1;
        Ok(self.condition.notify_one()?)
    }

    fn wait(&self) -> Result<()> {
        *self.condition.wait_while(self.number.lock()?, |number| *number == 0)? -= 1;
        Ok(())
    }
}

/// For two.
pub struct OurBarrier(Barrier);

impl OurBarrier {
    pub fn new() -> Result<Self> {
        Ok(OurBarrier(Barrier::new(2)?))
    }
}

impl Post for OurBarrier {
    fn post(&self) -> Result<()> {
        self.0.wait()?;
        Ok(())
    }

    fn wait(&self) -> Result<()> {
        self.post()
    }
}
