//! A task in its worker: decodes its items one after the other, runs the function, and sends the results.
//!
//! The function's types are known in its trampoline only. What depends on them is kept short here, since it is compiled
//! anew for each function of a program.
#![allow(unsafe_code)] // functions from their addresses

use super::protocol::{ItemOutcome, TaskHeader, TaskId, WorkerReport, codec_error, watched};
use super::task_table::{TaskTable, WorkerStatus};
use crate::entry::Code;
use crate::entry::Panic;
use crate::entry::{PANICKED, catch};
use crate::messages::MessageRing;
use crate::messages::codec::{self, Buffer, Encoded, Incoming, SendFailure};
use crate::messages::record::{Flags, Record};
use crate::pipe;
use crate::ring::{Peers, RingError};
use crate::sync::Timeout;
use crate::sys::exit;
use crate::sys::{Deadline, process_id};
use crate::{CodecError, Entry, Message};
use serde::Serialize;
use std::any::Any;
use std::time::Duration;

/// How often a worker that waits for a shared value checks whether it was refused.
const REFUSAL_CHECK: Duration = Duration::from_millis(100);

/// Runs the items of a task; the address is that of an `fn` pointer, or 0.
pub(super) type TaskTrampoline = fn(usize, &mut RunningTask<'_>);

/// The trampoline of a function whose arguments are the members of an item.
pub(super) fn trampoline<A: Message, M, F: Entry<A, M>>(pointer: usize, task: &mut RunningTask<'_>) {
    let entry = Code::entry::<A, M, F>(pointer);
    task.run_items(&|item: A| entry.call(item));
}

/// The trampoline of a function of a shared value and an item.
pub(super) fn trampoline_with<S: Message, T: Message, R: Message>(pointer: usize, task: &mut RunningTask<'_>) {
    // SAFETY: `TaskCode::with_shared` sends this trampoline with the address of an `fn(&S, T) -> R`, which
    // `Code::place` has found in this image (entry-E1).
    let function = unsafe { std::mem::transmute::<usize, fn(&S, T) -> R>(pointer) };
    match task.take_shared::<S>() {
        Ok(shared) => {
            task.run_items(&|(item,): (T,)| function(&shared, item));
            task.put_shared_back(shared);
        }
        Err(error) => task.refuse(ItemOutcome::Decode(error)),
    }
}

pub(super) fn now() -> u64 {
    Deadline::now().as_nanos()
}

/// Ends this process if it is a copy of the worker: a fork in the program's code that came back here.
pub(super) fn end_copies(worker: process_id::ProcessId, code: i32) {
    if worker != process_id::ProcessId::current() {
        exit::exit_copy(code);
    }
}

/// Shared values of recent tasks, by number.
#[derive(Default)]
pub(super) struct ValueCache(Vec<(u64, Box<dyn Any>)>);

/// A worker, as its task sees it.
pub(super) struct WorkerContext<'a> {
    pub(super) table: &'a TaskTable,
    pub(super) status: WorkerStatus<'a>,
    pub(super) out: &'a MessageRing,
    pub(super) process: process_id::ProcessId,
    pub(super) worker: u32,
    pub(super) is_timed: bool,
    /// How long it waited for this task.
    pub(super) waited: u64,
}

pub(super) struct RunningTask<'a> {
    context: &'a WorkerContext<'a>,
    id: TaskId,
    header: Option<TaskHeader>,
    incoming: Option<Incoming>,
    cache: &'a mut ValueCache,
    begun: u64,
    /// Results that are not sent, and the number of their first item.
    results: Vec<u8>,
    first: u32,
    /// How many items have a result.
    items: u32,
    /// How many items the task has.
    total: u32,
    is_over: bool,
    ended: u64,
}

