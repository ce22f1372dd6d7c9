//! crossproc's own.

use super::{Counter, Guarded};
use crate::process::Shared;
use anyhow::Result;
use crossproc::{Lock, Value};

/// A `Value` through its guard: robust, and a change of many bytes is one.
pub struct ValueGuard(pub Value<u64>);

impl ValueGuard {
    pub fn new() -> Result<Self> {
        Ok(ValueGuard(Value::new(0)?))
    }
}

impl Counter for ValueGuard {
    #[inline(always)]
    fn bump(&self) {
        *self.0.lock().expect("a Value locks") += 1;
    }
    fn count(&self) -> u64 {
        self.0.get()
    }
}

/// A `Lock` beside a number in shared memory.
pub struct LockAndCell {
    lock: Lock,
    number: Shared<Guarded>,
}

impl LockAndCell {
    pub fn new() -> Result<Self> {
        Ok(LockAndCell { lock: Lock::new()?, number: Shared::new(Guarded::default())? })
    }
}

impl Counter for LockAndCell {
    #[inline(always)]
    fn bump(&self) {
        let _held = self.lock.lock().expect("a Lock locks");
        // SAFETY: locked.
        unsafe { self.number.bump() };
    }
    fn count(&self) -> u64 {
        self.number.get()
    }
}
