//! A job: one call of the program's, of one item or many, as its pool sees it; and what becomes of the results.
//!
//! A job knows the types; the rest of the pool only knows that its items have numbers.

use super::callbacks::unharmed;
use super::promise::Promise;
use super::protocol::{Head, Outcome, Report, codec};
use super::shared::{PoolShared, locked};
use super::worker::{Trampoline, trampoline, trampoline_with};
use crate::entry::Code;
use crate::messages::codec as ring;
use crate::messages::codec::{Encoded, Incoming};
use crate::messages::record::Record;
use crate::segment::transfer::InFlightGuard;
use crate::{CodecError, Entry, Message, Sender, TaskError};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

pub(super) trait Job: Send + Sync {
    /// Encodes a task of the items from `from` to `to`: into the note, or else what it gives.
    fn encode(&self, slot: u32, generation: u32, from: usize, to: usize, note: &mut Record) -> Encoding;
    /// Results of so many items have come.
    fn accept(&self, from: usize, count: usize, results: Results<'_>, hub: &PoolShared);
    /// The items have this error.
    fn fail(&self, from: usize, to: usize, error: &TaskError, hub: &PoolShared);
    /// Whether items have a number that tells the program something.
    fn is_map(&self) -> bool;
    /// Nobody cares for the items that are not done.
    fn is_over(&self) -> bool;
    /// An item, encoded.
    fn input(&self, item: usize) -> Vec<u8>;
    /// A worker wants the shared value, by this pipe, or cannot have it.
    fn want(&self, _to: Want) {}
    /// Who wants it from here on does not get it.
    fn end_wants(&self) {}
}

pub(super) type Want = Result<Sender<()>, CodecError>;
pub(super) type Encoding = Result<Option<Encoded>, CodecError>;

/// Where results are.
pub(super) enum Results<'a> {
    /// Behind a report in a message.
    Message(Incoming, usize),
    /// In the scratch of a worker that died: each begins with a word. So many come before that are known.
    Scratch(&'a [u8], usize),
}

/// What becomes of the results.
pub(super) trait Sink<R>: Send + Sync {
    fn put(&self, item: usize, answer: Result<R, TaskError>, hub: &PoolShared);
    fn is_over(&self) -> bool;
    const IS_MAP: bool = true;
}

/// A function as it is sent, for items of this type.
pub(super) struct Task<A> {
    code: Code,
    /// The number of the shared value, and of the oldest that is in use.
    shared: Option<(u64, u64)>,
    items: std::marker::PhantomData<fn(A)>,
}

fn not_in_this_program(_: crate::SpawnError) -> TaskError {
    TaskError::Encode(CodecError::new("the function is not in this program, or captures something"))
}

impl<A: Message> Task<A> {
    pub(super) fn of<M, F: Entry<A, M>>(entry: F) -> Result<Self, TaskError> {
        let run: Trampoline = trampoline::<A, M, F>;
        let code = Code::with::<A, M, F>(entry, run as *const () as usize).map_err(not_in_this_program)?;
        Ok(Task { code, shared: None, items: std::marker::PhantomData })
    }
}

impl<T: Message> Task<(T,)> {
    /// A function of the value that is shared under the first of these numbers, and an item.
    pub(super) fn with<S: Message, R: Message>(
        function: fn(&S, T) -> R,
        shared: (u64, u64),
    ) -> Result<Self, TaskError> {
        let run: Trampoline = trampoline_with::<S, T, R>;
        let code =
            Code::at(run as *const () as usize, Some(function as *const () as usize)).map_err(not_in_this_program)?;
        Ok(Task { code, shared: Some(shared), items: std::marker::PhantomData })
    }
}

pub(super) struct Call<A, R, S> {
    task: Task<A>,
    /// In a mutex, for they need not be `Sync`.
    items: Mutex<Items<A>>,
    pub(super) sink: S,
    /// The handles in the shared value, until no task of the job can be on its way.
    custody: Mutex<Vec<InFlightGuard>>,
    /// Workers that want the shared value. None once nobody gives it any more: they hear that by the end of their pipe.
    wants: Mutex<Option<Vec<Want>>>,
    /// Who gives it to them.
    giver: Option<std::thread::Thread>,
    results: std::marker::PhantomData<fn() -> R>,
}

struct Items<A> {
    /// The number of the first.
    base: usize,
    items: VecDeque<Item<A>>,
}

enum Item<A> {
    Here(A),
    /// Whoever encodes it has it, for no lock is held meanwhile (H3).
    Lent,
    /// It has its result.
    Done,
}

impl<A> Items<A> {
    fn at(&mut self, item: usize) -> Option<&mut Item<A>> {
        self.items.get_mut(item.checked_sub(self.base)?)
    }