impl<'a> RunningTask<'a> {
    /// Runs a task. Returns when it was over.
    pub(super) fn run(
        context: &'a WorkerContext<'a>,
        incoming: Incoming,
        id: TaskId,
        tasks: &'a MessageRing,
        cache: &'a mut ValueCache,
        begun: u64,
    ) -> u64 {
        let header = postcard::take_from_bytes::<TaskHeader>(incoming.value()).map(|(header, _)| header);
        let has_handles = incoming.has_handles();
        let mut task = RunningTask {
            context,
            id,
            header: header.as_ref().ok().copied(),
            incoming: Some(incoming),
            cache,
            begun,
            results: Vec::new(),
            first: 0,
            items: 0,
            total: 1,
            is_over: false,
            ended: begun,
        };
        match header.map(|header| header.code.place()) {
            Ok(Some((trampoline, pointer))) => {
                // SAFETY: by entry-E1, the address of a trampoline of this file, within the code of this image.
                let trampoline = unsafe { std::mem::transmute::<usize, TaskTrampoline>(trampoline) };
                trampoline(pointer, &mut task);
            }
            Ok(None) => {
                task.refuse(ItemOutcome::Decode(CodecError::new("the function is not in this image")));
            }
            Err(error) => task.refuse(ItemOutcome::Decode(codec_error(error))),
        }
        if !task.is_over {
            task.refuse(ItemOutcome::Decode(CodecError::new("a task without items")));
        }
        if has_handles {
            tasks.tidy_fd_store();
        }
        task.ended
    }

    /// Ends the task with this result for the next item. The pool gives the items after it an error.
    fn refuse(&mut self, outcome: ItemOutcome<()>) {
        if let Some(incoming) = self.incoming.take() {
            incoming.discard();
        }
        self.total = self.items + 1;
        self.report(&outcome);
    }

    fn run_items<A: Message, R: Message>(&mut self, call: &dyn Fn(A) -> R) {
        let Some(incoming) = self.incoming.take() else { return };
        if incoming.has_handles() {
            return match catch(|| incoming.decode::<(TaskHeader, Vec<A>)>()) {
                Ok(Ok((_, items))) => {
                    self.total = items.len() as u32;
                    items.into_iter().for_each(|item| self.run_item(item, call));
                }
                Ok(Err(error)) => self.refuse(ItemOutcome::Decode(error)),
                Err(panic) => self.refuse(ItemOutcome::Panicked(panic)),
            };
        }
        let mut rest = match item_list(incoming.value()) {
            Ok((total, rest)) => {
                self.total = total;
                rest
            }
            Err(error) => return self.refuse(ItemOutcome::Decode(codec_error(error))),
        };
        while self.items < self.total {
            match catch(|| postcard::take_from_bytes::<A>(rest)) {
                Ok(Ok((item, after))) => {
                    rest = after;
                    self.run_item(item, call);
                }
                // Where the next items begin is unknown.
                Ok(Err(error)) => return self.refuse(ItemOutcome::Decode(codec_error(error))),
                Err(panic) => return self.refuse(ItemOutcome::Panicked(panic)),
            }
        }
    }

    fn run_item<A, R: Message>(&mut self, item: A, call: &dyn Fn(A) -> R) {
        if self.items > 0 {
            self.context.status.begin_item(self.items, if self.context.is_timed { now() } else { self.begun });
        }
        let outcome = match catch(|| call(item)) {
            Ok(result) => ItemOutcome::Done(result),
            Err(panic) => ItemOutcome::Panicked(panic),
        };
        end_copies(self.context.process, if matches!(outcome, ItemOutcome::Done(_)) { 0 } else { PANICKED });
        self.report(&outcome);
        if const { std::mem::needs_drop::<R>() }
            && let Err(panic) = catch(|| drop(outcome))
        {
            drop(panic); // a panic of the destructor changes nothing: the result is sent
        }
    }

