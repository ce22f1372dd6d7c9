//! The leases of a joinable queue: a task that a process has taken keeps a *lease* until it is done, so that it can be
//! delivered again.
//!
//! # Layout
//! One line of the queue's object holds two words: `used` at 0 (4 bytes), the number of leases that were ever in use;
//! and `kept` at 8 (8 bytes), 1 plus the number of the oldest leased task that has handles in it, or 0. The table of
//! leases is in the segment's extent, 1 KiB for each:
//! ```text
//! offset 0    holder       free (0), requeued, done, or the tag of the process that works at the task
//!        8    number       the number of the task: how many items were put before it
//!        16   target       the ring's count of acknowledged items when this task is done
//!        24   deliveries   how often the task was delivered
//!        28   spilled      1: the bytes are in the extent's overflow for this lease
//!        32   record       of the message; then its bytes, if they fit
//! ```
//!
//! # Protocol
//! Each step is made under the lock of the ring's head, by stores in this order. The commit is in bold.
//! 1. lease: in a free lease, the bytes and the record; `kept` if there are handles; `number`, `deliveries`, `holder`;
//!    then the ring's **head** is advanced.
//! 2. redeliver a requeued task: `deliveries`, then the **holder**.
//! 3. acknowledge: `target`; the **holder** becomes done; the ring's count of acknowledged items becomes `target`; the
//!    lease is freed.
//! 4. requeue: the **holder** becomes requeued.
//!
//! # Memory ordering
//! All accesses to the table are made under the head's lock, which orders the accesses of one thread before those of
//! the next. This also holds after a death: the kernel marks the lock after the last store of the thread. What the lock
//! does not order is a thread's own stores against its death. If a thread dies between two stores, only the first may
//! be visible. So no store may move before an earlier one: each needs at least `Release`. `kept` is also read without
//! the lock, by a process that decides which descriptors may go. That process loads the ring's head first (acquire) and
//! `kept` second: if it sees the head of step 1, it sees the `kept` that was stored before. A `kept` that is out of
//! date names an older task, which keeps descriptors longer than needed.
//!
//! So `Release` stores and `Acquire` loads would be enough. All are `SeqCst` because the difference does not matter
//! beside the rest of a step (a robust lock, a scan of the table, a copy), and because then no store needs an argument
//! of its own. The two counts that sleepers read without the lock, of acknowledged items and of requeued tasks, belong
//! to the ring: it orders them with its waits.
//!
//! # Invariants
//! * leases-T1: a lease counts only if its number is below the ring's head.
//! * leases-T2: a lease that is found done under the lock was left by a process that died in step 3. The next holder of
//!   the lock makes the rest of step 3 again, which changes nothing that was made before.
//! * leases-T3: the handles in a task's message count as in flight until the task is done, and the descriptors that
//!   they need are kept (`kept` is stored before the commit of step 1): another process may have to read the message.
//!
//! # If a process dies here
//! Before the commit of step 1 the lease does not count (leases-T1): the next process that looks for a free lease frees
//! it, and the item is still in the ring. After it, and after step 2, a dead process holds the task: a process that
//! notices the death requeues it. In step 3: leases-T2. A death while a lease is freed leaves `kept` at an older task
//! until the next lease is freed.
#![allow(unsafe_code)] // leases in shared memory

use crate::SegmentError;
use crate::messages::record::{Flags, Record};
use crate::messages::{KEPT_AT, MessageRing};
use crate::ring::{Popping, RingError};
use crate::segment::Segment;
use crate::sync::atomic_copy;
use crate::sys::process_id::{self, ProcessId};
use std::ptr::NonNull;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU32, AtomicU64};

const LEASE_BYTES: usize = 1024;
/// A message of up to this many bytes fits into its lease.
const INLINE_BYTES: usize = LEASE_BYTES - 32 - size_of::<Record>();
const MAX_LEASES: u32 = 4096;
/// The table grows by this many leases at a time.
const GROWTH: u32 = 64;

const FREE: u64 = 0;
const REQUEUED: u64 = u64::MAX;
const DONE: u64 = u64::MAX - 1;

#[repr(C)]
struct Lease {
    holder: AtomicU64,
    number: AtomicU64,
    target: AtomicU64,
    deliveries: AtomicU32,
    spilled: AtomicU32,
    record: [AtomicU64; size_of::<Record>() / 8],
    bytes: [AtomicU64; INLINE_BYTES / 8],
}

