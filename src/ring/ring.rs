//! A process's view of a ring: where its parts are, and what can be read without a lock.
#![allow(unsafe_code)] // the ring is in shared memory

use super::error::RingError;
use super::layout::{Addresses, Half, WaitQueues, stride};
use super::peers::{PeerCache, Peers};
use super::spin::AdaptiveSpin;
use crate::segment::{LINE, Location, RegionIndex, Segment};
use crate::sync::atomic_copy;
use bytemuck::Pod;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU64, fence};

/// A handle's view of a ring. Its measures are private (ring-I6).
#[derive(Debug)]
pub(crate) struct Ring {
    addresses: Addresses,
    /// The number of bytes of an item.
    pub(super) size: usize,
    /// The largest number of items at once.
    pub(super) capacity: u64,
    /// The number of slots of level 0, minus 1.
    pub(super) mask: u64,
    pub(super) growth: Option<Growth>,
    /// Items differ in the room that they need: what one pop frees may be too little for one producer and enough for
    /// another.
    pub(super) wakes_all_producers: bool,
    pub(super) spin: AdaptiveSpin,
    peer_cache: PeerCache,
}

// SAFETY: the addresses are of shared memory that any thread of any process may use, under the ring's own locks. The
// owner of a ring has the handle that keeps the memory mapped.
unsafe impl Send for Ring {}
// SAFETY: all shared memory is accessed by atomics, and the private fields are atomics or do not change.
unsafe impl Sync for Ring {}

/// Where a ring grows, and what its owner does after a death.
#[derive(Debug)]
pub(crate) struct Growth {
    location: Location,
    region: RegionIndex,
    death_hooks: Option<DeathHooks>,
}

/// What the owner of the items repairs when the holder of a lock died. Called under that lock.
#[derive(Clone, Copy)]
pub(crate) struct DeathHooks {
    /// Passed to both.
    pub(crate) context: NonNull<u8>,
    pub(crate) producer_died: fn(&Growth, NonNull<u8>),
    pub(crate) consumer_died: fn(&Growth, NonNull<u8>, &Ring),
}

impl std::fmt::Debug for DeathHooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeathHooks").finish_non_exhaustive()
    }
}

impl Growth {
    pub(crate) fn new(location: Location, region: RegionIndex, death_hooks: Option<DeathHooks>) -> Self {
        Growth { location, region, death_hooks }
    }

    pub(crate) fn segment(&self) -> &Segment {
        self.location.segment()
    }

    pub(crate) fn region(&self) -> RegionIndex {
        self.region
    }
}

impl Ring {
    /// The ring at some addresses, with [`slot_bytes`](super::slot_bytes) for `items` items of `size` bytes.
    pub(crate) fn attach(addresses: Addresses, size: usize, items: usize) -> Self {
        let items = items.max(1);
        Ring {
            addresses,
            size,
            capacity: items as u64,
            mask: items.next_power_of_two() as u64 - 1,
            growth: None,
            wakes_all_producers: false,
            spin: AdaptiveSpin::new(),
            peer_cache: PeerCache::new(),
        }
    }

    /// The ring can have `capacity` items, for which it grows.
    pub(crate) fn growing(self, capacity: u64, growth: Growth) -> Self {
        Ring { capacity, growth: Some(growth), ..self }
    }

    /// The ring wakes all producers when there is room, because its items differ in the room that they need.
    pub(crate) fn waking_all_producers(self) -> Self {
        Ring { wakes_all_producers: true, ..self }
    }

    /// Where the ring grows, if it does.
    pub(crate) fn growth(&self) -> Option<&Growth> {
        self.growth.as_ref()
    }

    #[inline(always)]
    pub(super) fn tail(&self) -> &Half {
        // SAFETY: `attach` got the address of two halves, which are atomics and are mapped as long as the owner's
        // handle exists.
        unsafe { self.addresses.halves.cast().as_ref() }
    }

    #[inline(always)]
    pub(super) fn head(&self) -> &Half {
        // SAFETY: the second of the two halves.
        unsafe { self.addresses.halves.add(LINE).cast().as_ref() }
    }