    fn lend(&mut self, item: usize) -> Option<A> {
        let place = self.at(item)?;
        match std::mem::replace(place, Item::Lent) {
            Item::Here(input) => Some(input),
            other => {
                *place = other;
                None
            }
        }
    }

    /// Gives what is not wanted any more.
    fn give_back(&mut self, item: usize, input: A) -> Option<A> {
        match self.at(item) {
            Some(place @ Item::Lent) => {
                *place = Item::Here(input);
                None
            }
            _ => Some(input),
        }
    }

    /// It has its result now: what is to be dropped of it. None if it had one.
    fn finish(&mut self, item: usize) -> Option<Item<A>> {
        let done = std::mem::replace(self.at(item)?, Item::Done);
        while matches!(self.items.front(), Some(Item::Done)) {
            self.items.pop_front();
            self.base += 1;
        }
        (!matches!(done, Item::Done)).then_some(done)
    }
}

impl<A: Message, R: Message, S: Sink<R>> Call<A, R, S> {
    pub(super) fn new(task: Task<A>, items: Vec<A>, sink: S) -> Arc<Self> {
        Arc::new(Self::given_by(None, task, items, sink))
    }

    /// One whose shared value this thread gives to who wants it.
    pub(super) fn giving(task: Task<A>, items: Vec<A>, sink: S) -> Arc<Self> {
        Arc::new(Self::given_by(Some(std::thread::current()), task, items, sink))
    }

    fn given_by(giver: Option<std::thread::Thread>, task: Task<A>, items: Vec<A>, sink: S) -> Self {
        let items = Mutex::new(Items { base: 0, items: items.into_iter().map(Item::Here).collect() });
        let (custody, wants) = (Mutex::default(), Mutex::new(giver.is_some().then(Vec::new)));
        Call { task, items, sink, custody, wants, giver, results: std::marker::PhantomData }
    }

    /// More items, behind those that there are.
    pub(super) fn extend(&self, more: Vec<A>) {
        locked(&self.items).items.extend(more.into_iter().map(Item::Here));
    }