const _: () = assert!(size_of::<Lease>() == LEASE_BYTES);

impl Lease {
    fn record(&self) -> Record {
        let mut record = Record::default();
        // SAFETY: `self.record` is as long as a `Record`, of which any bytes are a valid one.
        unsafe { atomic_copy::load(self.record.as_ptr(), (&raw mut record).cast(), size_of::<Record>()) };
        record
    }

    fn has_handles(&self) -> bool {
        self.record().flags().has_handles()
    }

    fn has_state(&self, state: u64) -> bool {
        self.holder.load(SeqCst) == state
    }
}

/// The leases of a queue, under the lock of its ring's head.
pub(super) struct LeaseTable<'a> {
    messages: &'a MessageRing,
    popping: Popping<'a>,
    used: &'a AtomicU32,
    kept: &'a AtomicU64,
    first: Option<NonNull<Lease>>,
}

/// A lease of this process.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeaseId {
    index: u32,
    number: u64,
    pub(super) deliveries: u32,
}

/// The message of a task that this process has leased.
pub(super) struct LeasedMessage {
    pub(super) lease: LeaseId,
    pub(super) record: Record,
    /// Empty if the bytes are in the record.
    bytes: Vec<u8>,
}

impl<'a> LeaseTable<'a> {
    /// The size of the whole table in the extent.
    pub(super) const BYTES: usize = MAX_LEASES as usize * LEASE_BYTES;

    pub(super) fn open(messages: &'a MessageRing, popping: Popping<'a>) -> Result<Self, (RingError, Popping<'a>)> {
        let line = messages.tasks();
        // SAFETY: the line is mapped as long as `messages`, is used for these two words only, and each is an atomic.
        let (used, kept): (&AtomicU32, &AtomicU64) =
            unsafe { (&*line.cast().as_ptr(), &*line.add(KEPT_AT).cast().as_ptr()) };
        let first = match used.load(SeqCst) {
            0 => None,
            _ => match messages.segment().and_then(|segment| segment.table(Self::BYTES)) {
                Ok(first) => Some(first.cast()),
                Err(_) => return Err((RingError::NoSpace, popping)),
            },
        };
        let table = LeaseTable { messages, popping, used, kept, first };
        table.complete_done();
        Ok(table)
    }

    fn segment(&self) -> Result<&Segment, SegmentError> {
        self.messages.segment()
    }

    fn get(&self, index: u32) -> Option<&Lease> {
        // SAFETY: the whole table of MAX_LEASES is mapped at `first`, as long as the segment; a `Lease` consists of
        // atomics.
        self.first.filter(|_| index < MAX_LEASES).map(|first| unsafe { first.add(index as usize).as_ref() })
    }

    /// The leases that were ever in use.
    fn each(&self) -> impl Iterator<Item = (u32, &Lease)> {
        let used = if self.first.is_some() { self.used.load(SeqCst).min(MAX_LEASES) } else { 0 };
        (0..used).filter_map(|index| Some((index, self.get(index)?)))
    }

    /// The leases that count (leases-T1).
    fn in_use(&self) -> impl Iterator<Item = (u32, &Lease)> {
        let head = self.popping.number();
        self.each().filter(move |(_, lease)| !lease.has_state(FREE) && lease.number.load(SeqCst) < head)
    }

    fn requeued(&self) -> impl Iterator<Item = (u32, &Lease)> {
        self.in_use().filter(|(_, lease)| lease.has_state(REQUEUED))
    }

    /// The lease, if this process still has it.
    fn own(&self, id: &LeaseId) -> Option<&Lease> {
        let lease = self.get(id.index)?;
        (lease.has_state(ProcessId::current().tag()) && lease.number.load(SeqCst) == id.number).then_some(lease)
    }

    /// Makes the rest of step 3 for a process that died in it (leases-T2).
    fn complete_done(&self) {
        for (index, lease) in self.each().filter(|(_, lease)| lease.has_state(DONE)) {
            self.messages.ring.set_acknowledged(self.messages.ring.acknowledged().max(lease.target.load(SeqCst)));
            self.free(index, lease);
        }
    }