    #[inline(always)]
    pub(super) fn queues(&self) -> &WaitQueues {
        // SAFETY: `attach` got the address of the wait queues, which are atomics and are mapped as long as the owner's
        // handle exists.
        unsafe { self.addresses.wait_queues.cast().as_ref() }
    }

    #[inline(always)]
    pub(super) fn level(&self) -> u32 {
        if self.growth.is_none() { 0 } else { self.queues().level.load(Acquire) }
    }

    /// The number of slots at a level.
    #[inline(always)]
    pub(super) fn slots(&self, level: u32) -> u64 {
        (self.mask + 1) << level.min(31)
    }

    /// The number of bytes of the slots of level 0.
    pub(super) fn first_bytes(&self) -> usize {
        (self.mask as usize + 1) * stride(self.size)
    }

    /// The stamp of the slot of item `number`. The item follows it.
    #[inline(always)]
    pub(super) fn slot(&self, number: u64, level: u32) -> Result<&AtomicU64, RingError> {
        self.slot_of_size(self.size, number, level)
    }

    /// [`Ring::slot`] for an item of type `T`, whose size the compiler knows. After the stamp there is room for a `T`.
    #[inline(always)]
    pub(super) fn slot_of<T>(&self, number: u64, level: u32) -> Result<&AtomicU64, RingError> {
        if size_of::<T>() != self.size {
            return Err(RingError::Corrupt);
        }
        self.slot_of_size(size_of::<T>(), number, level)
    }

    #[inline(always)]
    fn slot_of_size(&self, size: usize, number: u64, level: u32) -> Result<&AtomicU64, RingError> {
        let index = number & (self.slots(level) - 1);
        if index > self.mask {
            return self.slot_of_higher_level(index);
        }
        let at = index as usize * stride(size);
        // SAFETY: `index` is at most `mask` (ring-I6), and `size` is the size of an item, so the slot is inside the
        // slots of level 0, which have `slot_bytes`. A stride is a multiple of 8, so the stamp is aligned.
        Ok(unsafe { self.addresses.slots.add(at).cast().as_ref() })
    }

    #[cold]
    fn slot_of_higher_level(&self, index: u64) -> Result<&AtomicU64, RingError> {
        let growth = self.growth.as_ref().ok_or(RingError::Corrupt)?;
        let level = (index / (self.mask + 1)).ilog2() + 1;
        let chunk = growth.segment().chunk(growth.region, self.first_bytes(), level)?;
        let at = (index - self.slots(level - 1)) as usize * stride(self.size);
        // SAFETY: the chunk of this level has as many slots as all levels below, and `index` is less than twice that
        // number. A stride is a multiple of 8, so the stamp is aligned.
        Ok(unsafe { chunk.add(at).cast().as_ref() })
    }

    /// Whether item `number` was pushed. True also if its slot cannot be reached: then the operation returns the error.
    #[inline(always)]
    pub(super) fn is_there(&self, number: u64, level: u32) -> bool {
        self.slot(number, level).map_or(true, |stamp| stamp.load(Acquire) == number.wrapping_add(1))
    }

    #[inline(always)]
    pub(crate) fn has_items(&self) -> bool {
        loop {
            let head = self.head().index.load(SeqCst);
            if self.is_there(head, self.level()) {
                return true;
            }
            // If the head went once around the ring in between, the ring only seemed to be empty.
            if self.head().index.load(SeqCst) == head {
                return false;
            }
        }
    }

    #[inline(always)]
    pub(crate) fn has_room(&self) -> bool {
        self.has_room_for(1)
    }

    #[inline(always)]
    pub(super) fn has_room_for(&self, count: u64) -> bool {
        let head = self.head().index.load(SeqCst);
        self.between(head, self.tail().index.load(SeqCst)).is_some_and(|used| used + count <= self.capacity)
    }

    /// The number of items between head and tail, or `None` if these cannot be a head and a tail. For a moment after a
    /// commit the tail is too low, and may even be below the head.
    #[inline(always)]
    pub(super) fn between(&self, head: u64, tail: u64) -> Option<u64> {
        let used = tail.wrapping_sub(head);
        match used <= self.capacity {
            true => Some(used),
            false => (head.wrapping_sub(tail) <= self.slots(self.level())).then_some(0),
        }
    }

