//! A worker: takes a task, runs it, reports, until the pool is closed. The protocol is the board's.
#![allow(unsafe_code)] // functions from their addresses

use super::protocol::{Head, Outcome, PATIENCE, Report, Ticket, WorkerConfig, codec};
use super::task_table::{Board, WorkerStatus};
use crate::entry::Code;
use crate::entry::{PANICKED, catch};
use crate::messages::MessageRing;
use crate::messages::codec::{self, Buffer, Incoming, SendFailure};
use crate::messages::record::{Flags, Record};
use crate::pipe;
use crate::ring::{Peers, RingError};
use crate::sync::Timeout;
use crate::sys::exit;
use crate::sys::signals;
use crate::sys::{Deadline, process_id};
use crate::{CodecError, Entry, Message, Receiver, Sender};
use std::any::Any;
use std::time::Duration;

/// How often one that waits for a shared value looks whether it can have it.
const LOOK: Duration = Duration::from_millis(100);

/// Runs the items of a task; the address is that of an `fn` pointer, or 0.
pub(super) type Trampoline = fn(usize, &mut Work<'_>);

/// Of a function of all members of an item.
pub(super) fn trampoline<A: Message, M, F: Entry<A, M>>(pointer: usize, work: &mut Work<'_>) {
    let entry = Code::entry::<A, M, F>(pointer);
    work.each(|item: A| entry.call(item));
}

/// Of a function of the shared value and an item.
pub(super) fn trampoline_with<S: Message, T: Message, R: Message>(pointer: usize, work: &mut Work<'_>) {
    // SAFETY: by `Task::with` in `job`, the address of such a function in this image (E1 of `entry`).
    let function = unsafe { std::mem::transmute::<usize, fn(&S, T) -> R>(pointer) };
    match work.shared::<S>() {
        Ok(shared) => {
            work.each(|(item,): (T,)| function(&shared, item));
            work.give_back(shared);
        }
        Err(error) => work.refuse(Outcome::Decode(error)),
    }
}

/// What a worker's process runs.
pub(super) fn serve(desk: WorkerConfig) {
    signals::ignore_interrupts();
    let WorkerConfig { tasks, reports, board, seat, worker, most, timed, initializer } = desk;
    let (Ok(mail), Ok(out)) = (tasks.message_ring(), reports.message_ring()) else { return };
    let sheet = board.sheet(seat as usize);
    let me = process_id::ProcessId::current();
    let initialized = initializer.map(|initializer| initializer.call());
    end_copies(me, 0);
    if let Some(Err(why)) = initialized {
        let _ = out.send_value(&Report::NotReady { worker, why }, Timeout::Never, &watched);
        return;
    }
    let mut shelf = Shelf::default();
    let mut since = now();
    sheet.ready(since);
    let mut done = 0;
    while most.is_none_or(|most| done < most) {
        let Some((incoming, ticket)) = take(&tasks, mail, &board, worker) else { return };
        let Some(ticket) = ticket else {
            incoming.discard();
            mail.tidy_fd_store();
            continue;
        };
        sheet.open(ticket.slot);
        let begun = now();
        sheet.begin_item(0, begun);
        if !board.begin(ticket.slot, ticket.generation, worker) {
            sheet.leave();
            incoming.discard();
            mail.tidy_fd_store();
            continue;
        }
        done += 1;
        let desk = Place { board: &board, sheet, out, me, worker, timed, waited: begun - since };
        since = Work::run(&desk, incoming, ticket, mail, &mut shelf, begun);
    }
}

fn now() -> u64 {
    Deadline::now().as_nanos()
}

/// Where the program's code forked, what it made comes here too, and is no worker.
fn end_copies(me: process_id::ProcessId, code: i32) {
    if me != process_id::ProcessId::current() {
        exit::exit_copy(code);
    }
}

fn watched() -> Peers {
    Peers::Watched
}

/// The next task, claimed; without a ticket, it was taken back. None: there will be no more.
fn take(tasks: &Receiver<()>, mail: &MessageRing, board: &Board, worker: u32) -> Option<(Incoming, Option<Ticket>)> {
    let mut ticket = None;
    let mut claim = |task: &[u8]| {
        ticket = Ticket::of(task).filter(|ticket| board.claim(ticket.slot, ticket.generation, worker));
    };
    // A worker dies with its pool's process: its end need not be watched.
    let company = || if tasks.has_senders() { Peers::Watched } else { Peers::Alone };
    // Without memory or descriptors for it the task stays, for another worker, or for the next one in this place.
    let mut give_up = None;
    loop {
        match mail.receive_incoming(Timeout::Never, &mut claim, &company) {
            Ok(incoming) => return Some((incoming, ticket)),
            Err(RingError::NoSpace) if !give_up.get_or_insert_with(|| Deadline::after(PATIENCE)).has_passed() => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(_) => return None,
        }
    }
}

/// Values that are shared by many tasks, by number.
#[derive(Default)]
struct Shelf(Vec<(u64, Box<dyn Any>)>);

/// Where a worker works.
struct Place<'a> {
    board: &'a Board,
    sheet: WorkerStatus<'a>,
    out: &'a MessageRing,
    me: process_id::ProcessId,
    worker: u32,
    timed: bool,
    /// How long for this task.
    waited: u64,
}