    fn free(&self, index: u32, lease: &Lease) {
        if lease.spilled.swap(0, SeqCst) != 0
            && let Ok(segment) = self.segment()
        {
            segment.punch_overflow(index);
        }
        lease.holder.store(FREE, SeqCst);
        if self.kept.load(SeqCst) != 0 {
            self.kept.store(self.oldest_with_handles().map_or(0, |number| number.wrapping_add(1)), SeqCst);
        }
    }

    fn oldest_with_handles(&self) -> Option<u64> {
        let with_handles = self.in_use().filter(|(_, lease)| lease.has_handles());
        with_handles.map(|(_, lease)| lease.number.load(SeqCst)).min()
    }

    /// Step 1 for the next item of the ring, if there is one.
    pub(super) fn lease(&mut self) -> Result<Option<LeasedMessage>, RingError> {
        let Some(record) = self.messages.record_at(&self.popping, 0)? else { return Ok(None) };
        let mut bytes = Vec::new();
        self.messages.read(&record, usize::MAX, &mut bytes)?;
        let index = self.find_free()?;
        let Some(lease) = self.get(index) else { return Err(RingError::Corrupt) };
        self.store_bytes(index, lease, &bytes)?;
        // SAFETY: `lease.record` is as long as a `Record`, and is written under the head's lock only.
        unsafe { atomic_copy::store(lease.record.as_ptr(), (&raw const record).cast(), size_of::<Record>()) };
        let number = self.popping.number();
        if record.flags().has_handles() {
            let oldest = self.oldest_with_handles().unwrap_or(number);
            self.kept.store(oldest.wrapping_add(1), SeqCst); // leases-T3
        }
        lease.number.store(number, SeqCst);
        lease.deliveries.store(1, SeqCst);
        lease.holder.store(ProcessId::current().tag(), SeqCst);
        self.popping.commit(1);
        Ok(Some(LeasedMessage { lease: LeaseId { index, number, deliveries: 1 }, record, bytes }))
    }

    fn store_bytes(&self, index: u32, lease: &Lease, bytes: &[u8]) -> Result<(), RingError> {
        if bytes.len() <= INLINE_BYTES {
            // SAFETY: `lease.bytes` has room for INLINE_BYTES, and is written under the head's lock only.
            unsafe { atomic_copy::store(lease.bytes.as_ptr(), bytes.as_ptr(), bytes.len()) };
            return Ok(());
        }
        // Before the bytes, so that whoever frees the lease also frees their memory.
        lease.spilled.store(1, SeqCst);
        let written = self.segment()?.write_overflow(index, bytes);
        written.inspect_err(|_| self.free(index, lease))?;
        Ok(())
    }

    /// A free lease. Also frees those that do not count (leases-T1), whose holders died before the commit.
    fn find_free(&mut self) -> Result<u32, RingError> {
        let head = self.popping.number();
        let mut found = None;
        for (index, lease) in self.each() {
            if !lease.has_state(FREE) && lease.number.load(SeqCst) >= head {
                self.free(index, lease);
            }
            if found.is_none() && lease.has_state(FREE) {
                self.free(index, lease); // with the memory that a dead process left in it
                found = Some(index);
            }
        }
        match found {
            Some(index) => Ok(index),
            None => self.grow(),
        }
    }

    fn grow(&mut self) -> Result<u32, RingError> {
        let used = self.used.load(SeqCst).min(MAX_LEASES);
        if used == MAX_LEASES {
            return Err(RingError::NoSpace);
        }
        if used.is_multiple_of(GROWTH) {
            self.segment()?.allocate_table(used as usize * LEASE_BYTES, GROWTH as usize * LEASE_BYTES)?;
        }
        if self.first.is_none() {
            self.first = Some(self.segment()?.table(Self::BYTES)?.cast());
        }
        self.used.store(used + 1, SeqCst);
        Ok(used)
    }

    /// Step 2 for the first requeued task, if there is one.
    pub(super) fn redeliver(&self) -> Result<Option<LeasedMessage>, RingError> {
        let Some((index, lease)) = self.requeued().min_by_key(|(_, lease)| lease.number.load(SeqCst)) else {
            self.count_requeued();
            return Ok(None);
        };
        let mut message = self.read(index, lease)?;
        message.lease.deliveries = message.lease.deliveries.saturating_add(1);
        lease.deliveries.store(message.lease.deliveries, SeqCst);
        lease.holder.store(ProcessId::current().tag(), SeqCst);
        self.count_requeued();
        Ok(Some(message))
    }

