//! This process's share of all arenas: where a new object goes, and what happens to it at a fork.
//!
//! Per block size there are some arenas and a small stock of blocks that are ours and unused. Creating takes one from the
//! stock; dropping puts it back. Neither touches shared memory beyond the block itself.
//!
//! # Invariants
//! * P1: everything here changes under one mutex, which a fork takes first, so that the child finds it whole.
//! * P2: a block in the stock has our bit and no handle.
//!
//! # If a process dies here
//! All of this is private; what it stands for is in the rosters.

use super::id_map::Table;
use super::{self as arena, Arena};
use crate::SegmentError;
use crate::segment::handle::{self, HolderCount, Roles, UNKNOWN};
use crate::segment::kind::{Kind, ObjectLayout};
use crate::segment::segment::{Backing, Segment};
use crate::sys::ForkHandoff;
use crate::sys::process_id::{self, ForkHooks, Layer};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

/// More unused blocks of a class than this go back, so that other processes find them.
const MOST_STOCK: usize = 1024;

#[derive(Default)]
pub(crate) struct Heap {
    classes: Vec<Class>,
    arenas: Table<u128, Arc<Arena>>,
    singles: Table<u128, Weak<Segment>>,
    /// How many `Part`s this process has of the array in (segment, block), and the cell that says so.
    parts: Table<(u128, u32), Parts>,
    /// Between the two halves of a fork.
    fork: Fork,
}

struct Parts {
    count: usize,
    cell: u32,
    place: Location,
}

/// Where an object lives.
#[derive(Clone, Debug)]
pub(crate) enum Location {
    Block { arena: Arc<Arena>, block: u32 },
    Single(Arc<Segment>),
}

/// (chunk, cell) of an arena.
type CellsByChunk = Vec<(u32, u32)>;

#[derive(Default)]
struct Fork {
    arenas: Vec<(Arc<Arena>, CellsByChunk)>,
    parts: Vec<((u128, u32), u32, Location)>,
    /// The last child before this one.
    child_before: Option<u32>,
    names: Vec<(Arc<Segment>, crate::sys::shm_file::NamedFile)>,
}

#[derive(Default)]
struct Class {
    size: usize,
    arenas: Vec<Arc<Arena>>,
    stock: Vec<(Arc<Arena>, u32)>,
}

static HEAP: Mutex<Option<Heap>> = Mutex::new(None);

