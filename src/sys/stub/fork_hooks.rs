//! Stub of `fork_hooks`.

#[expect(dead_code, reason = "nothing forks")]
#[derive(Clone, Copy)]
pub(crate) struct ForkHooks {
    pub(crate) prepare: fn(),
    pub(crate) parent: fn(),
    pub(crate) child: fn(),
}

#[derive(Clone, Copy)]
pub(crate) enum Layer {
    Memory,
    Family,
}

pub(crate) fn set(_: Layer, _: ForkHooks) {}
