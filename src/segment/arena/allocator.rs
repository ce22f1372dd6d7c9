//! Allocator of this process: where a new object goes, and what happens to its blocks at a fork.
//!
//! There are some arenas for each block size, and a short free list of blocks that this process holds without using
//! them. Creating an object takes a block from the free list, and dropping it puts the block back. Neither accesses
//! shared memory outside the block.
//!
//! # Invariants
//! * allocator-P1: all of this changes under one mutex. A fork takes it first, so the child finds a consistent state.
//! * allocator-P2: a block in the free list has this process's bit and no handle.
//!
//! # If a process dies here
//! All of this is private memory. What it refers to in shared memory is in the rosters.

use super::arena::{self, Arena};
use super::id_map::IdMap;
use super::location::Location;
use crate::SegmentError;
use crate::segment::handle::roles::{HolderCount, UNKNOWN};
use crate::segment::kind::ObjectLayout;
use crate::segment::segment::{Backing, Segment};
use crate::sys::ForkHandoff;
use crate::sys::fork_hooks;
use crate::sys::fork_hooks::ForkHooks;
use crate::sys::fork_hooks::Layer;
use crate::sys::process_id::{self};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

/// Blocks of a size class that exceed this number go back to the arenas, so that other processes can take them.
const MAX_FREE: usize = 1024;

#[derive(Default)]
pub(crate) struct Allocator {
    classes: Vec<SizeClass>,
    arenas: IdMap<u128, Arc<Arena>>,
    singles: IdMap<u128, Weak<Segment>>,
    /// By (segment, block): number of parts of an array that this process has, or of handles in a role.
    parts: IdMap<(u128, u32), PartCount>,
    /// State between the two halves of a fork.
    fork: ForkPlan,
}

struct PartCount {
    count: usize,
    claim: u32,
    location: Location,
}

/// (group, claim) pairs of an arena.
type ClaimsByChunk = Vec<(u32, u32)>;

#[derive(Default)]
struct ForkPlan {
    arenas: Vec<(Arc<Arena>, ClaimsByChunk)>,
    parts: Vec<((u128, u32), u32, Location)>,
    /// Process id of the newest child before this fork.
    child_before: Option<u32>,
    names: Vec<(Arc<Segment>, crate::sys::shm_file::NamedFile)>,
}

#[derive(Default)]
struct SizeClass {
    size: usize,
    arenas: Vec<Arc<Arena>>,
    free_list: Vec<(Arc<Arena>, u32)>,
}

static ALLOCATOR: Mutex<Option<Allocator>> = Mutex::new(None);

