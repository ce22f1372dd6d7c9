//! What happens around libc's `fork`: each layer registers its hooks.

use super::process_id;
use crate::sys::RaceOnce;
use std::sync::atomic::{AtomicBool, Ordering};

/// The hooks of one layer.
#[derive(Clone, Copy)]
pub(crate) struct ForkHooks {
    pub(crate) prepare: fn(),
    pub(crate) parent: fn(),
    pub(crate) child: fn(),
}

/// The layers, from low to high. Before a fork the hooks of higher layers run first, after it those of lower ones.
#[derive(Clone, Copy)]
pub(crate) enum Layer {
    RobustList,
    Watcher,
    Memory,
    Family,
}

static HOOKS: [RaceOnce<ForkHooks>; 4] = [const { RaceOnce::new() }; 4];

/// Registers the hooks of a layer. Only the first call for a layer has an effect.
pub(crate) fn set(layer: Layer, hooks: ForkHooks) {
    HOOKS[layer as usize].get_or_keep(|| hooks);
    watch_forks();
}

/// Makes libc's `fork` run the hooks.
fn watch_forks() {
    static WATCHED: AtomicBool = AtomicBool::new(false);
    extern "C" fn prepare() {
        HOOKS.iter().rev().filter_map(RaceOnce::get).for_each(|hooks| (hooks.prepare)());
    }
    extern "C" fn parent() {
        HOOKS.iter().filter_map(RaceOnce::get).for_each(|hooks| (hooks.parent)());
    }
    extern "C" fn child() {
        process_id::forget();
        HOOKS.iter().filter_map(RaceOnce::get).for_each(|hooks| (hooks.child)());
    }
    if !WATCHED.load(Ordering::Relaxed) && !WATCHED.swap(true, Ordering::SeqCst) {
        // SAFETY: the three are functions of this program. A failure (no memory) leaves forks without hooks.
        unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
    }
}