    fn read(&self, index: u32, lease: &Lease) -> Result<LeasedMessage, RingError> {
        let record = lease.record();
        let id = LeaseId { index, number: lease.number.load(SeqCst), deliveries: lease.deliveries.load(SeqCst) };
        let mut bytes = Vec::new();
        if !record.is_inline() {
            let length = usize::try_from(record.length()).map_err(|_| RingError::Corrupt)?;
            let is_spilled = lease.spilled.load(SeqCst) != 0;
            if is_spilled && record.length() > self.segment()?.allocated_bytes() || !is_spilled && length > INLINE_BYTES
            {
                return Err(RingError::Corrupt);
            }
            bytes.try_reserve_exact(length).map_err(|_| RingError::NoSpace)?;
            bytes.resize(length, 0);
            if !is_spilled {
                // SAFETY: `lease.bytes` has INLINE_BYTES, and `length` is not more; `bytes` has `length`.
                unsafe { atomic_copy::load(lease.bytes.as_ptr(), bytes.as_mut_ptr(), length) };
            } else if !self.segment()?.read_overflow(index, &mut bytes)? {
                return Err(RingError::Truncated);
            }
        }
        Ok(LeasedMessage { lease: id, record, bytes })
    }

    /// The message of a task with handles, which are released when the task is done (leases-T3).
    pub(super) fn message_with_handles(&self, id: &LeaseId) -> Option<LeasedMessage> {
        let lease = self.own(id).filter(|lease| lease.has_handles())?;
        self.read(id.index, lease).ok()
    }

    /// Step 3.
    pub(super) fn acknowledge(&self, id: &LeaseId) {
        if let Some(lease) = self.own(id) {
            let target = self.messages.ring.acknowledged().wrapping_add(1);
            lease.target.store(target, SeqCst);
            lease.holder.store(DONE, SeqCst);
            self.messages.ring.set_acknowledged(target);
            self.free(id.index, lease);
        }
    }

    /// Step 4.
    pub(super) fn requeue(&self, id: &LeaseId) {
        if let Some(lease) = self.own(id) {
            lease.holder.store(REQUEUED, SeqCst);
            self.count_requeued();
        }
    }

    /// Step 4 for each task of a dead process.
    pub(super) fn requeue_dead(&self) {
        let mut alive = vec![ProcessId::current().tag()];
        for (_, lease) in self.in_use() {
            let holder = lease.holder.load(SeqCst);
            if holder == REQUEUED || alive.contains(&holder) {
                continue;
            }
            if process_id::tag_is_alive(holder) {
                alive.push(holder);
            } else {
                lease.holder.store(REQUEUED, SeqCst);
            }
        }
        self.count_requeued();
    }

    fn count_requeued(&self) {
        self.messages.ring.set_requeued(self.requeued().count() as u32);
    }

    /// Frees the lease of an item that was got for good: it is no task any more, and is not done.
    pub(super) fn release(&self, id: &LeaseId) {
        if let Some(lease) = self.own(id) {
            self.free(id.index, lease);
        }
    }

    /// The number of items that were got for good and are not done.
    pub(super) fn got(&self) -> u64 {
        let leased = self.in_use().count() as u64;
        self.popping.number().saturating_sub(self.messages.ring.acknowledged()).saturating_sub(leased)
    }

    /// One of the items that were got for good is done.
    pub(super) fn acknowledge_got(&self) {
        self.messages.ring.set_acknowledged(self.messages.ring.acknowledged().wrapping_add(1));
    }

    /// Releases the lock after a task was requeued, if `requeued`, or else after a lease ended or changed its holder.
    pub(super) fn leave(self, requeued: bool) {
        self.popping.finish_acknowledged(requeued);
    }

    /// Releases the lock after an item of the ring was leased.
    pub(super) fn leave_popped(self, record: &Record) {
        self.messages.finish_committed(self.popping, record);
    }

    /// Releases the lock after nothing was leased.
    pub(super) fn fail(self, error: RingError) -> RingError {
        self.popping.fail(error)
    }
}

impl LeasedMessage {
    pub(super) fn bytes(&self) -> &[u8] {
        if self.record.is_inline() { self.record.bytes() } else { &self.bytes }
    }

    pub(super) fn flags(&self) -> Flags {
        self.record.flags()
    }
}