    /// Stores or sends the result of the current item.
    fn report<R: Message>(&mut self, outcome: &ItemOutcome<R>) {
        let is_alone = self.end_item();
        if is_alone {
            return self.send_alone(outcome);
        }
        let mut encoded = Buffer::new();
        let bytes = std::mem::take(encoded.bytes());
        match catch(|| postcard::to_extend(outcome, bytes)) {
            Ok(Ok(bytes)) => {
                self.keep(&bytes);
                *encoded.bytes() = bytes;
            }
            // It has handles, or cannot be encoded at all.
            Err(_) | Ok(Err(_)) => {
                self.flush(self.items - 1, false);
                self.send_alone(outcome);
                if !self.is_over {
                    self.context.status.sent(self.items);
                }
            }
        }
    }

    /// The current item has a result (step 4). Returns whether that is the only result to be sent. Does not return if
    /// the item is overdue: the worker is about to be killed.
    #[inline]
    fn end_item(&mut self) -> bool {
        let WorkerContext { table, worker, is_timed, .. } = self.context;
        let item = self.items;
        let is_last = item + 1 == self.total;
        if is_last || *is_timed {
            // Where items are not timed, the entry keeps the number of the first.
            let (in_entry, next) = (if *is_timed { item } else { 0 }, (!is_last).then_some(item + 1));
            if !table.end(self.id.slot, self.id.generation, *worker, in_entry, next) {
                loop {
                    std::thread::park();
                }
            }
        }
        self.items += 1;
        is_last && item == self.first
    }

    /// Keeps the result of the last item (step 5), or sends it with those before it.
    #[inline]
    fn keep(&mut self, result: &[u8]) {
        let item = self.items - 1;
        self.results.extend_from_slice(result);
        if self.items == self.total {
            self.is_over = true;
            self.flush(self.items, true);
        } else if !self.context.status.keep(item, result) {
            self.flush(self.items, false);
            self.context.status.sent(self.items);
        }
    }

    /// The duration of the task, in its last report.
    fn took(&mut self, is_last: bool) -> Option<u64> {
        is_last.then(|| {
            let WorkerContext { status, waited, .. } = self.context;
            // Counted before the result is sent, so that it is counted when the result is there; and once, if sending
            // is tried again.
            if self.ended == self.begun {
                self.ended = now().max(self.begun + 1);
                status.close(self.items, *waited, self.ended - self.begun);
            }
            self.ended - self.begun
        })
    }

    /// Sends the results of the items before `to` that are not sent yet.
    fn flush(&mut self, to: u32, is_last: bool) {
        let (first, count) = (self.first, to - self.first);
        if count == 0 {
            return;
        }
        let report = self.results_report(first, count, is_last);
        let mut bytes = match postcard::to_stdvec(&report) {
            Ok(bytes) => bytes,
            Err(_) => return, // cannot happen: numbers can be encoded
        };
        bytes.append(&mut self.results);
        self.first = to;
        if let Err(RingError::NoSpace) =
            self.context.out.send(&bytes, Flags::default(), Timeout::Never, &watched).map(drop)
        {
            for item in first..to {
                let report = self.results_report(item, 1, is_last && item + 1 == to);
                let _ = self.send(&(report, ItemOutcome::<()>::NoSpace));
            }
        }
    }

    fn results_report(&mut self, first: u32, count: u32, is_last: bool) -> WorkerReport {
        let TaskId { slot, generation } = self.id;
        WorkerReport::Results { slot, generation, first, count, took: self.took(is_last) }
    }

    /// Sends the result of the last item in a report of its own.
    fn send_alone<R: Message>(&mut self, outcome: &ItemOutcome<R>) {
        let report = self.lone_report();
        let sent = catch(|| self.send(&(&report, outcome)));
        self.finish_alone(&report, sent);
    }

    fn lone_report(&mut self) -> WorkerReport {
        let is_last = self.items == self.total;
        self.first = self.items;
        self.is_over = is_last;
        self.results_report(self.items - 1, 1, is_last)
    }