    pub(super) fn take_wants(&self) -> Vec<Want> {
        locked(&self.wants).as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(super) fn has_wants(&self) -> bool {
        locked(&self.wants).as_ref().is_some_and(|wants| !wants.is_empty())
    }

    /// A worker was sent the shared value.
    pub(super) fn keep(&self, custody: InFlightGuard) {
        locked(&self.custody).push(custody);
    }

    /// Runs the program's code on inputs, without the lock.
    fn lend<T>(
        &self,
        from: usize,
        to: usize,
        run: impl FnOnce(&[A]) -> Result<T, CodecError>,
    ) -> Result<T, CodecError> {
        let mut one = None; // which needs no memory of its own
        let mut many = Vec::new();
        {
            let mut items = locked(&self.items);
            match to - from {
                1 => one = items.lend(from),
                _ => many.extend((from..to).map_while(|item| items.lend(item))),
            }
        }
        let inputs = if to - from == 1 { one.as_slice() } else { &many };
        let result = match inputs.len() == to - from {
            true => caught("encoding", || run(inputs)),
            false => Err(CodecError::new("an input that is gone")),
        };
        let mut items = locked(&self.items);
        let lent = one.into_iter().chain(many).enumerate();
        let unwanted: Vec<A> = lent.filter_map(|(at, input)| items.give_back(from + at, input)).collect();
        drop(items);
        unwanted.into_iter().for_each(|input| unharmed(|| drop(input)));
        result
    }

    fn index(&self, item: usize) -> Option<usize> {
        S::IS_MAP.then_some(item)
    }

    fn put(&self, item: usize, outcome: Result<Outcome<R>, CodecError>, hub: &PoolShared) {
        let answer = match outcome {
            Ok(outcome) => outcome.into_result(self.index(item)),
            Err(error) => Err(TaskError::Decode(error)),
        };
        self.finish(item, answer, hub);
    }

    fn finish(&self, item: usize, answer: Result<R, TaskError>, hub: &PoolShared) {
        let done = locked(&self.items).finish(item);
        // Without the lock: the program's destructor. What is not there any more has its answer.
        if done.is_some() {
            unharmed(|| drop(done));
            unharmed(|| self.sink.put(item, answer, hub));
        }
    }
}

/// Whoever has it last may be a thread of the pool's.
impl<A, R, S> Drop for Call<A, R, S> {
    fn drop(&mut self) {
        let items = std::mem::take(&mut locked(&self.items).items);
        items.into_iter().for_each(|item| unharmed(|| drop(item))); // two panics at once would abort
    }
}

/// Encoding and decoding are the program's code, and may panic.
pub(super) fn caught<T>(what: &str, run: impl FnOnce() -> Result<T, CodecError>) -> Result<T, CodecError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| {
        std::mem::forget(payload); // its destructor may panic too
        Err(CodecError::new(format!("a panic in the {what}")))
    })
}

fn decode<T: Message>(bytes: &[u8]) -> Result<(T, &[u8]), CodecError> {
    caught("decoding", || postcard::take_from_bytes(bytes).map_err(codec))
}

impl<A: Message, R: Message, S: Sink<R>> Job for Call<A, R, S> {
    fn encode(&self, slot: u32, generation: u32, from: usize, to: usize, note: &mut Record) -> Encoding {
        let Task { code, shared, .. } = self.task;
        let head = Head { slot, generation, code, shared };
        self.lend(from, to, |inputs| ring::encode(&(head, inputs), note))
    }

    fn accept(&self, from: usize, count: usize, results: Results<'_>, hub: &PoolShared) {
        match results {
            Results::Message(incoming, _) if incoming.has_handles() => {
                let outcome = caught("decoding", || incoming.decode::<(Report, Outcome<R>)>());
                self.put(from, outcome.map(|(_, outcome)| outcome), hub);
            }
            Results::Message(incoming, behind) => {
                let mut rest = incoming.value().get(behind..).unwrap_or(&[]);
                for item in from..from + count {
                    match decode::<Outcome<R>>(rest) {
                        Ok((outcome, behind)) => {
                            rest = behind;
                            self.put(item, Ok(outcome), hub);
                        }
                        Err(error) => return self.fail(item, from + count, &TaskError::Decode(error), hub),
                    }
                }
            }
            Results::Scratch(bytes, known) => {
                let mut at = 0;
                for item in 0..known + count {
                    match decode::<Outcome<R>>(bytes.get(at..).unwrap_or(&[])) {
                        Ok((outcome, behind)) => {
                            at = (bytes.len() - behind.len()).next_multiple_of(8);
                            if item >= known {
                                self.put(from + item - known, Ok(outcome), hub);
                            }
                        }
                        Err(error) => {
                            let left = from + item.saturating_sub(known);
                            return self.fail(left, from + count, &TaskError::Decode(error), hub);
                        }
                    }
                }
            }
        }
    }