/// A task that is being worked at.
pub(super) struct Work<'a> {
    place: &'a Place<'a>,
    ticket: Ticket,
    head: Option<Head>,
    incoming: Option<Incoming>,
    shelf: &'a mut Shelf,
    since: u64,
    /// Results that are not sent, and of how many items from which on.
    results: Vec<u8>,
    first: u32,
    items: u32,
    /// How many the task has.
    total: u32,
    is_over: bool,
    ended: u64,
}

impl<'a> Work<'a> {
    /// Gives when it was over.
    fn run(
        place: &'a Place<'a>,
        incoming: Incoming,
        ticket: Ticket,
        tasks: &'a MessageRing,
        shelf: &'a mut Shelf,
        since: u64,
    ) -> u64 {
        let head = postcard::take_from_bytes::<Head>(incoming.value()).map(|(head, _)| head);
        let has_handles = incoming.has_handles();
        let mut work = Work {
            place,
            ticket,
            head: head.as_ref().ok().copied(),
            incoming: Some(incoming),
            shelf,
            since,
            results: Vec::new(),
            first: 0,
            items: 0,
            total: 1,
            is_over: false,
            ended: since,
        };
        match head.map(|head| head.code.place()) {
            Ok(Some((trampoline, pointer))) => {
                // SAFETY: by E1 of `entry`, a trampoline of this module, inside the code of this image.
                let trampoline = unsafe { std::mem::transmute::<usize, Trampoline>(trampoline) };
                trampoline(pointer, &mut work);
            }
            Ok(None) => work.refuse(Outcome::Decode(CodecError::new("the function is not in this image"))),
            Err(error) => work.refuse(Outcome::Decode(codec(error))),
        }
        if !work.is_over {
            work.refuse(Outcome::Decode(CodecError::new("a task without items")));
        }
        if has_handles {
            tasks.tidy_fd_store();
        }
        work.ended
    }

    /// Nothing of it can be run: that is the result of its first item, and of the others.
    pub(super) fn refuse(&mut self, outcome: Outcome<()>) {
        if let Some(incoming) = self.incoming.take() {
            incoming.discard();
        }
        self.total = self.items + 1;
        self.report(&outcome);
    }

