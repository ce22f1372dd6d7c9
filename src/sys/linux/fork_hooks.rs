//! What happens around libc's `fork`: each layer registers its hooks.

use super::process_id;
use crate::sys::RaceOnce;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a higher layer does around a fork.
#[derive(Clone, Copy)]
pub(crate) struct ForkHooks {
    pub(crate) prepare: fn(),
    pub(crate) parent: fn(),
    pub(crate) child: fn(),
}

/// Who has hooks. Before a fork the higher one comes first, behind it the lower one.
#[derive(Clone, Copy)]
pub(crate) enum Layer {
    RobustList,
    Watcher,
    Memory,
    Family,
}

static HOOKS: [RaceOnce<ForkHooks>; 4] = [const { RaceOnce::new() }; 4];

/// Registers the hooks of a layer. Its first call counts.
pub(crate) fn set(layer: Layer, hooks: ForkHooks) {
    HOOKS[layer as usize].get_or_keep(|| hooks);
    watch_forks();
}

/// From here on, libc's `fork` calls us.
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
        // SAFETY: the three are functions of this program. A failure (no memory) leaves forks unwatched.
        unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
    }
}