/// The allocator with its mutex held.
pub(crate) struct LockedAllocator(MutexGuard<'static, Option<Allocator>>);

/// Registers the fork hooks, so that a fork finds the allocator in a consistent state. Called before `main` where the
/// program has a constructor: a fork that runs at the same time as the first use would miss hooks that are set then.
pub(crate) fn watch_forks() {
    fork_hooks::set(
        Layer::Memory,
        ForkHooks { prepare: before_fork, parent: after_fork_in_parent, child: after_fork_in_child },
    );
}

pub(crate) fn lock() -> LockedAllocator {
    watch_forks();
    LockedAllocator(crate::error::locked(&ALLOCATOR))
}

impl LockedAllocator {
    fn allocator(&mut self) -> &mut Allocator {
        self.0.get_or_insert_default()
    }

    /// Allocates a zeroed block with one handle. Returns `None` if the object is too large for a block.
    pub(crate) fn allocate(
        &mut self,
        kind: u32,
        layout: &ObjectLayout,
    ) -> Result<Option<(Arc<Arena>, u32)>, SegmentError> {
        let Some(size) = arena::size_class(layout.bytes) else { return Ok(None) };
        let allocator = self.allocator();
        let at = allocator.size_class_index(size);
        if allocator.classes[at].free_list.is_empty() {
            allocator.refill(at)?;
        }
        let Some((arena, block)) = allocator.classes[at].free_list.pop() else { return Err(SegmentError::NoSpace) };
        arena.first_handle(block, kind, layout.bytes);
        Ok(Some((arena, block)))
    }

    /// Drops the last handle of this process on a block. Another thread may have added one since.
    pub(crate) fn drop_handle(&mut self, arena: &Arc<Arena>, block: u32, locks: usize, notify: &dyn Fn(usize)) {
        if arena.drop_handle(block) {
            return notify(arena.handles(block)); // this process has another handle
        }
        let reusable = arena.drop_last_handle(block, locks, &|| notify(0));
        let allocator = self.allocator();
        let at = allocator.size_class_index(arena.class());
        let class = &mut allocator.classes[at];
        if reusable {
            class.free_list.push((arena.clone(), block));
            if class.free_list.len() > MAX_FREE {
                class.free_list.drain(..MAX_FREE / 2).for_each(|(arena, block)| arena.give_back(block));
            }
        }
        if arena.live() == 0 {
            allocator.retire_all_but_one(at);
        }
    }

    /// Returns the arena with this id, if this process has it.
    pub(crate) fn arena(&mut self, id: u128) -> Option<Arc<Arena>> {
        self.allocator().arenas.get(&id).cloned()
    }

    pub(crate) fn single(&mut self, id: u128) -> Option<Arc<Segment>> {
        self.allocator().singles.get(&id)?.upgrade()
    }

    /// Returns the location of a block, if this process has the segment.
    pub(crate) fn location(&mut self, id: u128, block: u32) -> Option<Location> {
        match self.arena(id) {
            Some(arena) => {
                ((block as usize) < arena.segment.geometry.blocks).then_some(Location::Block { arena, block })
            }
            None => self.single(id).map(Location::Single),
        }
    }

    pub(crate) fn adopt_arena(&mut self, segment: Segment) -> Arc<Arena> {
        self.allocator().adopt(Arena::of(segment))
    }

    pub(crate) fn adopt_single(&mut self, segment: Segment) -> Arc<Segment> {
        let segment = Arc::new(segment);
        let singles = &mut self.allocator().singles;
        if singles.len() == singles.capacity() {
            singles.retain(|_, weak| weak.strong_count() > 0);
        }
        singles.insert(segment.header.id(), Arc::downgrade(&segment));
        segment
    }

    /// Adds a part of the array at this location, or a holder of the object in this role. Arrays have only role 0. The
    /// first one is entered in the roster, where other processes see it.
    pub(crate) fn add_part(&mut self, location: &Location, role: u32) -> Result<(), SegmentError> {
        let parts = &mut self.allocator().parts;
        if let Some(parts) = parts.get_mut(&location.key(role)) {
            parts.count += 1;
            return Ok(());
        }
        let block = location.key(role).1;
        let roster = location.segment().roster().lock()?;
        let index = roster.add_claim(block / 64).ok_or(SegmentError::NoSpace)?;
        if let Some(claim) = roster.claim(index) {
            claim.parts.store(1 << (block % 64), SeqCst);
        }
        drop(roster);
        parts.insert(location.key(role), PartCount { count: 1, claim: index, location: location.clone() });
        Ok(())
    }

    /// Returns the holders of the object in this role.
    pub(crate) fn holder_count(&mut self, location: &Location, role: u32) -> HolderCount {
        let (segment, key) = (location.segment(), location.key(role));
        let (here, in_flight) = match location {
            Location::Block { arena, block } => (arena.handles(*block), arena.is_in_flight(*block)),
            Location::Single(_) => {
                let here = self.allocator().parts.get(&key).map_or(0, |parts| parts.count);
                (here, segment.parts_in_flight(0, role).is_some_and(|count| count.load(SeqCst) != 0))
            }
        };
        let other = match segment.roster().lock() {
            Ok(roster) => roster.other(key.1),
            Err(_) => Some(UNKNOWN),
        };
        HolderCount { here, elsewhere: other.or(in_flight.then_some(UNKNOWN)) }
    }

    /// Drops a part or a holder. Returns the number that is left in this process.
    pub(crate) fn drop_part(&mut self, location: &Location, role: u32) -> usize {
        let parts = &mut self.allocator().parts;
        let Some(entry) = parts.get_mut(&location.key(role)) else { return 0 };
        entry.count -= 1;
        let left = entry.count;
        if left == 0 {
            location.segment().roster().drop_claim(entry.claim);
            parts.remove(&location.key(role));
        }
        left
    }
}

impl Allocator {
    fn size_class_index(&mut self, size: usize) -> usize {
        match self.classes.iter().position(|class| class.size == size) {
            Some(at) => at,
            None => {
                self.classes.push(SizeClass { size, ..SizeClass::default() });
                self.classes.len() - 1
            }
        }
    }

    fn adopt(&mut self, arena: Arena) -> Arc<Arena> {
        let arena = Arc::new(arena);
        self.arenas.insert(arena.segment.header.id(), arena.clone());
        let at = self.size_class_index(arena.class());
        self.classes[at].arenas.push(arena.clone());
        arena
    }

    /// Fills the free list: from the newest arena that has free blocks, or else from a new arena.
    fn refill(&mut self, at: usize) -> Result<(), SegmentError> {
        let arenas = self.classes[at].arenas.clone();
        for arena in arenas.iter().rev() {
            let blocks = arena.take_blocks()?;
            if !blocks.is_empty() {
                self.classes[at].free_list.extend(blocks.into_iter().rev().map(|block| (arena.clone(), block)));
                return Ok(());
            }
        }
        let existing = arenas.iter().map(|arena| arena.bytes()).sum();
        let arena = self.adopt(Arena::create(self.classes[at].size, existing)?);
        let blocks = arena.take_blocks()?;
        self.classes[at].free_list.extend(blocks.into_iter().rev().map(|block| (arena.clone(), block)));
        Ok(())
    }

    /// Retires the arenas of a class in which this process has no object. The smallest one stays for the next object.
    fn retire_all_but_one(&mut self, at: usize) {
        let class = &mut self.classes[at];
        if class.arenas.len() < 2 {
            return;
        }
        let mut empty: Vec<_> =
            class.arenas.iter().filter(|arena| arena.live() == 0 && !arena.has_in_flight()).cloned().collect();
        empty.sort_by_key(|arena| arena.bytes());
        for arena in empty.into_iter().skip(1) {
            class.free_list.retain(|(other, _)| !Arc::ptr_eq(other, &arena));
            class.arenas.retain(|other| !Arc::ptr_eq(other, &arena));
            self.arenas.remove(&arena.segment.header.id());
            arena.release_claims();
        }
    }
}

impl ForkPlan {
    fn has_claims(&self) -> bool {
        self.arenas.iter().any(|(_, claims)| !claims.is_empty()) || !self.parts.is_empty()
    }

    /// In the parent: writes the child's tag into its claims, in case the child is killed before it does so itself. If
    /// the child cannot be found, the claims wait for it.
    fn name_child(&self) {
        let Some(child) = self.has_claims().then(process_id::newest_child).flatten() else { return };
        if Some(child) == self.child_before {
            return;
        }
        let child = match process_id::tag_of_child(child) {
            Ok(Some(tag)) => Some(tag),
            Ok(None) => return,
            Err(process_id::Ended) => None,
        };
        let name = |segment: &Segment, claim: u32| {
            if let Ok(roster) = segment.roster().lock() {
                roster.name_child(claim, child);
            }
        };
        for (arena, claims) in &self.arenas {
            claims.iter().for_each(|(_, claim)| name(&arena.segment, *claim));
        }
        self.parts.iter().for_each(|(_, claim, location)| name(location.segment(), *claim));
    }
}

/// Holds the mutex's guard during a fork.
static FORK_HANDOFF: ForkHandoff<LockedAllocator> = ForkHandoff::new();

/// Gives the child claims, and open files of names, before it exists. The parent may drop its own at once afterwards.
fn before_fork() {
    let mut locked = lock();
    let allocator = locked.allocator();
    allocator.fork.arenas = allocator.arenas.values().map(|arena| (arena.clone(), arena.prepare_child())).collect();
    allocator.fork.parts = allocator
        .parts
        .iter()
        .filter_map(|(key, parts)| {
            let (group, bit) = (key.1 / 64, 1 << (key.1 % 64));
            let claim = parts.location.segment().roster().lock().ok()?.add_claim_for_child(group, 0, bit)?;
            Some((*key, claim, parts.location.clone()))
        })
        .collect();
    allocator.fork.names = allocator
        .singles
        .values()
        .filter_map(Weak::upgrade)
        .filter_map(|segment| {
            let Backing::Named(file) = &*segment.backing else { return None };
            let again = file.lock().ok()?.reopen().ok()?;
            Some((segment, again))
        })
        .collect();
    if allocator.fork.has_claims() {
        allocator.fork.child_before = process_id::newest_child();
    }
    put_handoff(locked);
}

fn after_fork_in_parent() {
    let Some(mut locked) = take_handoff() else { return };
    let fork = std::mem::take(&mut locked.allocator().fork);
    fork.arenas.iter().for_each(|(arena, _)| arena.mark_all_shared());
    fork.name_child();
    drop(locked);
    drop(fork); // may drop the last reference to a segment
}

fn after_fork_in_child() {
    let Some(mut locked) = take_handoff() else { return };
    let allocator = locked.allocator();
    let fork = std::mem::take(&mut allocator.fork);
    allocator.classes.iter_mut().for_each(|class| class.free_list.clear());
    for (arena, claims) in &fork.arenas {
        arena.become_child(claims);
    }
    for (key, claim, _) in &fork.parts {
        if let Some(parts) = allocator.parts.get_mut(key) {
            parts.claim = *claim;
            if let Some(claim) = parts.location.segment().roster().claim(*claim) {
                claim.take_over(process_id::ProcessId::current().tag());
            }
        }
    }
    for (segment, again) in fork.names {
        if let Backing::Named(file) = &*segment.backing
            && let Ok(mut file) = file.lock()
        {
            *file = again; // closes the child's copy of the parent's file; the parent's stays open
        }
    }
}

#[allow(unsafe_code)]
fn put_handoff(locked: LockedAllocator) {
    // SAFETY: this thread holds the allocator's mutex, as `locked` is its guard.
    unsafe { FORK_HANDOFF.put(locked) };
}

#[allow(unsafe_code)]
fn take_handoff() -> Option<LockedAllocator> {
    // SAFETY: the guard has been in here since `before_fork`, so no other thread has the allocator's mutex.
    unsafe { FORK_HANDOFF.take() }
}
