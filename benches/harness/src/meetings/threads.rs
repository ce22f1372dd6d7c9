//! Between threads.

use crate::channels::Post;
use anyhow::Result;
use std::sync::{Barrier, Condvar, Mutex, PoisonError};

#[derive(Default)]
pub struct StdCondvar {
    number: Mutex<u64>,
    condition: Condvar,
}

impl Post for StdCondvar {
    fn post(&self) -> Result<()> {
        *self.number.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.condition.notify_one();
        Ok(())
    }

    fn wait(&self) -> Result<()> {
        let number = self.number.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.condition.wait_while(number, |number| *number == 0);
        *number.unwrap_or_else(PoisonError::into_inner) -= 1;
        Ok(())
    }
}

/// For two.
pub struct StdBarrier(Barrier);

impl StdBarrier {
    pub fn new() -> Self {
        StdBarrier(Barrier::new(2))
    }
}

impl Post for StdBarrier {
    fn post(&self) -> Result<()> {
        self.0.wait();
        Ok(())
    }

    fn wait(&self) -> Result<()> {
        self.post()
    }
}