    /// The number after the last committed item, from a tail that may be too low (ring-I1).
    pub(super) fn committed_tail(&self, tail: u64) -> u64 {
        let level = self.level();
        let is_there =
            |number| self.slot(number, level).is_ok_and(|stamp| stamp.load(Acquire) == number.wrapping_add(1));
        let committed = (0..self.slots(level)).take_while(|i| is_there(tail.wrapping_add(*i))).count() as u64;
        tail.wrapping_add(committed)
    }

    /// The numbers of the next item to pop and of the next to push. The second may be too low.
    pub(crate) fn positions(&self) -> (u64, u64) {
        let head = self.head().index.load(SeqCst);
        (head, self.tail().index.load(SeqCst))
    }

    /// The number of items. Exact, unless others are so busy that it cannot be read between two of their operations.
    pub(crate) fn len(&self) -> usize {
        let mut head = self.head().index.load(SeqCst);
        for _ in 0..100 {
            let tail = self.committed_tail(self.tail().index.load(SeqCst));
            let now = self.head().index.load(SeqCst);
            if now == head {
                return self.between(head, tail).unwrap_or(self.capacity) as usize;
            }
            head = now;
        }
        let tail = self.committed_tail(self.tail().index.load(SeqCst));
        self.between(head, tail).unwrap_or(self.capacity) as usize
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.tail().closed.load(SeqCst) != 0
    }

    /// Whether a producer is inside its operation, or died there.
    pub(crate) fn is_pushing(&self) -> bool {
        self.tail().lock.is_held()
    }

    /// Searches the items in order, from the head on. The head's lock is held, so items stay where they are unless the
    /// ring grows.
    pub(crate) fn find_item<T: Pod, R>(&self, accept: impl Fn(&T) -> Option<R>) -> Option<R> {
        loop {
            let (head, level) = (self.positions().0, self.level());
            let mut items = (0..self.slots(level)).map_while(|i| self.copy_item::<T>(head.wrapping_add(i), level));
            let found = items.find_map(|item| accept(&item));
            fence(Acquire);
            if self.level() == level {
                return found; // the copies were whole (grow-G2)
            }
        }
    }

    fn copy_item<T: Pod>(&self, number: u64, level: u32) -> Option<T> {
        if !self.is_there(number, level) {
            return None;
        }
        let stamp = self.slot_of::<T>(number, level).ok()?;
        let mut item = T::zeroed();
        // SAFETY: after the stamp there is a `T` by `slot_of`, and any bytes are one.
        unsafe { atomic_copy::load(std::ptr::from_ref(stamp).add(1), (&raw mut item).cast(), size_of::<T>()) };
        Some(item)
    }

    /// Whether the peers that were found last are still there. False if that is not known.
    #[inline(always)]
    pub(crate) fn knows_peers(&self) -> bool {
        self.peer_cache.is_current(self.queues())
    }

    /// Whether this is the last holder. `peers` is called only if [`Ring::knows_peers`] is false.
    pub(crate) fn is_alone(&self, peers: &dyn Fn() -> Peers) -> bool {
        self.peer_cache.is_alone(self.queues(), peers)
    }

    /// Records that there is, or is about to be, a second holder.
    pub(crate) fn mark_shared(&self) {
        if !self.is_shared() {
            self.queues().shared.store(1, SeqCst);
        }
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.queues().shared.load(SeqCst) != 0
    }

    /// Repairs the tail half after the death of its lock's holder: the items that it committed count (ring-I1). Under
    /// that lock.
    #[cold]
    pub(super) fn repair_tail(&self) {
        let half = self.tail();
        half.index.store(self.committed_tail(half.index.load(Relaxed)), Release);
        if let Some(growth) = &self.growth
            && let Some(hooks) = growth.death_hooks
        {
            (hooks.producer_died)(growth, hooks.context);
        }
    }

    /// Repairs the head half after the death of its lock's holder. Under that lock.
    #[cold]
    pub(super) fn repair_head(&self) {
        if let Some(growth) = &self.growth
            && let Some(hooks) = growth.death_hooks
        {
            (hooks.consumer_died)(growth, hooks.context, self);
        }
    }
}