/// The heap, locked.
pub(crate) struct Locked(MutexGuard<'static, Option<Heap>>);

/// From here on, a fork finds nothing of the heap half-done. Before `main` where there is a constructor, for a fork that is
/// under way beside the first use would not hear of it any more.
pub(crate) fn watch_forks() {
    process_id::set_fork_hooks(
        Layer::Memory,
        ForkHooks { prepare: before_fork, parent: after_fork_in_parent, child: after_fork_in_child },
    );
}

pub(crate) fn lock() -> Locked {
    watch_forks();
    Locked(crate::error::locked(&HEAP))
}

impl Locked {
    fn heap(&mut self) -> &mut Heap {
        self.0.get_or_insert_default()
    }

    /// A zeroed block of ours with one handle. None if the object is too large for a block.
    pub(crate) fn allocate(
        &mut self,
        kind: u32,
        shape: &ObjectLayout,
    ) -> Result<Option<(Arc<Arena>, u32)>, SegmentError> {
        let Some(size) = arena::class_of(shape.bytes) else { return Ok(None) };
        let heap = self.heap();
        let at = heap.class(size);
        if heap.classes[at].stock.is_empty() {
            heap.refill(at)?;
        }
        let Some((arena, block)) = heap.classes[at].stock.pop() else { return Err(SegmentError::NoSpace) };
        arena.first_handle(block, kind, shape.bytes);
        Ok(Some((arena, block)))
    }

    /// The last handle of this process on a block goes.
    pub(crate) fn release(&mut self, arena: &Arc<Arena>, block: u32, locks: usize, gone: &dyn Fn(usize)) {
        if arena.drop_handle(block) {
            return gone(arena.handles(block)); // another is left in this process
        }
        let reusable = arena.last_handle(block, locks, &|| gone(0));
        let heap = self.heap();
        let at = heap.class(arena.class());
        let class = &mut heap.classes[at];
        if reusable {
            class.stock.push((arena.clone(), block));
            if class.stock.len() > MOST_STOCK {
                class.stock.drain(..MOST_STOCK / 2).for_each(|(arena, block)| arena.give_back(block));
            }
        }
        if arena.live() == 0 {
            heap.retire_all_but_one(at);
        }
    }

    /// The arena or single with this number, if this process has it.
    pub(crate) fn arena(&mut self, id: u128) -> Option<Arc<Arena>> {
        self.heap().arenas.get(&id).cloned()
    }

    pub(crate) fn single(&mut self, id: u128) -> Option<Arc<Segment>> {
        self.heap().singles.get(&id)?.upgrade()
    }

    /// A place that this process can see, if it has the segment.
    pub(crate) fn place(&mut self, id: u128, block: u32) -> Option<Location> {
        match self.arena(id) {
            Some(arena) => {
                ((block as usize) < arena.segment.geometry.blocks).then_some(Location::Block { arena, block })
            }
            None => self.single(id).map(Location::Single),
        }
    }

    pub(crate) fn adopt_arena(&mut self, segment: Segment) -> Arc<Arena> {
        self.heap().adopt(Arena::of(segment))
    }

    pub(crate) fn adopt_single(&mut self, segment: Segment) -> Arc<Segment> {
        let segment = Arc::new(segment);
        let singles = &mut self.heap().singles;
        if singles.len() == singles.capacity() {
            singles.retain(|_, weak| weak.strong_count() > 0);
        }
        singles.insert(segment.header.id(), Arc::downgrade(&segment));
        segment
    }

    /// One more part of the array at this place, or one more who holds the object in this role (an array has but role 0);
    /// the first says so to all processes.
    pub(crate) fn add_part(&mut self, place: &Location, role: u32) -> Result<(), SegmentError> {
        let parts = &mut self.heap().parts;
        if let Some(parts) = parts.get_mut(&place.key(role)) {
            parts.count += 1;
            return Ok(());
        }
        let block = place.key(role).1;
        let roster = place.segment().roster().lock().map_err(arena::refused)?;
        let index = roster.claim_cell(block / 64).ok_or(SegmentError::NoSpace)?;
        if let Some(cell) = roster.cell(index) {
            cell.parts.store(1 << (block % 64), SeqCst);
        }
        drop(roster);
        parts.insert(place.key(role), Parts { count: 1, cell: index, place: place.clone() });
        Ok(())
    }

    /// Who holds the object in this role.
    pub(crate) fn census(&mut self, place: &Location, role: u32) -> HolderCount {
        let (segment, key) = (place.segment(), place.key(role));
        let (here, on_its_way) = match place {
            Location::Block { arena, block } => (arena.handles(*block), arena.flies(*block)),
            Location::Single(_) => {
                let here = self.heap().parts.get(&key).map_or(0, |parts| parts.count);
                (here, segment.part_flights(0, role).is_some_and(|flights| flights.load(SeqCst) != 0))
            }
        };
        let other = match segment.roster().lock() {
            Ok(roster) => roster.other(key.1),
            Err(_) => Some(UNKNOWN),
        };
        HolderCount { here, elsewhere: other.or(on_its_way.then_some(UNKNOWN)) }
    }

    /// Gives how many are left in this process.
    pub(crate) fn drop_part(&mut self, place: &Location, role: u32) -> usize {
        let parts = &mut self.heap().parts;
        let Some(entry) = parts.get_mut(&place.key(role)) else { return 0 };
        entry.count -= 1;
        let left = entry.count;
        if left == 0 {
            place.segment().roster().give_up(entry.cell);
            parts.remove(&place.key(role));
        }
        left
    }
}

impl Location {
    /// A segment that is attached for a moment only, without the heap's knowledge.
    pub(crate) fn of(segment: Segment) -> Self {
        match segment.header.spec().kind == Kind::Arena as u32 {
            true => Location::Block { arena: Arc::new(Arena::of(segment)), block: 0 },
            false => Location::Single(Arc::new(segment)),
        }
    }

    /// Another block of the same segment, if this is the segment and it has the block.
    pub(crate) fn at(&self, id: u128, block: u32) -> Option<Self> {
        let segment = self.segment();
        let fits = segment.header.id() == id && (block as usize) < segment.geometry.blocks;
        fits.then(|| match self {
            Location::Block { arena, .. } => Location::Block { arena: arena.clone(), block },
            Location::Single(segment) => Location::Single(segment.clone()),
        })
    }

    pub(crate) fn segment(&self) -> &Segment {
        match self {
            Location::Block { arena, .. } => &arena.segment,
            Location::Single(segment) => segment,
        }
    }

    pub(crate) fn block(&self) -> u32 {
        match self {
            Location::Block { block, .. } => *block,
            Location::Single(_) => 0,
        }
    }

    /// A message takes a handle along, or a part, in these roles.
    pub(crate) fn depart(&self, roles: Roles) -> Result<(), SegmentError> {
        if let Location::Block { arena, block } = self {
            arena.depart(*block)?;
        }
        self.part_flights(roles).for_each(|flights| {
            flights.fetch_add(1, SeqCst);
        });
        Ok(())
    }

    fn part_flights(&self, roles: Roles) -> impl Iterator<Item = &AtomicU32> {
        handle::each(roles).filter_map(|role| self.segment().part_flights(self.block() as usize, role))
    }

    /// A message gave its handle up, or lost it.
    pub(crate) fn land(&self, roles: Roles) {
        self.part_flights(roles).for_each(|flights| {
            let _ = flights.fetch_update(SeqCst, SeqCst, |count| count.checked_sub(1));
        });
        if let Location::Block { arena, block } = self {
            arena.land(*block);
        }
    }

    pub(crate) fn is_single(&self) -> bool {
        matches!(self, Location::Single(_))
    }

    /// An array's parts are counted by its block; a segment of its own has one, so that roles take the numbers.
    fn key(&self, role: u32) -> (u128, u32) {
        (self.segment().header.id(), self.block() + role)
    }
}

impl Heap {
    fn class(&mut self, size: usize) -> usize {
        match self.classes.iter().position(|class| class.size == size) {
            Some(at) => at,
            None => {
                self.classes.push(Class { size, ..Class::default() });
                self.classes.len() - 1
            }
        }
    }

    fn adopt(&mut self, arena: Arena) -> Arc<Arena> {
        let arena = Arc::new(arena);
        self.arenas.insert(arena.segment.header.id(), arena.clone());
        let at = self.class(arena.class());
        self.classes[at].arenas.push(arena.clone());
        arena
    }

    /// Blocks for the stock: from the newest arena that has some, else from a new one.
    fn refill(&mut self, at: usize) -> Result<(), SegmentError> {
        let arenas = self.classes[at].arenas.clone();
        for arena in arenas.iter().rev() {
            let blocks = arena.claim()?;
            if !blocks.is_empty() {
                self.classes[at].stock.extend(blocks.into_iter().rev().map(|block| (arena.clone(), block)));
                return Ok(());
            }
        }
        let there = arenas.iter().map(|arena| arena.bytes()).sum();
        let arena = self.adopt(Arena::create(self.classes[at].size, there)?);
        let blocks = arena.claim()?;
        self.classes[at].stock.extend(blocks.into_iter().rev().map(|block| (arena.clone(), block)));
        Ok(())
    }

    /// Of the arenas of a class in which we hold nothing, the smallest stays for the next object; the others go.
    fn retire_all_but_one(&mut self, at: usize) {
        let class = &mut self.classes[at];
        if class.arenas.len() < 2 {
            return;
        }
        let mut empty: Vec<_> =
            class.arenas.iter().filter(|arena| arena.live() == 0 && !arena.has_flights()).cloned().collect();
        empty.sort_by_key(|arena| arena.bytes());
        for arena in empty.into_iter().skip(1) {
            class.stock.retain(|(other, _)| !Arc::ptr_eq(other, &arena));
            class.arenas.retain(|other| !Arc::ptr_eq(other, &arena));
            self.arenas.remove(&arena.segment.header.id());
            arena.leave();
        }
    }
}

impl Fork {
    fn has_cells(&self) -> bool {
        self.arenas.iter().any(|(_, cells)| !cells.is_empty()) || !self.parts.is_empty()
    }

    /// In the parent: the child's cells get its name, lest it is killed before it does that itself. Where the child cannot
    /// be found they wait for it.
    fn name_child(&self) {
        let Some(child) = self.has_cells().then(process_id::newest_child).flatten() else { return };
        if Some(child) == self.child_before {
            return;
        }
        let child = match process_id::tag_of_child(child) {
            Ok(Some(tag)) => Some(tag),
            Ok(None) => return,
            Err(process_id::Ended) => None,
        };
        let name = |segment: &Segment, cell: u32| {
            if let Ok(roster) = segment.roster().lock() {
                roster.name_child(cell, child);
            }
        };
        for (arena, cells) in &self.arenas {
            cells.iter().for_each(|(_, cell)| name(&arena.segment, *cell));
        }
        self.parts.iter().for_each(|(_, cell, place)| name(place.segment(), *cell));
    }
}

/// The mutex's guard on its way through a fork.
static PASSAGE: ForkHandoff<Locked> = ForkHandoff::new();

/// The child gets cells, and holds on names, of its own before it exists: the parent may drop its handles at once.
fn before_fork() {
    let mut locked = lock();
    let heap = locked.heap();
    heap.fork.arenas = heap.arenas.values().map(|arena| (arena.clone(), arena.prepare_child())).collect();
    heap.fork.parts = heap
        .parts
        .iter()
        .filter_map(|(key, parts)| {
            let (chunk, bit) = (key.1 / 64, 1 << (key.1 % 64));
            let cell = parts.place.segment().roster().lock().ok()?.claim_for_child(chunk, 0, bit)?;
            Some((*key, cell, parts.place.clone()))
        })
        .collect();
    heap.fork.names = heap
        .singles
        .values()
        .filter_map(Weak::upgrade)
        .filter_map(|segment| {
            let Backing::Named(file) = &*segment.backing else { return None };
            let again = file.lock().ok()?.reopen().ok()?;
            Some((segment, again))
        })
        .collect();
    if heap.fork.has_cells() {
        heap.fork.child_before = process_id::newest_child();
    }
    put_passage(locked);
}

fn after_fork_in_parent() {
    let Some(mut locked) = take_passage() else { return };
    let fork = std::mem::take(&mut locked.heap().fork);
    fork.arenas.iter().for_each(|(arena, _)| arena.share_all());
    fork.name_child();
    drop(locked);
    drop(fork); // may drop the last reference to a segment
}

fn after_fork_in_child() {
    let Some(mut locked) = take_passage() else { return };
    let heap = locked.heap();
    let fork = std::mem::take(&mut heap.fork);
    heap.classes.iter_mut().for_each(|class| class.stock.clear());
    for (arena, cells) in &fork.arenas {
        arena.become_child(cells);
    }
    for (key, cell, _) in &fork.parts {
        if let Some(parts) = heap.parts.get_mut(key) {
            parts.cell = *cell;
            if let Some(cell) = parts.place.segment().roster().cell(*cell) {
                cell.take_over(process_id::ProcessId::current().tag());
            }
        }
    }
    for (segment, again) in fork.names {
        if let Backing::Named(file) = &*segment.backing
            && let Ok(mut file) = file.lock()
        {
            *file = again; // the parent's, which this closes, stays open there
        }
    }
}

#[allow(unsafe_code)]
fn put_passage(locked: Locked) {
    // SAFETY: we hold the heap's mutex.
    unsafe { PASSAGE.put(locked) };
}

#[allow(unsafe_code)]
fn take_passage() -> Option<Locked> {
    // SAFETY: between the halves of a fork nobody else gets the mutex.
    unsafe { PASSAGE.take() }
}
