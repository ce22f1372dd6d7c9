//! Locks between threads.

use super::Counter;

pub struct Std(pub std::sync::Mutex<u64>);

impl Counter for Std {
    #[inline(always)]
    fn bump(&self) {
        *self.0.lock().expect("nobody panics under it") += 1;
    }
    fn count(&self) -> u64 {
        *self.0.lock().expect("nobody panics under it")
    }
}

pub struct ParkingLot(pub parking_lot::Mutex<u64>);

impl Counter for ParkingLot {
    #[inline(always)]
    fn bump(&self) {
        *self.0.lock() += 1;
    }
    fn count(&self) -> u64 {
        *self.0.lock()
    }
}