    /// If a result could not be sent, sends the reason instead.
    fn finish_alone(&self, report: &WorkerReport, sent: Result<Result<(), SendFailure>, Panic>) {
        let instead = match sent {
            Ok(Ok(())) => return,
            Ok(Err(SendFailure::Codec(error))) => ItemOutcome::<()>::Encode(error),
            Ok(Err(SendFailure::Ring(RingError::NoSpace))) => ItemOutcome::NoSpace,
            Ok(Err(SendFailure::Ring(_))) => return, // the pool does not read any more
            Err(panic) => ItemOutcome::Panicked(panic),
        };
        if self.send(&(report, &instead)).is_err() {
            let _ = self.send(&(report, ItemOutcome::<()>::NoSpace));
        }
    }

    fn send<T: Serialize>(&self, message: &T) -> Result<(), SendFailure> {
        let status = &self.context.status;
        let _end = EndSending(status);
        let mut record = Record::default();
        let with_handles = |message: &T| {
            status.begin_sending();
            codec::encode_with_handles(message)
        };
        let encoded = codec::encode_with(message, &mut record, &with_handles)?;
        self.send_encoded(&record, encoded)
    }

    fn send_encoded(&self, record: &Record, encoded: Option<Encoded>) -> Result<(), SendFailure> {
        let out = self.context.out;
        match encoded {
            None => Ok(out.send_short(record, Timeout::Never, &watched)?),
            Some(encoded) => out.send_encoded(encoded, Timeout::Never, &watched),
        }
    }

    /// The shared value of all items, from the cache or from the pool.
    fn take_shared<S: Message>(&mut self) -> Result<Box<S>, CodecError> {
        match self.find_shared()? {
            Ok(cached) => cached.downcast().map_err(|_| CodecError::new("a shared value of another type")),
            Err(incoming) => {
                Ok(Box::new(catch(|| incoming.decode::<S>()).map_err(|panic| CodecError(panic.message))??))
            }
        }
    }

    fn find_shared(&mut self) -> Result<Result<Box<dyn Any>, Incoming>, CodecError> {
        let Some(id) = self.header.and_then(|header| header.shared) else {
            return Err(CodecError::new("a task without its shared value"));
        };
        let cache = &mut self.cache.0;
        cache.retain(|(number, _)| *number >= id.oldest);
        match cache.iter().position(|(number, _)| *number == id.number) {
            Some(at) => Ok(Ok(cache.swap_remove(at).1)),
            None => self.request_shared(id.number).map(Err),
        }
    }

    /// Requests a shared value from the pool, and waits for it.
    fn request_shared(&self, number: u64) -> Result<Incoming, CodecError> {
        let gone = || CodecError::new("the shared value is gone");
        let (to, from) = pipe::Pipe::<()>::one_way().map_err(CodecError::new)?;
        let ring = from.message_ring().map_err(CodecError::new)?;
        let request = WorkerReport::Request { shared: number, worker: self.context.worker };
        self.send(&(request, to)).map_err(|_| gone())?;
        let peers = || if from.has_senders() { Peers::Watched } else { Peers::Alone };
        loop {
            let timeout = Timeout::At(Deadline::after(REFUSAL_CHECK));
            match ring.receive_incoming(timeout, &mut |_| (), &peers) {
                Ok(incoming) => return Ok(incoming),
                Err(RingError::Timeout) if !self.context.status.is_refused(number) => {}
                Err(_) => return Err(gone()),
            }
        }
    }

    fn put_shared_back<S: Message>(&mut self, value: Box<S>) {
        if let Some(id) = self.header.and_then(|header| header.shared) {
            self.cache.0.push((id.number, value));
        }
    }
}

/// Ends the sending of handles, also if the encoding panics.
struct EndSending<'a>(&'a WorkerStatus<'a>);

impl Drop for EndSending<'_> {
    fn drop(&mut self) {
        self.0.end_sending();
    }
}

/// The number of items in a task, and their bytes.
fn item_list(task: &[u8]) -> postcard::Result<(u32, &[u8])> {
    let (_, rest) = postcard::take_from_bytes::<TaskHeader>(task)?;
    postcard::take_from_bytes::<u32>(rest)
}
