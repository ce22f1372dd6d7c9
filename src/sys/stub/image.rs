//! Stub of `image`.

use super::Never;

/// What the system passed to the program.
#[derive(Debug)]
pub(crate) struct Start;

impl Start {
    pub(crate) fn of_main() -> Self {
        Start
    }

    pub(crate) fn is_in_program(&self) -> bool {
        true
    }

    pub(crate) fn finish(&self) {}
}

macro_rules! before_main {
    ($function:path) => {
        const _: fn($crate::sys::image::Start) = $function;
    };
}
pub(crate) use before_main;

pub(crate) fn offset_of(_: usize) -> Option<u64> {
    Some(0)
}

pub(crate) fn address_of(_: u64) -> Option<usize> {
    None::<Never>.map(|never| match never {})
}

pub(crate) fn build() -> u128 {
    0
}

pub(crate) fn is_privileged() -> bool {
    false
}