    fn fail(&self, from: usize, to: usize, error: &TaskError, hub: &PoolShared) {
        for item in from..to {
            let mut error = error.clone();
            if let TaskError::Panicked { index, .. } | TaskError::WorkerDied { index, .. } = &mut error {
                *index = self.index(item);
            }
            self.finish(item, Err(error), hub);
        }
    }

    fn is_map(&self) -> bool {
        S::IS_MAP
    }

    fn is_over(&self) -> bool {
        self.sink.is_over()
    }

    fn input(&self, item: usize) -> Vec<u8> {
        self.lend(item, item + 1, |inputs| postcard::to_stdvec(&inputs[0]).map_err(codec)).unwrap_or_default()
    }

    fn want(&self, to: Want) {
        if let Some(wants) = locked(&self.wants).as_mut() {
            wants.push(to);
            self.giver.iter().for_each(std::thread::Thread::unpark);
        }
    }

    fn end_wants(&self) {
        let wants = locked(&self.wants).take();
        drop(wants); // without the lock
    }
}

/// The result of one item.
pub(super) struct One<R>(pub(super) Arc<Promise<R>>);

impl<R: Message> Sink<R> for One<R> {
    const IS_MAP: bool = false;

    fn put(&self, _: usize, answer: Result<R, TaskError>, hub: &PoolShared) {
        self.0.resolve(answer, hub);
    }

    fn is_over(&self) -> bool {
        self.0.has_come()
    }
}

/// All results of a map, in order.
pub(super) struct All<R> {
    promise: Arc<Promise<Vec<R>>>,
    gathered: Mutex<Gathered<R>>,
    #[cfg(feature = "progress")]
    progress: Option<super::progress::Progress>,
}

struct Gathered<R> {
    results: Vec<Option<R>>,
    left: usize,
    /// Of the first input that failed.
    error: Option<(usize, TaskError)>,
}

impl<R> All<R> {
    #[cfg_attr(not(feature = "progress"), allow(unused_variables, reason = "only that asks the pool"))]
    pub(super) fn new(promise: Arc<Promise<Vec<R>>>, items: usize, hub: &PoolShared) -> Self {
        let results = std::iter::repeat_with(|| None).take(items).collect();
        All {
            promise,
            gathered: Mutex::new(Gathered { results, left: items, error: None }),
            #[cfg(feature = "progress")]
            progress: hub.progress(Some(items)),
        }
    }
}

impl<R> Drop for All<R> {
    fn drop(&mut self) {
        let results = std::mem::take(&mut locked(&self.gathered).results);
        results.into_iter().for_each(|result| unharmed(|| drop(result)));
    }
}

impl<R: Message> Sink<R> for All<R> {
    fn put(&self, item: usize, answer: Result<R, TaskError>, hub: &PoolShared) {
        let mut gathered = locked(&self.gathered);
        let Gathered { results, left, error } = &mut *gathered;
        match answer {
            Ok(result) => {
                if let Some(place) = results.get_mut(item) {
                    *place = Some(result);
                }
            }
            Err(failure) if error.as_ref().is_none_or(|(first, _)| item < *first) => *error = Some((item, failure)),
            Err(_) => {}
        }
        *left -= 1;
        #[cfg(feature = "progress")]
        self.progress.iter().for_each(|progress| progress.step());
        if *left == 0 {
            let (results, error) = (std::mem::take(results), error.take());
            drop(gathered);
            #[cfg(feature = "progress")]
            self.progress.iter().for_each(|progress| progress.end());
            let answer = match error {
                Some((_, error)) => {
                    results.into_iter().for_each(|result| unharmed(|| drop(result)));
                    Err(error)
                }
                None => Ok(results.into_iter().flatten().collect()),
            };
            self.promise.resolve(answer, hub);
        }
    }

    fn is_over(&self) -> bool {
        self.promise.has_come()
    }
}
