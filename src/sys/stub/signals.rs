//! Stub of `signals`.

pub(crate) fn block_signals() {}

pub(crate) fn ignore_interrupts() {}