    /// Decodes and runs one item after the other.
    fn each<A: Message, R: Message>(&mut self, call: impl Fn(A) -> R) {
        let Some(incoming) = self.incoming.take() else { return };
        if incoming.has_handles() {
            return match catch(|| incoming.decode::<(Head, Vec<A>)>()) {
                Ok(Ok((_, items))) => {
                    self.total = items.len() as u32;
                    items.into_iter().for_each(|item| self.one(item, &call));
                }
                Ok(Err(error)) => self.refuse(Outcome::Decode(error)),
                Err(panic) => self.refuse(Outcome::Panicked(panic)),
            };
        }
        let start = postcard::take_from_bytes::<Head>(incoming.value())
            .and_then(|(_, rest)| postcard::take_from_bytes::<u32>(rest));
        let mut rest = match start {
            Ok((total, rest)) => {
                self.total = total;
                rest
            }
            Err(error) => return self.refuse(Outcome::Decode(codec(error))),
        };
        while self.items < self.total {
            match catch(|| postcard::take_from_bytes::<A>(rest)) {
                Ok(Ok((item, behind))) => {
                    rest = behind;
                    self.one(item, &call);
                }
                // The others begin who knows where.
                Ok(Err(error)) => return self.refuse(Outcome::Decode(codec(error))),
                Err(panic) => return self.refuse(Outcome::Panicked(panic)),
            }
        }
    }

    fn one<A, R: Message>(&mut self, item: A, call: &impl Fn(A) -> R) {
        if self.items > 0 {
            self.place.sheet.begin_item(self.items, if self.place.timed { now() } else { self.since });
        }
        let outcome = match catch(|| call(item)) {
            Ok(result) => Outcome::Done(result),
            Err(panic) => Outcome::Panicked(panic),
        };
        end_copies(self.place.me, if matches!(outcome, Outcome::Done(_)) { 0 } else { PANICKED });
        self.report(&outcome);
        if let Err(panic) = catch(|| drop(outcome)) {
            drop(panic); // a destructor's own affair: the result is on its way
        }
    }

    /// The item that is being worked at has this result.
    fn report<R: Message>(&mut self, outcome: &Outcome<R>) {
        let Place { board, sheet, worker, timed, .. } = self.place;
        let Ticket { slot, generation } = self.ticket;
        let item = self.items;
        let is_last = item + 1 == self.total;
        if is_last || *timed {
            let (now, next) = (if *timed { item } else { 0 }, (!is_last).then_some(item + 1));
            if !board.end(slot, generation, *worker, now, next) {
                // Overdue: it is being killed, and until then does nothing more.
                loop {
                    std::thread::park();
                }
            }
        }
        self.items += 1;
        if is_last && item == self.first {
            return self.send_alone(outcome); // all that is to be sent
        }
        let mut encoded = Buffer::new();
        let bytes = std::mem::take(encoded.bytes());
        match catch(|| postcard::to_extend(outcome, bytes)) {
            // With handles in it, or not to be encoded at all.
            Err(_) | Ok(Err(_)) => {
                self.flush(item, false);
                self.send_alone(outcome);
                if !is_last {
                    sheet.sent(self.items);
                }
            }
            Ok(Ok(bytes)) => {
                self.results.extend_from_slice(&bytes);
                if is_last {
                    self.is_over = true;
                    self.flush(self.items, true);
                } else if !sheet.keep(item, &bytes) {
                    self.flush(self.items, false);
                    sheet.sent(self.items);
                }
                *encoded.bytes() = bytes;
            }
        }
    }

    /// The task is over with this report, if it is the last.
    fn took(&mut self, is_last: bool) -> Option<u64> {
        is_last.then(|| {
            let Place { sheet, waited, .. } = self.place;
            // Before anybody has the result, so that who has it finds it counted; once, if it is tried again.
            if self.ended == self.since {
                self.ended = now().max(self.since + 1);
                sheet.close(self.items, *waited, self.ended - self.since);
            }
            self.ended - self.since
        })
    }

    /// Sends the results of the items before this one that are not sent yet.
    fn flush(&mut self, to: u32, is_last: bool) {
        let (first, count) = (self.first, to - self.first);
        if count == 0 {
            return;
        }
        let report = self.results_of(first, count, is_last);
        let mut bytes = match postcard::to_stdvec(&report) {
            Ok(bytes) => bytes,
            Err(_) => return, // numbers can be encoded
        };
        bytes.append(&mut self.results);
        self.first = to;
        if let Err(RingError::NoSpace) =
            self.place.out.send(&bytes, Flags::default(), Timeout::Never, &watched).map(drop)
        {
            for item in first..to {
                let is_last = is_last && item + 1 == to;
                let report = self.results_of(item, 1, is_last);
                let _ = self.send(&(report, Outcome::<()>::NoSpace));
            }
        }
    }

    fn results_of(&mut self, first: u32, count: u32, is_last: bool) -> Report {
        let Ticket { slot, generation } = self.ticket;
        Report::Results { slot, generation, first, count, took: self.took(is_last) }
    }

    /// Sends the result of the last item, which stands alone.
    fn send_alone<R: Message>(&mut self, outcome: &Outcome<R>) {
        let item = self.items - 1;
        let is_last = self.items == self.total;
        self.first = self.items;
        self.is_over = is_last;
        let report = self.results_of(item, 1, is_last);
        let instead = match catch(|| self.send(&(&report, outcome))) {
            Ok(Ok(())) => return,
            Ok(Err(SendFailure::Codec(error))) => Outcome::<()>::Encode(error),
            Ok(Err(SendFailure::Ring(RingError::NoSpace))) => Outcome::NoSpace,
            Ok(Err(SendFailure::Ring(_))) => return, // nobody reads any more
            Err(panic) => Outcome::Panicked(panic),
        };
        if self.send(&(&report, &instead)).is_err() {
            let _ = self.send(&(&report, Outcome::<()>::NoSpace));
        }
    }

    fn send<T: serde::Serialize>(&self, message: &T) -> Result<(), SendFailure> {
        /// Also when the encoding panics.
        struct EndSending<'a>(&'a WorkerStatus<'a>);
        impl Drop for EndSending<'_> {
            fn drop(&mut self) {
                self.0.end_sending();
            }
        }
        let Place { sheet, out, .. } = self.place;
        let _end = EndSending(sheet);
        let mut note = Record::default();
        let with_handles = |message: &T| {
            sheet.begin_sending();
            codec::encode_with_handles(message)
        };
        match codec::encode_with(message, &mut note, &with_handles)? {
            None => Ok(out.send_short(&note, Timeout::Never, &watched)?),
            Some(encoded) => out.send_encoded(encoded, Timeout::Never, &watched),
        }
    }

    /// The value that all items are worked at with, from the shelf or from the pool.
    fn shared<S: Message>(&mut self) -> Result<Box<S>, CodecError> {
        let Some((number, oldest)) = self.head.and_then(|head| head.shared) else {
            return Err(CodecError::new("a task without its shared value"));
        };
        self.shelf.0.retain(|(other, _)| *other >= oldest);
        if let Some(at) = self.shelf.0.iter().position(|(other, _)| *other == number) {
            return self
                .shelf
                .0
                .swap_remove(at)
                .1
                .downcast()
                .map_err(|_| CodecError::new("a shared value of another type"));
        }
        let gone = |_| CodecError::new("the shared value is gone");
        let (to, from) = pipe::Pipe::<()>::one_way().map_err(CodecError::new)?;
        let mail = from.message_ring().map_err(CodecError::new)?;
        self.want(number, to).map_err(gone)?;
        let company = || if from.has_senders() { Peers::Watched } else { Peers::Alone };
        let incoming = loop {
            let patience = Timeout::At(Deadline::after(LOOK));
            match mail.receive_incoming(patience, &mut |_| (), &company) {
                Ok(incoming) => break incoming,
                Err(RingError::Timeout) if !self.place.sheet.is_refused(number) => {}
                Err(_) => return Err(gone(())),
            }
        };
        let value = catch(|| incoming.decode::<S>()).map_err(|panic| CodecError(panic.message))??;
        Ok(Box::new(value))
    }

    fn want(&self, shared: u64, to: Sender<()>) -> Result<(), ()> {
        self.send(&(Report::Wants { shared, worker: self.place.worker }, to)).map_err(|_| ())
    }

    fn give_back<S: Message>(&mut self, shared: Box<S>) {
        if let Some((number, _)) = self.head.and_then(|head| head.shared) {
            self.shelf.0.push((number, shared));
        }
    }
}
